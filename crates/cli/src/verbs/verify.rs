//! `ingle verify [NAME]`: whether models are still what they were when they came.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use clap::{Arg, ArgMatches, Command};
use ingle_store::library::Library;
use ingle_store::verify::{Check, Verified, verify};
use serde::Serialize;

use super::{Verb, human_bytes, json_arg, print_json, text};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::model_ref::DEMO;
use crate::{pulling, updating};

pub static VERB: Verb = Verb {
    name: "verify",
    about: "Check that models are still what they were when they came",
    examples: &["ingle verify", "ingle verify qwen3:0.6b", "ingle verify mine --json"],
    args: |command: Command| {
        let name = Arg::new("name").value_name("NAME").help("As in the list; all models where none is given");
        command.arg(name).arg(json_arg())
    },
    run,
};

/// One file, and what was found.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    file: String,
    path: PathBuf,
    bytes: u64,
    /// `good`, `wrong`, or `unknown` where nobody has said what it must be.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    env.catch_ctrl_c();
    let library = pulling::library(env);
    let checks = match text(matches, "name") {
        Some(DEMO) => return Err(Failure::usage("demo is built in; it is as good as the program")),
        Some(name) => vec![(name.to_owned(), checks_of(name, &library, env)?)],
        None => all_checks(&library, env)?,
    };
    let rows = look(&checks, env)?;
    let n_wrong = rows.iter().filter(|r| r.state == "wrong").count();
    if matches.get_flag("json") {
        print_json(&rows)?;
    } else {
        print(&rows)?;
    }
    if n_wrong > 0 {
        say(format_args!(
            "{n_wrong} of {} files are not what they were; ingle rm and ingle pull bring a model back",
            rows.len()
        ));
        return Ok(Exit::INVALID);
    }
    Ok(Exit::OK)
}

fn checks_of(name: &str, library: &Library, env: &Env) -> Result<Vec<Check>, Failure> {
    if let Some(checks) = updating::releases(env).checks(name)? {
        return Ok(checks);
    }
    let gone = || Failure::not_found(format!("{name}: no such model here; ingle list shows them"));
    library.checks(name)?.filter(|checks| !checks.is_empty()).ok_or_else(gone)
}

/// The files of every model, each once however many models have it.
fn all_checks(library: &Library, env: &Env) -> Result<Vec<(String, Vec<Check>)>, Failure> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for model in library.list()? {
        let mut checks = library.checks(&model.name)?.unwrap_or_default();
        checks.retain(|check| seen.insert(check.path.clone()));
        all.push((model.name, checks));
    }
    let releases = updating::releases(env);
    for here in releases.list()? {
        let name = here.installed.name;
        let checks = releases.checks(&name)?.unwrap_or_default();
        all.push((name, checks));
    }
    Ok(all)
}

fn look(checks: &[(String, Vec<Check>)], env: &Env) -> Result<Vec<Row>, Failure> {
    let known = checks.iter().flat_map(|(_, checks)| checks).filter(|c| c.expected.is_some());
    let all: u64 = known.map(|c| c.size).sum();
    let (mut progress, start, mut done) = (Progress::new(env), Instant::now(), 0);
    let stop = || env.interrupted.load(Relaxed);
    let mut rows = Vec::new();
    for (model, check) in checks.iter().flat_map(|(model, checks)| checks.iter().map(move |c| (model, c))) {
        let mut tell = |n: u64| {
            // A look at the clock each MiB costs nothing beside hashing it.
            let is_due = (done + n) >> 20 != done >> 20;
            done += n;
            if is_due {
                let rate = done as f64 / start.elapsed().as_secs_f64().max(1e-3);
                let (name, done, all) = (&check.name, human_bytes(done), human_bytes(all));
                progress.show(format_args!("{name}  {done} of {all}  {}/s", human_bytes(rate as u64)));
            }
        };
        let found = verify(check, &stop, &mut tell)?.ok_or_else(Failure::interrupted)?;
        let (state, found) = match found {
            Verified::Good => ("good", None),
            Verified::Unknown => ("unknown", None),
            Verified::Wrong(found) => ("wrong", Some(found.to_string())),
        };
        rows.push(Row {
            model: model.clone(),
            file: check.name.clone(),
            path: check.path.clone(),
            bytes: check.size,
            state,
            expected: check.expected.as_ref().map(ToString::to_string),
            found,
        });
    }
    progress.clear();
    let seconds = start.elapsed().as_secs_f64();
    if done > 0 {
        let rate = human_bytes((done as f64 / seconds.max(1e-3)) as u64);
        say(format_args!("{} in {seconds:.1} s, {rate}/s", human_bytes(done)));
    }
    Ok(rows)
}

fn print(rows: &[Row]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for row in rows {
        let why = match (&row.found, &row.expected) {
            (Some(found), Some(expected)) => format!(": {found}, expected {expected}"),
            (None, None) => " (no hash is known; ingle pull PATH --sha256 HEX gives one)".to_owned(),
            _ => String::new(),
        };
        writeln!(out, "{:7}  {}  {}{why}", row.state, row.model, row.file)?;
    }
    Ok(())
}
