//! Grouped-query attention (arXiv 2305.13245) with rotary positions, and what families add to it: norms on q and k, windows,
//! soft caps, sinks and gates on the result (arXiv 2505.06708).

use std::ops::Range;

use ingle_kernel::attn::{Queries, Shape, attend};
use ingle_kernel::ops::Activation;

use super::Mixer;
use crate::decoder::{Branch, Span, Step};
use crate::error::Result;
use crate::kv::{Kv, KvShape, StateShape};
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
    /// Whether norms on q and k come behind the rotation instead of before it.
    pub norm_after_rope: bool,
    /// Whether every value head is divided by its root mean square.
    pub norm_values: bool,
    /// Whether values are the keys before norm and rotation.
    pub values_are_keys: bool,
    /// The earlier layer whose keys and values it reads instead of making its own.
    pub kv_from: Option<usize>,
    /// Whether later layers read its keys and values, which are kept whole for them.
    pub kv_lent: bool,
    /// Whether each query head comes with a gate of its width, whose sigmoid multiplies the head's result.
    pub gated: bool,
}

impl Plan {
    /// Attention of `shape` with the model's first rotation.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            rope: Some(0),
            norm_after_rope: false,
            norm_values: false,
            values_are_keys: false,
            kv_from: None,
            kv_lent: false,
            gated: false,
        }
    }

    /// Values of all query heads of a token.
    pub fn q_dim(&self) -> usize {
        self.shape.n_heads * self.shape.head_dim
    }

    /// Values of all gates of a token.
    fn gate_dim(&self) -> usize {
        if self.gated { self.q_dim() } else { 0 }
    }

    /// Values of all key (or value) heads of a token.
    pub fn kv_dim(&self) -> usize {
        self.shape.n_kv_heads * self.shape.head_dim
    }

    /// Keys and values, as far back as they are looked at.
    pub(super) fn state(&self) -> StateShape {
        let Shape { n_kv_heads, head_dim, window, .. } = self.shape;
        let window = window.filter(|_| !self.kv_lent);
        let own = KvShape { n_kv_heads, head_dim, window };
        StateShape { kv: Some(own).filter(|_| self.kv_from.is_none()), recurrent: 0 }
    }

    pub(super) fn need(&self) -> Need {
        Need {
            per_token: 2 * self.q_dim() + 2 * self.kv_dim() + 2 * self.gate_dim(),
            per_thread: self.shape.scratch_len(),
            widest: self.q_dim(),
        }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Attention {
    plan: Plan,
    /// With gates, each head's `head_dim` rows are followed by those of its gate. `(n_heads * head_dim, dim)`
    q: Linear,
    /// Of each query head, or of all together.
    q_norm: Option<Norm>,
    /// What makes keys and values, unless an earlier layer's are read.
    own: Option<KeysAndValues>,
    /// `(dim, n_heads * head_dim)`
    o: Linear,
    /// `(n_heads)`
    sinks: Option<Vec<f32>>,
}

#[derive(Debug)]
struct KeysAndValues {
    /// `(n_kv_heads * head_dim, dim)`
    k: Linear,
    /// `(n_kv_heads * head_dim, dim)`
    v: Linear,
    /// Of each key head, or of all together.
    k_norm: Option<Norm>,
    /// Of each value head.
    v_norm: Option<Norm>,
}

impl Attention {
    pub(super) fn read(plan: &Plan, source: &mut Source<'_>, dim: usize) -> Result<Self> {
        let (q_dim, kv_dim) = (plan.q_dim(), plan.kv_dim());
        let q_rows = q_dim + plan.gate_dim();
        let Shape { n_heads, n_kv_heads, head_dim, .. } = plan.shape;
        let (q, kv) = if plan.kv_from.is_some() {
            // Some files carry these from training, though nothing reads them.
            source.leave(&["attn_k.weight", "attn_v.weight", "attn_k_norm.weight"]);
            (source.linear("attn_q", q_rows, dim)?, None)
        } else if source.has("attn_qkv.weight") {
            let [q, k, v] = source.fused("attn_qkv", [q_rows, kv_dim, kv_dim], dim)?;
            (q, Some((k, v)))
        } else {
            let q = source.linear("attn_q", q_rows, dim)?;
            let k = source.linear("attn_k", kv_dim, dim)?;
            let v = if plan.values_are_keys { k.clone() } else { source.linear("attn_v", kv_dim, dim)? };
            (q, Some((k, v)))
        };
        let own = |source: &mut Source<'_>, (k, v)| -> Result<KeysAndValues> {
            let k_norm = source.head_norm("attn_k_norm", head_dim, n_kv_heads)?;
            Ok(KeysAndValues {
                k,
                v,
                k_norm,
                v_norm: plan.norm_values.then(|| source.norm_by(vec![1.0; head_dim])),
            })
        };
        Ok(Self {
            q,
            q_norm: source.head_norm("attn_q_norm", head_dim, n_heads)?,
            own: kv.map(|kv| own(source, kv)).transpose()?,
            o: source.linear("attn_output", dim, q_dim)?,
            sinks: source.vector_if("attn_sinks.weight", n_heads)?,
            plan: plan.clone(),
        })
    }

    /// Separates the heads of q from their gates.
    fn take_apart(&self, both: &[f32], q: &mut [f32], gates: &mut [f32]) {
        let n = self.plan.shape.head_dim;
        let parts = q.chunks_exact_mut(n).zip(gates.chunks_exact_mut(n));
        for (both, (q, gate)) in both.chunks_exact(2 * n).zip(parts) {
            q.copy_from_slice(&both[..n]);
            gate.copy_from_slice(&both[n..]);
        }
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
            if let Some(norm) = norm.filter(|_| !self.plan.norm_after_rope) {
                norm.apply_in_place(run, row);
            }
            if let Some((rope, i)) = rope {
                rope.rotate(run, row, self.plan.shape.head_dim, angles.of(i, t));
            }
            if let Some(norm) = norm.filter(|_| self.plan.norm_after_rope) {
                norm.apply_in_place(run, row);
            }
        });
    }
}

