//! The shell around the plan: asks drafters, tells what came of it, measures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_model::kv::Kv;
use sha2::{Digest, Sha256};

use super::experience;
use super::plan::{self, Chances, Planned, Source, State};
use super::{Ask, DRAFTERS, DRAFTS_MAX, Drafter, Drafts, Judged, Kind, Plan, Tally, Target};
use crate::answer::Answer;
use crate::clock::Clock;
use crate::error::Result;
use crate::model_file::Loaded;

/// Tokens that a drafter reads with its first guess at hardly any cost.
const READ_BESIDE: usize = 3;

/// Which drafters guess, and how much.
#[derive(Debug)]
pub struct Speculation {
    clock: Clock,
    drafters: Vec<(&'static Kind, Box<dyn Drafter>)>,
    state: State,
    /// Guesses one behind the other, and beside those.
    shape: Option<(usize, usize)>,
    /// What each drafter is called where experience is kept.
    names: Vec<String>,
    /// Where experience is kept.
    experience: Option<PathBuf>,
    report: fn(&str),
}

impl Speculation {
    /// None yet; `clock` measures what steps cost.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            drafters: Vec::new(),
            state: State::default(),
            shape: None,
            names: Vec::new(),
            experience: None,
            report: |_| (),
        }
    }

    /// Guesses `n` tokens at a time, whatever that costs, in place of a plan.
    #[must_use]
    pub fn with_depth(self, n: Option<usize>) -> Self {
        Self { shape: n.map(|n| (n.min(DRAFTS_MAX), 0)), ..self }
    }

    /// The same with another guess beside each of the first `n_others`, where the drafter is a model.
    #[must_use]
    pub fn with_shape(self, n: usize, n_others: usize) -> Self {
        Self { shape: Some((n.min(DRAFTS_MAX), n_others)), ..self }
    }

    /// Recalls what was measured before of these drafters, which are all there will be, from a file in the folder `dir`, and keeps
    /// there what is measured now. What can't be written `report` is told.
    #[must_use]
    pub fn kept_in(mut self, dir: &Path, target: &Loaded, report: fn(&str)) -> Self {
        let file = format!("{}-{}.txt", short(target), target.n_threads());
        let path = dir.join(file);
        experience::recall(&path, &self.names, &mut self.state);
        Self { experience: Some(path), report, ..self }
    }

    /// Takes a drafter of this kind. Of several that cost something the first is used.
    ///
    /// # Errors
    /// When it can't be made, or its memory is more than the system can give.
    pub fn add(&mut self, kind: &'static Kind, plan: &Plan<'_>) -> Result<()> {
        let drafter = (kind.make)(plan)?;
        let target = &plan.target;
        let steps = match (plan.draft, plan.n_layers) {
            (Some(draft), _) => draft.file.n_bytes() as f64 / target.file.n_bytes().max(1) as f64,
            // The head besides, which is a quarter of a small model.
            (None, n) => 0.25 + n.unwrap_or(0) as f64 / target.model.config.layers.len() as f64,
        };
        self.take(kind, drafter, steps);
        let argument = match (kind.argument, plan.draft, plan.n_layers) {
            ("MODEL", Some(draft), _) => format!(":{}", short(draft)),
            ("K", _, Some(n)) => format!(":{n}"),
            _ => String::new(),
        };
        if let Some(name) = self.names.last_mut() {
            name.push_str(&argument);
        }
        Ok(())
    }

    /// Takes a drafter that was made elsewhere and counts as one of this kind; a guess is taken to cost so many steps of the model that judges
    /// until it is measured.
    pub fn take(&mut self, kind: &'static Kind, drafter: Box<dyn Drafter>, steps: f64) {
        self.state.sources.push(if kind.is_free { Source::free() } else { Source::costing(steps) });
        self.drafters.push((kind, drafter));
        self.names.push(kind.name.to_owned());
    }

    /// The same with each drafter as `wrap` returns it: one that has it guess, and says something else, costs what it costs.
    #[must_use]
    pub fn wrapped(
        mut self,
        mut wrap: impl FnMut(&'static Kind, Box<dyn Drafter>) -> Box<dyn Drafter>,
    ) -> Self {
        let drafters = self.drafters.into_iter();
        self.drafters = drafters.map(|(kind, drafter)| (kind, wrap(kind, drafter))).collect();
        self
    }

    /// Whether there is no drafter.
    pub fn is_empty(&self) -> bool {
        self.drafters.is_empty()
    }

    /// Bytes that drafters hold.
    pub fn n_bytes(&self) -> u64 {
        self.drafters.iter().map(|(_, drafter)| drafter.n_bytes()).sum()
    }

    /// The drafters' names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.drafters.iter().map(|(kind, _)| kind.name)
    }
}

