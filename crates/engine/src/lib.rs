//! Time: mapped files, sessions, sampling, events.
//!
//! Reading order: [`mmap`] and [`model_file`] bring a model in, [`chat`] renders a conversation, [`session`] runs it over a
//! sequence, [`sample`] chooses tokens, [`constrain`] says which may come, [`ban`] and [`stop`] watch the text, [`answer`] puts them
//! together, [`spec`] guesses ahead, [`generate`] runs one answer in a session, [`run`] many at once by the plans of [`schedule`], which share beginnings through [`prefix`] and keep them in [`kv_dir`], in the form of [`at_rest`], [`output`] says what an
//! answer means. [`packed`] keeps packed weights in files. [`embed`] makes vectors of texts, and scores of pairs. [`meter`] says what work took and [`governor`] how much there may be, both by what [`sysfs`] shows. [`residency`] says which models are in memory. This crate knows token ids and events; it does not know HTTP, terminals or the environment.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod answer;
pub mod at_rest;
pub mod ban;
pub mod chat;
pub mod clock;
pub mod constrain;
mod container;
pub mod embed;
pub mod error;
pub mod generate;
pub mod governor;
pub mod kv_dir;
pub mod memory;
pub mod meter;
pub mod mmap;
pub mod model_file;
pub mod near;
pub mod output;
pub mod packed;
mod pattern;
pub mod prefix;
pub mod residency;
pub mod run;
pub mod sample;
pub mod schedule;
pub mod session;
pub mod spec;
pub mod stop;
pub mod sysfs;
mod tools_as_text;

pub use error::{Error, Result};
