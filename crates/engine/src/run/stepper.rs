//! What the engine's thread does: brings jobs into lanes, steps the lanes together, keeps what they have been through.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ingle_model::decoder::{LOGITS_ROWS_MAX, Scratch, Span};
use ingle_model::kv::{self, BLOCK, Kv, Room};

use super::disk::{self, Disk};
use super::lane::{AtWork, Lane, end, fail};
use super::prefixes::Prefixes;
use super::{Counters, EngineOptions, Job, Shared};
use crate::answer::{Answer, Choice};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::generate::{Finish, Outcome, fit_prompt};
use crate::kv_dir::{Folder, fingerprint};
use crate::memory;
use crate::mmap::give_back_freed;
use crate::model_file::Loaded;
use crate::schedule::{StepLimits, plan};
use crate::session::chunk_of;
use crate::spec::{Speculation, Speculator, Target, Turn};

/// Tokens of prompts in a step that carries answers on: at 500 tokens a second a quarter of a second.
const PROMPT_TOKENS_BESIDE_ANSWERS: usize = 128;
/// Of the memory beside contexts, what is kept of what lanes have been through is one part of so many.
const SHARE_OF_THE_REST: u64 = 4;
/// How long the engine waits for sinks that are not ready.
const SINK_WAIT: Duration = Duration::from_millis(2);
/// How long it waits for the thread that writes files, when nothing else is to be done.
const WRITER_WAIT: Duration = Duration::from_millis(5);

/// What the engine's thread owns.
pub(super) struct Stepper {
    pub shared: Arc<Shared>,
    loaded: Arc<Loaded>,
    scratch: Scratch,
    lanes: Vec<Lane>,
    pub prefixes: Prefixes,
    /// Where sequences have their pages.
    room: Room,
    /// Bytes of it beyond what contexts take.
    spare_bytes: u64,
    disk: Option<Disk>,
    limits: StepLimits,
    pub ctx: usize,
    n_steps: u64,
    pending: Vec<usize>,
    plan: Vec<usize>,
    speculator: Option<Speculator>,
    clock: Option<Clock>,
}

