//! How much work there may be: threads, guesses, batch, which model and whether background work may run, by heat, battery, power
//! mode, load and the user's power limit.
//!
//! [`plan`] is a pure function of a [`Situation`], which holds the plan before it; [`Senses::read`] makes most of a situation of what
//! Linux shows. A caller plans every second or so and performs what it can: threads when a model is loaded, duty by
//! resting between tokens, and the rest with the next request.
//!
//! Nothing flaps: a level is left at another value than it is entered at, and only one step at a time and
//! [`EASE_AFTER`] after the last change, and twice as long whenever that proves to have been too early; what protects comes at
//! once. The power limit is held by measured power, with a band in which nothing changes.
//!
//! Left out: clocks and voltages, which are the system's, and any promise for the first second under a limit in watts, when
//! nothing has been measured yet.

mod choice;
mod limit;
mod senses;

use std::time::Duration;

use crate::spec::DRAFTS_MAX;
pub use choice::choose;
pub use limit::{PowerLimit, Share};
pub use senses::{Battery, Heat, Load, Senses};

/// How long a level stays before it is eased.
pub const EASE_AFTER: Duration = Duration::from_secs(20);
/// The same where easing was too early again and again.
pub const EASE_AFTER_MOST: Duration = Duration::from_secs(320);
/// Easing was too early if the worse level is back within so many times what was waited for it.
const TOO_EARLY: u32 = 10;

/// What a plan is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// A clock that only goes forward.
    pub now: Duration,
    /// The most threads there may be.
    pub threads_max: usize,
    /// The most answers at a time.
    pub batch_max: usize,
    /// What the system shows.
    pub senses: Senses,
    /// The user's limit.
    pub power_limit: Option<PowerLimit>,
    /// The mean power since the plan before, if work ran under it, in microwatts.
    pub power_uw: Option<u64>,
    /// Whether work ran under the plan before: its threads are in the system's load.
    pub is_working: bool,
    /// The plan before.
    pub before: Option<Plan>,
}

/// How near the first thing that throttles is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeatLevel {
    /// Far.
    #[default]
    Cool,
    /// Near.
    Warm,
    /// Nearly there.
    Hot,
    /// It throttles, or soon switches off.
    Critical,
}

/// What is left of a battery that discharges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChargeLevel {
    /// Enough, or there is a charger or no battery.
    #[default]
    Good,
    /// 15 % or less.
    Low,
    /// 5 % or less.
    Empty,
}

/// A level and since when it is so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held<L> {
    /// The level.
    pub level: L,
    /// When it became so.
    pub since: Duration,
    /// How long it stays before it is eased: longer each time that easing proved to be too early.
    pub hold: Duration,
    /// Whether it became so by easing.
    pub was_eased: bool,
}

/// Whether work that nobody waits for may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Yes.
    Go,
    /// Not before this changes.
    Wait(&'static str),
}

/// Which model to take where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelHint {
    /// The one that was asked for.
    AsAsked,
    /// A smaller one.
    Smaller,
}

/// How much work there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Threads that compute.
    pub threads: usize,
    /// Of the time, how much they may: the rest is rest.
    pub duty_permille: u16,
    /// The most guesses at a time; 0: guess nothing.
    pub drafts_max: usize,
    /// The most answers at a time.
    pub batch_max: usize,
    /// Which model.
    pub model: ModelHint,
    /// Whether background work may run.
    pub background: Background,
    /// Heat.
    pub heat: Held<HeatLevel>,
    /// Battery.
    pub charge: ChargeLevel,
    /// Whether the system is to save power.
    pub saves_power: bool,
    /// Whether others need the processor.
    pub is_crowded: Held<bool>,
    /// Whether memory is short.
    pub memory_is_short: Held<bool>,
    /// What the power limit leaves; `None` without one.
    pub share: Option<Share>,
}

impl Plan {
    /// How much of all threads this is, in thousandths.
    pub fn share_permille(&self, threads_max: usize) -> u32 {
        let all = u32::try_from(threads_max.max(1)).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.threads).unwrap_or(u32::MAX);
        threads.saturating_mul(self.duty_permille.into()) / all
    }

    /// How long to rest after `busy` work.
    pub fn rest_after(&self, busy: Duration) -> Duration {
        let duty = u32::from(self.duty_permille.clamp(1, 1000));
        busy.saturating_mul(1000 - duty) / duty
    }

    /// What holds the work back, for people; nothing where nothing does.
    pub fn reasons(&self) -> Vec<&'static str> {
        let heat = match self.heat.level {
            HeatLevel::Cool => None,
            HeatLevel::Warm => Some("warm"),
            HeatLevel::Hot => Some("hot"),
            HeatLevel::Critical => Some("too hot"),
        };
        let charge = match self.charge {
            ChargeLevel::Good => None,
            ChargeLevel::Low => Some("battery low"),
            ChargeLevel::Empty => Some("battery nearly empty"),
        };
        let limit = self.share.filter(|share| share.permille < 1000).map(|share| {
            if share.is_out_of_reach { "power limit, which can't be reached" } else { "power limit" }
        });
        let flag = |is: bool, name| is.then_some(name);
        let flags = [
            flag(self.saves_power, "power saving"),
            flag(self.is_crowded.level, "others need the processor"),
            flag(self.memory_is_short.level, "memory is short"),
        ];
        [heat, charge, limit].into_iter().chain(flags).flatten().collect()
    }
}

