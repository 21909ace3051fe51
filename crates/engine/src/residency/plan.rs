//! What is done about the memory of models, as a function of what there is and what is wanted.
//!
//! **A request** wants its model hot. What that takes beyond what is free is made of models that are neither pinned nor busy, in
//! steps: weights leave the process and stay mapped, sessions rest, a model is unmapped. Each step has a score, the seconds it will
//! cost when the model is wanted again, times the chance of that, by the bytes it frees; the steps of lowest scores are taken
//! until there is room, and those that later ones made needless are taken back. Where busy models hold the room, the request waits
//! for them; where even an empty process has none, the model is loaded by the first of its offers that fits, which the caller lists
//! in the order caches, precision of keys and values, context, another quantisation ([`super::need`]); where none does it is
//! refused with the sum.
//!
//! **A tick** unmaps what was not asked for longer than it is to be kept, and frees what is over the budget. **Pressure** of the
//! whole system empties idle models: what their sessions and weights hold at first, all of it when others stand still.

use std::cmp::Ordering;
use std::time::Duration;

use super::ledger::{Ledger, mib};
use super::{Resident, State, Tier};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for a model.
    Request {
        /// Which.
        model: usize,
    },
    /// Time went by.
    Tick,
    /// The system runs short of memory.
    Pressure(Pressure),
}

/// How short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Some programs wait for memory.
    Some,
    /// All that could work waits for memory.
    Full,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Weights leave the process; they stay mapped.
    DropPages {
        /// Of which model.
        model: usize,
    },
    /// What sessions hold leaves memory, for files where they are kept.
    Rest {
        /// Of which model.
        model: usize,
    },
    /// The model is unmapped, its sessions kept as by [`Action::Rest`].
    Unmap {
        /// Which.
        model: usize,
    },
    /// The model is mapped.
    Load {
        /// Which.
        model: usize,
        /// Which of its offers it is loaded by.
        offer: usize,
    },
    /// Its weights are brought into the process.
    Prefault {
        /// Whose.
        model: usize,
    },
    /// Busy models hold what is needed: plan again when one is done.
    Wait,
    /// It can't be.
    Refuse(Refusal),
}

/// Why a request is refused: the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The least that the model takes, by any of its offers; none where it is gone.
    pub needed: Option<Ledger>,
    /// What there may be.
    pub budget: u64,
    /// What the program takes without a model.
    pub fixed: u64,
    /// What pinned models have.
    pub pinned: u64,
}

impl Refusal {
    /// The sum, as it is told of a model of this name.
    pub fn told(&self, name: &str) -> String {
        let Some(needed) = self.needed else { return format!("{name}: its file is no longer there") };
        let left = self.budget.saturating_sub(self.fixed).saturating_sub(self.pinned);
        let pinned =
            if self.pinned > 0 { format!(" - {} of pinned models", mib(self.pinned)) } else { String::new() };
        format!(
            "{name} needs {}; there are {} (budget {} - {} of the program{pinned})",
            needed.told(),
            mib(left),
            mib(self.budget),
            mib(self.fixed)
        )
    }
}

/// What is to be done. Pure.
pub fn plan(state: &State, input: Input) -> Vec<Action> {
    match input {
        Input::Request { model } => request(state, model),
        Input::Tick => tick(state),
        Input::Pressure(pressure) => relieve(state, pressure),
    }
}

fn request(state: &State, wanted: usize) -> Vec<Action> {
    let model = &state.models[wanted];
    let pinned = held(state, wanted, |other| other.is_pinned);
    // What there is when all others that may go have gone.
    let room = state.budget.saturating_sub(state.fixed).saturating_sub(pinned);
    let is_loaded = model.is_loaded();
    if is_loaded && (model.ledger.total() <= room || model.n_busy > 0) {
        let is_there = model.tier == Tier::Hot && !model.rests;
        let brings: &[Action] = if is_there { &[] } else { &[Action::Prefault { model: wanted }] };
        return with_room(state, wanted, model.ledger.total(), brings);
    }
    let offers = if model.tier == Tier::Gone { &[] } else { &model.offers[..] };
    let Some(offer) = offers.iter().position(|offer| offer.total() <= room) else {
        let needed = offers.iter().min_by_key(|offer| offer.total()).copied();
        return vec![Action::Refuse(Refusal { needed, budget: state.budget, fixed: state.fixed, pinned })];
    };
    // One that was loaded when there was more room comes back smaller.
    let first = is_loaded.then_some(Action::Unmap { model: wanted });
    let brings = [Action::Load { model: wanted, offer }, Action::Prefault { model: wanted }];
    let brings: Vec<Action> = first.into_iter().chain(brings).collect();
    with_room(state, wanted, offers[offer].total(), &brings)
}

/// `brings` behind what makes room for `total` bytes of the model that is wanted, or waiting.
fn with_room(state: &State, wanted: usize, total: u64, brings: &[Action]) -> Vec<Action> {
    // What is hot already goes on, whatever there is.
    if brings.is_empty() {
        return Vec::new();
    }
    let others = state.used().saturating_sub(state.models[wanted].held());
    let over = others.saturating_add(total).saturating_sub(state.budget);
    let (mut actions, freed) = free(state, over, Some(wanted));
    if freed < over {
        return vec![Action::Wait];
    }
    actions.extend_from_slice(brings);
    actions
}

fn tick(state: &State) -> Vec<Action> {
    let mut state = state.clone();
    let mut actions = Vec::new();
    for i in 0..state.models.len() {
        let model = &state.models[i];
        let unused = state.now.saturating_sub(model.uses.last());
        if model.is_idle() && model.is_loaded() && model.keep_alive.is_some_and(|keep| unused >= keep) {
            actions.push(Action::Unmap { model: i });
            state.apply(&Action::Unmap { model: i });
        }
    }
    let over = state.used().saturating_sub(state.budget);
    actions.extend(free(&state, over, None).0);
    actions
}

