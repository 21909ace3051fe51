//! Grouped-query attention (arXiv 2305.13245) with rotary positions, and what families add to it: norms on q and k, windows,
//! soft caps and sinks.

use ingle_kernel::attn::{Queries, Shape, attend};

use super::Mixer;
use crate::decoder::Step;
use crate::error::Result;
use crate::kv::{KvShape, StateShape};
use crate::linear::{Linear, project};
use crate::norm::Norm;
use crate::rope::Angles;
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// What one layer's attention is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Heads and the arithmetic of their scores.
    pub shape: Shape,
    /// Which of the model's rotations it takes; `None` for positions that are not told.
    pub rope: Option<usize>,
}

impl Plan {
    /// Attention of `shape` with the model's first rotation.
    pub fn new(shape: Shape) -> Self {
        Self { shape, rope: Some(0) }
    }

    /// Values of all query heads of a token.
    pub fn q_dim(&self) -> usize {
        self.shape.n_heads * self.shape.head_dim
    }

    /// Values of all key (or value) heads of a token.
    pub fn kv_dim(&self) -> usize {
        self.shape.n_kv_heads * self.shape.head_dim
    }

    /// Keys and values, as far back as it looks.
    pub(super) fn state(&self) -> StateShape {
        let Shape { n_kv_heads, head_dim, window, .. } = self.shape;
        StateShape { kv: Some(KvShape { n_kv_heads, head_dim, window }), recurrent: 0 }
    }

    pub(super) fn need(&self) -> Need {
        Need {
            per_token: 2 * self.q_dim() + 2 * self.kv_dim(),
            per_thread: self.shape.scratch_len(),
            widest: self.q_dim(),
        }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Attention {
    plan: Plan,
    /// `(n_heads * head_dim, dim)`
    q: Linear,
    /// `(n_kv_heads * head_dim, dim)`
    k: Linear,
    /// `(n_kv_heads * head_dim, dim)`
    v: Linear,
    /// `(dim, n_heads * head_dim)`
    o: Linear,
    /// Of each query head, or of all together.
    q_norm: Option<Norm>,
    /// Of each key head, or of all together.
    k_norm: Option<Norm>,
    /// `(n_heads)`
    sinks: Option<Vec<f32>>,
}

impl Attention {
    pub(super) fn read(plan: &Plan, source: &mut Source<'_>, dim: usize) -> Result<Self> {
        let (q_dim, kv_dim) = (plan.q_dim(), plan.kv_dim());
        let [q, k, v] = if source.has("attn_qkv.weight") {
            source.fused("attn_qkv", [q_dim, kv_dim, kv_dim], dim)?
        } else {
            [
                source.linear("attn_q", q_dim, dim)?,
                source.linear("attn_k", kv_dim, dim)?,
                source.linear("attn_v", kv_dim, dim)?,
            ]
        };
        Ok(Self {
            q,
            k,
            v,
            o: source.linear("attn_output", dim, q_dim)?,
            q_norm: source.norm_if("attn_q_norm", plan.shape.head_dim, q_dim)?,
            k_norm: source.norm_if("attn_k_norm", plan.shape.head_dim, kv_dim)?,
            sinks: source.vector_if("attn_sinks.weight", plan.shape.n_heads)?,
            plan: plan.clone(),
        })
    }

    /// Norms and rotates the heads of every token's row, `(n_tokens, width)`.
    fn prepare(
        &self,
        step: &Step<'_, '_>,
        angles: &Angles,
        rows: &mut [f32],
        width: usize,
        norm: Option<&Norm>,
    ) {
        let run = step.run;
        let rope = self.plan.rope.map(|i| (&step.config.ropes[i], i));
        run.pool.for_rows(rows, width, |t, row| {
            if let Some(norm) = norm {
                norm.apply_in_place(run, row);
            }
            if let Some((rope, i)) = rope {
                rope.rotate(run, row, self.plan.shape.head_dim, angles.of(i, t));
            }
        });
    }
}

impl Mixer for Attention {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, dim) = (step.run, step.n_tokens, step.config.dim);
        let (q_dim, kv_dim) = (self.plan.q_dim(), self.plan.kv_dim());
        let [q, k, v, heads] = split(&mut s.arena, n_tokens, [q_dim, kv_dim, kv_dim, q_dim]);
        let normed = &s.normed[..n_tokens * dim];
        project(run, &mut s.inputs, normed, [(&self.q, &mut *q), (&self.k, &mut *k), (&self.v, &mut *v)]);
        self.prepare(step, &s.angles, q, q_dim, self.q_norm.as_ref());
        self.prepare(step, &s.angles, k, kv_dim, self.k_norm.as_ref());

        let mut first = 0;
        for span in &mut *step.spans {
            let (mut pos, end) = (span.kv.len(), first + span.tokens.len());
            // A cache that keeps only a window takes a long span slice by slice.
            while first < end {
                let n = (end - first).min(span.kv.slice(step.layer));
                let rows = first * kv_dim..(first + n) * kv_dim;
                span.kv.store(step.layer, pos, &k[rows.clone()], &v[rows]);
                let rows = first * q_dim..(first + n) * q_dim;
                let queries = Queries { first_pos: pos, q: &q[rows.clone()], sinks: self.sinks.as_deref() };
                let cache = span.kv.layer(step.layer);
                attend(
                    run.pool,
                    run.kernels,
                    self.plan.shape,
                    cache,
                    queries,
                    &mut s.thread,
                    &mut heads[rows],
                );
                (first, pos) = (first + n, pos + n);
            }
        }
        project(run, &mut s.inputs, heads, [(&self.o, &mut s.delta[..n_tokens * dim])]);
    }
}
