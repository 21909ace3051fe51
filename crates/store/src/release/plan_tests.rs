//! The rules, one after the other, without disk, clock or network.

use super::super::offer::{Smoke, Terms};
use super::super::state::{Policy, Trusted};
use super::*;

fn offer(version: u64, percent: u8) -> Offer {
    let terms = Terms {
        open: "m.gguf".into(),
        percent,
        salt: "s".into(),
        minimum_version: 1,
        smoke: Smoke::default(),
    };
    Offer { model: "chat".into(), version, terms, files: Vec::new() }
}

fn slot(version: u64, standing: Standing) -> Slot {
    Slot { minimum_version: version, ..Slot::of(&offer(version, 100), &format!("{version:064}"), standing) }
}

fn source(consent: Consent, when_stale: WhenStale) -> Source {
    Source {
        publisher: String::new(),
        policy: Policy { consent, grace_days: 30, when_stale },
        trusted: Trusted::default(),
        fresh_at: 1_000_000_000,
        revoked: Vec::new(),
        models: Default::default(),
        is_unfollowed: false,
    }
}

fn revoke(source: &mut Source, version: u64) {
    let (model, why) = ("chat".into(), "harmful".into());
    source.revoked.push(Revocation { model, version: Some(version), digest: None, why });
}

fn ask(source: &Source, model: &Model, input: Input<'_>) -> Vec<Action> {
    plan(&Known { name: "chat", device: "d", source, model, is_in_use: false }, input)
}

fn told(actions: &[Action]) -> String {
    let text = |action: &Action| match action {
        Action::Tell(text) | Action::Refuse(text) => Some(text.clone()),
        _ => None,
    };
    actions.iter().filter_map(text).collect::<Vec<_>>().join("; ")
}

fn with_two() -> Model {
    Model { active: Some(slot(3, PROBATION)), other: Some(slot(2, Standing::Good)), ..Model::default() }
}

#[test]
fn nothing_is_installed_without_a_yes_or_a_policy_for_what_was_once_chosen() {
    let offers = [offer(1, 100), offer(4, 100)];
    let is_asked = |actions: &[Action]| matches!(actions, [Action::Ask(o)] if o.version == 4);
    let is_done =
        |actions: &[Action]| matches!(actions, [Action::Fetch(_), .., Action::Switch(o)] if o.version == 4);
    for consent in [Consent::Ask, Consent::Auto] {
        let source = source(consent, WhenStale::Warn);
        let absent = ask(&source, &Model::default(), Input::Offered(&offers, Asked::Nothing));
        assert!(is_asked(&absent), "{consent:?}: {absent:?}");
        let here = ask(&source, &with_two(), Input::Offered(&offers, Asked::Nothing));
        assert_eq!((is_asked(&here), is_done(&here)), (consent == Consent::Ask, consent == Consent::Auto));
        assert!(is_done(&ask(&source, &Model::default(), Input::Offered(&offers, Asked::Yes))));
    }
}

/// Every order of the checks is one the disk could be tricked by: signature before anything opens it, switch last.
#[test]
fn a_release_is_switched_to_after_all_its_checks() {
    let actions = ask(
        &source(Consent::Ask, WhenStale::Warn),
        &Model::default(),
        Input::Offered(&[offer(1, 100)], Asked::Yes),
    );
    let expected = [
        Action::Fetch(offer(1, 100)),
        Action::CheckSignature(offer(1, 100)),
        Action::CheckStructure(offer(1, 100)),
        Action::CheckSmoke(offer(1, 100)),
        Action::Switch(offer(1, 100)),
    ];
    assert_eq!(actions, expected);
}

#[test]
fn versions_only_rise_and_what_failed_is_not_tried_again() {
    let source = source(Consent::Auto, WhenStale::Warn);
    let mut model = with_two();
    let offers = [offer(1, 100), offer(2, 100), offer(3, 100)];
    assert!(
        told(&ask(&source, &model, Input::Offered(&offers, Asked::YesNow)))
            .contains("version 3 is the newest")
    );
    let newer = [offer(4, 100), offer(5, 100)];
    apply(&mut model, &Action::Block(5, "slow".into()));
    let actions = ask(&source, &model, Input::Offered(&newer, Asked::YesNow));
    assert!(matches!(actions.last(), Some(Action::Switch(o)) if o.version == 4));
    model.floor = 9;
    let said = told(&ask(&source, &model, Input::Offered(&newer[..1], Asked::YesNow)));
    assert!(said.contains("below 9"), "{said}");
}

