//! `ingle config`: each setting, its value, and where that comes from.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{Verb, json_arg, print_json};
use crate::env::Env;
use crate::exit::{Exit, Failure};
use crate::settings::{self, SETTINGS};

pub static VERB: Verb = Verb {
    name: "config",
    about: "Show every setting and where its value comes from",
    examples: &["ingle config", "ingle config --json", "ingle config --threads 4"],
    args,
    run,
};

fn args(command: Command) -> Command {
    // Those of every verb are added to this one too.
    let of_verbs = SETTINGS.iter().filter(|s| !settings::EVERYWHERE.contains(&s.name));
    let names: Vec<&str> = of_verbs.map(|s| s.name).collect();
    settings::args(command.arg(json_arg()), &names)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let file = env.dirs.config.join("config.toml");
    if matches.get_flag("json") {
        let values: serde_json::Map<String, serde_json::Value> = SETTINGS
            .iter()
            .map(|s| {
                let (value, source) = match env.settings.get(s.name) {
                    Some((value, source)) if s.is_list() => {
                        (serde_json::from_str(value)?, source.to_string())
                    }
                    Some((value, source)) => (number_truth_or_text(value), source.to_string()),
                    None => (serde_json::Value::Null, "default".to_owned()),
                };
                Ok((s.name.to_owned(), json!({ "value": value, "source": source, "variable": s.variable() })))
            })
            .collect::<Result<_, Failure>>()?;
        print_json(&json!({ "file": file, "file_exists": file.exists(), "settings": values }))?;
        return Ok(Exit::OK);
    }
    let mut out = std::io::stdout().lock();
    let state = if file.exists() { "" } else { " (not there)" };
    writeln!(out, "file: {}{state}", file.display())?;
    for s in SETTINGS.iter() {
        let (value, source) = match env.settings.get(s.name) {
            Some((value, source)) => (value, source.to_string()),
            None => ("(chosen)", "default".to_owned()),
        };
        writeln!(out, "{:20} {:12} {source}", s.name, value)?;
    }
    Ok(Exit::OK)
}

fn number_truth_or_text(value: &str) -> serde_json::Value {
    match value.parse::<serde_json::Number>() {
        Ok(number) => number.into(),
        Err(_) => value.parse::<bool>().map_or_else(|_| value.into(), Into::into),
    }
}
