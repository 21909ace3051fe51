//! The one forward pass: tokens to hidden states to logits, for every family.
//!
//! A step takes spans, each some tokens of one sequence with its KV cache, and sends all their tokens through the layers
//! together. Whatever shares a step, a token's numbers are the same to the bit: matrices sum every row alone, attention
//! reduces in fixed blocks of positions, and nothing else looks across tokens.

use std::ops::Range;

use ingle_kernel::acts::Acts;
use ingle_kernel::ops;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::file::gguf::Gguf;
use crate::kv::Kv;
use crate::linear::project;
use crate::weights::Weights;

/// Rows of logits computed at a time: 16 rows of a vocabulary of 150,000 are 10 MB.
pub const LOGITS_ROWS_MAX: usize = 16;

/// What does the arithmetic: the threads and the tier's kernels.
#[derive(Debug, Clone, Copy)]
pub struct Runtime<'a> {
    /// Threads.
    pub pool: &'a Pool,
    /// Kernels; those that the model was read for.
    pub kernels: &'a Kernels,
}

/// Some tokens of one sequence, to be appended to its cache.
#[derive(Debug)]
pub struct Span<'a> {
    /// The sequence's cache; the tokens take the positions after those it holds.
    pub kv: &'a mut Kv,
    /// At least one token.
    pub tokens: &'a [u32],
}

/// A model ready to run: what it is and its weights.
#[derive(Debug)]
pub struct Model {
    /// The numbers.
    pub config: Config,
    /// The weights.
    pub weights: Weights,
}

impl Model {
    /// Reads configuration and weights of `file` for the kernels of one tier; copies nothing but norms and biases.
    pub fn read(file: &Gguf, kernels: &Kernels) -> Result<Self> {
        let config = Config::read(file)?;
        let weights = Weights::read(file, &config, kernels)?;
        Ok(Self { config, weights })
    }

