//! A matrix with an optional bias, and the one way activations go through it, adapters' side products included.

use std::ops::Range;
use std::sync::Arc;

use ingle_kernel::acts::Acts;
use ingle_kernel::gemm::{Product, matmul, matmul_all};
use ingle_kernel::mat::Mat;
use ingle_kernel::ops;

use crate::adapter::Pair;
use crate::decoder::Runtime;

/// `y = W x + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `(rows, cols)`
    pub mat: Mat,
    /// `(rows)`
    pub bias: Option<Vec<f32>>,
    /// Which weight of the file it is, where adapters may add to it.
    pub place: Option<Place>,
}

/// Rows of a weight of the file, from the first of [`Linear::mat`] on.
#[derive(Debug, Clone)]
pub struct Place {
    /// Name of the weight in the file.
    pub weight: Arc<str>,
    /// Where the rows begin in it.
    pub first_row: usize,
}

/// A weight that adapters may add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptable {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Whether its rows are looked up, as an embedding's, instead of multiplied.
    pub is_looked_up: bool,
}

/// Buffers of matrix inputs, reused from step to step.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The input in the form the matrices take.
    acts: Acts,
    /// An adapter's inner values `(n_tokens, rank)`, as input and as floats.
    low_acts: Acts,
    low: Vec<f32>,
    /// What an adapter adds. `(n_tokens, rows)`
    side: Vec<f32>,
}

impl Inputs {
    /// Room for `n_tokens` rows of up to `dim` values; adapters' buffers grow when the first is used.
    pub fn with_capacity(n_tokens: usize, dim: usize) -> Self {
        Self { acts: Acts::with_capacity(n_tokens, dim), ..Self::default() }
    }
}

impl Linear {
    /// Rows `range` as a layer of its own over the same weights: how fused projections are taken apart.
    pub fn rows_view(&self, range: Range<usize>) -> Self {
        let bias = self.bias.as_ref().map(|bias| bias[range.clone()].to_vec());
        let place = self
            .place
            .as_ref()
            .map(|place| Place { weight: place.weight.clone(), first_row: place.first_row + range.start });
        let mat = self.mat.rows_view(range);
        let mat = match self.mat.packs_after() {
            Some(n_steps) => mat.packable(n_steps),
            None => mat,
        };
        Self { mat, bias, place }
    }
}

/// Sends `x` `(n_tokens, cols)` through layers that share it; each result is `(n_tokens, rows)`.
///
/// `x` is quantised once when all take it in the same form.
pub fn project<const N: usize>(
    run: &Runtime<'_>,
    inputs: &mut Inputs,
    x: &[f32],
    to: [(&Linear, &mut [f32]); N],
) {
    let first = &to[0].0.mat;
    let (form, dim) = (first.kernel().form, first.cols());
    let quantize = run.kernels.ops().quantize;
    let linears = to.each_ref().map(|(linear, _)| *linear);
    let outs = {
        let acts = &mut inputs.acts;
        acts.set(run.pool, form, x, dim, quantize);
        if linears.iter().all(|linear| linear.mat.kernel().form == form) {
            matmul_all(run.pool, acts, to.map(|(linear, out)| Product { mat: &linear.mat, out }))
        } else {
            to.map(|(linear, out)| {
                if acts.form() != linear.mat.kernel().form {
                    acts.set(run.pool, linear.mat.kernel().form, x, dim, quantize);
                }
                matmul(run.pool, acts, &linear.mat, out);
                out
            })
        }
    };
    for (linear, out) in linears.into_iter().zip(outs) {
        if let Some(bias) = &linear.bias {
            out.chunks_exact_mut(bias.len()).for_each(|row| ops::add(row, bias));
        }
        let Some(place) = linear.place.as_ref().filter(|_| !run.adapters.is_empty()) else { continue };
        for (adapter, factor) in run.adapters {
            if let Some(pair) = adapter.pair(&place.weight) {
                add_side(run, inputs, x, (pair, *factor), place.first_row, out);
            }
        }
    }
}

/// Adds to `out` `(n_tokens, dim)`, embeddings of `ids`, what adapters have for them. The embedding stands at `place`.
pub fn add_looked_up(
    run: &Runtime<'_>,
    inputs: &mut Inputs,
    place: &Place,
    ids: impl Iterator<Item = u32> + Clone,
    out: &mut [f32],
) {
    for (adapter, factor) in run.adapters {
        let Some(pair) = adapter.pair(&place.weight) else { continue };
        let (rank, n_tokens) = (pair.a.cols(), out.len() / pair.b.rows());
        inputs.low.resize(inputs.low.len().max(n_tokens * rank), 0.0);
        for (id, row) in ids.clone().zip(inputs.low.chunks_exact_mut(rank)) {
            pair.a.dequantize_row(id as usize, row);
        }
        add_low(run, inputs, (pair, *factor), n_tokens, 0, out);
    }
}

/// `out += factor * scale * B (A x)`, of the rows of `B` from `first_row` on.
fn add_side(
    run: &Runtime<'_>,
    inputs: &mut Inputs,
    x: &[f32],
    (pair, factor): (&Pair, f32),
    first_row: usize,
    out: &mut [f32],
) {
    let (dim, rank) = (pair.a.cols(), pair.a.rows());
    let n_tokens = x.len() / dim;
    inputs.low.resize(inputs.low.len().max(n_tokens * rank), 0.0);
    inputs.acts.set(run.pool, pair.a.kernel().form, x, dim, run.kernels.ops().quantize);
    matmul(run.pool, &inputs.acts, &pair.a, &mut inputs.low[..n_tokens * rank]);
    add_low(run, inputs, (pair, factor), n_tokens, first_row, out);
}

/// `out += factor * scale * B low` for the `(n_tokens, rank)` values of `inputs.low`, of the rows of `B` from `first_row` on.
fn add_low(
    run: &Runtime<'_>,
    Inputs { low_acts, low, side, .. }: &mut Inputs,
    (pair, factor): (&Pair, f32),
    n_tokens: usize,
    first_row: usize,
    out: &mut [f32],
) {
    let rank = pair.b.cols();
    let rows = out.len() / n_tokens;
    side.resize(side.len().max(out.len()), 0.0);
    let side = &mut side[..out.len()];
    low_acts.set(run.pool, pair.b.kernel().form, &low[..n_tokens * rank], rank, run.kernels.ops().quantize);
    matmul(run.pool, low_acts, &pair.b.rows_view(first_row..first_row + rows), side);
    ops::add_scaled(out, side, pair.scale * factor);
}