/// What tells a model from others, on its tier, in 16 letters: its tensors, not their values, which would have to be read.
fn short(loaded: &Loaded) -> String {
    let mut hash = Sha256::new();
    for tensor in loaded.file.contents().tensors() {
        hash.update(format!("{} {:?} {} ", tensor.name, tensor.shape, tensor.format.name));
    }
    hash.update(format!("{} on {}", loaded.file.n_bytes(), loaded.tier()));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Drop for Speculator {
    /// Keeps what was learned.
    fn drop(&mut self) {
        let Speculation { drafters, state, names, experience, report, .. } = &mut self.speculation;
        for (_, drafter) in drafters {
            if let Err(e) = drafter.save() {
                report(&e.to_string());
            }
        }
        if let Some(path) = experience
            && let Err(e) = experience::keep(path, names, state)
        {
            report(&format!("{}: {e}; what was measured of guesses is forgotten", path.display()));
        }
    }
}

/// An answer that takes part in a step.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Which of the sequences.
    pub lane: usize,
    /// All tokens of it that are sure.
    pub tokens: &'a [u32],
    /// Its cache, which lacks some of them.
    pub kv: &'a mut Kv,
    /// The answer.
    pub answer: &'a mut Answer,
    /// The most guesses that it may have.
    pub room: usize,
}

/// Drafters at work beside a session, or beside the lanes of an engine.
#[derive(Debug)]
pub struct Speculator {
    speculation: Speculation,
    lanes: Vec<Lane>,
    views: Vec<plan::Lane>,
    planned: Vec<Planned>,
    began: Duration,
    drafting: Duration,
}

#[derive(Debug, Default)]
struct Lane {
    drafts: Drafts,
    source: Option<usize>,
    tally: Tally,
}

impl Speculator {
    /// For sequences `0..n_lanes`.
    pub fn new(speculation: Speculation, n_lanes: usize) -> Self {
        Self {
            speculation,
            lanes: (0..n_lanes).map(|_| Lane::default()).collect(),
            views: Vec::with_capacity(n_lanes),
            planned: Vec::with_capacity(n_lanes),
            began: Duration::ZERO,
            drafting: Duration::ZERO,
        }
    }

    /// What is known of drafters and steps.
    pub fn state(&self) -> &State {
        &self.speculation.state
    }

    /// Bytes that drafters hold.
    pub fn n_bytes(&self) -> u64 {
        self.speculation.n_bytes()
    }

    /// The guesses for a lane's next step.
    pub fn drafts(&self, lane: usize) -> &Drafts {
        &self.lanes[lane].drafts
    }

    /// What came of guesses for a lane since this was last asked.
    pub fn take_tally(&mut self, lane: usize) -> Tally {
        std::mem::take(&mut self.lanes[lane].tally)
    }

    /// A step begins, without guesses unless there are [proposals](Self::propose).
    pub fn begin(&mut self) {
        (self.began, self.drafting) = (self.speculation.clock.now(), Duration::ZERO);
        for lane in &mut self.lanes {
            lane.drafts.clear();
            lane.source = None;
        }
    }

