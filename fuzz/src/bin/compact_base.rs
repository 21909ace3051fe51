//! A compact base, as its file holds it: read, and compared with models that know nothing, everything and no numbers.
//!
//! An input is a file without the hash at its end, which is right for what comes before; and it is a file as it is.
// libFuzzer: -max_len=2048
#![no_main]

use ingle_compress::evaluate::compact::CompactBase;
use ingle_fuzz::assert_sentence;
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

/// Larger vocabularies take longer and find no more.
const VOCAB_MAX: usize = 1 << 16;

fn go_on(file: &[u8]) -> Result<()> {
    let base = CompactBase::parse(Bytes::new(file.to_vec()))?;
    assert!(base.text.n_windows() > 0 && base.text.ctx > base.text.first());
    assert!(base.text.tokens.iter().all(|&id| (id as usize) < base.n_vocab()));
    if base.n_vocab() > VOCAB_MAX {
        return Ok(());
    }
    for logit in [0.0, f32::NEG_INFINITY, f32::NAN] {
        let mut logits = vec![logit; base.n_vocab()];
        logits[0] = 1.0;
        let mut reader = base.reader();
        for i in 0..base.text.n_windows() {
            for &id in base.text.scored(i) {
                let position = reader.compare(&logits, id)?;
                assert!(logit.is_nan() || position.kld > -1e-9, "{position:?}");
            }
        }
        assert!(reader.compare(&logits, 0).is_err());
    }
    Ok(())
}

fuzz_target!(|input: &[u8]| {
    assert_sentence(go_on(input));
    assert_sentence(go_on(&[input, &Sha256::digest(input)].concat()));
});