impl Stepper {
    pub fn new(
        loaded: Arc<Loaded>,
        options: &EngineOptions<'_>,
        speculation: Option<Speculation>,
    ) -> Result<Self> {
        let config = &loaded.model.config;
        let n_lanes = options.n_lanes;
        if n_lanes == 0 {
            return Err(Error::Input("no lane for answers, expected at least 1".into()));
        }
        let format = kv::format(config, options.session.kv).map_err(|e| loaded.file.model_error(e))?;
        let chunk = chunk_of(config, &options.session).max(n_lanes);
        let ctx = options.session.ctx_of(config);
        let scratch = Scratch::bytes_per_token(config) as u64 * chunk as u64;
        let contexts = kv::n_bytes(config, format, ctx).saturating_mul(n_lanes as u64);
        let needed = contexts.saturating_add(scratch);
        let available = memory::available_bytes().unwrap_or(u64::MAX).saturating_sub(loaded.packed_bytes());
        let left = available.saturating_sub(needed);
        let prefix_bytes = options.prefix_bytes.unwrap_or(contexts.min(left / SHARE_OF_THE_REST));
        let on_the_way = options.kv_dir.map_or(0, |_| disk::BLOCKS * kv::n_bytes(config, format, BLOCK));
        let spare_bytes = prefix_bytes.saturating_add(on_the_way);
        let needed = needed.saturating_add(spare_bytes);
        if needed > available {
            let what = format!("{}: {n_lanes} contexts of {ctx} tokens", loaded.file.name());
            let what = format!("{what} and {prefix_bytes} bytes for what they have been through");
            return Err(Error::Memory { what, needed, available });
        }
        let room = Room::new(config, format, ctx, n_lanes, spare_bytes);
        let disk = |dir| {
            Disk::new(Folder::open(&dir, fingerprint::fingerprint(&loaded, format, ctx))?, room.clone())
        };
        let disk = options.kv_dir.map(disk).transpose()?;
        let speculator = speculation.map(|speculation| Speculator::new(speculation, n_lanes));
        let counters = Counters::default();
        counters.n_drafter_bytes.store(speculator.as_ref().map_or(0, Speculator::n_bytes), Relaxed);
        let shared = Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            rested: Condvar::new(),
            stop: AtomicBool::new(false),
            counters,
            queue_max: options.queue_max,
            allowed: OnceLock::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            scratch: Scratch::new(config, chunk, loaded.n_threads()),
            lanes: (0..n_lanes).map(|id| Lane::new(id, Kv::within(&room, config))).collect(),
            prefixes: Prefixes::new(prefix_bytes),
            room,
            spare_bytes,
            disk,
            limits: StepLimits {
                tokens_max: chunk,
                prompt_tokens_beside_answers: PROMPT_TOKENS_BESIDE_ANSWERS.min(chunk),
            },
            ctx,
            n_steps: 0,
            pending: Vec::with_capacity(n_lanes),
            plan: Vec::with_capacity(n_lanes),
            speculator,
            clock: options.clock.cloned(),
            loaded,
        })
    }

    /// Until the engine is closed and nothing is left to do.
    pub fn run(mut self) {
        while self.admit() {
            self.end_cancelled();
            self.step();
            self.save();
        }
        if let Some(disk) = self.disk.take() {
            disk.finish(&self.prefixes);
        }
    }

    /// Has what lanes have been through leave memory, and the buffers: new ones are reserved, which is nothing until they are used.
    fn rest(&mut self) {
        let config = &self.loaded.model.config;
        if let Some(disk) = &mut self.disk {
            disk.write_noted(&self.prefixes);
        }
        let (n_lanes, chunk) = (self.lanes.len(), self.scratch.tokens_max());
        self.prefixes = Prefixes::new(self.prefixes.budget());
        self.lanes.clear();
        self.room = Room::new(config, self.room.format(), self.ctx, n_lanes, self.spare_bytes);
        if let Some(disk) = &mut self.disk {
            disk.go_on_in(self.room.clone());
        }
        self.lanes.extend((0..n_lanes).map(|id| Lane::new(id, Kv::within(&self.room, config))));
        self.scratch = Scratch::new(config, chunk, self.loaded.n_threads());
        let counters = &self.shared.counters;
        counters.n_kept_blocks.store(0, Relaxed);
        counters.n_kept_bytes.store(0, Relaxed);
        counters.n_rests.fetch_add(1, Relaxed);
        give_back_freed();
    }

    /// Brings waiting jobs into free lanes; sleeps while there are neither jobs nor answers. `false` when it is over.
    fn admit(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        loop {
            while let Some(job) = self.may_begin().then(|| queue.jobs.pop_front()).flatten() {
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
            if queue.rests_done < queue.rests_asked {
                let asked = queue.rests_asked;
                drop(queue);
                self.rest();
                queue = shared.queue();
                queue.rests_done = asked;
                shared.rested.notify_all();
                continue;
            }
            let Some(disk) = self.disk.as_mut().filter(|disk| disk.is_behind()) else {
                queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            disk.hand_over(&self.prefixes);
            queue = shared.wake.wait_timeout(queue, WRITER_WAIT).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether there is a free lane, and leave for another answer.
    fn may_begin(&self) -> bool {
        let n_free = self.lanes.iter().filter(|lane| lane.at_work.is_none()).count();
        let n_max = self.shared.allowed.get().map_or(usize::MAX, |allowed| allowed.batch_max());
        n_free > 0 && self.lanes.len() - n_free < n_max
    }

    /// Gives the job the free lane that has been through most of its prompt, or if more of it was kept the one unused for longest.
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
            shown: job.shown.clone(),
        };
        let answer = match Answer::new(&self.loaded, &choice, prompt, self.ctx) {
            Ok(answer) => answer,
            Err(e) => return job.sink.end(Err(e)),
        };
        let found = self.prefixes.find(&self.lanes[0].kv, prompt);
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_at_prompt()) {
            // It is on a way that others go too.
            let same = lane.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            lane.stop_at(same.min(prompt.len().saturating_sub(1)));
        }
        let free = || self.lanes.iter().enumerate().filter(|(_, lane)| lane.at_work.is_none());
        // A window that forgot, or a state without a checkpoint, goes back further.
        let own = |lane: &Lane| lane.kv.reachable(lane.common(prompt));
        let unused = |lane: &Lane| u64::MAX - lane.used;
        let best = free().map(|(_, lane)| own(lane)).max().unwrap_or(0);
        let order = |lane: &Lane| (if best < found.len() { 0 } else { own(lane) }, unused(lane));
        let i = free().max_by_key(|(_, lane)| order(lane)).map(|(i, _)| i).expect("a lane is free");
        let lane = &mut self.lanes[i];
        if best < found.len() {
            lane.tokens.clear();
            lane.tokens.extend_from_slice(prompt);
            lane.adopt(&found, &mut self.prefixes);
        } else {
            let common = lane.common(prompt);
            lane.set(common, &prompt[common..]);
        }
        lane.stop_at(found.known());
        lane.stop_at(prompt.len().saturating_sub(1));
        let n_reused = lane.kv.len();
        self.shared.counters.n_reused.fetch_add(n_reused as u64, Relaxed);
        let outcome = Outcome { n_prompt: prompt.len(), n_reused, ..Outcome::default() };
        (lane.reads, lane.is_new) = (self.disk.is_some(), true);
        lane.at_work = Some(AtWork { answer, job, outcome, answers: false });
    }

    /// Notes what ended answers have been through, to be written.
    fn save(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_new && lane.at_work.is_none()) {
            lane.is_new = false;
            disk.note(&lane.tokens, lane.kv.recurs());
        }
        disk.hand_over(&self.prefixes);
    }

    /// Has a lane wait whose prompt is being read from files, or goes the way of one that is ahead, and take over what has come of
    /// it when that ends.
    fn share_ways(&mut self) {
        for i in 0..self.lanes.len() {
            let waited = self.lanes[i].waits || self.lanes[i].reads;
            let lane = &mut self.lanes[i];
            if let Some(disk) = self.disk.as_ref().filter(|_| lane.reads) {
                lane.reads = lane.is_at_prompt() && disk.read(&mut self.prefixes, &lane.kv, &lane.tokens);
            }
            let reads = lane.reads;
            let follows = |j| self.follows(i, j);
            let waits = self.lanes[i].is_at_prompt() && (reads || (0..self.lanes.len()).any(follows));
            self.lanes[i].waits = waits;
            if waited && !waits && self.lanes[i].is_at_prompt() {
                let lane = &mut self.lanes[i];
                let (found, len) = (self.prefixes.find(&lane.kv, &lane.tokens), lane.kv.len());
                if found.len() > len {
                    lane.adopt(&found, &mut self.prefixes);
                    lane.gained(found.len() - len, &self.shared.counters);
                }
            }
        }
    }

    /// Whether what lane `j` computes next is part of lane `i`'s prompt too, and will be found.
    fn follows(&self, i: usize, j: usize) -> bool {
        let (lane, ahead) = (&self.lanes[i], &self.lanes[j]);
        let is_ahead = (ahead.kv.len(), i) > (lane.kv.len(), j);
        if !is_ahead || !ahead.is_at_prompt() || !ahead.is_ready() || ahead.n_put != ahead.kv.len() / BLOCK {
            return false;
        }
        let gives_at = ahead.gives_at().filter(|&at| at < lane.tokens.len() && at <= ahead.tokens.len());
        gives_at.is_some_and(|at| lane.tokens[..at] == ahead.tokens[..at])
    }

    /// Puts what lanes have been through where others find it.
    fn keep(lanes: &mut [(&mut Lane, usize)], prefixes: &mut Prefixes, counters: &Counters) {
        for (lane, _) in lanes {
            if lane.n_sure() / BLOCK > lane.n_put {
                lane.n_put = prefixes.put(&mut lane.kv, &lane.tokens, lane.n_put);
            }
            if lane.leave_stop() {
                prefixes.keep_state(&lane.kv, &lane.tokens);
            }
        }
        let tree = &prefixes.tree;
        counters.n_kept_blocks.store(tree.n_blocks(), Relaxed);
        counters.n_kept_bytes.store(tree.n_bytes(), Relaxed);
        counters.n_evicted.store(tree.n_evicted(), Relaxed);
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
        self.share_ways();
        let next = |lane: &Lane| if lane.is_ready() && !lane.waits { lane.next() } else { 0 };
        self.pending.extend(self.lanes.iter().map(next));
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
        let n_sure: usize = stepping.iter().map(|(_, n)| n).sum();
        let (loaded, scratch) = (&self.loaded, &mut self.scratch);
        let _turn = loaded.turn();
        // Beside prompts, a step has enough to do.
        let allowed = self.shared.allowed.get();
        let drafts_max = allowed.map_or(usize::MAX, |allowed| allowed.drafts_max());
        let at_answers = n_done == stepping.len() && stepping.iter().all(|(lane, _)| !lane.is_at_prompt());
        let guesses = at_answers && drafts_max > 0;
        let mut speculator = self.speculator.as_mut().filter(|_| guesses);
        let mut watch = Watch::new(self.clock.as_ref());
        let begun = watch.last;
        if let Some(working) = &mut speculator {
            let rows_max = scratch.tokens_max().min(n_sure.saturating_add(drafts_max.saturating_mul(n_done)));
            let guessed =
                catch_unwind(AssertUnwindSafe(|| guess(working, loaded, &mut stepping, n_sure, rows_max)));
            if guessed.is_err() {
                // What it had in its hands is in disorder.
                self.speculator = None;
                for (lane, _) in stepping {
                    fail(lane, &self.shared, Error::Input("a drafter broke off, expected guesses".into()));
                }
                return;
            }
        }
        let n_fed = match compute(loaded, &mut stepping, scratch) {
            Ok(n_fed) => n_fed,
            Err(why) => {
                for (lane, _) in stepping {
                    fail(lane, &self.shared, Error::Input(why.clone()));
                }
                return;
            }
        };
        let counters = &self.shared.counters;
        counters.n_steps.fetch_add(1, Relaxed);
        for (lane, n) in &mut stepping {
            lane.used = self.n_steps;
            lane.fed(*n, counters);
        }
        Self::keep(&mut stepping, &mut self.prefixes, counters);
        let n_before: usize = stepping.iter().map(|(lane, _)| lane.n_generated()).sum();
        watch.lap(&counters.model_ns);
        let choosing = &mut stepping[..n_done];
        choose(loaded, choosing, scratch, &mut watch, counters);
        if let Some(speculator) = &mut speculator {
            choosing.iter().for_each(|(lane, _)| lane.judge(speculator));
            let n_after: usize = choosing.iter().map(|(lane, _)| lane.n_generated()).sum();
            speculator.end(n_done, n_fed, n_after.saturating_sub(n_before));
            let mut all = counters.guesses.lock().unwrap_or_else(PoisonError::into_inner);
            for (lane, _) in &mut *choosing {
                all.add(&lane.note(speculator));
            }
        }
        watch.lap(&counters.choosing_ns);
        let busy = watch.last - begun;
        for (lane, n) in &mut stepping {
            lane.worked(busy.as_nanos() as u64 * *n as u64 / n_sure as u64);
        }
        for (lane, _) in &mut stepping[..n_done] {
            let n_before = lane.tokens.len();
            match lane.go_on(self.ctx) {
                Ok(None) => {}
                Ok(Some(finish)) => {
                    if let Some(speculator) = &mut self.speculator {
                        speculator.learn(lane.answer());
                    }
                    end(lane, &self.shared, finish);
                }
                Err(e) => fail(lane, &self.shared, e),
            }
            counters.n_generated.fetch_add(lane.tokens.len().saturating_sub(n_before) as u64, Relaxed);
        }
        watch.lap(&counters.choosing_ns);
        // The turn is held meanwhile: others on these threads are held back too.
        if let Some(allowed) = self.shared.allowed.get() {
            allowed.rest(busy, &self.shared.stop);
        }
    }
}

