//! Many answers at once: one thread owns the model's sequences and steps them together.
//!
//! An [`Engine`] has a fixed number of lanes, each a sequence with its cache. A [`Job`] waits in a bounded queue until a lane is free,
//! takes the one that has been through the longest part of its prompt, and leaves between two steps when its answer ends. Each
//! step is planned ([`crate::schedule`]), computed for all lanes at once, and then every lane that has no token left to feed chooses its
//! next ([`crate::answer`]). What a lane computes does not depend on its neighbours, so an answer is the one that a
//! [`crate::session::Session`] gives.
//!
//! Callers hear of their answer through a [`Sink`], on the engine's thread: it must not wait. One that is not ready for more is left
//! out of steps until it is; one whose caller is gone ends. A panic while a lane chooses ends that lane's answer; one while all are
//! computed ends those that shared the step. The thread sleeps while there is nothing to do.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ingle_model::decoder::{LOGITS_ROWS_MAX, Scratch, Span};
use ingle_model::kv::{self, Kv};

use crate::answer::{Answer, Choice, Next};
use crate::constrain::Constraint;
use crate::error::{Error, Result};
use crate::generate::{Event, Finish, Outcome, Overflow, fit_prompt};
use crate::memory;
use crate::model_file::Loaded;
use crate::sample::Params;
use crate::schedule::{StepLimits, plan};
use crate::session::{SessionOptions, chunk_of};

/// Tokens of prompts in a step that carries answers on: at 500 tokens a second a quarter of a second.
const PROMPT_TOKENS_BESIDE_ANSWERS: usize = 128;
/// How long the engine waits for sinks that are not ready.
const SINK_WAIT: Duration = Duration::from_millis(2);

/// How much an engine holds.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions<'a> {
    /// Of each lane.
    pub session: SessionOptions<'a>,
    /// Answers computed at the same time.
    pub n_lanes: usize,
    /// Jobs that may wait for a lane.
    pub queue_max: usize,
}

/// What to answer, how, and to whom.
pub struct Job {
    /// The whole prompt.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub params: Params,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// Whether to report log-probabilities, and of how many of the best tokens beside the chosen one.
    pub logprobs: Option<usize>,
    /// The form of the answer, at its beginning.
    pub constraint: Option<Constraint>,
    /// What to do when the context is full.
    pub overflow: Overflow,
    /// Tokens at the start of the prompt that are never dropped.
    pub keep: usize,
    /// Raised by the caller to end the answer.
    pub cancel: Arc<AtomicBool>,
    /// Who hears of it.
    pub sink: Box<dyn Sink>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("prompt", &self.prompt.len())
            .field("max_tokens", &self.max_tokens)
            .finish()
    }
}

/// Who hears of an answer. Called on the engine's thread: nothing here may wait.
pub trait Sink: Send {
    /// Whether there is room for what a token brings: a handful of events.
    fn ready(&self) -> bool;
    /// Something happened.
    fn on(&mut self, event: Event<'_>);
    /// The answer is over.
    fn end(self: Box<Self>, outcome: Result<Outcome>);
}

/// The queue is full, or the engine is closing; the job comes back.
#[derive(Debug)]
pub struct Refused {
    /// The job.
    pub job: Box<Job>,
    /// Whether the engine is closing.
    pub closing: bool,
}

/// What an engine has done and what it is doing.
#[derive(Debug, Default)]
pub struct Counters {
    /// Steps of the model.
    pub n_steps: AtomicU64,
    /// Tokens of prompts computed.
    pub n_prompt: AtomicU64,
    /// Tokens of prompts that were there already.
    pub n_reused: AtomicU64,
    /// Tokens chosen.
    pub n_generated: AtomicU64,
    /// Answers ended, whatever the reason.
    pub n_ended: AtomicU64,
    /// Jobs refused as the queue was full.
    pub n_refused: AtomicU64,
    /// Jobs that wait.
    pub n_waiting: AtomicUsize,
    /// Lanes at work.
    pub n_running: AtomicUsize,
}

/// A model with its lanes, on a thread of its own.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    loaded: Arc<Loaded>,
    ctx: usize,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Raised to end what is running.
    stop: AtomicBool,
    counters: Counters,
    queue_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closing: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Starts an engine on `loaded`.
    ///
    /// # Errors
    /// [`Error::Memory`] when the lanes' caches and buffers are larger than what the system can give, [`Error::Input`] for no lane.
    pub fn new(loaded: Arc<Loaded>, options: &EngineOptions<'_>) -> Result<Self> {
        let stepper = Stepper::new(loaded.clone(), options)?;
        let shared = stepper.shared.clone();
        let ctx = stepper.ctx;
        let thread = std::thread::Builder::new()
            .name("ingle-engine".into())
            .spawn(move || stepper.run())
            .map_err(|source| Error::Io { file: "a thread for the engine".into(), source })?;
        Ok(Self { shared, loaded, ctx, thread: Some(thread) })
    }

