//! NEON: every 64-bit Arm CPU; with its dot product instructions: from Cortex-A75 and A55 (2017) on; and with its matrix product
//! instructions: from Neoverse V1 (2020), Cortex-A510, A710 (2021) and Apple's A15 on.
//!
//! Eight rows are taken together, in two registers of four lanes. `sdot` multiplies signed bytes and adds four products onto an
//! i32; without it products go in pairs over i16, four instructions for one. `smmla` adds eight onto an i32, of two tokens at once.
//! The standard library has no stable name for `sdot`, `smmla`, f16 and prefetches yet, so they are written in assembly.

mod floats;
pub(super) mod lanes;
pub(super) mod pairs;

use std::arch::is_aarch64_feature_detected as has;

use super::expand::expansions;
use super::floats::{caches, floats};
use super::lanes::{multiply, tiles};
use super::ops::ops;
use super::{Tier, peak};
use crate::attn::cache::cache_formats;
use crate::dense::dense;
use lanes::Neon;

/// Reached only through this table, whose fields are private to [`super`], which hands them out after `detect` returned true.
pub static NEON: Tier = Tier {
    name: "neon",
    detect: || has!("neon"),
    ops: ops!("neon"),
    // 24 registers of sums.
    dense: dense!("neon", 6 x (16, 8)),
    caches: cache_formats!(caches!(Neon<false>, "neon")),
    floats: floats!(Neon<false>, "neon", 2 x 3, 4),
    tiles: plain::TILES,
    peaks: peak::NEON,
};

/// The same.
pub static DOTPROD: Tier = Tier {
    name: "dotprod",
    detect: || has!("neon") && has!("dotprod"),
    ops: NEON.ops,
    dense: NEON.dense,
    caches: NEON.caches,
    floats: NEON.floats,
    tiles: dotprod::TILES,
    peaks: peak::DOTPROD,
};

/// The same.
pub static I8MM: Tier = Tier {
    name: "i8mm",
    detect: || (DOTPROD.detect)() && has!("i8mm"),
    ops: NEON.ops,
    dense: NEON.dense,
    caches: NEON.caches,
    floats: NEON.floats,
    tiles: i8mm::TILES,
    peaks: peak::I8MM,
};

mod plain {
    use super::lanes::Neon;
    use super::{expansions, multiply, tiles};
    use crate::simd::RowKernel;

    pub static TILES: &[(&str, RowKernel)] = expansions!(tiles!(Neon<false>, "neon", multiply, GROUP, steps));
    multiply!(Neon<false>, "neon", tokens [1 2 3] 4, steps { _ => 8 });
}

mod dotprod {
    use super::lanes::Neon;
    use super::{expansions, multiply, tiles};
    use crate::simd::RowKernel;

    pub static TILES: &[(&str, RowKernel)] =
        expansions!(tiles!(Neon<true>, "neon,dotprod", multiply, GROUP, steps));
    // Six tokens of two registers, with their sums of floats and integers: 24 of 32 registers.
    multiply!(Neon<true>, "neon,dotprod", tokens [1 2 3 4 5] 6, steps { _ => 8 });
}

mod i8mm {
    use super::dotprod::steps;
    use super::lanes::Neon;
    use super::pairs::{GROUP, multiply};
    use super::{expansions, tiles};
    use crate::simd::RowKernel;

    pub static TILES: &[(&str, RowKernel)] =
        expansions!(tiles!(Neon<true>, "neon,dotprod,i8mm", multiply, GROUP, steps));
}
