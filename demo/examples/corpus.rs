//! Writes what the trainer reads: `corpus SEED N [train|heldout|items]`, JSON lines on stdout.
//!
//! `train` and `heldout` write N documents of spans; `items` writes N held-out items of each kind, with their references;
//! `stories` writes N plain held-out stories as text. `judge` reads `KIND SEED INDEX ANSWER-AS-JSON` lines (tab-separated;
//! INDEX counts the held-out items of SEED) and writes 1 or 0 for each: the trainer's scores are the crate's own judgement.

use std::io::{BufRead, Write};

use ingle_demo::text::{document, story};
use ingle_demo::{KINDS, Rng, Side, held_out};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [seed, n, what] = args.as_slice() else {
        panic!("usage: corpus SEED N train|heldout|items|stories|judge")
    };
    let (seed, n): (u64, usize) = (seed.parse().expect("SEED"), n.parse().expect("N"));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut rng = Rng::new(seed);
    match what.as_str() {
        "items" => {
            for kind in KINDS {
                for item in held_out(kind, seed, n) {
                    let (prompt, answer) = (json(&item.prompt.render()), json(&item.reference));
                    writeln!(out, r#"{{"kind":"{}","prompt":{prompt},"answer":{answer}}}"#, kind.name)?;
                }
            }
        }
        "judge" => {
            let items: Vec<_> = KINDS.iter().map(|kind| (kind, held_out(kind, seed, n))).collect();
            for line in std::io::stdin().lock().lines() {
                let line = line?;
                let mut parts = line.splitn(3, '\t');
                let mut next = || parts.next().expect("KIND, INDEX, ANSWER");
                let (kind, idx, answer) = (next(), next().parse::<usize>().expect("INDEX"), next());
                let (kind, items) = items.iter().find(|(k, _)| k.name == kind).expect("a kind of the shelf");
                let answer = answer.replace("\\n", "\n").replace("\\\\", "\\");
                writeln!(out, "{}", u8::from((kind.judge)(&items[idx], &answer)))?;
            }
        }
        "stories" => {
            for _ in 0..n {
                writeln!(out, "{}\n", story(&mut rng, Side::HeldOut))?;
            }
        }
        side => {
            let side = if side == "train" { Side::Training } else { Side::HeldOut };
            for _ in 0..n {
                let document = document(&mut rng, side);
                write!(out, r#"{{"k":"{}","s":["#, document.kind)?;
                for (i, span) in document.spans.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(out, "{comma}[{},{}]", json(&span.text), u8::from(span.answer))?;
                }
                writeln!(out, "]}}")?;
            }
        }
    }
    Ok(())
}

/// The text as a JSON string.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 32 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}
