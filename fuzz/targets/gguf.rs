//! A GGUF file: parsed, tokenised, read as a model and run for some tokens. Whatever the bytes, nothing panics, hangs or
//! takes memory out of proportion.
#![no_main]

use std::sync::LazyLock;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::decoder::{Model, Runtime, Scratch, Span};
use ingle_model::file::gguf;
use ingle_model::kv::{self, Kv};
use ingle_model::token::{Parse, Tokenizer};
use libfuzzer_sys::fuzz_target;

static MACHINE: LazyLock<(Pool, Kernels)> = LazyLock::new(|| (Pool::new(1), Kernels::detect()));

/// A file may ask for more memory than it is long: for the KV cache and the buffers of a step. The program weighs that
/// against the machine before it begins; so does this.
const BYTES_MAX: u64 = 64 << 20;

fn run(bytes: &[u8]) -> ingle_model::Result<()> {
    let (pool, kernels) = &*MACHINE;
    let file = gguf::parse(Bytes::new(bytes.to_vec()))?;
    for (key, _) in file.keys() {
        let _ = (file.str(key), file.strings(key).map(|s| s.map(Iterator::count)), file.ints(key), file.floats(key));
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&file) {
        let mut ids = Vec::new();
        let encoded = tokenizer.encode("bad <|end|> \u{10348} cab 1234", Parse::Special, &mut ids);
        assert!(encoded.is_ok() || ids.is_empty());
        ids.iter().for_each(|&id| assert!(tokenizer.token_bytes(id).is_some()));
    }
    let model = Model::read(&file, kernels)?;
    let config = &model.config;
    let format = kv::format(config, "f16")?;
    let buffers = Scratch::bytes_per_token(config) as u64 * 4 + 4 * config.vocab as u64;
    if kv::n_bytes(config, format, 8) + buffers > BYTES_MAX {
        return Ok(());
    }
    let mut kv = Kv::new(config, format, 8);
    let mut scratch = Scratch::new(config, 4, 1);
    let run = Runtime { pool, kernels, adapters: &[] };
    let last = (config.vocab - 1) as u32;
    model.forward(&run, &mut [Span { kv: &mut kv, tokens: &[0, last, 0] }], &mut scratch)?;
    model.logits(&run, 2..3, &mut scratch);
    kv.checkpoint();
    model.forward(&run, &mut [Span { kv: &mut kv, tokens: &[last] }], &mut scratch)?;
    kv.truncate(3);
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = run(bytes) {
        let sentence = error.to_string();
        assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence:?}");
    }
});
