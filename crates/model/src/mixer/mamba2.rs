//! The state space mixer of Mamba-2 (arXiv 2405.21060): `out(norm(scan(conv(x, b, c), dt) * silu(z)))`, with `z`, `x`, `b`,
//! `c` and `dt` projections of the input.
//!
//! A sequence remembers the convolution's last rows and, per head, a matrix ([`ingle_kernel::scan`]). Files store the
//! decay `a` as it is used, `-exp(A_log)`.

use ingle_kernel::ops::{self, Activation};
use ingle_kernel::scan::{self, Ssm, SsmShape};

use super::Mixer;
use super::conv::Conv;
use super::heads::Heads;
use crate::config::Keys;
use crate::decoder::Step;
use crate::error::Result;
use crate::kv::StateShape;
use crate::linear::{Linear, project};
use crate::norm::Norm;
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// What one layer's mixer is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The heads.
    pub shape: SsmShape,
    /// Positions the convolution looks at, the token's own included.
    pub width: usize,
}

impl Plan {
    /// Reads what files say of it.
    pub fn read(keys: &Keys<'_>) -> Result<Self> {
        let Heads { n, n_groups, dim, rows, width } = Heads::read(keys, Some(1))?;
        Ok(Self { shape: SsmShape { n_heads: n, head_dim: dim, n_groups, d_state: rows }, width })
    }

    fn conv_state(&self) -> usize {
        (self.width - 1) * self.shape.row()
    }

    pub(super) fn state(&self) -> StateShape {
        StateShape { kv: None, recurrent: self.conv_state() + self.shape.state_len() }
    }

    pub(super) fn need(&self) -> Need {
        let SsmShape { n_heads, .. } = self.shape;
        let (inner, row) = (self.shape.inner(), self.shape.row());
        Need { per_token: 2 * inner + 2 * row + n_heads, per_thread: 0, widest: inner }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Mamba2 {
    plan: Plan,
    /// `(inner, dim)`
    z: Linear,
    /// To `x`, `b` and `c`. `(SsmShape::row, dim)`
    xbc: Linear,
    /// `(n_heads, dim)`
    dt: Linear,
    conv: Conv,
    /// `(n_heads)`
    dt_bias: Vec<f32>,
    /// `(n_heads)`
    a: Vec<f32>,
    /// `(n_heads)`
    d: Vec<f32>,
    /// Of each group; none in some models.
    norms: Vec<Norm>,
    /// `(dim, inner)`
    out: Linear,
}

impl Mamba2 {
    pub(super) fn read(plan: Plan, source: &mut Source<'_>, dim: usize) -> Result<Self> {
        let SsmShape { n_heads, n_groups, .. } = plan.shape;
        let (inner, row) = (plan.shape.inner(), plan.shape.row());
        let [z, xbc, dt] = source.fused("ssm_in", [inner, row, n_heads], dim)?;
        let has_norm = source.has("ssm_norm.weight");
        Ok(Self {
            plan,
            z,
            xbc,
            dt,
            conv: Conv::read(source, "ssm_conv1d", row, plan.width)?,
            dt_bias: source.vector("ssm_dt.bias", n_heads)?,
            a: source.matrix_values("ssm_a", n_heads, 1)?,
            d: source.matrix_values("ssm_d", n_heads, 1)?,
            norms: if has_norm { source.norms("ssm_norm", n_groups, inner / n_groups)? } else { Vec::new() },
            out: source.linear("ssm_out", dim, inner)?,
        })
    }
}

impl Mixer for Mamba2 {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, shape) = (step.run, step.n_tokens, self.plan.shape);
        let (inner, row, n_heads, kernel) = (shape.inner(), shape.row(), shape.n_heads, run.kernels.ops());
        let [z, xbc, conv, dt, y] = split(&mut s.arena, n_tokens, [inner, row, row, n_heads, inner]);
        let normed = &s.normed[..n_tokens * step.config.dim];
        project(
            run,
            &mut s.inputs,
            normed,
            [(&self.z, &mut *z), (&self.xbc, &mut *xbc), (&self.dt, &mut *dt)],
        );
        for dt in dt.chunks_exact_mut(n_heads) {
            ops::add(dt, &self.dt_bias);
            (kernel.activate)(Activation::Softplus, dt);
        }
        let mut first = 0;
        for span in &mut *step.spans {
            let tokens = first..first + span.tokens.len();
            let of = |width: usize| tokens.start * width..tokens.end * width;
            let (before, state) = span.kv.recurrent(step.layer).split_at_mut(self.plan.conv_state());
            let mixed = &mut conv[of(row)];
            self.conv.apply(run, before, &xbc[of(row)], mixed);
            run.pool.for_rows(mixed, row, |_, row| (kernel.activate)(Activation::Silu, row));
            let given = Ssm { xbc: mixed, dt: &dt[of(n_heads)], a: &self.a, d: &self.d };
            scan::ssm(run.pool, run.kernels, shape, given, state, &mut y[of(inner)]);
            first = tokens.end;
        }
        let y = &*y;
        run.pool.for_rows(z, inner, |t, z| {
            (kernel.glu)(Activation::Silu, z, &y[t * inner..(t + 1) * inner]);
            for (norm, group) in self.norms.iter().zip(z.chunks_exact_mut(inner / shape.n_groups)) {
                norm.apply_in_place(run, group);
            }
        });
        project(run, &mut s.inputs, z, [(&self.out, &mut s.delta[..n_tokens * step.config.dim])]);
    }
}
