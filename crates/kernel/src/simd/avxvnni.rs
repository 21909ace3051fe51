//! AVX-VNNI: x86 from Alder Lake and Zen 5 on, without the registers of AVX-512.

use std::arch::is_x86_feature_detected as has;

use super::avx2::lanes::Avx;
use super::expand::expansions;
use super::lanes::{multiply, tiles};
use super::{Tier, avx2, peak};

/// Reached only through this table, whose fields are private to [`super`], which hands them out after `detect` returned true.
pub static TIER: Tier = Tier {
    name: "avxvnni",
    detect: || (avx2::TIER.detect)() && has!("avxvnni"),
    ops: avx2::TIER.ops,
    dense: avx2::DENSE,
    caches: avx2::CACHES,
    floats: avx2::FLOATS,
    tiles: expansions!(tiles!(Avx<true>, "avx2,fma,f16c,avxvnni", multiply, GROUP, steps)),
    peaks: peak::AVXVNNI,
};

multiply!(Avx<true>, "avx2,fma,f16c,avxvnni", tokens [1 2 3] 4, steps { _ => 8 });
