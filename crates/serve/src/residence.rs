//! The models of a server under one budget of bytes: they come when they are asked for, and leave when others need the room.
//!
//! What to do is planned by [`ingle_engine::residency`]; here it is done. A request takes its model from the list of those that are
//! hot, which costs a lock. Where it is not hot, one request at a time has the plan made and performed: models leave the list
//! before anything is done to them, and only those that nobody holds leave it. A model is held by who has it in hand (the `Arc`)
//! and by every answer under way ([`crate::served::Served::pins`]). While a request waits for busy models, those whose model is hot
//! pass it by, but not for ever: after [`Terms::patience`] they wait behind it, unless their model is pinned and so never makes room.
//!
//! Left out: models never leave in parts, and a model that is asked for is brought for whoever asks, in the order they come.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ingle_engine::memory::resident_bytes;
use ingle_engine::mmap::give_back_freed;
use ingle_engine::residency::budget::{self, Stalls};
use ingle_engine::residency::{Action, Input, Ledger, Resident, State, Tier, plan};
use ingle_engine::sysfs::Tree;
use tokio::sync::watch;

use crate::app::{Models, is_name_of, plain};
use crate::listen::Phase;
use crate::reader::Reader;
use crate::refusal::Refusal;
use crate::served::{Model, Served};

/// Requests that may wait for models that are not hot: fewer than there are threads to read requests on, as each has one.
const WAITING_MAX: usize = 12;
/// How long until a request that waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long a request waits for busy models.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Half of that: what [`Terms::patience`] is where nobody has a reason for another.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long who only looks at a list may keep a model that has left it.
const LOOKERS_GO: Duration = Duration::from_millis(200);
/// Swaps whose times are remembered.
const SWAPS_MAX: usize = 4096;
/// Bytes a second at which files are guessed to be read, before a model was first loaded.
const LOAD_RATE: f64 = 1e9;
/// Beside what the process has at its start: connections, and what the allocator keeps.
const BESIDE: u64 = 8 << 20;

/// The models that there are to serve, and how they come.
pub trait Stock: fmt::Debug + Send + Sync {
    /// Those that are served from the start, in order.
    fn list(&self) -> Vec<Known>;

    /// A model by a name that is not listed. A name comes from a client: it must not become a path. `None` where there is none.
    ///
    /// # Errors
    /// When that can't be found out.
    fn find(&self, name: &str) -> io::Result<Option<Known>>;

    /// Loads the model of a name that was listed or found, by one of its offers, which takes as long as it takes.
    ///
    /// # Errors
    /// When it can't be loaded.
    fn load(&self, name: &str, offer: usize) -> io::Result<Model>;
}

/// A model that can be loaded.
#[derive(Debug, Clone)]
pub struct Known {
    /// The name by which requests call it.
    pub name: String,
    /// Whether it writes no text.
    pub only_reads: bool,
    /// Ways to load it, the best first: what each takes.
    pub offers: Vec<Ledger>,
    /// Whether it never makes room.
    pub is_pinned: bool,
}

/// How much there may be.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Bytes of the whole process; `None` for what the machine and its control groups can give, which is looked at anew.
    pub budget: Option<u64>,
    /// Bytes that the program takes without a model; `None` for what it has when the server starts.
    pub fixed: Option<u64>,
    /// Bytes of what all models share and the program does not have yet, such as a model that drafts.
    pub shared: u64,
    /// How long a model stays that is not asked for; `None` until room is needed.
    pub keep_alive: Option<Duration>,
    /// How long a request that waits for busy models is passed by.
    pub patience: Duration,
    /// Where the system tells about itself.
    pub tree: Tree,
    /// The models.
    pub stock: Arc<dyn Stock>,
}

/// The models of a server under one budget.
#[derive(Debug)]
pub struct Residence {
    terms: Terms,
    book: Mutex<Book>,
    /// Held by who performs a plan.
    performing: Mutex<()>,
    /// Requests on their way to models that are not hot.
    n_waiting: AtomicUsize,
    /// Whether one of them waits for busy models and was passed by for long enough.
    holds: AtomicBool,
    /// What was done.
    pub counts: Counts,
    start: Instant,
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests for models.
    pub n_asked: AtomicU64,
    /// Those whose model was hot.
    pub n_hits: AtomicU64,
    /// Models loaded.
    pub n_loads: AtomicU64,
    /// Models that left memory.
    pub n_unmaps: AtomicU64,
    /// Models whose weights left the process and stayed mapped.
    pub n_drops: AtomicU64,
    /// Requests refused for want of memory.
    pub n_refused: AtomicU64,
    /// Times that the system ran short of memory.
    pub n_pressures: AtomicU64,
}

