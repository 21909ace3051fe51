//! Repositories that attack whoever follows them, by the TUF specification's list, and the errors that TUF clients have made:
//! nothing wrong is ever installed, nothing older, and what was there before is used on.

#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod hub;
mod publisher;
#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hub::{Fault, Hub};
use ingle_store::error::Error;
use ingle_store::release::Releases;
use ingle_store::release::disk::Disk;
use ingle_store::release::make::{Contents, Expires, Maker};
use ingle_store::release::offer::{Revocation, Terms};
use ingle_store::release::roles::{KeyFolder, Quorum};
use ingle_store::release::state::State;
use ingle_store::release::update::{Outcome, Pace};
use ingle_store::verify::{Verified, verify};
use publisher::{Device, MODEL, Publisher, files_below, now};
use serde_json::{Value, json};
use world::{World, said};

/// A publisher with version 1, and a device that has it.
fn pair(world: &World) -> (Publisher, Device<'_>) {
    let publisher = Publisher::new(&world.dir, &world.hub);
    publisher.publish_one(1, "one");
    let device = Device::following(&publisher, Releases::new(world.dir.join("releases")), &world.client);
    assert_eq!(device.update().unwrap(), Outcome::Updated(1));
    assert_eq!(device.content().as_deref(), Some("one"));
    (publisher, device)
}

/// After whatever was tried: the old release is used, and the honest new one can still be installed.
fn recovers(publisher: &Publisher, device: &Device<'_>, version: u64, before: &str) {
    assert_eq!(device.content().as_deref(), Some(before));
    publisher.hub.forget_faults();
    publisher.serve();
    publisher.publish_one(version, "honest");
    assert_eq!(device.update().unwrap(), Outcome::Updated(version));
    assert_eq!(device.content().as_deref(), Some("honest"));
}

#[test]
fn a_release_goes_through_all_checks_and_back_in_a_moment() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    device.steps.borrow_mut().clear();
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
    let steps = ["fetch", "verify the signature", "check the structure", "evaluate", "switch"];
    assert_eq!(*device.steps.borrow(), steps);
    assert_eq!(device.content().as_deref(), Some("two"));
    assert_eq!(device.update().unwrap(), Outcome::Nothing);

    let start = Instant::now();
    device.releases.roll_back(MODEL, &mut |_| {}).unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(device.content().as_deref(), Some("one"));
    // What the user gave up does not come back by itself; the next one does.
    assert_eq!(device.update().unwrap(), Outcome::Nothing);
    recovers(&publisher, &device, 3, "one");
    // Two slots: the version that was given up is gone from the disk.
    let slots = fs::read_dir(world.dir.join("releases/slots").join(MODEL)).unwrap().count();
    assert_eq!(slots, 2);
}

#[test]
fn what_fails_a_check_is_not_used_and_not_tried_again() {
    let world = World::new();
    let (publisher, mut device) = pair(&world);
    publisher.publish_one(2, "two");
    device.structure = Some("no GGUF file");
    said(device.update(), &["chat: version 2 is not installed", "no GGUF file"]);
    device.structure = None;
    assert_eq!(device.update().unwrap(), Outcome::Nothing);
    assert!(device.said.borrow().iter().any(|s| s.contains("it failed here before")), "{:?}", device.said);
    publisher.publish_one(3, "three");
    device.smoke = Some("perplexity 900, at most 20");
    said(device.update(), &["version 3", "perplexity 900"]);
    device.smoke = None;
    recovers(&publisher, &device, 4, "one");
}

#[test]
fn a_new_release_proves_itself_or_is_given_up() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    device.update().unwrap();
    let uses = |n: usize, well: bool| {
        for _ in 0..n {
            device.releases.open(MODEL, device.now, true).unwrap().unwrap();
            if well {
                device.releases.ended(MODEL).unwrap();
            }
        }
    };
    uses(3, false);
    let opened = device.releases.open(MODEL, device.now, true).unwrap().unwrap();
    assert!(opened.told[0].contains("version 1 is used again"), "{opened:?}");
    assert_eq!(device.content().as_deref(), Some("one"));
    publisher.publish_one(3, "three");
    device.update().unwrap();
    uses(2, false);
    uses(5, true);
    uses(20, false);
    assert_eq!(device.content().as_deref(), Some("three"), "it has proved itself");
}

