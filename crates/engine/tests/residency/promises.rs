//! What a plan promises, on thousands of drawn states.

use std::time::Duration;

use ingle_engine::residency::{Action, Input, Ledger, Pressure, Resident, State, Tier, plan};

use crate::drawn::{self, Rng};

const STATES: u64 = 20_000;

fn after(state: &State, actions: &[Action]) -> State {
    let mut after = state.clone();
    actions.iter().for_each(|action| after.apply(action));
    after
}

/// Everything that could go, gone.
fn emptied(state: &State, but: usize) -> State {
    let mut empty = state.clone();
    for i in (0..state.models.len()).filter(|&i| i != but) {
        if state.models[i].is_idle() && state.models[i].is_loaded() {
            empty.apply(&Action::Unmap { model: i });
        }
    }
    empty
}

#[test]
fn a_request_brings_its_model_within_the_budget_or_waits_or_is_refused() {
    let (mut n_brought, mut n_waits, mut n_refused, mut n_less) = (0, 0, 0, 0);
    for seed in 0..STATES {
        let state = drawn::state(&mut Rng::new(seed));
        let wanted = Rng::new(!seed).below(state.models.len() as u64) as usize;
        let (input, model) = (Input::Request { model: wanted }, &state.models[wanted]);
        let actions = plan(&state, input);
        assert_eq!(actions, plan(&state, input), "{seed}: the same state, the same plan");
        let done = after(&state, &actions);
        for (i, (was, is)) in state.models.iter().zip(&done.models).enumerate() {
            let is_same = was.tier == is.tier && was.rests == is.rests;
            assert!(i == wanted || was.is_idle() || is_same, "{seed}: model {i} is busy or pinned");
        }
        let pinned: u64 = state
            .models
            .iter()
            .enumerate()
            .filter(|(i, m)| *i != wanted && m.is_pinned)
            .map(|(_, m)| m.held())
            .sum();
        let room = state.budget.saturating_sub(state.fixed + pinned);
        match actions.last() {
            Some(Action::Refuse(refusal)) => {
                n_refused += 1;
                assert_eq!(actions.len(), 1, "{seed}");
                let fits = |offer: &Ledger| offer.total() <= room;
                assert!(model.tier == Tier::Gone || !model.offers.iter().any(fits), "{seed}: {refusal:?}");
                assert!(refusal.needed.is_none_or(|needed| needed.total() > room), "{seed}: {refusal:?}");
            }
            Some(Action::Wait) => {
                n_waits += 1;
                assert_eq!(actions.len(), 1, "{seed}");
                let empty = emptied(&state, wanted);
                assert!(empty.models.iter().any(|m| m.n_busy > 0), "{seed}: there is somebody to wait for");
                let needed = model.offers.iter().map(Ledger::total).find(|n| *n <= room);
                let needed = if model.is_loaded() {
                    model.ledger.total().min(needed.unwrap_or(u64::MAX))
                } else {
                    needed.unwrap()
                };
                assert!(
                    empty.used() + needed - empty.models[wanted].held() > state.budget,
                    "{seed}: there is room"
                );
            }
            _ => {
                n_brought += 1;
                let is = &done.models[wanted];
                assert!(is.tier == Tier::Hot && !is.rests, "{seed}: {actions:?}");
                let is_there = model.tier == Tier::Hot && !model.rests;
                assert!(done.used() <= state.budget || is_there && actions.is_empty(), "{seed}: {actions:?}");
                assert_eq!(plan(&done, input), [], "{seed}: a plan that was performed leaves nothing to do");
                if let Some(&Action::Load { offer, .. }) =
                    actions.iter().find(|a| matches!(a, Action::Load { .. }))
                {
                    assert!(model.offers[..offer].iter().all(|better| better.total() > room), "{seed}");
                    n_less += usize::from(offer > 0);
                }
            }
        }
    }
    // Each of the cases came often enough to mean something.
    assert!(
        [n_brought, n_waits, n_refused, n_less].iter().all(|&n| n > 200),
        "{n_brought} {n_waits} {n_refused} {n_less}"
    );
}

#[test]
fn no_step_is_taken_that_is_not_needed() {
    let mut n_steps = 0;
    for seed in 0..STATES {
        let state = drawn::state(&mut Rng::new(seed));
        let wanted = Rng::new(!seed).below(state.models.len() as u64) as usize;
        let actions = plan(&state, Input::Request { model: wanted });
        for i in 0..actions.len() {
            let (Action::DropPages { model } | Action::Rest { model } | Action::Unmap { model }) = actions[i]
            else {
                continue;
            };
            if model == wanted {
                continue;
            }
            n_steps += 1;
            let mut fewer = actions.clone();
            fewer.remove(i);
            assert!(after(&state, &fewer).used() > state.budget, "{seed}: {actions:?} without step {i}");
        }
    }
    assert!(n_steps > 2000, "{n_steps}");
}