#[derive(Debug)]
struct Book {
    state: State,
    known: Vec<Known>,
    /// Of each the model, where it is loaded.
    guests: Vec<Option<Guest>>,
    stalls: Option<(Stalls, Duration)>,
    /// How long requests waited for models to come, of each tier they came from, without waiting for others.
    swaps: VecDeque<(Tier, Duration)>,
}

/// A model that is loaded.
#[derive(Debug, Clone)]
enum Guest {
    Writer(Arc<Served>),
    Reader(Arc<Reader>),
}

/// A model as it is told.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// Whether it writes no text.
    pub only_reads: bool,
    /// What is known of its memory.
    pub resident: Resident,
    /// How long it stays from now on, if that is limited.
    pub left: Option<Duration>,
}

impl Residence {
    /// None is loaded yet.
    pub fn new(terms: Terms) -> Self {
        let known = terms.stock.list();
        let measured = || resident_bytes().unwrap_or(0).saturating_add(BESIDE);
        let fixed = terms.fixed.unwrap_or_else(measured).saturating_add(terms.shared);
        let keep_alive = terms.keep_alive;
        let models = known.iter().map(|known| resident(known, keep_alive)).collect();
        let state = State { budget: u64::MAX, fixed, now: Duration::ZERO, models };
        let (guests, swaps) = (vec![None; known.len()], VecDeque::with_capacity(SWAPS_MAX));
        let book = Mutex::new(Book { state, known, guests, stalls: None, swaps });
        let (performing, n_waiting, holds) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let new = Self {
            terms,
            book,
            performing,
            n_waiting,
            holds,
            counts: Counts::default(),
            start: Instant::now(),
        };
        new.look_at_budget(&mut new.book());
        new
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.state.now = self.start.elapsed();
        book
    }

    fn look_at_budget(&self, book: &mut Book) {
        let machine = || {
            let room = budget::room(&self.terms.tree)?;
            Some(budget::of_room(resident_bytes()?, room))
        };
        book.state.budget = self.terms.budget.or_else(machine).unwrap_or(u64::MAX);
    }

    /// Loads what was listed, in order, as long as there is room; how many are.
    ///
    /// # Errors
    /// When one does not fit even alone, or can't be loaded.
    pub fn begin(&self, list: &dyn Fn(Models)) -> Result<usize, Refusal> {
        let n = self.book().known.len();
        for i in 0..n {
            let actions = self.planned(i);
            let is_free = !actions.iter().any(|action| matches!(action, Action::Unmap { .. } | Action::Wait));
            let drops = actions.iter().any(|a| matches!(a, Action::DropPages { .. } | Action::Rest { .. }));
            if let Some(Action::Refuse(refusal)) = actions.first() {
                return Err(Refusal::Memory(refusal.told(&self.name(i))));
            }
            if is_free && !drops {
                for action in actions {
                    self.perform(&action, list)?;
                }
            }
        }
        Ok(self.book().state.models.iter().filter(|model| model.is_loaded()).count())
    }

    fn planned(&self, i: usize) -> Vec<Action> {
        let mut book = self.book();
        book.count_busy();
        plan(&book.state, Input::Request { model: i })
    }

    /// The name of the model at place `i`.
    pub fn name(&self, i: usize) -> String {
        self.book().known[i].name.clone()
    }

    /// The place of the model of this name, which the stock may find on the device.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none.
    pub fn place(&self, name: &str) -> Result<usize, Refusal> {
        let of = |book: &Book, name: &str| book.known.iter().position(|known| is_name_of(&known.name, name));
        if let Some(i) = of(&self.book(), name) {
            return Ok(i);
        }
        let found = self.terms.stock.find(plain(name)).map_err(|e| Refusal::from(&e))?;
        let mut book = self.book();
        let Some(found) = found else { return Err(book.absent(name)) };
        // Another of its names, or somebody else asked meanwhile.
        if let Some(i) = of(&book, &found.name) {
            return Ok(i);
        }
        book.state.models.push(resident(&found, self.terms.keep_alive));
        book.known.push(found);
        book.guests.push(None);
        Ok(book.known.len() - 1)
    }

