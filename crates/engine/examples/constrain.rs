//! Measures structured output on published schemas: how many compile, what is wrongly accepted or rejected, and what a mask
//! costs.
//!
//! `cargo run --release -p ingle-engine --example constrain -- DATA VOCABULARY.gguf`, where DATA holds the folders
//! `jsonschemabench` (schemas of real programs) and `json-schema-test-suite` (instances marked valid and invalid). For each
//! schema of the first, three answers are drawn under the mask and judged by the jsonschema crate, and three changed
//! ones that it rejects must be rejected, token by token. `--list` names what failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ingle_engine::constrain::{Constraint, Grammar, Vocabulary};
use ingle_engine::model_file::ModelFile;
use ingle_model::token::{Parse, Tokenizer};
use jsonschema::Validator;
use serde_json::{Value as Json, json};

/// Tokens of an answer before it is given up.
const TOKENS_MAX: usize = 1500;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let data = PathBuf::from(args.next().context("the folder of data is missing")?);
    let vocabulary = PathBuf::from(args.next().context("the GGUF file of a vocabulary is missing")?);
    let list = args.next().as_deref() == Some("--list");
    let tokenizer = ModelFile::open(&vocabulary)?.tokenizer()?;
    let start = Instant::now();
    let vocabulary = Arc::new(Vocabulary::new(&tokenizer)?);
    println!("vocabulary: {} tokens, ready after {:.0} ms", vocabulary.n_vocab(), millis(start.elapsed()));
    let mut bench = Bench { tokenizer, vocabulary, list, masks: Vec::new(), compiles: Vec::new(), random: 1 };
    bench.schemas(&data.join("jsonschemabench"))?;
    for draft in ["draft2020-12", "draft7"] {
        bench.suite(&data.join("json-schema-test-suite/tests").join(draft), draft)?;
    }
    Ok(())
}

struct Bench {
    tokenizer: Tokenizer,
    vocabulary: Arc<Vocabulary>,
    list: bool,
    masks: Vec<Duration>,
    /// Until the first mask.
    compiles: Vec<Duration>,
    random: u64,
}

impl Bench {
    fn compile(&mut self, schema: &Json) -> ingle_engine::Result<Constraint> {
        let text = schema.to_string();
        let start = Instant::now();
        let compiled = self.vocabulary.compile(&Grammar::JsonSchema(text));
        self.compiles.push(start.elapsed());
        compiled
    }

