//! Patches make what they say or nothing, whatever is in them.

use std::path::PathBuf;

use super::*;
use crate::delta::{by_name, same_places};

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ingle-delta-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes that zstd can't shrink.
fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(n).collect()
}

fn go_on(_: u64) -> bool {
    true
}

fn patch(old: &Path, new: &Path, layout: &[Piece]) -> (Vec<u8>, Summary) {
    let mut out = Vec::new();
    let summary = make(old, new, layout, 3, &mut out, &mut go_on).unwrap();
    assert_eq!(summary.patch_bytes, out.len() as u64);
    (out, summary)
}

fn sha(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(None, 0);
    hasher.update(bytes);
    hasher.finish()
}

/// Applies a patch that makes a file with these bytes.
fn make_new(old: &Path, patch: &[u8], new: &[u8], part: &Path) -> Head {
    let head = apply(old, patch, (&sha(new), new.len() as u64), part, &mut go_on).unwrap();
    assert!(std::fs::read(part).unwrap() == new);
    head
}

#[test]
fn a_revision_of_the_same_layout_is_made_from_what_changed() {
    let folder = Folder::new("same");
    let mut bytes = noise(5 * BLOCK_BYTES + 777, 1);
    let old = folder.file("old", &bytes);
    // One byte in a thousand of the third block, by one bit.
    (2 * BLOCK_BYTES..3 * BLOCK_BYTES).step_by(1000).for_each(|at| bytes[at] ^= 4);
    bytes.extend(noise(100, 2));
    let new = folder.file("new", &bytes);
    let layout = same_places(bytes.len() as u64 - 100, bytes.len() as u64);
    let (made, summary) = patch(&old, &new, &layout);
    let (same, xored) = (4 * BLOCK_BYTES as u64 + 777, BLOCK_BYTES as u64);
    assert_eq!((summary.same_bytes, summary.xor_bytes, summary.new_bytes), (same, xored, 100));
    assert!(made.len() < 10_000, "{} bytes for a thousand changes", made.len());
    let part = folder.0.join("part");
    let head = make_new(&old, &made, &bytes, &part);
    assert_eq!((head.old, head.new), (sha(&std::fs::read(&old).unwrap()), sha(&bytes)));
}

#[test]
fn nothing_changed_costs_a_record() {
    let folder = Folder::new("nothing");
    for n in [0, 1, 3 * BLOCK_BYTES] {
        let old = folder.file("old", &noise(n, 1));
        let (made, _) = patch(&old, &old, &same_places(n as u64, n as u64));
        assert_eq!(made.len(), HEAD_BYTES + if n > 0 { 17 } else { 0 } + 1);
        let part = folder.0.join("part");
        make_new(&old, &made, &noise(n, 1), &part);
    }
}

/// A longer head moves all tensors, and one of them changes.
#[test]
fn tensors_that_moved_cost_nothing() {
    let folder = Folder::new("moved");
    let (a, b) = (noise(BLOCK_BYTES + 5, 1), noise(3000, 2));
    let old_bytes = [&b"head"[..], &a, &b].concat();
    let mut changed = b.clone();
    changed[7] = !changed[7];
    let new_bytes = [&b"a longer head"[..], &changed, &a].concat();
    let (old, new) = (folder.file("old", &old_bytes), folder.file("new", &new_bytes));
    let a_end = 4 + a.len() as u64;
    let layout = by_name(
        [("a", 4..a_end), ("b", a_end..a_end + 3000)],
        [("b", 13..3013), ("a", 3013..3013 + a.len() as u64)],
        new_bytes.len() as u64,
    );
    let (made, summary) = patch(&old, &new, &layout);
    assert!(made.len() < 250 && summary.same_bytes == a.len() as u64, "{} bytes", made.len());
    let part = folder.0.join("part");
    make_new(&old, &made, &new_bytes, &part);
}

