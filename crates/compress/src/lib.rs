//! Smaller weights without gradients.
//!
//! Reading order: [`mixture`] is the shelf of recipes, [`role`] says what a tensor is for, [`plan`](mod@plan) decides the
//! format of every tensor, [`imatrix`] reads which columns matter, [`rows`] says where a file has rows that its source leaves
//! out, [`quantize`](mod@quantize) does it tensor by tensor and measures the error, [`report`] adds it up and [`output`] brings
//! the new file into being, whole or not at all; [`export`] writes a model as a folder of safetensors. Nothing here edits a file in place, reads a clock, prints or calls a model.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod error;
pub mod mixture;
pub mod role;

pub mod plan;

pub mod export;
pub mod imatrix;
pub mod output;
pub mod quantize;
pub mod report;
pub mod rows;

pub use error::{Error, Result};
