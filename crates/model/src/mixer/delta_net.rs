//! The gated delta net (arXiv 2412.06464): `out(norm(scan(conv(q, k, v), beta, dt)) * silu(z))`, with `q`, `k`, `v`, `z`,
//! `beta` and `dt` projections of the input. Queries and keys have length 1.
//!
//! A sequence remembers the convolution's last rows and, per value head, a matrix ([`ingle_kernel::scan`]). Files store
//! the decay `a` as it is used, `-exp(A_log)`. Some have projections in one tensor whose rows go by key heads; what those
//! give is put in order for every token.

use ingle_kernel::ops::{self, Activation};
use ingle_kernel::scan::{self, Delta, DeltaShape, KeyHeads};

use super::Mixer;
use super::conv::Conv;
use super::heads::Heads;
use crate::config::Keys;
use crate::decoder::{Runtime, Step};
use crate::error::Result;
use crate::kv::StateShape;
use crate::linear::{Inputs, Linear, project};
use crate::norm::{Norm, NormKind};
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// Added to the squared length of queries and keys.
const EPS: f32 = 1e-6;

/// What one layer's mixer is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The heads.
    pub shape: DeltaShape,
    /// Positions the convolution looks at, the token's own included.
    pub width: usize,
}

impl Plan {
    /// Reads what files say of it; `key_heads` is the family's order.
    pub fn read(keys: &Keys<'_>, key_heads: KeyHeads) -> Result<Self> {
        let Heads { n, n_groups, dim, rows, width } = Heads::read(keys, None)?;
        let shape =
            DeltaShape { n_heads: n, n_key_heads: n_groups, key_heads, key_dim: rows, value_dim: dim };
        Ok(Self { shape, width })
    }

    fn conv_state(&self) -> usize {
        (self.width - 1) * self.shape.row()
    }

    pub(super) fn state(&self) -> StateShape {
        StateShape { kv: None, recurrent: self.conv_state() + self.shape.state_len() }
    }

