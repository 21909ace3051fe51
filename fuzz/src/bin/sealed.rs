//! Sealed files and key files: whatever comes as one is opened or refused in a sentence, and takes no more memory than a frame. What is sealed
//! here and then changed by the input is refused, or was not changed.
// libFuzzer: -max_len=4000
#![no_main]

use std::io::{Read, Write};

use ingle_fuzz::assert_sentence;
use ingle_store::sealed::key::KEY_BYTES;
use ingle_store::sealed::key_file::KeyFile;
use ingle_store::sealed::{HEAD_BYTES, Key, Reader, Writer};
use libfuzzer_sys::fuzz_target;

fn key() -> Key {
    Key::new([7; KEY_BYTES].into())
}

fn open(file: &[u8], n_bytes: u64) -> Result<Vec<u8>, String> {
    let mut reader = Reader::new(file, n_bytes, &key(), "fuzz").map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    reader.read_to_end(&mut out).map_err(|e| e.to_string())?;
    assert_eq!(reader.n_bytes(), out.len() as u64);
    Ok(out)
}

fn seal(plain: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &key(), "fuzz", [1; 19]).expect("a vector is written to");
    writer.write_all(plain).expect("a vector is written to");
    writer.finish().expect("a vector is written to")
}

fuzz_target!(|input: &[u8]| {
    assert_sentence(open(input, input.len() as u64).map(drop));
    assert_sentence(KeyFile::parse(input).map(drop));
    // The head of a file of ours, and the input for frames: nobody makes one without the key.
    let ours = seal(b"hello");
    let forged = [&ours[..HEAD_BYTES], input].concat();
    let opened = open(&forged, forged.len() as u64);
    assert!(opened.is_err() || forged == ours);
    assert_sentence(opened.map(drop));
    // A length that lies.
    let (size, plain) = input.split_at(input.len().min(8));
    let lied = size.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    assert_sentence(open(&ours, lied).map(drop));
    // What was sealed is opened, and with any change refused.
    let mut sealed = seal(plain);
    assert!(open(&sealed, sealed.len() as u64).as_deref() == Ok(plain));
    let at = lied as usize % sealed.len();
    sealed[at] ^= (lied >> 56) as u8 | 1;
    assert!(open(&sealed, sealed.len() as u64).is_err());
});