/// Tries come back when a use ends, and all of them have begun by then.
#[test]
fn uses_that_run_side_by_side_do_not_give_a_release_up() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    device.update().unwrap();
    let uses: Vec<_> =
        (0..8).map(|_| device.releases.open(MODEL, device.now, true).unwrap().unwrap()).collect();
    assert!(uses.iter().all(|opened| opened.told.is_empty() && opened.used.is_some()), "{uses:?}");
    assert_eq!(device.content().as_deref(), Some("two"));
    uses.iter().for_each(|_| device.releases.ended(MODEL).unwrap());
    drop(uses);
    assert_eq!(device.content().as_deref(), Some("two"), "it has proved itself");
}

/// While the newest release is put in its place another program goes back to the one before, which that would have taken.
#[test]
fn a_release_that_came_into_use_meanwhile_keeps_its_slot() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    device.update().unwrap();
    let folder = world.dir.join("releases");
    let is_switching = Arc::new(AtomicBool::new(false));
    let (beside, is_now) = (Releases::new(&folder), is_switching.clone());
    let disk = Disk::telling(move || {
        if is_now.swap(false, Relaxed) {
            beside.roll_back(MODEL, &mut |_| {}).unwrap();
        }
    });
    let mut device = Device::at(&publisher.url(), Releases::on(disk, &folder), &world.client);
    device.before = Box::new(move |step| is_switching.store(step == "switch", Relaxed));
    publisher.publish_one(3, "three");
    assert_eq!(device.update().unwrap(), Outcome::Updated(3));
    assert_eq!(device.content().as_deref(), Some("three"));
    device.releases.roll_back(MODEL, &mut |_| {}).unwrap();
    assert_eq!(device.content().as_deref(), Some("one"));
}

#[test]
fn a_release_that_was_taken_back_is_not_used() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    device.update().unwrap();
    let revoked = |version| Revocation {
        model: MODEL.into(),
        version: Some(version),
        digest: None,
        why: "harmful".into(),
    };
    publisher.publish(&Contents { revoked: vec![revoked(2)], ..Contents::default() });
    let offered = device.refresh().unwrap();
    assert_eq!(offered.offers.iter().map(|o| o.version).collect::<Vec<_>>(), [1]);
    assert_eq!(device.content().as_deref(), Some("one"));
    publisher.publish(&Contents { revoked: vec![revoked(2), revoked(1)], ..Contents::default() });
    device.refresh().unwrap();
    let error = said(device.releases.open(MODEL, device.now, true), &["taken back: harmful"]);
    assert!(matches!(error, Error::Refused { .. }));
    let releases = vec![publisher.release(3, "three")];
    publisher.publish(&Contents { releases, revoked: vec![revoked(2), revoked(1)], ..Contents::default() });
    assert_eq!(device.update().unwrap(), Outcome::Updated(3));
    assert_eq!(device.content().as_deref(), Some("three"));
}

#[test]
fn rollback_older_metadata_is_refused_however_it_is_signed() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let old = publisher.metadata("timestamp.json");
    publisher.publish_one(2, "two");
    device.update().unwrap();
    // All of it older, as it once was.
    publisher.serve_metadata("timestamp.json", &old);
    said(device.update(), &["metadata", "TUF"]);
    // A new timestamp for the old snapshot; then a new snapshot with the old targets.
    let snapshot = publisher.metadata("1.snapshot.json");
    publisher.stamp(&snapshot, 1, 50);
    said(device.update(), &["metadata", "TUF"]);
    let targets = publisher.metadata("1.targets.json");
    publisher.seal(&[("targets.json", 1, &targets)], 51);
    said(device.update(), &["metadata", "TUF"]);
    assert_eq!(device.content().as_deref(), Some("two"));
}

/// Another program, later: what was seen is on the disk, and a release that came since has not touched it.
#[test]
fn rollback_is_refused_by_the_next_run_of_the_program_too() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let old = publisher.metadata("timestamp.json");
    publisher.publish_one(2, "two");
    device.update().unwrap();
    publisher.serve_metadata("timestamp.json", &old);
    let again = Device::at(&publisher.url(), Releases::new(world.dir.join("releases")), &world.client);
    said(again.update(), &["metadata"]);
    // Following it anew, with the first root, forgets nothing.
    let again = Device::following(&publisher, Releases::new(world.dir.join("releases")), &world.client);
    said(again.update(), &["metadata"]);
    assert_eq!(again.content().as_deref(), Some("two"));
    // Nor does another key take the place of the publisher's.
    let other_dir = world.dir.join("other");
    let stranger = Publisher::new(&other_dir, &world.hub);
    let policy = device.releases.state().unwrap().sources[&device.url].policy;
    let root = String::from_utf8(publisher.metadata("1.root.json")).unwrap();
    let follow = device.releases.follow(&publisher.url(), &root, &stranger.public(), policy, now());
    said(follow, &["publisher's key: another one"]);
}

