//! How many guesses a step judges, and whose: a plan made of numbers alone.
//!
//! With a chance `a` that a guess is chosen, where the one before it was, a chain of `k` brings `1 + a + a^2 + .. + a^k` tokens on average, in a step of
//! `1 + k` rows and after `k` steps of the drafter. The plan is the chain, and the guesses beside it, with the most tokens per time by what has been
//! measured: chances by drafter, by class of guess and by place in the chain, times by the number of rows ([`Costs`]). Below a gain of [`GAIN_MIN`] it is to guess
//! nothing, and what is not used is tried again now and then, less and less often while it does not help. Several lanes share a step: rows go to
//! whichever guess is the likeliest.

use super::DRAFTS_MAX;
pub use super::costs::{Costs, ROWS_MAX};

/// Tokens per time, against one token per step, from which guesses are worth it.
pub const GAIN_MIN: f64 = 1.02;
/// Lanes that can have guesses: more of them fill a step by themselves.
pub const LANES_MAX: usize = 16;
/// Classes of a drafter's guesses, by how sure it is.
pub const CLASSES: usize = 9;
/// Steps from one try to the next of a drafter that is not used, at first and in the end.
const TRY_AGAIN: (u32, u32) = (64, 1024);
/// How much longer it waits behind each: what it did not read meanwhile it reads then, so the last try costs as much as all before.
const TRY_LATER: u32 = 4;
/// Guesses of a try.
const TRY_LEN: usize = 2;
/// Steps with guesses after which one without is measured.
const PLAIN_AGAIN: u32 = 64;
/// What is assumed of a chance before it is known, and how much that weighs against tries.
const CHANCE: (f64, f64) = (0.6, 3.0);
/// Tries behind which earlier ones count half.
const TRIES_MAX: f64 = 48.0;

/// How often guesses of one class were chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Chances {
    /// Of each place in the chain.
    places: [Rate; DRAFTS_MAX],
    /// Of guesses beside the chain, where its own was not chosen.
    other: Rate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rate {
    hits: f64,
    tries: f64,
}

impl Rate {
    fn count(&mut self, hit: bool) {
        if self.tries >= TRIES_MAX {
            (self.hits, self.tries) = (self.hits / 2.0, self.tries / 2.0);
        }
        self.tries += 1.0;
        self.hits += f64::from(u8::from(hit));
    }

    fn with(&self, prior: f64) -> f64 {
        (self.hits + prior * CHANCE.1) / (self.tries + CHANCE.1)
    }
}

impl Chances {
    /// Of a chain of `n`, so many were chosen; whether the next one was not.
    pub fn judged(&mut self, n_chosen: usize, parted: bool) {
        let places = self.places.iter_mut().take(n_chosen + usize::from(parted)).enumerate();
        places.for_each(|(i, rate)| rate.count(i < n_chosen));
    }

    /// A guess beside the chain stood where the chain's own was not chosen.
    pub fn judged_other(&mut self, hit: bool) {
        self.other.count(hit);
    }

    /// The chance of any place.
    fn mean(&self) -> f64 {
        let all = self.places.iter().fold(Rate::default(), |all, rate| Rate {
            hits: all.hits + rate.hits,
            tries: all.tries + rate.tries,
        });
        all.with(CHANCE.0)
    }

    /// Of the first `n` places, the chance that the chain is chosen up to and with that one.
    fn reach(&self, n: usize, to: &mut [f64; DRAFTS_MAX]) {
        let (mean, mut all) = (self.mean(), 1.0);
        for (to, rate) in to.iter_mut().zip(&self.places).take(n) {
            all *= rate.with(mean);
            *to = all;
        }
    }

    /// The same for what stands beside each of the first `n`.
    fn reach_others(&self, n: usize, reach: &[f64; DRAFTS_MAX], to: &mut [f64; DRAFTS_MAX]) {
        let other = self.other.with(0.3);
        let mut before = 1.0;
        for (to, here) in to.iter_mut().zip(reach).take(n) {
            *to = (before - here) * other;
            before = *here;
        }
    }

    /// Hits and tries of all places together, to be kept.
    pub fn kept(&self) -> (f64, f64) {
        self.places.iter().fold((0.0, 0.0), |(hits, tries), rate| (hits + rate.hits, tries + rate.tries))
    }

    /// Takes what was kept as the experience of a few tries.
    pub fn remember(&mut self, hits: f64, tries: f64) {
        if tries > 0.0 && (0.0..=tries).contains(&hits) && tries.is_finite() {
            let tried = tries.min(8.0);
            self.places[0] = Rate { hits: hits / tries * tried, tries: tried };
        }
    }
}