/// What work there may be in `situation`.
pub fn plan(situation: &Situation) -> Plan {
    let Situation { now, senses, before, .. } = situation;
    let now = *now;
    let heat = ease(before.map(|p| p.heat), heat_level(senses, before), now, |level| match level {
        HeatLevel::Critical => HeatLevel::Hot,
        HeatLevel::Hot => HeatLevel::Warm,
        _ => HeatLevel::Cool,
    });
    let charge = charge_level(senses, before);
    let others = others_permille(situation);
    let is_crowded = ease(before.map(|p| p.is_crowded), crowded(senses, others, before), now, |_| false);
    let memory = ease(before.map(|p| p.memory_is_short), memory_short(senses, before), now, |_| false);
    let saves_power = senses.saves_power;

    let threads_max = situation.threads_max.max(1);
    let parts = [
        [1000, 750, 500, 250][heat.level as usize],
        [1000, 500, 250][charge as usize],
        if saves_power { 500 } else { 1000 },
        if is_crowded.level { 500 } else { 1000 },
    ];
    let part = parts.into_iter().min().unwrap_or(1000);
    let threads_cap = (threads_max * part / 1000).max(1);
    let share = situation.power_limit.map(|limit| limit::share(limit, situation));
    // In thousandths of a thread: what the limit leaves, as few threads as hold it, resting for what is over.
    let left = share.map_or(threads_max * 1000, |share| threads_max * usize::from(share.permille));
    let left = left.clamp(1, threads_cap * 1000);
    let threads = left.div_ceil(1000);
    let duty = left / threads;
    // A single thread that is too hot rests too.
    let duty = if heat.level == HeatLevel::Critical { duty.min(500) } else { duty };

    let saves = saves_power || charge >= ChargeLevel::Low;
    let drafts_max = match heat.level {
        HeatLevel::Critical => 0,
        _ if charge == ChargeLevel::Empty => 0,
        _ if heat.level == HeatLevel::Hot || saves => 2,
        HeatLevel::Warm => DRAFTS_MAX / 2,
        _ => DRAFTS_MAX,
    };
    let half = (situation.batch_max / 2).max(1);
    let batch_max = match heat.level {
        HeatLevel::Critical => 1,
        _ if memory.level => half,
        _ => situation.batch_max.max(1),
    };
    let smaller = saves || heat.level >= HeatLevel::Hot;
    Plan {
        threads,
        duty_permille: u16::try_from(duty.clamp(1, 1000)).unwrap_or(1000),
        drafts_max,
        batch_max,
        model: if smaller { ModelHint::Smaller } else { ModelHint::AsAsked },
        background: background(situation, heat.level, others),
        heat,
        charge,
        saves_power,
        is_crowded,
        memory_is_short: memory,
        share,
    }
}

/// A worse level at once; a better one a step at a time and not soon after the last change.
fn ease<L: Copy + Ord>(before: Option<Held<L>>, to: L, now: Duration, eased: fn(L) -> L) -> Held<L> {
    let Some(held) = before else {
        return Held { level: to, since: now, hold: EASE_AFTER, was_eased: false };
    };
    let stayed = now.saturating_sub(held.since);
    if to > held.level {
        let too_early = held.was_eased && stayed < held.hold * TOO_EARLY;
        let hold = match (too_early, held.was_eased) {
            (true, _) => (held.hold * 2).min(EASE_AFTER_MOST),
            (false, true) => (held.hold / 2).max(EASE_AFTER),
            (false, false) => held.hold,
        };
        return Held { level: to, since: now, hold, was_eased: false };
    }
    if to < held.level && stayed >= held.hold {
        return Held { level: eased(held.level), since: now, was_eased: true, ..held };
    }
    held
}

