//! Which models are in memory: one ledger of bytes, one budget, and a plan that keeps the one within the other.
//!
//! A model is *hot* (its weights are in the process), *warm* (mapped, but its page tables are dropped: touching them again costs
//! milliseconds as long as the system keeps the file cached), *cold* (unmapped; its file is known) or *gone*. Beside that its
//! sessions may be at *rest*: what they hold has left memory, for files where there is a folder for them ([`crate::kv_dir`]).
//!
//! Reading order: [`ledger`] counts, [`need`] says before anything is loaded what a model will take, [`budget`] what there may be,
//! [`uses`] how likely a model is wanted again, [`mod@plan`] what to do about it. All of it is arithmetic: whoever has the models
//! performs the actions, and tells the [`State`] what was done ([`State::apply`]).
//!
//! Left out: fetching, files and names, which are the program's; parts of a model (a layer, an expert) are never dropped alone.

pub mod budget;
pub mod ledger;
pub mod need;
pub mod plan;
pub mod uses;

use std::time::Duration;

pub use ledger::Ledger;
pub use plan::{Action, Input, Pressure, Refusal, plan};
pub use uses::Uses;

/// Where a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Its weights are in the process.
    Hot,
    /// Mapped, without page tables.
    Warm,
    /// Not mapped; it can be loaded.
    Cold,
    /// It can't be loaded any more.
    Gone,
}

impl Tier {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Gone => "gone",
        }
    }
}

/// A model and what the plan has to know of it.
#[derive(Debug, Clone)]
pub struct Resident {
    /// Where it is.
    pub tier: Tier,
    /// Whether what its sessions hold has left memory.
    pub rests: bool,
    /// What it takes when it is hot and at work, as it is loaded.
    pub ledger: Ledger,
    /// Ways to load it, the best first: what each takes.
    pub offers: Vec<Ledger>,
    /// When and how often it was asked for.
    pub uses: Uses,
    /// Requests that it has in hand; more than none keep it as it is.
    pub n_busy: usize,
    /// It is never made room of.
    pub is_pinned: bool,
    /// It becomes cold when it was not asked for so long.
    pub keep_alive: Option<Duration>,
    /// What it takes to bring it from cold, as measured, or as estimated before the first time.
    pub reload: Duration,
    /// What it takes to bring its weights back from warm.
    pub retouch: Duration,
    /// What it takes to have its sessions back: from files, or by computing them anew.
    pub resume: Duration,
}

impl Resident {
    /// A model that is known and not loaded.
    pub fn cold(offers: Vec<Ledger>, reload: Duration) -> Self {
        Self {
            tier: Tier::Cold,
            rests: false,
            ledger: offers.first().copied().unwrap_or_default(),
            offers,
            uses: Uses::default(),
            n_busy: 0,
            is_pinned: false,
            keep_alive: None,
            reload,
            retouch: Duration::ZERO,
            resume: Duration::ZERO,
        }
    }

    /// Bytes that it has of the budget.
    pub fn held(&self) -> u64 {
        let sessions = if self.rests { self.ledger.sessions() } else { 0 };
        match self.tier {
            Tier::Hot => self.ledger.total().saturating_sub(sessions),
            Tier::Warm => self.ledger.total().saturating_sub(self.ledger.mapped).saturating_sub(sessions),
            Tier::Cold | Tier::Gone => 0,
        }
    }

    /// Whether room can be made of it.
    pub fn is_idle(&self) -> bool {
        self.n_busy == 0 && !self.is_pinned
    }

    /// Whether it is mapped.
    pub fn is_loaded(&self) -> bool {
        matches!(self.tier, Tier::Hot | Tier::Warm)
    }
}

/// All models of a process.
#[derive(Debug, Clone)]
pub struct State {
    /// Bytes that all of it may take.
    pub budget: u64,
    /// Bytes that the program takes without a model.
    pub fixed: u64,
    /// The time since some moment that stays the same.
    pub now: Duration,
    /// The models; they are called by their places.
    pub models: Vec<Resident>,
}

impl State {
    /// Bytes that are taken of the budget.
    pub fn used(&self) -> u64 {
        self.models.iter().fold(self.fixed, |sum, model| sum.saturating_add(model.held()))
    }

    /// Notes what was done. What is refused or waited for changes nothing.
    pub fn apply(&mut self, action: &Action) {
        match *action {
            Action::DropPages { model } => self.models[model].tier = Tier::Warm,
            Action::Rest { model } => self.models[model].rests = true,
            Action::Unmap { model } => {
                let model = &mut self.models[model];
                (model.tier, model.rests) = (Tier::Cold, false);
            }
            Action::Load { model, offer } => {
                let model = &mut self.models[model];
                model.ledger = model.offers[offer];
                (model.tier, model.rests) = (Tier::Hot, false);
            }
            Action::Prefault { model } => {
                let model = &mut self.models[model];
                (model.tier, model.rests) = (Tier::Hot, false);
            }
            Action::Wait | Action::Refuse(_) => {}
        }
    }
}