    /// Whether the model at place `i` has this name.
    pub fn is_at(&self, i: usize, name: &str) -> bool {
        is_name_of(&self.book().known[i].name, name)
    }

    /// The places of those that may be meant where no name is given, in order.
    pub fn places(&self, only_reads: bool) -> Vec<usize> {
        let book = self.book();
        (0..book.known.len()).filter(|&i| book.known[i].only_reads == only_reads).collect()
    }

    /// What `get` finds in the list of models once that of place `i` is hot. May take long.
    ///
    /// # Errors
    /// [`Refusal::Memory`] when there is no room for it, [`Refusal::Busy`] when too many wait; those of loading and of `get`.
    pub fn take<T>(
        &self,
        i: usize,
        list: &dyn Fn(Models),
        phase: &watch::Receiver<Phase>,
        get: impl Fn() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.counts.n_asked.fetch_add(1, Relaxed);
        {
            let mut book = self.book();
            let now = book.state.now;
            book.state.models[i].uses.note(now);
            let passes = !self.holds.load(Relaxed) || book.state.models[i].is_pinned;
            if book.is_hot(i) && passes {
                self.counts.n_hits.fetch_add(1, Relaxed);
                return get();
            }
        }
        let _one = Waiting::new(&self.n_waiting)?;
        let _performing = self.performing.lock().unwrap_or_else(PoisonError::into_inner);
        let _holds = Raised(&self.holds);
        let (from, since) = (self.book().state.models[i].tier, Instant::now());
        let mut performed = Duration::ZERO;
        loop {
            {
                let mut book = self.book();
                if book.is_hot(i) {
                    match performed.is_zero() {
                        true => _ = self.counts.n_hits.fetch_add(1, Relaxed),
                        false => book.note_swap(from, performed),
                    }
                    return get();
                }
                self.look_at_budget(&mut book);
            }
            let actions = self.planned(i);
            match actions.first() {
                Some(Action::Refuse(refusal)) => {
                    self.counts.n_refused.fetch_add(1, Relaxed);
                    return Err(Refusal::Memory(refusal.told(&self.name(i))));
                }
                Some(Action::Wait) => {
                    self.holds.store(since.elapsed() >= self.terms.patience, Relaxed);
                    if *phase.borrow() >= Phase::Closing {
                        return Err(Refusal::Stopping);
                    }
                    if since.elapsed() > WAIT_MAX {
                        return Err(Refusal::Busy);
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                _ => {
                    let start = Instant::now();
                    for action in &actions {
                        if !self.perform(action, list)? {
                            break;
                        }
                    }
                    performed += start.elapsed();
                }
            }
        }
    }

    /// Time went by: models leave that were not asked for, or as the system is short of memory.
    pub fn tick(&self, list: &dyn Fn(Models)) {
        // Who performs a plan looks at everything itself.
        let Ok(_performing) = self.performing.try_lock() else { return };
        let actions = {
            let mut book = self.book();
            self.look_at_budget(&mut book);
            book.count_busy();
            let now = book.state.now;
            let stalls = Stalls::read(&self.terms.tree);
            let pressure = match (stalls, book.stalls) {
                (Some(stalls), Some((before, at))) => stalls.since(&before, now.saturating_sub(at)),
                _ => None,
            };
            book.stalls = stalls.map(|stalls| (stalls, now));
            let mut actions = plan(&book.state, Input::Tick);
            if let Some(pressure) = pressure {
                self.counts.n_pressures.fetch_add(1, Relaxed);
                let mut after = book.state.clone();
                actions.iter().for_each(|action| after.apply(action));
                actions.extend(plan(&after, Input::Pressure(pressure)));
            }
            actions
        };
        for action in actions {
            // What came to be busy stays until the next time; making room fails at nothing else.
            let _ = self.perform(&action, list);
        }
    }

    /// Has the model at place `i` leave memory, if nobody uses it and it may leave; whether it is gone now.
    pub fn stop(&self, i: usize, list: &dyn Fn(Models)) -> bool {
        let stays = || {
            let mut book = self.book();
            book.count_busy();
            !book.state.models[i].is_idle()
        };
        // Before it waits for somebody who waits for this very model. Who was just answered may hold it for a moment more.
        let since = Instant::now();
        while stays() {
            if since.elapsed() >= LOOKERS_GO {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _performing = self.performing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_loaded = self.book().state.models[i].is_loaded();
        !is_loaded || self.perform(&Action::Unmap { model: i }, list).unwrap_or(false)
    }

    /// How long the model at place `i` stays when it is not asked for.
    pub fn keep(&self, i: usize, keep_alive: Option<Duration>) {
        self.book().state.models[i].keep_alive = keep_alive;
    }

    /// Does it; `false` where that is not possible any more, and a new plan is needed.
    fn perform(&self, action: &Action, list: &dyn Fn(Models)) -> Result<bool, Refusal> {
        match *action {
            Action::DropPages { model } => {
                let Some(guest) = self.book().leave(model, action) else { return Ok(false) };
                guest.drop_pages();
                self.counts.n_drops.fetch_add(1, Relaxed);
            }
            Action::Rest { model } => {
                let Some(guest) = self.book().leave(model, action) else { return Ok(false) };
                guest.rest();
            }
            Action::Unmap { model } => {
                let guest = {
                    let mut book = self.book();
                    let Some(guest) = book.leave(model, action) else { return Ok(false) };
                    book.guests[model] = None;
                    // What one request said of its time is over.
                    book.state.models[model].keep_alive = self.terms.keep_alive;
                    list(book.models());
                    guest
                };
                guest.drop_pages();
                let since = Instant::now();
                while guest.n_in_use() > 0 && since.elapsed() < LOOKERS_GO {
                    std::thread::sleep(LOOK_EVERY);
                }
                drop(guest);
                give_back_freed();
                self.counts.n_unmaps.fetch_add(1, Relaxed);
            }
            Action::Load { model, offer } => {
                let (name, start) = (self.name(model), Instant::now());
                let loaded = self.terms.stock.load(&name, offer).map_err(|e| Refusal::from(&e))?;
                let guest = Guest::new(name, loaded)?;
                let mut book = self.book();
                // What came before comes back without.
                if let (Guest::Writer(served), true) = (&guest, book.state.models[model].retouch.is_zero()) {
                    served.prepare();
                }
                let packed = guest.packed_bytes();
                book.guests[model] = Some(guest);
                book.state.apply(action);
                book.state.models[model].ledger.note_packed(packed);
                book.state.models[model].reload = start.elapsed();
                list(book.models());
                self.counts.n_loads.fetch_add(1, Relaxed);
            }
            Action::Prefault { model } => {
                let Some(guest) = self.book().guests[model].clone() else { return Ok(false) };
                let start = Instant::now();
                guest.prefault();
                let mut book = self.book();
                book.state.models[model].retouch = start.elapsed();
                book.state.apply(action);
            }
            Action::Wait | Action::Refuse(_) => {}
        }
        Ok(true)
    }

    /// Bytes of the budget, those of the program without a model, and what is taken.
    pub fn sums(&self) -> [u64; 3] {
        let book = self.book();
        [book.state.budget, book.state.fixed, book.state.used()]
    }

    /// All models, in order.
    pub fn told(&self) -> Vec<Told> {
        let mut book = self.book();
        book.count_busy();
        let Book { state, known, .. } = &*book;
        let told = |(known, resident): (&Known, &Resident)| {
            let unused = state.now.saturating_sub(resident.uses.last());
            let left = resident.keep_alive.map(|keep| keep.saturating_sub(unused));
            Told { name: known.name.clone(), only_reads: known.only_reads, resident: resident.clone(), left }
        };
        known.iter().zip(&state.models).map(told).collect()
    }

    /// Of the last swaps from a tier the time that so much of them, from 0 to 1, did not exceed, and how many there were.
    pub fn swap_time(&self, from: Tier, part: f64) -> Option<(Duration, usize)> {
        let book = self.book();
        let mut times: Vec<Duration> =
            book.swaps.iter().filter(|(tier, _)| *tier == from).map(|(_, time)| *time).collect();
        times.sort_unstable();
        let i = (part * times.len() as f64).ceil() as usize;
        times.get(i.saturating_sub(1)).map(|time| (*time, times.len()))
    }
}

fn resident(known: &Known, keep_alive: Option<Duration>) -> Resident {
    let bytes = known.offers.first().map_or(0, Ledger::total);
    let mut resident =
        Resident::cold(known.offers.clone(), Duration::from_secs_f64(bytes as f64 / LOAD_RATE));
    (resident.is_pinned, resident.keep_alive) = (known.is_pinned, keep_alive);
    resident
}

impl Book {
    fn is_hot(&self, i: usize) -> bool {
        self.state.models[i].tier == Tier::Hot && !self.state.models[i].rests
    }

    fn count_busy(&mut self) {
        for (model, guest) in self.state.models.iter_mut().zip(&self.guests) {
            // Here and in the list.
            model.n_busy = guest.as_ref().map_or(0, |guest| guest.n_in_use().saturating_sub(1));
        }
    }

    /// The model at place `i`, if nobody uses it: noted as one to which `action` was done, so that nobody takes it any more.
    fn leave(&mut self, i: usize, action: &Action) -> Option<Guest> {
        self.count_busy();
        let guest = self.guests[i].clone().filter(|_| self.state.models[i].n_busy == 0)?;
        self.state.apply(action);
        Some(guest)
    }

    fn note_swap(&mut self, from: Tier, time: Duration) {
        if self.swaps.len() == SWAPS_MAX {
            self.swaps.pop_front();
        }
        self.swaps.push_back((from, time));
    }

    /// The list of what is loaded.
    fn models(&self) -> Models {
        let mut models = Models::default();
        for guest in self.guests.iter().flatten() {
            match guest {
                Guest::Writer(served) => models.writers.push(served.clone()),
                Guest::Reader(reader) => models.readers.push(reader.clone()),
            }
        }
        models
    }

    fn absent(&self, name: &str) -> Refusal {
        let names: Vec<&str> = self.known.iter().map(|known| &*known.name).collect();
        let names = names.join("\", \"");
        Refusal::NotFound(format!("no model {name:?} here; this server has \"{names}\""))
    }
}

impl Guest {
    fn new(name: String, model: Model) -> Result<Self, Refusal> {
        Ok(match model {
            Model::Writer(engine) => Self::Writer(Arc::new(Served::new(name, engine)?)),
            Model::Reader(embedder) => Self::Reader(Arc::new(Reader::new(name, embedder))),
        })
    }

    /// How many have it beside this one.
    fn n_in_use(&self) -> usize {
        match self {
            Self::Writer(served) => served.n_answers() + Arc::strong_count(served) - 1,
            Self::Reader(reader) => Arc::strong_count(reader) - 1,
        }
    }

    /// Bytes of weights that lie packed in memory, and not in a file.
    fn packed_bytes(&self) -> u64 {
        match self {
            Self::Writer(served) => served.loaded().packed_bytes(),
            Self::Reader(_) => 0,
        }
    }

    fn drop_pages(&self) {
        match self {
            Self::Writer(served) => served.loaded().file.drop_pages(),
            Self::Reader(reader) => reader.embedder().file().drop_pages(),
        }
    }

    fn prefault(&self) {
        match self {
            Self::Writer(served) => served.loaded().prefault(),
            Self::Reader(reader) => reader.embedder().prefault(),
        }
    }

    fn rest(&self) {
        if let Self::Writer(served) = self {
            served.engine.rest();
        }
        match self {
            Self::Writer(served) => served.reader.embedder().rest(),
            Self::Reader(reader) => reader.embedder().rest(),
        }
        give_back_freed();
    }
}

/// Somebody on the way to a model that is not hot, who is counted.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(n: &'a AtomicUsize) -> Result<Self, Refusal> {
        let one_more = |n: usize| (n < WAITING_MAX).then_some(n + 1);
        n.fetch_update(Relaxed, Relaxed, one_more).map(|_| Self(n)).map_err(|_| Refusal::Busy)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A flag that is down when it goes.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}
