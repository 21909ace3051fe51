//! Large files over several connections, from a hub that misbehaves: nothing wrong arrives, and nothing right comes twice.

#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod hub;
#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod world;

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hub::{Fault, resolve, sha256};
use ingle_store::error::Error;
use ingle_store::fetch::Event;
use ingle_store::parts::Parts;
use world::{FILE, REPO, World, content, hub_ref, said};

const PART: usize = 1 << 20;
const SIZE: usize = 10 * PART + 12345;

/// A world whose large files come in parts of a MiB.
fn world() -> (World, Vec<u8>, String) {
    let mut world = World::new();
    world.parts = Parts { connections_max: 4, file_bytes_min: 1 << 20, part_bytes_min: PART as u64 };
    let model = content(SIZE);
    world.hub.add(REPO, FILE, &model);
    (world, model, resolve(REPO, FILE))
}

impl World {
    fn left_beside(&self) -> Vec<String> {
        let blobs = self.dir.join("hub/models--u--r/blobs");
        let names = fs::read_dir(blobs).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.contains(".incomplete")).collect()
    }
}

#[test]
fn a_large_file_comes_in_parts_each_once() {
    let (world, model, at) = world();
    let mut told = Vec::new();
    let job = world.puller().plan(&hub_ref(REPO), &mut |_| {}).unwrap();
    let path = world.puller().perform(&job, &mut |event| {
        if let Event::Bytes { done, size, .. } = event {
            assert_eq!(size, SIZE as u64);
            told.push(done);
        }
    });
    assert_eq!(fs::read(path.unwrap()).unwrap(), model);
    assert!(told.is_sorted() && told.last() == Some(&(SIZE as u64)), "progress only grows, to the end");
    assert_eq!(world.hub.sent(&at), SIZE);
    let seen = world.hub.seen_at(&at);
    assert_eq!(seen.len(), 11);
    assert!(seen.iter().all(|s| s.header("range").is_some()));
    assert!(world.left_beside().is_empty(), "{:?}", world.left_beside());
    // The ledger has the bytes of all connections.
    let rows = world.client.ledger().rows();
    assert_eq!(rows[1].n_requests, 11);
    assert!((SIZE as u64..SIZE as u64 + 11 * 1000).contains(&rows[1].bytes_in), "{rows:?}");
}

#[test]
fn parts_that_break_go_on_where_they_broke() {
    let (world, model, at) = world();
    let faults = [
        Fault::Drop(1000),
        Fault::Stall(300_000, Duration::from_secs(2)),
        Fault::Drop(500_000),
        Fault::Noise,
    ];
    world.hub.fail(&at, faults);
    assert_eq!(fs::read(world.pull(REPO).unwrap()).unwrap(), model);
    // What a broken connection had under way may be lost, but no more than its buffers hold.
    let twice = world.hub.sent(&at) - SIZE;
    assert!(twice < PART, "{twice} bytes came twice");
    assert!(world.left_beside().is_empty());
}

#[test]
fn an_interrupted_pull_keeps_every_part() {
    let (world, model, at) = world();
    let job = world.puller().plan(&hub_ref(REPO), &mut |_| {}).unwrap();
    let flag = world.interrupted.clone();
    world.hub.fail(&at, vec![Fault::Trickle(1 << 16, Duration::from_millis(5)); 11]);
    let watch = &mut |event: Event<'_>| {
        if matches!(event, Event::Bytes { done, .. } if done > 5 * PART as u64) {
            flag.store(true, Ordering::Relaxed);
        }
    };
    let error = said(world.puller().perform(&job, watch), &["interrupted", "are kept"]);
    assert!(matches!(error, Error::Interrupted(_)));
    world.interrupted.store(false, Ordering::Relaxed);
    let job = world.puller().plan(&hub_ref(REPO), &mut |_| {}).unwrap();
    let kept = SIZE as u64 - ingle_store::plan::bytes_to_fetch(&job.files, &job.steps);
    assert!(kept > 5 * PART as u64 - 4 * (1 << 18), "the plan knows of {kept} bytes");
    let before = world.hub.seen_at(&at).len();
    assert_eq!(fs::read(world.pull(REPO).unwrap()).unwrap(), model);
    let asked: usize = world.hub.seen_at(&at)[before..].iter().map(hub::n_asked).sum();
    assert_eq!(asked, SIZE - kept as usize, "only what was missing came");
    assert!(world.left_beside().is_empty());
}

#[test]
fn a_beginning_of_another_program_is_continued_in_parts() {
    let (world, model, at) = world();
    let partial = world.partial(FILE, &model);
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &model[..3 * PART + 17]).unwrap();
    assert_eq!(fs::read(world.pull(REPO).unwrap()).unwrap(), model);
    assert_eq!(world.hub.sent(&at), SIZE - 3 * PART - 17);
}

