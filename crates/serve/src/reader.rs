//! A model that reads: it makes vectors of texts, or scores pairs of them. An encoder does nothing else; a model that writes has a
//! reader beside its lanes, which uses its hidden states.
//!
//! One request at a time is computed, in the order they came; so many may wait. What a client that went away had asked ends
//! before its next step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use ingle_engine::embed::{EmbedOptions, Embedder, Embeddings, Input, Scores, Truncate};
use ingle_model::token::{Detokenizer, Parse, Place, Render};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::accounts::Accounts;
use crate::refusal::Refusal;

/// Requests that may wait for the one under way.
const WAITING_MAX: usize = 64;

/// A model, as routes know it that want vectors, scores or token ids.
#[derive(Debug)]
pub struct Reader {
    /// The name by which requests call it.
    pub name: String,
    /// What it has done.
    pub counters: Counters,
    embedder: Embedder,
    gate: Gate,
}

/// What a reader has done and what it is doing.
#[derive(Debug, Default)]
pub struct Counters {
    /// Vectors made.
    pub n_vectors: AtomicU64,
    /// Pairs scored.
    pub n_scores: AtomicU64,
    /// Tokens read.
    pub n_tokens: AtomicU64,
    /// Requests refused as too many waited.
    pub n_refused: AtomicU64,
}

/// What a reader can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Make vectors of texts.
    Vectors,
    /// Score pairs of texts.
    Scores,
}

impl Reader {
    /// A reader that is called `name`.
    pub fn new(name: String, embedder: Embedder) -> Self {
        Self { name, counters: Counters::default(), embedder, gate: Gate::new(WAITING_MAX) }
    }

    /// The model.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// What it does.
    pub fn task(&self) -> Task {
        if self.embedder.is_ranker() { Task::Scores } else { Task::Vectors }
    }

    /// # Errors
    /// When the model does something else.
    pub fn check(&self, task: Task) -> Result<(), Refusal> {
        let why = match task {
            _ if task == self.task() => return Ok(()),
            Task::Vectors => "is a cross-encoder, which scores pairs of texts and makes no vectors",
            Task::Scores => "has no head that scores pairs of texts, expected a cross-encoder",
        };
        Err(Refusal::field("model", format!("model {:?} {why}", self.name)))
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when too many wait, [`Refusal::Stopping`] when the server stops.
    pub async fn pass(&self) -> Result<Pass, Refusal> {
        let pass = self.gate.pass().await;
        if pass == Err(Refusal::Busy) {
            self.counters.n_refused.fetch_add(1, Relaxed);
        }
        pass
    }

    /// Requests that wait.
    pub fn n_waiting(&self) -> usize {
        self.gate.n_waiting.load(Relaxed)
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        self.gate.one.close();
    }

    /// Has `make` done, which has a pass, for `by`, the holder of a key, and tells `accounts` of it. How long it took is told at the
    /// end, waits for the threads included.
    pub fn accounted<T>(
        &self,
        accounts: Option<&Arc<dyn Accounts>>,
        by: Option<&str>,
        make: impl FnOnce() -> T,
    ) -> T {
        let Some(accounts) = accounts else { return make() };
        let (work, start) = (accounts.open(by, None), Instant::now());
        // Who has the pass is the only one who counts here.
        let n_tokens = || self.counters.n_tokens.load(Relaxed);
        let before = n_tokens();
        let made = make();
        work.add(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        accounts.close(&work, [n_tokens() - before, 0], Box::new(|_, _| ()));
        made
    }

    /// Vectors, for who has the `pass`.
    ///
    /// # Errors
    /// Those of the engine, and [`Refusal::Stopping`] when `cancel` was raised.
    pub fn embed(
        &self,
        _pass: &Pass,
        inputs: &[Input<'_>],
        options: &EmbedOptions,
        cancel: &AtomicBool,
    ) -> Result<Embeddings, Refusal> {
        let made = self.embedder.embed_inputs(inputs, options, cancel)?.ok_or(Refusal::Stopping)?;
        if !made.vectors.iter().flatten().all(|value| value.is_finite()) {
            let why = format!("{}: a vector has values that are no numbers", self.embedder.file().name());
            return Err(Refusal::Failed(why));
        }
        self.counters.n_vectors.fetch_add(made.vectors.len() as u64, Relaxed);
        self.counters.n_tokens.fetch_add(made.n_tokens.iter().sum::<usize>() as u64, Relaxed);
        Ok(made)
    }

    /// Scores, for who has the `pass`.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn rerank(
        &self,
        _pass: &Pass,
        query: &str,
        documents: &[&str],
        truncate: Truncate,
        cancel: &AtomicBool,
    ) -> Result<Scores, Refusal> {
        let made = self.embedder.rerank(query, documents, truncate, cancel)?.ok_or(Refusal::Stopping)?;
        if !made.scores.iter().all(|score| score.is_finite()) {
            let why = format!("{}: a score is no number", self.embedder.file().name());
            return Err(Refusal::Failed(why));
        }
        self.counters.n_scores.fetch_add(made.scores.len() as u64, Relaxed);
        self.counters.n_tokens.fetch_add(made.n_tokens.iter().sum::<usize>() as u64, Relaxed);
        Ok(made)
    }

    /// The ids of a text, behind what the model wants before it if it is to be `special`; special tokens in the text are read as
    /// such where it `parses` them.
    ///
    /// # Errors
    /// When the model has no vocabulary.
    pub fn tokens(&self, text: &str, special: bool, parses: bool) -> Result<Vec<u32>, Refusal> {
        let tokenizer = self.embedder.tokenizer()?;
        let mut ids = Vec::new();
        if special {
            ids.extend(tokenizer.before());
        }
        let parse = if parses { Parse::Special } else { Parse::Text };
        tokenizer.encode(text, parse, &mut ids).map_err(|e| self.embedder.file().model_error(e))?;
        Ok(ids)
    }

    /// What the model wants behind a text that it reads; one that writes goes on there, and wants nothing.
    ///
    /// # Errors
    /// When the model has no vocabulary.
    pub fn tokens_after(&self) -> Result<&[u32], Refusal> {
        Ok(if self.embedder.is_encoder() { self.embedder.tokenizer()?.after() } else { &[] })
    }

    /// The text of ids.
    ///
    /// # Errors
    /// For an id that the model does not have.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Refusal> {
        let (tokenizer, vocab) = (self.embedder.tokenizer()?, self.embedder.config().vocab);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(Refusal::request(format!("token id {id}: this model's ids end at {}", vocab - 1)));
        }
        let mut text = String::new();
        let mut detokenizer = Detokenizer::new(Render::Special, Place::Start);
        ids.iter().for_each(|&id| detokenizer.push(tokenizer, id, &mut text));
        detokenizer.flush(&mut text);
        Ok(text)
    }

