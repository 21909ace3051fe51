//! `kill -9` at every step of an update: whenever a program ends, the model loads, as the old release or as the new one, and
//! the next update finishes the work.
//!
//! A child is this test's own program. It counts the changes it makes to the disk, and pieces of files that come, and kills
//! itself at the one it was told.

#![cfg(unix)]

#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod hub;
#[expect(dead_code, reason = "the other test of releases uses the rest")]
mod publisher;
#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod world;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ingle_net::client::Proxies;
use ingle_net::policy::Policy;
use ingle_net::{Client, Options, Url};
use ingle_store::release::Releases;
use ingle_store::release::disk::Disk;
use ingle_store::release::update::Outcome;
use publisher::{Device, Publisher};
use rustix::process::{Signal, getpid, kill_process};
use world::World;

const FOLDER: &str = "INGLE_TEST_FOLDER";
const ADDRESS: &str = "INGLE_TEST_ADDRESS";
const STEP: &str = "INGLE_TEST_STEP";

/// A disk under which the program ends at step `last`.
fn mortal(last: u64) -> Disk {
    let steps = AtomicU64::new(0);
    Disk::telling(move || {
        if steps.fetch_add(1, Ordering::Relaxed) == last {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    })
}

/// What a child does; by itself, an update that nothing ends.
#[test]
#[ignore = "the test below runs it, in programs of its own"]
fn an_update_in_a_program_of_its_own() {
    let var = |name| std::env::var(name).ok();
    let (Some(folder), Some(address), Some(step)) = (var(FOLDER), var(ADDRESS), var(STEP)) else {
        let world = World::new();
        let publisher = Publisher::new(&world.dir, &world.hub);
        publisher.publish_one(1, "one");
        let device =
            Device::following(&publisher, Releases::on(mortal(u64::MAX), world.dir.join("r")), &world.client);
        assert_eq!(device.update().unwrap(), Outcome::Updated(1));
        return;
    };
    let url = Url::parse(&address).unwrap();
    let client = Client::new(Options {
        policy: Policy { offline: None, plain_text: vec![url.origin.clone()] },
        user_agent: "test".into(),
        proxies: Proxies::default(),
        root_certificates: None,
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(5),
        interrupted: Arc::new(AtomicBool::new(false)),
    })
    .unwrap();
    let releases = Releases::on(mortal(step.parse().unwrap()), folder);
    let device = Device::at(&url, releases, &client);
    assert_eq!(device.update().unwrap(), Outcome::Updated(2));
}

/// Whether a child that ends at `step` got to the end.
fn child(folder: &Path, url: &Url, step: u64) -> bool {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_update_in_a_program_of_its_own", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(ADDRESS, url.to_string())
        .env(STEP, step.to_string())
        .output()
        .unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert!(out.status.success() || out.status.signal() == Some(9), "step {step}: {out:?}");
    out.status.success()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn the_store_loads_whatever_step_of_an_update_a_program_is_killed_at() {
    let world = World::new();
    let publisher = Publisher::new(&world.dir, &world.hub);
    publisher.publish_one(1, "one");
    let before = world.dir.join("before");
    let device = Device::following(&publisher, Releases::new(&before), &world.client);
    assert_eq!(device.update().unwrap(), Outcome::Updated(1));
    // A second version has both slots full: the third has to take one.
    publisher.publish_one(2, "two");
    let (mut n_old, mut n_new) = (0, 0);
    for step in 0.. {
        let folder = world.dir.join("killed");
        let _ = fs::remove_dir_all(&folder);
        copy(&before, &folder);
        let is_done = child(&folder, &publisher.url(), step);
        let device = Device::at(&publisher.url(), Releases::new(&folder), &world.client);
        match device.content().as_deref() {
            Some("one") => n_old += 1,
            Some("two") => n_new += 1,
            other => panic!("step {step}: {other:?}"),
        }
        // Whoever comes next finishes the work, and does not do it twice.
        let expected = if device
            .releases
            .open(publisher::MODEL, device.now, false)
            .unwrap()
            .is_some_and(|o| fs::read_to_string(o.path).unwrap() == "two")
        {
            Outcome::Nothing
        } else {
            Outcome::Updated(2)
        };
        assert_eq!(device.update().unwrap(), expected, "step {step}");
        assert_eq!(device.content().as_deref(), Some("two"), "step {step}");
        if is_done {
            break;
        }
        assert!(step < 2000, "it never ends");
    }
    eprintln!("killed at {} steps: {n_old} old, {n_new} new", n_old + n_new - 1);
    assert!(n_old > 20 && n_new >= 3, "{n_old} old, {n_new} new");
}

/// The same where a version has to leave its slot first.
#[test]
fn the_store_loads_while_the_third_version_takes_the_slot_of_the_first() {
    let world = World::new();
    let publisher = Publisher::new(&world.dir, &world.hub);
    let before = world.dir.join("before");
    publisher.publish_one(1, "one");
    let device = Device::following(&publisher, Releases::new(&before), &world.client);
    device.update().unwrap();
    // Counted from the back, so that the child's version is 2 in both tests: 1 has two contents in a row.
    let slots = before.join("slots/chat");
    let state = device.releases.state().unwrap();
    let slot = state.sources[&device.url].models["chat"].active.clone().unwrap();
    copy(&slots.join(&slot.folder), &slots.join("0-other"));
    device
        .releases
        .file()
        .edit(&Disk::default(), |state| {
            let model = state.sources.get_mut(&device.url).unwrap().models.get_mut("chat").unwrap();
            let mut other = slot.clone();
            (other.version, other.folder) = (0, "0-other".into());
            model.other = Some(other);
            Ok(())
        })
        .unwrap();
    publisher.publish_one(2, "two");
    for step in 0.. {
        let folder = world.dir.join("killed");
        let _ = fs::remove_dir_all(&folder);
        copy(&before, &folder);
        let is_done = child(&folder, &publisher.url(), step);
        let device = Device::at(&publisher.url(), Releases::new(&folder), &world.client);
        let content = device.content();
        assert!(matches!(content.as_deref(), Some("one" | "two")), "step {step}: {content:?}");
        // Whatever the state names is whole.
        let state = device.releases.state().unwrap();
        let model = &state.sources[&device.url].models["chat"];
        for slot in [&model.active, &model.other].into_iter().flatten() {
            let path = device.releases.file().path_of("chat", slot);
            assert!(["one", "two"].contains(&fs::read_to_string(&path).unwrap().as_str()), "step {step}");
        }
        if is_done {
            break;
        }
    }
}
