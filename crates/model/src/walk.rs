//! A model gone through layer by layer: all sequences through one layer, then through the next.
//!
//! Whoever changes weights layer by layer needs the weights of one layer at a time and the residual stream of all tokens in
//! between, `4 * dim` bytes a token, whatever the size of the model. A layer is given by the caller, so it may be another than the
//! file's; with the file's own layers a token's stream is to the bit what [`crate::decoder`] computes.
//!
//! Left out, and refused: families whose layers read more than the stream and their own past (several streams, embeddings of
//! each layer, keys and values of another layer).

use std::ops::Range;

use ingle_kernel::simd::Kernels;

use crate::config::Config;
use crate::decoder::{LOGITS_ROWS_MAX, Runtime, Span, Step};
use crate::error::{Error, Result};
use crate::file::Contents;
use crate::kv::{self, Kv};
use crate::linear::project_finely;
use crate::scratch::Scratch;
use crate::source::Source;
use crate::weights::{Layer, read_ends};

/// Tokens of a part, unless one sequence has more.
const PART: usize = 512;

/// The stream of all tokens between two layers.
#[derive(Debug)]
pub struct Walk<'a> {
    config: &'a Config,
    sequences: &'a [Vec<u32>],
    /// `(n_tokens, dim)`
    states: Vec<f32>,
    /// What goes through a layer together.
    parts: Vec<Part>,
    /// A cache for each sequence of a part.
    kvs: Vec<Kv>,
    scratch: Scratch,
}

/// Some sequences.
#[derive(Debug, Clone)]
struct Part {
    sequences: Range<usize>,
    /// The first of their tokens.
    first: usize,
}

impl<'a> Walk<'a> {
    /// Looks up the embeddings of `sequences`, each at least one token, in `file`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a family that can't be gone through so, [`Error::Input`] for an empty sequence or an id outside the
    /// vocabulary.
    pub fn begin(
        file: &Contents,
        config: &'a Config,
        sequences: &'a [Vec<u32>],
        run: &Runtime<'_>,
    ) -> Result<Self> {
        supported(config)?;
        let vocab = config.vocab;
        if sequences.iter().any(Vec::is_empty) || sequences.iter().flatten().any(|&id| id as usize >= vocab) {
            return Err(Error::Input(format!("a sequence that is empty or has an id of {vocab} or more")));
        }
        let mut source = Source::new(file, config, run.kernels);
        let embed = source.mat("token_embd.weight", vocab, config.dim)?;
        let mut states = vec![0.0; sequences.iter().map(Vec::len).sum::<usize>() * config.dim];
        for (&id, row) in sequences.iter().flatten().zip(states.chunks_exact_mut(config.dim)) {
            embed.dequantize_row(id as usize, row);
            row.iter_mut().for_each(|v| *v *= config.embed_scale);
        }
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(1);
        let scratch = Scratch::new(config, longest.max(PART), run.pool.n_threads());
        let parts = parts(sequences);
        let n_kvs = parts.iter().map(|part| part.sequences.len()).max().unwrap_or(0);
        let format = kv::format(config, "f32")?;
        let kvs = (0..n_kvs).map(|_| Kv::new(config, format, longest)).collect();
        Ok(Self { config, sequences, states, parts, kvs, scratch })
    }

    /// Sends all sequences through `layer`, the model's `i`-th. The stream goes on behind it where `keep` says so; otherwise only the
    /// probe of `run` has seen what the layer's matrices were given. `watch` is told how many tokens are done; when it gives `false`
    /// the walk stops, gives `false` and must not go on.
    pub fn through(
        &mut self,
        layer: &Layer,
        i: usize,
        keep: bool,
        run: &Runtime<'_>,
        mut watch: impl FnMut(usize) -> bool,
    ) -> bool {
        let mut n_done = 0;
        (0..self.n_parts()).all(|part| {
            self.part_through(part, layer, i, keep, run);
            n_done += self.n_tokens(part);
            watch(n_done)
        })
    }

    /// The parts that go through a layer one after the other.
    pub fn n_parts(&self) -> usize {
        self.parts.len()
    }

    /// Tokens of a part.
    pub fn n_tokens(&self, part: usize) -> usize {
        self.sequences[self.parts[part].sequences.clone()].iter().map(Vec::len).sum()
    }

    /// [`Walk::through`] for one part of the sequences.
    pub fn part_through(&mut self, part: usize, layer: &Layer, i: usize, keep: bool, run: &Runtime<'_>) {
        let (dim, n_tokens) = (self.config.dim, self.n_tokens(part));
        let Part { sequences, first } = self.parts[part].clone();
        let sequences = &self.sequences[sequences];
        let states = &mut self.states[first * dim..(first + n_tokens) * dim];
        let s = &mut self.scratch;
        s.n_tokens = n_tokens;
        s.x[..n_tokens * dim].copy_from_slice(states);
        let places = sequences.iter().flat_map(|tokens| 0..tokens.len());
        for (t, pos) in places.enumerate() {
            s.angles.set(&self.config.ropes, t, pos, self.kvs[0].capacity());
        }
        let mut spans: Vec<Span<'_>> =
            self.kvs.iter_mut().zip(sequences).map(|(kv, tokens)| Span::new(kv, tokens)).collect();
        for span in &mut spans {
            span.kv.truncate(0);
        }
        let mut told = Step { run, config: self.config, layer: i, spans: &mut spans, n_tokens };
        layer.forward(&mut told, false, s);
        for span in &mut spans {
            span.kv.advance(span.tokens.len());
        }
        if keep {
            states.copy_from_slice(&s.x[..n_tokens * dim]);
        }
    }

