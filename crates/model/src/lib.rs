//! Meaning: bytes to weights, text to tokens, tokens to logits.
//!
//! Reading order: [`file`] turns bytes into metadata and named tensors, [`token`] text into ids and back, [`prompt`]
//! conversations into text. This crate opens no file, reads no clock and starts no thread.
#![forbid(unsafe_code)]

pub mod error;
pub mod file;
pub mod prompt;
pub mod token;

pub use error::{Error, Result};
