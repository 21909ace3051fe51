//! The one forward pass: tokens to hidden states to logits, for every family.
//!
//! A step takes spans, each some tokens of one sequence with its KV cache, and sends all their tokens through the layers
//! together. Whatever shares a step, a token's numbers are the same to the bit: matrices sum every row alone, attention
//! reduces in fixed blocks of positions, other mixers go from token to token, and nothing else looks across tokens.

use std::ops::Range;

use ingle_kernel::ops;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;

use crate::adapter::Active;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::file::Contents;
use crate::kv::Kv;
use crate::linear::{add_looked_up, project_finely};
use crate::probe::Probe;
pub use crate::scratch::Scratch;
use crate::weights::{Half, Input, Layer, Weights};

/// Rows of logits computed at a time: 16 rows of a vocabulary of 150,000 are 10 MB.
pub const LOGITS_ROWS_MAX: usize = 16;

/// What does the arithmetic: the threads and the tier's kernels.
#[derive(Debug, Clone, Copy)]
pub struct Runtime<'a> {
    /// Threads.
    pub pool: &'a Pool,
    /// Kernels; those that the model was read for.
    pub kernels: &'a Kernels,
    /// Adapters of all tokens of the step, with their factors.
    pub adapters: &'a [Active],
    /// Who sees what the matrices are given.
    pub probe: Option<&'a dyn Probe>,
}

impl<'a> Runtime<'a> {
    /// Threads and kernels alone: no adapters, nobody who looks.
    pub fn new(pool: &'a Pool, kernels: &'a Kernels) -> Self {
        Self { pool, kernels, adapters: &[], probe: None }
    }
}

/// Some tokens of one sequence, to be appended to its cache.
#[derive(Debug)]
pub struct Span<'a> {
    /// The sequence's cache; the tokens take the positions after those it holds.
    pub kv: &'a mut Kv,
    /// At least one token, and then those of the branches.
    pub tokens: &'a [u32],
    /// Of how many of the last tokens hidden states are wanted, at least one; the others only leave what later ones look back at.
    pub n_wanted: usize,
    /// Other ways to go on from some of the tokens, which the cache forgets.
    pub branches: &'a [Branch],
}

/// Tokens that might come instead of others of their span. Their hidden states are those that they would have in their place; their keys and
/// values are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Tokens of the span that it comes behind, at least one.
    pub behind: usize,
    /// Tokens of it.
    pub n_tokens: usize,
}

impl<'a> Span<'a> {
    /// `tokens` for `kv`, all of whose hidden states are wanted.
    pub fn new(kv: &'a mut Kv, tokens: &'a [u32]) -> Self {
        Self { kv, n_wanted: tokens.len(), tokens, branches: &[] }
    }

    /// `tokens` for `kv`, of the last `n_wanted` of which hidden states are wanted.
    pub fn wanting(n_wanted: usize, kv: &'a mut Kv, tokens: &'a [u32]) -> Self {
        Self { kv, tokens, n_wanted, branches: &[] }
    }

    /// Tokens that are appended.
    pub fn n_kept(&self) -> usize {
        Branch::n_kept(self.branches, self.tokens)
    }
}

impl Branch {
    /// How many of `tokens` are in none of `branches`, which come last.
    pub(crate) fn n_kept(branches: &[Self], tokens: &[u32]) -> usize {
        tokens.len().saturating_sub(branches.iter().map(|branch| branch.n_tokens).sum())
    }

    /// Each branch with the places of its tokens, the first of which comes behind `n_kept` others.
    pub(crate) fn places(branches: &[Self], n_kept: usize) -> impl Iterator<Item = (&Self, Range<usize>)> {
        branches.iter().scan(n_kept, |first, branch| {
            let tokens = *first..*first + branch.n_tokens;
            *first = tokens.end;
            Some((branch, tokens))
        })
    }
}

/// What a block is told about the step it is in.
#[derive(Debug)]
pub struct Step<'a, 's> {
    /// What does the arithmetic.
    pub run: &'a Runtime<'a>,
    /// The model's numbers.
    pub config: &'a Config,
    /// The layer the block is in.
    pub layer: usize,
    /// The sequences.
    pub spans: &'a mut [Span<'s>],
    /// Tokens of all spans.
    pub n_tokens: usize,
}

impl Step<'_, '_> {
    /// Goes on with the tokens whose hidden states are wanted.
    fn keep_wanted(&mut self, s: &mut Scratch) {
        let wanted = self.spans.iter().scan(0, |end, span| {
            *end += span.tokens.len();
            Some(*end - span.n_wanted..*end)
        });
        s.keep(wanted.flatten());
        self.n_tokens = s.n_tokens;
    }
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
    pub fn read(file: &Contents, kernels: &Kernels) -> Result<Self> {
        let config = Config::read(file)?;
        let weights = Weights::read(file, &config, kernels)?;
        Ok(Self { config, weights })
    }

