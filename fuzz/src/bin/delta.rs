//! Patches, lists of chunks and files of logins: what comes is applied or refused in a sentence, makes only what has the hash it says, and
//! a refused patch leaves no file.
// libFuzzer: -max_len=4000
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use ingle_fuzz::assert_sentence;
use ingle_store::delta::chunks::{Chunks, bytes_to_fetch};
use ingle_store::delta::patch::{Head, MAGIC};
use ingle_store::delta::{apply, make, same_places};
use ingle_store::hash::{Digest, Hasher};
use ingle_store::registry::login::Logins;
use libfuzzer_sys::fuzz_target;

/// A folder of this process, in memory where the system has one there.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let shm = PathBuf::from("/dev/shm");
    let folder = if shm.is_dir() { shm } else { std::env::temp_dir() }
        .join(format!("ingle-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder is made");
    std::fs::write(folder.join("old"), OLD).expect("a file is written");
    folder
});
const OLD: &[u8] =
    b"weights that were here before, a hundred bytes or so of them, of which most stay as they are today..";

fn sha(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(None, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

fn try_patch(patch: &[u8], expected: (&Digest, u64)) -> Result<(), String> {
    let part = FOLDER.join("part");
    let mut n_steps = 0;
    let mut tell = |_| {
        n_steps += 1;
        // A file of 2^64 bytes out of a few records is stopped by whoever looks.
        n_steps < 64
    };
    let applied = apply(&FOLDER.join("old"), patch, expected, &part, &mut tell);
    assert_eq!(part.exists(), applied.is_ok());
    if applied.is_ok() {
        let made = std::fs::read(&part).expect("it is there");
        assert_eq!((&sha(&made), made.len() as u64), expected);
    }
    applied.map(drop).map_err(|e| e.to_string())
}

fuzz_target!(|input: &[u8]| {
    // As it is, and as records behind a right head.
    if let Ok(head) = Head::read(&mut &input[..]) {
        assert_sentence(try_patch(input, (&head.new, head.new_bytes)));
    }
    let (size, records) = input.split_at(input.len().min(2));
    let n = size.iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    let zero = [0; 32];
    let sizes = [OLD.len() as u64, n].map(u64::to_le_bytes);
    let patch = [&MAGIC[..], &zero, &zero, &sizes[0], &sizes[1], records].concat();
    assert_sentence(try_patch(&patch, (&Digest::Sha256(zero), n)));
    // A patch of ours makes the input of the old file, and does not with a bit changed.
    let new = FOLDER.join("new");
    std::fs::write(&new, records).expect("a file is written");
    let mut ours = Vec::new();
    let layout = same_places(OLD.len() as u64, records.len() as u64);
    make(&FOLDER.join("old"), &new, &layout, 1, &mut ours, &mut |_| true).expect("files that are there");
    assert_eq!(try_patch(&ours, (&sha(records), records.len() as u64)), Ok(()));
    assert_sentence(Logins::parse(input).map(drop));
    if let Ok(chunks) = Chunks::parse(input, n) {
        assert_eq!(chunks.to_bytes(), input);
        assert_eq!(bytes_to_fetch(&chunks.stretches(&chunks)), 0);
    }
    assert_sentence(Chunks::parse(records, n).map(drop));
});
