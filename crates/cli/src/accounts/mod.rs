//! The server's accounts: one meter for all it does, rows of the ledger, and the governor.
//!
//! A thread of its own hears when work for a request begins and ends. While there is any it reads the sensors every second, shares
//! out what they say ([`shares`]), and makes the governor's plan anew, which engines follow from their next step on; while there is
//! none it sleeps and nothing is read, so what the machine takes when idle is nobody's. When work ends, what it took is told first
//! and written to the ledger then. Work that is given up without being closed ends with the next look at it.

mod shares;

use std::fmt::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use ingle_engine::governor::{Plan, choose};
use ingle_engine::meter::{Joules, Mark, Meter};
use ingle_engine::model_file::Loaded;
use ingle_engine::run::Allowance;
use ingle_route::ledger::{Book, LedgerFile, Place, Row, Tally, page, parse_since};
use ingle_serve::{Then, Work};

use self::shares::{Piece, Taken};
use crate::env::{Env, say};
use crate::exit::Failure;
use crate::metering::{EVERY, Governed, book, energy, fingerprint, ledger_path, millis, now_ms, open_meter};
use crate::zone;

/// What the ledger calls who asks the server without a key that has a name.
pub const SERVER: &str = "ingle serve";

/// The accounts of a server.
pub struct Accounts {
    to: Sender<Message>,
    seen: Arc<Mutex<Seen>>,
    allowance: Arc<Allowance>,
    file: LedgerFile,
    book: Book,
    /// Whether the user lets a smaller model answer than the one that is asked.
    may_be_smaller: bool,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("file", &self.file.path).finish_non_exhaustive()
    }
}

/// What the thread is told.
enum Message {
    Open { work: Arc<Work>, by: Option<String>, writer: Option<Arc<Loaded>>, at: Instant },
    Close { work: Arc<Work>, tokens: [u64; 2], at: Instant, then: Then },
}

/// What others may see of it.
#[derive(Debug, Default)]
struct Seen {
    /// By source and method.
    totals: Vec<(String, Joules)>,
    plan: Option<Plan>,
}

/// Work that is not over.
struct Open {
    work: Arc<Work>,
    by: Option<String>,
    writer: Option<Arc<Loaded>>,
    at: Instant,
    /// The engine's time that was shared out already.
    shared_ns: u64,
    taken: Taken,
    held_back: Vec<&'static str>,
}

/// What the thread has.
struct Keeper {
    from: Receiver<Message>,
    governed: Governed,
    meter: Meter,
    allowance: Arc<Allowance>,
    n_threads: usize,
    open: Vec<Open>,
    /// Since when nothing was shared out, and since when nothing was planned.
    marks: [Mark; 2],
    ledger: Option<LedgerFile>,
    book: Book,
    models: Vec<(Weak<Loaded>, String)>,
    seen: Arc<Mutex<Seen>>,
}

impl Accounts {
    /// Accounts of models that compute on `n_threads` threads, up to `n_answers` answers at a time, as the settings say; whether a smaller
    /// model than the one that is asked may answer, the user says.
    pub fn new(env: &Env, n_threads: usize, n_answers: usize, may_be_smaller: bool) -> Result<Self, Failure> {
        let governed = Governed::new(false, n_answers, env)?;
        let (allowance, seen) = (Arc::<Allowance>::default(), Arc::<Mutex<Seen>>::default());
        let mut meter = open_meter(&governed, n_threads, env);
        let mark = meter.mark(governed.tree(), governed.now());
        let (file, book) = (LedgerFile::new(ledger_path(env)), book(env)?);
        let (to, from) = channel();
        let keeper = Keeper {
            from,
            governed,
            meter,
            allowance: allowance.clone(),
            n_threads,
            open: Vec::new(),
            marks: [mark.clone(), mark],
            ledger: env.settings.is_on("ledger").then(|| file.clone()),
            book: book.clone(),
            models: Vec::new(),
            seen: seen.clone(),
        };
        let thread = std::thread::Builder::new().name("ingle-accounts".into());
        thread.spawn(move || keeper.run()).map_err(|e| Failure::failed(format!("a thread: {e}")))?;
        Ok(Self { to, seen, allowance, file, book, may_be_smaller })
    }

    /// What engines may do.
    pub fn allowance(&self) -> &Arc<Allowance> {
        &self.allowance
    }
}

impl ingle_serve::Accounts for Accounts {
    fn open(&self, by: Option<&str>, writer: Option<&Arc<Loaded>>) -> Arc<Work> {
        let work = Arc::<Work>::default();
        let (by, writer) = (by.map(str::to_owned), writer.cloned());
        // Without the thread there are no accounts, and answers go on.
        let _ = self.to.send(Message::Open { work: work.clone(), by, writer, at: Instant::now() });
        work
    }