/// A level is entered this far below throttling and left that far, in thousandths of the way there from [`ROOM_MILLI_C`]: a
/// skin that may have 45 degrees is not warm at 35, and a processor that may have 100 is at 88.
const WARM: [i64; 2] = [160, 220];
const HOT: [i64; 2] = [60, 120];
const CRITICAL: [i64; 2] = [-30, 30];
/// What is not heat, in thousandths of a degree.
const ROOM_MILLI_C: i64 = 25_000;
/// Below the point at which the system switches off, in thousandths of a degree.
const BEFORE_THE_END: [i64; 2] = [5_000, 9_000];

fn heat_level(senses: &Senses, before: &Option<Plan>) -> HeatLevel {
    let Some(heat) = senses.heat else { return HeatLevel::Cool };
    let was = before.map_or(HeatLevel::Cool, |plan| plan.heat.level);
    let way = (heat.throttle_milli_c - ROOM_MILLI_C).max(1);
    let margin = (heat.throttle_milli_c - heat.milli_c) * 1000 / way;
    let is = |level: HeatLevel, [enter, leave]: [i64; 2]| margin < if was >= level { leave } else { enter };
    let to_the_end = heat.critical_milli_c.map(|critical| critical - heat.milli_c);
    let [enter, leave] = BEFORE_THE_END;
    let ends = to_the_end.is_some_and(|left| left < if was == HeatLevel::Critical { leave } else { enter });
    if ends || is(HeatLevel::Critical, CRITICAL) {
        HeatLevel::Critical
    } else if is(HeatLevel::Hot, HOT) {
        HeatLevel::Hot
    } else if is(HeatLevel::Warm, WARM) {
        HeatLevel::Warm
    } else {
        HeatLevel::Cool
    }
}

/// Percent at which a level is entered, and above which it is left.
const LOW: [u8; 2] = [15, 19];
const EMPTY: [u8; 2] = [5, 8];

fn charge_level(senses: &Senses, before: &Option<Plan>) -> ChargeLevel {
    let Some(battery) = senses.battery.filter(|battery| battery.is_discharging) else {
        return ChargeLevel::Good;
    };
    let was = before.map_or(ChargeLevel::Good, |plan| plan.charge);
    let is = |level: ChargeLevel, [enter, leave]: [u8; 2]| {
        battery.percent <= if was >= level { leave } else { enter }
    };
    if is(ChargeLevel::Empty, EMPTY) {
        ChargeLevel::Empty
    } else if is(ChargeLevel::Low, LOW) {
        ChargeLevel::Low
    } else {
        ChargeLevel::Good
    }
}

/// What others keep busy, in thousandths of all threads, as a mean of the last minute.
fn others_permille(situation: &Situation) -> Option<u32> {
    let load = situation.senses.load?.running_milli;
    let threads = u32::try_from(situation.threads_max.max(1)).unwrap_or(u32::MAX);
    let own = situation.before.filter(|_| situation.is_working);
    let own = own.map_or(0, |plan| plan.share_permille(situation.threads_max).saturating_mul(threads));
    Some(load.saturating_sub(own) / threads)
}

/// Others count only if somebody waits for the processor, too: the mean of a minute remembers our own last answer.
fn crowded(senses: &Senses, others: Option<u32>, before: &Option<Plan>) -> bool {
    let was = before.is_some_and(|plan| plan.is_crowded.level);
    let [load_max, pressure_max] = if was { [500, 100] } else { [750, 200] };
    let pressure = senses.load.and_then(|load| load.cpu_pressure_permille);
    others.is_some_and(|others| others > load_max) && pressure.is_some_and(|waits| waits > pressure_max)
}

fn memory_short(senses: &Senses, before: &Option<Plan>) -> bool {
    let was = before.is_some_and(|plan| plan.memory_is_short.level);
    let pressure = senses.load.and_then(|load| load.memory_pressure_permille);
    pressure.is_some_and(|waits| waits > if was { 50 } else { 100 })
}

/// Only with a charger, and while nobody else needs the machine.
fn background(situation: &Situation, heat: HeatLevel, others: Option<u32>) -> Background {
    let senses = &situation.senses;
    let goes = situation.before.is_some_and(|plan| plan.background == Background::Go);
    let [load_max, pressure_max] = if goes { [500, 250] } else { [250, 100] };
    let pressure = senses.load.and_then(|load| load.cpu_pressure_permille);
    if senses.battery.is_some_and(|battery| battery.is_discharging) || senses.has_mains == Some(false) {
        Background::Wait("the device is not charging")
    } else if senses.saves_power {
        Background::Wait("the system is saving power")
    } else if heat > if goes { HeatLevel::Warm } else { HeatLevel::Cool } {
        Background::Wait("the device is warm")
    } else if others.is_some_and(|others| others > load_max) || pressure.is_some_and(|p| p > pressure_max) {
        Background::Wait("the device is in use")
    } else {
        Background::Go
    }
}
