//! A matrix with an optional bias, and the one way activations go through it.

use std::ops::Range;

use ingle_kernel::acts::Acts;
use ingle_kernel::gemm::{Product, matmul, matmul_all};
use ingle_kernel::mat::Mat;
use ingle_kernel::ops;

use crate::decoder::Runtime;

/// `y = W x + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `(rows, cols)`
    pub mat: Mat,
    /// `(rows)`
    pub bias: Option<Vec<f32>>,
}

impl Linear {
    /// Rows `range` as a layer of its own over the same weights: how fused projections are taken apart.
    pub fn rows_view(&self, range: Range<usize>) -> Self {
        let bias = self.bias.as_ref().map(|bias| bias[range.clone()].to_vec());
        Self { mat: self.mat.rows_view(range), bias }
    }
}

/// Sends `x` `(n_tokens, cols)` through layers that share it; each result is `(n_tokens, rows)`.
///
/// `x` is quantised once when all take it in the same form.
pub fn project<const N: usize>(
    run: &Runtime<'_>,
    acts: &mut Acts,
    x: &[f32],
    to: [(&Linear, &mut [f32]); N],
) {
    let first = &to[0].0.mat;
    let (act, dim) = (first.kernel().act, first.cols());
    let quantize = run.kernels.ops().quantize;
    let mut biases: [Option<&[f32]>; N] = [None; N];
    for (bias, (linear, _)) in biases.iter_mut().zip(&to) {
        *bias = linear.bias.as_deref();
    }
    acts.set(act, x, dim, quantize);
    if to.iter().all(|(linear, _)| linear.mat.kernel().act == act) {
        let products = to.map(|(linear, out)| Product { mat: &linear.mat, out });
        let outs = matmul_all(run.pool, acts, products);
        for (bias, out) in biases.into_iter().zip(outs) {
            add_bias(bias, out);
        }
        return;
    }
    for (linear, out) in to {
        if acts.act() != linear.mat.kernel().act {
            acts.set(linear.mat.kernel().act, x, dim, quantize);
        }
        matmul(run.pool, acts, &linear.mat, out);
        add_bias(linear.bias.as_deref(), out);
    }
}

fn add_bias(bias: Option<&[f32]>, out: &mut [f32]) {
    let Some(bias) = bias else { return };
    for row in out.chunks_exact_mut(bias.len()) {
        ops::add(row, bias);
    }
}
