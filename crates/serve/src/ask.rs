//! From a request to the engine and back: a job goes in, what is said comes out of a channel that an async task can wait on.
//!
//! The channel is bounded. While it is nearly full the engine leaves the answer out of its steps; when its receiver is gone, as
//! the client went, or its time is up, or the server's, the answer is cancelled. Text is told apart on the engine's thread: what the
//! model thinks, what it says, and whom it calls.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ingle_engine::constrain::Constraint;
use ingle_engine::generate::{Event, Finish, Outcome};
use ingle_engine::output::{self, Format, Part};
use ingle_engine::run::{Job, Refused, STEP_TOKENS_MAX, Sink};
use ingle_engine::sample::Logprob;
use ingle_route::confidence::{Margins, Rule, Running, Verdict};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::accounts::{Account, Took};
use crate::app::App;
use crate::elsewhere::Words;
use crate::ids;
use crate::listen::{Phase, reached};
use crate::refusal::Refusal;
use crate::sampling::Sampling;
use crate::served::Served;

/// Tellings that may wait for a slow client.
const TELLINGS_MAX: usize = 4 * TELLINGS_OF_A_TOKEN * STEP_TOKENS_MAX;
/// Tellings of one token, and of the end: its text, what was dropped, what was held back.
const TELLINGS_OF_A_TOKEN: usize = 8;

/// What comes of an answer, of which there may be several to a request.
#[derive(Debug)]
pub struct Said {
    /// Which of them.
    pub index: usize,
    /// What.
    pub what: What,
    /// Tokens chosen for it: those since what was told before it, markers included.
    pub n_tokens: usize,
}

/// What is told at once.
#[derive(Debug)]
pub enum Telling {
    /// Something was said: a call that proves to be none may be much.
    Said(Vec<Said>),
    /// Where the answers are from and what they took, before the last of them ends.
    Took(Box<Took>),
    /// How surely the tokens of the only answer were chosen, before it ends, where that was asked for.
    Sure(Box<Margins>),
    /// The only answer is given up, as its tokens were too unsure; its end follows.
    GivenUp,
    /// What was said so far is void: this endpoint answers in its place.
    Replaced(String),
}

/// What comes of an answer.
#[derive(Debug)]
pub enum What {
    /// More of what is said, or, where `thinks`, of what the model says to itself.
    Text {
        /// The text.
        text: String,
        /// Whether it is a thought.
        thinks: bool,
        /// What the model thought of the tokens up to here that were not told of, where that was asked for.
        logprobs: Vec<TokenLogprobs>,
    },
    /// A call begins.
    CallBegin {
        /// Its name among all calls.
        id: String,
        /// The tool's.
        name: String,
    },
    /// More of the arguments of the call that began last, which are JSON.
    Arguments(String),
    /// The call is complete.
    CallEnd,
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

/// How an answer's text is told apart.
#[derive(Debug, Clone)]
pub struct Reading {
    /// How the model writes.
    pub format: &'static Format,
    /// The special tokens that mean something in it.
    pub markers: Arc<[u32]>,
    /// What to look for.
    pub options: output::Options,
    /// Whether the answer ends with its first call.
    pub one_call: bool,
}

/// What is asked besides the prompt.
#[derive(Debug, Clone)]
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
    /// How the answer's text is told apart; `None` for all of it as it stands.
    pub reading: Option<Reading>,
    /// Whether to watch how surely tokens are chosen.
    pub margins: bool,
    /// When to give the answer up for too unsure tokens.
    pub abort: Option<Rule>,
    /// What is asked, where that can be asked of others too.
    pub words: Option<Words>,
    /// Answers wanted; each has the next seed. With none, nothing is asked.
    pub n: usize,
}

/// Asks for `by`, the holder of a key; what is said comes from the receiver. Dropping it ends the answers.
pub fn ask(
    app: &App,
    served: &Served,
    question: Question,
    by: Option<&str>,
) -> Result<Receiver<Telling>, Refusal> {
    let opened = |accounts| Account::open(accounts, by, served.loaded(), 0);
    let account = app.accounts.as_ref().filter(|_| question.n > 0).map(opened);
    ask_for(app, served, question, account)
}

