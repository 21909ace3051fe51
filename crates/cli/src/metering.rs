//! What answers take, and how much they may: the meter and the governor of `engine` at work, the ledger's rows of `route`.
//!
//! While an answer comes, sensors are read and the plan is made anew every second. The pool's threads are as many as the first plan
//! had; what later plans take away of them is rested off between tokens. A row is written when the answer is there; that
//! it can't be written is said once and is no reason to fail.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use ingle_engine::governor::{Background, Plan, PowerLimit, Senses, Situation, plan};
use ingle_engine::kv_dir;
use ingle_engine::meter::{self, LoadModel, Mark, Meter, Moment, Reading};
use ingle_engine::model_file::Loaded;
use ingle_engine::sysfs::Tree;
use ingle_route::ledger::{Book, Energy, Interval, LedgerFile, Method, Place, Row, Scope};
use serde_json::{Value as Json, json};

use crate::env::{Env, Progress, say};
use crate::exit::Failure;

/// How often sensors are read and plans are made.
pub const EVERY: Duration = Duration::from_secs(1);
/// The longest sleep without a look at Ctrl-C.
const NAP: Duration = Duration::from_millis(50);

/// The ledger's newest file.
pub fn ledger_path(env: &Env) -> PathBuf {
    env.dirs.state.join("ledger.jsonl")
}

