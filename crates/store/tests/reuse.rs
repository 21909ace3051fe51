//! Newer revisions of a file, pulled by somebody who has an older one.

#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod hub;
#[expect(dead_code, reason = "the other tests of the store use the rest")]
mod world;

use std::fs;

use hub::{COMMIT, Fault, sha256};
use ingle_store::delta::chunks::Chunks;
use ingle_store::delta::reuse::{chunks_name, patch_name};
use ingle_store::delta::{make, patch, same_places};
use ingle_store::fetch::Event;
use ingle_store::hash::Digest;
use world::{FILE, REPO, World, hub_ref};

const NEXT: &str = "89abcdef0123456789abcdef0123456789abcdef";
const MIB: usize = 1 << 20;

/// Bytes that nothing shrinks.
fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// A world that has the first revision of a file, and whose hub has the second.
fn with_revisions(old: &[u8], new: &[u8]) -> World {
    let world = World::new();
    world.hub.add(REPO, FILE, old);
    world.pull("u/r").unwrap();
    world.hub.add_at(REPO, NEXT, FILE, new);
    world.hub.name_commit(REPO, "next", NEXT);
    world
}

/// Publishes a patch beside the second revision.
fn publish_patch(world: &World, old: &[u8], new: &[u8]) -> Vec<u8> {
    let path = |name: &str, bytes: &[u8]| {
        let path = world.dir.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let (old_path, new_path) = (path("old", old), path("new", new));
    let mut out = Vec::new();
    let layout = same_places(old.len() as u64, new.len() as u64);
    make(&old_path, &new_path, &layout, patch::LEVEL, &mut out, &mut |_| true).unwrap();
    world.hub.add_at(REPO, NEXT, &name_of_patch(old), &out);
    out
}

fn name_of_patch(old: &[u8]) -> String {
    patch_name(FILE, &Digest::sha256(&sha256(old)).unwrap())
}

fn publish_chunks(world: &World, new: &[u8]) -> Vec<u8> {
    let path = world.dir.join("chunked");
    fs::write(&path, new).unwrap();
    let list = Chunks::of(&path, &mut |_| true).unwrap().to_bytes();
    world.hub.add_at(REPO, NEXT, &chunks_name(FILE), &list);
    list
}

/// Pulls the second revision; how the file came, if not whole.
fn pull(world: &World, new: &[u8]) -> Vec<String> {
    let puller = world.puller();
    let job = puller.plan(&hub_ref("u/r@next"), &mut |_| {}).unwrap();
    let mut ways = Vec::new();
    let path = puller.perform(&job, &mut |event| {
        if let Event::Reused { way, .. } = event {
            ways.push(way.to_owned());
        }
    });
    assert!(fs::read(path.unwrap()).unwrap() == new, "whatever the way, the file is right");
    let blobs = fs::read_dir(world.dir.join("hub/models--u--r/blobs")).unwrap();
    assert_eq!(blobs.count(), 2, "the two revisions, and no file that was gathered on the way");
    ways
}

fn sent(world: &World, name: &str) -> usize {
    world.hub.sent(&format!("/{REPO}/resolve/{NEXT}/{name}"))
}

#[test]
fn a_published_patch_is_fetched_instead_of_the_file() {
    let old = noise(4 * MIB + 99, 1);
    let mut new = old.clone();
    (MIB..2 * MIB).step_by(500).for_each(|at| new[at] ^= 1);
    let world = with_revisions(&old, &new);
    let patch = publish_patch(&world, &old, &new);
    assert!(patch.len() < 20_000);
    assert_eq!(pull(&world, &new), ["a patch"]);
    assert_eq!((sent(&world, FILE), sent(&world, &name_of_patch(&old))), (0, patch.len()));
    assert_ne!(COMMIT, NEXT);
}

#[test]
fn by_a_list_of_chunks_only_new_ranges_are_fetched() {
    let old = noise(16 * MIB, 1);
    let new = [&noise(5000, 2)[..], &old[100..]].concat();
    let world = with_revisions(&old, &new);
    let list = publish_chunks(&world, &new);
    assert_eq!(pull(&world, &new), ["the ranges that changed"]);
    assert!(sent(&world, FILE) <= 8 * MIB, "{} bytes", sent(&world, FILE));
    assert_eq!(sent(&world, &chunks_name(FILE)), list.len());
}

#[test]
fn the_smaller_of_both_is_taken_and_the_other_where_it_fails() {
    let old = noise(6 * MIB, 1);
    let new = [&noise(MIB, 2)[..], &old].concat();
    let world = with_revisions(&old, &new);
    // Places don't agree, so the patch is as large as the file.
    publish_patch(&world, &old, &new);
    publish_chunks(&world, &new);
    assert_eq!(pull(&world, &new), ["the ranges that changed"]);
    assert_eq!(sent(&world, &name_of_patch(&old)), 0);

    let mut changed = old.clone();
    changed[77] ^= 1;
    let world = with_revisions(&old, &changed);
    let mut patch = publish_patch(&world, &old, &changed);
    let at = patch.len() - 20;
    patch[at] ^= 1;
    world.hub.add_at(REPO, NEXT, &name_of_patch(&old), &patch);
    assert_eq!(pull(&world, &changed), ["a patch"]);
    assert_eq!(sent(&world, FILE), changed.len(), "a patch that does not hold costs the whole file");
}

#[test]
fn a_list_that_lies_costs_the_whole_file_and_nothing_else() {
    let (old, new) = (noise(6 * MIB, 1), noise(6 * MIB, 2));
    let world = with_revisions(&old, &new);
    // It says that the new file is the old one.
    let list = publish_chunks(&world, &old);
    assert_eq!(pull(&world, &new), ["the ranges that changed"]);
    assert_eq!(sent(&world, FILE), new.len());
    let torn = with_revisions(&old, &new);
    torn.hub.add_at(REPO, NEXT, &chunks_name(FILE), &list[..100]);
    assert!(pull(&torn, &new).is_empty());
}

#[test]
fn ranges_that_break_off_are_asked_for_again_and_the_rest_comes_as_always() {
    let old = noise(8 * MIB, 1);
    let new = [&noise(2 * MIB, 2)[..], &old].concat();
    let path = format!("/{REPO}/resolve/{NEXT}/{FILE}");
    for faults in [
        vec![Fault::Drop(300_000), Fault::Drop(100_000)],
        vec![Fault::Status(503, None); 6],
        vec![Fault::WrongRange, Fault::IgnoreRange],
        vec![Fault::WrongBytes],
    ] {
        let world = with_revisions(&old, &new);
        publish_chunks(&world, &new);
        world.hub.fail(&path, faults);
        pull(&world, &new);
    }
}

#[test]
fn what_was_begun_goes_on_by_the_way_that_costs_less() {
    let old = noise(8 * MIB, 1);
    let new = [&noise(MIB, 2)[..], &old].concat();
    let world = with_revisions(&old, &new);
    publish_chunks(&world, &new);
    fs::write(world.partial(FILE, &new), &new[..3 * MIB]).unwrap();
    assert_eq!(pull(&world, &new), ["the ranges that changed"]);
    assert!(sent(&world, FILE) <= 4 * MIB, "{} bytes", sent(&world, FILE));
    let world = with_revisions(&old, &new);
    publish_chunks(&world, &new);
    fs::write(world.partial(FILE, &new), &new[..new.len() - 1000]).unwrap();
    assert!(pull(&world, &new).is_empty());
    assert_eq!(sent(&world, FILE), 1000);
}

/// A patch is made beside what has come; one that does not hold, or would make a larger file, costs its own bytes only.
#[test]
fn a_patch_that_fails_leaves_what_has_come() {
    let old = noise(6 * MIB, 1);
    let mut new = old.clone();
    (0..6 * MIB).step_by(999).for_each(|at| new[at] ^= 1);
    for spoil in [|patch: &mut Vec<u8>| *patch.last_mut().unwrap() = 9, |patch: &mut Vec<u8>| patch[86] = 1] {
        let world = with_revisions(&old, &new);
        let mut patch = publish_patch(&world, &old, &new);
        spoil(&mut patch);
        world.hub.add_at(REPO, NEXT, &name_of_patch(&old), &patch);
        fs::write(world.partial(FILE, &new), &new[..3 * MIB]).unwrap();
        assert_eq!(pull(&world, &new), ["a patch"]);
        assert_eq!(sent(&world, FILE), 3 * MIB);
    }
}

#[test]
fn a_list_that_is_longer_than_what_is_left_is_not_asked_for() {
    let (old, new) = (noise(2 * MIB, 1), noise(2 * MIB, 2));
    let world = with_revisions(&old, &new);
    world.hub.add_at(REPO, NEXT, &chunks_name(FILE), &noise(2 * MIB, 3));
    assert!(pull(&world, &new).is_empty());
    assert_eq!(sent(&world, &chunks_name(FILE)), 0);
}

#[test]
fn nothing_is_asked_for_where_nothing_is_published_or_here() {
    let (old, new) = (noise(2 * MIB, 1), noise(2 * MIB, 2));
    let world = with_revisions(&old, &new);
    assert!(pull(&world, &new).is_empty());
    assert_eq!(sent(&world, FILE), new.len());
    let fresh = World::new();
    fresh.hub.add_at(REPO, NEXT, FILE, &new);
    fresh.hub.name_commit(REPO, "next", NEXT);
    publish_chunks(&fresh, &new);
    assert!(fs::read(fresh.pull("u/r@next").unwrap()).unwrap() == new);
    assert_eq!(sent(&fresh, &chunks_name(FILE)), 0);
}
