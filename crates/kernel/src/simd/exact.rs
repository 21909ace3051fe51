//! f32 arithmetic on dequantised weights, for any format: no rounding of activations, no integer sums.
//!
//! Rows are decoded a stretch at a time into a small buffer and summed in the 16 lanes of [`crate::quant`], so the
//! numbers equal those of the same weights stored as f32.

use std::ops::Range;

use super::RowKernel;
use crate::acts::{Act, Acts, Form};
use crate::gemm::TILE_TOKENS;
use crate::ops::fold;
use crate::par::Columns;
use crate::quant::Format;

pub static KERNEL: RowKernel = RowKernel { form: Form::rows(Act::F32), tile, packing: None };

/// A multiple of every format's block and of the 16 lanes.
const STRETCH: usize = 256;

fn tile(format: &Format, weights: &[u8], acts: &Acts, groups: Range<usize>, out: &mut Columns<'_, f32>) {
    let tokens = acts.tokens(groups);
    let row_bytes = weights.len() / out.n();
    let mut values = [0f32; STRETCH];
    for (r, row) in weights.chunks_exact(row_bytes).enumerate() {
        let mut lanes = [[0f32; 16]; TILE_TOKENS];
        for (i, blocks) in row.chunks(format.row_bytes(STRETCH)).enumerate() {
            let values = &mut values[..blocks.len() / format.bytes * format.block];
            (format.dequantize)(blocks, values);
            let first = i * STRETCH;
            for (t, lanes) in tokens.clone().zip(&mut lanes) {
                add_products(values, &acts.row(t).f[first..first + values.len()], lanes);
            }
        }
        for (t, lanes) in lanes[..tokens.len()].iter_mut().enumerate() {
            out.row(t)[r] = fold(lanes);
        }
    }
}

fn add_products(w: &[f32], x: &[f32], lanes: &mut [f32; 16]) {
    let (w16, w_rest) = w.as_chunks::<16>();
    let (x16, x_rest) = x.as_chunks::<16>();
    for (w, x) in w16.iter().zip(x16) {
        for i in 0..16 {
            lanes[i] += w[i] * x[i];
        }
    }
    for (lane, (w, x)) in lanes.iter_mut().zip(w_rest.iter().zip(x_rest)) {
        *lane += w * x;
    }
}
