//! AVX2 with FMA and F16C: x86 from 2013 on.
//!
//! Weights are used where they lie. Eight rows are taken together and transposed in registers so that a vector lane is a row:
//! no sum runs across lanes, the transposition is shared by all tokens of the tile, and each row keeps the order of sums that
//! [`crate::quant`] asks for.

pub(super) mod floats;
pub(super) mod lanes;

use super::expand::expansions;
use super::floats::{caches, floats};
use super::lanes::{multiply, tiles};
use super::ops::ops;
use super::{RowKernel, Tier, peak};
use crate::attn::CacheKernel;
use crate::attn::cache::cache_formats;
use crate::dense::{Both, dense};
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
    dense: DENSE,
    caches: CACHES,
    floats: FLOATS,
    tiles: expansions!(tiles!(Avx<false>, "avx2,fma,f16c", multiply, GROUP, steps)),
    peaks: peak::AVX2,
};

/// Products of dense matrices: twelve registers of sums.
pub(super) const DENSE: Both = dense!("avx2,fma,f16c", 6 x (16, 8));

/// What is done with caches.
pub(super) static CACHES: &[(&str, CacheKernel)] = cache_formats!(caches!(Avx<false>, "avx2,fma,f16c"));

/// The kernels of the float formats.
pub(super) static FLOATS: &[(&str, RowKernel)] = floats!(Avx<false>, "avx2,fma,f16c", 2 x 3, 4);

// Four tokens, with what their products need on the way: 16 registers.
multiply!(Avx<false>, "avx2,fma,f16c", tokens [1 2 3] 4, steps { 0 => 0, 2 => 2, 4 => 4, _ => 8 });
