//! What keys and values depend on, in 32 bytes: two models have the same only if they compute the same.
//!
//! It is to be had in milliseconds, so it does not read the weights: metadata but for the vocabulary, names, shapes and formats of all tensors, sizes of
//! files, some bytes of each tensor, and some of each file. Two files that agree in all of that and differ elsewhere would be taken for
//! each other; nothing that trains or converts a model leaves that much as it was.

use std::fmt::Write as _;

use ingle_kernel::quant::Format;
use ingle_model::file::value::Value;
use sha2::{Digest, Sha256};

use super::Key;
use crate::model_file::Loaded;

/// Bytes that are looked at together.
const SAMPLE_BYTES: usize = 64;
/// Places in a tensor, evenly spread from its first byte to its last.
const SAMPLES_OF_TENSOR: usize = 4;
/// Places in a file.
const SAMPLES_OF_FILE: usize = 1024;

/// Of what sequences of `ctx` positions remember in `format`, as this version computes it on this tier.
pub fn fingerprint(loaded: &Loaded, format: &Format, ctx: usize) -> Key {
    of(
        loaded,
        format!(
            "ingle {} on {}, {} in contexts of {ctx} ",
            env!("CARGO_PKG_VERSION"),
            loaded.tier(),
            format.name
        ),
    )
}

/// Of a model as it lies in its files, whoever runs it.
pub fn of_model(loaded: &Loaded) -> Key {
    of(loaded, "model ".to_owned())
}

/// The beginning of [`of_model`] as a number.
pub fn number_of_model(loaded: &Loaded) -> u64 {
    of_model(loaded).iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn of(loaded: &Loaded, mut text: String) -> Key {
    let mut hash = Sha256::new();
    for tensor in loaded.file.contents().tensors() {
        // Writing to a text does not fail.
        let _ = write!(text, "{} {:?} {} ", tensor.name, tensor.shape, tensor.format.name);
    }
    add(&mut hash, text.as_bytes());
    for (key, value) in loaded.file.contents().keys().filter(|(key, _)| !key.starts_with("tokenizer.")) {
        add(&mut hash, key.as_bytes());
        match value {
            Value::String(bytes) | Value::Array { bytes, .. } => add(&mut hash, bytes),
            number => add(&mut hash, format!("{number:?}").as_bytes()),
        }
    }
    for tensor in loaded.file.contents().tensors().iter().filter(|tensor| tensor.n_made_bytes() == 0) {
        sample(&mut hash, &tensor.bytes(), SAMPLES_OF_TENSOR);
    }
    for file in loaded.file.files() {
        sample(&mut hash, file.bytes(), SAMPLES_OF_FILE);
    }
    hash.finalize().into()
}

/// Takes `bytes` into it, and how many they are.
fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Takes `n` places of `bytes` into it, and how many there are.
fn sample(hash: &mut Sha256, bytes: &[u8], n: usize) {
    hash.update((bytes.len() as u64).to_le_bytes());
    let last = bytes.len().saturating_sub(SAMPLE_BYTES);
    for i in 0..n {
        let at = (last as u128 * i as u128 / (n - 1) as u128) as usize;
        add(hash, &bytes[at..bytes.len().min(at + SAMPLE_BYTES)]);
    }
}
