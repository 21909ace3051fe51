//! Ids of many texts, for comparing tokenizers: `tokens TOKENIZER.json|FILE.gguf < texts > ids`.
//!
//! Each line of the input is a JSON string, each line of the output an array: the ids with special tokens read as such, and
//! the texts they decode to without and with special tokens' names. `tests/tokenizers/make.py` drives it.

use std::io::{BufRead, BufWriter, Write};

use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf;
use ingle_model::token::{Parse, Render, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("tokens TOKENIZER.json|FILE.gguf < texts > ids")?;
    let bytes = std::fs::read(&path)?;
    let start = std::time::Instant::now();
    let tokenizer = if path.ends_with(".gguf") {
        Tokenizer::from_gguf(&gguf::parse(Bytes::new(bytes))?)?
    } else {
        Tokenizer::from_json(&bytes, None)?
    };
    let opened = start.elapsed();
    tokenizer.encode("", Parse::Special, &mut Vec::new())?;
    let ready = start.elapsed();
    eprintln!(
        "{path}: opened in {:.1} ms, ready in {:.1} ms",
        opened.as_secs_f64() * 1e3,
        ready.as_secs_f64() * 1e3
    );
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut n_bytes, mut time) = (0, std::time::Duration::ZERO);
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let mut ids = Vec::new();
        let start = std::time::Instant::now();
        tokenizer.encode(&text, Parse::Special, &mut ids)?;
        time += start.elapsed();
        n_bytes += text.len();
        let (plain, named) = (tokenizer.decode(&ids, Render::Text), tokenizer.decode(&ids, Render::Special));
        writeln!(out, "{}", serde_json::json!([ids, plain, named]))?;
    }
    eprintln!("{path}: {:.1} MB/s", n_bytes as f64 / 1e6 / time.as_secs_f64());
    Ok(())
}
