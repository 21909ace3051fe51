//! The report of `ingle compress` beside OUT: OUT.json, all that is known of the result, and OUT.html, the same to look at.
//!
//! With `--target` both have the search, from when it is over; with `--report` they are written without one too. Once they are
//! begun, the journal says that they are this work's own, so that a run that goes on may replace them.

use std::io::Write;
use std::path::{Path, PathBuf};

use ingle_compress::Error;
use ingle_compress::journal::Journal;
use ingle_compress::output::{self, Existing};
use ingle_compress::page;
use ingle_compress::recipe::Recipe;
use ingle_compress::search::{Found, plot};
use serde_json::{Value, json};

use super::judged::Outcome;
use super::print;
use crate::exit::Failure;

/// What they are called.
const ENDINGS: [&str; 2] = ["json", "html"];
/// What the journal notes before the first is written.
pub const BEGUN: &str = "reports";

/// `output` with another ending behind its own.
pub fn beside(output: &Path, ending: &str) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    output.with_file_name(format!("{name}.{ending}"))
}

/// Fails when they can't be written beside `output`: when others' are there that are to be kept.
pub fn check(output: &Path, existing: Existing) -> Result<(), Error> {
    ENDINGS.iter().try_for_each(|ending| output::check(&beside(output, ending), None, existing))
}

/// Writes both: what a search found, if there was one, with the recipe of its choice, and what came of it, once that is known.
pub fn write(
    output: &Path,
    model: &str,
    found: Option<(&Found, Option<&Recipe>)>,
    outcome: Option<&Outcome>,
    journal: &Journal,
    existing: Existing,
) -> Result<(), Failure> {
    let mut all = outcome.map_or_else(|| json!({}), print::json);
    if let (Some((found, chosen)), Value::Object(all)) = (found, &mut all) {
        all.insert("search".into(), json!(found));
        if outcome.is_none() {
            all.insert("recipe".into(), json!(chosen));
            all.insert("recipe_toml".into(), json!(chosen.map(Recipe::to_toml)));
            all.insert("recipe_hash".into(), json!(chosen.map(Recipe::hash)));
        }
    }
    let told = outcome.map(|o| (print::lines(o), o.recipe.measure(), &o.report));
    let result = told.as_ref().map(|(lines, measure, report)| page::Result { lines, measure, report });
    let name = Path::new(model).file_name().unwrap_or_default().to_string_lossy();
    let page = match (found, result) {
        (Some((found, _)), result) => plot::page(&name, found, result),
        (None, Some(result)) => page::of_result(&name, result),
        (None, None) => return Ok(()),
    };
    let words = serde_json::to_string_pretty(&all).map_err(|e| Failure::failed(e.to_string()))?;
    let existing = if journal.has_noted(BEGUN) { Existing::Replace } else { existing };
    check(output, existing).and_then(|()| journal.note(BEGUN)).map_err(Failure::failed)?;
    for (ending, words) in ENDINGS.into_iter().zip([words, page]) {
        let fill = |out: &mut std::io::BufWriter<std::fs::File>| Ok(out.write_all(words.as_bytes())?);
        output::write(&beside(output, ending), None, Existing::Replace, fill).map_err(Failure::failed)?;
    }
    Ok(())
}
