//! A LoRA adapter in GGUF, for the valid base of the program's hostile files: read, and used for some tokens.
// libFuzzer: -max_len=1024
#![no_main]

use std::sync::{Arc, LazyLock};

use ingle_fuzz::{MACHINE, assert_sentence, forward};
use ingle_kernel::bytes::Bytes;
use ingle_model::Result;
use ingle_model::adapter::Adapter;
use ingle_model::decoder::Model;
use ingle_model::file::{Contents, gguf};
use libfuzzer_sys::fuzz_target;

static BASE: LazyLock<(Contents, Model)> = LazyLock::new(|| {
    let bytes = include_bytes!("../../../crates/cli/tests/malicious/base.gguf");
    let file = gguf::parse(Bytes::new(bytes.to_vec())).expect("a valid file");
    let model = Model::read(&file, &MACHINE.1).expect("a valid model");
    (file, model)
});

fn read(input: &[u8]) -> Result<()> {
    let (base, model) = &*BASE;
    let file = gguf::parse(Bytes::new(input.to_vec()))?;
    let adapter = Arc::new(Adapter::read(&file, base, model, &MACHINE.1)?);
    assert!(adapter.n_pairs() > 0);
    forward(model, &[(adapter.clone(), 1.0), (adapter, -0.5)])
}

fuzz_target!(|input: &[u8]| assert_sentence(read(input)));
