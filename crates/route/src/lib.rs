//! Where a request may run, and what it cost.
//!
//! The way of a request, first hit decides: the policy (who asks, what class of data, which network, how much battery,
//! what is left of the budget), then the privacy detectors and the taint of private sources, then what the local model
//! can do, then a score of the prompt alone; and after a local answer the confidence that it is right. Only the gate can
//! make the text that leaves, and what left stands in the egress log. What every answer cost, here or there, is a row of
//! the ledger.
//!
//! Every decision is a pure function of what it is told; clocks, sensors and settings are the caller's.

pub mod policy;
pub mod privacy;

pub mod quality;
pub mod score;

pub mod confidence;
pub mod decide;

pub mod ledger;

pub mod egress;
pub mod gate;

pub mod cloud;

pub mod desk;