#[test]
fn anything_else_than_the_right_patch_leaves_nothing() {
    let folder = Folder::new("wrong");
    let mut bytes = noise(5000, 1);
    let old = folder.file("old", &bytes);
    bytes[100] ^= 1;
    bytes.truncate(4000);
    let new = folder.file("new", &bytes);
    let (made, _) = patch(&old, &new, &same_places(5000, 4000));
    let part = folder.0.join("part");
    let refused = |old: &Path, patch: &[u8], expected: &Digest| {
        let error = apply(old, patch, (expected, 4000), &part, &mut go_on).unwrap_err();
        assert!(!part.exists(), "{error}");
        error.to_string()
    };
    let right = sha(&bytes);
    for end in 0..made.len() {
        refused(&old, &made[..end], &right);
    }
    for at in 0..made.len() {
        let mut changed = made.clone();
        changed[at] ^= 1 << (at % 8);
        // The old file's hash is what its maker says, and is not looked at: the new one's decides.
        if !(8..40).contains(&at) {
            refused(&old, &changed, &right);
        }
    }
    assert!(refused(&old, &made, &sha(b"other")).contains("it makes"));
    let longer = apply(&old, &made[..], (&right, 4001), &part, &mut go_on).unwrap_err().to_string();
    assert!(longer.contains("it makes 4000 bytes, expected 4001") && !part.exists(), "{longer}");
    let other = folder.file("other", &noise(5000, 9));
    assert!(refused(&other, &made, &right).contains("sha256"));
    let shorter = folder.file("shorter", &noise(4999, 1));
    assert!(refused(&shorter, &made, &right).contains("expected a file of 5000 bytes"));
}

/// Records that claim what no patch needs: more than a block, bytes beyond a file, a bomb.
#[test]
fn records_that_ask_for_too_much_are_refused() {
    let folder = Folder::new("hostile");
    let old = folder.file("old", &noise(100, 1));
    let head = |new_bytes: u64| Head { old: sha(b""), new: sha(b""), old_bytes: 100, new_bytes }.to_bytes();
    let record = |tag: u8, numbers: &[&[u8]]| [&[tag][..], &numbers.concat()].concat();
    let long = |n: u64| n.to_le_bytes();
    let short = |n: u32| n.to_le_bytes();
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let part = folder.0.join("part");
    for (name, new_bytes, bytes) in [
        ("same beyond the old", 1000, record(SAME, &[&long(50), &long(51)])),
        ("same that overflows", u64::MAX, record(SAME, &[&long(u64::MAX), &long(2)])),
        ("same beyond the new", 10, record(SAME, &[&long(0), &long(11)])),
        ("nothing", 10, record(SAME, &[&long(0), &long(0)])),
        ("a huge block", u64::MAX, record(NEW, &[&short(u32::MAX), &short(5), b"12345"])),
        ("a huge packed block", 1 << 20, record(NEW, &[&short(1 << 20), &short(u32::MAX)])),
        ("a bomb", 1 << 30, record(NEW, &[&short(1 << 20), &short(bomb.len() as u32), &bomb])),
        ("no kind", 10, record(9, &[])),
        ("too little", 10, vec![END]),
    ] {
        let patch = [head(new_bytes), bytes].concat();
        let expected = (&sha(b""), new_bytes);
        let error = apply(&old, &patch[..], expected, &part, &mut go_on).unwrap_err().to_string();
        assert!(error.contains("part: patch: ") && !part.exists(), "{name}: {error}");
    }
}

#[test]
fn whoever_stops_it_has_the_old_file() {
    let folder = Folder::new("stop");
    let old = folder.file("old", &noise(3 * BLOCK_BYTES, 1));
    let (made, _) = patch(&old, &old, &same_places(3 << 20, 3 << 20));
    let part = folder.0.join("part");
    let new = noise(3 * BLOCK_BYTES, 1);
    let expected = (&sha(&new), new.len() as u64);
    let stopped = apply(&old, &made[..], expected, &part, &mut |_| false);
    assert!(matches!(stopped, Err(Error::Interrupted(_))) && !part.exists());
    let stopped = make(&old, &old, &[], 3, &mut Vec::new(), &mut |_| false);
    assert!(matches!(stopped, Err(Error::Interrupted(_))));
}
