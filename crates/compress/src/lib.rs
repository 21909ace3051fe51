//! Smaller weights without gradients.
//!
//! Reading order: [`mixture`] is the shelf of formats for a whole model, [`role`] says what a tensor is for, [`plan`](mod@plan) decides
//! the format of every tensor, [`imatrix`] reads which columns matter, [`rows`] says where a file has rows that its source leaves
//! out, [`quantize`](mod@quantize) does it tensor by tensor and measures the error, [`report`] adds it up, [`page`] shows it and [`output`]
//! brings the new file into being, whole or not at all; [`export`] writes a model as a folder of safetensors.
//!
//! The clever way: a [`recipe`] says what is done, [`calibrate`] sums up what a model's matrices are given, [`method`] is the shelf of
//! ways from weights to codes that use it, on the [`linalg`] they need, [`balance`] moves scale from inputs to weights and
//! [`prune`](mod@prune) sets some to 0 before, [`inputs`] says what rounding inputs costs, [`slim`] takes whole layers, channels and heads away, and [`pipeline`] carries it
//! out layer by layer, with a [`journal`] from which it goes on when it was stopped. [`evaluate`] says what the result is worth,
//! [`search`] finds the formats that are worth most under targets. Nothing here edits a file in place, reads a clock or prints.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod error;
pub mod mixture;
pub mod role;

pub mod plan;

pub mod export;
pub mod imatrix;
pub mod output;
pub mod page;
pub mod quantize;
pub mod report;
pub mod rows;

pub mod balance;
pub mod calibrate;
pub mod evaluate;
pub mod inputs;
pub mod journal;
pub mod linalg;
pub mod method;
pub mod pipeline;
pub mod prune;
pub mod recipe;
pub mod search;
pub mod slim;

mod walks;

#[cfg(test)]
mod noise;

pub use error::{Error, Result};
