//! The gated feed-forward block: `down(silu(gate(x)) * up(x))` (arXiv 2002.05202).

use crate::decoder::{Runtime, Scratch};
use crate::linear::{Linear, project};

/// Weights of the block.
#[derive(Debug)]
pub struct Dense {
    /// `(ffn_dim, dim)`
    pub gate: Linear,
    /// `(ffn_dim, dim)`
    pub up: Linear,
    /// `(dim, ffn_dim)`
    pub down: Linear,
}

impl Dense {
    /// Reads the normed input from `scratch.normed` and leaves the result in `scratch.delta`, both `(n_tokens, dim)`.
    pub(crate) fn forward(&self, run: &Runtime<'_>, n_tokens: usize, s: &mut Scratch) {
        let (dim, ffn_dim) = (self.down.mat.rows(), self.down.mat.cols());
        let normed = &s.normed[..n_tokens * dim];
        let gate = &mut s.gate[..n_tokens * ffn_dim];
        let up = &mut s.up[..n_tokens * ffn_dim];
        project(run, &mut s.acts, normed, [(&self.gate, gate), (&self.up, up)]);
        let (gate, up) = (&mut s.gate[..n_tokens * ffn_dim], &s.up[..n_tokens * ffn_dim]);
        run.pool.for_rows(gate, ffn_dim, |t, gate| {
            (run.kernels.ops().silu_mul)(gate, &up[t * ffn_dim..(t + 1) * ffn_dim]);
        });
        project(run, &mut s.acts, gate, [(&self.down, &mut s.delta[..n_tokens * dim])]);
    }
}