/// Tells counters what passed since they were told last.
struct Watch<'a> {
    clock: Option<&'a Clock>,
    last: Duration,
}

impl<'a> Watch<'a> {
    fn new(clock: Option<&'a Clock>) -> Self {
        Self { clock, last: clock.map_or(Duration::ZERO, Clock::now) }
    }

    fn lap(&mut self, to: &AtomicU64) {
        if let Some(clock) = self.clock {
            let now = clock.now();
            to.fetch_add((now - self.last).as_nanos() as u64, Relaxed);
            self.last = now;
        }
    }
}

/// One step of the model over lanes and the tokens that each feeds: how many tokens those were with the guesses, or why there are no logits.
fn compute(
    loaded: &Loaded,
    stepping: &mut [(&mut Lane, usize)],
    scratch: &mut Scratch,
) -> std::result::Result<usize, String> {
    let computed = catch_unwind(AssertUnwindSafe(|| {
        loaded.file.check_unchanged()?;
        let mut spans: Vec<Span<'_>> = stepping.iter_mut().map(|(lane, n)| lane.span(*n)).collect();
        let n_fed = spans.iter().map(|span| span.tokens.len()).sum();
        let forward = loaded.model.forward(&loaded.runtime(&[]), &mut spans, scratch);
        forward.map(|()| n_fed).map_err(|source| loaded.file.model_error(source))
    }));
    match computed {
        Ok(computed) => computed.map_err(|e| e.to_string()),
        Err(_) => Err("a step of the model broke off, expected logits".into()),
    }
}