#[test]
fn freeze_metadata_that_has_expired_is_refused_and_nothing_counts_as_fresh() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let fresh_at = |device: &Device<'_>| device.releases.state().unwrap().sources[&device.url].fresh_at;
    let before = fresh_at(&device);
    let old = Publisher {
        now: now() - 8 * 86_400,
        keys: open_keys(&world.dir),
        dir: world.dir.clone(),
        hub: world.hub.clone(),
    };
    old.publish_one(2, "two");
    said(device.update(), &["expired", "holding newer back"]);
    assert_eq!(fresh_at(&device), before);
    assert_eq!(device.content().as_deref(), Some("one"));
    // The grace runs from when there was fresh word.
    let later = device.releases.open(MODEL, before + 31 * 86_400, false).unwrap().unwrap();
    assert!(later.told[0].contains("no fresh word"), "{later:?}");
    recovers(&publisher, &device, 3, "one");
}

fn open_keys(dir: &Path) -> KeyFolder {
    KeyFolder::open(&dir.join("keys")).unwrap()
}

#[test]
fn mix_and_match_files_of_different_versions_do_not_pass_as_one() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let [snapshot, targets] = ["1.snapshot.json", "1.targets.json"].map(|name| publisher.metadata(name));
    publisher.publish_one(2, "two");
    for (name, old) in [("2.snapshot.json", &snapshot), ("2.targets.json", &targets)] {
        publisher.serve_metadata(name, old);
        let error = said(device.update(), &["metadata"]);
        assert!(matches!(error, Error::Mismatch { .. }), "{name}: {error:?}");
        publisher.serve();
    }
    recovers(&publisher, &device, 3, "one");
}

#[test]
fn arbitrary_install_takes_more_than_the_server_and_more_than_the_repository() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    // The server sends other bytes.
    publisher.hub.fail(&publisher.target(2, "m.gguf"), vec![Fault::WrongBytes; 4]);
    said(device.update(), &["version 2", "sha256"]);
    publisher.hub.forget_faults();
    // Somebody else signs the metadata.
    let other_dir = world.dir.join("other");
    fs::create_dir_all(&other_dir).unwrap();
    let stranger = Publisher::new(&other_dir, &world.hub);
    stranger.publish_one(9, "nine");
    said(device.update(), &["metadata"]);
    // Somebody has the repository's keys and not the publisher's.
    fs::copy(other_dir.join("keys/publisher.pem"), world.dir.join("keys/publisher.pem")).unwrap();
    fs::remove_dir_all(publisher.repository().join("targets/chat/2")).unwrap();
    publisher.serve();
    publisher.publish_one(3, "three");
    said(device.update(), &["version 3", "the key"]);
    assert_eq!(device.content().as_deref(), Some("one"));
}

#[test]
fn a_file_may_have_a_name_that_addresses_have_another_use_for() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let release = publisher.release(2, "two");
    fs::write(release.folder.join("50% of a #? name.txt"), "notes").unwrap();
    publisher.publish(&Contents { releases: vec![release], ..Contents::default() });
    let target = publisher.target(2, "name.txt");
    let encoded = target.replace('%', "%25").replace(' ', "%20").replace('#', "%23").replace('?', "%3F");
    publisher.hub.add_plain(&encoded, b"notes");
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
}

/// What can't be read while a signature is checked was not signed wrongly, and is no reason to give up what came.
#[test]
fn a_disk_that_fails_blocks_no_release() {
    let world = World::new();
    let (publisher, mut device) = pair(&world);
    publisher.publish_one(2, "two");
    publisher.hub.fail(&publisher.target(2, "notes.txt"), vec![Fault::WrongBytes; 2]);
    said(device.update(), &["version 2", "sha256"]);
    let staged = world.dir.join(format!("releases/staging/{MODEL}@2"));
    assert!(staged.exists(), "what came right is kept");
    publisher.hub.forget_faults();
    device.before = Box::new(move |step| {
        if step == "verify the signature" {
            fs::rename(&staged, staged.with_extension("elsewhere")).unwrap();
        }
    });
    said(device.update(), &["version 2", "model.sig"]);
    device.before = Box::new(|_| ());
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
}

