//! `ingle list`: the models that are here.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use clap::{ArgMatches, Command};
use ingle_engine::model_file::ModelFile;
use ingle_store::library::Installed;
use ingle_store::release::here::Here;
use serde::Serialize;

use super::{Verb, human_bytes, json_arg, print_json};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::{pulling, updating};

/// `config.json` of a folder is read up to this size.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

pub static VERB: Verb = Verb {
    name: "list",
    about: "List the models that are here",
    examples: &["ingle list", "ingle list --json"],
    args: |command: Command| command.arg(json_arg()),
    run,
};

#[derive(Serialize)]
struct Row {
    name: String,
    bytes: Option<u64>,
    format: String,
    family: Option<String>,
    /// Seconds since 1970.
    modified: Option<u64>,
    path: String,
    repo: Option<String>,
    /// For a model that came as a signed release.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Release>,
}

#[derive(Serialize)]
struct Release {
    repository: String,
    /// The one that is used.
    version: u64,
    state: String,
    /// The one to fall back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    /// Whether newer ones are asked for.
    is_followed: bool,
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let mut rows: Vec<Row> = pulling::library(env).list()?.into_iter().map(row).collect();
    rows.extend(updating::releases(env).list()?.into_iter().map(row_of_release));
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    if matches.get_flag("json") {
        print_json(&rows)?;
        return Ok(Exit::OK);
    }
    if rows.is_empty() {
        say("no models here yet; ingle pull qwen3:0.6b fetches one, and demo is built in");
        return Ok(Exit::OK);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let lines = rows.iter().map(|row| {
        [
            row.name.clone(),
            row.bytes.map_or_else(|| "gone".to_owned(), human_bytes),
            row.format.clone(),
            row.family.clone().unwrap_or_else(|| "?".to_owned()),
            row.modified.map_or_else(|| "?".to_owned(), |at| ago(now.saturating_sub(at))),
            row.release.as_ref().map(told).unwrap_or_default(),
        ]
    });
    let release = if rows.iter().any(|row| row.release.is_some()) { "RELEASE" } else { "" };
    let head = ["NAME", "SIZE", "FORMAT", "FAMILY", "WHEN", release].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = std::io::stdout().lock();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(Exit::OK)
}

fn row(model: Installed) -> Row {
    let kind = if model.is_folder { "safetensors" } else { "gguf" };
    Row {
        bytes: model.size,
        format: model.quant.unwrap_or_else(|| kind.to_owned()),
        family: if model.is_folder { family_of_folder(&model.path) } else { family_of_file(&model.path) },
        modified: model.modified.and_then(|m| Some(m.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())),
        path: model.path.display().to_string(),
        repo: model.repo.map(|r| r.to_string()),
        name: model.name,
        release: None,
    }
}

fn row_of_release(here: Here) -> Row {
    let release = Release {
        version: here.active.version,
        state: updating::standing(&here.active),
        before: here.model.other.map(|slot| slot.version),
        repository: here.url,
        is_followed: here.is_followed,
    };
    Row { release: Some(release), ..row(here.installed) }
}

/// A release in the last column.
fn told(release: &Release) -> String {
    let Release { version, state, before, is_followed, .. } = release;
    let before = before.map(|version| format!("; before {version}")).unwrap_or_default();
    let left = if *is_followed { "" } else { "; followed no more" };
    format!("version {version}, {state}{before}{left}")
}

/// What a GGUF file says it is; a file that can't be read says nothing.
fn family_of_file(path: &Path) -> Option<String> {
    let file = ModelFile::open(path).ok()?;
    Some(file.contents().str("general.architecture").ok()??.to_owned())
}

fn family_of_folder(path: &Path) -> Option<String> {
    let config = path.join("config.json");
    if std::fs::metadata(&config).ok()?.len() > CONFIG_BYTES_MAX {
        return None;
    }
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(config).ok()?).ok()?;
    Some(config.get("model_type")?.as_str()?.to_owned())
}

/// How long ago, in the largest unit that fits.
fn ago(seconds: u64) -> String {
    let units =
        [(365 * 86400, "year"), (30 * 86400, "month"), (86400, "day"), (3600, "hour"), (60, "minute")];
    match units.iter().find(|(length, _)| seconds >= *length) {
        Some((length, unit)) => {
            let n = seconds / length;
            format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" })
        }
        None => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_largest_unit() {
        for (seconds, text) in
            [(3, "now"), (60, "1 minute ago"), (7300, "2 hours ago"), (86400 * 400, "1 year ago")]
        {
            assert_eq!(ago(seconds), text);
        }
    }
}
