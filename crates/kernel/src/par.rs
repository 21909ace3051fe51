//! The thread pool of inference: a few persistent threads, hundreds of short parallel loops per token.
//!
//! `run(n, f)` calls `f(task, worker)` for every task below `n`. Threads take tasks from one atomic counter, the caller
//! works too, and the call returns when all are done. Between loops a worker spins for some microseconds (the next loop
//! is usually that close) and then sleeps, so an idle program costs no power. Nothing is allocated per call. Which
//! worker runs a task is left open; results must not depend on it.
//!
//! Threads that share a pool take turns of many loops, in the order they asked ([`Pool::turn`]): loop by loop the shorter ones
//! would wait for the longer ones each time.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Spins before a worker sleeps: some 50 microseconds, longer than the serial stretch between two loops of a token.
const SPINS_BEFORE_SLEEP: u32 = 8_000;
/// Spins before a waiting caller offers its core to others (which matters when there are more threads than cores).
const SPINS_BEFORE_YIELD: u32 = 2_000;
const THREADS_MAX: usize = 256;

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A pool of `n_threads() - 1` workers; the caller of [`Pool::run`] is the remaining thread.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One loop at a time: the job slot below has one writer.
    running: Mutex<()>,
    turns: Mutex<Turns>,
    turned: Condvar,
}

/// Turns asked for and turns that are over, since the pool began.
#[derive(Debug, Default)]
struct Turns {
    n_asked: u64,
    n_over: u64,
    /// Whether who has the turn lets others go first.
    is_patient: bool,
}

/// A turn on a pool, over when it goes.
#[derive(Debug)]
#[must_use = "the turn is over when this goes"]
pub struct Turn<'a>(&'a Pool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.turns();
        turns.n_over += 1;
        turns.is_patient = false;
        drop(turns);
        self.0.turned.notify_all();
    }
}

struct Shared {
    /// Raised once per loop; workers wait for it to move.
    epoch: AtomicU32,
    next_task: AtomicUsize,
    /// Workers that have not finished the current loop.
    busy: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    stop: AtomicBool,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Job {
    f: *const Task<'static>,
    n_tasks: usize,
}

// SAFETY: `job` is the one field that is not Sync by itself. It is written only by `run` while every worker waits for
// `epoch` (busy == 0), and read by workers only after they saw the new epoch, which was stored afterwards.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is used only while `run`, which borrows the closure, has not returned.
unsafe impl Send for Shared {}

impl Pool {
    /// Starts a pool of `n_threads` (1 to 256) threads, the caller included.
    pub fn new(n_threads: usize) -> Self {
        let n_threads = n_threads.clamp(1, THREADS_MAX);
        let shared = Arc::new(Shared {
            epoch: AtomicU32::new(0),
            next_task: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            panic: Mutex::new(None),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let workers = (1..n_threads)
            .map(|worker| {
                let shared = shared.clone();
                std::thread::Builder::new()
                    .name(format!("ingle-{worker}"))
                    .spawn(move || shared.work(worker))
                    .expect("the system starts a thread")
            })
            .collect();
        Self { shared, workers, running: Mutex::new(()), turns: Mutex::default(), turned: Condvar::new() }
    }

    /// Threads that work on a loop, the caller included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Waits for a turn, behind those who asked before. Loops run without one too; who shares a pool takes one for as many loops as
    /// others can wait for, such as a step of a model, and none inside another.
    pub fn turn(&self) -> Turn<'_> {
        let mut turns = self.turns();
        turns.n_asked += 1;
        self.wait_for(turns);
        Turn(self)
    }

    /// A turn that others may interrupt, for work that nobody waits for token by token.
    pub fn patient_turn(&self) -> Turn<'_> {
        let turn = self.turn();
        self.turns().is_patient = true;
        turn
    }