    fn schemas(&mut self, folder: &Path) -> Result<()> {
        let (mut n, mut compiled, mut unjudged, mut unfinished) = (0, 0, 0, 0);
        let (mut drawn, mut invalid, mut changed, mut accepted) = (0, 0, 0, 0);
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for file in files(folder)? {
            let schema: Json = serde_json::from_slice(&std::fs::read(&file)?)?;
            n += 1;
            let constraint = match self.compile(&schema) {
                Ok(constraint) => constraint,
                Err(e) => {
                    let reason = e.to_string();
                    if self.list {
                        println!("refused {}: {reason}", file.display());
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
            for _ in 0..3 {
                let Some(text) = self.draw(&constraint) else {
                    unfinished += 1;
                    continue;
                };
                drawn += 1;
                let instance = serde_json::from_str::<Json>(&text);
                if !instance.as_ref().is_ok_and(|instance| judge.is_valid(instance)) {
                    invalid += 1;
                    if self.list {
                        let why = instance.as_ref().map_or_else(ToString::to_string, |instance| {
                            judge.iter_errors(instance).next().map_or(String::new(), |e| e.to_string())
                        });
                        println!(
                            "INVALID {}: {text}: {}",
                            file.display(),
                            why.chars().take(300).collect::<String>()
                        );
                    }
                }
                let Some(wrong) = instance.ok().and_then(|instance| self.change(&instance, &judge)) else {
                    continue;
                };
                changed += 1;
                if self.accepts(&constraint, &wrong.to_string()) {
                    accepted += 1;
                    if self.list {
                        println!("ACCEPTED {}: {wrong}", file.display());
                    }
                }
            }
        }
        println!("jsonschemabench: {n} schemas, compiled {compiled} ({:.1} %)", percent(compiled, n));
        println!(
            "  answers drawn {drawn}, invalid {invalid}, not finished after {TOKENS_MAX} tokens {unfinished}"
        );
        println!(
            "  changed ones {changed}, wrongly accepted {accepted}; schemas the judge refuses {unjudged}"
        );
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        reasons.iter().for_each(|(reason, n)| println!("  refused {n}: {reason}"));
        self.times("compilation and first mask", true);
        self.times("mask", false);
        Ok(())
    }

    fn suite(&mut self, folder: &Path, draft: &str) -> Result<()> {
        let (mut n, mut compiled, mut valid, mut rejected, mut invalid, mut accepted) = (0, 0, 0, 0, 0, 0);
        self.masks.clear();
        let mut wrong: BTreeMap<String, [usize; 2]> = BTreeMap::new();
        for file in files(folder)?.into_iter().filter(|file| file.parent() == Some(folder)) {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let groups: Vec<Json> = serde_json::from_slice(&std::fs::read(&file)?)?;
            for group in groups {
                n += 1;
                let mut schema = group["schema"].clone();
                if let (Some(fields), "draft7") = (schema.as_object_mut(), draft) {
                    fields.entry("$schema").or_insert(json!("http://json-schema.org/draft-07/schema#"));
                }
                let constraint = match self.compile(&schema) {
                    Ok(constraint) => constraint,
                    Err(e) => {
                        // Where nothing is valid there is nothing to compile.
                        let any =
                            group["tests"].as_array().is_some_and(|t| t.iter().any(|t| t["valid"] == true));
                        if self.list {
                            println!(
                                "refused {draft} {name} {}: {e} (has valid instances: {any})",
                                group["description"]
                            );
                        }
                        continue;
                    }
                };
                compiled += 1;
                for test in group["tests"].as_array().into_iter().flatten() {
                    let accepts = self.accepts(&constraint, &test["data"].to_string());
                    let counts = wrong.entry(name.clone()).or_default();
                    if test["valid"] == true {
                        valid += 1;
                        rejected += usize::from(!accepts);
                        counts[0] += usize::from(!accepts);
                    } else {
                        invalid += 1;
                        accepted += usize::from(accepts);
                        counts[1] += usize::from(accepts);
                    }
                    if self.list && (test["valid"] == true) != accepts {
                        let what = if accepts { "ACCEPTED" } else { "rejected" };
                        println!(
                            "{what} {draft} {name} {}: {} {}",
                            group["description"], test["description"], test["data"]
                        );
                    }
                }
            }
        }
        println!("{draft}: {n} schemas, compiled {compiled} ({:.1} %)", percent(compiled, n));
        println!(
            "  valid instances {valid}, wrongly rejected {rejected}; invalid ones {invalid}, wrongly accepted {accepted}"
        );
        wrong.retain(|_, counts| *counts != [0, 0]);
        wrong.iter().for_each(|(name, [r, a])| println!("  {name}: rejected {r}, accepted {a}"));
        self.times("mask", false);
        Ok(())
    }

    /// An answer drawn under the mask, each token with the same chance but for those that close something.
    fn draw(&mut self, constraint: &Constraint) -> Option<String> {
        let (mut constraint, mut ids) = (constraint.clone(), Vec::new());
        let mut row = vec![0.0f32; self.tokenizer.n_vocab()];
        for n in 0..TOKENS_MAX {
            row.fill(0.0);
            let start = Instant::now();
            constraint.mask(&mut row).ok()?;
            self.masks.push(start.elapsed());
            let allowed: Vec<u32> = (0..row.len() as u32).filter(|&id| row[id as usize] == 0.0).collect();
            let closes = |id: &&u32| {
                let bytes = self.tokenizer.token_bytes(**id).unwrap_or_default();
                self.tokenizer.is_eog(**id)
                    || matches!(bytes, b"\"" | b"}" | b"]" | b"\"," | b"\"}" | b"," | b"0")
            };
            let closing: Vec<u32> = allowed.iter().filter(closes).copied().collect();
            let choose = if !closing.is_empty() && self.below(10) < 3 + n / 40 { &closing } else { &allowed };
            let id = choose[self.below(choose.len())];
            if self.tokenizer.is_eog(id) {
                let bytes: Vec<u8> = ids
                    .iter()
                    .flat_map(|&id| self.tokenizer.token_bytes(id).unwrap_or_default().to_vec())
                    .collect();
                return String::from_utf8(bytes).ok();
            }
            constraint.accept(id).ok()?;
            ids.push(id);
        }
        None
    }

    /// Whether `text` passes the mask, token by token, and may end.
    fn accepts(&mut self, constraint: &Constraint, text: &str) -> bool {
        let (mut constraint, mut ids) = (constraint.clone(), Vec::new());
        self.tokenizer.encode(text, Parse::Text, &mut ids).expect("the vocabulary encodes");
        let mut row = vec![0.0f32; self.tokenizer.n_vocab()];
        for id in ids {
            row.fill(0.0);
            let start = Instant::now();
            let masked = constraint.mask(&mut row);
            self.masks.push(start.elapsed());
            if masked.is_err() || row[id as usize] != 0.0 || constraint.accept(id).is_err() {
                return false;
            }
        }
        constraint.may_end()
    }

    /// `instance` with something changed that makes it invalid.
    fn change(&mut self, instance: &Json, judge: &Validator) -> Option<Json> {
        for _ in 0..30 {
            let mut changed = instance.clone();
            self.change_at(&mut changed, 0);
            if !judge.is_valid(&changed) {
                return Some(changed);
            }
        }
        None
    }

    fn change_at(&mut self, value: &mut Json, depth: usize) {
        let inside = self.below(3) > 0 && depth < 6;
        match value {
            Json::Object(fields) if inside && !fields.is_empty() => {
                let name = fields.keys().nth(self.below(fields.len())).cloned().expect("it was counted");
                match self.below(4) {
                    0 => drop(fields.shift_remove(&name)),
                    1 => drop(fields.insert("surely not known".into(), json!(1))),
                    _ => self.change_at(&mut fields[&name], depth + 1),
                }
            }
            Json::Array(items) if inside && !items.is_empty() => {
                let i = self.below(items.len());
                match self.below(4) {
                    0 => drop(items.remove(i)),
                    1 => items.push(items[i].clone()),
                    _ => self.change_at(&mut items[i], depth + 1),
                }
            }
            Json::String(text) if self.below(2) == 0 => text.push_str("~ \u{e9}"),
            other => {
                *other = match self.below(7) {
                    0 => Json::Null,
                    1 => json!(true),
                    2 => json!(-1_234_567),
                    3 => json!(0.5),
                    4 => json!(""),
                    5 => json!([1, 1]),
                    _ => json!({ "a": null }),
                };
            }
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.random >> 33) as usize) % n.max(1)
    }

    fn times(&mut self, what: &str, compiles: bool) {
        let times = if compiles { &mut self.compiles } else { &mut self.masks };
        times.sort_unstable();
        let at =
            |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, |&time| millis(time));
        let (median, p95, p99, max) =
            (at(0.5), at(0.95), at(0.99), times.last().map_or(0.0, |&time| millis(time)));
        println!(
            "  {what}: {} times, median {median:.3} ms, p95 {p95:.3}, p99 {p99:.3}, max {max:.1}",
            times.len()
        );
    }
}

/// All JSON files of a folder and those in it, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
