//! Texts in, vectors out; and a query with documents in, scores out.
//!
//! [`Embedder::load`] takes an encoder (BERT and what descends from it) or any model that writes text, whose final hidden
//! states are pooled. Texts go through in steps of several, as many as fit [`STEP_TOKENS`]; a text's vector does not depend on
//! those beside it, to the bit. A text that is too long is refused, or cut where the request says so; what was cut is told. Steps
//! take turns with others on the same threads, and let them go first at every layer: somebody may wait for the next word.
//!
//! Left out: prompts that some models want before queries and documents, which the caller writes into the text; documents in
//! pieces.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::arch;
use ingle_model::config::Config;
use ingle_model::decoder::{Runtime, Scratch, Span};
use ingle_model::encoder::{self, Encoder, Text};
use ingle_model::kv::{self, Kv};
pub use ingle_model::pooling::Pooling;
use ingle_model::pooling::{self, Plan};
use ingle_model::token::{Parse, Tokenizer};

use crate::error::{Error, Result};
use crate::memory;
use crate::model_file::{LoadOptions, Loaded, ModelFile};

/// Tokens of texts that go through an encoder together, unless one text has more.
pub const STEP_TOKENS: usize = 512;
/// Tokens that go through a model that writes text together: few, as somebody may wait for its next word.
const DECODER_STEP_TOKENS: usize = 128;
/// Positions of a model that writes text, whatever longer context it was made for.
const DECODER_TOKENS_MAX: usize = 32_768;
/// Format of a decoder's keys and values: those of one text are small.
const KV: &str = "f32";

/// What happens to a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncate {
    /// It is refused.
    No,
    /// It is cut to what the model was trained on, or else can read.
    ToModel,
    /// It is cut to so many tokens, special ones included, or fewer where the model reads fewer.
    To(usize),
}

/// How texts become vectors.
#[derive(Debug, Clone, Copy)]
pub struct EmbedOptions {
    /// What happens to a text that is too long.
    pub truncate: Truncate,
    /// How tokens become one vector; `None` for what the model's file says, or else the mean for an encoder and the last
    /// token for others.
    pub pooling: Option<Pooling>,
    /// Whether vectors are brought to length 1; `None` for what the model's file says, or else yes.
    pub normalised: Option<bool>,
    /// How many of a vector's first values are kept, for models trained so that these do (arXiv 2205.13147).
    pub dim: Option<usize>,
}

impl EmbedOptions {
    /// All as the model's file says, and nothing cut.
    pub const MODEL: Self = Self { truncate: Truncate::No, pooling: None, normalised: None, dim: None };
}

/// What becomes a vector.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A text, around which the model's special tokens are put.
    Text(&'a str),
    /// Ids, as they are.
    Ids(&'a [u32]),
}

/// What was made of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// A vector for each text, in order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of each text that were read, special ones included.
    pub n_tokens: Vec<usize>,
    /// Texts that were cut, ascending.
    pub cut: Vec<usize>,
}

/// How well documents answer a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// A score for each document, in order: the model's own, without bounds; `1 / (1 + e^-score)` is between 0 and 1.
    pub scores: Vec<f32>,
    /// Tokens of each pair that were read, special ones included.
    pub n_tokens: Vec<usize>,
    /// Documents that were cut, ascending.
    pub cut: Vec<usize>,
}

/// A model that makes vectors or scores. It keeps the buffers of one caller; of several at a time the others make their own.
#[derive(Debug)]
pub struct Embedder {
    model: Model,
    plan: Plan,
    tokens_max: usize,
}

#[derive(Debug)]
enum Model {
    Encoder(Box<Reader>),
    Decoder { loaded: Arc<Loaded>, scratch: Mutex<Option<Box<Scratch>>> },
}

/// An encoder with what it takes to run it.
#[derive(Debug)]
struct Reader {
    file: ModelFile,
    encoder: Encoder,
    tokenizer: Tokenizer,
    pool: Arc<Pool>,
    kernels: Kernels,
    scratch: Mutex<Option<encoder::Scratch>>,
}

/// A text's ids, or a pair's.
#[derive(Debug, Default)]
struct Ids {
    all: Vec<u32>,
    n_first: usize,
    is_cut: bool,
}

