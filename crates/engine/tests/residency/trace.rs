//! Random traces of requests against a plain least-recently-used cache of the same models and budget: a request hits when its
//! model is hot.

use std::time::Duration;

use ingle_engine::residency::{Action, Input, Ledger, Resident, State, Tier, plan};

use crate::drawn::Rng;

const REQUESTS: usize = 10_000;

/// How the popularity of models goes.
#[derive(Debug, Clone, Copy)]
enum Wishes {
    /// As 1/rank.
    Zipf,
    /// The same, but every 1,000 requests the ranks are dealt anew.
    Shifting,
    /// All alike.
    Even,
}

fn models(rng: &mut Rng, n: usize) -> Vec<Ledger> {
    // From 4 MB to 4 GB, as on a device.
    let sizes = (0..n).map(|_| (4e6 * 1000f64.powf(rng.unit())) as u64);
    sizes.map(|mapped| Ledger { mapped, dirty: mapped / 100, kv: mapped / 20, ..Ledger::default() }).collect()
}

fn requests(rng: &mut Rng, n_models: usize, wishes: Wishes) -> Vec<usize> {
    let mut ranks: Vec<usize> = (0..n_models).collect();
    let deal = |ranks: &mut Vec<usize>, rng: &mut Rng| {
        (1..ranks.len()).rev().for_each(|i| ranks.swap(i, rng.below(i as u64 + 1) as usize));
    };
    deal(&mut ranks, rng);
    let weight = |rank: usize| if matches!(wishes, Wishes::Even) { 1.0 } else { 1.0 / (rank + 1) as f64 };
    let all: f64 = (0..n_models).map(weight).sum();
    (0..REQUESTS)
        .map(|i| {
            if matches!(wishes, Wishes::Shifting) && i % 1000 == 999 {
                deal(&mut ranks, rng);
            }
            let mut at = rng.unit() * all;
            let rank = (0..n_models).find(|&rank| {
                at -= weight(rank);
                at < 0.0
            });
            ranks[rank.unwrap_or(n_models - 1)]
        })
        .collect()
}

fn hits_of_plan(ledgers: &[Ledger], budget: u64, requests: &[usize], every: Duration) -> (usize, f64) {
    let seconds = |bytes: u64, rate: f64| Duration::from_secs_f64(bytes as f64 / rate);
    let models = ledgers.iter().map(|ledger| {
        let mut model =
            Resident::cold(vec![*ledger], Duration::from_millis(30) + seconds(ledger.total(), 2e9));
        (model.retouch, model.resume) = (seconds(ledger.mapped, 20e9), seconds(ledger.kv, 1e9));
        model
    });
    let mut state = State { budget, fixed: 0, now: Duration::ZERO, models: models.collect() };
    let (mut n_hits, mut waited) = (0, 0.0);
    for &wanted in requests {
        state.now += every;
        state.models[wanted].uses.note(state.now);
        n_hits += usize::from(state.models[wanted].tier == Tier::Hot);
        for action in plan(&state, Input::Request { model: wanted }) {
            let model = &state.models[wanted];
            waited += match action {
                Action::Load { .. } => model.reload.as_secs_f64(),
                Action::Prefault { .. } => model.retouch.as_secs_f64(),
                Action::Refuse(_) | Action::Wait => panic!("{action:?}: every model fits"),
                _ => 0.0,
            };
            state.apply(&action);
        }
        assert!(state.used() <= budget);
    }
    (n_hits, waited)
}

fn hits_of_lru(ledgers: &[Ledger], budget: u64, requests: &[usize]) -> usize {
    let (mut order, mut n_hits): (Vec<usize>, usize) = (Vec::new(), 0);
    for &wanted in requests {
        n_hits += usize::from(order.contains(&wanted));
        order.retain(|&model| model != wanted);
        order.push(wanted);
        while order.iter().map(|&model| ledgers[model].total()).sum::<u64>() > budget {
            order.remove(0);
        }
    }
    n_hits
}

#[test]
fn a_model_is_hot_at_least_as_often_as_under_lru() {
    for wishes in [Wishes::Zipf, Wishes::Shifting, Wishes::Even] {
        for (n_models, every) in [(6, 1), (6, 60), (20, 5)] {
            let (mut ours, mut lru) = (0, 0);
            for seed in 1..=6 {
                let mut rng = Rng::new(seed * 77 + n_models as u64);
                let ledgers = models(&mut rng, n_models);
                let budget = ledgers.iter().map(Ledger::total).max().unwrap() / 10 * 11;
                let requests = requests(&mut rng, n_models, wishes);
                let (hits, _) = hits_of_plan(&ledgers, budget, &requests, Duration::from_secs(every));
                let plain = hits_of_lru(&ledgers, budget, &requests);
                println!("{wishes:?}, {n_models} models, seed {seed}: {hits} hits, LRU {plain}");
                (ours, lru) = (ours + hits, lru + plain);
            }
            assert!(ours >= lru, "{wishes:?}, {n_models} models every {every} s: {ours} hits, LRU {lru}");
        }
    }
}
