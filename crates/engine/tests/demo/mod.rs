//! The built-in model, as the suites of this crate use it.

use std::sync::Arc;

use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::session::{Session, SessionOptions};
use ingle_kernel::bytes::Bytes;
use ingle_model::token::Parse;

/// The model, on a tier and a number of threads.
pub fn load(tier: Option<&str>, n_threads: usize) -> Arc<Loaded> {
    let file =
        ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).expect("the built-in model parses");
    Arc::new(
        Loaded::load(file, &LoadOptions { tier, n_threads, pack: Pack::Auto })
            .expect("the built-in model loads"),
    )
}

/// A session for `ctx` tokens.
pub fn session(loaded: &Arc<Loaded>, ctx: usize, kv: &str, chunk: usize) -> Session {
    let options = SessionOptions { ctx: Some(ctx), kv, chunk: Some(chunk) };
    Session::new(loaded.clone(), &options).expect("a small session")
}

/// Ids of a rendered prompt.
pub fn encode(loaded: &Loaded, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    loaded
        .tokenizer()
        .expect("it has one")
        .encode(text, Parse::Special, &mut ids)
        .expect("it can be encoded with");
    ids
}