/// What is known of a drafter.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// By class.
    pub chances: [Chances; CLASSES],
    /// Whether guesses cost no time, and are there before the plan is made.
    pub is_free: bool,
    /// Whether it failed, and is not asked any more.
    pub is_gone: bool,
    /// Nanoseconds of each further guess of all lanes together, as measured; before that, in steps of one row.
    pub guess_ns: Result<f64, f64>,
    /// Steps since its guesses were last judged.
    since: u32,
    /// Steps to wait before the next try.
    wait: u32,
    /// Whether the step before was the first of a try, in which it had to read what it lacks.
    is_trying: bool,
    /// Whether it has guessed before: the first guesses wake weights.
    is_awake: bool,
}

impl Source {
    /// Of a drafter that costs no time.
    pub fn free() -> Self {
        Self::new(true, 0.0)
    }

    /// Of one that is taken to cost `steps` of one row for each guess.
    pub fn costing(steps: f64) -> Self {
        Self::new(false, steps)
    }

    fn new(is_free: bool, steps: f64) -> Self {
        let chances = [Chances::default(); CLASSES];
        let guess_ns = Err(steps);
        let wait = TRY_AGAIN.0;
        Self { chances, is_free, is_gone: false, guess_ns, since: 0, wait, is_trying: false, is_awake: false }
    }

    /// Its guesses of one step, `n` one behind the other, took so long, where a step of one row takes `one_ns`.
    pub fn took(&mut self, n: usize, ns: f64, one_ns: f64) {
        if !std::mem::replace(&mut self.is_awake, true) {
            return;
        }
        let known = self.guess_ns.unwrap_or_else(|steps| steps * one_ns);
        let each = (ns / n.max(1) as f64).clamp(known / 4.0, known * 2.0);
        self.guess_ns = Ok(known + 0.3 * (each - known));
    }
}

/// What is known of all drafters and of steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Drafters, the most trusted of the free ones first.
    pub sources: Vec<Source>,
    /// Steps.
    pub costs: Costs,
    /// Steps since one without guesses was asked for.
    n_guessed: u32,
}

/// A lane that takes part in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lane {
    /// The most guesses that it has room for.
    pub room: usize,
    /// Guesses that are there already: the source, their class, how many.
    pub free: Option<(usize, usize, usize)>,
}

/// What a lane is to have judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planned {
    /// Whose guesses.
    pub source: Option<usize>,
    /// How many, one behind the other.
    pub n: usize,
    /// How many of those have another beside them.
    pub n_others: usize,
}

/// A plan under consideration.
#[derive(Debug, Clone, Copy)]
struct Draft {
    lanes: [Planned; LANES_MAX],
    n_rows: usize,
    n_tokens: f64,
    ns: f64,
}

/// Fills `out` with what each of `lanes` has judged in the next step, in which they feed `n_rows` tokens that are sure, where up to
/// `rows_max` rows have room. `branches` says whether guesses may stand beside others.
pub fn plan(
    state: &mut State,
    lanes: &[Lane],
    n_rows: usize,
    rows_max: usize,
    branches: bool,
    out: &mut Vec<Planned>,
) {
    out.clear();
    out.resize(lanes.len(), Planned::default());
    let rows_max = rows_max.min(ROWS_MAX);
    if lanes.len() > LANES_MAX || n_rows >= rows_max || state.plain_is_due(n_rows) {
        return;
    }
    state.sources.iter_mut().for_each(|source| source.since = source.since.saturating_add(1));
    let plain = Draft {
        lanes: [Planned::default(); LANES_MAX],
        n_rows,
        n_tokens: lanes.len() as f64,
        ns: state.costs.of(n_rows),
    };
    let mut best = plain;
    let costing = state.costing();
    let deepest = costing.map_or(0, |_| DRAFTS_MAX / lanes.len().max(1).isqrt());
    for depth in 0..=deepest {
        let draft = consider(state, lanes, plain, costing.filter(|_| depth > 0), depth, rows_max, branches);
        if draft.n_tokens / draft.ns > best.n_tokens / best.ns {
            best = draft;
        }
    }
    let gain = best.n_tokens / best.ns / (plain.n_tokens / plain.ns);
    if gain >= GAIN_MIN {
        out.copy_from_slice(&best.lanes[..lanes.len()]);
    } else {
        try_again(state, lanes, rows_max - n_rows, out);
    }
    for source in out.iter().filter_map(|planned| planned.source) {
        let source = &mut state.sources[source];
        source.since = 0;
        if gain >= GAIN_MIN {
            // One lucky try is no reason to try as often again.
            source.wait = (source.wait / 2).max(TRY_AGAIN.0);
            source.is_trying = false;
        }
    }
}

