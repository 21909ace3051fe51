//! Time: mapped files, sessions, sampling, events.
//!
//! Reading order: [`mmap`] and [`model_file`] bring a model in, [`chat`] renders a conversation, [`session`] runs it over a
//! sequence, [`sample`] chooses tokens, [`ban`] and [`stop`] watch the text, [`generate`] puts them together into one
//! answer. [`embed`] makes vectors of texts, and scores of pairs. This crate knows token ids and events; it does not know HTTP, terminals or the environment.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod ban;
pub mod chat;
mod container;
pub mod embed;
pub mod error;
pub mod generate;
pub mod memory;
pub mod mmap;
pub mod model_file;
pub mod near;
mod pattern;
pub mod sample;
pub mod session;
pub mod stop;

pub use error::{Error, Result};