/// The user's prices, grid and cloud, where there is such a file.
pub fn book(env: &Env) -> Result<Book, Failure> {
    let path = env.dirs.config.join("ledger.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => Book::parse(&text).map_err(|said| Failure::usage(format!("{}: {said}", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Book::default()),
        Err(e) => Err(Failure::file(&path, &e)),
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, as rows have them.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the ledger calls a model: the beginning of the hash of what lies in its files.
pub fn fingerprint(loaded: &Loaded) -> String {
    let hash = kv_dir::fingerprint::of_model(loaded);
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A meter of work on `n_threads` threads, as the settings say.
pub fn open_meter(governed: &Governed, n_threads: usize, env: &Env) -> Meter {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let rated = match env.settings.text("rated-power").map(PowerLimit::parse) {
        Some(Ok(PowerLimit::Microwatts(uw))) => Some((uw as f64 / 1e6, cores)),
        _ => None,
    };
    Meter::open(&governed.tree, Vec::new(), LoadModel { rated, n_threads }, governed.now())
}

/// How much may be computed.
#[derive(Debug)]
pub struct Governed {
    tree: Tree,
    start: (Instant, SystemTime),
    limit: Option<PowerLimit>,
    is_background: bool,
    threads_max: usize,
    batch_max: usize,
    /// `None` where nothing is governed.
    plan: Option<Plan>,
}

impl Governed {
    /// Of up to `batch_max` answers at a time, as the settings say; returns when background work may begin.
    pub fn new(is_background: bool, batch_max: usize, env: &Env) -> Result<Self, Failure> {
        let limit =
            env.settings.text("power-limit").map(|text| PowerLimit::parse(text).map_err(Failure::usage));
        let limit = limit.transpose()?;
        let mut new = Self {
            tree: Tree::system(),
            start: (Instant::now(), SystemTime::now()),
            limit,
            is_background,
            threads_max: env.n_threads(),
            batch_max,
            plan: None,
        };
        if limit.is_some() || is_background || env.settings.is_on("governor") {
            new.make_plan(None, false);
            let mut progress = Progress::new(env);
            let mut told = "";
            while let Some(why) = new.waits() {
                progress.show(format_args!("waiting: {why}"));
                if !env.stderr_is_terminal && told != why {
                    say(format_args!("waiting: {why}"));
                    told = why;
                }
                nap(EVERY, &env.interrupted);
                if env.interrupted.load(Relaxed) {
                    progress.clear();
                    return Err(Failure::interrupted());
                }
                new.make_plan(None, false);
            }
        }
        Ok(new)
    }

    /// Threads to compute with.
    pub fn n_threads(&self) -> usize {
        self.plan.map_or(self.threads_max, |plan| plan.threads)
    }

    /// Whether guessing ahead is worth what it takes.
    pub fn may_guess(&self) -> bool {
        self.plan.is_none_or(|plan| plan.drafts_max > 0)
    }

    /// The system.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The plan, where anything is governed.
    pub fn plan(&self) -> Option<Plan> {
        self.plan
    }

    /// The plan made anew, where anything is governed.
    pub fn plan_again(&mut self, power_uw: Option<u64>, is_working: bool) -> Option<Plan> {
        self.plan?;
        self.make_plan(power_uw, is_working);
        self.plan
    }

    /// Now, as a meter wants it.
    pub fn now(&self) -> Moment {
        let awake = self.start.0.elapsed();
        let slept = self.start.1.elapsed().unwrap_or(awake).saturating_sub(awake);
        Moment { awake, slept }
    }

    fn make_plan(&mut self, power_uw: Option<u64>, is_working: bool) {
        self.plan = Some(plan(&Situation {
            now: self.start.0.elapsed(),
            threads_max: self.threads_max,
            batch_max: self.batch_max,
            senses: Senses::read(&self.tree),
            power_limit: self.limit,
            power_uw,
            is_working,
            before: self.plan,
        }));
    }

    /// Why background work has to wait, if it has to.
    fn waits(&self) -> Option<&'static str> {
        match self.plan?.background {
            Background::Wait(why) if self.is_background => Some(why),
            _ => None,
        }
    }

    /// How long `n_threads` have to rest after they were `busy`.
    fn rest(&self, busy: Duration, n_threads: usize) -> Duration {
        let Some(plan) = self.plan else { return Duration::ZERO };
        // Of all threads' time as the plan has it, in that of the threads there are.
        let share = plan.threads * usize::from(plan.duty_permille) / n_threads.max(1);
        let duty_permille = share.clamp(1, 1000) as u16;
        Plan { duty_permille, ..plan }.rest_after(busy)
    }
}

/// Sleeps, but not on when `interrupted` is raised.
fn nap(time: Duration, interrupted: &AtomicBool) {
    let start = Instant::now();
    while !interrupted.load(Relaxed) {
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(NAP));
    }
}

/// Meters answers and writes their rows.
#[derive(Debug)]
pub struct Metering {
    governed: Governed,
    meter: Meter,
    n_threads: usize,
    /// Since the plan, and when sensors are to be read again.
    planned: Mark,
    read_at: Duration,
    /// When the last rest was over.
    rested: Instant,
    held_back: Vec<&'static str>,
    /// Until it can't be written.
    ledger: Option<LedgerFile>,
    /// What is answered now is part of a larger answer.
    in_parts: bool,
    book: Book,
    model: String,
}

impl Metering {
    /// Of answers by `loaded`.
    pub fn new(env: &Env, loaded: &Loaded, governed: Governed) -> Result<Self, Failure> {
        let n_threads = loaded.n_threads();
        let mut meter = open_meter(&governed, n_threads, env);
        let now = governed.now();
        let planned = meter.mark(&governed.tree, now);
        let is_kept = env.settings.is_on("ledger");
        Ok(Self {
            meter,
            n_threads,
            planned,
            read_at: now.awake + EVERY,
            rested: Instant::now(),
            held_back: Vec::new(),
            ledger: is_kept.then(|| LedgerFile::new(ledger_path(env))),
            in_parts: false,
            book: if is_kept { book(env)? } else { Book::default() },
            model: if is_kept { fingerprint(loaded) } else { String::new() },
            governed,
        })
    }

    /// An answer begins.
    pub fn begin(&mut self) -> Mark {
        self.rested = Instant::now();
        self.held_back.clear();
        let now = self.governed.now();
        self.planned = self.meter.mark(&self.governed.tree, now);
        self.read_at = now.awake + EVERY;
        self.planned.clone()
    }

    /// An answer of many parts begins: until [`Self::end_parts`] none of them has a row of its own.
    pub fn begin_parts(&mut self) -> Mark {
        self.in_parts = true;
        self.begin()
    }

    /// All parts are there: what they took together, which is one row.
    pub fn end_parts(&mut self, begun: &Mark, wall: Duration, tokens: [usize; 2]) -> Took {
        self.in_parts = false;
        self.end(begun, wall, tokens)
    }

    /// A step of the model is done: reads sensors when it is time, and rests as the plan says.
    pub fn step(&mut self, interrupted: &AtomicBool) {
        let Self { governed, meter, .. } = self;
        let now = governed.now();
        if now.awake >= self.read_at {
            self.read_at = now.awake + EVERY;
            let readings = meter.since(&self.planned, &governed.tree, now);
            if governed.plan.is_some() {
                let power_uw = readings.first().and_then(|first| first.joules.power_uw(first.time));
                governed.make_plan(power_uw, true);
                self.planned = meter.mark(&governed.tree, now);
            }
        }
        let Some(plan) = governed.plan else { return };
        for reason in plan.reasons() {
            if !self.held_back.contains(&reason) {
                self.held_back.push(reason);
            }
        }
        while governed.waits().is_some() && !interrupted.load(Relaxed) {
            nap(EVERY, interrupted);
            governed.make_plan(None, false);
        }
        nap(governed.rest(self.rested.elapsed(), self.n_threads), interrupted);
        self.rested = Instant::now();
    }

    /// The answer of tokens in and out is there: what it took.
    pub fn end(&mut self, begun: &Mark, wall: Duration, [n_in, n_out]: [usize; 2]) -> Took {
        let now = self.governed.now();
        let readings = self.meter.since(begun, &self.governed.tree, now);
        let cpu = self.meter.cpu_since(begun);
        let energy = readings.first().map(|reading| energy(&reading.joules));
        if let Some(ledger) = self.ledger.as_ref().filter(|_| !self.in_parts && n_in > 0) {
            let row = Row {
                model: Some(self.model.clone()),
                tokens_in: n_in as u64,
                tokens_out: n_out as u64,
                wall_ms: millis(wall),
                cpu_ms: cpu.map(millis),
                energy,
                money: energy.and_then(|energy| self.book.electricity_money(&energy)),
                co2e: energy.and_then(|energy| self.book.carbon(&energy)),
                ..Row::new(now_ms(), Place::Here)
            };
            if let Err(error) = ledger.append(&row) {
                say(format_args!("note: {error}; what answers take is not kept"));
                self.ledger = None;
            }
        }
        let plan = self.governed.plan;
        Took {
            readings,
            cpu,
            refused: self.meter.refused().to_vec(),
            plan: plan.map(|plan| (plan, std::mem::take(&mut self.held_back))),
        }
    }
}

/// What an answer took.
#[derive(Debug, Clone)]
pub struct Took {
    readings: Vec<Reading>,
    cpu: Option<Duration>,
    refused: Vec<String>,
    plan: Option<(Plan, Vec<&'static str>)>,
}

impl Took {
    /// The lines of `--stats`.
    pub fn say(&self) {
        for Reading { source, joules, missed, gap, .. } in &self.readings {
            say(format_args!("energy               {joules}, {source}"));
            if let Some(gap) = gap {
                say(format_args!(
                    "                     {:.1} s of it are filled in: {gap}",
                    missed.as_secs_f64()
                ));
            }
        }
        for refused in &self.refused {
            say(format_args!("                     not measured by {refused}"));
        }
        if let Some(cpu) = self.cpu {
            say(format_args!("CPU time             {:.2} s", cpu.as_secs_f64()));
        }
        if let Some((plan, reasons)) = &self.plan {
            let duty = f64::from(plan.duty_permille) / 10.0;
            let why = if reasons.is_empty() { "nothing".to_owned() } else { reasons.join(", ") };
            let threads = if plan.threads == 1 { "thread" } else { "threads" };
            let n = plan.threads;
            say(format_args!("held back by         {why}; in the end {n} {threads}, {duty} % of the time"));
        }
    }

    /// For `--json`.
    pub fn to_json(&self) -> Json {
        let reading = |reading: &Reading| json!({ "source": reading.source, "energy": energy(&reading.joules), "missed_ms": reading.missed.as_millis() as u64 });
        let plan = self.plan.as_ref().map(|(plan, reasons)| {
            json!({ "threads": plan.threads, "duty_permille": plan.duty_permille, "held_back_by": reasons })
        });
        json!({
            "cpu_ms": self.cpu.map(|cpu| cpu.as_millis() as u64),
            "energy": self.readings.iter().map(reading).collect::<Vec<_>>(),
            "refused": self.refused,
            "plan": plan,
        })
    }
}

/// As the ledger has it.
pub fn energy(joules: &meter::Joules) -> Energy {
    Energy {
        uj: Interval { low: joules.low_uj, value: joules.value_uj, high: joules.high_uj },
        method: match joules.method {
            meter::Method::Measured => Method::Measured,
            meter::Method::Modelled => Method::Modelled,
            meter::Method::Estimated => Method::Estimated,
        },
        scope: match joules.scope {
            meter::Scope::Package => Scope::Package,
            meter::Scope::Device => Scope::Device,
            meter::Scope::FullStack => Scope::FullStack,
        },
        idle_subtracted: joules.idle_subtracted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_engine::sysfs::parse_recording;

    fn governed(recording: &str, limit: Option<PowerLimit>, is_background: bool) -> Governed {
        let tree = parse_recording(recording).unwrap().remove(0).tree;
        let start = (Instant::now(), SystemTime::now());
        let mut new =
            Governed { tree, start, limit, is_background, threads_max: 8, batch_max: 1, plan: None };
        new.make_plan(None, false);
        new
    }

    #[test]
    fn background_work_waits_for_a_charger_and_other_work_does_not() {
        let unplugged = "@0\nsys/class/power_supply/AC/type Mains\nsys/class/power_supply/AC/online 0\n";
        assert_eq!(governed(unplugged, None, true).waits(), Some("the device is not charging"));
        assert_eq!(governed(unplugged, None, false).waits(), None);
        assert_eq!(governed(&unplugged.replace("online 0", "online 1"), None, true).waits(), None);
    }

    #[test]
    fn what_a_plan_takes_from_the_threads_there_are_is_rested_off() {
        let half = governed("@0\nproc/loadavg 0 0 0\n", Some(PowerLimit::Permille(500)), false);
        let busy = Duration::from_millis(300);
        assert_eq!((half.n_threads(), half.rest(busy, 4)), (4, Duration::ZERO));
        assert_eq!(half.rest(busy, 8), busy);
        assert_eq!(half.rest(busy, 2), Duration::ZERO);
    }

    #[test]
    fn a_nap_ends_when_it_is_over_or_somebody_interrupts() {
        let start = Instant::now();
        nap(Duration::from_millis(1), &AtomicBool::new(false));
        nap(Duration::from_secs(3600), &AtomicBool::new(true));
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
