//! What the targets share: running what a parser took for a model, and writing it again.
//!
//! A target (`src/bin/NAME.rs`) calls what the program calls, over bytes in memory, and goes one step further with
//! what is accepted, so that a count nobody checked comes to light. See README.md.

use std::fmt::Display;
use std::sync::LazyLock;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::Result as ModelResult;
use ingle_model::adapter::Active;
use ingle_model::decoder::{Model, Runtime, Scratch, Span};
use ingle_model::file::gguf_write::{Header, Meta, Writer};
use ingle_model::file::{Contents, gguf};
use ingle_model::kv::{self, Kv};
use ingle_model::token::{Parse, Render, Tokenizer};

/// One thread, and the kernels of this machine.
pub static MACHINE: LazyLock<(Pool, Kernels)> = LazyLock::new(|| (Pool::new(1), Kernels::detect()));

/// A model may ask for more memory than its file is long: for the KV cache and the buffers of a step. The program weighs
/// that against the machine before it begins; so do targets.
const BYTES_MAX: u64 = 64 << 20;

/// Texts of all kinds, none of them long.
pub const TEXTS: [&str; 3] =
    ["Bad <|end|> <s>\u{10348} cab's 1234  é\n\n", "日本語 x\u{301}\r\n\t", "aaaaaaaaaaaaaaa"];

/// Says on standard error what became of each input: to see what a seed or a crash is about.
static SAYS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("INGLE_FUZZ_SAY").is_some());

/// That a refusal is one sentence.
pub fn assert_sentence<E: Display>(result: Result<(), E>) {
    if *SAYS {
        eprintln!("{}", result.as_ref().map_or_else(E::to_string, |()| "accepted".into()));
    }
    if let Err(error) = result {
        let sentence = error.to_string();
        assert!(!sentence.is_empty() && !sentence.contains('\n'), "{sentence:?}");
    }
}

/// Data that is neither zeros nor noise: as f32, f16, bf16 or blocks of any format mostly small numbers. As much of it as
/// any input may ask for.
pub static DATA: [u8; 144 << 10] = {
    const PERIOD: [u8; 10] = [0x1f, 0x2b, 0xa3, 0x3c, 0x07, 0xb1, 0x90, 0x3d, 0x55, 0x29];
    let mut bytes = [0; 144 << 10];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = PERIOD[i % PERIOD.len()];
        i += 1;
    }
    bytes
};

/// Reads the model in `file` and runs it for some tokens.
///
/// # Errors
/// What reading it says.
pub fn run(file: &Contents) -> ModelResult<()> {
    let model = Model::read(file, &MACHINE.1)?;
    forward(&model, &[])
}

/// Runs `model` for some tokens, goes back and goes on.
///
/// # Errors
/// What the decoder says.
pub fn forward(model: &Model, adapters: &[Active]) -> ModelResult<()> {
    let (pool, kernels) = &*MACHINE;
    let config = &model.config;
    let format = kv::format(config, "f16")?;
    let buffers = Scratch::bytes_per_token(config) as u64 * 4 + 4 * config.vocab as u64;
    if kv::n_bytes(config, format, 8) + buffers > BYTES_MAX {
        return Ok(());
    }
    let mut kv = Kv::new(config, format, 8);
    let mut scratch = Scratch::new(config, 4, 1);
    let run = Runtime { adapters, ..Runtime::new(pool, kernels) };
    let last = (config.vocab - 1) as u32;
    model.forward(&run, &mut [Span::new(&mut kv, &[0, last, 0])], &mut scratch)?;
    model.logits(&run, 2..3, &mut scratch);
    kv.checkpoint();
    model.forward(&run, &mut [Span::new(&mut kv, &[last])], &mut scratch)?;
    kv.truncate(3);
    Ok(())
}

/// Encodes the texts and decodes what comes out: every id is one of the vocabulary, and a stream is the whole.
pub fn speak(tokenizer: &Tokenizer) -> ModelResult<()> {
    for text in TEXTS {
        for parse in [Parse::Special, Parse::Text] {
            let mut ids = Vec::new();
            tokenizer.encode(text, parse, &mut ids)?;
            assert!(ids.iter().all(|&id| tokenizer.token_bytes(id).is_some()), "{ids:?}");
            for render in [Render::Text, Render::Special] {
                tokenizer.decode(&ids, render);
            }
        }
    }
    let around = tokenizer.before().iter().chain(tokenizer.after()).chain(tokenizer.ending());
    assert!(around.copied().all(|id| tokenizer.kind(id).is_some()));
    Ok(())
}

/// Writes `file` as GGUF and holds what is read again against it.
pub fn assert_same_again(file: &Contents) {
    let mut header = Header::like(file);
    for t in file.tensors() {
        header.add(&t.name, &t.shape, t.format).expect("a tensor that was read can be written");
    }
    let mut writer = Writer::begin(Vec::new(), &header).expect("memory");
    for t in file.tensors() {
        writer.write(&t.bytes()).expect("memory");
    }
    let bytes = writer.finish().expect("memory");
    let again = gguf::parse(Bytes::new(bytes)).expect("what was written can be read");
    assert_eq!(file.keys().count(), again.keys().count());
    for ((key, _), (other, _)) in file.keys().zip(again.keys()) {
        assert_eq!(key, other);
        assert_eq!(Meta::read(file, key), Meta::read(&again, key), "{key}");
    }
    assert_eq!(file.tensors().len(), again.tensors().len());
    for (a, b) in file.tensors().iter().zip(again.tensors()) {
        assert_eq!((&a.name, &a.shape, a.format.name), (&b.name, &b.shape, b.format.name));
        assert!(*a.bytes() == *b.bytes(), "{}", a.name);
    }
}