/// Whether `file` holds an encoder: a model that makes vectors or scores and writes no text.
pub fn is_encoder(file: &ModelFile) -> bool {
    file.contents().str("general.architecture").is_ok_and(|name| name.is_some_and(arch::is_encoder))
}

impl Embedder {
    /// Reads the model of `file`, an encoder or any other. Weights stay where they lie.
    ///
    /// # Errors
    /// When the model is of no known family or has no vocabulary, or its file is damaged.
    pub fn load(file: ModelFile, options: &LoadOptions<'_>) -> Result<Self> {
        Self::load_on(Arc::new(Pool::new(options.n_threads)), file, options)
    }

    /// The same for a model that shares its threads with others, which take turns.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_on(pool: Arc<Pool>, file: ModelFile, options: &LoadOptions<'_>) -> Result<Self> {
        if !is_encoder(&file) {
            return Self::of(Arc::new(Loaded::load_on(pool, file, options)?));
        }
        let kernels = options.kernels(file.n_bytes())?;
        let encoder = Encoder::read(file.contents(), &kernels).map_err(|e| file.model_error(e))?;
        let tokenizer = file.tokenizer()?;
        let (plan, tokens_max) = (encoder.plan, encoder.config.ctx_train);
        let reader = Reader { file, encoder, tokenizer, pool, kernels, scratch: Mutex::default() };
        Ok(Self { model: Model::Encoder(Box::new(reader)), plan, tokens_max })
    }

    /// Vectors from the hidden states of a model that writes text and may be in use for that.
    ///
    /// # Errors
    /// When the model's file says something impossible about embeddings.
    pub fn of(loaded: Arc<Loaded>) -> Result<Self> {
        let plan = Plan::read(loaded.file.contents()).map_err(|e| loaded.file.model_error(e))?;
        let tokens_max = loaded.model.config.ctx_train.min(DECODER_TOKENS_MAX);
        Ok(Self { model: Model::Decoder { loaded, scratch: Mutex::default() }, plan, tokens_max })
    }

    /// Brings the weights into the process.
    pub fn prefault(&self) {
        match &self.model {
            Model::Encoder(reader) => reader.file.prefault(&reader.pool),
            Model::Decoder { loaded, .. } => loaded.prefault(),
        }
    }

    /// Lets the buffers go that are kept for the next caller.
    pub fn rest(&self) {
        match &self.model {
            Model::Encoder(reader) => drop(take(&reader.scratch)),
            Model::Decoder { scratch, .. } => drop(take(scratch)),
        }
    }

    /// The model's file.
    pub fn file(&self) -> &ModelFile {
        match &self.model {
            Model::Encoder(reader) => &reader.file,
            Model::Decoder { loaded, .. } => &loaded.file,
        }
    }

    /// Text to ids and back.
    ///
    /// # Errors
    /// When the model has no vocabulary, or one that can't be read.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        match &self.model {
            Model::Encoder(reader) => Ok(&reader.tokenizer),
            Model::Decoder { loaded, .. } => loaded.tokenizer(),
        }
    }

    /// The model's numbers.
    pub fn config(&self) -> &Config {
        match &self.model {
            Model::Encoder(reader) => &reader.encoder.config,
            Model::Decoder { loaded, .. } => &loaded.model.config,
        }
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.config().dim
    }

    /// The most tokens of a text, special ones included.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// Whether it does nothing but read: one that writes text has its vectors from hidden states.
    pub fn is_encoder(&self) -> bool {
        matches!(self.model, Model::Encoder(_))
    }

    /// Whether it is a cross-encoder, for [`Self::rerank`] and not for [`Self::embed`].
    pub fn is_ranker(&self) -> bool {
        matches!(&self.model, Model::Encoder(reader) if reader.encoder.is_ranker())
    }

    /// A vector for each of `texts`. Returns `None` when `cancel` was raised, which is looked at between steps.
    ///
    /// # Errors
    /// [`Error::Input`] for a text that is too long and may not be cut, one without tokens, a cross-encoder, or impossible options.
    pub fn embed(
        &self,
        texts: &[&str],
        options: &EmbedOptions,
        cancel: &AtomicBool,
    ) -> Result<Option<Embeddings>> {
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
        self.embed_inputs(&inputs, options, cancel)
    }

    /// The same for texts and ids.
    ///
    /// # Errors
    /// Those of [`Self::embed`], and [`Error::Input`] for an id that the model does not have.
    pub fn embed_inputs(
        &self,
        inputs: &[Input<'_>],
        options: &EmbedOptions,
        cancel: &AtomicBool,
    ) -> Result<Option<Embeddings>> {
        if self.is_ranker() {
            let text = "the model is a cross-encoder, which scores pairs of texts and has no embeddings";
            return Err(Error::Input(text.into()));
        }
        let dim = options.dim.unwrap_or(self.dim());
        if !(1..=self.dim()).contains(&dim) {
            return Err(Error::Input(format!("vectors of {dim} values, expected 1 to {}", self.dim())));
        }
        let of_kind = if matches!(self.model, Model::Encoder(_)) { Pooling::Mean } else { Pooling::Last };
        let pooling = options.pooling.or(self.plan.pooling).unwrap_or(of_kind);
        let normalised = options.normalised.unwrap_or(self.plan.normalised);
        let ids = inputs.iter().enumerate().map(|(i, input)| match input {
            Input::Text(text) => self.encode(i, text, None, options.truncate),
            Input::Ids(ids) => self.given(i, ids, options.truncate),
        });
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let mut vectors = Vec::with_capacity(ids.len());
        let mut take = |hidden: &[f32], whole: usize| -> ingle_model::Result<()> {
            let mut vector = vec![0.0; whole];
            pooling.pool(hidden, &mut vector)?;
            vector.truncate(dim);
            if normalised {
                pooling::normalise(&mut vector);
            }
            vectors.push(vector);
            Ok(())
        };
        let done = match &self.model {
            Model::Encoder(reader) => reader.read(&ids, cancel, |reader, s, n_texts| {
                let whole = reader.encoder.config.dim;
                (0..n_texts).try_for_each(|i| take(reader.encoder.hidden(i, s), whole))
            })?,
            Model::Decoder { loaded, scratch } => {
                let whole = loaded.model.config.dim;
                decode(loaded, scratch, &ids, pooling, cancel, |hidden| take(hidden, whole))?
            }
        };
        let (n_tokens, cut) = told(&ids);
        Ok(done.then_some(Embeddings { vectors, n_tokens, cut }))
    }

    /// A score for each of `documents`, the higher the better it answers `query`. Where a pair is too long and may be cut, the
    /// document is. Returns `None` when `cancel` was raised, which is looked at between steps.
    ///
    /// # Errors
    /// [`Error::Input`] for a pair that is too long and may not be cut, or a model that is no cross-encoder.
    pub fn rerank(
        &self,
        query: &str,
        documents: &[&str],
        truncate: Truncate,
        cancel: &AtomicBool,
    ) -> Result<Option<Scores>> {
        if !self.is_ranker() {
            let text = "the model is no cross-encoder and has no head that scores pairs of texts";
            return Err(Error::Input(text.into()));
        }
        let ids = documents.iter().enumerate().map(|(i, text)| self.encode(i, query, Some(text), truncate));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let mut scores = Vec::with_capacity(ids.len());
        let Model::Encoder(reader) = &self.model else { unreachable!("rankers are encoders") };
        let done = reader.read(&ids, cancel, |reader, s, _| {
            let run = Runtime::new(&reader.pool, &reader.kernels);
            reader.encoder.scores(&run, s).map(|some| scores.extend(some))
        })?;
        let (n_tokens, cut) = told(&ids);
        Ok(done.then_some(Scores { scores, n_tokens, cut }))
    }

    /// The ids of text `i` of a request, or of a pair, with what the model wants around them.
    fn encode(&self, i: usize, text: &str, second: Option<&str>, truncate: Truncate) -> Result<Ids> {
        let (file, tokenizer, limit) = (self.file(), self.tokenizer()?, self.limit(truncate));
        let encode = |text: &str, out: &mut Vec<u32>| {
            tokenizer.encode(text, Parse::Text, out).map_err(|source| file.model_error(source))
        };
        let mut ids = Ids { all: tokenizer.before().to_vec(), ..Ids::default() };
        encode(text, &mut ids.all)?;
        ids.n_first = ids.all.len();
        // Of a pair the second text is cut, which begins here.
        let mut from = tokenizer.before().len();
        if let Some(second) = second {
            ids.all.extend(tokenizer.between());
            (ids.n_first, from) = (ids.all.len(), ids.all.len());
            encode(second, &mut ids.all)?;
        }
        let n_tokens = ids.all.len() + tokenizer.after().len();
        if n_tokens > limit {
            let room = limit.saturating_sub(tokenizer.after().len());
            if truncate == Truncate::No || room <= from {
                return Err(too_long(i, n_tokens, limit));
            }
            ids.all.truncate(room);
            ids.is_cut = true;
        }
        ids.all.extend(tokenizer.after());
        if second.is_none() {
            ids.n_first = ids.all.len();
        }
        if ids.all.is_empty() {
            return Err(empty(i));
        }
        Ok(ids)
    }

    /// Text `i` of a request, which was given as `ids`.
    fn given(&self, i: usize, ids: &[u32], truncate: Truncate) -> Result<Ids> {
        let (limit, vocab) = (self.limit(truncate), self.config().vocab);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            let text = format!("text {i} has token id {id}: this model's ids end at {}", vocab - 1);
            return Err(Error::Input(text));
        }
        let n_taken = ids.len().min(limit);
        match ids.len() {
            0 => Err(empty(i)),
            n if n > limit && (truncate == Truncate::No || limit == 0) => Err(too_long(i, n, limit)),
            n => Ok(Ids { all: ids[..n_taken].to_vec(), n_first: n_taken, is_cut: n > limit }),
        }
    }

    /// The most tokens of a text that may be cut so.
    fn limit(&self, truncate: Truncate) -> usize {
        match truncate {
            Truncate::No => self.tokens_max,
            Truncate::ToModel => self.plan.tokens_max.unwrap_or(self.tokens_max).min(self.tokens_max),
            Truncate::To(n) => n.min(self.tokens_max),
        }
    }
}