    /// Guesses for a step in which `turns` go on together, feed `n_rows` tokens that are sure, and have room for `rows_max` rows.
    /// A drafter that fails is not asked again.
    pub fn propose(&mut self, target: &Target<'_>, turns: &mut [Turn<'_>], n_rows: usize, rows_max: usize) {
        let Self { speculation, lanes, views, planned, .. } = self;
        let Speculation { clock, drafters, state, shape, report, .. } = speculation;
        if turns.is_empty() || drafters.is_empty() || turns.iter().any(|turn| turn.kv.recurs()) {
            return;
        }
        views.clear();
        for turn in &mut *turns {
            let Lane { drafts, .. } = &mut lanes[turn.lane];
            let room = turn.room.min(DRAFTS_MAX).min(turn.answer.n_left().saturating_sub(1));
            let mut view = plan::Lane { room, free: None };
            let free = drafters.iter_mut().enumerate().filter(|(_, (kind, _))| kind.is_free);
            for (source, (_, drafter)) in free {
                let Turn { lane, tokens, ref mut kv, ref mut answer, .. } = *turn;
                let ask = Ask { lane, tokens, kv, answer, n: room, n_others: 0, n_read: 0, drafts };
                if room == 0 || drafter.draft(target, &mut [ask]).is_err() {
                    drafts.clear();
                }
                if !drafts.is_empty() {
                    view.free = Some((source, drafts.class, drafts.len()));
                    break;
                }
            }
            views.push(view);
        }
        let branches = target.loaded.model.takes_branches();
        match *shape {
            None => {
                plan::plan(state, views, n_rows, rows_max, branches, planned);
            }
            Some((n, n_others)) => {
                let shape = (n, if branches { n_others } else { 0 });
                plan::fixed(state, shape, views, n_rows, rows_max, planned);
            }
        }
        let mut asks: Vec<Ask<'_>> = Vec::new();
        let mut costing = None;
        let mut each_lane: Vec<Option<&mut Lane>> = lanes.iter_mut().map(Some).collect();
        for ((turn, plan), view) in turns.iter_mut().zip(&*planned).zip(&*views) {
            let Some(Lane { drafts, source, .. }) = each_lane[turn.lane].take() else { continue };
            *source = plan.source;
            if plan.source.is_some() && plan.source == view.free.map(|(source, ..)| source) {
                drafts.truncate(plan.n);
                continue;
            }
            drafts.clear();
            if plan.source.is_some() {
                costing = plan.source;
                let Turn { lane, tokens, ref mut kv, ref mut answer, .. } = *turn;
                asks.push(Ask {
                    lane,
                    tokens,
                    kv,
                    answer,
                    n: plan.n,
                    n_others: plan.n_others,
                    n_read: 0,
                    drafts,
                });
            }
        }
        let Some(source) = costing else { return };
        let start = clock.now();
        let (_, drafter) = &mut drafters[source];
        let drafted = drafter.draft(target, &mut asks);
        let n_drafted = asks.iter().map(|ask| ask.drafts.chain().len()).max().unwrap_or(0);
        if let Err(e) = drafted {
            asks.iter_mut().for_each(|ask| ask.drafts.clear());
            state.sources[source].is_gone = true;
            report(&format!("{e}; it guesses no more"));
        }
        self.drafting = clock.now() - start;
        // Where it had to read first, nothing is learnt of what guesses cost.
        if n_drafted > 0 && asks.iter().all(|ask| ask.n_read <= READ_BESIDE) {
            let one_ns = state.costs.of(1);
            state.sources[source].took(n_drafted, self.drafting.as_nanos() as f64, one_ns);
        }
    }

    /// An answer has ended well.
    pub fn learn(&mut self, answer: &[u32]) {
        self.speculation.drafters.iter_mut().for_each(|(_, drafter)| drafter.learn(answer));
    }

    /// A lane's answer went as far as `row`, and on to a token that was not guessed if `parted`.
    pub fn judge(&mut self, lane: usize, row: usize, parted: bool) -> Judged {
        let Lane { drafts, source, tally } = &mut self.lanes[lane];
        let judged = drafts.judged(row, parted);
        let Some(source) = source.filter(|_| !drafts.is_empty()) else { return judged };
        let chances: &mut Chances = &mut self.speculation.state.sources[source].chances[drafts.class];
        chances.judged(judged.n_chain, judged.parted);
        if judged.parted && drafts.others().any(|(behind, _)| behind == judged.n_chain) {
            chances.judged_other(judged.other);
        }
        let kind = self.speculation.drafters[source].0;
        let kind = DRAFTERS.iter().position(|known| std::ptr::eq(*known, kind)).expect("a kind of the shelf");
        tally.count(kind, drafts.len(), judged.n_accepted());
        judged
    }

    /// The step is over: `n_lanes` lanes fed `n_rows` rows, guesses included, and chose `n_chosen` tokens.
    pub fn end(&mut self, n_lanes: usize, n_rows: usize, n_chosen: usize) {
        let Speculation { clock, state, .. } = &mut self.speculation;
        let all = clock.now() - self.began;
        let (all, drafting) = (all.as_nanos() as f64, self.drafting.as_nanos() as f64);
        state.costs.measured(n_rows, all - drafting);
        let n_guessing = self.lanes.iter().filter(|lane| !lane.drafts.is_empty()).count();
        // What was saved is known where steps without guesses were measured.
        if n_guessing == 0 && self.drafting.is_zero() || !state.costs.knows(n_lanes) {
            return;
        }
        let plain = state.costs.of(n_lanes) / n_lanes.max(1) as f64;
        let saved = (n_chosen as f64 * plain - all) / n_guessing.max(1) as f64;
        for lane in self.lanes.iter_mut().filter(|lane| n_guessing == 0 || !lane.drafts.is_empty()) {
            lane.tally.saved_ns += saved as i64;
            if n_guessing == 0 {
                break;
            }
        }
    }
}
