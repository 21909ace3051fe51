//! What the privacy detectors find, as JSON; and how fast they are.
//!
//! ```text
//! echo '["mail a@b.org"]' | cargo run --release -p ingle-route --example private -- spans
//! cargo run --release -p ingle-route --example private -- generate 2000
//! cargo run --release -p ingle-route --example private -- speed FILE
//! ```
//!
//! `spans` reads a list of texts and writes for each a list of `[kind, certainty, start, end]`, in characters. `generate` writes
//! the texts of the tests, so many of each kind, with what is planted in them. `speed` reads a text again and again.

use std::error::Error;
use std::hint::black_box;
use std::io::Read;
use std::ops::Range;
use std::time::Instant;

use ingle_route::privacy::{DETECTORS, find_all};
use serde_json::{Value, json};

#[path = "../tests/private/generator.rs"]
mod generator;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["spans"] => {
            let mut input = String::new();
            std::io::stdin().read_to_string(&mut input)?;
            let texts: Vec<String> = serde_json::from_str(&input)?;
            let found: Vec<Value> = texts.iter().map(|text| spans(text)).collect();
            println!("{}", serde_json::to_string(&found)?);
        }
        ["generate", n] => {
            let n = n.parse()?;
            let planted = generator::KINDS.iter().flat_map(|kind| generator::samples(kind, n, 8));
            let samples: Vec<Value> = planted
                .chain(generator::decoys(n, 9))
                .map(|sample| {
                    let place = places(&sample.text);
                    let planted: Vec<Value> = sample
                        .planted
                        .iter()
                        .map(|(kind, span)| json!([kind, place(span.start), place(span.end)]))
                        .collect();
                    json!({ "text": sample.text, "planted": planted })
                })
                .collect();
            println!("{}", serde_json::to_string(&samples)?);
        }
        ["speed", path] => speed(&std::fs::read_to_string(path)?),
        _ => return Err("expected spans, generate N or speed FILE".into()),
    }
    Ok(())
}

/// From bytes to characters.
fn places(text: &str) -> impl Fn(usize) -> usize {
    let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    move |at| borders.partition_point(|border| *border < at)
}

fn spans(text: &str) -> Value {
    let place = places(text);
    let span = |span: Range<usize>| (place(span.start), place(span.end));
    let found = find_all(text).into_iter().map(|f| {
        let (start, end) = span(f.span);
        json!([f.kind.name, f.certainty.name(), start, end])
    });
    found.collect()
}

/// The best of some rounds, of all detectors and of each alone (which includes reading the page).
fn speed(text: &str) {
    let best = |work: &dyn Fn()| {
        let seconds = (0..5).map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        });
        text.len() as f64 / 1e6 / seconds.fold(f64::MAX, f64::min)
    };
    println!(
        "all: {:.1} MB/s, {} findings in {} bytes",
        best(&|| drop(black_box(find_all(text)))),
        find_all(text).len(),
        text.len()
    );
    for detector in DETECTORS {
        println!("  {:18} {:.0} MB/s", detector.kind.name, best(&|| drop(black_box(detector.find(text)))));
    }
}