fn too_long(i: usize, n_tokens: usize, limit: usize) -> Error {
    Error::Input(format!(
        "text {i} has {n_tokens} tokens, expected at most {limit}; a request may ask for longer texts to be cut"
    ))
}

fn empty(i: usize) -> Error {
    Error::Input(format!("text {i} is empty, expected at least one token"))
}

/// Tokens read of each, and which were cut.
fn told(ids: &[Ids]) -> (Vec<usize>, Vec<usize>) {
    let cut = ids.iter().enumerate().filter(|(_, ids)| ids.is_cut).map(|(i, _)| i);
    (ids.iter().map(|ids| ids.all.len()).collect(), cut.collect())
}

/// Which texts go through together: neighbours of at most `tokens_max` tokens in all, or one alone.
fn steps(lengths: impl Iterator<Item = usize>, tokens_max: usize) -> Vec<Range<usize>> {
    let mut steps: Vec<Range<usize>> = Vec::new();
    let mut n_tokens = 0;
    for (i, length) in lengths.enumerate() {
        match steps.last_mut().filter(|_| n_tokens + length <= tokens_max) {
            Some(step) => {
                step.end = i + 1;
                n_tokens += length;
            }
            None => {
                steps.push(i..i + 1);
                n_tokens = length;
            }
        }
    }
    steps
}