impl Mixer for Attention {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, dim) = (step.run, step.n_tokens, step.config.dim);
        let (q_dim, kv_dim) = (self.plan.q_dim(), self.plan.kv_dim());
        let gate_dim = self.plan.gate_dim();
        let widths = [q_dim, kv_dim, kv_dim, q_dim + gate_dim, gate_dim];
        let [q, k, v, heads, gates] = split(&mut s.arena, n_tokens, widths);
        let normed = &s.normed[..n_tokens * dim];
        let to_q = if self.plan.gated { &mut *heads } else { &mut *q };
        if let Some(own) = &self.own {
            let to = [(&self.q, to_q), (&own.k, &mut *k), (&own.v, &mut *v)];
            project(run, &mut s.inputs, normed, to);
            self.prepare(step, &s.angles, k, kv_dim, own.k_norm.as_ref());
            if let Some(norm) = &own.v_norm {
                run.pool.for_rows(v, kv_dim, |_, row| norm.apply_in_place(run, row));
            }
        } else {
            project(run, &mut s.inputs, normed, [(&self.q, to_q)]);
        }
        if self.plan.gated {
            self.take_apart(heads, q, gates);
        }
        let heads = &mut heads[..n_tokens * q_dim];
        self.prepare(step, &s.angles, q, q_dim, self.q_norm.as_ref());

        let layer = self.plan.kv_from.unwrap_or(step.layer);
        let store = |kv: &mut Kv, pos: usize, rows: Range<usize>| {
            if self.own.is_some() {
                let rows = rows.start * kv_dim..rows.end * kv_dim;
                kv.store(run, layer, pos, &k[rows.clone()], &v[rows]);
            }
        };
        let thread = &mut s.thread;
        let mut look = |kv: &Kv, first_pos: usize, rows: Range<usize>| {
            let rows = rows.start * q_dim..rows.end * q_dim;
            let queries = Queries { first_pos, q: &q[rows.clone()], sinks: self.sinks.as_deref() };
            attend(
                run.pool,
                run.kernels,
                self.plan.shape,
                kv.layer(layer),
                queries,
                thread,
                &mut heads[rows],
            );
        };
        let mut first = 0;
        for Span { kv, tokens, branches, .. } in &mut *step.spans {
            let (base, n_kept) = (kv.len(), Branch::n_kept(branches, tokens));
            // A cache that keeps only a window takes a long span slice by slice.
            let slice = kv.slice(layer);
            for start in (0..n_kept).step_by(slice) {
                let rows = first + start..first + n_kept.min(start + slice);
                store(kv, base + start, rows.clone());
                look(kv, base + start, rows);
            }
            for (branch, at) in Branch::places(branches, n_kept) {
                let (pos, rows) = (base + branch.behind, first + at.start..first + at.end);
                store(kv, pos, rows.clone());
                look(kv, pos, rows);
                // What is kept comes back to its place.
                store(kv, pos, first + branch.behind..first + n_kept.min(branch.behind + branch.n_tokens));
            }
            first += tokens.len();
        }
        let mut result = &*heads;
        if self.plan.gated {
            let glu = run.kernels.ops().glu;
            run.pool.for_rows(gates, q_dim, |t, gate| {
                glu(Activation::Sigmoid, gate, &heads[t * q_dim..(t + 1) * q_dim]);
            });
            result = gates;
        }
        project(run, &mut s.inputs, result, [(&self.o, &mut s.delta[..n_tokens * dim])]);
    }
}
