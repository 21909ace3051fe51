//! `ingle route explain "PROMPT"`: whether a prompt could leave the device, and which rule says so. `ingle route feedback`: what was
//! learned from what people made of answers, and how to forget it.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_route::confidence::feedback::forget;
use ingle_route::policy::{Network, Situation, explain};
use ingle_route::privacy::find_all;
use serde_json::json;

use super::{Verb, json_arg, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::feedback::{learned, learned_or_built_in, path, words};
use crate::routing::{APP, policy, policy_path, situation};
use crate::settings;

pub static VERB: Verb = Verb {
    name: "route",
    about: "Say whether a prompt could leave, and why; or what feedback taught",
    examples: &[
        "ingle route explain \"Why is the sky blue?\"",
        "ingle route explain \"Write to anna@example.org\" --app mail",
        "ingle route explain \"Summarise this\" --source knowledge --json",
        "ingle route feedback",
        "ingle route feedback --forget",
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
                .value_parser(["explain", "feedback"])
                .help("What to do"),
        )
        .arg(
            Arg::new("prompt")
                .value_name("PROMPT")
                .required_if_eq("action", "explain")
                .help("explain: the text that somebody would be asked"),
        )
        .arg(
            Arg::new("forget")
                .long("forget")
                .action(ArgAction::SetTrue)
                .help("feedback: remove all of it; the built-in confidence decides again"),
        )
        .arg(text_arg("app", "NAME", "Who asks, as rules call it"))
        .arg(several("tool", "NAME", "A tool whose result the text holds"))
        .arg(several("source", "NAME", "A private source of the text: knowledge, file, ..."))
        .arg(json_arg());
    settings::args(command, &["route", "network"])
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    if text(matches, "action") == Some("feedback") {
        return feedback(matches, env);
    }
    if matches.get_flag("forget") {
        return Err(Failure::usage("--forget: for ingle route feedback"));
    }
    let policy = policy(env)?;
    let prompt = text(matches, "prompt").unwrap_or_default();
    let findings = find_all(prompt);
    let all = |name| matches.get_many::<String>(name).into_iter().flatten().cloned().collect();
    let now = situation(Some(APP), &policy, env);
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
            "network": { "is": situation.network.map(Network::name), "seen": situation.network_seen },
        }))?;
        return Ok(Exit::OK);
    }
    std::io::stdout().write_all(explain(&policy, &situation, &findings).as_bytes())?;
    say(format_args!("policy: {}", policy_path(env).display()));
    let lesson = learned_or_built_in(env).lesson;
    if lesson.is_enough {
        say(format_args!("confidence: learned from {} answers, see ingle route feedback", lesson.n));
    }
    Ok(Exit::OK)
}

/// What was learned, or nothing any more.
fn feedback(matches: &ArgMatches, env: &Env) -> Result<Exit, Failure> {
    if text(matches, "prompt").is_some() {
        return Err(Failure::usage("ingle route feedback takes no PROMPT"));
    }
    let path = path(env);
    if matches.get_flag("forget") {
        let was_there = forget(&path).map_err(|e| Failure::file(&path, &e))?;
        say(if was_there { "forgotten" } else { "there was none" });
        return Ok(Exit::OK);
    }
    let (learned, n_skipped) = learned(env)?;
    if matches.get_flag("json") {
        let mut told = serde_json::to_value(learned.lesson).map_err(Failure::failed)?;
        for (number, of) in &learned.models {
            let name = format!("{number:016x}");
            told["models"][name] = serde_json::to_value(of.lesson).map_err(Failure::failed)?;
        }
        told["n_skipped"] = n_skipped.into();
        print_json(&told)?;
        return Ok(Exit::OK);
    }
    std::io::stdout().write_all(words(&learned).as_bytes())?;
    if n_skipped > 0 {
        say(format_args!("note: {n_skipped} lines are no rows and not counted"));
    }
    say(format_args!("rows: {}", path.display()));
    Ok(Exit::OK)
}