/// Fills `out` with chains of `n` guesses for every lane, `n_others` of them with another beside, as far as there is room and whatever
/// that brings; arguments as for [`plan`].
pub fn fixed(
    state: &mut State,
    (n, n_others): (usize, usize),
    lanes: &[Lane],
    n_rows: usize,
    rows_max: usize,
    out: &mut Vec<Planned>,
) {
    out.clear();
    out.resize(lanes.len(), Planned::default());
    if state.plain_is_due(n_rows) {
        return;
    }
    let costing = state.costing();
    let mut left = rows_max.saturating_sub(n_rows);
    for (out, lane) in out.iter_mut().zip(lanes) {
        let (source, most) = match lane.free {
            Some((source, _, n_free)) => (Some(source), n_free),
            None => (costing, lane.room),
        };
        let n = n.min(most).min(lane.room).min(left);
        if source.is_some() && n > 0 {
            let n_others =
                if lane.free.is_some() { 0 } else { n_others.min(n).min(left - n).min(lane.room - n) };
            *out = Planned { source, n, n_others };
            left -= n + n_others;
        }
    }
}

impl State {
    /// The drafter whose guesses cost time.
    fn costing(&self) -> Option<usize> {
        self.sources.iter().position(|source| !source.is_free && !source.is_gone)
    }

    /// Whether a step of `n_rows` rows is to be measured without guesses, which must be known and is looked at now and then.
    fn plain_is_due(&mut self, n_rows: usize) -> bool {
        let is_due = !self.costs.knows(n_rows) || self.n_guessed >= PLAIN_AGAIN;
        self.n_guessed = if is_due { 0 } else { self.n_guessed + 1 };
        is_due
    }
}

/// What guesses of a lane may bring.
#[derive(Debug, Clone, Copy, Default)]
struct Outlook {
    /// Of each place of a chain that is there, the chance that it is reached and chosen.
    chain: [f64; DRAFTS_MAX],
    /// Places of it.
    n_chain: usize,
    /// The same of what may stand beside each place of a chain that a drafter makes.
    beside: [f64; DRAFTS_MAX],
}

impl Outlook {
    /// Tokens that the first `n` places bring.
    fn tokens(chain: &[f64; DRAFTS_MAX], n: usize) -> f64 {
        chain[..n].iter().sum()
    }
}

/// The best plan in which the drafter that `costing` names makes chains of `depth`, for the lanes that it serves better than what is there.
fn consider(
    state: &State,
    lanes: &[Lane],
    mut draft: Draft,
    costing: Option<usize>,
    depth: usize,
    rows_max: usize,
    branches: bool,
) -> Draft {
    let mut outlooks = [Outlook::default(); LANES_MAX];
    let mut ns_of_guesses = 0.0;
    for ((lane, planned), outlook) in lanes.iter().zip(&mut draft.lanes).zip(&mut outlooks) {
        if let Some((source, class, n)) = lane.free {
            outlook.n_chain = n.min(lane.room).min(DRAFTS_MAX);
            state.sources[source].chances[class].reach(outlook.n_chain, &mut outlook.chain);
            planned.source = Some(source);
        }
        let Some(source) = costing else { continue };
        let n = depth.min(lane.room);
        let (chances, mut drafted) = (&state.sources[source].chances[0], [0.0; DRAFTS_MAX]);
        chances.reach(n, &mut drafted);
        let n_tokens = Outlook::tokens(&drafted, n);
        let is_better = n_tokens > Outlook::tokens(&outlook.chain, outlook.n_chain);
        if n > 0 && draft.n_rows + n <= rows_max && is_better {
            *outlook = Outlook::default();
            chances.reach_others(if branches { n } else { 0 }, &drafted, &mut outlook.beside);
            *planned = Planned { source: Some(source), n, n_others: 0 };
            draft.n_rows += n;
            draft.n_tokens += n_tokens;
            let each = state.sources[source].guess_ns;
            ns_of_guesses = n as f64 * each.unwrap_or_else(|steps| steps * state.costs.of(1));
        }
    }
    draft.ns = state.costs.of(draft.n_rows) + ns_of_guesses;
    let mut best = spread(state, lanes, draft, &outlooks, rows_max, ns_of_guesses);
    for lane in &mut best.lanes {
        lane.source = lane.source.filter(|_| lane.n > 0);
    }
    best
}