#[test]
fn endless_data_ends() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    for name in ["timestamp.json", "2.snapshot.json", "2.targets.json"] {
        publisher.hub.fail(&format!("/fleet/metadata/{name}"), [Fault::Endless]);
        let error = said(device.update(), &["metadata"]);
        assert!(matches!(error, Error::Mismatch { .. }), "{name}: {error:?}");
        publisher.hub.forget_faults();
    }
    // Of a file no more is read than it has.
    publisher.hub.fail(&publisher.target(2, "m.gguf"), vec![Fault::Endless; 2]);
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
    recovers(&publisher, &device, 3, "two");
}

#[test]
fn slow_retrieval_is_given_up() {
    let world = World::new();
    let (publisher, mut device) = pair(&world);
    publisher.publish_one(2, &"two ".repeat(5000));
    device.metadata_time_max = Duration::from_millis(300);
    device.pace = Pace { bytes_min: 10_000, window: Duration::from_millis(300) };
    let slowly = Fault::Trickle(10, Duration::from_millis(50));
    let start = Instant::now();
    publisher.hub.fail("/fleet/metadata/timestamp.json", [slowly.clone()]);
    let error = device.update().unwrap_err();
    assert!(matches!(error, Error::Net(_)), "{error:?}");
    publisher.hub.fail(&publisher.target(2, "m.gguf"), vec![slowly; 4]);
    said(device.update(), &["version 2", "fewer than 10000 bytes"]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    recovers(&publisher, &device, 3, "one");
}

/// Whatever a device does before the first bytes come, and between two attempts, is not the server's pace.
#[test]
fn only_bytes_that_come_are_held_against_the_pace() {
    let world = World::new();
    let (publisher, mut device) = pair(&world);
    publisher.publish_one(2, &"two ".repeat(5000));
    let target = publisher.target(2, "m.gguf");
    publisher.hub.fail(&target, [Fault::Drop(9000), Fault::Status(404, None)]);
    said(device.update(), &["version 2", "no such file"]);
    // Each read brings a byte at least.
    device.pace = Pace { bytes_min: 1, window: Duration::ZERO };
    publisher.hub.fail(&target, [Fault::Drop(3000), Fault::IgnoreRange]);
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
}

#[test]
fn what_came_of_a_version_goes_with_it() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let staging = world.dir.join("releases/staging");
    let bytes = |files: &[PathBuf]| files.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
    let break_off = |version: u64| {
        publisher.publish_one(version, &"text".repeat(5000));
        let faults = [Fault::Drop(9000), Fault::Status(404, None)];
        publisher.hub.fail(&publisher.target(version, "m.gguf"), faults);
        said(device.update(), &["no such file"]);
        let mut parts = files_below(&staging);
        parts.retain(|path| path.extension().is_some_and(|end| end == "incomplete"));
        assert_eq!(bytes(&parts), 9000, "{parts:?}");
    };
    break_off(2);
    break_off(3);
    let removal = device.releases.removal(MODEL).unwrap().unwrap();
    let slots = files_below(&world.dir.join("releases/slots"));
    assert_eq!(removal.bytes, bytes(&slots) + bytes(&files_below(&staging)));
    device.releases.remove(removal).unwrap();
    assert!(files_below(&staging).is_empty());
    break_off(4);
    assert_eq!(device.update().unwrap(), Outcome::Updated(4));
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
}

/// CVE-2025-2885: a root must be exactly one version above the one that vouches for it.
#[test]
fn a_root_that_skips_a_version_is_refused() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let mut root: Value = serde_json::from_slice(&publisher.metadata("1.root.json")).unwrap();
    let signed = root["signed"].take();
    publisher.serve_metadata("2.root.json", &publisher.sign("root", signed.clone(), 3));
    said(device.update(), &["metadata"]);
    publisher.serve_metadata("2.root.json", &publisher.sign("root", signed.clone(), 1));
    said(device.update(), &["metadata"]);
    publisher.serve_metadata("2.root.json", &publisher.sign("root", signed, 2));
    assert_eq!(device.update().unwrap(), Outcome::Nothing);
}

/// A role that another one delegates to, with the targets' keys.
fn delegation(publisher: &Publisher, names: &[&str]) -> Value {
    let id = publisher.keys.ids("targets").unwrap()[0].clone();
    let root: Value = serde_json::from_slice(&publisher.metadata("1.root.json")).unwrap();
    let key = root["signed"]["keys"][&id].clone();
    let role = |name: &&str| json!({ "name": name, "keyids": [id], "threshold": 1, "terminating": true, "paths": ["*", "*/*/*"] });
    let roles: Vec<Value> = names.iter().map(role).collect();
    json!({ "keys": { id.clone(): key }, "roles": roles })
}