/// The same as a part of what has an account already.
pub fn ask_for(
    app: &App,
    served: &Served,
    question: Question,
    account: Option<Arc<Account>>,
) -> Result<Receiver<Telling>, Refusal> {
    if question.n > 0 {
        served.check_length(question.prompt.len(), question.sampling.overflow)?;
    }
    let (to, said) = channel(TELLINGS_MAX * question.n.max(1));
    let (alive, ended) = channel(1);
    let cancels: Vec<Arc<AtomicBool>> = (0..question.n).map(|_| Arc::default()).collect();
    tokio::spawn(end_in_time(to.clone(), cancels.clone(), ended, app.limits.answer, app.phase.clone()));
    let markers = question.reading.as_ref().map(|reading| reading.markers.clone()).unwrap_or_default();
    if let Some(account) = &account {
        account.enter(question.n);
    }
    for (index, cancel) in cancels.into_iter().enumerate() {
        let mut params = question.sampling.params.clone();
        params.seed = params.seed.wrapping_add(index as u64);
        let voice = Voice {
            index,
            to: to.clone(),
            room: TELLINGS_OF_A_TOKEN * STEP_TOKENS_MAX * question.n,
            next: Vec::new(),
            logprobs: Vec::new(),
            tells_logprobs: question.logprobs.is_some(),
            margins: question.margins.then(Box::default),
            running: question.abort.map(Running::new),
            n_tokens: 0,
            id_len: question.reading.as_ref().and_then(|reading| reading.format.id_len),
            one_call: question.reading.as_ref().is_some_and(|reading| reading.one_call),
            has_called: false,
            is_cut: false,
            _alive: alive.clone(),
            _pin: served.pins.clone(),
        };
        let reader = question.reading.as_ref().map(|r| output::Parser::new(r.format, r.options.clone()));
        let job = Job {
            prompt: question.prompt.clone(),
            params,
            stop: question.sampling.stop.clone(),
            max_tokens: question.max_tokens,
            // A margin is between the chosen token and the best other one.
            logprobs: question.logprobs.or(question.margins.then_some(2)),
            constraint: question.constraint.clone(),
            shown: markers.clone(),
            overflow: question.sampling.overflow,
            keep: question.keep,
            sink: Box::new(Teller { voice, cancel: cancel.clone(), reader, account: account.clone() }),
            cancel,
        };
        served.engine.submit(job).map_err(
            |Refused { closing, .. }| {
                if closing { Refusal::Stopping } else { Refusal::Busy }
            },
        )?;
    }
    Ok(said)
}

/// Cancels answers that nobody waits for any more or whose time is up, and says why; `ended` closes when none is left.
pub async fn end_in_time(
    to: Sender<Telling>,
    cancels: Vec<Arc<AtomicBool>>,
    mut ended: Receiver<Infallible>,
    limit: Option<Duration>,
    mut phase: watch::Receiver<Phase>,
) {
    let cancel = || cancels.iter().for_each(|cancel| cancel.store(true, Relaxed));
    let late = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
        limit.unwrap_or_default()
    };
    let refusal = tokio::select! {
        _ = ended.recv() => return,
        () = to.closed() => return cancel(),
        limit = late => Refusal::Late(limit),
        () = reached(&mut phase, Phase::Over) => Refusal::Stopping,
    };
    // Before the engine can say that it was cancelled; but where there is no room the lane is free at once all the same.
    let last = vec![Said { index: 0, what: What::End(Err(refusal)), n_tokens: 0 }];
    let told = to.try_send(Telling::Said(last));
    cancel();
    if let Err(TrySendError::Full(last)) = told {
        let _ = to.send(last).await;
    }
}

/// Puts what is said into the channel.
struct Teller {
    voice: Voice,
    cancel: Arc<AtomicBool>,
    reader: Option<output::Parser>,
    account: Option<Arc<Account>>,
}

/// The channel's side of it.
struct Voice {
    index: usize,
    to: Sender<Telling>,
    /// What has to be free of the channel, which all answers of a request share.
    room: usize,
    /// While it is there the answer is not over.
    _alive: Sender<Infallible>,
    /// The same for the model, which stays as long.
    _pin: Arc<()>,
    /// What is to be said next.
    next: Vec<Said>,
    /// Of tokens whose text has not come yet.
    logprobs: Vec<TokenLogprobs>,
    tells_logprobs: bool,
    margins: Option<Box<Margins>>,
    running: Option<Running>,
    /// Tokens that nothing was told of yet.
    n_tokens: usize,
    id_len: Option<usize>,
    one_call: bool,
    /// Whether the only call that may be is complete.
    has_called: bool,
    /// Whether the end cut a call short of which was told already.
    is_cut: bool,
}