    /// Norms the stream and sends it through the output matrix of `file`, `LOGITS_ROWS_MAX` tokens at a time: `rows` is given the
    /// number of the first token and the logits `(n, vocab)`. When it gives `false`, the walk ends.
    ///
    /// # Errors
    /// When the output matrix is missing or misshapen.
    pub fn logits(
        &mut self,
        file: &Contents,
        run: &Runtime<'_>,
        mut rows: impl FnMut(usize, &mut [f32]) -> bool,
    ) -> Result<bool> {
        let (norm, head) = read_ends(&mut Source::new(file, self.config, run.kernels), self.config, None)?;
        let Self { config, states, scratch, .. } = self;
        let (dim, vocab) = (config.dim, config.vocab);
        let mut logits = vec![0.0; LOGITS_ROWS_MAX * vocab];
        for (i, states) in states.chunks(LOGITS_ROWS_MAX * dim).enumerate() {
            let (values, n) = (states.len(), states.len() / dim);
            scratch.x[..values].copy_from_slice(states);
            scratch.norm(run, n, &norm);
            let (inputs, normed) = (&mut scratch.inputs, &scratch.normed[..values]);
            let out = &mut logits[..n * vocab];
            project_finely(run, inputs, normed, &head, out);
            config.finish_logits(run, out);
            if !rows(i * LOGITS_ROWS_MAX, out) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Norms the stream as the output matrix of `file` reads it, some tokens at a time: `rows` is given `(n, dim)`.
    ///
    /// # Errors
    /// When the norm is missing or misshapen.
    pub fn normed(&mut self, file: &Contents, run: &Runtime<'_>, mut rows: impl FnMut(&[f32])) -> Result<()> {
        let norm = Source::new(file, self.config, run.kernels).norm("output_norm", self.config.dim)?;
        let Self { config, states, scratch, .. } = self;
        for states in states.chunks(PART * config.dim) {
            scratch.x[..states.len()].copy_from_slice(states);
            scratch.norm(run, states.len() / config.dim, &norm);
            rows(&scratch.normed[..states.len()]);
        }
        Ok(())
    }

    /// The stream `(n_tokens, dim)`, of one sequence after the other.
    pub fn states(&self) -> &[f32] {
        &self.states
    }

    /// The stream, to be set to what [`Self::states`] gave elsewhere.
    pub fn states_mut(&mut self) -> &mut [f32] {
        &mut self.states
    }
}

impl Layer {
    /// Layer `i` of `file`.
    ///
    /// # Errors
    /// When a tensor is missing or misshapen.
    pub fn of(file: &Contents, config: &Config, i: usize, kernels: &Kernels) -> Result<Self> {
        let mut source = Source::new(file, config, kernels);
        source.enter(Some(i));
        Self::read(&mut source, config, &config.layers[i])
    }
}

/// Whether the layers of `config` can be gone through one by one.
///
/// # Errors
/// [`Error::Unsupported`] with what stands against it.
pub fn supported(config: &Config) -> Result<()> {
    let borrows =
        config.layers.iter().filter_map(|l| l.attention()).any(|attention| attention.kv_from.is_some());
    let why = [
        (config.streams.is_some(), "several residual streams"),
        (config.per_layer_dim > 0, "embeddings of each layer"),
        (borrows, "layers that use the keys and values of others"),
    ];
    match why.iter().find(|(holds, _)| *holds) {
        None => Ok(()),
        Some((_, why)) => Err(Error::unsupported(
            "going layer by layer",
            format!("family {} with {why}", config.family.name),
            ["families whose layers read one residual stream"],
        )),
    }
}

/// As many sequences each as have [`PART`] tokens, at least one.
fn parts(sequences: &[Vec<u32>]) -> Vec<Part> {
    let (mut parts, mut n_tokens): (Vec<Part>, _) = (Vec::new(), 0);
    for (i, len) in sequences.iter().map(Vec::len).enumerate() {
        match parts.last_mut() {
            Some(part) if n_tokens - part.first + len <= PART => part.sequences.end = i + 1,
            _ => parts.push(Part { sequences: i..i + 1, first: n_tokens }),
        }
        n_tokens += len;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_whole_sequences() {
        let of = |lengths: &[usize]| {
            let sequences: Vec<_> = lengths.iter().map(|&n| vec![0; n]).collect();
            parts(&sequences).into_iter().map(|part| (part.sequences, part.first)).collect::<Vec<_>>()
        };
        assert!(of(&[]).is_empty());
        assert_eq!(of(&[PART + 1, 1, PART - 1, 1]), [(0..1, 0), (1..3, PART + 1), (3..4, 2 * PART + 1)]);
    }
}
