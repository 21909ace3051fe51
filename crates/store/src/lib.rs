//! Models on disk: what they are called, how they get here, and how they leave.
//!
//! A model comes from the hub, from a [`registry`], from an https address, or was here already as a file. Hub files lie in the
//! cache that other programs share ([`cache`]), so nothing is stored twice. Everything is planned before it is done: [`choose`]
//! picks files, [`plan`] says what is missing, [`parts`] cuts large files, [`space`] foresees a full disk, [`answer`] judges
//! what a server says, [`remove`] and [`leftovers`] say which bytes nobody else uses; each has a pure function for that.
//! [`pull`], [`registry::pull`] and [`fetch`] perform. Who made a model is said by [`signing`]; releases
//! that a publisher signed, and the device takes over with a way back, are [`release`]'s.
//!
//! Left out: the hub's chunk protocol (its plain
//! downloads carry the same bytes); reading the environment, printing, and looking into weights: bytes are verified, not
//! understood.

pub mod error;
pub mod hash;
pub mod reference;
pub mod short_names;

pub mod choose;
pub mod listing;
pub mod plan;

pub mod answer;
mod ask;
pub mod fetch;
mod parallel;
mod partial;
pub mod parts;
pub mod space;

pub mod registry;

pub mod cache;
pub mod library;
pub mod names;
pub mod pull;

pub mod delta;
pub mod sealed;

pub mod in_use;
pub mod leftovers;
pub mod remove;
pub mod usage;
pub mod verify;

pub mod signing;

pub mod release;

pub use error::{Error, Result};