/// The targets that are there, which also delegate.
fn delegating(publisher: &Publisher, names: &[&str], version: u64) -> Vec<u8> {
    let newest = publisher.metadata("1.targets.json");
    let mut targets: Value = serde_json::from_slice(&newest).unwrap();
    let mut signed = targets["signed"].take();
    signed["delegations"] = delegation(publisher, names);
    publisher.sign("targets", signed, version)
}

fn delegated(publisher: &Publisher, targets: &Value, names: &[&str], version: u64) -> Vec<u8> {
    let mut signed = json!({ "_type": "targets", "targets": targets });
    if !names.is_empty() {
        signed["delegations"] = delegation(publisher, names);
    }
    publisher.sign("targets", signed, version)
}

/// CVE-2025-2886: whom a role delegates to first must win. Here nobody does: releases are the top role's alone.
#[test]
fn no_delegated_role_can_offer_a_release() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let hash = "0".repeat(64);
    let forged = json!({ "chat/9/m.gguf": { "length": 1, "hashes": { "sha256": hash } },
        "chat/9/model.sig": { "length": 1, "hashes": { "sha256": hash },
            "custom": { "ingle": { "open": "m.gguf", "percent": 100, "salt": "", "minimum_version": 1, "smoke": {} } } } });
    let [a, b] = ["a", "b"].map(|_| delegated(&publisher, &forged, &[], 1));
    let targets = delegating(&publisher, &["a", "b"], 2);
    publisher.seal(&[("targets.json", 2, &targets), ("a.json", 1, &a), ("b.json", 1, &b)], 2);
    let offered = device.refresh().unwrap();
    assert_eq!(offered.offers.iter().map(|o| o.version).collect::<Vec<_>>(), [1]);
    assert_eq!(device.install().unwrap(), Outcome::Nothing);
}

/// CVE-2025-2887: metadata of a delegated role may not become older either.
#[test]
fn an_older_delegated_role_is_refused() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let targets = delegating(&publisher, &["a"], 2);
    let [new, old] = [5, 4].map(|version| delegated(&publisher, &json!({}), &[], version));
    publisher.seal(&[("targets.json", 2, &targets), ("a.json", 5, &new)], 2);
    device.refresh().unwrap();
    publisher.seal(&[("targets.json", 2, &targets), ("a.json", 4, &old)], 3);
    said(device.refresh().map(|_| ()), &["metadata"]);
}

/// CVE-2025-2888: a timestamp that was refused is not what the next one is held against.
#[test]
fn a_refused_timestamp_is_not_remembered() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    publisher.publish_one(2, "two");
    device.refresh().unwrap();
    let trusted = |device: &Device<'_>| {
        let state = device.releases.state().unwrap();
        state.sources[&device.url].trusted.others["timestamp.json"].clone()
    };
    let before = trusted(&device);
    // Far ahead, for a snapshot that is older than what is known: refused, and so must be its version.
    publisher.stamp(&publisher.metadata("1.snapshot.json"), 1, 1_000_000);
    said(device.refresh().map(|_| ()), &["metadata"]);
    assert_eq!(trusted(&device), before);
    publisher.serve();
    recovers(&publisher, &device, 3, "one");
}

/// AWS-2025-007: roles that delegate to each other end neither in a loop nor in a full stack.
#[test]
fn roles_that_delegate_in_a_circle_end() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let targets = delegating(&publisher, &["a"], 2);
    let a = delegated(&publisher, &json!({}), &["b"], 1);
    let b = delegated(&publisher, &json!({}), &["a"], 1);
    publisher.seal(&[("targets.json", 2, &targets), ("a.json", 1, &a), ("b.json", 1, &b)], 2);
    let start = Instant::now();
    // Either is right: it is refused, or each role is asked for once.
    let _ = device.refresh();
    assert!(start.elapsed() < Duration::from_secs(5));
    let asked = publisher.hub.seen().iter().filter(|s| s.target.ends_with(".a.json")).count();
    assert!(asked <= 2, "{asked}");
    assert_eq!(device.content().as_deref(), Some("one"));
}