    /// One step: appends every span's tokens to its cache and leaves the wanted final hidden states, normed for the head, in
    /// `scratch`, in the order of the spans. Read logits with [`Model::logits`].
    ///
    /// # Errors
    /// [`Error::Input`] for an empty or too long span, one that wants more tokens than it has, too many tokens for `scratch`, or an id outside the vocabulary;
    /// nothing is changed then.
    pub fn forward(&self, run: &Runtime<'_>, spans: &mut [Span<'_>], s: &mut Scratch) -> Result<()> {
        self.forward_through(self.weights.layers.len(), run, spans, s)
    }

    /// The same through the first `n_layers` alone, at least one: an early guess at the hidden states. The layers behind learn nothing of
    /// the tokens, so before a whole step goes on, the caches go back to where they were.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_through(
        &self,
        n_layers: usize,
        run: &Runtime<'_>,
        spans: &mut [Span<'_>],
        s: &mut Scratch,
    ) -> Result<()> {
        let layers = &self.weights.layers[..n_layers];
        let n_tokens = self.check(spans, s)?;
        self.embed(run, spans, s);
        if let Some(table) = &self.weights.per_layer {
            table.look_up(run, &self.config, spans, s);
        }
        let mut step = Step { run, config: &self.config, layer: 0, spans, n_tokens };
        if let Some(streams) = &self.weights.streams {
            streams.spread(&step, s);
        }
        for (i, layer) in layers.iter().enumerate() {
            run.pool.offer_turn();
            step.layer = i;
            // Behind the last mixer no token looks at another any more.
            layer.forward(&mut step, i + 1 == layers.len(), s);
        }
        if let Some(streams) = &self.weights.streams {
            streams.merge(&step, s);
        }
        s.norm(run, step.n_tokens, &self.weights.out_norm);
        for span in &mut *step.spans {
            span.kv.advance(span.n_kept());
        }
        Ok(())
    }

    /// Logits of tokens `rows` among those wanted of the last step, at most [`LOGITS_ROWS_MAX`] of them. `(rows.len(), vocab)`
    pub fn logits<'s>(&self, run: &Runtime<'_>, rows: Range<usize>, s: &'s mut Scratch) -> &'s mut [f32] {
        assert!(rows.len() <= LOGITS_ROWS_MAX && rows.end <= s.n_tokens);
        let n = rows.len() * self.config.vocab;
        if s.logits.len() < n {
            s.logits.resize(n, 0.0);
        }
        let hidden = &s.normed[rows.start * self.config.dim..rows.end * self.config.dim];
        let logits = &mut s.logits[..n];
        project_finely(run, &mut s.inputs, hidden, &self.weights.head, logits);
        self.config.finish_logits(run, logits);
        logits
    }

    /// Final hidden states, normed for the head, of tokens `rows` among those wanted of the last step: what embeddings are made
    /// of. `(rows.len(), dim)`
    pub fn hidden<'s>(&self, rows: Range<usize>, s: &'s Scratch) -> &'s [f32] {
        assert!(rows.end <= s.n_tokens);
        &s.normed[rows.start * self.config.dim..rows.end * self.config.dim]
    }

    fn check(&self, spans: &[Span<'_>], s: &Scratch) -> Result<usize> {
        let mut n_tokens = 0;
        for span in spans {
            let Span { kv, tokens, n_wanted, branches } = span;
            let room = kv.capacity() - kv.len();
            if !branches.is_empty() {
                self.check_branches(span, room)?;
            }
            if tokens.is_empty() || tokens.len() > room {
                return Err(Error::Input(format!(
                    "{} tokens for a context with room for {room} more; expected 1 to {room}",
                    tokens.len()
                )));
            }
            if !(1..=tokens.len()).contains(n_wanted) {
                let n = tokens.len();
                return Err(Error::Input(format!("{n_wanted} wanted of {n} tokens; expected 1 to {n}")));
            }
            if let Some(id) = tokens.iter().find(|&&id| id as usize >= self.config.vocab) {
                let vocab = self.config.vocab;
                return Err(Error::Input(format!("token id {id}: this model's ids end at {}", vocab - 1)));
            }
            n_tokens += tokens.len();
        }
        if n_tokens > s.tokens_max() {
            return Err(Error::Input(format!(
                "{n_tokens} tokens in a step; expected at most {}",
                s.tokens_max()
            )));
        }
        Ok(n_tokens)
    }

    fn check_branches(&self, span: &Span<'_>, room: usize) -> Result<()> {
        if !self.takes_branches() {
            return Err(Error::Input(
                "a branch in a model with layers that recur or share keys, expected none".into(),
            ));
        }
        let n_all: usize = span.branches.iter().map(|branch| branch.n_tokens).sum();
        let n_kept = span.tokens.len().saturating_sub(n_all);
        let fits = |branch: &Branch| {
            let end = branch.behind + branch.n_tokens;
            (1..=n_kept).contains(&branch.behind) && end <= room && end <= span.kv.step_max()
        };
        if n_kept == 0 || n_kept > span.kv.step_max() || !span.branches.iter().all(fits) {
            let n = span.tokens.len();
            return Err(Error::Input(format!(
                "{n_all} of {n} tokens in branches; expected each behind one of the others"
            )));
        }
        Ok(())
    }

    /// Whether spans may have branches: no layer recurs, and none reads the keys and values of another.
    pub fn takes_branches(&self) -> bool {
        self.config.layers.iter().all(|layer| {
            let state = layer.mixer.state();
            state.recurrent == 0 && state.kv.is_some()
        })
    }

    /// Looks up embeddings and the rotary angles of every token's position.
    fn embed(&self, run: &Runtime<'_>, spans: &[Span<'_>], s: &mut Scratch) {
        let dim = self.config.dim;
        let mut t = 0;
        for span in spans {
            let of = |branch: &Branch| branch.behind..branch.behind + branch.n_tokens;
            let places = (0..span.n_kept()).chain(span.branches.iter().flat_map(of));
            for (&id, place) in span.tokens.iter().zip(places) {
                let pos = span.kv.len() + place;
                self.weights.embed.dequantize_row(id as usize, &mut s.x[t * dim..(t + 1) * dim]);
                s.angles.set(&self.config.ropes, t, pos, span.kv.capacity());
                t += 1;
            }
        }
        let x = &mut s.x[..t * dim];
        let ids = spans.iter().flat_map(|span| span.tokens.iter().copied());
        add_looked_up(run, &mut s.inputs, &self.weights.embed_place, ids, x);
        if self.config.embed_scale != 1.0 {
            x.iter_mut().for_each(|v| *v *= self.config.embed_scale);
        }
        s.n_tokens = t;
    }
}

