//! The truth: plain Rust, on every CPU.

use std::ops::Range;

use super::Tier;
use super::floats::Portable;
use crate::acts::{self, Acts};
use crate::attn::cache::{self, CacheFormat, cache_formats};
use crate::attn::{CacheKernel, block};
use crate::dense;
use crate::ops::{self, Ops};
use crate::par::Columns;
use crate::quant::Format;
use crate::scan;

/// What is done with caches of each format.
macro_rules! caches {
    (; $($format:ident)*) => {
        &[$((
            cache::$format::NAME,
            CacheKernel {
                attend: |block, running| block::attend::<Portable, cache::$format>(Portable, block, running),
                store: cache::store::<cache::$format>,
            },
        )),*]
    };
}

/// Runs everywhere.
pub static TIER: Tier = Tier {
    name: "scalar",
    detect: || true,
    ops: Ops {
        rms_norm: ops::rms_norm,
        rms_norm_in_place: ops::rms_norm_in_place,
        layer_norm: ops::layer_norm,
        layer_norm_in_place: ops::layer_norm_in_place,
        glu: ops::glu,
        activate: ops::activate,
        softcap: ops::softcap,
        rope_halves: ops::rope_halves,
        rope_interleaved: ops::rope_interleaved,
        quantize: acts::quantize,
        ssm_step: scan::ssm_step,
        selective_step: scan::selective_step,
        delta_step: scan::delta_step,
    },
    dense: dense::PORTABLE,
    caches: cache_formats!(caches!()),
    floats: &[],
    tiles: &[],
    peaks: &[],
};

/// Any format's tile, one dot product at a time.
pub fn tile(format: &Format, weights: &[u8], acts: &Acts, groups: Range<usize>, out: &mut Columns<'_, f32>) {
    let row_bytes = weights.len() / out.n();
    for (i, t) in acts.tokens(groups).enumerate() {
        let row = acts.row(t);
        for (out, weights) in out.row(i).iter_mut().zip(weights.chunks_exact(row_bytes)) {
            *out = (format.dot)(weights, row);
        }
    }
}
