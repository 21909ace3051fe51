//! Many answers at once: one thread owns the model's sequences and steps them together.
//!
//! An [`Engine`] has a fixed number of lanes, each a sequence with its cache. A [`Job`] waits in a bounded queue until a lane is free
//! and leaves between two steps when its answer ends. What lanes have been through is kept in a tree of blocks ([`crate::prefix`]), so
//! that a job begins with the longest part of its prompt that any lane has been through. Each step is planned ([`crate::schedule`]), computed for all lanes at once, and then every lane that has no token left to feed chooses its
//! next ([`crate::answer`]), and goes on where that was guessed ([`crate::spec`]). What a lane computes does not depend on its neighbours, so an answer is the one that a
//! [`crate::session::Session`] gives.
//!
//! Callers hear of their answer through a [`Sink`], on the engine's thread: it must not wait. One that is not ready for more is left
//! out of steps until it is; one whose caller is gone ends. A panic while a lane chooses ends that lane's answer; one while all are
//! computed ends those that shared the step. The thread sleeps while there is nothing to do.

mod allowance;
mod disk;
mod lane;
mod prefixes;
mod stepper;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crate::clock::Clock;
use crate::constrain::Constraint;
use crate::error::{Error, Result};
use crate::generate::{Event, Outcome, Overflow};
use crate::kv_dir::KvDir;
use crate::model_file::Loaded;
use crate::sample::Params;
use crate::session::SessionOptions;
use crate::spec::{DRAFTS_MAX, Speculation, Tally};
pub use allowance::Allowance;
use stepper::Stepper;

/// How much an engine holds.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions<'a> {
    /// Of each lane.
    pub session: SessionOptions<'a>,
    /// Answers computed at the same time.
    pub n_lanes: usize,
    /// Jobs that may wait for a lane.
    pub queue_max: usize,
    /// Bytes of what lanes have been through that are kept beyond their contexts; `None` for as much as all contexts take, or a
    /// quarter of the memory left beside them where that is less.
    pub prefix_bytes: Option<u64>,
    /// Where what lanes have been through is kept in files, for the next run.
    pub kv_dir: Option<KvDir<'a>>,
    /// What tells the counters how long things take; without it they don't say.
    pub clock: Option<&'a Clock>,
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
    /// Special tokens that write their names: those that mean something to who reads the answer.
    pub shown: Arc<[u32]>,
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
    /// Whether there is room for what a step brings: up to [`STEP_TOKENS_MAX`] tokens with a handful of events each.
    fn ready(&self) -> bool;
    /// Something happened.
    fn on(&mut self, event: Event<'_>);
    /// A step has worked for this answer so many nanoseconds: the step's time, shared out by the tokens that each answer fed. Without
    /// a clock it is 0.
    fn worked(&mut self, _nanoseconds: u64) {}
    /// The answer is over.
    fn end(self: Box<Self>, outcome: Result<Outcome>);
}

/// The most tokens that an answer gains in one step.
pub const STEP_TOKENS_MAX: usize = 1 + DRAFTS_MAX;

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
    /// Blocks kept of what lanes have been through.
    pub n_kept_blocks: AtomicUsize,
    /// Bytes of them.
    pub n_kept_bytes: AtomicU64,
    /// Blocks and states that had to make room for others.
    pub n_evicted: AtomicU64,
    /// Nanoseconds of the model's steps, those of drafters included.
    pub model_ns: AtomicU64,
    /// Nanoseconds in which tokens were chosen, turned into text and told.
    pub choosing_ns: AtomicU64,
    /// What was guessed, and what came of it.
    pub guesses: Mutex<Tally>,
    /// Bytes that drafters hold.
    pub n_drafter_bytes: AtomicU64,
    /// Times that lanes went to rest.
    pub n_rests: AtomicU64,
}

/// A model with its lanes, on a thread of its own.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    loaded: Arc<Loaded>,
    ctx: usize,
    prefix_bytes: u64,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Told of each rest, and of the end.
    rested: Condvar,
    /// Raised to end what is running.
    stop: AtomicBool,
    counters: Counters,
    queue_max: usize,
    /// What the engine may do; unset, everything.
    allowed: OnceLock<Arc<Allowance>>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closing: bool,
    /// How often the lanes were asked to rest, and how often they did.
    rests_asked: u64,
    rests_done: u64,
    /// Whether the thread has gone.
    is_over: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells who waits for a rest that the engine's thread has gone, whatever ended it.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.queue().is_over = true;
        self.0.rested.notify_all();
    }
}

impl Engine {
    /// Starts an engine on `loaded`.
    ///
    /// # Errors
    /// [`Error::Io`] when files can't be kept where they should be, [`Error::Memory`] when the lanes' caches and buffers are larger than what the system can give, [`Error::Input`] for no lane.
    pub fn new(loaded: Arc<Loaded>, options: &EngineOptions<'_>) -> Result<Self> {
        Self::guessing(loaded, options, None)
    }

    /// The same with drafters that guess ahead, made for as many lanes, which changes no answer.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn guessing(
        loaded: Arc<Loaded>,
        options: &EngineOptions<'_>,
        speculation: Option<Speculation>,
    ) -> Result<Self> {
        let stepper = Stepper::new(loaded.clone(), options, speculation)?;
        let shared = stepper.shared.clone();
        let (ctx, prefix_bytes) = (stepper.ctx, stepper.prefixes.budget());
        let thread = std::thread::Builder::new()
            .name("ingle-engine".into())
            .spawn(move || {
                let _over = Over(stepper.shared.clone());
                stepper.run();
            })
            .map_err(|source| Error::Io { file: "a thread for the engine".into(), source })?;
        Ok(Self { shared, loaded, ctx, prefix_bytes, thread: Some(thread) })
    }

    /// The model.
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Positions of a lane.
    pub fn ctx(&self) -> usize {
        self.ctx
    }

    /// Bytes that may be kept of what lanes have been through.
    pub fn prefix_bytes(&self) -> u64 {
        self.prefix_bytes
    }

    /// Holds it back as `allowance` says from now on, which needs the clock of [`EngineOptions`]; only the first call counts.
    pub fn govern(&self, allowance: Arc<Allowance>) {
        let _ = self.shared.allowed.set(allowance);
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

    /// Has what lanes have been through leave memory, as soon as none is at work: into files, where there is a folder for them,
    /// from which a prompt that begins the same takes it up again to the bit. Buffers go too. Waits until it is done.
    pub fn rest(&self) {
        let mut queue = self.shared.queue();
        queue.rests_asked += 1;
        let asked = queue.rests_asked;
        self.shared.wake.notify_one();
        while queue.rests_done < asked && !queue.is_over {
            queue = self.shared.rested.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
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
            job.sink.end(Ok(Outcome { n_prompt, ..Outcome::default() }));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
