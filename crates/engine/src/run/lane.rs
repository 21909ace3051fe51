//! A lane: a sequence and, while it has one, its answer.
//!
//! Where layers recur, a sequence can begin only behind a position whose state was kept. So a lane's steps end at its *stops*: the
//! last whole block of its prompt, and where another prompt was seen to part from it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

use ingle_model::decoder::{Branch, Span};
use ingle_model::kv::{BLOCK, Kv};

use super::prefixes::{Found, Prefixes};
use super::{Counters, Job, Shared};
use crate::answer::{Answer, Next};
use crate::error::{Error, Result};
use crate::generate::{Event, Finish, Outcome, Overflow};
use crate::spec::{Drafts, Speculator, Tally, Turn};

/// A sequence and, while it has one, its answer.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its number.
    id: usize,
    pub kv: Kv,
    /// What the sequence is to be; the cache holds the beginning of it.
    pub tokens: Vec<u32>,
    pub at_work: Option<AtWork>,
    /// The step in which it was last used.
    pub used: u64,
    /// Blocks that were put where other lanes find them.
    pub n_put: usize,
    /// Positions at which the states of recurrent layers are kept, and no step goes beyond; rising.
    stops: Vec<usize>,
    /// Whether it waits for what another lane computes, or for files.
    pub waits: bool,
    /// Whether files may have more of its prompt.
    pub reads: bool,
    /// Whether it has been through something since its blocks were noted to be written.
    pub is_new: bool,
    guesses: Guesses,
}

/// What a step tries out behind the tokens that are sure, and how that goes.
#[derive(Debug, Default)]
struct Guesses {
    drafts: Drafts,
    /// What the step feeds, and how it branches; empty where nothing is guessed.
    feed: Vec<u32>,
    branches: Vec<Branch>,
    /// The row that is chosen from next, or was last.
    row: usize,
    /// What follows from the last choice.
    next: Option<Result<Next>>,
}

/// An answer under way.
pub(super) struct AtWork {
    pub answer: Answer,
    pub job: Job,
    pub outcome: Outcome,
    /// Whether the prompt has been through the model.
    pub answers: bool,
}

impl fmt::Debug for AtWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtWork").field("job", &self.job).field("outcome", &self.outcome).finish()
    }
}

impl Lane {
    /// An empty one.
    pub fn new(id: usize, kv: Kv) -> Self {
        let tokens = Vec::with_capacity(kv.capacity());
        Self {
            id,
            kv,
            tokens,
            at_work: None,
            used: 0,
            n_put: 0,
            stops: Vec::new(),
            waits: false,
            reads: false,
            is_new: false,
            guesses: Guesses::default(),
        }
    }

    /// Tokens that the cache holds and that are not guesses.
    pub fn n_sure(&self) -> usize {
        self.kv.len().min(self.tokens.len())
    }

    /// Tokens that its answer has.
    pub fn n_generated(&self) -> usize {
        self.at_work.as_ref().map_or(0, |work| work.answer.n_generated())
    }

    /// The tokens of its answer, as far as they are on the sequence.
    pub fn answer(&self) -> &[u32] {
        &self.tokens[self.tokens.len().saturating_sub(self.n_generated())..]
    }

