//! Schemas of real programs: answers drawn under them, and the same with something changed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use jsonschema::Validator;
use serde_json::Value as Json;

use super::bench::{Bench, TOKENS_MAX, Verdict};
use super::{files, percent};

/// Answers drawn of each schema.
pub const N_DRAWN: usize = 3;

/// What was counted of answers and changed ones.
#[derive(Default)]
pub struct Counts {
    pub drawn: usize,
    pub invalid: usize,
    pub unfinished: usize,
    changed: usize,
    accepted: usize,
    kept: usize,
    rejected: usize,
    other_form: usize,
}

pub fn measure(bench: &mut Bench, folder: &Path) -> Result<()> {
    let (mut n, mut compiled, mut unjudged) = (0, 0, 0);
    let mut counts = Counts::default();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for file in files(folder)? {
        let schema: Json = serde_json::from_slice(&std::fs::read(&file)?)?;
        let place = file.strip_prefix(folder)?.display().to_string();
        if !bench.go_to(&place) {
            continue;
        }
        n += 1;
        let constraint = match bench.compile(&schema) {
            Ok(constraint) => constraint,
            Err(e) => {
                let reason = e.to_string();
                if bench.list {
                    println!("refused {place}: {reason}");
                }
                *reasons.entry(reason.chars().take(70).collect()).or_default() += 1;
                continue;
            }
        };
        compiled += 1;
        let Ok(judge) = jsonschema::options().should_validate_formats(true).build(&schema) else {
            unjudged += 1;
            continue;
        };
        let drawn = counts.draw(bench, &constraint, &judge, &place);
        let mut tried = Vec::new();
        for text in &drawn {
            let Ok(instance) = serde_json::from_str::<Json>(text) else { continue };
            for valid in [false, true] {
                let Some(changed) = bench.random.change(&instance, &judge, valid) else { continue };
                let verdict = bench.verdict(&constraint, &changed);
                counts.note(valid, verdict);
                if bench.list && valid != (verdict == Verdict::Accepted) {
                    println!("{verdict:?} {place}, valid: {valid}: {changed}");
                }
                tried.push((changed, verdict));
            }
        }
        bench.write_down(&schema, &drawn, &tried)?;
    }
    println!("jsonschemabench: {n} schemas, compiled {compiled} ({:.1} %)", percent(compiled, n));
    counts.tell();
    println!("  changed and invalid {}, wrongly accepted {}", counts.changed, counts.accepted);
    println!(
        "  changed and valid {}, wrongly rejected {}, by their form {}; schemas the judge refuses {unjudged}",
        counts.kept, counts.rejected, counts.other_form
    );
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    reasons.iter().for_each(|(reason, n)| println!("  refused {n}: {reason}"));
    bench.tell_times();
    Ok(())
}

impl Counts {
    /// Answers under `constraint`, and what the judge says of them.
    pub fn draw(
        &mut self,
        bench: &mut Bench,
        constraint: &ingle_engine::constrain::Constraint,
        judge: &Validator,
        place: &str,
    ) -> Vec<String> {
        let mut answers = Vec::new();
        for _ in 0..N_DRAWN {
            let text = match bench.draw(constraint) {
                Ok(Some(text)) => text,
                other => {
                    self.unfinished += 1;
                    if bench.list {
                        println!(
                            "unfinished {place}: {}",
                            other.err().map_or(String::new(), |e| e.to_string())
                        );
                    }
                    continue;
                }
            };
            self.drawn += 1;
            let why = match serde_json::from_str::<Json>(&text) {
                Err(e) => Some(e.to_string()),
                Ok(instance) => judge.iter_errors(&instance).next().map(|e| e.to_string()),
            };
            if let Some(why) = why {
                self.invalid += 1;
                if bench.list {
                    println!("INVALID {place}: {text}: {}", why.chars().take(300).collect::<String>());
                }
            }
            answers.push(text);
        }
        answers
    }

    fn note(&mut self, valid: bool, verdict: Verdict) {
        match valid {
            true => {
                self.kept += 1;
                self.rejected += usize::from(verdict == Verdict::Rejected);
                self.other_form += usize::from(verdict == Verdict::OtherForm);
            }
            false => {
                self.changed += 1;
                self.accepted += usize::from(verdict != Verdict::Rejected);
            }
        }
    }

    pub fn tell(&self) {
        println!(
            "  answers drawn {}, invalid {}, not finished after {TOKENS_MAX} tokens {}",
            self.drawn, self.invalid, self.unfinished
        );
    }
}
