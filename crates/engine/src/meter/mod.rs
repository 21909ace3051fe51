//! What work took: joules from the sensors there are, or from a model where there are none.
//!
//! [`SOURCES`] is the shelf of what Linux shows; an embedder adds its own [`EnergySource`], which is how the monitors of
//! Android (power rails, the battery's counters) and of macOS come in. A [`Meter`] reads them all now and then, adds up
//! what each counted and says for any piece of time what it took: [`Meter::since`] gives a [`Reading`] from every source that
//! covered it, the best first, and last what a [`LoadModel`] makes of the process's CPU time. So where nothing can be
//! measured there is still an amount, which says MODELLED and has wide bounds.
//!
//! Counters wrap, are reset over sleep, run backwards when a gauge thinks again, and a charger changes what a battery's
//! power means. A step that can't be trusted is a [`Gap`]: its time is filled at the mean power of the rest, between
//! nothing and twice that, and the amount says ESTIMATED.
//!
//! Left out: perf's energy events, which need a system call that no safe library of ours makes, and say what powercap says;
//! zones inside the package (they are part of it) and of the memory and the platform, so that a package is the same everywhere.
//! No counter tells processes apart: what others did meanwhile is in the amount; [`Joules::split`] shares it out
//! among those who are known.

mod battery;
mod counter;
mod hwmon;
mod joules;
mod load;
mod powercap;

use std::fmt;
use std::time::Duration;

use crate::sysfs::Tree;
pub(crate) use battery::is_ours as battery_is_ours;
pub use counter::{Counter, Span};
use joules::scaled;
pub use joules::{Joules, Method, Mixed, Scope};
pub use load::{CpuTime, LoadModel, cpu_time};

/// What time it is to a meter. Clocks of this kind begin anywhere and only go forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// A clock that stands while the system sleeps.
    pub awake: Duration,
    /// How much longer a clock ran that does not.
    pub slept: Duration,
}

/// Time between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elapsed {
    /// Without sleep.
    pub awake: Duration,
    /// Asleep. Clocks that are read one after the other differ by less than [`SLEPT_LEAST`]; that is no sleep.
    pub slept: Duration,
}

/// The least difference of the two clocks that is taken for sleep.
pub const SLEPT_LEAST: Duration = Duration::from_secs(1);

impl Moment {
    /// The time from `before` to this.
    pub fn since(&self, before: Self) -> Elapsed {
        let slept = self.slept.saturating_sub(before.slept);
        let slept = if slept < SLEPT_LEAST { Duration::ZERO } else { slept };
        Elapsed { awake: self.awake.saturating_sub(before.awake), slept }
    }
}

/// Why a step of a source says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// A file could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// The counter went back and has no range to wrap at.
    #[error("the counter fell from {from} to {to} uJ")]
    Fell {
        /// Microjoules before.
        from: u64,
        /// Microjoules after.
        to: u64,
    },
    /// More power than the thing can take: the counter was reset.
    #[error("{uj} uJ in {awake:?} is more than {power_max_uw} uW, expected of a counter that was not reset")]
    Implausible {
        /// What the counter would say.
        uj: u64,
        /// In this time.
        awake: Duration,
        /// The most power there can be.
        power_max_uw: u64,
    },
    /// So long that the counter may have wrapped more than once.
    #[error("{0:?} without a reading: the counter may have wrapped more than once")]
    TooLong(Duration),
    /// The battery was charged, or nothing was drawn from it, at one of the two ends.
    #[error("the battery was not discharging all the time")]
    NotDischarging,
    /// The battery's energy rose while it discharged, so that its gauge had a new opinion.
    #[error("the battery's energy rose while it discharged")]
    Rose,
    /// The system slept, and what that took is in the step.
    #[error("the system slept for {0:?}")]
    Slept(Duration),
}

/// Something that knows how much energy was used.
pub trait EnergySource: Send {
    /// What it is, for people: `powercap: package-0, package-1`.
    fn name(&self) -> &str;
    /// Of what it counts the energy.
    fn scope(&self) -> Scope;
    /// How far off it may be, in thousandths: an assumption, stated with each source.
    fn error_permille(&self) -> u64;
    /// The step in which it tells energy, in microjoules: a reading is at most so far off on top of that, however long it is.
    fn resolution_uj(&self) -> u64 {
        0
    }
    /// What was used from the last call to this one. The first call begins and its answer is not used. A source that
    /// does not read files needs no `tree`.
    ///
    /// # Errors
    /// Why nothing can be said of this step; the next one begins here.
    fn advance(&mut self, tree: &Tree, elapsed: Elapsed) -> Result<Span, Gap>;
}

/// A kind of source that a Linux system may have.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Where it reads, one line.
    pub about: &'static str,
    /// Those that `tree` has, or why those that it has can't be used.
    pub find: fn(&Tree) -> Result<Vec<Box<dyn EnergySource>>, String>,
}

/// The shelf of sources, those that speak of the processor alone first.
pub static SOURCES: &[Kind] = &[powercap::KIND, hwmon::KIND, battery::KIND];

/// Counts energy and CPU time.
pub struct Meter {
    sources: Vec<Metered>,
    refused: Vec<String>,
    model: LoadModel,
    last: Moment,
    cpu: Option<CpuTime>,
}