/// Has every lane choose by its rows of the last step, whose logits are computed for all of them together.
fn choose(
    loaded: &Loaded,
    choosing: &mut [(&mut Lane, usize)],
    scratch: &mut Scratch,
    watch: &mut Watch<'_>,
    counters: &Counters,
) {
    let n_rows: usize = choosing.iter().map(|(lane, _)| lane.n_rows()).sum();
    // The lane, and which of its rows comes next.
    let (mut at, mut i) = (0, 0);
    for first in (0..n_rows).step_by(LOGITS_ROWS_MAX) {
        let rows = first..n_rows.min(first + LOGITS_ROWS_MAX);
        let logits = loaded.model.logits(&loaded.runtime(&[]), rows, scratch);
        watch.lap(&counters.model_ns);
        for row in logits.chunks_exact_mut(loaded.model.config.vocab) {
            let lane = &mut choosing[at].0;
            lane.choose(i, row);
            (at, i) = if i + 1 < lane.n_rows() { (at, i + 1) } else { (at + 1, 0) };
        }
        watch.lap(&counters.choosing_ns);
    }
}

/// Has guesses made for lanes that all go on with their answers, in a step that feeds `n_sure` tokens besides.
fn guess(
    speculator: &mut Speculator,
    loaded: &Loaded,
    stepping: &mut [(&mut Lane, usize)],
    n_sure: usize,
    rows_max: usize,
) {
    speculator.begin();
    let mut turns: Vec<Turn<'_>> = stepping.iter_mut().filter_map(|(lane, _)| lane.turn()).collect();
    speculator.propose(&Target { loaded, adapters: &[] }, &mut turns, n_sure, rows_max);
    for (lane, _) in stepping {
        lane.take_guesses(speculator);
    }
}
