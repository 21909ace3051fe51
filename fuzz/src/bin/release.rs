//! What comes of a repository of releases: metadata before its signatures are looked at and after, what is planned with it, and the state
//! that is kept. Whatever comes, nothing is named that leads out of its folder, sizes add up, and no version goes back.
// libFuzzer: -max_len=4000
#![no_main]

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use ingle_fuzz::assert_sentence;
use ingle_store::release::offer::{self, Offered};
use ingle_store::release::plan::{Action, Asked, Input, Known, PROBATION, apply, plan};
use ingle_store::release::refresh::check_root;
use ingle_store::release::state::{
    Consent, Model, Policy, Slot, Source, Standing, State, StateFile, Trusted, WhenStale,
};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tough::schema::{Role, Root, Signed, Snapshot, Targets, Timestamp};

/// A folder of this process, in memory where the system has one there.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let shm = PathBuf::from("/dev/shm");
    let folder = if shm.is_dir() { shm } else { std::env::temp_dir() }
        .join(format!("ingle-fuzz-release-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder is made");
    folder
});
/// Versions that a device may have.
const HERE: [u64; 2] = [2, 5];

fn stays(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|piece| matches!(piece, Component::Normal(_)))
}

/// As the client reads a role, before it knows who signed it.
fn role<T: Role + DeserializeOwned>(text: &[u8]) -> Option<T> {
    let signed: Signed<T> = serde_json::from_slice(text).ok()?;
    assert_sentence(signed.signed.canonical_form().map(drop));
    Some(signed.signed)
}

fn source(offered: &Offered) -> Source {
    let policy = Policy { consent: Consent::Auto, grace_days: 1, when_stale: WhenStale::Refuse };
    let (publisher, trusted, models) = (String::new(), Trusted::default(), BTreeMap::new());
    let revoked = offered.revoked.clone();
    Source { publisher, policy, trusted, fresh_at: 0, revoked, models, is_unfollowed: false }
}

/// What a device does with what is offered.
fn planned(offered: &Offered) {
    let source = source(offered);
    for offer in &offered.offers {
        let slot = |version| Slot { version, ..Slot::of(offer, &"0".repeat(64), PROBATION) };
        let [other, active] = HERE.map(slot);
        let mut model = Model { active: Some(active), other: Some(other), floor: 2, ..Model::default() };
        let revoked =
            |version| offered.revoked.iter().any(|r| r.is_of(&offer.model, version, &"0".repeat(64)));
        let inputs = [
            Input::Offered(&offered.offers, Asked::YesNow),
            Input::Opening(1 << 40),
            Input::Ended,
            Input::RollBack,
        ];
        for input in inputs {
            let is_in_use = offer.version % 2 == 1;
            let known = Known { name: &offer.model, device: "d", source: &source, model: &model, is_in_use };
            let actions = plan(&known, input);
            for action in &actions {
                match action {
                    Action::Fetch(taken) | Action::Switch(taken) => {
                        assert!(taken.version > HERE[0] && taken.model == offer.model);
                        assert!(!source.revoked.iter().any(|r| r.is_of(&taken.model, taken.version, "")));
                    }
                    Action::FallBack => assert!(!revoked(model.other.as_ref().expect("a slot").version)),
                    Action::Tell(said) | Action::Refuse(said) => assert_sentence::<&str>(Err(said)),
                    _ => {}
                }
            }
            let floor = model.floor;
            actions.iter().for_each(|action| apply(&mut model, action));
            assert!(model.floor >= floor);
            assert!(model.active.iter().all(|slot| slot.version >= 2 || slot.standing == Standing::Good));
        }
    }
}

fn offers(targets: &Value) {
    for is_consistent in [true, false] {
        let offered = match offer::read(targets, is_consistent) {
            Ok(offered) => offered,
            Err(error) => return assert_sentence::<String>(Err(error.to_string())),
        };
        for offer in &offered.offers {
            assert!(offer::is_model_name(&offer.model) && stays(&offer.model) && offer.version > 0);
            assert!(offer.terms.open == "." || stays(&offer.terms.open));
            assert!(offer.files.iter().all(|file| stays(&file.name) && stays(&file.target)));
            assert!(offer.files.iter().all(|file| file.size <= offer.size()));
        }
        planned(&offered);
    }
}

/// The state as a file has it, whole, and as one that somebody cut.
fn state(document: &[u8]) {
    let file = StateFile::new(&*FOLDER);
    let [whole, other] = file.copies();
    let hash: String = Sha256::digest(document).iter().map(|byte| format!("{byte:02x}")).collect();
    for copy in [&[hash.as_bytes(), b"\n", document].concat(), document] {
        std::fs::write(&whole, copy).expect("a file is written");
        assert!(!other.exists());
        match file.read() {
            Ok(State { sources, .. }) => {
                for (name, model) in sources.values().flat_map(|source| &source.models) {
                    for slot in [&model.active, &model.other].into_iter().flatten() {
                        let path = file.path_of(name, slot);
                        assert!(
                            path.strip_prefix(&*FOLDER).is_ok_and(|below| below.to_str().is_some_and(stays))
                        );
                    }
                }
            }
            Err(error) => assert_sentence::<String>(Err(error.to_string())),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    assert_sentence(check_root("fuzz", &String::from_utf8_lossy(input)));
    let _ = (role::<Root>(input), role::<Timestamp>(input), role::<Snapshot>(input));
    if let Some(targets) = role::<Targets>(input) {
        offers(&serde_json::to_value(targets).expect("metadata was read from JSON"));
    }
    if let Ok(value) = serde_json::from_slice::<Value>(input) {
        offers(&value);
        if let Some(signed) = value.get("signed") {
            offers(signed);
        }
    }
    state(input);
});
