//! `ingle ps`: what a server on this machine has in memory, and how much of it.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use ingle_net::LocalServer;
use serde_json::Value;

use super::{Verb, human_bytes, json_arg, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::network;

pub static VERB: Verb = Verb {
    name: "ps",
    about: "Show the models that a server on this machine has in memory",
    examples: &["ingle ps", "ingle ps --port 8080 --json"],
    args: |command| server_args(command).arg(json_arg()),
    run,
};

/// `--host` and `--port` of a server on this machine.
pub fn server_args(command: Command) -> Command {
    command
        .arg(
            text_arg("host", "ADDRESS", "Ask the server at this address of this machine")
                .default_value("127.0.0.1"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("N")
                .default_value("8383")
                .value_parser(clap::value_parser!(u16).range(1..))
                .help("Ask the server on this port"),
        )
}

/// The server that the arguments name.
pub fn server(matches: &ArgMatches, env: &Env) -> Result<LocalServer, Failure> {
    let host = text(matches, "host").expect("it has a default");
    network::local_server(host, *matches.get_one::<u16>("port").expect("it has a default"), env)
}

/// The JSON of an answer, or why there is none.
pub fn answered((status, body): (u16, Vec<u8>)) -> Result<Value, Failure> {
    let json: Value = serde_json::from_slice(&body).map_err(|_| {
        Failure::failed(format!("the server answered {status} without JSON, expected one of ingle's"))
    })?;
    if status == 200 {
        return Ok(json);
    }
    let error = &json["error"];
    let why = error["message"].as_str().or(error.as_str()).unwrap_or("no reason").to_owned();
    Err(match status {
        404 => Failure::not_found(why),
        401 | 403 => Failure::blocked(why),
        _ => Failure::failed(why),
    })
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let told = answered(server(matches, env)?.get("/api/ps")?)?;
    if matches.get_flag("json") {
        print_json(&told)?;
        return Ok(Exit::OK);
    }
    let models = told["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    for model in models {
        let name = model["name"].as_str().unwrap_or_default();
        let (size, memory) = (model["size"].as_u64().unwrap_or(0), &model["memory"]);
        let tier = memory["tier"].as_str().unwrap_or("hot");
        let kinds = memory["bytes"].as_object().into_iter().flatten();
        let kinds = kinds.filter_map(|(kind, n)| Some((kind, n.as_u64().filter(|n| *n > 0)?)));
        let kinds: Vec<String> = kinds.map(|(kind, n)| format!("{kind} {}", human_bytes(n))).collect();
        let mut notes = vec![kinds.join(", ")];
        let kept = memory["packed_in_files"].as_u64().filter(|n| *n > 0);
        notes.extend(kept.map(|n| format!("{} mapped packed", human_bytes(n))));
        notes.extend(memory["in_use"].as_u64().filter(|n| *n > 0).map(|n| format!("{n} in use")));
        notes.extend((memory["pinned"] == true).then(|| "pinned".to_owned()));
        notes.extend((memory["rests"] == true).then(|| "sessions at rest".to_owned()));
        notes.retain(|note| !note.is_empty());
        writeln!(out, "{:>10}  {tier:4}  {name}  ({})", human_bytes(size), notes.join("; "))?;
    }
    let memory = &told["memory"];
    if let (Some(budget), Some(used), Some(program)) =
        (memory["budget"].as_u64(), memory["used"].as_u64(), memory["program"].as_u64())
    {
        let budget = if budget == u64::MAX { "no limit".to_owned() } else { human_bytes(budget) };
        say(format_args!(
            "{} of {budget} taken, {} of it by the program",
            human_bytes(used),
            human_bytes(program)
        ));
    }
    if models.is_empty() {
        say("no model is in memory");
    }
    Ok(Exit::OK)
}