#[test]
fn a_staged_release_waits_for_its_turn_or_for_the_users_word() {
    let source = source(Consent::Auto, WhenStale::Warn);
    let none = [offer(4, 0)];
    assert!(told(&ask(&source, &with_two(), Input::Offered(&none, Asked::Yes))).contains("0 % of devices"));
    let actions = ask(&source, &with_two(), Input::Offered(&none, Asked::YesNow));
    assert!(matches!(actions.last(), Some(Action::Switch(_))));
    // The older one, which is for all, is taken meanwhile.
    let both = [offer(5, 0), offer(4, 100)];
    let actions = ask(&source, &with_two(), Input::Offered(&both, Asked::Yes));
    assert!(matches!(actions.last(), Some(Action::Switch(o)) if o.version == 4));
}

#[test]
fn tries_run_out_and_the_other_slot_is_used_again() {
    let source = source(Consent::Auto, WhenStale::Warn);
    let mut model = with_two();
    for _ in 0..TRIES {
        let actions = ask(&source, &model, Input::Opening(source.fresh_at));
        assert_eq!(actions, [Action::CountTry, Action::Open]);
        actions.iter().for_each(|a| apply(&mut model, a));
    }
    let actions = ask(&source, &model, Input::Opening(source.fresh_at));
    actions.iter().for_each(|a| apply(&mut model, a));
    assert_eq!(actions.last(), Some(&Action::Open));
    assert_eq!(model.active.as_ref().map(|s| s.version), Some(2));
    assert_eq!(model.blocked[0].version, 3);
    // It is not offered again, and there is no way back to it.
    assert!(
        told(&ask(&source, &model, Input::Offered(&[offer(3, 100)], Asked::YesNow))).contains("failed here")
    );
    assert!(told(&ask(&source, &model, Input::RollBack)).contains("failed here"));
    // The first release of all has nothing behind it: it goes on being opened.
    let mut only = Model { active: model.other.take(), ..Model::default() };
    only.active.as_mut().unwrap().standing = Standing::Probation { tries_left: 0, uses_left: 1 };
    let actions = ask(&source, &only, Input::Opening(source.fresh_at));
    assert!(told(&actions).contains("there is no other version") && actions.contains(&Action::Open));
}

#[test]
fn uses_that_run_side_by_side_are_no_failures() {
    let source = source(Consent::Auto, WhenStale::Warn);
    let mut model = with_two();
    let opening = |model: &Model, is_in_use| {
        plan(
            &Known { name: "chat", device: "d", source: &source, model, is_in_use },
            Input::Opening(source.fresh_at),
        )
    };
    for n in 0..10 {
        let actions = opening(&model, n > 0);
        actions.iter().for_each(|a| apply(&mut model, a));
        assert_eq!(actions.last(), Some(&Action::Open));
    }
    assert_eq!((model.active.as_ref().map(|s| s.version), model.blocked.len()), (Some(3), 0));
    // Once all of them have ended, and none well, it is a failure.
    assert!(told(&opening(&model, false)).contains("version 3 is given up"));
    ask(&source, &model, Input::Ended).iter().for_each(|a| apply(&mut model, a));
    assert_eq!(opening(&model, false), [Action::CountTry, Action::Open]);
}

/// The release that a newer one falls back to is one that worked.
#[test]
fn a_release_that_has_failed_is_given_up_before_a_newer_one_comes() {
    let source = source(Consent::Auto, WhenStale::Warn);
    let mut model = with_two();
    model.active.as_mut().unwrap().standing = Standing::Probation { tries_left: 0, uses_left: 5 };
    let offers = [offer(4, 100)];
    let actions = ask(&source, &model, Input::Offered(&offers, Asked::Nothing));
    assert!(told(&actions).contains("version 3 is given up (3 uses in a row"), "{actions:?}");
    assert!(matches!(actions.last(), Some(Action::Switch(_))));
    actions.iter().for_each(|a| apply(&mut model, a));
    assert_eq!(model.active.as_ref().map(|s| s.version), Some(2));
    switch(&mut model, slot(4, PROBATION));
    assert_eq!(model.other.as_ref().map(|s| s.version), Some(2));
}

#[test]
fn uses_that_end_well_make_a_release_good_and_raise_the_floor() {
    let source = source(Consent::Auto, WhenStale::Warn);
    let mut model = with_two();
    for n in 0..USES {
        assert_eq!(model.floor, 0, "after {n} uses");
        for input in [Input::Opening(source.fresh_at), Input::Ended] {
            ask(&source, &model, input).iter().for_each(|a| apply(&mut model, a));
        }
    }
    assert_eq!((model.active.as_ref().map(|s| s.standing), model.floor), (Some(Standing::Good), 3));
    assert!(ask(&source, &model, Input::Ended).is_empty());
    assert!(told(&ask(&source, &model, Input::RollBack)).contains("below 3"));
}

