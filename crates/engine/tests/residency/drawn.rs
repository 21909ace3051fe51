//! Numbers drawn from a seed, and states made of them.

use std::time::Duration;

use ingle_engine::residency::{Ledger, Resident, State, Tier};

/// A generator of xorshift64*.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }

    /// From 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn is(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }
}

/// Some model.
pub fn ledger(rng: &mut Rng) -> Ledger {
    let mut some = |max: u64| if rng.is(0.7) { rng.below(max) } else { 0 };
    Ledger {
        mapped: 1 + some(1000),
        packed: some(400),
        dirty: some(50),
        kv: some(300),
        prefix: some(300),
        scratch: some(30),
        adapters: some(10),
        drafts: some(100),
    }
}

/// What a model may be loaded by: ever less.
fn offers(rng: &mut Rng) -> Vec<Ledger> {
    let full = ledger(rng);
    let less = Ledger { prefix: full.prefix / 2, ..full };
    let coarse = Ledger { kv: full.kv / 2, ..less };
    let short = Ledger { kv: coarse.kv / 2, scratch: coarse.scratch / 2, ..coarse };
    vec![full, less, coarse, short, Ledger { mapped: full.mapped / 2, ..short }]
}

/// Any state that can come about.
pub fn state(rng: &mut Rng) -> State {
    let n = 1 + rng.below(7);
    let now = Duration::from_secs(rng.below(5000));
    let models = (0..n).map(|_| resident(rng, now)).collect();
    let mut state = State { budget: 0, fixed: rng.below(50), now, models };
    // Mostly as it should be; sometimes the budget has shrunk meanwhile.
    let used = state.used();
    state.budget = if rng.is(0.8) { used + rng.below(1500) } else { rng.below(used + 500) };
    state
}

fn resident(rng: &mut Rng, now: Duration) -> Resident {
    let mut model = Resident::cold(offers(rng), Duration::from_millis(rng.below(3000)));
    let tiers = [Tier::Hot, Tier::Hot, Tier::Warm, Tier::Warm, Tier::Cold, Tier::Cold, Tier::Gone];
    model.tier = tiers[rng.below(tiers.len() as u64) as usize];
    model.ledger = model.offers[rng.below(model.offers.len() as u64) as usize];
    model.rests = model.is_loaded() && rng.is(0.3);
    model.n_busy = if model.tier == Tier::Hot && !model.rests && rng.is(0.3) { 1 } else { 0 };
    model.is_pinned = rng.is(0.1);
    model.keep_alive = rng.is(0.3).then(|| Duration::from_secs(rng.below(3000)));
    model.retouch = Duration::from_millis(rng.below(60));
    model.resume = Duration::from_millis(rng.below(500));
    for _ in 0..rng.below(6) {
        model.uses.note(Duration::from_secs(rng.below(now.as_secs() + 1)));
    }
    model
}