#[test]
fn keys_can_be_rotated_and_too_few_signatures_are_none() {
    let world = World::new();
    let (mut publisher, device) = pair(&world);
    publisher.keys = open_keys(&world.dir).rotate("root").unwrap().rotate("timestamp").unwrap();
    let made = publisher.publish_one(2, "two");
    assert_eq!(made.versions[0], 2);
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
    // A key of which nothing is left can't be named.
    let keys = world.dir.join("keys");
    for half in ["root.5.pem", "root.5.pub.pem"] {
        fs::remove_file(keys.join(half)).unwrap();
    }
    let said_of = open_keys(&world.dir).ids("root").unwrap_err().to_string();
    assert!(said_of.contains("root.5.pem"), "{said_of}");
}

/// Root and publisher are kept offline: whoever refreshes has the public halves of their keys.
#[test]
fn private_keys_may_lie_elsewhere_until_they_are_needed() {
    let world = World::new();
    let (mut publisher, device) = pair(&world);
    let (keys, vault) = (world.dir.join("keys"), world.dir.join("vault"));
    fs::create_dir_all(&vault).unwrap();
    let offline = ["root.1.pem", "root.2.pem", "root.3.pem", "targets.1.pem", "publisher.pem"];
    for name in offline {
        fs::rename(keys.join(name), vault.join(name)).unwrap();
    }
    publisher.keys = open_keys(&world.dir);
    let repository = publisher.repository();
    let refresh = |days: u64| {
        let now = publisher.now + days * 86_400;
        Maker { repository: &repository, keys: &publisher.keys, now }.refresh()
    };
    assert_eq!(refresh(0).unwrap().versions[..2], [1, 1]);
    publisher.serve();
    assert_eq!(device.update().unwrap(), Outcome::Nothing);
    said(refresh(85), &["targets", "a threshold of its keys"]);
    said(refresh(360), &["root", "too few private keys are here"]);
    // Nor do new keys take the names of those whose both halves lie elsewhere, as those of older folders do.
    for n in [1, 2, 3] {
        let public = format!("root.{n}.pub.pem");
        fs::rename(keys.join(&public), vault.join(&public)).unwrap();
    }
    assert_eq!(open_keys(&world.dir).rotate("root").unwrap().holders("root").keys[0], "root.4.pem");
    let rotated = open_keys(&world.dir).rotate("root").unwrap();
    assert_eq!(rotated.holders("root").keys, ["root.7.pem", "root.8.pem", "root.9.pem"]);
    fs::remove_file(keys.join("roles.json")).unwrap();
    said(KeyFolder::create(&keys, &Default::default()), &["these are in use"]);
    said(KeyFolder::create(&vault, &Default::default()), &["publisher.pem", "these are in use"]);
    // What can't be is said before the first key is written.
    let unreachable = [("timestamp".to_owned(), Quorum { threshold: 3, n_keys: 2 })];
    let new = world.dir.join("new");
    said(
        KeyFolder::create(&new, &unreachable.into()),
        &["timestamp=3/2", "a threshold that the keys can reach"],
    );
    assert!(!new.exists());
}

/// The days that were asked for are kept to, and nothing that a timestamp rests on expires before it does.
#[test]
fn a_refresh_keeps_a_repository_valid() {
    let world = World::new();
    let publisher = Publisher::new(&world.dir, &world.hub);
    let repository = publisher.repository();
    let expires = Expires { root: 100, targets: 50, snapshot: 10, timestamp: 5 };
    let releases = vec![publisher.release(1, "one")];
    publisher.publish(&Contents { releases, expires, ..Contents::default() });
    let after = |days: u64| {
        let maker =
            Maker { repository: &repository, keys: &publisher.keys, now: publisher.now + days * 86_400 };
        let made = maker.refresh().unwrap();
        let last = |name: &str| -> i64 {
            let metadata: Value = serde_json::from_slice(&publisher.metadata(name)).unwrap();
            let expires: jiff::Timestamp = metadata["signed"]["expires"].as_str().unwrap().parse().unwrap();
            (expires.as_second() - publisher.now as i64) / 86_400
        };
        let [root, targets, snapshot, _] = made.versions;
        let days = [
            last(&format!("{root}.root.json")),
            last(&format!("{targets}.targets.json")),
            last(&format!("{snapshot}.snapshot.json")),
            last("timestamp.json"),
        ];
        (root, targets, days, made.n_targets)
    };
    assert_eq!(after(1), (1, 1, [100, 50, 11, 6], 4));
    assert_eq!(after(45), (1, 1, [100, 50, 55, 50], 4));
    assert_eq!(after(46), (1, 2, [100, 96, 56, 51], 4));
    assert_eq!(after(96), (2, 3, [196, 146, 106, 101], 4));
    // Keys that are others now have signed nothing yet.
    let keys = open_keys(&world.dir).rotate("targets").unwrap();
    let maker = Maker { repository: &repository, keys: &keys, now: publisher.now };
    assert_eq!(maker.refresh().unwrap().versions[..2], [3, 4]);
    publisher.serve();
    let device = Device::following(&publisher, Releases::new(world.dir.join("releases")), &world.client);
    assert_eq!(device.update().unwrap(), Outcome::Updated(1));
}

