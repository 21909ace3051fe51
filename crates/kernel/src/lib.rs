//! Numbers: block formats, SIMD tiers, matrix products, attention, scans, thread pool.
//!
//! Reading order: [`quant`] says what a weight is, [`acts`] what it is multiplied with, [`mat`] and [`gemm`] how,
//! [`attn`], [`scan`] and [`ops`] what happens between the matrices, [`simd`] which CPU tier does it and [`par`] on how many
//! threads. [`dense`] multiplies floats for work that is done once. This crate knows no model, no file and no tensor name.
#![expect(unsafe_code, reason = "SIMD loads and stores, and the disjoint writes of the pool's threads")]

pub mod acts;
pub mod attn;
pub mod bytes;
pub mod dense;
pub mod gemm;
pub mod half;
pub mod mat;
pub mod ops;
pub mod par;
pub mod quant;
pub mod scan;
pub mod simd;
