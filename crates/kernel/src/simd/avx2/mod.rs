//! AVX2 with FMA and F16C: x86 from 2013 on.
//!
//! Weights are used where they lie. Eight rows are taken together and transposed in registers so that a vector lane is a row:
//! no sum runs across lanes, the transposition is shared by all tokens of the tile, and each row keeps the order of sums that
//! [`crate::quant`] asks for.

mod blocks;
mod float;
mod lanes;
mod supers;

use std::arch::x86_64::*;

use super::{RowKernel, Tier};
use crate::acts::{self, Act};
use crate::attn;
use crate::ops::{self, Activation, Ops};
use crate::scan;

/// The functions below call code compiled for AVX2, FMA and F16C. They are reached only through this table, whose fields
/// are private to [`super`], which hands them out after `detect` returned true.
pub static TIER: Tier = Tier {
    name: "avx2",
    detect: || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    },
    ops: Ops {
        rms_norm: build!(ops::rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32])),
        rms_norm_in_place: build!(ops::rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32)),
        layer_norm: build!(ops::layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32])),
        layer_norm_in_place: build!(ops::layer_norm_in_place(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32)),
        glu: build!(ops::glu(f: Activation, gate: &mut [f32], up: &[f32])),
        activate: build!(ops::activate(f: Activation, x: &mut [f32])),
        softcap: build!(ops::softcap(x: &mut [f32], cap: f32)),
        rope_halves: build!(ops::rope_halves(row: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32])),
        rope_interleaved: build!(ops::rope_interleaved(row: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32])),
        quantize: build!(acts::quantize(act: Act, x: &[f32], q: &mut [i8], d: &mut [f32], sums: &mut [i16])),
        attend_block: build!(attn::block(
            query: &[f32], cap: f32, k: &[f32], v: &[f32], sums: &mut [f32], max: &mut f32, total: &mut f32
        )),
        ssm_step: build!(scan::ssm_step(
            state: &mut [f32], x: &[f32], b: &[f32], c: &[f32], numbers: [f32; 3], out: &mut [f32]
        )),
        selective_step: build!(scan::selective_step(
            state: &mut [f32], a: &[f32], channels: [&[f32]; 3], rows: [&[f32]; 2], out: &mut [f32]
        )),
        delta_step: build!(scan::delta_step(
            state: &mut [f32], q: &[f32], k: &[f32], v: &[f32], numbers: [f32; 2], out: &mut [f32]
        )),
    },
    tiles: &[
        ("f32", RowKernel::in_place(Act::F32, tile!(float::f32))),
        ("f16", RowKernel::in_place(Act::F32, tile!(float::f16))),
        ("bf16", RowKernel::in_place(Act::F32, tile!(float::bf16))),
        ("q8_0", RowKernel::in_place(Act::Q8x32, tile!(blocks::q8_0))),
        ("q4_0", RowKernel::in_place(Act::Q8x32, tile!(blocks::q4_0))),
        ("q4_K", RowKernel::in_place(Act::Q8x256, tile!(supers::q4_k))),
        ("q6_K", RowKernel::in_place(Act::Q8x256, tile!(supers::q6_k))),
    ],
};

/// Compiles a plain operation once more with this tier's instructions.
macro_rules! build {
    ($($f:ident)::+($($arg:ident: $type:ty),+)) => {{
        #[target_feature(enable = "avx2,fma,f16c")]
        fn build($($arg: $type),+) {
            $($f)::+($($arg),+);
        }
        // SAFETY: called only where `detect` found the features, see `TIER`.
        |$($arg: $type),+| unsafe { build($($arg),+) }
    }};
}
use build;

/// A tile kernel compiled for this tier, as the plain function the table holds.
macro_rules! tile {
    ($($f:ident)::+) => {
        // SAFETY: called only where `detect` found the features, see `TIER`.
        |_, weights, n_rows, acts, tokens, out| unsafe { $($f)::+(weights, n_rows, acts, tokens, out) }
    };
}
use tile;

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
