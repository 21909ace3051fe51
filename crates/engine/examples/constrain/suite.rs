//! The suite of a draft: instances that are marked valid and invalid, counted by the file they are in.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::bench::{Bench, Verdict};
use super::schemas::Counts;
use super::{files, percent};

/// What was counted of a file.
#[derive(Default)]
struct Row {
    schemas: usize,
    compiled: usize,
    /// Refused, and no instance is valid.
    empty: usize,
    valid: usize,
    rejected: usize,
    other_form: usize,
    /// Rejected for a `format`, which the suite has as a note.
    format: usize,
    invalid: usize,
    accepted: usize,
}

pub fn measure(bench: &mut Bench, folder: &Path, draft: &str) -> Result<()> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut counts = Counts::default();
    for file in files(folder)?.into_iter().filter(|file| file.parent() == Some(folder)) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let groups: Vec<Json> = serde_json::from_slice(&std::fs::read(&file)?)?;
        for group in groups {
            let place = format!("{draft} {name} {}", group["description"]);
            if !bench.go_to(&place) {
                continue;
            }
            let row = rows.entry(name.clone()).or_default();
            row.schemas += 1;
            let mut schema = group["schema"].clone();
            if let (Some(fields), "draft7") = (schema.as_object_mut(), draft) {
                fields.entry("$schema").or_insert(json!("http://json-schema.org/draft-07/schema#"));
            }
            let tests = group["tests"].as_array().cloned().unwrap_or_default();
            let constraint = match bench.compile(&schema) {
                Ok(constraint) => constraint,
                Err(e) => {
                    let any = tests.iter().any(|test| test["valid"] == true);
                    row.empty += usize::from(!any);
                    if bench.list {
                        println!("refused {place}: {e} (has valid instances: {any})");
                    }
                    if any {
                        *reasons.entry(e.to_string().chars().take(90).collect()).or_default() += 1;
                    }
                    continue;
                }
            };
            row.compiled += 1;
            let mut free = schema.clone();
            let free = without_formats(&mut free).then(|| bench.compile(&free)).transpose()?;
            let mut tried = Vec::new();
            for test in &tests {
                let verdict = bench.verdict(&constraint, &test["data"]);
                let valid = test["valid"] == true;
                let by_format = valid
                    && verdict == Verdict::Rejected
                    && free.as_ref().is_some_and(|free| bench.accepts(free, &test["data"].to_string()));
                row.note(valid, verdict, by_format);
                if bench.list && valid != (verdict == Verdict::Accepted) {
                    println!("{verdict:?} {place}, valid: {valid}: {} {}", test["description"], test["data"]);
                }
                tried.push((test["data"].clone(), verdict));
            }
            // In this suite formats are notes, which ours are not; the judge reads them as the suite does.
            let judge = jsonschema::options().should_validate_formats(false).build(&schema);
            let drawn = judge.map_or(Vec::new(), |judge| counts.draw(bench, &constraint, &judge, &place));
            bench.write_down(&schema, &drawn, &tried)?;
        }
    }
    let total = rows.values().fold(Row::default(), Row::plus);
    println!(
        "{draft}: {} schemas, compiled {} ({:.1} %), without any valid instance {}",
        total.schemas,
        total.compiled,
        percent(total.compiled, total.schemas),
        total.empty
    );
    println!("  {:24}  schemas compiled  empty  valid by-form by-format rejected  invalid accepted", "");
    let telling =
        |row: &Row| row.compiled + row.empty < row.schemas || row.rejected + row.other_form + row.format > 0;
    for (name, row) in rows.iter().filter(|(_, row)| telling(row) || row.accepted > 0) {
        row.tell(name);
    }
    total.tell("all, those without a flaw too");
    counts.tell();
    reasons.iter().for_each(|(reason, n)| println!("  refused {n}: {reason}"));
    bench.tell_times();
    Ok(())
}

/// Takes all formats from a schema; `false` where there are none.
fn without_formats(schema: &mut Json) -> bool {
    match schema {
        Json::Object(fields) => {
            let has =
                fields.get("format").is_some_and(Json::is_string) && fields.shift_remove("format").is_some();
            fields.values_mut().fold(has, |has, value| without_formats(value) | has)
        }
        Json::Array(items) => items.iter_mut().fold(false, |has, item| without_formats(item) | has),
        _ => false,
    }
}

impl Row {
    fn note(&mut self, valid: bool, verdict: Verdict, by_format: bool) {
        match valid {
            true if by_format => {
                self.valid += 1;
                self.format += 1;
            }
            true => {
                self.valid += 1;
                self.rejected += usize::from(verdict == Verdict::Rejected);
                self.other_form += usize::from(verdict == Verdict::OtherForm);
            }
            false => {
                self.invalid += 1;
                self.accepted += usize::from(verdict != Verdict::Rejected);
            }
        }
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            schemas: self.schemas + other.schemas,
            compiled: self.compiled + other.compiled,
            empty: self.empty + other.empty,
            valid: self.valid + other.valid,
            rejected: self.rejected + other.rejected,
            other_form: self.other_form + other.other_form,
            format: self.format + other.format,
            invalid: self.invalid + other.invalid,
            accepted: self.accepted + other.accepted,
        }
    }

    fn tell(&self, name: &str) {
        println!(
            "  {name:24}  {:7} {:8}  {:5}  {:5} {:7} {:9} {:8}  {:7} {:8}",
            self.schemas,
            self.compiled,
            self.empty,
            self.valid,
            self.other_form,
            self.format,
            self.rejected,
            self.invalid,
            self.accepted
        );
    }
}
