//! The state space mixer of Mamba (arXiv 2312.00752): `out(scan(conv(x), dt, b, c) * silu(z))`, with `x` and `z` projections of
//! the input, `b`, `c` and `dt` projections of what the convolution gives.
//!
//! A sequence remembers the convolution's last rows and a few values per channel ([`ingle_kernel::scan`]). Files store the
//! decay `a` as it is used, `-exp(A_log)`. Some families put norms on `dt`, `b` and `c`.

use ingle_kernel::ops::Activation;
use ingle_kernel::scan::{self, Selective, SelectiveShape};

use super::Mixer;
use super::conv::Conv;
use super::heads::{ROWS_MAX, WIDTH_MAX};
use crate::config::{DIM_MAX, Keys};
use crate::decoder::Step;
use crate::error::Result;
use crate::kv::StateShape;
use crate::linear::{Linear, project};
use crate::norm::{Norm, NormKind};
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// Epsilon of norms without weights, which files do not tell.
const EPS: f32 = 1e-6;

/// What one layer's mixer is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The channels.
    pub shape: SelectiveShape,
    /// Positions the convolution looks at, the token's own included.
    pub width: usize,
    /// Values that time steps are made from.
    pub rank: usize,
    /// Whether `dt`, `b` and `c` are normed without weights where the file has none.
    pub normed: bool,
}

impl Plan {
    /// Reads what files say of it.
    pub fn read(keys: &Keys<'_>) -> Result<Self> {
        let channels = keys.uint("ssm.inner_size", 1..=DIM_MAX)?;
        let d_state = keys.uint("ssm.state_size", 1..=ROWS_MAX)?;
        Ok(Self {
            shape: SelectiveShape { channels, d_state },
            width: keys.uint("ssm.conv_kernel", 1..=WIDTH_MAX)?,
            rank: keys.uint("ssm.time_step_rank", 1..=DIM_MAX)?,
            normed: keys.file.bool(&keys.key("ssm.dt_b_c_rms"))?.unwrap_or(false),
        })
    }

    fn conv_state(&self) -> usize {
        (self.width - 1) * self.shape.channels
    }

    pub(super) fn state(&self) -> StateShape {
        StateShape { kv: None, recurrent: self.conv_state() + self.shape.state_len() }
    }

    pub(super) fn need(&self) -> Need {
        let SelectiveShape { channels, d_state } = self.shape;
        let per_token = 5 * channels + self.rank + 2 * d_state;
        Need { per_token, per_thread: 0, widest: channels.max(self.rank) }
    }
}

/// Weights of the block.
#[derive(Debug)]
pub struct Mamba {
    plan: Plan,
    /// `(channels, dim)`
    x: Linear,
    /// `(channels, dim)`
    z: Linear,
    conv: Conv,
    /// `(rank, channels)`
    low: Linear,
    /// `(d_state, channels)`
    b: Linear,
    /// `(d_state, channels)`
    c: Linear,
    /// Of `low`, `b` and `c`.
    norms: [Option<Norm>; 3],
    /// `(channels, rank)`
    dt: Linear,
    /// In the order of the state.
    a: Vec<f32>,
    /// `(channels)`
    d: Vec<f32>,
    /// `(dim, channels)`
    out: Linear,
}

impl Mamba {
    pub(super) fn read(plan: Plan, source: &mut Source<'_>, dim: usize) -> Result<Self> {
        let SelectiveShape { channels, d_state } = plan.shape;
        let [x, z] = source.fused("ssm_in", [channels; 2], dim)?;
        let [low, b, c] = source.fused("ssm_x", [plan.rank, d_state, d_state], channels)?;
        let mut norm = |name: &str, n: usize| -> Result<Option<Norm>> {
            if source.has(&format!("{name}.weight")) {
                return source.norm(name, n).map(Some);
            }
            Ok(plan.normed.then(|| Norm::new(NormKind::Rms, EPS, vec![1.0; n], None)))
        };
        let norms =
            [norm("ssm_dt_norm", plan.rank)?, norm("ssm_b_norm", d_state)?, norm("ssm_c_norm", d_state)?];
        Ok(Self {
            plan,
            x,
            z,
            conv: Conv::read(source, "ssm_conv1d", channels, plan.width)?,
            low,
            b,
            c,
            norms,
            dt: source.linear("ssm_dt", channels, plan.rank)?,
            a: plan.shape.pack(&source.matrix_values("ssm_a", channels, d_state)?),
            d: source.vector("ssm_d", channels)?,
            out: source.linear("ssm_out", dim, channels)?,
        })
    }
}

impl Mixer for Mamba {
    fn forward(&self, step: &mut Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, kernel) = (step.run, step.n_tokens, step.run.kernels.ops());
        let SelectiveShape { channels, d_state } = self.plan.shape;
        let widths = [channels, channels, channels, channels, channels, self.plan.rank, d_state, d_state];
        let [x, z, mixed, dt, y, low, b, c] = split(&mut s.arena, n_tokens, widths);
        let normed = &s.normed[..n_tokens * step.config.dim];
        project(run, &mut s.inputs, normed, [(&self.x, &mut *x), (&self.z, &mut *z)]);
        let mut first = 0;
        for span in &mut *step.spans {
            let rows = first * channels..(first + span.tokens.len()) * channels;
            let before = &mut span.kv.recurrent(step.layer)[..self.plan.conv_state()];
            self.conv.apply(run, before, &x[rows.clone()], &mut mixed[rows]);
            first += span.tokens.len();
        }
        run.pool.for_rows(mixed, channels, |_, row| (kernel.activate)(Activation::Silu, row));
        let to = [(&self.low, &mut *low), (&self.b, &mut *b), (&self.c, &mut *c)];
        project(run, &mut s.inputs, mixed, to);
        for (norm, rows) in self.norms.iter().zip([&mut *low, &mut *b, &mut *c]) {
            if let Some(norm) = norm {
                norm.apply_in_place(run, rows);
            }
        }
        project(run, &mut s.inputs, low, [(&self.dt, &mut *dt)]);
        run.pool.for_rows(dt, channels, |_, row| (kernel.activate)(Activation::Softplus, row));
        let mut first = 0;
        for span in &mut *step.spans {
            let wide = first * channels..(first + span.tokens.len()) * channels;
            let narrow = first * d_state..(first + span.tokens.len()) * d_state;
            let state = &mut span.kv.recurrent(step.layer)[self.plan.conv_state()..];
            let (x, dt) = (&mixed[wide.clone()], &dt[wide.clone()]);
            let given = Selective { x, dt, b: &b[narrow.clone()], c: &c[narrow], a: &self.a, d: &self.d };
            scan::selective(run.pool, run.kernels, self.plan.shape, given, state, &mut y[wide]);
            first += span.tokens.len();
        }
        let y = &*y;
        run.pool.for_rows(z, channels, |t, z| {
            (kernel.glu)(Activation::Silu, z, &y[t * channels..(t + 1) * channels]);
        });
        project(run, &mut s.inputs, z, [(&self.out, &mut s.delta[..n_tokens * step.config.dim])]);
    }
}
