//! A store of n-grams, as its file holds it: read into tables of its own size, of a smaller and of a larger one, asked, taught and written
//! again. No table takes more than it may or guesses a token that there is not.
//!
//! An input is a file without the hash at its end, which is right for what comes before; and it is a file as it is.
// libFuzzer: -max_len=700
#![no_main]

use ingle_engine::spec::ngrams::{Ngrams, Vocabulary};
use ingle_fuzz::assert_sentence;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const VOCABULARY: Vocabulary = Vocabulary { fingerprint: [b'v'; 32], n_tokens: 300 };

fn read(file: &[u8], bytes_max: usize) -> Result<Ngrams, String> {
    Ngrams::read(&mut &file[..], file.len() as u64, VOCABULARY, bytes_max)
}

fn write(table: &Ngrams) -> Vec<u8> {
    let mut file = Vec::new();
    table.write(&mut file).expect("a vector is written to");
    assert_eq!(file.len(), table.n_bytes());
    file
}

fn go_on(file: &[u8]) -> Result<(), String> {
    let table = read(file, file.len())?;
    assert_eq!(read(&write(&table), file.len())?, table);
    for bytes_max in [file.len(), 150, 1500] {
        let mut table = read(file, bytes_max)?;
        assert!(table.n_bytes() <= bytes_max);
        let said: Vec<u32> = file.iter().map(|&byte| u32::from(byte)).collect();
        table.learn(&said);
        let mut guesses = Vec::new();
        for end in 0..=said.len() {
            let n_before = guesses.len();
            let n_tokens = table.guess(&said[..end], 3, &mut guesses);
            assert_eq!(n_tokens > 0, guesses.len() > n_before);
        }
        assert!(guesses.iter().all(|&token| (token as usize) < VOCABULARY.n_tokens));
        let file = write(&table);
        assert_eq!(read(&file, bytes_max)?, table);
    }
    Ok(())
}

fuzz_target!(|input: &[u8]| {
    assert_sentence(go_on(input));
    assert_sentence(go_on(&[input, &Sha256::digest(input)].concat()));
});
