//! The store of n-grams: what it accepts for its size, of texts that are like those it learned from.
//!
//! Stories, articles, documents, sources and the built-in model's tasks are shuffled, as a user's day is. After two thirds are learned, each
//! text of the last third is replayed and then learned. Beside it, in as many bytes: the text itself, of which the older half is
//! dropped when it is full, searched by prompt lookup.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use ingle_demo::{KINDS, Rng, held_out};
use ingle_engine::spec::lookup::{Ground, Lookup};
use ingle_engine::spec::ngrams::{Ngrams, Vocabulary};
use ingle_model::token::Tokenizer;

use crate::{N_GUESS, Sum, encode, tasks};

/// Stands between texts, and is no token.
const END: u32 = u32::MAX;

/// Texts of a kind.
const KINDS_OF_TEXT: [&str; 5] = ["stories", "articles", "JSON", "sources", "demo"];

pub fn measure(data: &Path, tokenizer: &Tokenizer) -> Result<()> {
    let texts = texts(data)?.into_iter().map(|(kind, text)| Ok((kind, encode(tokenizer, &text)?)));
    let texts: Vec<(usize, Vec<u32>)> = texts.collect::<Result<_>>()?;
    let n_tokens: usize = texts.iter().map(|(_, tokens)| tokens.len()).sum();
    println!("\nstores, {} texts of {n_tokens} tokens: accepted/guessed per step", texts.len());
    print!("{:16}", "");
    KINDS_OF_TEXT.iter().for_each(|kind| print!(" {kind:>10}"));
    println!(" {:>10} {:>9} {:>9}", "all", "learn us", "guess us");
    let vocabulary = Vocabulary { fingerprint: [0; 32], n_tokens: tokenizer.n_vocab() };
    for kb in [256, 1024, 4096, 16384] {
        let mut table = Ngrams::new(vocabulary, kb << 10).map_err(anyhow::Error::msg)?;
        let guess = |table: &Ngrams, context: &[u32], out: &mut Vec<u32>| {
            table.guess(context, N_GUESS, out);
        };
        report(&format!("table {kb} KB"), &texts, &mut table, |table, tokens| table.learn(tokens), guess);
        let mut kept = Kept::new(kb << 10);
        report(&format!("text {kb} KB"), &texts, &mut kept, Kept::learn, Kept::guess);
    }
    Ok(())
}

/// All texts with their kinds, shuffled, the same each time.
fn texts(data: &Path) -> Result<Vec<(usize, String)>> {
    let stories = tasks::passages(&data.join("text/tinystories.txt"), "<|endoftext|>", 300..5000)?;
    let articles = tasks::passages(&data.join("text/wiki.test.raw"), "\n \n", 300..5000)?;
    let schemas = tasks::schemas(&data.join("json/jsonschemabench"), 100..6000)?;
    let sources = tasks::sources(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    let asked = KINDS.iter().flat_map(|kind| held_out(kind, 3, 100));
    let asked = asked.map(|item| item.prompt.render() + &item.reference).collect();
    let kinds = [stories, articles, schemas, sources, asked];
    let mut texts: Vec<(usize, String)> = Vec::new();
    kinds
        .into_iter()
        .enumerate()
        .for_each(|(kind, list)| texts.extend(list.into_iter().map(|text| (kind, text))));
    Rng::new(5).shuffle(&mut texts);
    Ok(texts)
}

fn report<S>(
    name: &str,
    texts: &[(usize, Vec<u32>)],
    store: &mut S,
    learn: impl Fn(&mut S, &[u32]),
    guess: impl Fn(&S, &[u32], &mut Vec<u32>),
) {
    let mut sums = [Sum::default(); KINDS_OF_TEXT.len() + 1];
    let mut learning = Duration::ZERO;
    let mut out = Vec::with_capacity(N_GUESS);
    for (i, (kind, tokens)) in texts.iter().enumerate() {
        let mut at = if i < texts.len() * 2 / 3 { tokens.len() } else { 1 };
        while at < tokens.len() {
            out.clear();
            let start = Instant::now();
            guess(store, &tokens[..at], &mut out);
            let time = start.elapsed();
            sums[KINDS_OF_TEXT.len()].step(&out, &tokens[at..], time);
            at += 1 + sums[*kind].step(&out, &tokens[at..], time);
        }
        let start = Instant::now();
        learn(store, tokens);
        learning += start.elapsed();
    }
    print!("{name:16}");
    for sum in &sums {
        print!(" {:>10}", format!("{:.2}/{:.2}", sum.per_step(sum.n_accepted), sum.per_step(sum.n_guessed)));
    }
    let n_tokens: usize = texts.iter().map(|(_, tokens)| tokens.len()).sum();
    let guessing = sums[KINDS_OF_TEXT.len()];
    println!(
        " {:9.2} {:9.2}",
        learning.as_secs_f64() * 1e6 / n_tokens as f64,
        guessing.time.as_secs_f64() * 1e6 / guessing.n_steps as f64
    );
}

/// The text itself.
struct Kept {
    lookup: Lookup,
    capacity: usize,
}

impl Kept {
    /// As many tokens as fit.
    fn new(n_bytes: usize) -> Self {
        let capacity =
            (1..n_bytes / 8).rev().step_by(64).find(|&n| Lookup::n_bytes(n) <= n_bytes).unwrap_or(1);
        Self { lookup: Lookup::new(capacity), capacity }
    }

    fn learn(&mut self, tokens: &[u32]) {
        let tokens = &tokens[..tokens.len().min(self.capacity / 2 - 1)];
        let kept = self.lookup.tokens();
        if kept.len() + tokens.len() >= self.capacity {
            let newer = kept[kept.len() / 2..].to_vec();
            self.lookup.follow(&newer);
        }
        self.lookup.extend(tokens);
        self.lookup.extend(&[END]);
    }

    fn guess(&self, context: &[u32], out: &mut Vec<u32>) {
        let context = &context[context.len().saturating_sub(32)..];
        if !matches!(self.lookup.guess(context, N_GUESS, out), Ground::Match(_)) {
            out.clear();
        }
        if let Some(end) = out.iter().position(|&token| token == END) {
            out.truncate(end);
        }
    }
}
