//! Several residual streams side by side: alternating updates, AltUp (arXiv 2301.13310), in the form Gemma 3n has.
//!
//! The blocks of a layer see one of the streams, the active one, in `s.x`, as if there were no others; all of them lie in
//! `s.streams`. Before the blocks every stream is predicted from all, by factors that a small router reads off the active
//! one ([`Mix::predict`]). Behind them every stream is corrected by its own factor of what the blocks have changed, and the
//! others take what the layer's own embedding gives ([`Mix::correct`]). At both ends ([`Streams`]) matrices lead from the
//! first stream to the others and back, each time at the first one's magnitude.
//!
//! Left out is the bound on the factors' weights, which is for training.

use ingle_kernel::ops;

use crate::config::Config;
use crate::decoder::Step;
use crate::error::Result;
use crate::ffn::Ffn;
use crate::ffn::per_layer::PerLayer;
use crate::linear::{Linear, project};
use crate::norm::Norm;
use crate::scratch::{Need, Scratch, split};
use crate::source::Source;

/// Streams that no real model reaches.
pub const STREAMS_MAX: usize = 8;
/// Channels that are mixed at a time, so that their old values fit the first-level cache.
const CHANNELS: usize = 64;
/// The least mean square that is brought to another magnitude.
const MEAN_SQUARE_MIN: f32 = 1e-5;

/// What the streams are.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Streams there are, 2 to [`STREAMS_MAX`].
    pub n: usize,
    /// The one that goes through the blocks.
    pub active: usize,
}

impl Plan {
    /// The buffers that predicting and correcting need.
    pub fn need(&self) -> Need {
        Need { per_token: self.n + self.n * self.n, per_thread: 0, widest: self.n }
    }
}

/// Where the streams begin and end.
#[derive(Debug)]
pub struct Streams {
    /// From the first stream to each other. `(dim, dim)`
    from_first: Vec<Linear>,
    /// From each other to the first. `(dim, dim)`
    to_first: Vec<Linear>,
}

impl Streams {
    /// Takes the weights, where the model has several streams.
    pub fn read(source: &mut Source<'_>, config: &Config) -> Result<Option<Self>> {
        let (Some(Plan { n, .. }), dim) = (config.streams, config.dim) else { return Ok(None) };
        Ok(Some(Self {
            from_first: source.stacked("altup_proj", n - 1, dim, dim)?,
            to_first: source.stacked("altup_unembd_proj", n - 1, dim, dim)?,
        }))
    }

    /// Makes the streams of the embeddings in `s.x`, which are the first.
    pub fn spread(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (run, dim, width) = (step.run, step.config.dim, step.config.streams_width());
        let x = &s.x[..step.n_tokens * dim];
        let streams = &mut s.streams[..step.n_tokens * width];
        run.pool.for_rows(streams, width, |t, row| row[..dim].copy_from_slice(part(x, t, dim)));
        for (i, matrix) in (1..).zip(&self.from_first) {
            let made = &mut s.delta[..step.n_tokens * dim];
            project(run, &mut s.inputs, x, [(matrix, &mut *made)]);
            let made = &*made;
            run.pool.for_rows(streams, width, |t, row| {
                let (first, made) = (part(x, t, dim), part(made, t, dim));
                let stream = part_mut(row, i, dim);
                stream.fill(0.0);
                ops::add_scaled(stream, made, to_magnitude_of(first, made));
            });
        }
    }

    /// Leaves in `s.x` the mean of the streams.
    pub fn merge(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (run, dim, width) = (step.run, step.config.dim, step.config.streams_width());
        let (n, streams) = (step.n_tokens * dim, &s.streams);
        let stream = |t: usize, i: usize| part(part(streams, t, width), i, dim);
        run.pool.for_rows(&mut s.x[..n], dim, |t, row| row.copy_from_slice(stream(t, 0)));
        for (i, matrix) in (1..).zip(&self.to_first) {
            run.pool.for_rows(&mut s.normed[..n], dim, |t, row| row.copy_from_slice(stream(t, i)));
            project(run, &mut s.inputs, &s.normed[..n], [(matrix, &mut s.delta[..n])]);
            let made = &s.delta;
            run.pool.for_rows(&mut s.x[..n], dim, |t, row| {
                let made = part(made, t, dim);
                ops::add_scaled(row, made, to_magnitude_of(stream(t, 0), made));
            });
        }
        let n_streams = (width / dim) as f32;
        s.x[..n].iter_mut().for_each(|v| *v /= n_streams);
    }
}

/// What goes on between the streams around one layer's blocks.
#[derive(Debug)]
pub struct Mix {
    plan: Plan,
    /// Its weights divided by the width.
    router_norm: Norm,
    /// `(n, dim)`
    router: Linear,
    /// Factors of all streams for each. `(n * n, n)`
    predict: Linear,
    /// Each stream's factor less one. `(n, n)`
    correct: Linear,
    /// On the active stream where the layer's own embedding reads it. `(dim)`
    scale: Vec<f32>,
    per_layer: PerLayer,
    per_layer_norm: Norm,
}

impl Mix {
    /// Takes the weights of the layer that `source` is in.
    pub fn read(plan: Plan, source: &mut Source<'_>, config: &Config) -> Result<Self> {
        let (n, dim) = (plan.n, config.dim);
        let mut router = source.vector("altup_router_norm.weight", dim)?;
        router.iter_mut().for_each(|v| *v /= dim as f32);
        Ok(Self {
            plan,
            router_norm: source.norm_by(router),
            router: source.linear("altup_router", n, dim)?,
            predict: source.linear("altup_predict_coef", n * n, n)?,
            correct: source.linear("altup_correct_coef", n, n)?,
            scale: source.vector("altup_correct_scale.weight", dim)?,
            per_layer: PerLayer::read(source, config)?,
            per_layer_norm: source.norm("post_norm", dim)?,
        })
    }

