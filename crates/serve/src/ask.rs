//! From a request to the engine and back: a job goes in, its events come out of a channel that an async task can wait on.
//!
//! The channel is bounded. While it is nearly full the engine leaves the answer out of its steps; when its receiver is gone, as
//! the client went, the answer is cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ingle_engine::constrain::Constraint;
use ingle_engine::generate::{Event, Outcome};
use ingle_engine::model_file::Loaded;
use ingle_engine::run::{Engine, Job, Refused, Sink};
use ingle_engine::sample::Logprob;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::refusal::Refusal;
use crate::sampling::Sampling;

/// Events that may wait for a slow client.
const EVENTS_MAX: usize = 64;
/// Events that one token may bring, and the end.
const EVENTS_OF_A_TOKEN: usize = 16;

/// What comes of an answer, of which there may be several to a request.
#[derive(Debug)]
pub struct Said {
    /// Which of them.
    pub index: usize,
    /// What.
    pub what: What,
}

/// What comes of an answer.
#[derive(Debug)]
pub enum What {
    /// More text, and what the model thought of the tokens it was made of, where that was asked for.
    Text(String, Vec<TokenLogprobs>),
    /// The oldest tokens of the prompt were dropped, so many.
    Dropped(usize),
    /// It is over.
    End(Result<Outcome, Refusal>),
}

/// A token with its log-probability and those of the most probable ones.
#[derive(Debug, Clone)]
pub struct TokenLogprobs {
    /// The chosen one.
    pub chosen: Logprob,
    /// The best ones.
    pub top: Vec<Logprob>,
}

/// What is asked besides the prompt.
#[derive(Debug)]
pub struct Question {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// Of it, the tokens that must stay.
    pub keep: usize,
    /// How tokens are chosen, and what ends an answer.
    pub sampling: Sampling,
    /// The most tokens of an answer.
    pub max_tokens: usize,
    /// Whether log-probabilities are wanted, and of how many tokens beside the chosen.
    pub logprobs: Option<usize>,
    /// The form of an answer.
    pub constraint: Option<Constraint>,
    /// Answers wanted; each has the next seed.
    pub n: usize,
}

/// Asks; what is said comes from the receiver. Dropping it ends the answers.
pub fn ask(engine: &Engine, question: Question) -> Result<Receiver<Said>, Refusal> {
    let (to, said) = channel(EVENTS_MAX * question.n);
    for index in 0..question.n {
        let mut params = question.sampling.params.clone();
        params.seed = params.seed.wrapping_add(index as u64);
        let cancel = Arc::new(AtomicBool::new(false));
        let sink = Teller { index, to: to.clone(), cancel: cancel.clone(), logprobs: Vec::new() };
        let job = Job {
            prompt: question.prompt.clone(),
            params,
            stop: question.sampling.stop.clone(),
            max_tokens: question.max_tokens,
            logprobs: question.logprobs,
            constraint: question.constraint.clone(),
            overflow: question.sampling.overflow,
            keep: question.keep,
            cancel,
            sink: Box::new(sink),
        };
        engine.submit(job).map_err(
            |Refused { closing, .. }| {
                if closing { Refusal::Stopping } else { Refusal::Busy }
            },
        )?;
    }
    Ok(said)
}

/// Puts events into the channel.
struct Teller {
    index: usize,
    to: Sender<Said>,
    cancel: Arc<AtomicBool>,
    /// Of tokens whose text has not come yet.
    logprobs: Vec<TokenLogprobs>,
}

impl Teller {
    fn tell(&self, what: What) {
        // Full it is not, as `ready` was asked; a receiver that is gone needs nothing.
        let _ = self.to.try_send(Said { index: self.index, what });
    }
}

impl Sink for Teller {
    fn ready(&self) -> bool {
        if self.to.is_closed() {
            self.cancel.store(true, Relaxed);
            return true;
        }
        self.to.capacity() >= EVENTS_OF_A_TOKEN
    }

    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) => {
                let logprobs = std::mem::take(&mut self.logprobs);
                self.tell(What::Text(text.to_owned(), logprobs));
            }
            Event::Logprobs(of) => {
                self.logprobs.push(TokenLogprobs { chosen: of.chosen(), top: of.top().to_vec() });
            }
            Event::TakenBack { n_tokens } => {
                let n_kept = self.logprobs.len().saturating_sub(n_tokens);
                self.logprobs.truncate(n_kept);
            }
            Event::Dropped { n_tokens } => self.tell(What::Dropped(n_tokens)),
            Event::Prompt { .. } | Event::Token(_) => {}
        }
    }

    fn end(self: Box<Self>, outcome: ingle_engine::Result<Outcome>) {
        self.tell(What::End(outcome.map_err(Refusal::from)));
    }
}

/// A token as text, which need not be whole characters.
pub fn token_text(loaded: &Loaded, id: u32) -> Vec<u8> {
    let tokenizer = loaded.tokenizer().ok();
    tokenizer.and_then(|t| t.token_name(id)).unwrap_or_default().to_vec()
}