    /// One step: appends every span's tokens to its cache and leaves their final hidden states, normed for the head, in
    /// `scratch`, in the order of the spans. Read logits with [`Model::logits`].
    ///
    /// # Errors
    /// [`Error::Input`] for an empty or too long span, too many tokens for `scratch`, or an id outside the vocabulary;
    /// nothing is changed then.
    pub fn forward(&self, run: &Runtime<'_>, spans: &mut [Span<'_>], s: &mut Scratch) -> Result<()> {
        let n_tokens = self.check(spans, s)?;
        let (config, dim) = (&self.config, self.config.dim);
        let eps = config.norm_eps;
        self.embed(spans, s);

        for (i, layer) in self.weights.layers.iter().enumerate() {
            s.norm(run, n_tokens, &layer.mixer_norm, eps);
            layer.mixer.forward(run, config, i, spans, n_tokens, s);
            ops::add(&mut s.x[..n_tokens * dim], &s.delta[..n_tokens * dim]);

            s.norm(run, n_tokens, &layer.ffn_norm, eps);
            layer.ffn.forward(run, n_tokens, s);
            ops::add(&mut s.x[..n_tokens * dim], &s.delta[..n_tokens * dim]);
        }
        s.norm(run, n_tokens, &self.weights.out_norm, eps);
        for span in spans {
            span.kv.advance(span.tokens.len());
        }
        Ok(())
    }

    /// Logits of tokens `rows` of the last step, at most [`LOGITS_ROWS_MAX`] of them. `(rows.len(), vocab)`
    pub fn logits<'s>(&self, run: &Runtime<'_>, rows: Range<usize>, s: &'s mut Scratch) -> &'s mut [f32] {
        assert!(rows.len() <= LOGITS_ROWS_MAX && rows.end <= s.n_tokens);
        let n = rows.len() * self.config.vocab;
        if s.logits.len() < n {
            s.logits.resize(n, 0.0);
        }
        let hidden = &s.normed[rows.start * self.config.dim..rows.end * self.config.dim];
        project(run, &mut s.acts, hidden, [(&self.weights.head, &mut s.logits[..n])]);
        &mut s.logits[..n]
    }

    fn check(&self, spans: &[Span<'_>], s: &Scratch) -> Result<usize> {
        let mut n_tokens = 0;
        for Span { kv, tokens } in spans {
            let room = kv.capacity() - kv.len();
            if tokens.is_empty() || tokens.len() > room {
                return Err(Error::Input(format!(
                    "{} tokens for a context with room for {room} more; expected 1 to {room}",
                    tokens.len()
                )));
            }
            if let Some(id) = tokens.iter().find(|&&id| id as usize >= self.config.vocab) {
                let vocab = self.config.vocab;
                return Err(Error::Input(format!("token id {id}: this model's ids end at {}", vocab - 1)));
            }
            n_tokens += tokens.len();
        }
        if n_tokens > s.tokens_max {
            return Err(Error::Input(format!(
                "{n_tokens} tokens in a step; expected at most {}",
                s.tokens_max
            )));
        }
        Ok(n_tokens)
    }

    /// Looks up embeddings and the rotary angles of every token's position.
    fn embed(&self, spans: &[Span<'_>], s: &mut Scratch) {
        let (dim, n_pairs) = (self.config.dim, self.config.rope.frequencies.len());
        let mut t = 0;
        for span in spans {
            for (i, &id) in span.tokens.iter().enumerate() {
                self.weights.embed.dequantize_row(id as usize, &mut s.x[t * dim..(t + 1) * dim]);
                let at = t * n_pairs..(t + 1) * n_pairs;
                self.config.rope.angles(span.kv.len() + i, &mut s.cos[at.clone()], &mut s.sin[at]);
                t += 1;
            }
        }
        s.n_tokens = t;
    }
}

/// Every buffer of a step, made once for the largest step.
#[derive(Debug)]
pub struct Scratch {
    tokens_max: usize,
    /// Tokens of the last step.
    n_tokens: usize,
    dim: usize,
    /// Residual stream. `(n_tokens, dim)`
    x: Vec<f32>,
    /// Input of a mixer, an ffn or the head. `(n_tokens, dim)`
    pub(crate) normed: Vec<f32>,
    /// Output of a mixer or an ffn. `(n_tokens, dim)`
    pub(crate) delta: Vec<f32>,
    /// `(n_tokens, n_heads * head_dim)`
    pub(crate) q: Vec<f32>,
    /// `(n_tokens, n_kv_heads * head_dim)`
    pub(crate) k: Vec<f32>,
    /// `(n_tokens, n_kv_heads * head_dim)`
    pub(crate) v: Vec<f32>,
    /// Attention's result. `(n_tokens, n_heads * head_dim)`
    pub(crate) heads: Vec<f32>,
    /// `(n_tokens, ffn_dim)`
    pub(crate) gate: Vec<f32>,
    /// `(n_tokens, ffn_dim)`
    pub(crate) up: Vec<f32>,
    /// `(n_tokens, n_rot / 2)`
    pub(crate) cos: Vec<f32>,
    /// `(n_tokens, n_rot / 2)`
    pub(crate) sin: Vec<f32>,
    /// Attention's own, per thread.
    pub(crate) attn: Vec<f32>,
    /// Quantised activations of one matrix input.
    pub(crate) acts: Acts,
    /// `(rows, vocab)`, grown to the most rows asked for.
    logits: Vec<f32>,
}

impl Scratch {
    /// Buffers for steps of up to `tokens_max` tokens on `n_threads` threads.
    pub fn new(config: &Config, tokens_max: usize, n_threads: usize) -> Self {
        let rows = |width: usize| vec![0.0; tokens_max * width];
        let n_pairs = config.rope.frequencies.len();
        let widest = config.dim.max(config.q_dim()).max(config.ffn_dim);
        Self {
            tokens_max,
            n_tokens: 0,
            dim: config.dim,
            x: rows(config.dim),
            normed: rows(config.dim),
            delta: rows(config.dim),
            q: rows(config.q_dim()),
            k: rows(config.kv_dim()),
            v: rows(config.kv_dim()),
            heads: rows(config.q_dim()),
            gate: rows(config.ffn_dim),
            up: rows(config.ffn_dim),
            cos: rows(n_pairs),
            sin: rows(n_pairs),
            attn: vec![0.0; n_threads * config.attn.scratch_len()],
            acts: Acts::with_capacity(tokens_max, widest),
            logits: vec![0.0; config.vocab],
        }
    }

    /// Bytes that [`Scratch::new`] takes per token of its largest step.
    pub fn bytes_per_token(config: &Config) -> usize {
        let widest = config.dim.max(config.q_dim()).max(config.ffn_dim);
        let floats = 3 * config.dim
            + 2 * config.q_dim()
            + 2 * config.kv_dim()
            + 2 * config.ffn_dim
            + 2 * config.rope.frequencies.len();
        4 * floats + 6 * widest
    }

    /// The most tokens a step may have.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// `normed = rms_norm(x) * weight`, row by row.
    fn norm(&mut self, run: &Runtime<'_>, n_tokens: usize, weight: &[f32], eps: f32) {
        let (dim, x) = (self.dim, &self.x);
        run.pool.for_rows(&mut self.normed[..n_tokens * dim], dim, |t, out| {
            (run.kernels.ops().rms_norm)(&x[t * dim..(t + 1) * dim], weight, eps, out);
        });
    }
}
