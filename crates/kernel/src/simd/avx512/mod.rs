//! AVX-512 with VNNI: x86 from Ice Lake and Zen 4 on.
//!
//! 32 rows are taken together, in two registers of 16 lanes. `vpdpbusd` multiplies unsigned bytes of weights with signed bytes of
//! activations and adds four products onto an i32 without a rounding or a carry lost: twice a cycle, the peak of the CPU.

mod floats;
pub(super) mod lanes;

use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::__m512;

use super::expand::expansions;
use super::floats::{caches, floats};
use super::lanes::tiles;
use super::ops::ops;
use super::panel::Product;
use super::{RowKernel, Tier, amx, avx2, peak};
use crate::attn::cache::cache_formats;
use crate::dense::{Both, dense};
use lanes::Avx512;
use vnni::{GROUP, steps};

/// Reached only through this table, whose fields are private to [`super`], which hands them out after `detect` returned true.
pub static TIER: Tier = Tier {
    name: "avx512",
    detect: || {
        (avx2::TIER.detect)()
            && has!("avx512f")
            && has!("avx512bw")
            && has!("avx512dq")
            && has!("avx512vl")
            && has!("avx512vnni")
            && has!("avx512vbmi2")
    },
    ops: ops!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c"),
    dense: DENSE,
    caches: cache_formats!(caches!(
        Avx512,
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c"
    )),
    floats: floats!(Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c", 4 x 6, 8),
    tiles: TILES,
    peaks: peak::AVX512,
};

/// Products of dense matrices: 24 registers of sums.
pub(super) const DENSE: Both =
    dense!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c", 12 x (32, 16));

/// The same, for activations in any groups.
pub(super) const TILES: &[(&str, RowKernel)] = expansions!(tiles!(
    Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c",
    multiply,
    GROUP,
    steps
));

/// The product of a panel: by [`amx`] of groups that are larger than those of `vpdpbusd`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
fn multiply(product: &Product<'_, Avx512>, steps: usize, sums: &mut [[__m512; 2]]) {
    if product.groups[0].n <= GROUP {
        vnni::multiply(product, steps, sums);
    } else {
        amx::multiply(product, sums);
    }
}

mod vnni {
    use super::super::lanes::multiply;
    use super::lanes::Avx512;

    // Six tokens of two registers, with their sums of floats and integers: 24 of 32 registers.
    multiply!(
        Avx512,
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c",
        tokens [1 2 3 4 5] 6,
        steps { _ => 8 }
    );
}
