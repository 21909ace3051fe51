//! `ingle stop NAME`: a model leaves the memory of a server on this machine; it comes back when it is asked for.

use clap::{Arg, ArgMatches};
use serde_json::json;

use super::ps::{answered, server, server_args};
use super::{Verb, json_arg, print_json};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};

pub static VERB: Verb = Verb {
    name: "stop",
    about: "Have a model leave the memory of a server on this machine",
    examples: &["ingle stop demo", "ingle stop qwen3:0.6b --port 8080"],
    args: |command| {
        let name = Arg::new("name").value_name("NAME").required(true).help("The name that `ingle ps` shows");
        server_args(command).arg(name).arg(json_arg())
    },
    run,
};

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let name = matches.get_one::<String>("name").expect("clap asks for it");
    let told =
        answered(server(matches, env)?.tell("/api/stop", json!({ "model": name }).to_string().as_bytes())?)?;
    match matches.get_flag("json") {
        true => print_json(&told)?,
        false => say(format_args!("{name} has left memory")),
    }
    Ok(Exit::OK)
}
