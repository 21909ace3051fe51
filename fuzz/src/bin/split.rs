//! The parts of a split GGUF file: each parsed, found by its name, joined, and the whole written again, read as a model and
//! run for some tokens.
//!
//! The parts of an input follow each other; a new one begins at every `GGUF`. At `GGU+` begins one that has data behind its
//! header, so that seeds are small.
// libFuzzer: -max_len=2600
#![no_main]

use ingle_fuzz::{DATA, assert_same_again, assert_sentence, run};
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use ingle_model::file::{gguf, split};
use libfuzzer_sys::fuzz_target;

/// Files are cut from the input in front of their magic; more would be slow and no different.
const PARTS_MAX: usize = 8;

fn files_of(input: &[u8]) -> Vec<Bytes> {
    let mut starts: Vec<usize> = (0..input.len().saturating_sub(3))
        .filter(|&i| input[i..].starts_with(b"GGUF") || input[i..].starts_with(b"GGU+"))
        .take(PARTS_MAX)
        .collect();
    starts.push(input.len());
    let parts = starts.windows(2).map(|ends| &input[ends[0]..ends[1]]);
    let files = parts.map(|part| match part.strip_prefix(b"GGU+") {
        Some(rest) => [b"GGUF", rest, &DATA].concat(),
        None => part.to_vec(),
    });
    files.map(Bytes::new).collect()
}

/// What opening the first file does, for a folder that holds every part under the name it should have.
fn read(input: &[u8]) -> Result<()> {
    let mut files = files_of(input).into_iter();
    let Some(first) = files.next() else { return Ok(()) };
    let first = gguf::parse(first)?;
    let Some(part) = split::Part::of(&first)? else { return Ok(()) };
    let name = format!("a-{:05}-of-{:05}.gguf", part.no + 1, part.count);
    let names = part.names(&name)?;
    assert!(names.len() as u64 == part.count && names[part.no as usize] == name);
    part.expect_first(&names)?;
    let mut parts = vec![first];
    for name in &names[1..] {
        parts.push(gguf::parse(files.next().ok_or_else(|| split::missing(name))?)?);
    }
    let n_tensors: usize = parts.iter().map(|part| part.tensors().len()).sum();
    let whole = split::join(parts)?;
    assert_eq!(whole.tensors().len(), n_tensors);
    assert_eq!(split::Part::of(&whole)?, None);
    assert_same_again(&whole);
    run(&whole)
}

fuzz_target!(|input: &[u8]| assert_sentence(read(input)));