#[test]
fn what_was_taken_back_is_not_used() {
    let mut source = source(Consent::Auto, WhenStale::Warn);
    revoke(&mut source, 3);
    let mut model = with_two();
    let actions = ask(&source, &model, Input::Opening(source.fresh_at));
    assert!(told(&actions).contains("harmful") && actions.ends_with(&[Action::Open]));
    actions.iter().for_each(|a| apply(&mut model, a));
    assert_eq!(model.active.as_ref().map(|s| s.version), Some(2));
    revoke(&mut source, 2);
    let actions = ask(&source, &model, Input::Opening(source.fresh_at));
    assert!(matches!(&actions[..], [Action::Refuse(said)] if said.contains("harmful")), "{actions:?}");
    revoke(&mut source, 4);
    assert!(told(&ask(&source, &model, Input::Offered(&[offer(4, 100)], Asked::YesNow))).contains("harmful"));
}

/// Its content is what is taken back, whatever version it comes as.
#[test]
fn content_is_taken_back_under_any_version() {
    let mut source = source(Consent::Auto, WhenStale::Warn);
    let digest = Some(format!("{:064}", 3));
    source.revoked.push(Revocation { model: "chat".into(), version: None, digest, why: "stolen".into() });
    let actions = ask(&source, &with_two(), Input::Opening(source.fresh_at));
    assert!(told(&actions).contains("stolen"), "{actions:?}");
}

#[test]
fn without_fresh_word_the_grace_ends_as_the_user_chose() {
    let day = 86_400;
    for (when_stale, opens) in [(WhenStale::Warn, true), (WhenStale::Refuse, false)] {
        let source = source(Consent::Ask, when_stale);
        let at = |days: u64| ask(&source, &with_two(), Input::Opening(source.fresh_at + days * day));
        assert_eq!(at(30), [Action::CountTry, Action::Open]);
        assert_eq!(at(31).contains(&Action::Open), opens, "{when_stale:?}");
        assert!(told(&at(31)).contains("31 days"));
        // A clock that was set back does not end the grace.
        assert_eq!(ask(&source, &with_two(), Input::Opening(0)), [Action::CountTry, Action::Open]);
    }
}

#[test]
fn what_is_followed_no_more_is_opened_without_fresh_word_and_asks_before_it_is_followed_again() {
    let stays = |source: &Source, model: &Model| {
        let opened = ask(source, model, Input::Opening(source.fresh_at + 400 * 86_400));
        let offered = ask(source, model, Input::Offered(&[offer(4, 100)], Asked::Nothing));
        (opened.contains(&Action::Open), matches!(offered[..], [Action::Ask(_)]))
    };
    let followed = source(Consent::Auto, WhenStale::Refuse);
    assert_eq!(stays(&followed, &with_two()), (false, false));
    assert_eq!(stays(&followed, &Model { is_unfollowed: true, ..with_two() }), (true, true));
    let mut left = Source { is_unfollowed: true, ..followed };
    assert_eq!(stays(&left, &with_two()), (true, true));
    // What is known to be harmful stays so.
    revoke(&mut left, 3);
    revoke(&mut left, 2);
    assert!(!stays(&left, &with_two()).0);
}

#[test]
fn a_failed_step_leaves_what_helps_the_next_attempt_and_nothing_else() {
    let source = source(Consent::Auto, WhenStale::Warn);
    let failed = |step| ask(&source, &with_two(), Input::Failed(&offer(4, 100), step, "why"));
    assert_eq!(failed(Step::Fetch), []);
    for step in [Step::Signature, Step::Structure, Step::Smoke] {
        assert_eq!(failed(step), [Action::Discard(4), Action::Block(4, "why".into())]);
    }
}

#[test]
fn rolling_back_needs_something_to_go_back_to() {
    let source = source(Consent::Ask, WhenStale::Warn);
    let mut model = with_two();
    ask(&source, &model, Input::RollBack).iter().for_each(|a| apply(&mut model, a));
    assert_eq!(model.active.as_ref().map(|s| s.version), Some(2));
    let alone = Model { active: Some(slot(3, Standing::Good)), ..Model::default() };
    assert!(told(&ask(&source, &alone, Input::RollBack)).contains("no other version"));
    assert!(told(&ask(&source, &Model::default(), Input::RollBack)).contains("nothing is installed"));
}
