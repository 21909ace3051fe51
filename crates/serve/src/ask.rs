//! From a request to the engine and back: a job goes in, its events come out of a channel that an async task can wait on.
//!
//! The channel is bounded. While it is nearly full the engine leaves the answer out of its steps; when its receiver is gone, as
//! the client went, or its time is up, or the server's, the answer is cancelled.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ingle_engine::constrain::Constraint;
use ingle_engine::generate::{Event, Outcome};
use ingle_engine::model_file::Loaded;
use ingle_engine::run::{Job, Refused, Sink};
use ingle_engine::sample::Logprob;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::listen::{Phase, reached};
use crate::refusal::Refusal;
use crate::sampling::Sampling;
use crate::server::App;

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
pub fn ask(app: &App, question: Question) -> Result<Receiver<Said>, Refusal> {
    let (to, said) = channel(EVENTS_MAX * question.n);
    let cancel = Arc::new(AtomicBool::new(false));
    let (alive, ended) = channel(1);
    tokio::spawn(end_in_time(to.clone(), cancel.clone(), ended, app.limits.answer, app.phase.clone()));
    for index in 0..question.n {
        let mut params = question.sampling.params.clone();
        params.seed = params.seed.wrapping_add(index as u64);
        let sink = Teller {
            index,
            to: to.clone(),
            room: EVENTS_OF_A_TOKEN * question.n,
            logprobs: Vec::new(),
            _alive: alive.clone(),
        };
        let job = Job {
            prompt: question.prompt.clone(),
            params,
            stop: question.sampling.stop.clone(),
            max_tokens: question.max_tokens,
            logprobs: question.logprobs,
            constraint: question.constraint.clone(),
            overflow: question.sampling.overflow,
            keep: question.keep,
            cancel: cancel.clone(),
            sink: Box::new(sink),
        };
        app.engine.submit(job).map_err(
            |Refused { closing, .. }| {
                if closing { Refusal::Stopping } else { Refusal::Busy }
            },
        )?;
    }
    Ok(said)
}

/// Cancels answers that nobody waits for any more or whose time is up, and says why; `ended` closes when none is left.
async fn end_in_time(
    to: Sender<Said>,
    cancel: Arc<AtomicBool>,
    mut ended: Receiver<Infallible>,
    limit: Option<Duration>,
    mut phase: watch::Receiver<Phase>,
) {
    let late = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
        limit.unwrap_or_default()
    };
    let refusal = tokio::select! {
        _ = ended.recv() => return,
        () = to.closed() => return cancel.store(true, Relaxed),
        limit = late => Refusal::Late(limit),
        () = reached(&mut phase, Phase::Over) => Refusal::Stopping,
    };
    // Before the engine can say that it was cancelled; but where there is no room the lane is free at once all the same.
    let told = to.try_send(Said { index: 0, what: What::End(Err(refusal)) });
    cancel.store(true, Relaxed);
    if let Err(TrySendError::Full(last)) = told {
        let _ = to.send(last).await;
    }
}

/// Puts events into the channel.
struct Teller {
    index: usize,
    to: Sender<Said>,
    /// What has to be free of the channel, which all answers of a request share.
    room: usize,
    /// While it is there the answer is not over.
    _alive: Sender<Infallible>,
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
        self.to.is_closed() || self.to.capacity() >= self.room
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
