//! What to do about a model's releases: a pure function from what is known and what has happened to actions.
//!
//! The rules, in the order they are asked:
//! - What was taken back is not used: the other slot is, if it may be, or nothing is.
//! - Versions only rise. Below the floor nothing is installed and nothing fallen back to; what failed here is not tried again.
//! - A release is taken when the device is among those it is for, and when the user or the user's policy says yes.
//! - A new release is on probation: every use that begins is a try, and one that ends well gives all tries back. When tries run
//!   out and nobody uses it who may still end well, the other slot is used again, also before a newer release takes that slot; when enough uses ended well the release is good, and its minimum version is the floor.
//! - Without fresh word for longer than the grace, a model is used with a warning or not at all, as the user chose.

use super::offer::{Offer, Revocation};
use super::rollout::takes_part;
use super::state::{Blocked, Consent, Model, Slot, Source, Standing, WhenStale};

/// Uses that may begin, one after the other, without one that ended well; and uses that make a release good.
pub const TRIES: u32 = 3;
/// Uses that must end well before a release is good.
pub const USES: u32 = 5;
/// Failed releases that are remembered.
const BLOCKED_MAX: usize = 64;
const DAY_SECONDS: u64 = 86_400;

/// How a release begins.
pub const PROBATION: Standing = Standing::Probation { tries_left: TRIES, uses_left: USES };

/// What is known of one model.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its name.
    pub name: &'a str,
    /// The device's random number.
    pub device: &'a str,
    /// Where its releases come from.
    pub source: &'a Source,
    /// What is here.
    pub model: &'a Model,
    /// A program uses the active slot.
    pub is_in_use: bool,
}

/// What has happened.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Metadata was verified, and offers this.
    Offered(&'a [Offer], Asked),
    /// A step failed.
    Failed(&'a Offer, Step, &'a str),
    /// Somebody wants to use the model, now, in seconds since 1970.
    Opening(u64),
    /// A use ended well.
    Ended,
    /// The user wants the version before.
    RollBack,
}

/// What the user said of the update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the policy decides.
    Nothing,
    /// Yes, when it is this device's turn.
    Yes,
    /// Yes, and now.
    YesNow,
}

/// A step of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Files did not come, or not as metadata says; or they can't be read.
    Fetch,
    /// The publisher did not sign them.
    Signature,
    /// They are no model.
    Structure,
    /// They do not achieve what they must.
    Smoke,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell the user.
    Tell(String),
    /// Tell the user, and end with an error.
    Refuse(String),
    /// Ask the user whether to install this.
    Ask(Offer),
    /// Bring its files here, each verified by its hash.
    Fetch(Offer),
    /// Verify the publisher's signature over the files.
    CheckSignature(Offer),
    /// Have a child open it.
    CheckStructure(Offer),
    /// Have a child measure it.
    CheckSmoke(Offer),
    /// Put it into a slot and use that from now on.
    Switch(Offer),
    /// Remove what came of this version.
    Discard(u64),
    /// Do not try this version again.
    Block(u64, String),
    /// Use the other slot from now on.
    FallBack,
    /// A use begins.
    CountTry,
    /// A use ended well.
    CountUse,
    /// The release has proved itself.
    MarkGood,
    /// Open what is in use.
    Open,
}

impl Action {
    /// Whether what is used is given up by it.
    pub(super) fn gives_up(&self) -> bool {
        matches!(self, Self::Block(..) | Self::FallBack)
    }
}

/// Says what to do. Pure.
pub fn plan(known: &Known<'_>, input: Input<'_>) -> Vec<Action> {
    match input {
        Input::Offered(offers, asked) => offered(known, offers, asked),
        Input::Failed(offer, step, why) => failed(offer, step, why),
        Input::Opening(now) => opening(known, now),
        Input::Ended => ended(known),
        Input::RollBack => roll_back(known),
    }
}