    /// Adds to every stream all streams, each times a factor, and leaves the active one in `s.x` for the blocks.
    pub fn predict(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (n, dim, width) = (self.plan.n, step.config.dim, step.config.streams_width());
        self.take_active(step, s);
        self.route(step, &self.predict, s);
        let [_, factors] = split(&mut s.arena, step.n_tokens, [n, n * n]);
        let factors = &*factors;
        step.run.pool.for_rows(&mut s.streams[..step.n_tokens * width], width, |t, row| {
            add_all_to_each(row, dim, part(factors, t, n * n));
        });
        self.take_active(step, s);
    }

    /// Adds to every stream, times its factor, what the blocks have changed in `s.x`; then to all but the first what the
    /// layer's own embedding gives.
    pub fn correct(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (Plan { n, active }, run) = (self.plan, step.run);
        let (dim, width) = (step.config.dim, step.config.streams_width());
        self.route(step, &self.correct, s);
        let [_, factors] = split(&mut s.arena, step.n_tokens, [n, n]);
        let (factors, x) = (&*factors, &s.x);
        let streams = &mut s.streams[..step.n_tokens * width];
        run.pool.for_rows(streams, width, |t, row| {
            add_change(row, part(x, t, dim), part(factors, t, n), active);
        });

        let corrected = &*streams;
        run.pool.for_rows(&mut s.normed[..step.n_tokens * dim], dim, |t, row| {
            row.copy_from_slice(part(part(corrected, t, width), active, dim));
            ops::multiply(row, &self.scale);
        });
        self.per_layer.forward(step, s);
        let delta = &mut s.delta[..step.n_tokens * dim];
        run.pool.for_rows(delta, dim, |_, row| self.per_layer_norm.apply_in_place(run, row));
        let delta = &*delta;
        run.pool.for_rows(&mut s.streams[..step.n_tokens * width], width, |t, row| {
            row.chunks_exact_mut(dim).skip(1).for_each(|stream| ops::add(stream, part(delta, t, dim)));
        });
    }

    /// Puts the active stream into `s.x`.
    fn take_active(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (dim, width) = (step.config.dim, step.config.streams_width());
        let streams = &s.streams;
        step.run.pool.for_rows(&mut s.x[..step.n_tokens * dim], dim, |t, x| {
            x.copy_from_slice(part(part(streams, t, width), self.plan.active, dim));
        });
    }

    /// `to(tanh(router(norm(x))))` of every token of `s.x`, into the second of the arena's parts; the first is of `n` values.
    fn route(&self, step: &Step<'_, '_>, to: &Linear, s: &mut Scratch) {
        let run = step.run;
        s.norm(run, step.n_tokens, &self.router_norm);
        let [modes, factors] = split(&mut s.arena, step.n_tokens, [self.plan.n, to.mat.rows()]);
        let x = &s.normed[..step.n_tokens * step.config.dim];
        project(run, &mut s.inputs, x, [(&self.router, &mut *modes)]);
        (run.kernels.ops().softcap)(modes, 1.0);
        project(run, &mut s.inputs, modes, [(to, factors)]);
    }
}

/// `stream i += sum over j of factors[i][j] * stream j` of one token's streams `(n, dim)`, `j` rising, by what they were.
fn add_all_to_each(streams: &mut [f32], dim: usize, factors: &[f32]) {
    let n = streams.len() / dim;
    let mut old = [[0.0; CHANNELS]; STREAMS_MAX];
    for first in (0..dim).step_by(CHANNELS) {
        let channels = first..dim.min(first + CHANNELS);
        for (old, stream) in old.iter_mut().zip(streams.chunks_exact(dim)) {
            old[..channels.len()].copy_from_slice(&stream[channels.clone()]);
        }
        for (stream, factors) in streams.chunks_exact_mut(dim).zip(factors.chunks_exact(n)) {
            for (old, &factor) in old.iter().zip(factors) {
                ops::add_scaled(&mut stream[channels.clone()], &old[..channels.len()], factor);
            }
        }
    }
}

/// `stream i += (1 + factors[i]) * (x - stream active)` of one token's streams `(n, dim)`, by what they were.
fn add_change(streams: &mut [f32], x: &[f32], factors: &[f32], active: usize) {
    let dim = x.len();
    let mut change = [0.0; CHANNELS];
    for first in (0..dim).step_by(CHANNELS) {
        let channels = first..dim.min(first + CHANNELS);
        let change = &mut change[..channels.len()];
        change.copy_from_slice(&x[channels.clone()]);
        ops::add_scaled(change, &part(streams, active, dim)[channels.clone()], -1.0);
        for (stream, factor) in streams.chunks_exact_mut(dim).zip(factors) {
            ops::add_scaled(&mut stream[channels.clone()], change, 1.0 + factor);
        }
    }
}

/// The factor that brings `x` to the magnitude of `first`.
fn to_magnitude_of(first: &[f32], x: &[f32]) -> f32 {
    ops::mean_square(first).sqrt() / ops::mean_square(x).max(MEAN_SQUARE_MIN).sqrt()
}

/// Row `i` of rows of `width` values.
fn part(rows: &[f32], i: usize, width: usize) -> &[f32] {
    &rows[i * width..(i + 1) * width]
}

fn part_mut(rows: &mut [f32], i: usize, width: usize) -> &mut [f32] {
    &mut rows[i * width..(i + 1) * width]
}