/// The best of the plans that come of `draft` when each further row goes to the likeliest guess: a later row may pay where the next alone does not.
fn spread(
    state: &State,
    lanes: &[Lane],
    mut draft: Draft,
    outlooks: &[Outlook; LANES_MAX],
    rows_max: usize,
    ns_of_guesses: f64,
) -> Draft {
    let mut best = draft;
    while draft.n_rows < rows_max {
        let further = draft.lanes.iter().zip(outlooks).zip(lanes).enumerate();
        let further = further.flat_map(|(i, ((planned, outlook), lane))| {
            let Planned { n, n_others, .. } = *planned;
            let chain = (n < outlook.n_chain).then(|| (i, outlook.chain[n], true));
            // What stands beside the chain does so from its beginning.
            let has_room = n_others < n && n + n_others < lane.room.min(DRAFTS_MAX);
            let other = (has_room && outlook.n_chain == 0).then(|| (i, outlook.beside[n_others], false));
            chain.into_iter().chain(other)
        });
        // The first of equals.
        let likeliest = further.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((i, chance, is_chain)) = likeliest.filter(|(_, chance, _)| *chance > 0.0) else { break };
        let lane = &mut draft.lanes[i];
        if is_chain {
            lane.n += 1;
        } else {
            lane.n_others += 1;
        }
        draft.n_rows += 1;
        draft.n_tokens += chance;
        draft.ns = state.costs.of(draft.n_rows) + ns_of_guesses;
        if draft.n_tokens / draft.ns > best.n_tokens / best.ns {
            best = draft;
        }
    }
    best
}