/// Does to a model what an action says of it; the others change nothing in it. Pure.
pub fn apply(model: &mut Model, action: &Action) {
    match action {
        Action::Block(version, why) => {
            model.blocked.retain(|b| b.version != *version);
            model.blocked.push(Blocked { version: *version, why: why.clone() });
            let n_over = model.blocked.len().saturating_sub(BLOCKED_MAX);
            model.blocked.drain(..n_over);
        }
        Action::FallBack => {
            std::mem::swap(&mut model.active, &mut model.other);
            if let Some(active) = &mut model.active {
                active.standing = Standing::Good;
            }
        }
        Action::CountTry => {
            if let Some(Standing::Probation { tries_left, .. }) = standing(model) {
                *tries_left = tries_left.saturating_sub(1);
            }
        }
        Action::CountUse => {
            if let Some(Standing::Probation { tries_left, uses_left }) = standing(model) {
                (*tries_left, *uses_left) = (TRIES, uses_left.saturating_sub(1));
            }
        }
        Action::MarkGood => {
            if let Some(active) = &mut model.active {
                active.standing = Standing::Good;
                model.floor = model.floor.max(active.minimum_version);
            }
        }
        _ => {}
    }
}

/// Puts a checked release to use; what was used before is what to fall back to. Pure.
pub fn switch(model: &mut Model, slot: Slot) {
    model.other = model.active.replace(slot);
}

fn standing(model: &mut Model) -> Option<&mut Standing> {
    model.active.as_mut().map(|slot| &mut slot.standing)
}

impl Known<'_> {
    fn is_followed(&self) -> bool {
        !self.source.is_unfollowed && !self.model.is_unfollowed
    }

    fn revocation(&self, slot: &Slot) -> Option<&Revocation> {
        self.source.revoked.iter().find(|r| r.is_of(self.name, slot.version, &slot.digest))
    }

    /// Why what is used now has to be given up.
    fn fault(&self, active: &Slot) -> Option<String> {
        let taken_back = self.revocation(active).map(|revoked| format!("taken back: {}", revoked.why));
        let has_failed = active.standing.has_no_tries() && !self.is_in_use;
        taken_back.or_else(|| has_failed.then(|| format!("{TRIES} uses in a row did not end well")))
    }

    /// The other slot, or why it may not be used.
    fn other(&self) -> Result<&Slot, String> {
        let Some(other) = &self.model.other else { return Err("there is no other version here".into()) };
        let version = other.version;
        if let Some(revoked) = self.revocation(other) {
            return Err(format!("version {version} was taken back: {}", revoked.why));
        }
        if let Some(blocked) = self.model.blocked.iter().find(|b| b.version == version) {
            return Err(format!("version {version} failed here: {}", blocked.why));
        }
        if version < self.model.floor {
            return Err(format!(
                "version {version} is below {}, the lowest that is still allowed",
                self.model.floor
            ));
        }
        Ok(other)
    }

    /// Gives up what is in use for the other slot, or says why that can't be.
    fn give_up(&self, active: &Slot, why: &str) -> Result<Vec<Action>, String> {
        let other = self.other()?;
        let (name, from, to) = (self.name, active.version, other.version);
        Ok(vec![
            Action::Block(from, why.to_owned()),
            Action::FallBack,
            Action::Tell(format!("{name}: version {from} is given up ({why}); version {to} is used again")),
        ])
    }
}

fn offered(known: &Known<'_>, offers: &[Offer], asked: Asked) -> Vec<Action> {
    let mut actions = Vec::new();
    let (name, model) = (known.name, known.model);
    // What is no good is given up first: otherwise the slot that it is in would be what the newer release falls back to.
    if let Some((slot, why)) = model.active.as_ref().and_then(|slot| Some((slot, known.fault(slot)?))) {
        actions = known.give_up(slot, &why).unwrap_or_else(|no_other| {
            vec![Action::Tell(format!("{name}: version {} is no good ({why}), and {no_other}", slot.version))]
        });
    }
    let active = model.active.as_ref().map_or(0, |slot| slot.version);
    // Of the same model, the newest first; why each is not taken is told of the newest alone.
    let mut newer: Vec<&Offer> = offers.iter().filter(|o| o.model == name && o.version > active).collect();
    newer.sort_by_key(|offer| std::cmp::Reverse(offer.version));
    let mut passed_over = None;
    for offer in newer {
        match obstacle(known, offer, asked) {
            None => {
                actions.extend(take(known, offer, asked));
                return actions;
            }
            Some(why) => {
                passed_over
                    .get_or_insert(format!("{name}: version {} is not installed: {why}", offer.version));
            }
        }
    }
    let current = match active {
        0 => format!("{name}: nothing is offered"),
        version => format!("{name}: version {version} is the newest there is for this device"),
    };
    actions.push(Action::Tell(passed_over.unwrap_or(current)));
    actions
}