#[test]
fn spoiled_parts_of_an_earlier_run_cost_one_more_try() {
    let (world, model, _) = world();
    let partial = world.partial(FILE, &model);
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    let name = partial.file_name().unwrap().to_str().unwrap().to_owned();
    // One whose place is known, one that overlaps it, one beyond the end, and one that is no part.
    for (start, bytes) in [("2097152", 500), ("2097200", 100), ("99999999999", 10), ("x", 10)] {
        fs::write(partial.with_file_name(format!("{name}.{start}")), vec![7; bytes]).unwrap();
    }
    assert_eq!(fs::read(world.pull(REPO).unwrap()).unwrap(), model);
    assert_eq!(world.left_beside(), [format!("{name}.x")]);
}

#[test]
fn wrong_bytes_in_one_part_install_nothing() {
    let (world, model, at) = world();
    world.hub.fail(&at, [Fault::WrongBytes]);
    let error = said(world.pull(REPO), &[FILE, "sha256", "deleted", &sha256(&model)]);
    assert!(matches!(error, Error::Mismatch { .. }));
    assert!(!world.blob(FILE, &model).exists() && world.left_beside().is_empty());
    assert_eq!(fs::read(world.pull(REPO).unwrap()).unwrap(), model);
}

#[test]
fn a_wrong_range_is_said() {
    let (world, _, at) = world();
    world.hub.fail(&at, [Fault::WrongRange]);
    said(world.pull(REPO), &[FILE, "the range", "expected bytes"]);
}

#[test]
fn a_server_that_knows_no_ranges_is_asked_once_for_all() {
    let (world, model, at) = world();
    world.hub.fail(&at, vec![Fault::IgnoreRange; 4]);
    assert_eq!(fs::read(world.pull(REPO).unwrap()).unwrap(), model);
    let last = world.hub.seen_at(&at).pop().unwrap();
    assert_eq!(last.header("range"), None);
    assert!(world.left_beside().is_empty());
}

#[test]
fn a_server_that_wants_less_gets_fewer_connections() {
    let (world, model, at) = world();
    world.hub.fail(&at, [Fault::Status(429, Some("60")), Fault::Status(503, Some("60"))]);
    let job = world.puller().plan(&hub_ref(REPO), &mut |_| {}).unwrap();
    let mut waits = Vec::new();
    let path = world.puller().perform(&job, &mut |event| {
        if let Event::Waiting { why, wait } = event {
            waits.push((why, wait));
        }
    });
    assert_eq!(fs::read(path.unwrap()).unwrap(), model);
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert!(waits.iter().all(|(why, wait)| why.contains("fewer connections") && wait.is_zero()), "{waits:?}");
    assert_eq!(world.hub.sent(&at), SIZE);
}

#[test]
fn a_server_that_stays_busy_ends_it_and_what_came_is_kept() {
    let (world, model, at) = world();
    let busy = vec![Fault::Status(429, Some("0")); 30];
    let faults =
        [Fault::Trickle(PART, Duration::ZERO), Fault::Trickle(PART, Duration::ZERO)].into_iter().chain(busy);
    world.hub.fail(&at, faults);
    let error = said(world.pull(REPO), &["429", "try again later"]);
    assert!(matches!(error, Error::Status { .. }));
    let before = world.hub.sent(&at);
    assert!(before >= PART);
    // It has recovered.
    world.hub.forget_faults();
    assert_eq!(fs::read(world.pull(REPO).unwrap()).unwrap(), model);
    assert_eq!(world.hub.sent(&at), SIZE);
}

#[test]
fn refusals_in_the_middle_are_what_they_are_at_the_beginning() {
    let (world, _, at) = world();
    for (status, word) in [(403, "accept the terms"), (404, "no such file"), (418, "418")] {
        world.hub.forget_faults();
        world.hub.fail(&at, [Fault::Trickle(1 << 18, Duration::ZERO), Fault::Status(status, None)]);
        said(world.pull(REPO), &[word]);
    }
}

#[test]
fn a_full_disk_is_foreseen_before_anything_is_fetched() {
    let (world, ..) = world();
    let sha = "ab".repeat(32);
    let listing = format!(
        r#"{{"sha": "{}", "siblings": [{{"rfilename": "m-Q8_0.gguf", "lfs": {{"size": 4611686018427387904, "sha256": "{sha}"}}}}]}}"#,
        hub::COMMIT
    );
    world.hub.add_plain("/api/models/u/huge/revision/main", listing.as_bytes());
    let error = said(world.pull("u/huge"), &["4611686018427387904 bytes", "nothing was fetched"]);
    assert!(matches!(error, Error::NoRoom { .. }));
    assert!(world.hub.seen_at(&resolve("u/huge", FILE)).is_empty());
    assert!(!world.dir.join("hub/models--u--huge").exists());
}
