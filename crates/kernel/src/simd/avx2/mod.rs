//! AVX2 with FMA and F16C: x86 from 2013 on.
//!
//! Weights are used where they lie. Eight rows are taken together and transposed in registers so that a vector lane is a row:
//! no sum runs across lanes, the transposition is shared by all tokens of the tile, and each row keeps the order of sums that
//! [`crate::quant`] asks for.

mod float;
pub(super) mod lanes;

use std::arch::x86_64::*;

use super::expand::expansions;
use super::lanes::{floats, multiply, tiles};
use super::ops::ops;
use super::{RowKernel, Tier};
use lanes::Avx;

/// The functions below call code compiled for AVX2, FMA and F16C. They are reached only through this table, whose fields
/// are private to [`super`], which hands them out after `detect` returned true.
pub static TIER: Tier = Tier {
    name: "avx2",
    detect: || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    },
    ops: ops!("avx2,fma,f16c"),
    floats: FLOATS,
    tiles: expansions!(tiles!(Avx<false>, "avx2,fma,f16c", multiply)),
};

/// The kernels of the float formats.
pub(super) static FLOATS: &[(&str, RowKernel)] = floats!();

// Four tokens, with what their products need on the way: 16 registers.
multiply!(Avx<false>, "avx2,fma,f16c", tokens [1 2 3] 4, steps { 0 => 0, 2 => 2, 4 => 4, _ => 8 });

/// 16 bytes to a register.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array has the 16 bytes that are read; the load takes any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// 8 floats to a register.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn load_f32(values: &[f32; 8]) -> __m256 {
    // SAFETY: the array has the 8 floats that are read; the load takes any alignment.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

/// A register to 8 floats.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn store_f32(v: __m256) -> [f32; 8] {
    let mut out = [0.0; 8];
    // SAFETY: the array has room for the 8 floats that are written; the store takes any alignment.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
    out
}