#[test]
fn a_release_that_was_made_stays_as_it_is_but_for_its_terms() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let repository = publisher.repository();
    let maker = Maker { repository: &repository, keys: &publisher.keys, now: publisher.now };
    let mut release = publisher.release(1, "one");
    release.terms.percent = 7;
    let contents = Contents { releases: vec![release.clone()], ..Contents::default() };
    maker.make(&contents, &|| false, &mut |_| {}).unwrap();
    publisher.serve();
    assert_eq!(device.refresh().unwrap().offers[0].terms.percent, 7);
    publisher.release(1, "another one");
    said(
        maker.make(&contents, &|| false, &mut |_| {}),
        &["version 1 is in the repository with other content"],
    );
    maker.refresh().unwrap();
    publisher.serve();
    device.refresh().unwrap();
}

/// What devices refuse whole, or could never mean anything to them, is not signed.
#[test]
fn what_no_device_would_take_is_not_made() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let repository = publisher.repository();
    let maker = Maker { repository: &repository, keys: &publisher.keys, now: publisher.now };
    let release = |version, change: fn(&mut Terms)| {
        let mut release = publisher.release(version, "x");
        change(&mut release.terms);
        Contents { releases: vec![release], ..Contents::default() }
    };
    let revoked = |model: &str, version, digest: Option<&str>| {
        let one =
            Revocation { model: model.into(), version, digest: digest.map(str::to_owned), why: "x".into() };
        Contents { revoked: vec![one], ..Contents::default() }
    };
    for (contents, words) in [
        (release(2, |terms| terms.percent = 101), "at most 100"),
        (release(2, |terms| terms.salt = "x".repeat(9999)), "too much text"),
        (release(2, |terms| terms.smoke.perplexity_max_milli = Some(1)), "a perplexity without a text"),
        (release(0, |_| ()), "devices would not see it"),
        (revoked("chat", None, None), "neither version nor digest"),
        (revoked("chat", Some(0), None), "version 0"),
        (revoked("chat", None, Some("")), "64 hex digits"),
        (revoked("chat", None, Some(&"AB".repeat(32))), "lower case"),
        (revoked("../chat", Some(1), None), "the name of a model"),
    ] {
        said(maker.make(&contents, &|| false, &mut |_| {}), &[words]);
    }
    let late = Expires { timestamp: 91, ..Expires::default() };
    let late = Contents { expires: late, ..Contents::default() };
    said(maker.make(&late, &|| false, &mut |_| {}), &["91 days", "at most those of root"]);
    // Nothing of it was signed, be it by other keys, and what comes next is as always.
    let keys = open_keys(&world.dir).rotate("timestamp").unwrap();
    let rotated = Maker { repository: &repository, keys: &keys, now: publisher.now };
    said(rotated.make(&release(0, |_| ()), &|| false, &mut |_| {}), &["devices would not see it"]);
    assert!(!repository.join("metadata/2.targets.json").exists());
    assert!(!repository.join("metadata/2.root.json").exists());
    maker.make(&revoked("chat", None, Some(&"ab".repeat(32))), &|| false, &mut |_| {}).unwrap();
    recovers(&publisher, &device, 3, "one");
}

#[test]
#[cfg(unix)]
fn keys_and_state_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let (_, device) = pair(&world);
    let secret =
        ["root.1.pem", "timestamp.1.pem", "publisher.pem"].map(|name| world.dir.join("keys").join(name));
    for path in secret.into_iter().chain(device.releases.file().copies()) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

/// Two models of one name from two repositories: the one that is here keeps it.
#[test]
fn another_repository_can_not_take_over_a_model() {
    let world = World::new();
    let (_, device) = pair(&world);
    let hub = Hub::start();
    let other_world = World::with(&[&hub], None);
    let other = Publisher::new(&other_world.dir, &hub);
    other.publish_one(9, "nine");
    let second = Device::following(&other, Releases::new(world.dir.join("releases")), &other_world.client);
    second.refresh().unwrap();
    said(second.install(), &["a model of this name"]);
    assert_eq!(device.content().as_deref(), Some("one"));
}