    fn close(&self, work: &Arc<Work>, tokens: [u64; 2], then: Then) {
        let closing = Message::Close { work: work.clone(), tokens, at: Instant::now(), then };
        if let Err(std::sync::mpsc::SendError(Message::Close { then, .. })) = self.to.send(closing) {
            then(Row::new(now_ms(), Place::Here), &[]);
        }
    }

    fn choose(&self, n_bytes: &[u64]) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.plan.filter(|_| self.may_be_smaller).map_or(0, |plan| choose(&plan, n_bytes))
    }

    fn metrics(&self, to: &mut String) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a text does not fail.
        let mut head = |name: &str, kind: &str, about: &str| {
            let _ = writeln!(to, "# HELP {name} {about}\n# TYPE {name} {kind}");
        };
        head("ingle_energy_joules_total", "counter", "Energy while answers were computed, with its bounds");
        for (source, joules) in &seen.totals {
            let bounds = [("value", joules.value_uj), ("low", joules.low_uj), ("high", joules.high_uj)];
            for (bound, uj) in bounds {
                let (method, scope) = (joules.method.name(), joules.scope.name());
                let (whole, rest) = (uj / 1_000_000, uj % 1_000_000);
                let _ = writeln!(
                    to,
                    "ingle_energy_joules_total{{source={source:?},method={method:?},scope={scope:?},bound={bound:?}}} {whole}.{rest:06}"
                );
            }
        }
        let Some(plan) = seen.plan else { return };
        let allowed = &self.allowance;
        let rows: [(&str, &str, &str, f64); 5] = [
            ("ingle_governor_threads", "gauge", "Threads that the governor's plan has", plan.threads as f64),
            (
                "ingle_governor_share",
                "gauge",
                "Part of all threads' time that answers may take",
                allowed.permille() as f64 / 1e3,
            ),
            ("ingle_governor_answers_max", "gauge", "Answers at a time in the plan", plan.batch_max as f64),
            ("ingle_governor_drafts_max", "gauge", "Guesses at a time in the plan", plan.drafts_max as f64),
            (
                "ingle_rested_seconds_total",
                "counter",
                "Time rested to hold the plan",
                allowed.rested().as_secs_f64(),
            ),
        ];
        for (name, kind, about, value) in rows {
            let _ = writeln!(to, "# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}");
        }
        let _ = writeln!(to, "# HELP ingle_held_back What holds answers back\n# TYPE ingle_held_back gauge");
        for reason in plan.reasons() {
            let _ = writeln!(to, "ingle_held_back{{reason={reason:?}}} 1");
        }
    }

    fn page(&self, since: Option<&str>) -> Result<String, String> {
        let since = since.map(|since| parse_since(since, now_ms(), zone::ahead_ms)).transpose()?;
        let mut tally = Tally::new(&self.book, since, zone::ahead_ms);
        let faults = self.file.read(|row| tally.add(&row)).map_err(|e| e.to_string())?;
        Ok(page(&tally.finish(&faults)))
    }
}

impl Open {
    /// Whether anything was done for it; work that waited and was given up is nobody's.
    fn was_done(&self, tokens: [u64; 2]) -> bool {
        self.work.nanoseconds() > 0 || tokens[1] > 0
    }
}

