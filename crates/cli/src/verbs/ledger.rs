//! `ingle ledger`: what answers took here and elsewhere, and what left the device.

use std::io::Write;

use clap::{ArgMatches, Command};
use ingle_route::ledger::{LedgerError, LedgerFile, Tally, page, parse_since, words};

use super::{Verb, json_arg, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::metering::{book, ledger_path, now_ms};
use crate::zone;

pub static VERB: Verb = Verb {
    name: "ledger",
    about: "Show what answers took: energy, money, bytes that left",
    examples: &[
        "ingle ledger",
        "ingle ledger --since 7d",
        "ingle ledger --since 2026-11-01 --html ledger.html",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    command
        .arg(text_arg(
            "since",
            "TIME",
            "Only requests from then on: a day as 2026-11-01, or 90m, 24h, 7d, 2w ago",
        ))
        .arg(text_arg("html", "FILE", "Write a page with drawings, which needs nothing else"))
        .arg(json_arg().conflicts_with("html"))
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let since = text(matches, "since").map(|since| parse_since(since, now_ms(), zone::ahead_ms)).transpose();
    let since = since.map_err(|said| Failure::usage(format!("--since {said}")))?;
    let book = book(env)?;
    let ledger = LedgerFile::new(ledger_path(env));
    let mut tally = Tally::new(&book, since, zone::ahead_ms);
    let faults = ledger.read(|row| tally.add(&row)).map_err(failed)?;
    let report = tally.finish(&faults);
    if matches.get_flag("json") {
        print_json(&report)?;
    } else if let Some(file) = text(matches, "html") {
        std::fs::write(file, page(&report)).map_err(|e| Failure::file(file, &e))?;
        say(format_args!("{file} is written"));
    } else {
        std::io::stdout().write_all(words(&report).as_bytes())?;
        say(format_args!("rows: {}", ledger.path.display()));
    }
    Ok(Exit::OK)
}

fn failed(error: LedgerError) -> Failure {
    match error {
        LedgerError::Io { path, source } => Failure::file(path, &source),
        other => Failure::failed(other),
    }
}
