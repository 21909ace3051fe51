//! The table of kernels: what each CPU tier brings, and which one runs here.
//!
//! A tier is a file with one [`Tier`]: how to detect it, its builds of the small operations, and its tile kernels by
//! format. What a tier does not bring falls back to scalar. The choice is made once, by detection or by name, and a matrix
//! keeps its kernel; nothing is dispatched inside a tile. To add a tier write its file and one line in [`TIERS`].
//!
//! Besides the tiers there is `exact`: f32 arithmetic on dequantised weights, whatever their format, for measuring what
//! integer arithmetic costs in accuracy.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod exact;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod expand;
mod float;
pub(crate) mod floats;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod ops;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod pack;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod panel;
pub mod peak;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stream;

use std::ops::Range;

use crate::acts::{Acts, Form};
use crate::attn::CacheKernel;
use crate::dense::{Both, Dense};
use crate::ops::Ops;
use crate::par::Columns;
use crate::quant::Format;
use peak::Peak;

/// What one kind of CPU brings. Its functions may need that CPU, so they are reached through [`Kernels`] only.
#[derive(Debug)]
pub struct Tier {
    /// The name that `--tier` takes.
    pub name: &'static str,
    /// Whether this CPU has what the tier needs.
    pub detect: fn() -> bool,
    /// Its builds of the small operations.
    pub(crate) ops: Ops,
    /// Its products of dense matrices.
    pub(crate) dense: Both,
    /// What it does with caches of keys and values, by format name.
    pub(crate) caches: &'static [(&'static str, CacheKernel)],
    /// Its tile kernels of float formats, by format name; others fall back to scalar.
    pub(crate) floats: &'static [(&'static str, RowKernel)],
    /// Those of block formats.
    pub(crate) tiles: &'static [(&'static str, RowKernel)],
    /// Its product instructions, over and over: what bounds its kernels.
    pub(crate) peaks: &'static [Peak],
}

/// All tiers this program was built with, slowest first. The last one the CPU has is the default.
pub static TIERS: &[&Tier] = &[
    &scalar::TIER,
    #[cfg(target_arch = "x86_64")]
    &avx2::TIER,
    #[cfg(target_arch = "x86_64")]
    &avxvnni::TIER,
    #[cfg(target_arch = "x86_64")]
    &avx512::TIER,
    #[cfg(target_arch = "x86_64")]
    &amx::TIER,
    #[cfg(target_arch = "aarch64")]
    &neon::NEON,
    #[cfg(target_arch = "aarch64")]
    &neon::DOTPROD,
    #[cfg(target_arch = "aarch64")]
    &neon::I8MM,
];

/// Multiplies a tile: `(format, weights, acts, groups, out)` with some rows of weights, some groups of `acts` and `out`
/// `(tokens, rows)`. There are at most [`crate::gemm::TILE_TOKENS`] tokens.
pub type TileFn = fn(&Format, &[u8], &Acts, Range<usize>, &mut Columns<'_, f32>);

/// How a tier multiplies one format.
#[derive(Debug, Clone, Copy)]
pub struct RowKernel {
    /// The form of activations it takes.
    pub form: Form,
    /// The product of a tile.
    pub tile: TileFn,
    /// How it can be had faster for one token.
    pub packing: Option<Packing>,
}

impl RowKernel {
    /// Whether it takes activations in this form: its own, or the finer one.
    pub fn takes(&self, form: Form) -> bool {
        form == self.form || form == self.form.finer()
    }
}

/// Weights in an order of their own: as many bytes, a strip of rows where it was before.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// Rows of a strip.
    pub rows: usize,
    /// Packs rows: `(weights, n_rows, out)`, with `out` filled up to whole strips.
    pub pack: fn(&[u8], usize, &mut [u8]),
    /// The product of a tile of packed strips.
    pub tile: TileFn,
}

/// Splits `n` into parts of at most `most`, as equal as can be: the first of each and how many.
#[inline(always)]
pub(crate) fn parts(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n_parts = n.div_ceil(most);
    (0..n_parts).map(move |i| (i * n / n_parts, (i + 1) * n / n_parts - i * n / n_parts))
}

/// The kernels of one run: a tier, or `exact`.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    tier: &'static Tier,
    exact: bool,
    packs: WeightOrder,
}

/// How the weights of a run lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightOrder {
    /// As in their file.
    AsInFile,
    /// Packed where a file has them so.
    PackedWhereKept,
    /// Packed, in memory of our own where no file has them so.
    Packed,
}

impl Kernels {
    /// The fastest tier this CPU has.
    pub fn detect() -> Self {
        let tier = TIERS.iter().copied().rfind(|t| (t.detect)()).expect("scalar runs everywhere");
        Self { tier, exact: false, packs: WeightOrder::AsInFile }
    }

    /// The tier called `name`, or `exact`; `None` when there is none or the CPU lacks it.
    pub fn named(name: &str) -> Option<Self> {
        if name == "exact" {
            return Some(Self { exact: true, ..Self::detect() });
        }
        let tier = TIERS.iter().copied().find(|t| t.name == name && (t.detect)())?;
        Some(Self { tier, exact: false, packs: WeightOrder::AsInFile })
    }

    /// The same kernels, for a run whose weights lie so: see [`crate::mat::Mat::packable`].
    pub fn packing(self, packs: WeightOrder) -> Self {
        Self { packs, ..self }
    }

    /// How weights lie.
    pub fn packs(&self) -> WeightOrder {
        self.packs
    }

    /// Every name [`Kernels::named`] takes on this CPU.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TIERS.iter().filter(|t| (t.detect)()).map(|t| t.name).chain(["exact"])
    }

    /// The name of the tier, or `exact`.
    pub fn name(&self) -> &'static str {
        if self.exact { "exact" } else { self.tier.name }
    }

    /// The small operations.
    pub fn ops(&self) -> &'static Ops {
        &self.tier.ops
    }

    /// The product of dense matrices of f32.
    pub fn dense_f32(&self) -> Dense<f32> {
        self.tier.dense.f32
    }

    /// The product of dense matrices of f64.
    pub fn dense_f64(&self) -> Dense<f64> {
        self.tier.dense.f64
    }

    /// What the tier does with caches of `format`.
    ///
    /// # Panics
    /// When it is none of [`crate::attn::FORMATS`].
    pub(crate) fn cache_kernel(&self, format: &Format) -> CacheKernel {
        let kernel = self.tier.caches.iter().find(|(name, _)| *name == format.name);
        kernel.expect("a format of caches").1
    }

    /// The kernel for matrices of `format` with rows of `cols` weights.
    pub fn row_kernel(&self, format: &'static Format, cols: usize) -> RowKernel {
        // Activations are quantised in whole blocks; a format with smaller blocks may have rows that don't fill one.
        if self.exact || !cols.is_multiple_of(format.act.block()) {
            return exact::KERNEL;
        }
        let tile = self.tier.tiles.iter().chain(self.tier.floats).find(|(name, _)| *name == format.name);
        tile.map_or(
            RowKernel { form: Form::rows(format.act), tile: scalar::tile, packing: None },
            |(_, kernel)| *kernel,
        )
    }
}