impl Keeper {
    /// Until nobody can tell anything any more.
    fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            let told = match self.open.is_empty() {
                true => self.from.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.from.recv_timeout(EVERY.saturating_sub(looked.elapsed())),
            };
            match told {
                Ok(Message::Open { work, by, writer, at }) => {
                    if self.open.is_empty() {
                        looked = Instant::now();
                        self.wake();
                    }
                    let held_back = self.governed.plan().map_or_else(Vec::new, |plan| plan.reasons());
                    let taken = Taken::default();
                    self.open.push(Open { work, by, writer, at, shared_ns: 0, taken, held_back });
                }
                Ok(Message::Close { work, tokens, at, then }) => self.close(&work, tokens, at, then),
                Err(RecvTimeoutError::Timeout) => {
                    looked = Instant::now();
                    self.look();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// There was nothing to do, and now there is.
    fn wake(&mut self) {
        let mark = self.meter.mark(self.governed.tree(), self.governed.now());
        self.marks = [mark.clone(), mark];
        self.plan(None, false);
    }

    /// It is time to look at the sensors, and at who is still there.
    fn look(&mut self) {
        self.share(false);
        let (tree, now) = (self.governed.tree(), self.governed.now());
        let readings = self.meter.since(&self.marks[1], tree, now);
        self.marks[1] = self.meter.mark(tree, now);
        self.plan(readings.first().and_then(|first| first.joules.power_uw(first.time)), true);
        let given_up = |open: &Open| Arc::strong_count(&open.work) == 1;
        while let Some(at) = self.open.iter().position(given_up) {
            let was_done = self.open[at].was_done([0, 0]);
            if was_done {
                self.share(self.open.len() == 1);
            }
            let open = self.open.swap_remove(at);
            if was_done {
                let row = self.row(&open, [0, 0], Instant::now());
                self.keep(open, row);
            }
        }
    }

    fn plan(&mut self, power_uw: Option<u64>, is_working: bool) {
        let Some(plan) = self.governed.plan_again(power_uw, is_working) else { return };
        self.allowance.set(&plan, self.n_threads);
        for reason in plan.reasons() {
            for open in self.open.iter_mut().filter(|open| !open.held_back.contains(&reason)) {
                open.held_back.push(reason);
            }
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).plan = Some(plan);
    }

    /// Shares out what was measured since it was done last. Before any of the engine's time went anywhere it is left for later, unless it
    /// is the `last` chance.
    fn share(&mut self, last: bool) {
        let weights: Vec<u64> =
            self.open.iter().map(|open| open.work.nanoseconds().saturating_sub(open.shared_ns)).collect();
        if !last && weights.iter().all(|&weight| weight == 0) {
            return;
        }
        let (tree, now) = (self.governed.tree(), self.governed.now());
        let readings = self.meter.since(&self.marks[0], tree, now);
        let cpu = self.meter.cpu_since(&self.marks[0]);
        self.marks[0] = self.meter.mark(tree, now);
        let Some(piece) = Piece::of(&readings, cpu) else { return };
        for (open, weight) in self.open.iter_mut().zip(&weights) {
            open.shared_ns += weight;
        }
        piece.share(&weights, &mut self.open.iter_mut().map(|open| &mut open.taken).collect::<Vec<_>>());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.totals.iter_mut().find(|(source, _)| *source == piece.source);
        match known.map(|(_, total)| (total.plus(piece.best), total)) {
            Some((Ok(sum), total)) => *total = sum,
            _ => seen.totals.push((piece.source, piece.best)),
        }
    }

    fn close(&mut self, work: &Arc<Work>, tokens: [u64; 2], at: Instant, then: Then) {
        let Some(i) = self.open.iter().position(|open| Arc::ptr_eq(&open.work, work)) else {
            return then(Row::new(now_ms(), Place::Here), &[]);
        };
        let was_done = self.open[i].was_done(tokens);
        self.share(was_done && self.open.len() == 1);
        let open = self.open.swap_remove(i);
        let row = self.row(&open, tokens, at);
        then(row.clone(), &open.held_back);
        if was_done {
            self.keep(open, row);
        }
    }

    fn row(&self, open: &Open, [tokens_in, tokens_out]: [u64; 2], at: Instant) -> Row {
        let energy = open.taken.joules().map(|joules| energy(&joules));
        Row {
            by: Some(open.by.clone().unwrap_or_else(|| SERVER.to_owned())),
            tokens_in,
            tokens_out,
            wall_ms: millis(at.saturating_duration_since(open.at)),
            cpu_ms: open.taken.cpu.map(millis),
            energy,
            money: energy.and_then(|energy| self.book.electricity_money(&energy)),
            co2e: energy.and_then(|energy| self.book.carbon(&energy)),
            ..Row::new(now_ms(), Place::Here)
        }
    }

    /// Writes the row of work that was done; who waits for the answer knows it already.
    fn keep(&mut self, open: Open, row: Row) {
        if self.ledger.is_none() {
            return;
        }
        let row = Row { model: open.writer.map(|writer| self.model(&writer)), ..row };
        let Some(ledger) = &self.ledger else { return };
        if let Err(error) = ledger.append(&row) {
            say(format_args!("note: {error}; what answers take is not kept"));
            self.ledger = None;
        }
    }

    /// What the ledger calls a model.
    fn model(&mut self, loaded: &Arc<Loaded>) -> String {
        self.models.retain(|(known, _)| known.strong_count() > 0);
        let is_it = |known: &Weak<Loaded>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(loaded));
        if let Some((_, name)) = self.models.iter().find(|(known, _)| is_it(known)) {
            return name.clone();
        }
        let name = fingerprint(loaded);
        self.models.push((Arc::downgrade(loaded), name.clone()));
        name
    }
}