    /// The model.
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Positions of a lane.
    pub fn ctx(&self) -> usize {
        self.ctx
    }

    /// What it has done and is doing.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Queues a job; its sink hears of everything else.
    ///
    /// # Errors
    /// [`Refused`] when the queue is full or the engine is closing.
    pub fn submit(&self, job: Job) -> std::result::Result<(), Refused> {
        let mut queue = self.shared.queue();
        let closing = queue.closing;
        if closing || queue.jobs.len() >= self.shared.queue_max {
            self.shared.counters.n_refused.fetch_add(1, Relaxed);
            return Err(Refused { job: Box::new(job), closing });
        }
        queue.jobs.push_back(job);
        self.shared.counters.n_waiting.store(queue.jobs.len(), Relaxed);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Takes no more jobs; those that it has are answered, unless they are cancelled.
    pub fn close(&self) {
        self.shared.queue().closing = true;
        self.shared.wake.notify_one();
    }
}

impl Drop for Engine {
    /// Cancels what is still waiting or running and waits for the step that is under way.
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.closing = true;
        let waiting: Vec<Job> = queue.jobs.drain(..).collect();
        drop(queue);
        self.shared.stop.store(true, Relaxed);
        self.shared.wake.notify_one();
        for job in waiting {
            let n_prompt = job.prompt.len();
            job.sink.end(Ok(Outcome { finish: Finish::Cancelled, n_prompt, n_reused: 0, n_generated: 0 }));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A sequence and, while it has one, its answer.
#[derive(Debug)]
struct Lane {
    kv: Kv,
    /// What the sequence is to be; the cache holds the beginning of it.
    tokens: Vec<u32>,
    at_work: Option<AtWork>,
    /// The step in which it was last used.
    used: u64,
}

/// An answer under way.
struct AtWork {
    answer: Answer,
    job: Job,
    outcome: Outcome,
    /// Whether the prompt has been through the model.
    answers: bool,
}

impl fmt::Debug for AtWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtWork").field("job", &self.job).field("outcome", &self.outcome).finish()
    }
}

impl Lane {
    fn pending(&self) -> usize {
        self.tokens.len() - self.kv.len()
    }

    /// How much of `prompt` it has been through; the last token's logits are always computed.
    fn common(&self, prompt: &[u32]) -> usize {
        let same = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        same.min(prompt.len().saturating_sub(1)).min(self.kv.len())
    }

    /// Goes back to the first `len` tokens and on with `tail`, which is still to be fed.
    fn set(&mut self, len: usize, tail: &[u32]) {
        self.tokens.truncate(len);
        self.tokens.extend_from_slice(tail);
        self.kv.truncate(len.min(self.kv.len()));
    }

    /// Whether it can take part in a step.
    fn is_ready(&self) -> bool {
        self.at_work.as_ref().is_some_and(|work| work.job.sink.ready())
    }
}

/// What the engine's thread owns.
struct Stepper {
    shared: Arc<Shared>,
    loaded: Arc<Loaded>,
    scratch: Scratch,
    lanes: Vec<Lane>,
    limits: StepLimits,
    ctx: usize,
    n_steps: u64,
    pending: Vec<usize>,
    plan: Vec<usize>,
}

impl Stepper {
    fn new(loaded: Arc<Loaded>, options: &EngineOptions<'_>) -> Result<Self> {
        let config = &loaded.model.config;
        let n_lanes = options.n_lanes;
        if n_lanes == 0 {
            return Err(Error::Input("no lane for answers, expected at least 1".into()));
        }
        let format = kv::format(config, options.session.kv).map_err(|e| loaded.file.model_error(e))?;
        let chunk = chunk_of(config, &options.session).max(n_lanes);
        let ctx = options.session.ctx.unwrap_or(config.ctx_train.min(crate::session::CTX_DEFAULT)).max(1);
        let scratch = Scratch::bytes_per_token(config) as u64 * chunk as u64;
        let needed = kv::n_bytes(config, format, ctx).saturating_mul(n_lanes as u64).saturating_add(scratch);
        let available = memory::available_bytes().unwrap_or(u64::MAX).saturating_sub(loaded.packed_bytes());
        if needed > available {
            let what = format!("{}: {n_lanes} contexts of {ctx} tokens", loaded.file.name());
            return Err(Error::Memory { what, needed, available });
        }
        let lane = |_| Lane {
            kv: Kv::new(config, format, ctx),
            tokens: Vec::with_capacity(ctx),
            at_work: None,
            used: 0,
        };
        let shared = Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            counters: Counters::default(),
            queue_max: options.queue_max,
        };
        Ok(Self {
            shared: Arc::new(shared),
            scratch: Scratch::new(config, chunk, loaded.n_threads()),
            lanes: (0..n_lanes).map(lane).collect(),
            limits: StepLimits {
                tokens_max: chunk,
                prompt_tokens_beside_answers: PROMPT_TOKENS_BESIDE_ANSWERS.min(chunk),
            },
            ctx,
            n_steps: 0,
            pending: Vec::with_capacity(n_lanes),
            plan: Vec::with_capacity(n_lanes),
            loaded,
        })
    }

