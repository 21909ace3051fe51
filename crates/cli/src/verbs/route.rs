//! `ingle route explain "PROMPT"`: whether a prompt could leave the device, and which rule says so.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_route::policy::{Situation, explain};
use ingle_route::privacy::find_all;
use serde_json::json;

use super::{Verb, json_arg, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::routing::{APP, policy, policy_path, situation};
use crate::settings;

pub static VERB: Verb = Verb {
    name: "route",
    about: "Say whether a prompt could leave the device, and which rule decides",
    examples: &[
        "ingle route explain \"Why is the sky blue?\"",
        "ingle route explain \"Write to anna@example.org\" --app mail",
        "ingle route explain \"Summarise this\" --source knowledge --json",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let several = |name, value, help| text_arg(name, value, help).action(ArgAction::Append);
    let command = command
        .arg(
            Arg::new("action")
                .value_name("ACTION")
                .required(true)
                .value_parser(["explain"])
                .help("What to do"),
        )
        .arg(
            Arg::new("prompt")
                .value_name("PROMPT")
                .required(true)
                .help("The text that somebody would be asked"),
        )
        .arg(text_arg("app", "NAME", "Who asks, as rules call it"))
        .arg(several("tool", "NAME", "A tool whose result the text holds"))
        .arg(several("source", "NAME", "A private source of the text: knowledge, file, ..."))
        .arg(json_arg());
    settings::args(command, &["route"])
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let policy = policy(env)?;
    let prompt = text(matches, "prompt").unwrap_or_default();
    let findings = find_all(prompt);
    let all = |name| matches.get_many::<String>(name).into_iter().flatten().cloned().collect();
    let now = situation(Some(APP), env);
    let situation = Situation {
        wish: crate::routing::wish(env),
        app: text(matches, "app").map(str::to_owned).or(now.app.clone()),
        tools: all("tool"),
        sources: all("source"),
        classes: findings.iter().map(|finding| finding.kind.class).collect(),
        ..now
    };
    if matches.get_flag("json") {
        let verdict = policy.decide(&situation);
        let found: Vec<_> = findings
            .iter()
            .map(|f| {
                json!({
                    "kind": f.kind.name, "class": f.kind.class.name(), "certainty": f.certainty.name(),
                    "start": f.span.start, "end": f.span.end,
                })
            })
            .collect();
        let endpoints: Vec<&str> = policy.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        print_json(&json!({
            "action": verdict.action.name(), "why": verdict.why.to_string(), "rules_that_hold": verdict.held,
            "found": found, "endpoints": endpoints,
        }))?;
        return Ok(Exit::OK);
    }
    std::io::stdout().write_all(explain(&policy, &situation, &findings).as_bytes())?;
    say(format_args!("policy: {}", policy_path(env).display()));
    Ok(Exit::OK)
}