/// That the system can give `needed` bytes for texts of `n_tokens`.
fn check_memory(file: &ModelFile, needed: u64, n_tokens: usize) -> Result<()> {
    match memory::available_bytes() {
        Some(available) if available < needed => {
            let what = format!("{}: a step of {n_tokens} tokens", file.name());
            Err(Error::Memory { what, needed, available })
        }
        _ => Ok(()),
    }
}

impl Reader {
    /// Sends `ids` through in steps, after each of which `each` is given the buffers and how many texts they hold. Whether all were
    /// sent.
    fn read(
        &self,
        ids: &[Ids],
        cancel: &AtomicBool,
        mut each: impl FnMut(&Self, &mut encoder::Scratch, usize) -> ingle_model::Result<()>,
    ) -> Result<bool> {
        self.file.check_unchanged()?;
        let longest = ids.iter().map(|ids| ids.all.len()).max().unwrap_or(0);
        let all: usize = ids.iter().map(|ids| ids.all.len()).sum();
        let room = take(&self.scratch).filter(|s| s.tokens_max() >= longest.max(all.min(STEP_TOKENS)));
        let mut s = match room {
            Some(s) => s,
            None => {
                let n_tokens = longest.max(STEP_TOKENS.min(all));
                let per_token = encoder::Scratch::bytes_per_token(&self.encoder.config);
                check_memory(&self.file, per_token as u64 * n_tokens as u64, n_tokens)?;
                encoder::Scratch::new(&self.encoder, n_tokens, self.pool.n_threads())
            }
        };
        for step in steps(ids.iter().map(|ids| ids.all.len()), STEP_TOKENS) {
            let _turn = self.pool.patient_turn();
            if cancel.load(Relaxed) {
                put(&self.scratch, s);
                return Ok(false);
            }
            let run = Runtime::new(&self.pool, &self.kernels);
            let texts = ids[step].iter().map(|ids| Text { ids: &ids.all, n_first: ids.n_first });
            let texts: Vec<Text<'_>> = texts.collect();
            let done = self.encoder.forward(&run, &texts, &mut s);
            let done = done.and_then(|()| each(self, &mut s, texts.len()));
            done.map_err(|source| self.file.model_error(source))?;
        }
        put(&self.scratch, s);
        Ok(true)
    }
}