impl Voice {
    fn tell(&mut self, what: What) {
        // What was dropped is no token's telling.
        let is_chosen = !matches!(what, What::Dropped(_));
        let n_tokens = if is_chosen { std::mem::take(&mut self.n_tokens) } else { 0 };
        self.next.push(Said { index: self.index, what, n_tokens });
    }

    fn send(&mut self) {
        if !self.next.is_empty() {
            // Full it is not, as `ready` was asked; a receiver that is gone needs nothing.
            let _ = self.to.try_send(Telling::Said(std::mem::take(&mut self.next)));
        }
    }

    fn text(&mut self, text: &str, thinks: bool) {
        let logprobs = std::mem::take(&mut self.logprobs);
        self.tell(What::Text { text: text.to_owned(), thinks, logprobs });
    }

    fn part(&mut self, part: Part<'_>) {
        if self.has_called || self.is_cut {
            return;
        }
        match part {
            Part::Text(text) => self.text(text, false),
            Part::Reasoning(text) => self.text(text, true),
            Part::CallBegin { id, name } => {
                let id = id.map_or_else(|| ids::of_call(self.id_len), str::to_owned);
                self.tell(What::CallBegin { id, name: name.to_owned() });
            }
            Part::Arguments(json) => self.tell(What::Arguments(json.to_owned())),
            Part::CallEnd { .. } => {
                self.has_called = self.one_call;
                self.tell(What::CallEnd);
            }
            // Only calls that a grammar guides are told before they are complete, and those fail only at the end. What follows
            // says the same again.
            Part::CallFailed => self.is_cut = true,
            // Markers say what the parts are.
            Part::Markup(_) => {}
        }
    }
}

impl Sink for Teller {
    fn ready(&self) -> bool {
        self.voice.to.is_closed() || self.voice.to.capacity() >= self.voice.room
    }

    fn on(&mut self, event: Event<'_>) {
        let voice = &mut self.voice;
        match event {
            Event::Text(text) => {
                match &mut self.reader {
                    Some(reader) => reader.push(text, |part| voice.part(part)),
                    None => voice.text(text, false),
                }
                if voice.has_called {
                    self.cancel.store(true, Relaxed);
                }
            }
            Event::Logprobs(of) => {
                if let (Some(margins), Some(margin)) = (&mut voice.margins, of.margin()) {
                    margins.push(margin as f32);
                }
                if let (Some(running), Some(margin)) = (&mut voice.running, of.margin()) {
                    running.push(margin as f32);
                    if running.verdict() != Verdict::GoOn {
                        // It ends once, and this is why.
                        voice.running = None;
                        self.cancel.store(true, Relaxed);
                        let _ = voice.to.try_send(Telling::GivenUp);
                    }
                }
                if voice.tells_logprobs {
                    voice.logprobs.push(TokenLogprobs { chosen: of.chosen(), top: of.top().to_vec() });
                }
            }
            Event::TakenBack { n_tokens } => {
                let n_kept = voice.logprobs.len().saturating_sub(n_tokens);
                voice.logprobs.truncate(n_kept);
                voice.n_tokens = voice.n_tokens.saturating_sub(n_tokens);
            }
            Event::Dropped { n_tokens } => voice.tell(What::Dropped(n_tokens)),
            Event::Token(_) => voice.n_tokens += 1,
            Event::Prompt { .. } => {}
        }
        voice.send();
    }

    fn worked(&mut self, nanoseconds: u64) {
        if let Some(account) = &self.account {
            account.worked(nanoseconds);
        }
    }

    fn end(self: Box<Self>, outcome: ingle_engine::Result<Outcome>) {
        let Self { mut voice, reader, account, .. } = *self;
        if let Some(reader) = reader {
            reader.finish(|part| voice.part(part));
        }
        let outcome = outcome.map(|outcome| match outcome.finish {
            // It was ended here, as it had said what it was to say.
            Finish::Cancelled if voice.has_called => Outcome { finish: Finish::EndOfText, ..outcome },
            _ => outcome,
        });
        let tokens = outcome.as_ref().map_or([0, 0], |outcome| [outcome.n_prompt, outcome.n_generated]);
        voice.tell(What::End(outcome.map_err(Refusal::from)));
        if let Some(margins) = voice.margins.take() {
            let _ = voice.to.try_send(Telling::Sure(margins));
        }
        let Some(account) = account else { return voice.send() };
        account.leave(tokens, move |took| {
            if let Some(took) = took {
                let _ = voice.to.try_send(Telling::Took(Box::new(took)));
            }
            voice.send();
        });
    }
}