    /// It, as one that can have guesses.
    pub fn turn(&mut self) -> Option<Turn<'_>> {
        let Self { id, kv, tokens, at_work, .. } = self;
        let answer = &mut at_work.as_mut()?.answer;
        Some(Turn { lane: *id, room: kv.capacity() - tokens.len(), tokens, kv, answer })
    }

    /// Takes the guesses that were made for it into its next step.
    pub fn take_guesses(&mut self, speculator: &Speculator) {
        let Guesses { drafts, feed, branches, .. } = &mut self.guesses;
        drafts.clone_from(speculator.drafts(self.id));
        if !drafts.is_empty() {
            feed.extend_from_slice(&self.tokens[self.kv.len()..]);
            let n_sure = feed.len();
            drafts.put(feed, n_sure, branches);
        }
    }

    /// Its part of a step that feeds `n` tokens, and what is guessed.
    pub fn span(&mut self, n: usize) -> Span<'_> {
        let Self { kv, tokens, guesses: Guesses { drafts, feed, branches, .. }, .. } = self;
        let from = kv.len();
        let tokens = if feed.is_empty() { &tokens[from..from + n] } else { feed };
        Span { kv, tokens, n_wanted: 1 + drafts.len(), branches }
    }

    /// Rows of logits that its last step has for it.
    pub fn n_rows(&self) -> usize {
        1 + self.guesses.drafts.len()
    }

    /// Tokens to feed until it can choose.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.kv.len()
    }

    /// The most of them that the next step may feed.
    pub fn next(&self) -> usize {
        let stop = self.stops.first().map_or(usize::MAX, |stop| stop - self.kv.len());
        self.pending().min(stop).min(self.kv.step_max())
    }

    /// Whether its prompt has not been through the model.
    pub fn is_at_prompt(&self) -> bool {
        self.at_work.as_ref().is_some_and(|work| !work.answers)
    }

    /// Has the state kept behind the whole blocks of the first `len` tokens, if layers recur and it has not been there.
    pub fn stop_at(&mut self, len: usize) {
        let at = len / BLOCK * BLOCK;
        if self.kv.recurs() && at > self.kv.len() && !self.stops.contains(&at) {
            self.stops.push(at);
            self.stops.sort_unstable();
        }
    }

    /// Whether it stands at a stop, which is none then.
    pub fn leave_stop(&mut self) -> bool {
        let is_there = self.stops.first() == Some(&self.kv.len());
        self.stops.retain(|stop| *stop > self.kv.len());
        is_there
    }

    /// Behind which position another lane can take over what this one computes next.
    pub fn gives_at(&self) -> Option<usize> {
        if self.kv.recurs() { self.stops.first().copied() } else { Some((self.kv.len() / BLOCK + 1) * BLOCK) }
    }

    /// How much of `prompt` it has been through; the last token's logits are always computed.
    pub fn common(&self, prompt: &[u32]) -> usize {
        let same = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        same.min(prompt.len().saturating_sub(1)).min(self.kv.len())
    }

    /// Goes back to the first `len` tokens and on with `tail`, which is still to be fed.
    pub fn set(&mut self, len: usize, tail: &[u32]) {
        self.tokens.truncate(len);
        self.tokens.extend_from_slice(tail);
        self.kv.truncate(len.min(self.kv.len()));
        self.n_put = self.n_put.min(self.kv.len() / BLOCK);
        self.stops.clear();
    }

    /// Begins anew with what was found of its tokens.
    pub fn adopt(&mut self, found: &Found, prefixes: &mut Prefixes) {
        prefixes.adopt(found, &mut self.kv);
        self.n_put = self.kv.len() / BLOCK;
        self.stops.retain(|stop| *stop > self.kv.len());
    }

    /// Takes over `n` tokens of the prompt that another lane computed.
    pub fn gained(&mut self, n: usize, counters: &Counters) {
        if let Some(work) = &mut self.at_work {
            work.outcome.n_reused += n;
            counters.n_reused.fetch_add(n as u64, Relaxed);
        }
    }

    /// Whether it can take part in a step.
    pub fn is_ready(&self) -> bool {
        self.at_work.as_ref().is_some_and(|work| work.job.sink.ready())
    }

    /// A step has worked for its answer so long.
    pub fn worked(&mut self, nanoseconds: u64) {
        if let Some(work) = &mut self.at_work {
            work.job.sink.worked(nanoseconds);
        }
    }

    /// `n` more tokens have been through the model.
    pub fn fed(&mut self, n: usize, counters: &Counters) {
        let Some(work) = self.at_work.as_mut().filter(|work| !work.answers) else { return };
        counters.n_prompt.fetch_add(n as u64, Relaxed);
        let (done, total) = (self.kv.len().min(self.tokens.len()), work.outcome.n_prompt);
        work.job.sink.on(Event::Prompt { done: done.min(total), total });
        if done == self.tokens.len() {
            work.answers = true;
            if n > 1 {
                self.kv.checkpoint();
            }
        }
    }

    /// Chooses by the `i`th row of its last step, if the choices before have led there.
    pub fn choose(&mut self, i: usize, row: &mut [f32]) {
        let Self { at_work: Some(AtWork { answer, job, .. }), guesses, .. } = self else { return };
        if guesses.row != i || guesses.next.is_some() {
            return;
        }
        let chosen = catch_unwind(AssertUnwindSafe(|| answer.choose(row, |event| job.sink.on(event))));
        let broke_off = || Error::Input("the choice of a token broke off, expected one".into());
        let next = chosen.unwrap_or_else(|_| Err(broke_off()));
        let further = match &next {
            Ok(Next::Feed(id)) if !job.cancel.load(Relaxed) => guesses.drafts.follow(i, *id),
            _ => None,
        };
        match further {
            Some(row) => guesses.row = row,
            None => guesses.next = Some(next),
        }
    }

    /// Tells how its guesses were judged.
    pub fn judge(&self, speculator: &mut Speculator) {
        let Guesses { row, next, .. } = &self.guesses;
        speculator.judge(self.id, *row, matches!(next, Some(Ok(Next::Feed(_)))));
    }

    /// Notes what came of guesses, and returns it.
    pub fn note(&mut self, speculator: &mut Speculator) -> Tally {
        let tally = speculator.take_tally(self.id);
        if let Some(work) = &mut self.at_work {
            work.outcome.guesses.add(&tally);
        }
        tally
    }

    /// Puts what was chosen on the sequence; why the answer is over, if it is.
    pub fn go_on(&mut self, ctx: usize) -> Result<Option<Finish>> {
        let Guesses { drafts, feed, branches, row, next } = &mut self.guesses;
        drafts.tokens_to(*row, &mut self.tokens);
        // A guess beside the chain left nothing in the cache.
        let n_kept = self.tokens.len() - usize::from(*row > drafts.chain().len());
        self.kv.truncate(n_kept);
        drafts.clear();
        feed.clear();
        branches.clear();
        *row = 0;
        let next = next.take().unwrap_or(Ok(Next::End(Finish::Cancelled)))?;
        let work = self.at_work.as_mut().expect("a lane at work");
        let AtWork { answer, job, outcome, .. } = work;
        outcome.n_generated = answer.n_generated();
        match next {
            Next::End(finish) => return Ok(Some(finish)),
            Next::Feed(_) if answer.is_full() => return Ok(Some(Finish::Length)),
            Next::Feed(id) => {
                if self.tokens.len() == ctx {
                    let (keep, n) = (job.keep, self.tokens.len());
                    if job.overflow == Overflow::Error || keep + 2 > n {
                        return Ok(Some(Finish::Context));
                    }
                    let n_dropped = (n - keep).div_ceil(2);
                    job.sink.on(Event::Dropped { n_tokens: n_dropped });
                    let tail = self.tokens.split_off(keep + n_dropped);
                    self.set(keep, &tail);
                }
                self.tokens.push(id);
            }
            Next::GoBack(n) => {
                let len = self.tokens.len();
                if n + job.keep.max(1) > len {
                    return Ok(Some(Finish::Banned));
                }
                // The last token that stays is computed again, for its logits.
                let last = self.tokens[len - n - 1];
                self.set(len - n - 1, &[last]);
            }
        }
        Ok(None)
    }
}

/// Ends a lane's answer and tells its caller.
pub(super) fn end(lane: &mut Lane, shared: &Shared, finish: Finish) {
    let Some(AtWork { mut answer, mut job, mut outcome, .. }) = lane.at_work.take() else { return };
    // What was never computed is not part of the sequence.
    lane.tokens.truncate(lane.kv.len());
    lane.stops.clear();
    shared.counters.n_ended.fetch_add(1, Relaxed);
    outcome.n_generated = answer.n_generated();
    outcome.finish = answer.end(finish, |event| job.sink.on(event));
    job.sink.end(Ok(outcome));
}

/// Ends a lane's answer with an error; what it has been through is forgotten, as it may be in disorder.
pub(super) fn fail(lane: &mut Lane, shared: &Shared, error: Error) {
    lane.set(0, &[]);
    lane.guesses = Guesses::default();
    lane.kv.forget();
    let Some(AtWork { job, .. }) = lane.at_work.take() else { return };
    shared.counters.n_ended.fetch_add(1, Relaxed);
    job.sink.end(Err(error));
}
