//! Patches through the real binary, between two files of one model.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::fs;

use harness::{Dir, tiny};

/// The tiny model, and a revision with a longer head and some weights changed.
fn revisions(dir: &Dir) -> (String, String) {
    let old = fs::read(tiny()).unwrap();
    let mut new = old.clone();
    let n = new.len();
    (n - 2000..n).step_by(97).for_each(|at| new[at] ^= 1);
    (dir.file("old.gguf", old), dir.file("new.gguf", new))
}

#[test]
fn a_patch_is_made_named_for_a_pull_and_applied() {
    let dir = Dir::new();
    let (old, new) = revisions(&dir);
    let made = dir.ingle(&["delta", "make", &old, &new, "--json"]).json();
    let patch = made["file"].as_str().unwrap();
    assert!(patch.contains("new.gguf.from-") && patch.ends_with(".ingle-delta"), "{patch}");
    assert!(
        made["bytes"].as_u64() < Some(1000)
            && made["bytes"].as_u64() == Some(fs::metadata(patch).unwrap().len())
    );
    let out = dir.path("made.gguf").display().to_string();
    dir.ingle(&["delta", "apply", &old, patch, "-o", &out]).ok();
    assert!(fs::read(&out).unwrap() == fs::read(&new).unwrap());

    // Of another file nothing is made.
    let other = dir.file("other.gguf", vec![7; fs::metadata(&old).unwrap().len() as usize]);
    fs::remove_file(&out).unwrap();
    dir.ingle(&["delta", "apply", &other, patch, "-o", &out]).fails(5, &["sha256"]);
    dir.ingle(&["delta", "apply", &old, &new, "-o", &out]).fails(5, &["does not begin as a patch"]);
    dir.ingle(&["delta", "apply", &old, patch]).fails(2, &["-o FILE"]);
    dir.ingle(&["delta", "chunks", &old, &new]).fails(2, &["another number of files"]);
    assert!(!dir.path("made.gguf").exists() && !dir.path("made.gguf.part").exists());
}

#[test]
fn the_plan_says_what_each_way_costs_the_cheapest_first() {
    let dir = Dir::new();
    let (old, new) = revisions(&dir);
    let plan = dir.ingle(&["delta", "plan", &old, &new, "--json"]).json();
    let bytes: Vec<u64> = plan.as_array().unwrap().iter().map(|way| way["bytes"].as_u64().unwrap()).collect();
    assert!(bytes.len() == 3 && bytes.is_sorted(), "{plan}");
    assert_eq!(plan[0]["way"], "a patch");
    dir.ingle(&["delta", "chunks", &new]).ok();
    assert!(fs::read(dir.path("new.gguf.ingle-chunks")).unwrap().starts_with(b"ingleCH1"));
}