/// Has a drafter guess that was not used for long; one that reads first does so twice, as only what it does the second time tells its costs.
fn try_again(state: &mut State, lanes: &[Lane], room: usize, out: &mut [Planned]) {
    let due = |(_, source): &(usize, &mut Source)| source.is_trying || source.since >= source.wait;
    for (i, source) in state.sources.iter_mut().enumerate().filter(due) {
        let len = |lane: &Lane| match lane.free {
            Some((of, _, n)) if source.is_free && of == i => n,
            _ if source.is_free => 0,
            _ => TRY_LEN,
        };
        let lane = (0..lanes.len()).find(|&l| len(&lanes[l]).min(lanes[l].room).min(room) > 0);
        if let Some(lane) = lane {
            let n = len(&lanes[lane]).min(lanes[lane].room).min(room).min(TRY_LEN);
            out[lane] = Planned { source: Some(i), n, n_others: 0 };
            source.is_trying = !source.is_free && !source.is_trying;
            if !source.is_trying {
                source.wait = (TRY_LATER * source.wait).min(TRY_AGAIN.1);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state in which a step of `n` rows costs `cost(n)` and a drafter's guesses are chosen with `chance`.
    fn state(cost: impl Fn(usize) -> f64, source: Source, chance: f64) -> State {
        let mut state = State { sources: vec![source], ..State::default() };
        for n in 1..=ROWS_MAX {
            state.costs.measured(n, 1000.0 * cost(n));
        }
        for class in &mut state.sources[0].chances {
            for rate in &mut class.places {
                *rate = Rate { hits: 1e6 * chance, tries: 1e6 };
            }
            class.other = Rate { hits: 1.0, tries: 1e6 };
        }
        state
    }

    fn planned(state: &mut State, lanes: &[Lane]) -> Vec<Planned> {
        let mut out = Vec::new();
        plan(state, lanes, lanes.len(), ROWS_MAX, true, &mut out);
        out
    }

    const LANE: Lane = Lane { room: DRAFTS_MAX, free: None };

    fn flat(n: usize) -> f64 {
        1.0 + 0.06 * (n - 1) as f64
    }

    #[test]
    fn the_depth_is_the_best_one() {
        for (chance, guess) in [(0.5, 0.1), (0.8, 0.1), (0.8, 0.34), (0.95, 0.05), (0.99, 0.34)] {
            let mut state = state(flat, Source::costing(guess), chance);
            let rate = |k: usize| {
                let tokens: f64 = (0..=k).map(|i| f64::powi(chance, i as i32)).sum();
                tokens / (flat(1 + k) + k as f64 * guess)
            };
            let best = (0..=DRAFTS_MAX).max_by(|&a, &b| rate(a).total_cmp(&rate(b))).unwrap();
            let plan = planned(&mut state, &[LANE]);
            let expected = if rate(best) >= GAIN_MIN { best } else { 0 };
            assert_eq!(plan[0].n, expected, "chance {chance}, guess {guess}");
        }
    }

    #[test]
    fn nothing_is_guessed_where_that_does_not_pay_and_tried_again_rarely() {
        let mut state = state(flat, Source::costing(0.34), 0.2);
        let tries: Vec<usize> = (0..4000).filter(|_| planned(&mut state, &[LANE])[0].n > 0).collect();
        let (first, again): (Vec<usize>, Vec<usize>) =
            tries.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        // A step that is measured without guesses may lie between.
        assert!(first.iter().zip(&again).all(|(first, again)| again - first <= 2), "{tries:?}");
        let tries = first;
        assert!((5..12).contains(&tries.len()), "{tries:?}");
        assert!(tries.windows(3).all(|t| t[2] - t[1] >= t[1] - t[0]), "{tries:?}");
    }

    #[test]
    fn what_a_guess_costs_is_learnt_once_the_weights_are_awake() {
        let mut source = Source::costing(0.3);
        source.took(2, 50_000.0, 1000.0);
        assert_eq!(source.guess_ns, Err(0.3), "the first ones wake weights");
        (0..30).for_each(|_| source.took(2, 400.0, 1000.0));
        assert!((source.guess_ns.unwrap() - 200.0).abs() < 1.0, "{source:?}");
    }

    #[test]
    fn guesses_that_cost_nothing_are_taken_as_far_as_they_pay() {
        let lane = Lane { free: Some((0, 1, 12)), ..LANE };
        let mut sure = state(flat, Source::free(), 0.99);
        assert_eq!(planned(&mut sure, &[lane])[0], Planned { source: Some(0), n: 12, n_others: 0 });
        let mut unsure = state(flat, Source::free(), 0.3);
        assert!((1..4).contains(&planned(&mut unsure, &[lane])[0].n));
        let mut dear = state(|n| n as f64, Source::free(), 0.9);
        assert_eq!(planned(&mut dear, &[lane])[0].n, 0);
    }

    #[test]
    fn a_step_that_is_shared_gives_rows_to_the_likeliest() {
        let mut state = state(|n| if n <= 8 { 1.0 } else { n as f64 }, Source::free(), 0.9);
        state.sources[0].chances[2] = Chances::default();
        state.sources[0].chances[2].remember(8.0, 64.0);
        let lanes = [Lane { free: Some((0, 1, 15)), ..LANE }, Lane { free: Some((0, 2, 15)), ..LANE }, LANE];
        let plan = planned(&mut state, &lanes);
        assert!(plan[0].n == 5 && plan[1].n == 0 && plan[2].n == 0, "{plan:?}");
    }

    #[test]
    fn guesses_beside_the_chain_come_where_the_chain_parts() {
        let mut state = state(|n| if n <= 4 { 1.0 } else { n as f64 }, Source::costing(0.0), 0.55);
        state.sources[0].chances[0].other = Rate { hits: 9e5, tries: 1e6 };
        let plan = planned(&mut state, &[LANE]);
        assert!(plan[0].n_others > 0 && plan[0].n + plan[0].n_others == 3, "{plan:?}");
    }

    #[test]
    fn a_step_without_guesses_comes_now_and_then_and_first() {
        let mut state = State { sources: vec![Source::costing(0.1)], ..State::default() };
        assert_eq!(planned(&mut state, &[LANE])[0].n, 0, "nothing is known of steps");
        state.costs.measured(1, 1000.0);
        let n_plain = (0..650).filter(|_| planned(&mut state, &[LANE])[0].n == 0).count();
        assert_eq!(n_plain, 10);
    }

    #[test]
    fn chances_follow_what_is_judged() {
        let mut chances = Chances::default();
        for _ in 0..200 {
            chances.judged(2, true);
        }
        let mut reach = [0.0; DRAFTS_MAX];
        chances.reach(3, &mut reach);
        assert!(reach[1] > 0.85 && reach[2] < 0.1, "{reach:?}");
        for _ in 0..200 {
            chances.judged(3, false);
        }
        chances.reach(3, &mut reach);
        assert!(reach[2] > 0.6, "{reach:?}");
        let (hits, tries) = chances.kept();
        let mut later = Chances::default();
        later.remember(hits, tries);
        later.remember(5.0, 1.0);
        assert!((later.mean() - hits / tries).abs() < 0.2);
    }
}
