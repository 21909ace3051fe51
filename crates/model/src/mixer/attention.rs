//! Grouped-query attention (arXiv 2305.13245) with rotary positions, and optional norms on the heads of q and k.

use ingle_kernel::attn::attend;

use crate::config::Config;
use crate::decoder::{Runtime, Scratch, Span};
use crate::linear::{Linear, project};
use crate::rope::Order;

/// Weights of the block.
#[derive(Debug)]
pub struct Attention {
    /// `(n_heads * head_dim, dim)`
    pub q: Linear,
    /// `(n_kv_heads * head_dim, dim)`
    pub k: Linear,
    /// `(n_kv_heads * head_dim, dim)`
    pub v: Linear,
    /// `(dim, n_heads * head_dim)`
    pub o: Linear,
    /// RMS norm of each query head. `(head_dim)`
    pub q_norm: Option<Vec<f32>>,
    /// RMS norm of each key head. `(head_dim)`
    pub k_norm: Option<Vec<f32>>,
}

impl Attention {
    /// Reads the normed input from `s.normed` and leaves the result in `s.delta`, both `(n_tokens, dim)`; stores the
    /// keys and values of every span in its cache.
    pub(crate) fn forward(
        &self,
        run: &Runtime<'_>,
        config: &Config,
        layer: usize,
        spans: &mut [Span<'_>],
        n_tokens: usize,
        s: &mut Scratch,
    ) {
        let (dim, q_dim, kv_dim) = (config.dim, config.q_dim(), config.kv_dim());
        let q = &mut s.q[..n_tokens * q_dim];
        let k = &mut s.k[..n_tokens * kv_dim];
        let v = &mut s.v[..n_tokens * kv_dim];
        let normed = &s.normed[..n_tokens * dim];
        project(run, &mut s.acts, normed, [(&self.q, &mut *q), (&self.k, &mut *k), (&self.v, &mut *v)]);

        let n_pairs = config.rope.frequencies.len();
        let rotate = match config.rope.order {
            Order::Halves => run.kernels.ops().rope_halves,
            Order::Interleaved => run.kernels.ops().rope_interleaved,
        };
        let head_dim = config.attn.head_dim;
        let (cos, sin) = (&s.cos, &s.sin);
        let prepare = |t: usize, row: &mut [f32], norm: Option<&[f32]>| {
            if let Some(norm) = norm {
                for head in row.chunks_exact_mut(head_dim) {
                    norm_in_place(run, head, norm, config.norm_eps);
                }
            }
            let at = t * n_pairs..(t + 1) * n_pairs;
            rotate(row, head_dim, &cos[at.clone()], &sin[at]);
        };
        run.pool.for_rows(q, q_dim, |t, row| prepare(t, row, self.q_norm.as_deref()));
        run.pool.for_rows(k, kv_dim, |t, row| prepare(t, row, self.k_norm.as_deref()));

        let mut first = 0;
        for span in spans {
            let n = span.tokens.len();
            let (pos, rows) = (span.kv.len(), first * kv_dim..(first + n) * kv_dim);
            span.kv.store(layer, pos, &k[rows.clone()], &v[rows]);
            let rows = first * q_dim..(first + n) * q_dim;
            let out = &mut s.heads[rows.clone()];
            attend(run.pool, run.kernels, config.attn, span.kv.layer(layer), pos, &q[rows], &mut s.attn, out);
            first += n;
        }
        let heads = &s.heads[..n_tokens * q_dim];
        project(run, &mut s.acts, heads, [(&self.o, &mut s.delta[..n_tokens * dim])]);
    }
}

/// Heads are at most a few hundred values: a copy on the stack spares every caller a second buffer.
fn norm_in_place(run: &Runtime<'_>, head: &mut [f32], weight: &[f32], eps: f32) {
    const STACK: usize = 512;
    let mut copy = [0f32; STACK];
    if let Some(copy) = copy.get_mut(..head.len()) {
        copy.copy_from_slice(head);
        (run.kernels.ops().rms_norm)(copy, weight, eps, head);
    } else {
        let copy = head.to_vec();
        (run.kernels.ops().rms_norm)(&copy, weight, eps, head);
    }
}