impl Config {
    /// What is done to logits `(n, vocab)` when the head has made them.
    pub(crate) fn finish_logits(&self, run: &Runtime<'_>, logits: &mut [f32]) {
        if self.logit_scale != 1.0 {
            logits.iter_mut().for_each(|v| *v *= self.logit_scale);
        }
        if let Some(cap) = self.logit_softcap {
            run.pool.for_rows(logits, self.vocab, |_, row| (run.kernels.ops().softcap)(row, cap));
        }
    }
}

impl Layer {
    /// The layer's part of a step, on the residual stream in `s`; behind the mixer only wanted tokens go on where
    /// `only_wanted` says so.
    pub(crate) fn forward(&self, step: &mut Step<'_, '_>, only_wanted: bool, s: &mut Scratch) {
        if let Some(streams) = &self.streams {
            streams.predict(step, s);
        }
        if let Some(mixer) = &self.mixer {
            mixer.take_input(step, s);
            mixer.block.forward(step, s);
            mixer.add_output(step, s);
        }
        if only_wanted {
            step.keep_wanted(s);
        }
        for ffn in &self.ffns {
            ffn.take_input(step, s);
            ffn.block.forward(step, s);
            ffn.add_output(step, s);
        }
        if let Some(streams) = &self.streams {
            streams.correct(step, s);
        }
    }
}

impl<B: ?Sized> Half<B> {
    /// Puts what the block reads into `s.normed`.
    fn take_input(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let n = step.n_tokens * step.config.dim;
        match &self.input {
            Input::Normed(norm) => s.norm(step.run, step.n_tokens, norm),
            Input::Plain => s.normed[..n].copy_from_slice(&s.x[..n]),
            Input::Shared => {}
        }
    }

    /// Adds what the block left in `s.delta` to the residual stream, and scales that.
    fn add_output(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (n, dim) = (step.n_tokens * step.config.dim, step.config.dim);
        if let Some(norm) = &self.post_norm {
            step.run.pool.for_rows(&mut s.delta[..n], dim, |_, row| norm.apply_in_place(step.run, row));
        }
        let delta = &s.delta;
        step.run.pool.for_rows(&mut s.x[..n], dim, |t, row| {
            ops::add_scaled(row, &delta[t * dim..(t + 1) * dim], step.config.residual_scale);
        });
        if let Some(scale) = self.scale {
            s.x[..n].iter_mut().for_each(|v| *v *= scale);
        }
    }
}