/// Why an offer is not for this device.
fn obstacle(known: &Known<'_>, offer: &Offer, asked: Asked) -> Option<String> {
    let (version, terms) = (offer.version, &offer.terms);
    if let Some(revoked) = known.source.revoked.iter().find(|r| r.is_of(known.name, version, "")) {
        return Some(format!("it was taken back: {}", revoked.why));
    }
    if version < known.model.floor {
        return Some(format!("it is below {}, the lowest that is still allowed", known.model.floor));
    }
    if let Some(blocked) = known.model.blocked.iter().find(|b| b.version == version) {
        return Some(format!("it failed here before: {}", blocked.why));
    }
    let is_its_turn = takes_part(known.device, known.name, version, &terms.salt, terms.percent);
    (!is_its_turn && asked != Asked::YesNow).then(|| {
        format!(
            "it goes to {} % of devices for now, and this one is not among them (--now takes it)",
            terms.percent
        )
    })
}

fn take(known: &Known<'_>, offer: &Offer, asked: Asked) -> Vec<Action> {
    // A policy speaks for models that the user once chose.
    let is_chosen = known.model.active.is_some() && known.is_followed();
    let is_automatic = known.source.policy.consent == Consent::Auto && is_chosen;
    if asked == Asked::Nothing && !is_automatic {
        return vec![Action::Ask(offer.clone())];
    }
    vec![
        Action::Fetch(offer.clone()),
        Action::CheckSignature(offer.clone()),
        Action::CheckStructure(offer.clone()),
        Action::CheckSmoke(offer.clone()),
        Action::Switch(offer.clone()),
    ]
}

fn failed(offer: &Offer, step: Step, why: &str) -> Vec<Action> {
    let version = offer.version;
    match step {
        // What has come is kept, and the next attempt goes on behind it: whoever sent wrong bytes may send the right ones tomorrow.
        Step::Fetch => Vec::new(),
        Step::Signature | Step::Structure | Step::Smoke => {
            vec![Action::Discard(version), Action::Block(version, why.to_owned())]
        }
    }
}

fn opening(known: &Known<'_>, now: u64) -> Vec<Action> {
    let (name, model, policy) = (known.name, known.model, known.source.policy);
    let Some(active) = &model.active else {
        return vec![Action::Refuse(format!("{name}: nothing is installed yet; `ingle update {name}` does"))];
    };
    if let Some(revoked) = known.revocation(active) {
        let why = format!("taken back: {}", revoked.why);
        return match known.give_up(active, &why) {
            Ok(actions) => actions.into_iter().chain([Action::Open]).collect(),
            Err(no_other) => vec![Action::Refuse(format!(
                "{name}: version {} was {why}; {no_other}; `ingle update {name}` looks for a newer one",
                active.version
            ))],
        };
    }
    let mut actions = Vec::new();
    let days = now.saturating_sub(known.source.fresh_at) / DAY_SECONDS;
    // No word is awaited of what is not followed.
    if days > u64::from(policy.grace_days) && known.is_followed() {
        let said = format!(
            "{name}: no fresh word from its publisher for {days} days ({} are allowed); `ingle update` asks for it",
            policy.grace_days
        );
        match policy.when_stale {
            WhenStale::Refuse => return vec![Action::Refuse(said)],
            WhenStale::Warn => actions.push(Action::Tell(said)),
        }
    }
    match known.fault(active) {
        Some(why) => match known.give_up(active, &why) {
            Ok(given_up) => actions.extend(given_up),
            Err(no_other) => {
                let version = active.version;
                actions.push(Action::Tell(format!("{name}: version {version}: {why}, and {no_other}")));
            }
        },
        // Uses that run side by side have all begun before one of them ends.
        None if active.standing.has_no_tries() => {}
        None if active.standing != Standing::Good => actions.push(Action::CountTry),
        None => {}
    }
    actions.push(Action::Open);
    actions
}

fn ended(known: &Known<'_>) -> Vec<Action> {
    match known.model.active.as_ref().map(|slot| slot.standing) {
        Some(Standing::Probation { uses_left: 0 | 1, .. }) => vec![Action::MarkGood],
        Some(Standing::Probation { .. }) => vec![Action::CountUse],
        _ => Vec::new(),
    }
}

fn roll_back(known: &Known<'_>) -> Vec<Action> {
    let name = known.name;
    let Some(active) = &known.model.active else {
        return vec![Action::Refuse(format!("{name}: nothing is installed"))];
    };
    known.give_up(active, "rolled back by hand").unwrap_or_else(|no_other| {
        vec![Action::Refuse(format!("{name}: version {} stays: {no_other}", active.version))]
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
