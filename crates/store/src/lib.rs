//! Models on disk: what they are called, how they get here, and how they leave.
//!
//! A model comes from the hub, from an https address, or was here already as a file. Hub files lie in the cache that other
//! programs share ([`cache`]), so nothing is stored twice. Everything is planned before it is done: [`choose`] picks files,
//! [`plan`] says what is missing, [`answer`] judges what a server says, [`remove`] says which bytes nobody else uses; each
//! is a pure function. [`pull`] and [`fetch`] perform.
//!
//! Left out: signed releases, slots and rollback; several connections per file; the hub's chunk protocol (its plain
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
pub mod fetch;
mod partial;

pub mod cache;
pub mod library;
pub mod names;
pub mod pull;
pub mod remove;

pub use error::{Error, Result};
