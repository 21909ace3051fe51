//! Vectors of texts, or scores of pairs, by a model on this device.
//!
//! ```text
//! echo '["Hello", "Good morning"]' | cargo run --release -p ingle-engine --example embed -- MODEL [TIER]
//! ```
//!
//! Reads a JSON list of texts and writes a JSON list of vectors; of a cross-encoder the first text is the query and the scores
//! of the others are written. Texts are cut to what the model was trained on, which is told on stderr, with the time taken.

use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ingle_engine::embed::{EmbedOptions, Embedder, Truncate};
use ingle_engine::model_file::{LoadOptions, ModelFile, Pack};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = PathBuf::from(args.next().ok_or("expected a model's path")?);
    let tier = args.next();
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let texts: Vec<String> = serde_json::from_str(&input)?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let n_threads = std::thread::available_parallelism()?.get();
    let options = LoadOptions { tier: tier.as_deref(), n_threads, pack: Pack::Off };
    let embedder = Embedder::load(ModelFile::open(&path)?, &options)?;
    let (start, cancel) = (Instant::now(), AtomicBool::new(false));
    let (json, n_tokens, cut) = if embedder.is_ranker() {
        let (query, documents) = texts.split_first().ok_or("expected a query and documents")?;
        let made = embedder.rerank(query, documents, Truncate::ToModel, &cancel)?.ok_or("cancelled")?;
        (serde_json::to_string(&made.scores)?, made.n_tokens, made.cut)
    } else {
        let options = EmbedOptions { truncate: Truncate::ToModel, ..EmbedOptions::MODEL };
        let made = embedder.embed(&texts, &options, &cancel)?.ok_or("cancelled")?;
        (serde_json::to_string(&made.vectors)?, made.n_tokens, made.cut)
    };
    let n: usize = n_tokens.iter().sum();
    eprintln!("{n} tokens in {:.3} s; cut: {cut:?}", start.elapsed().as_secs_f64());
    println!("{json}");
    Ok(())
}
