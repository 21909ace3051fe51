//! Every buffer of a step, made once for the largest step, so that steps allocate nothing.

use crate::config::Config;
use crate::decoder::Runtime;
use crate::ffn::laurel;
use crate::linear::Inputs;
use crate::norm::Norm;
use crate::rope::{Angles, Rope};

/// The buffers. Blocks read `normed`, leave their result in `delta`, and cut what else they need from `arena`.
#[derive(Debug)]
pub struct Scratch {
    tokens_max: usize,
    /// Tokens of the last step.
    pub(crate) n_tokens: usize,
    dim: usize,
    /// Residual stream; of several, the one that blocks read and add to. `(n_tokens, dim)`
    pub(crate) x: Vec<f32>,
    /// Input of a mixer, an ffn or the head. `(n_tokens, dim)`
    pub(crate) normed: Vec<f32>,
    /// Output of a mixer or an ffn. `(n_tokens, dim)`
    pub(crate) delta: Vec<f32>,
    /// A block's own while it runs, to be [`split`]. `(n_tokens, Need::per_token)`
    pub(crate) arena: Vec<f32>,
    /// A block's own, per thread. `(n_threads, Need::per_thread)`
    pub(crate) thread: Vec<f32>,
    /// All residual streams, where there are several. `(n_tokens, n, dim)`
    pub(crate) streams: Vec<f32>,
    /// Every token's embeddings per layer. `(n_tokens, n_layers, per_layer_dim)`
    pub(crate) per_layer: Vec<f32>,
    /// Cosines and sines of every token's position.
    pub(crate) angles: Angles,
    /// Matrix inputs on their way.
    pub(crate) inputs: Inputs,
    /// `(rows, vocab)`, grown to the most rows asked for.
    pub(crate) logits: Vec<f32>,
}

/// The buffers a block needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need {
    /// Floats of the arena per token.
    pub per_token: usize,
    /// Floats per thread.
    pub per_thread: usize,
    /// The most inputs of its matrices.
    pub widest: usize,
}

impl Need {
    /// What serves both, one after the other.
    pub fn max(self, other: Self) -> Self {
        Self {
            per_token: self.per_token.max(other.per_token),
            per_thread: self.per_thread.max(other.per_thread),
            widest: self.widest.max(other.widest),
        }
    }
}

/// What serves every block of the model.
fn need(config: &Config) -> Need {
    let least = Need { per_token: config.per_layer_width(), per_thread: 0, widest: config.dim };
    let beside = laurel::need(config).max(config.streams.map_or(least, |plan| plan.need()));
    let layers = config.layers.iter();
    layers.fold(least.max(beside), |need, layer| need.max(layer.mixer.need()).max(layer.ffn.need(config.dim)))
}

/// Cuts buffers of `widths` values per token from `arena`.
pub(crate) fn split<const N: usize>(
    arena: &mut [f32],
    n_tokens: usize,
    widths: [usize; N],
) -> [&mut [f32]; N] {
    let mut rest = arena;
    widths.map(|width| {
        let (part, tail) = std::mem::take(&mut rest).split_at_mut(n_tokens * width);
        rest = tail;
        part
    })
}

impl Scratch {
    /// Buffers for steps of up to `tokens_max` tokens on `n_threads` threads.
    pub fn new(config: &Config, tokens_max: usize, n_threads: usize) -> Self {
        let rows = |width: usize| vec![0.0; tokens_max * width];
        let need = need(config);
        Self {
            tokens_max,
            n_tokens: 0,
            dim: config.dim,
            x: rows(config.dim),
            normed: rows(config.dim),
            delta: rows(config.dim),
            arena: rows(need.per_token),
            thread: vec![0.0; n_threads * need.per_thread],
            streams: rows(config.streams_width()),
            per_layer: rows(config.per_layer_width()),
            angles: Angles::new(&config.ropes, tokens_max),
            inputs: Inputs::with_capacity(tokens_max, need.widest),
            logits: vec![0.0; config.vocab],
        }
    }

    /// Bytes that [`Scratch::new`] takes per token of its largest step.
    pub fn bytes_per_token(config: &Config) -> usize {
        let need = need(config);
        let angles: usize = config.ropes.iter().map(Rope::n_pairs).sum();
        let streams = 3 * config.dim + config.streams_width() + config.per_layer_width();
        4 * (streams + need.per_token + 2 * angles) + 6 * need.widest
    }

    /// The most tokens a step may have.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// Keeps the rows of some tokens, in rising order, and forgets the others.
    pub(crate) fn keep(&mut self, tokens: impl Iterator<Item = usize> + Clone) {
        for rows in [&mut self.x, &mut self.normed, &mut self.streams, &mut self.per_layer] {
            let width = rows.len() / self.tokens_max;
            for (to, from) in tokens.clone().enumerate().filter(|(to, from)| to != from) {
                rows.copy_within(from * width..(from + 1) * width, to * width);
            }
        }
        self.n_tokens = tokens.count();
    }

    /// `normed = norm(x)`, row by row.
    pub(crate) fn norm(&mut self, run: &Runtime<'_>, n_tokens: usize, norm: &Norm) {
        let (dim, x) = (self.dim, &self.x);
        run.pool.for_rows(&mut self.normed[..n_tokens * dim], dim, |t, out| {
            norm.apply(run, &x[t * dim..(t + 1) * dim], out);
        });
    }
}
