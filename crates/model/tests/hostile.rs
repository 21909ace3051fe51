//! Bytes from outside: a valid tiny model, damaged in every way a seeded generator thinks of, is refused with a sentence or
//! runs. Nothing panics, loops or allocates beyond the file's own size class.

mod common;

use common::damage::{Outcomes, Rng};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::decoder::{Model, Runtime, Scratch, Span};
use ingle_model::file::gguf;
use ingle_model::kv::{self, Kv};
use ingle_model::token::{Parse, Tokenizer};

const BASE: &[u8] = include_bytes!("../../cli/tests/malicious/base.gguf");
const ROUNDS: usize = 20_000;

fn damaged(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = BASE.to_vec();
    // Mostly the metadata and tensor records: damage to weights only changes numbers.
    let front = 1_400.min(bytes.len());
    for _ in 0..=rng.below(3) {
        let at = rng.below(front.min(bytes.len()).max(1));
        match rng.below(6) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5)],
            2 => {
                let word = [0, 1, u64::MAX, 1 << 63, 1 << 32, 1 << 40, 255][rng.below(7)];
                if let Some(place) = bytes[at..].first_chunk_mut() {
                    *place = u64::to_le_bytes(word);
                }
            }
            3 => bytes.truncate(bytes.len() - rng.below(bytes.len() - front)),
            4 => {
                let end = (at + 1 + rng.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + 1 + rng.below(16)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// Everything a program does with a file until its first logits.
fn run(bytes: Vec<u8>, pool: &Pool, kernels: &Kernels) -> ingle_model::Result<f32> {
    let file = gguf::parse(Bytes::new(bytes))?;
    let tokenizer = Tokenizer::from_gguf(&file)?;
    let mut ids = Vec::new();
    tokenizer.encode("bad <|end|> \u{10348} cab", Parse::Special, &mut ids)?;
    ids.iter().for_each(|&id| assert!(tokenizer.token_bytes(id).is_some()));
    let model = Model::read(&file, kernels)?;
    let run = Runtime::new(pool, kernels);
    let mut kv = Kv::new(&model.config, kv::format(&model.config, "f16")?, 8);
    let mut scratch = Scratch::new(&model.config, 4, pool.n_threads());
    model.forward(&run, &mut [Span::new(&mut kv, &[1, 2, 3])], &mut scratch)?;
    Ok(model.logits(&run, 2..3, &mut scratch)[0])
}

#[test]
fn the_base_file_is_valid() {
    let logit = run(BASE.to_vec(), &Pool::new(1), &Kernels::detect()).unwrap();
    assert!(logit.is_finite());
}

#[test]
fn a_damaged_file_is_refused_in_one_sentence_or_runs() {
    let (pool, kernels) = (Pool::new(1), Kernels::detect());
    let mut rng = Rng(2026);
    let mut outcomes = Outcomes::default();
    for _ in 0..ROUNDS {
        outcomes.add(run(damaged(&mut rng), &pool, &kernels));
    }
    outcomes.more_than(ROUNDS / 4, ROUNDS / 100);
}