    /// A place in a long stretch of loops, such as between layers: where the turn is a patient one, those who wait have theirs first.
    /// Otherwise, and where nobody takes turns, nothing happens.
    pub fn offer_turn(&self) {
        let mut turns = self.turns();
        if turns.is_patient && turns.n_asked - turns.n_over > 1 {
            turns.n_asked += 1;
            turns.n_over += 1;
            turns.is_patient = false;
            self.turned.notify_all();
            self.wait_for(turns);
            self.turns().is_patient = true;
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until all turns are over that were asked for before the last.
    fn wait_for(&self, mut turns: MutexGuard<'_, Turns>) {
        let n_before = turns.n_asked - 1;
        while turns.n_over < n_before {
            turns = self.turned.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Calls `f(task, worker)` once for each `task` in `0..n_tasks`, with `worker` in `0..n_threads()`; at any moment a
    /// worker number is in use by one thread only. Must not be called from inside `f`.
    ///
    /// # Panics
    /// When `f` panics, after all other tasks have ended; the pool stays usable.
    pub fn run(&self, n_tasks: usize, f: impl Fn(usize, usize) + Sync) {
        self.run_all(n_tasks, &f);
    }

    /// The same for every closure, so that it is compiled once.
    fn run_all(&self, n_tasks: usize, f: &Task<'_>) {
        if self.workers.is_empty() || n_tasks <= 1 {
            (0..n_tasks).for_each(|task| f(task, 0));
            return;
        }
        let _one_at_a_time = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; this function does not return before every worker is done with `f`.
        let f: *const Task<'static> = unsafe { std::mem::transmute::<*const Task<'_>, _>(f) };
        let job = Job { f, n_tasks };
        // SAFETY: the lock above makes this the only writer, and busy == 0: no worker reads the slot.
        unsafe { *shared.job.get() = Some(job) };
        shared.next_task.store(0, Relaxed);
        shared.busy.store(self.workers.len(), Relaxed);
        shared.epoch.fetch_add(1, SeqCst);
        if shared.sleepers.load(SeqCst) > 0 {
            let _lock = shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
            shared.wake.notify_all();
        }
        shared.take_tasks(job, 0);
        let mut spins = 0u32;
        while shared.busy.load(Acquire) > 0 {
            spins += 1;
            if spins < SPINS_BEFORE_YIELD { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Calls `f(i, row)` for every row `i` of `data` `(rows, row_len)`.
    pub fn for_rows<T: Send>(&self, data: &mut [T], row_len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        assert!(row_len > 0 && data.len().is_multiple_of(row_len));
        let n_rows = data.len() / row_len;
        let data = Disjoint::new(data);
        // SAFETY: every task has a row of its own.
        self.run(n_rows, |row, _| f(row, unsafe { data.part(row * row_len, row_len) }));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.epoch.fetch_add(1, SeqCst);
        drop(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_new_epoch(seen);
            if self.stop.load(SeqCst) {
                return;
            }
            // SAFETY: the new epoch was stored after the job; the slot is not written again before busy reaches 0.
            let job = unsafe { *self.job.get() };
            self.take_tasks(job.expect("an epoch starts with a job"), worker);
            self.busy.fetch_sub(1, Release);
        }
    }

    fn take_tasks(&self, job: Job, worker: usize) {
        // SAFETY: `run` keeps the closure alive until busy is 0, and this worker still counts as busy.
        let f = unsafe { &*job.f };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let task = self.next_task.fetch_add(1, Relaxed);
                if task >= job.n_tasks {
                    return;
                }
                f(task, worker);
            }
        }));
        if let Err(panic) = outcome {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    fn wait_for_new_epoch(&self, seen: u32) -> u32 {
        for _ in 0..SPINS_BEFORE_SLEEP {
            let epoch = self.epoch.load(Acquire);
            if epoch != seen {
                return epoch;
            }
            std::hint::spin_loop();
        }
        // Announce the sleep before the last look at the epoch: either `run` sees the sleeper, or we see its epoch.
        self.sleepers.fetch_add(1, SeqCst);
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.epoch.load(SeqCst) == seen {
            lock = self.wake.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
        drop(lock);
        self.sleepers.fetch_sub(1, SeqCst);
        self.epoch.load(SeqCst)
    }
}

/// A slice that several threads write at disjoint places.
#[derive(Debug)]
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    _borrow: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`, handed out in parts that the callers of `part` promise are disjoint.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), _borrow: std::marker::PhantomData }
    }

    /// The part `start..start + len`.
    ///
    /// # Safety
    /// No two parts that are alive at the same time may overlap.
    #[expect(clippy::mut_from_ref, reason = "the parts are disjoint by contract")]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "part {start}+{len} of {}", self.len);
        // SAFETY: inside the slice by the assert above.
        let start = unsafe { self.start.add(start) };
        // SAFETY: inside the slice by the assert above; unique by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// Columns `first..first + n` of rows `rows` of this matrix with rows of `width`.
    ///
    /// # Safety
    /// No two parts or columns that are alive at the same time may overlap.
    pub(crate) unsafe fn columns(
        &self,
        rows: Range<usize>,
        width: usize,
        first: usize,
        n: usize,
    ) -> Columns<'a, T> {
        assert!(first <= width && n <= width - first, "columns {first}+{n} of {width}");
        assert!(
            rows.end.checked_mul(width).is_some_and(|end| end <= self.len),
            "rows {rows:?} of {}",
            self.len
        );
        let start = self.start.wrapping_add(rows.start * width + first);
        Columns { start, n_rows: rows.len(), width, n, _borrow: std::marker::PhantomData }
    }
}

/// Some neighbouring columns of some neighbouring rows of a matrix, for one thread to write.
#[derive(Debug)]
pub struct Columns<'a, T> {
    start: *mut T,
    n_rows: usize,
    width: usize,
    n: usize,
    _borrow: std::marker::PhantomData<&'a mut [T]>,
}

impl<T> Columns<'_, T> {
    /// How many columns.
    #[inline(always)]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The columns in row `i` of those rows.
    #[inline(always)]
    pub fn row(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.n_rows, "row {i} of {}", self.n_rows);
        // SAFETY: inside the matrix by the asserts of `columns` and the one above.
        let start = unsafe { self.start.add(i * self.width) };
        // SAFETY: the same; nobody else has these columns, by the contract of `columns`, nor this row of them, by `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(start, self.n) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_worker_numbers_are_exclusive() {
        for n_threads in [1, 2, 3, 8] {
            let pool = Pool::new(n_threads);
            for n_tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<_> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
                let inside: Vec<_> = (0..n_threads).map(|_| AtomicBool::new(false)).collect();
                pool.run(n_tasks, |task, worker| {
                    assert!(!inside[worker].swap(true, SeqCst));
                    counts[task].fetch_add(1, SeqCst);
                    inside[worker].store(false, SeqCst);
                });
                assert!(counts.iter().all(|c| c.load(SeqCst) == 1));
            }
        }
    }

    #[test]
    fn a_sleeping_pool_wakes_for_the_next_loop() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        for _ in 0..20 {
            pool.run(50, |task, _| {
                sum.fetch_add(task, SeqCst);
            });
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!(sum.load(SeqCst), 20 * 1225);
    }

    #[test]
    fn turns_come_in_order_and_one_that_is_offered_goes_to_who_waits() {
        let pool = Pool::new(2);
        pool.offer_turn();
        let said = Mutex::new(Vec::new());
        let say = |what: &'static str| said.lock().unwrap().push(what);
        let waits = |n: u64| {
            while pool.turns().n_asked < n {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let first = pool.patient_turn();
            pool.offer_turn();
            scope.spawn(|| {
                let _second = pool.turn();
                pool.offer_turn();
                say("second");
            });
            waits(2);
            scope.spawn(|| {
                let _third = pool.turn();
                say("third");
            });
            waits(3);
            say("first");
            pool.offer_turn();
            say("first again");
            drop(first);
        });
        assert_eq!(*said.lock().unwrap(), ["first", "second", "third", "first again"]);
        let turns = pool.turns();
        assert_eq!((turns.n_asked, turns.n_over), (4, 4));
    }

    #[test]
    fn a_panicking_task_ends_its_loop_and_not_the_pool() {
        let pool = Pool::new(2);
        let failed = catch_unwind(AssertUnwindSafe(|| pool.run(10, |task, _| assert_ne!(task, 5))));
        assert!(failed.is_err());
        let n = AtomicUsize::new(0);
        pool.run(10, |_, _| {
            n.fetch_add(1, SeqCst);
        });
        assert_eq!(n.load(SeqCst), 10);
    }
}