    pub(super) fn need(&self) -> Need {
        let DeltaShape { n_heads, .. } = self.shape;
        let (inner, row) = (self.shape.inner(), self.shape.row());
        Need { per_token: 2 * inner + 2 * row + 2 * n_heads, per_thread: 0, widest: inner }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct DeltaNet {
    plan: Plan,
    main: Main,
    gates: Gates,
    conv: Conv,
    /// `(n_heads)`
    dt_bias: Vec<f32>,
    /// `(n_heads)`
    a: Vec<f32>,
    /// Of a query head: its length becomes `1 / sqrt(key_dim)`.
    q_norm: Norm,
    /// Of a key head: its length becomes 1.
    k_norm: Norm,
    /// Of a value head's result.
    norm: Norm,
    /// `(dim, inner)`
    out: Linear,
}

/// Where `q`, `k`, `v` and `z` come from.
#[derive(Debug)]
enum Main {
    /// Matrices of their own: `(DeltaShape::row, dim)` and `(inner, dim)`.
    Apart { qkv: Linear, z: Linear },
    /// One: for each key head `q`, `k`, then `v` and `z` of its value heads. `(DeltaShape::row + inner, dim)`
    ByKeyHead(Linear),
}

/// Where `beta` and `dt` come from.
#[derive(Debug)]
enum Gates {
    /// Matrices of their own, both `(n_heads, dim)`.
    Apart { beta: Linear, dt: Linear },
    /// One: for each key head `beta` of its value heads, then their `dt`. `(2 * n_heads, dim)`
    ByKeyHead(Linear),
}

impl DeltaNet {
    pub(super) fn read(plan: Plan, source: &mut Source<'_>, dim: usize) -> Result<Self> {
        let DeltaShape { n_heads, key_dim, value_dim, .. } = plan.shape;
        let (inner, row) = (plan.shape.inner(), plan.shape.row());
        let main = if source.has("ssm_in.weight") {
            Main::ByKeyHead(source.linear("ssm_in", row + inner, dim)?)
        } else {
            let qkv = source.linear("attn_qkv", row, dim)?;
            Main::Apart { qkv, z: source.linear("attn_gate", inner, dim)? }
        };
        let gates = if source.has("ssm_ba.weight") {
            Gates::ByKeyHead(source.linear("ssm_ba", 2 * n_heads, dim)?)
        } else {
            let beta = source.linear("ssm_beta", n_heads, dim)?;
            Gates::Apart { beta, dt: source.linear("ssm_alpha", n_heads, dim)? }
        };
        // The mean of n squares with EPS / n added is the squared length with EPS added, by n.
        let n = key_dim as f32;
        let length = |length: f32| Norm::new(NormKind::Rms, EPS / n, vec![length / n.sqrt(); key_dim], None);
        Ok(Self {
            plan,
            main,
            gates,
            conv: Conv::read(source, "ssm_conv1d", row, plan.width)?,
            dt_bias: source.vector("ssm_dt.bias", n_heads)?,
            a: source.vector("ssm_a", n_heads)?,
            q_norm: length(1.0 / n.sqrt()),
            k_norm: length(1.0),
            norm: source.norm("ssm_norm", value_dim)?,
            out: source.linear("ssm_out", dim, inner)?,
        })
    }

    /// Puts `q`, `k` and `v` of every token into `qkv` and its `z` into `z`, by way of `work`.
    fn main(&self, run: &Runtime<'_>, inputs: &mut Inputs, normed: &[f32], [qkv, z, work]: [&mut [f32]; 3]) {
        let linear = match &self.main {
            Main::Apart { qkv: to_qkv, z: to_z } => {
                return project(run, inputs, normed, [(to_qkv, qkv), (to_z, z)]);
            }
            Main::ByKeyHead(linear) => linear,
        };
        let shape = self.plan.shape;
        let (keys, n, shared) = (shape.keys(), shape.key_dim, shape.inner() / shape.n_key_heads);
        project(run, inputs, normed, [(linear, &mut *work)]);
        let rows = qkv.chunks_exact_mut(shape.row()).zip(z.chunks_exact_mut(shape.inner()));
        for (all, (qkv, z)) in work.chunks_exact(linear.mat.rows()).zip(rows) {
            for (head, all) in all.chunks_exact(2 * (n + shared)).enumerate() {
                let (q, rest) = all.split_at(n);
                let (k, rest) = rest.split_at(n);
                let (v, of_z) = rest.split_at(shared);
                qkv[head * n..][..n].copy_from_slice(q);
                qkv[keys + head * n..][..n].copy_from_slice(k);
                qkv[2 * keys + head * shared..][..shared].copy_from_slice(v);
                z[head * shared..][..shared].copy_from_slice(of_z);
            }
        }
    }

    /// Puts `beta` and `dt` of every token into rows of `n_heads`, by way of `work`.
    fn gates(
        &self,
        run: &Runtime<'_>,
        inputs: &mut Inputs,
        normed: &[f32],
        [beta, dt, work]: [&mut [f32]; 3],
    ) {
        let DeltaShape { n_heads, n_key_heads, .. } = self.plan.shape;
        match &self.gates {
            Gates::Apart { beta: to_beta, dt: to_dt } => {
                project(run, inputs, normed, [(to_beta, &mut *beta), (to_dt, &mut *dt)]);
            }
            Gates::ByKeyHead(linear) => {
                let both = &mut work[..2 * beta.len()];
                project(run, inputs, normed, [(linear, &mut *both)]);
                let shared = n_heads / n_key_heads;
                let parts = beta.chunks_exact_mut(shared).zip(dt.chunks_exact_mut(shared));
                for (both, (beta, dt)) in both.chunks_exact(2 * shared).zip(parts) {
                    beta.copy_from_slice(&both[..shared]);
                    dt.copy_from_slice(&both[shared..]);
                }
            }
        }
        let activate = run.kernels.ops().activate;
        activate(Activation::Sigmoid, beta);
        for dt in dt.chunks_exact_mut(n_heads) {
            ops::add(dt, &self.dt_bias);
            activate(Activation::Softplus, dt);
        }
    }
}

impl Mixer for DeltaNet {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, shape) = (step.run, step.n_tokens, self.plan.shape);
        let (inner, row, n_heads, kernel) = (shape.inner(), shape.row(), shape.n_heads, run.kernels.ops());
        let [z, qkv, beta, dt, work] =
            split(&mut s.arena, n_tokens, [inner, row, n_heads, n_heads, row + inner]);
        let normed = &s.normed[..n_tokens * step.config.dim];
        self.main(run, &mut s.inputs, normed, [&mut *qkv, &mut *z, &mut *work]);
        self.gates(run, &mut s.inputs, normed, [&mut *beta, &mut *dt, &mut *work]);
        let (conv, y) = work.split_at_mut(n_tokens * row);
        let mut first = 0;
        for span in &mut *step.spans {
            let tokens = first..first + span.tokens.len();
            let of = |width: usize| tokens.start * width..tokens.end * width;
            let (before, state) = span.kv.recurrent(step.layer).split_at_mut(self.plan.conv_state());
            let mixed = &mut conv[of(row)];
            self.conv.apply(run, before, &qkv[of(row)], mixed);
            run.pool.for_rows(mixed, row, |_, row| {
                (kernel.activate)(Activation::Silu, row);
                let (q, rest) = row.split_at_mut(shape.keys());
                self.q_norm.apply_in_place(run, q);
                self.k_norm.apply_in_place(run, &mut rest[..shape.keys()]);
            });
            let given = Delta { qkv: mixed, dt: &dt[of(n_heads)], beta: &beta[of(n_heads)], a: &self.a };
            scan::delta(run.pool, run.kernels, shape, given, state, &mut y[of(inner)]);
            first = tokens.end;
        }
        run.pool.for_rows(y, inner, |_, y| self.norm.apply_in_place(run, y));
        let y = &*y;
        run.pool.for_rows(z, inner, |t, z| {
            (kernel.glu)(Activation::Silu, z, &y[t * inner..(t + 1) * inner]);
        });
        project(run, &mut s.inputs, z, [(&self.out, &mut s.delta[..n_tokens * step.config.dim])]);
    }
}