    /// A token as text, which need not be whole characters.
    pub fn token_text(&self, id: u32) -> Vec<u8> {
        let tokenizer = self.embedder.tokenizer().ok();
        tokenizer.and_then(|t| t.token_name(id)).unwrap_or_default().to_vec()
    }
}

/// Lets one in at a time, in the order they came, and so many wait.
#[derive(Debug)]
struct Gate {
    one: Arc<Semaphore>,
    n_waiting: AtomicUsize,
    waiting_max: usize,
}

/// The right to use a reader, until it goes.
#[derive(Debug)]
pub struct Pass(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl PartialEq for Pass {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Gate {
    fn new(waiting_max: usize) -> Self {
        Self { one: Arc::new(Semaphore::new(1)), n_waiting: AtomicUsize::new(0), waiting_max }
    }

    async fn pass(&self) -> Result<Pass, Refusal> {
        if let Ok(permit) = self.one.clone().try_acquire_owned() {
            return Ok(Pass(permit));
        }
        let _waiting = Waiting::new(&self.n_waiting, self.waiting_max)?;
        self.one.clone().acquire_owned().await.map(Pass).map_err(|_| Refusal::Stopping)
    }
}

/// Somebody who waits, and is counted while he does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(n: &'a AtomicUsize, max: usize) -> Result<Self, Refusal> {
        let one_more = |n: usize| (n < max).then_some(n + 1);
        n.fetch_update(Relaxed, Relaxed, one_more).map(|_| Self(n)).map_err(|_| Refusal::Busy)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn one_passes_at_a_time_in_order_and_only_so_many_wait() {
        let gate = Gate::new(2);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(first)) = pin!(gate.pass()).poll(&mut context) else { panic!("nobody is there") };
        let mut second = Box::pin(gate.pass());
        let mut third = pin!(gate.pass());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(pin!(gate.pass()).poll(&mut context), Poll::Ready(Err(Refusal::Busy)));
        drop(second);
        assert_eq!(gate.n_waiting.load(Relaxed), 1, "he has gone");
        drop(first);
        let Poll::Ready(Ok(third)) = third.as_mut().poll(&mut context) else { panic!("it is his turn") };
        let mut fourth = pin!(gate.pass());
        assert!(fourth.as_mut().poll(&mut context).is_pending());
        gate.one.close();
        assert_eq!(fourth.as_mut().poll(&mut context), Poll::Ready(Err(Refusal::Stopping)));
        drop(third);
        assert_eq!(pin!(gate.pass()).poll(&mut context), Poll::Ready(Err(Refusal::Stopping)));
    }
}