    /// Until the engine is closed and nothing is left to do.
    fn run(mut self) {
        while self.admit() {
            self.end_cancelled();
            self.step();
        }
    }

    /// Brings waiting jobs into free lanes; sleeps while there are neither jobs nor answers. `false` when it is over.
    fn admit(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        loop {
            while let Some(job) =
                self.lanes.iter().any(|lane| lane.at_work.is_none()).then(|| queue.jobs.pop_front()).flatten()
            {
                shared.counters.n_waiting.store(queue.jobs.len(), Relaxed);
                drop(queue);
                self.begin(job);
                queue = shared.queue();
            }
            let n_running = self.lanes.iter().filter(|lane| lane.at_work.is_some()).count();
            shared.counters.n_running.store(n_running, Relaxed);
            if n_running > 0 {
                let is_waiting = !self.lanes.iter().any(Lane::is_ready);
                if is_waiting {
                    drop(shared.wake.wait_timeout(queue, SINK_WAIT).unwrap_or_else(PoisonError::into_inner));
                }
                return true;
            }
            if queue.closing {
                return false;
            }
            queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives the job the free lane that has been through most of its prompt, of several the one unused for longest.
    fn begin(&mut self, mut job: Job) {
        let request = (job.overflow, job.keep, job.max_tokens);
        let cut = match fit_prompt(&job.prompt, self.ctx, request, &mut |event| job.sink.on(event)) {
            Ok(cut) => cut,
            Err(e) => return job.sink.end(Err(e)),
        };
        let prompt = cut.as_deref().unwrap_or(&job.prompt);
        // In a step it would be everybody's error.
        let vocab = self.loaded.model.config.vocab;
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= vocab) {
            let why = format!("token id {id}: this model's ids end at {}", vocab - 1);
            return job.sink.end(Err(Error::Input(why)));
        }
        let choice = Choice {
            params: &job.params,
            stop: &job.stop,
            max_tokens: job.max_tokens,
            logprobs: job.logprobs,
            constraint: job.constraint.as_ref(),
        };
        let answer = match Answer::new(&self.loaded, &choice, prompt, self.ctx) {
            Ok(answer) => answer,
            Err(e) => return job.sink.end(Err(e)),
        };
        let free = self.lanes.iter_mut().filter(|lane| lane.at_work.is_none());
        let lane =
            free.max_by_key(|lane| (lane.common(prompt), u64::MAX - lane.used)).expect("a lane is free");
        let common = lane.common(prompt);
        lane.set(common, &prompt[common..]);
        // A window that forgot, or a state without a checkpoint, goes back further.
        let n_reused = lane.kv.len();
        self.shared.counters.n_reused.fetch_add(n_reused as u64, Relaxed);
        let outcome = Outcome { finish: Finish::Cancelled, n_prompt: prompt.len(), n_reused, n_generated: 0 };
        lane.at_work = Some(AtWork { answer, job, outcome, answers: false });
    }

    fn end_cancelled(&mut self) {
        let stops = self.shared.stop.load(Relaxed);
        for lane in &mut self.lanes {
            if lane.at_work.as_ref().is_some_and(|work| stops || work.job.cancel.load(Relaxed)) {
                end(lane, &self.shared, Finish::Cancelled);
            }
        }
    }

    /// One step of the model, and of every answer that has no token left to feed.
    fn step(&mut self) {
        self.pending.clear();
        self.pending.extend(self.lanes.iter().map(|lane| if lane.is_ready() { lane.pending() } else { 0 }));
        plan(&self.pending, &self.limits, &mut self.plan);
        self.n_steps += 1;
        let mut stepping: Vec<(&mut Lane, usize)> =
            self.lanes.iter_mut().zip(self.plan.iter().copied()).filter(|(_, n)| *n > 0).collect();
        if stepping.is_empty() {
            return;
        }
        // First those whose logits are wanted: their rows lie together then.
        stepping.sort_by_key(|(lane, n)| lane.pending() != *n);
        let n_done = stepping.iter().filter(|(lane, n)| lane.pending() == *n).count();
        let (loaded, scratch) = (&self.loaded, &mut self.scratch);
        let computed = catch_unwind(AssertUnwindSafe(|| {
            loaded.file.check_unchanged()?;
            let mut spans: Vec<Span<'_>> = stepping
                .iter_mut()
                .map(|(lane, n)| {
                    let from = lane.kv.len();
                    Span { kv: &mut lane.kv, tokens: &lane.tokens[from..from + *n], n_wanted: 1 }
                })
                .collect();
            let forward = loaded.model.forward(&loaded.runtime(&[]), &mut spans, scratch);
            forward.map_err(|source| loaded.file.model_error(source))
        }));
        let failed = match computed {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(_) => Some("a step of the model broke off, expected logits".into()),
        };
        if let Some(why) = failed {
            for (lane, _) in stepping {
                fail(lane, &self.shared, Error::Input(why.clone()));
            }
            return;
        }
        let counters = &self.shared.counters;
        counters.n_steps.fetch_add(1, Relaxed);
        for (lane, n) in &mut stepping {
            lane.used = self.n_steps;
            lane.fed(*n, counters);
        }
        for first in (0..n_done).step_by(LOGITS_ROWS_MAX) {
            let rows = first..n_done.min(first + LOGITS_ROWS_MAX);
            let logits = loaded.model.logits(&loaded.runtime(&[]), rows.clone(), scratch);
            let rows = logits.chunks_exact_mut(loaded.model.config.vocab).zip(&mut stepping[rows]);
            for (row, (lane, _)) in rows {
                let chosen = catch_unwind(AssertUnwindSafe(|| lane.choose(row, self.ctx)));
                match chosen {
                    Ok(Ok(None)) => _ = counters.n_generated.fetch_add(1, Relaxed),
                    Ok(Ok(Some(finish))) => end(lane, &self.shared, finish),
                    Ok(Err(e)) => fail(lane, &self.shared, e),
                    Err(_) => {
                        let why = "the choice of a token broke off, expected one";
                        fail(lane, &self.shared, Error::Input(why.into()));
                    }
                }
            }
        }
    }
}

impl Lane {
    /// `n` more tokens have been through the model.
    fn fed(&mut self, n: usize, counters: &Counters) {
        let Some(work) = self.at_work.as_mut().filter(|work| !work.answers) else { return };
        counters.n_prompt.fetch_add(n as u64, Relaxed);
        let (done, total) = (self.kv.len(), work.outcome.n_prompt);
        work.job.sink.on(Event::Prompt { done: done.min(total), total });
        if done == self.tokens.len() {
            work.answers = true;
            if n > 1 {
                self.kv.checkpoint();
            }
        }
    }

    /// Chooses the next token and puts it on the sequence; why the answer is over, if it is.
    fn choose(&mut self, row: &mut [f32], ctx: usize) -> Result<Option<Finish>> {
        let work = self.at_work.as_mut().expect("a lane at work");
        let AtWork { answer, job, outcome, .. } = work;
        let next = answer.choose(row, |event| job.sink.on(event))?;
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
fn end(lane: &mut Lane, shared: &Shared, finish: Finish) {
    let Some(AtWork { mut answer, mut job, mut outcome, .. }) = lane.at_work.take() else { return };
    // What was never computed is not part of the sequence.
    lane.tokens.truncate(lane.kv.len());
    shared.counters.n_ended.fetch_add(1, Relaxed);
    outcome.n_generated = answer.n_generated();
    outcome.finish = answer.end(finish, |event| job.sink.on(event));
    job.sink.end(Ok(outcome));
}

/// Ends a lane's answer with an error; what it has been through is forgotten, as it may be in disorder.
fn fail(lane: &mut Lane, shared: &Shared, error: Error) {
    lane.set(0, &[]);
    let Some(AtWork { job, .. }) = lane.at_work.take() else { return };
    shared.counters.n_ended.fetch_add(1, Relaxed);
    job.sink.end(Err(error));
}