fn relieve(state: &State, pressure: Pressure) -> Vec<Action> {
    let idle = state.models.iter().enumerate().filter(|(_, model)| model.is_idle() && model.is_loaded());
    let empties = |(i, model): (usize, &Resident)| match pressure {
        Pressure::Full => vec![Action::Unmap { model: i }],
        Pressure::Some => steps(i, model).filter(|step| !matches!(step, Action::Unmap { .. })).collect(),
    };
    idle.flat_map(empties).collect()
}

/// Bytes of others that are so.
fn held(state: &State, but: usize, is_so: impl Fn(&Resident) -> bool) -> u64 {
    let others = state.models.iter().enumerate().filter(|(i, model)| *i != but && is_so(model));
    others.fold(0, |sum: u64, (_, model)| sum.saturating_add(model.held()))
}

/// Steps that free `over` bytes, none of them of model `but`, and what they free: less where there is no more.
fn free(state: &State, over: u64, but: Option<usize>) -> (Vec<Action>, u64) {
    let mut after = state.clone();
    let mut taken: Vec<(Action, f64)> = Vec::new();
    let freed = |after: &State| state.used().saturating_sub(after.used());
    while freed(&after) < over {
        let Some((step, score)) = cheapest(&after, but) else { break };
        after.apply(&step);
        taken.push((step, score));
    }
    if freed(&after) >= over {
        take_back(state, over, &mut taken);
    }
    let mut after = state.clone();
    let actions: Vec<Action> = taken.into_iter().map(|(step, _)| step).collect();
    actions.iter().for_each(|step| after.apply(step));
    (without_detours(&actions), freed(&after))
}

/// Takes steps back without which there is room too, the dearest first, until each is needed.
fn take_back(state: &State, over: u64, taken: &mut Vec<(Action, f64)>) {
    while let Some(i) = (0..taken.len())
        .filter(|&i| is_last(taken, i) && frees_without(state, taken, i) >= over)
        .max_by(|&a, &b| taken[a].1.total_cmp(&taken[b].1))
    {
        taken.remove(i);
    }
}

/// Whether its model was not unmapped after this step: that frees no more without it.
fn is_last(taken: &[(Action, f64)], i: usize) -> bool {
    let model = subject(&taken[i].0);
    !taken[i + 1..].iter().any(|(step, _)| is_unmap(step) && subject(step) == model)
}

/// Bytes that all steps but one free.
fn frees_without(state: &State, taken: &[(Action, f64)], i: usize) -> u64 {
    let mut after = state.clone();
    taken.iter().enumerate().filter(|(j, _)| *j != i).for_each(|(_, (step, _))| after.apply(step));
    state.used().saturating_sub(after.used())
}

/// Without the steps of models that are unmapped in the end.
fn without_detours(actions: &[Action]) -> Vec<Action> {
    let unmapped = |model| actions.iter().any(|a| is_unmap(a) && subject(a) == Some(model));
    let is_needed = |a: &&Action| is_unmap(a) || subject(a).is_none_or(|model| !unmapped(model));
    actions.iter().filter(is_needed).copied().collect()
}

/// The step of the lowest score; of equals, of the model that was used longest ago.
fn cheapest(state: &State, but: Option<usize>) -> Option<(Action, f64)> {
    let idle = state.models.iter().enumerate().filter(|(i, model)| Some(*i) != but && model.is_idle());
    let scored = idle.flat_map(|(i, model)| {
        steps(i, model).filter_map(move |step| Some((step, score(state, &step)?, model.uses.last())))
    });
    let order = |a: &(Action, f64, Duration), b: &(Action, f64, Duration)| match a.1.total_cmp(&b.1) {
        Ordering::Equal => a.2.cmp(&b.2),
        other => other,
    };
    scored.min_by(order).map(|(step, score, _)| (step, score))
}

/// What can be done about a model that is idle.
fn steps(i: usize, model: &Resident) -> impl Iterator<Item = Action> {
    let drops = model.tier == Tier::Hot && model.ledger.mapped > 0;
    let rests = model.is_loaded() && !model.rests && model.ledger.sessions() > 0;
    let unmaps = model.is_loaded();
    let all = [
        (drops, Action::DropPages { model: i }),
        (rests, Action::Rest { model: i }),
        (unmaps, Action::Unmap { model: i }),
    ];
    all.into_iter().filter(|(can, _)| *can).map(|(_, step)| step)
}

/// Seconds that a step will cost, times the chance that it does, by the bytes it frees; `None` where it frees none.
fn score(state: &State, step: &Action) -> Option<f64> {
    let model = &state.models[subject(step)?];
    let mut after = model.clone();
    let cost = match step {
        Action::DropPages { .. } => {
            after.tier = Tier::Warm;
            model.retouch
        }
        Action::Rest { .. } => {
            after.rests = true;
            model.resume
        }
        _ => {
            after.tier = Tier::Cold;
            let resume = if model.rests { Duration::ZERO } else { model.resume };
            model.reload + resume
        }
    };
    let freed = model.held().saturating_sub(after.held());
    let chance = model.uses.chance(state.now);
    (freed > 0).then(|| cost.as_secs_f64() * chance / freed as f64)
}

fn subject(action: &Action) -> Option<usize> {
    match *action {
        Action::DropPages { model }
        | Action::Rest { model }
        | Action::Unmap { model }
        | Action::Load { model, .. }
        | Action::Prefault { model } => Some(model),
        Action::Wait | Action::Refuse(_) => None,
    }
}

fn is_unmap(action: &Action) -> bool {
    matches!(action, Action::Unmap { .. })
}
