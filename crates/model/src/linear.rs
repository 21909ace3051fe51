//! A matrix with an optional bias, and the one way activations go through it, adapters' side products included.

use std::ops::Range;
use std::sync::Arc;

use ingle_kernel::acts::Acts;
use ingle_kernel::gemm::{Product, matmul, matmul_all};
use ingle_kernel::mat::Mat;
use ingle_kernel::ops;

use crate::adapter::Pair;
use crate::decoder::Runtime;
use crate::probe::Takers;

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
        let mat = match self.mat.packs() {
            Some(packs) => mat.packable(packs),
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
    show(run, &linears, x, dim);
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
        finish(run, inputs, x, linear, out);
    }
}

/// Sends `x` `(n_tokens, cols)` through one layer, with a scale for every 32 values of it where the layer's kernel takes one for 256
/// otherwise; `out` is `(n_tokens, rows)`.
///
/// For the head, whose error is the logits' own and whose input has a few values much larger than the rest of their block.
pub fn project_finely(run: &Runtime<'_>, inputs: &mut Inputs, x: &[f32], linear: &Linear, out: &mut [f32]) {
    show(run, &[linear], x, linear.mat.cols());
    let form = linear.mat.kernel().form.finer();
    inputs.acts.set(run.pool, form, x, linear.mat.cols(), run.kernels.ops().quantize);
    matmul(run.pool, &inputs.acts, &linear.mat, out);
    finish(run, inputs, x, linear, out);
}

/// Lets the step's probe see `x` `(n_tokens, dim)`.
fn show(run: &Runtime<'_>, to: &[&Linear], x: &[f32], dim: usize) {
    if let Some(probe) = run.probe {
        probe.input(Takers(to), x, dim);
    }
}

/// Adds to `out` what `linear` has beside its matrix: the bias, and what adapters add.
fn finish(run: &Runtime<'_>, inputs: &mut Inputs, x: &[f32], linear: &Linear, out: &mut [f32]) {
    if let Some(bias) = &linear.bias {
        out.chunks_exact_mut(bias.len()).for_each(|row| ops::add(row, bias));
    }
    let Some(place) = linear.place.as_ref().filter(|_| !run.adapters.is_empty()) else { return };
    for (adapter, factor) in run.adapters {
        if let Some(pair) = adapter.pair(&place.weight) {
            add_side(run, inputs, x, (pair, *factor), place.first_row, out);
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

#[cfg(test)]
mod tests {
    use ingle_kernel::bytes::Bytes;
    use ingle_kernel::par::Pool;
    use ingle_kernel::quant::by_name;
    use ingle_kernel::simd::Kernels;

    use super::*;

    /// A few large inputs beside many small ones, as a head has them.
    #[test]
    fn small_inputs_beside_large_ones_reach_the_head() {
        let (rows, cols, n_tokens) = (40, 512, 3);
        let values: Vec<f32> =
            (0..rows * cols).map(|i| (i as f32 * 0.7).sin() + (i as f32 * 0.013).cos()).collect();
        let x: Vec<f32> =
            (0..n_tokens * cols).map(|i| if i % 256 == 70 { 40.0 } else { (i as f32 * 1.3).sin() }).collect();
        for name in ["q4_K", "q6_K"] {
            let format = by_name(name).expect("on the shelf");
            let mut bytes = vec![0; rows * format.row_bytes(cols)];
            (format.quantize.expect("encoded here"))(&values, None, &mut bytes);
            let kernels = Kernels::detect();
            let linear = |kernels: &Kernels| {
                let mat = Mat::new(kernels, format, rows, cols, Bytes::new(bytes.clone()));
                Linear { mat, bias: Some((0..rows).map(|r| r as f32).collect()), place: None }
            };
            let (pool, mut inputs) = (Pool::new(2), Inputs::default());
            let mut send = |kernels: &Kernels, finely: bool| {
                let (run, linear) = (Runtime::new(&pool, kernels), linear(kernels));
                let mut out = vec![f32::NAN; n_tokens * rows];
                if finely {
                    project_finely(&run, &mut inputs, &x, &linear, &mut out);
                } else {
                    project(&run, &mut inputs, &x, [(&linear, &mut out)]);
                }
                out
            };
            let exact = Kernels::named("exact").expect("runs everywhere");
            let truth = send(&exact, false);
            assert_eq!(send(&exact, true), truth, "{name}: nothing is rounded");
            let error = |out: Vec<f32>| -> f32 { out.iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum() };
            let (plain, fine) = (error(send(&kernels, false)), error(send(&kernels, true)));
            assert!(fine < plain / 4.0, "{name}: squared error {fine:e}, with a scale per 256 {plain:e}");
        }
    }
}