#[test]
fn time_unmaps_what_is_not_to_be_kept_and_keeps_the_budget() {
    for seed in 0..STATES {
        let state = drawn::state(&mut Rng::new(seed));
        let done = after(&state, &plan(&state, Input::Tick));
        for (i, (was, is)) in state.models.iter().zip(&done.models).enumerate() {
            let unused = state.now - was.uses.last();
            let is_over = was.keep_alive.is_some_and(|keep| unused >= keep);
            assert!(!(is.is_loaded() && was.is_idle() && is_over), "{seed}: model {i} stays beyond its time");
            assert!(was.is_idle() || (was.tier, was.rests) == (is.tier, is.rests), "{seed}: model {i}");
            assert!(
                done.used() != state.used() || was.tier == is.tier || is_over,
                "{seed}: model {i} goes for nothing"
            );
        }
        let least = emptied(&state, usize::MAX).used();
        assert!(done.used() <= state.budget.max(least), "{seed}");
        assert_eq!(plan(&done, Input::Tick), [], "{seed}");
    }
}

#[test]
fn pressure_empties_what_is_idle_and_nothing_else() {
    for seed in 0..STATES {
        let state = drawn::state(&mut Rng::new(seed));
        let some = after(&state, &plan(&state, Input::Pressure(Pressure::Some)));
        let full = after(&state, &plan(&state, Input::Pressure(Pressure::Full)));
        for (i, was) in state.models.iter().enumerate() {
            let (some, full) = (&some.models[i], &full.models[i]);
            if was.is_idle() && was.is_loaded() {
                assert!(some.is_loaded() && !full.is_loaded(), "{seed}: model {i}");
                let left = was.ledger.total() - was.ledger.mapped - was.ledger.sessions();
                assert_eq!((some.held(), full.held()), (left, 0), "{seed}: model {i}");
            } else {
                assert_eq!((some.held(), full.held()), (was.held(), was.held()), "{seed}: model {i}");
            }
        }
    }
}

fn hot(mapped: u64, reload: u64, n_uses: u32) -> Resident {
    let ledger = Ledger { mapped, dirty: 1, ..Ledger::default() };
    let mut model = Resident::cold(vec![ledger], Duration::from_millis(reload));
    (model.tier, model.retouch) = (Tier::Hot, Duration::from_millis(reload / 10));
    (0..n_uses).for_each(|_| model.uses.note(Duration::ZERO));
    model
}

#[test]
fn what_goes_is_cheap_unlikely_or_large() {
    let wanted = || Resident::cold(vec![Ledger { mapped: 100, ..Ledger::default() }], Duration::from_secs(1));
    let goes = |a: Resident, b: Resident| {
        let models = vec![wanted(), a, b];
        let mut state = State { budget: 0, fixed: 0, now: Duration::from_secs(9), models };
        state.budget = state.used() + 20;
        plan(&state, Input::Request { model: 0 })[0]
    };
    let (first, second) = (Action::DropPages { model: 1 }, Action::DropPages { model: 2 });
    assert_eq!(goes(hot(100, 1000, 2), hot(100, 1000, 1)), second, "the less likely");
    assert_eq!(goes(hot(100, 1000, 2), hot(100, 100, 2)), second, "the cheaper");
    assert_eq!(goes(hot(900, 1000, 2), hot(100, 1000, 2)), first, "the larger");
}

#[test]
fn a_refusal_tells_the_sum() {
    let mut pinned = hot(40 << 20, 1, 1);
    pinned.is_pinned = true;
    let ledger = Ledger { mapped: 70 << 20, kv: 20 << 20, ..Ledger::default() };
    let models = vec![Resident::cold(vec![ledger], Duration::ZERO), pinned];
    let state = State { budget: 110 << 20, fixed: 9 << 20, now: Duration::ZERO, models };
    let [Action::Refuse(refusal)] = plan(&state, Input::Request { model: 0 })[..] else { panic!() };
    assert_eq!(
        refusal.told("large"),
        "large needs weights 70 MiB + kv 20 MiB = 90 MiB; there are 61 MiB \
         (budget 110 MiB - 9 MiB of the program - 41 MiB of pinned models)"
    );
}
