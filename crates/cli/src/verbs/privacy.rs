//! `ingle privacy log|verify`: what left the device, and whether the log of it holds together.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use ingle_route::egress::{EgressError, Entry};
use ingle_route::ledger::date_of;
use serde_json::json;

use super::{Verb, json_arg, print_json};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::routing::egress_log;

pub static VERB: Verb = Verb {
    name: "privacy",
    about: "Show what left the device, and verify the log of it",
    examples: &["ingle privacy log", "ingle privacy log --json", "ingle privacy verify"],
    args,
    run,
};

fn args(command: Command) -> Command {
    command
        .arg(
            Arg::new("action")
                .value_name("ACTION")
                .required(true)
                .value_parser(["log", "verify"])
                .help("log: a line for each request that left; verify: whether nothing was changed since"),
        )
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let log = egress_log(env);
    let entries = log.verify().map_err(|error| match error {
        EgressError::Io(path, source) => Failure::file(path, &source),
        broken @ EgressError::Broken { .. } => Failure::invalid(broken),
    })?;
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let as_json = matches.get_flag("json");
    let shows = matches.get_one::<String>("action").is_some_and(|action| action == "log");
    if as_json {
        let shown: &[Entry] = if shows { &entries } else { &[] };
        print_json(
            &json!({ "file": log.path(), "holds": true, "n": entries.len(), "bytes": bytes, "entries": shown }),
        )?;
        return Ok(Exit::OK);
    }
    let mut out = std::io::stdout().lock();
    for entry in entries.iter().filter(|_| shows) {
        let Entry { at_ms, endpoint, to, model, why, redacted, bytes, .. } = entry;
        let minute = at_ms / 60_000 % 1440;
        let redacted =
            if redacted.is_empty() { String::new() } else { format!("; without {}", redacted.join(", ")) };
        writeln!(
            out,
            "{} {:02}:{:02} UTC  {bytes} bytes to {endpoint} ({to}, {model}): {why}{redacted}",
            date_of(*at_ms),
            minute / 60,
            minute % 60
        )?;
    }
    if !shows {
        writeln!(out, "the log holds together: {} requests, {bytes} bytes", entries.len())?;
    } else if entries.is_empty() {
        say("nothing has left the device");
    }
    Ok(Exit::OK)
}
