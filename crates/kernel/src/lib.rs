//! Numbers: block formats, SIMD tiers, matrix products, attention, thread pool.
//!
//! Reading order: [`quant`] says what a weight is, [`acts`] what it is multiplied with, [`ops`] what happens between the
//! matrices. This crate knows no model, no file and no tensor name.

pub mod acts;
pub mod bytes;
pub mod half;
pub mod ops;
pub mod quant;