/// A release that failed here is remembered, and no model of that name is here.
#[test]
fn what_failed_in_one_repository_does_not_keep_another_ones_model_out() {
    let world = World::new();
    let hub = Hub::start();
    let other_world = World::with(&[&hub], None);
    let releases = || Releases::new(world.dir.join("releases"));
    let first = Publisher::new(&world.dir, &world.hub);
    let second = Publisher::new(&other_world.dir, &hub);
    first.publish_one(1, "one");
    second.publish_one(9, "nine");
    let mut device = Device::following(&first, releases(), &world.client);
    device.structure = Some("no GGUF file");
    said(device.update(), &["no GGUF file"]);
    // Nor does what came of it, or what somebody left there.
    let staged = world.dir.join(format!("releases/staging/{MODEL}@9/images"));
    fs::create_dir_all(&staged).unwrap();
    fs::write(staged.join(".DS_Store"), b"x").unwrap();
    let other = Device::following(&second, releases(), &other_world.client);
    assert_eq!(other.update().unwrap(), Outcome::Updated(9));
    assert_eq!(other.content().as_deref(), Some("nine"));
    said(device.update(), &["a model of this name"]);
}

/// Both slots go and what was learnt stays: neither older metadata nor a release below the floor comes in behind it.
#[test]
fn a_model_that_was_removed_comes_back_no_older() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    let old = publisher.metadata("timestamp.json");
    publisher.publish_one(2, "two");
    device.update().unwrap();
    let raise = |state: &mut State| {
        let model = state.sources.get_mut(&device.url).unwrap().models.get_mut(MODEL).unwrap();
        model.floor = 2;
        Ok(())
    };
    device.releases.file().edit(&Disk::default(), raise).unwrap();

    // Whoever has it open keeps it.
    let opened = device.releases.open(MODEL, device.now, false).unwrap().unwrap();
    let user = fs::File::open(&opened.path).unwrap();
    user.lock_shared().unwrap();
    let said = device.releases.removal(MODEL).unwrap_err().to_string();
    assert!(said.contains("in use"), "{said}");
    drop(user);
    let removal = device.releases.removal(MODEL).unwrap().unwrap();
    assert_eq!((removal.versions.clone(), removal.floor), (vec![2, 1], 2));
    // Nobody updates it meanwhile.
    assert!(matches!(device.releases.removal(MODEL), Err(Error::Locked { .. })));
    device.releases.remove(removal).unwrap();
    assert!(device.releases.list().unwrap().is_empty());
    assert!(!world.dir.join("releases/slots").join(MODEL).exists());
    assert!(device.releases.removal(MODEL).unwrap().is_none());
    said_of_opening(&device, "nothing is installed");

    publisher.serve_metadata("timestamp.json", &old);
    let error = device.refresh().unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    publisher.serve();
    assert_eq!(device.releases.state().unwrap().sources[&device.url].models[MODEL].floor, 2);
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
    assert_eq!(device.content().as_deref(), Some("two"));
}

fn said_of_opening(device: &Device<'_>, expected: &str) {
    let said = device.releases.open(MODEL, device.now, false).unwrap_err().to_string();
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_is_followed_no_more_stays_and_is_asked_for_only_by_name() {
    let world = World::new();
    let (publisher, device) = pair(&world);
    device.releases.unfollow(MODEL).unwrap();
    assert!(!device.releases.list().unwrap()[0].is_followed);
    assert_eq!(device.content().as_deref(), Some("one"));
    assert!(device.releases.follow_again(MODEL).unwrap());
    assert!(!device.releases.follow_again(MODEL).unwrap());
    device.releases.unfollow(&device.url).unwrap();
    assert!(!device.releases.list().unwrap()[0].is_followed);
    let again = Device::following(&publisher, Releases::new(world.dir.join("releases")), &world.client);
    assert!(again.releases.list().unwrap()[0].is_followed);
    assert!(matches!(device.releases.unfollow("nothing"), Err(Error::NotFound { .. })));

    // What its publisher signed is what it is verified by.
    let checks = again.releases.checks(MODEL).unwrap().unwrap();
    assert_eq!(checks.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["m.gguf", "notes.txt"]);
    assert!(checks.iter().all(|c| verify(c, &|| false, &mut |_| {}).unwrap() == Some(Verified::Good)));
    fs::write(&checks[0].path, "onE").unwrap();
    assert!(matches!(verify(&checks[0], &|| false, &mut |_| {}).unwrap(), Some(Verified::Wrong(_))));
}