struct Metered {
    source: Box<dyn EnergySource>,
    total: Totals,
    last_gap: Option<Gap>,
}

/// What a source counted since the meter began.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    span: Span,
    covered: Duration,
    missed: Duration,
}

/// The beginning of a piece of time.
#[derive(Debug, Clone)]
pub struct Mark {
    at: Moment,
    totals: Vec<Totals>,
    cpu: Option<CpuTime>,
}

/// What one source says of a piece of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Which.
    pub source: String,
    /// How much.
    pub joules: Joules,
    /// Of how long: awake.
    pub time: Duration,
    /// Of which this had to be filled.
    pub missed: Duration,
    /// Why, the last time.
    pub gap: Option<Gap>,
}

impl Meter {
    /// A meter over what `tree` has, and an embedder's `own` sources before it, that begins `now`.
    pub fn open(tree: &Tree, own: Vec<Box<dyn EnergySource>>, model: LoadModel, now: Moment) -> Self {
        let (mut sources, mut refused) = (own, Vec::new());
        for kind in SOURCES {
            match (kind.find)(tree) {
                Ok(found) => sources.extend(found),
                Err(why) => refused.push(format!("{}: {why}", kind.name)),
            }
        }
        for source in &mut sources {
            // The first reading has nothing before it.
            let _ = source.advance(tree, Elapsed::default());
        }
        let metered = |source| Metered { source, total: Totals::default(), last_gap: None };
        let sources = sources.into_iter().map(metered).collect();
        Self { sources, refused, model, last: now, cpu: cpu_time(tree) }
    }

    /// What the system has but does not let us use, a sentence each.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// The names of the sources, the best first.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|metered| metered.source.name())
    }

    /// Reads everything. Power sensors know nothing of the time between two calls, and counters wrap: every second or so is
    /// right for the former, and once a minute is enough for the latter.
    pub fn advance(&mut self, tree: &Tree, now: Moment) {
        let elapsed = now.since(self.last);
        self.last = now;
        if elapsed == Elapsed::default() {
            return;
        }
        for Metered { source, total, last_gap } in &mut self.sources {
            match source.advance(tree, elapsed) {
                Ok(span) => {
                    total.span = total.span.plus(span);
                    total.covered += elapsed.awake;
                }
                Err(gap) => {
                    total.missed += elapsed.awake;
                    *last_gap = Some(gap);
                }
            }
        }
        self.cpu = cpu_time(tree);
    }

    /// A piece of time begins.
    pub fn mark(&mut self, tree: &Tree, now: Moment) -> Mark {
        self.advance(tree, now);
        Mark { at: now, totals: self.sources.iter().map(|m| m.total).collect(), cpu: self.cpu }
    }

    /// CPU time of this process since `mark`, as far as the meter has read; `None` where the system does not say.
    pub fn cpu_since(&self, mark: &Mark) -> Option<Duration> {
        Some(self.cpu?.0.saturating_sub(mark.cpu?.0))
    }

    /// What was used since `mark`, as each source sees it, the best first; the model's is the last.
    pub fn since(&mut self, mark: &Mark, tree: &Tree, now: Moment) -> Vec<Reading> {
        self.advance(tree, now);
        let of = |(metered, before): (&Metered, &Totals)| metered.since(before);
        let mut readings: Vec<Reading> = self.sources.iter().zip(&mark.totals).filter_map(of).collect();
        let time = now.since(mark.at).awake;
        readings.push(Reading {
            source: self.model.name(),
            joules: self.model.joules(self.cpu_since(mark), time),
            time,
            missed: Duration::ZERO,
            gap: None,
        });
        readings
    }
}

impl Metered {
    /// What was counted since `before`; `None` where nothing was.
    fn since(&self, before: &Totals) -> Option<Reading> {
        let Totals { span, covered, missed } = self.total;
        let (covered, missed) = (covered - before.covered, missed - before.missed);
        if covered.is_zero() {
            return None;
        }
        let span = span.less(before.span);
        let permille = self.source.error_permille();
        let mut joules = Joules::within(span.value_uj, permille, Method::Measured, self.source.scope());
        let step = self.source.resolution_uj();
        let [low_off, high_off] =
            [span.low_uj, span.high_uj].map(|uj| scaled(uj, permille, 1000).saturating_add(step));
        joules.low_uj = span.low_uj.saturating_sub(low_off);
        joules.high_uj = span.high_uj.saturating_add(high_off);
        if !missed.is_zero() {
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let fill = scaled(span.value_uj, micros(missed), micros(covered));
            joules.value_uj = joules.value_uj.saturating_add(fill);
            joules.high_uj = joules.high_uj.saturating_add(fill.saturating_mul(2));
            joules.method = Method::Estimated;
        }
        let gap = self.last_gap.clone().filter(|_| !missed.is_zero());
        Some(Reading { source: self.source.name().to_owned(), joules, time: covered + missed, missed, gap })
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.sources().collect();
        f.debug_struct("Meter")
            .field("sources", &names)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// The sentence about a file that `error` kept from us.
fn unreadable(path: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("/{path}: permission denied; an administrator can let a group read it")
        }
        _ => format!("/{path}: {error}"),
    }
}