/// The buffers, unless somebody has them.
fn take<T>(kept: &Mutex<Option<T>>) -> Option<T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put<T>(kept: &Mutex<Option<T>>, buffers: T) {
    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(buffers);
}

/// Sends `ids` through a model that writes text, several short ones in a step, a longer one in several; `each` is given the hidden
/// states that `pooling` looks at. Whether all were sent.
fn decode(
    loaded: &Loaded,
    kept: &Mutex<Option<Box<Scratch>>>,
    ids: &[Ids],
    pooling: Pooling,
    cancel: &AtomicBool,
    mut each: impl FnMut(&[f32]) -> ingle_model::Result<()>,
) -> Result<bool> {
    loaded.file.check_unchanged()?;
    let model_error = |source| loaded.file.model_error(source);
    let config = &loaded.model.config;
    let format = kv::format(config, KV).map_err(model_error)?;
    let run = loaded.runtime(&[]);
    let scratch = take(kept);
    let mut s =
        scratch.unwrap_or_else(|| Box::new(Scratch::new(config, DECODER_STEP_TOKENS, loaded.n_threads())));
    for step in steps(ids.iter().map(|ids| ids.all.len()), DECODER_STEP_TOKENS) {
        let ids = &ids[step];
        let n_tokens = ids.iter().map(|ids| ids.all.len()).sum();
        let needed = ids.iter().map(|ids| kv::n_bytes(config, format, ids.all.len()));
        check_memory(&loaded.file, needed.fold(0, u64::saturating_add), n_tokens)?;
        let mut kvs: Vec<Kv> = ids.iter().map(|ids| Kv::new(config, format, ids.all.len())).collect();
        // One text that is longer than a step is all there is in it; others are done in the first.
        let mut states: Vec<Vec<f32>> = vec![Vec::new(); ids.len()];
        for first in (0..n_tokens).step_by(DECODER_STEP_TOKENS) {
            let _turn = loaded.patient_turn();
            if cancel.load(Relaxed) {
                put(kept, s);
                return Ok(false);
            }
            let mut spans: Vec<Span<'_>> = Vec::with_capacity(ids.len());
            for (ids, kv) in ids.iter().zip(&mut kvs) {
                let tokens = &ids.all[first..ids.all.len().min(first + DECODER_STEP_TOKENS)];
                let n_wanted = if pooling == Pooling::Last { 1 } else { tokens.len() };
                spans.push(Span::wanting(n_wanted, kv, tokens));
            }
            let wanted: Vec<usize> = spans.iter().map(|span| span.n_wanted).collect();
            loaded.model.forward(&run, &mut spans, &mut s).map_err(model_error)?;
            let mut at = 0;
            for (states, n) in states.iter_mut().zip(wanted) {
                states.extend_from_slice(loaded.model.hidden(at..at + n, &s));
                at += n;
            }
        }
        states.iter().try_for_each(|states| each(states)).map_err(model_error)?;
    }
    put(kept, s);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_take_neighbours_together_and_a_long_text_alone() {
        let steps = |lengths: &[usize]| steps(lengths.iter().copied(), 10);
        assert!(steps(&[]).is_empty());
        assert_eq!(steps(&[3, 7, 1, 12, 4, 6, 1]), [0..2, 2..3, 3..4, 4..6, 6..7]);
    }
}
