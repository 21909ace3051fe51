//! `ingle update`: follows repositories of signed releases, and brings models up to date.
//!
//! Nothing here happens by itself: a repository is followed when the user says so, and asked when the user types the verb.

use std::io::Write;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ingle_net::Url;
use ingle_store::Error;
use ingle_store::fetch::Retry;
use ingle_store::parts::Parts;
use ingle_store::release::plan::Asked;
use ingle_store::release::state::{Consent, Model, Policy, Source, State, WhenStale};
use ingle_store::release::update::{Outcome, Pace, Told, Work};
use serde::Serialize;

use super::{Verb, human_bytes, json_arg, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::pulling::Display;
use crate::settings::size;
use crate::updating::{Checks, now, releases};
use crate::{network, updating};

pub static VERB: Verb = Verb {
    name: "update",
    about: "Follow signed releases of models, and bring models up to date",
    examples: &[
        "ingle update --follow https://models.example.org/fleet --root 1.root.json --key publisher.pub.pem",
        "ingle update chat",
        "ingle update",
        "ingle update --check",
        "ingle update chat --rollback",
        "ingle update chat --unfollow",
    ],
    args,
    run,
};

/// Seconds that a metadata file may take.
const METADATA_SECONDS: u64 = 60;

fn args(command: Command) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let choice = |name: &'static str, values: [&'static str; 2], help: &'static str| {
        Arg::new(name).long(name).value_name("WHAT").value_parser(values).default_value(values[0]).help(help)
    };
    command
        .arg(
            Arg::new("name").value_name("NAME").help(
                "A model; all that are here and followed where none is given. Asked for by name it is followed again",
            ),
        )
        .arg(
            text_arg("follow", "URL", "Follow this repository from now on; again changes what is allowed")
                .requires_all(["root", "key"])
                .conflicts_with("name"),
        )
        .arg(text_arg(
            "root",
            "FILE",
            "With --follow: the repository's root metadata, from a source you trust",
        ))
        .arg(text_arg("key", "FILE", "With --follow: the publisher's public key, from a source you trust"))
        .arg(choice(
            "policy",
            ["ask", "auto"],
            "With --follow: ask before each release, or install what comes for models that are here",
        ))
        .arg(
            Arg::new("grace-days")
                .long("grace-days")
                .value_name("N")
                .default_value("30")
                .value_parser(value_parser!(u32))
                .help("With --follow: days that models are used without fresh word from the publisher"),
        )
        .arg(choice("when-stale", ["warn", "refuse"], "With --follow: and what happens then"))
        .arg(flag("yes", "Install without asking"))
        .arg(flag("now", "Install although a release goes to other devices first"))
        .arg(
            flag("check", "Ask what is new and install nothing")
                .conflicts_with_all(["yes", "now", "rollback", "unfollow"]),
        )
        .arg(
            text_arg("check-time", "SECONDS", "Time for each program that looks at a release before it is used")
                .default_value("900")
                .value_parser(value_parser!(u64).range(1..=86_400)),
        )
        .arg(
            text_arg(
                "check-memory",
                "SIZE",
                "Memory for it, such as 2GiB, of which a chat template alone may take 256MiB; default: 2GiB to open a release, twice its bytes and \
                 4GiB to use it",
            )
            .value_parser(size::bytes),
        )
        .arg(flag("rollback", "Use the version before again").requires("name").conflicts_with("unfollow"))
        .arg(
            flag(
                "unfollow",
                "Keep the model as it is and ask for nothing newer; NAME may be a repository's address",
            )
            .requires("name")
            .conflicts_with_all(["yes", "now"]),
        )
        .arg(json_arg())
}

/// One model, as it stands in the end.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    repository: String,
    /// The one that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// The one to fall back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    /// The newest that is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    offered: Option<u64>,
    /// Failed here, with the reason.
    blocked: Vec<(u64, String)>,
    /// Whether newer ones are asked for.
    is_followed: bool,
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    env.catch_ctrl_c();
    if let Some(url) = text(matches, "follow") {
        return follow(url, matches, env);
    }
    let name = text(matches, "name");
    if matches.get_flag("unfollow") {
        unfollow(name.expect("clap asks for it"), env)?;
    } else if matches.get_flag("rollback") {
        let name = name.expect("clap asks for it");
        let start = Instant::now();
        releases(env).roll_back(name, &mut tell(env))?;
        say(format_args!("in {:.3} s", start.elapsed().as_secs_f64()));
    } else {
        update_all(name, matches, env)?;
    }
    report(matches, env)
}

fn follow(url: &str, matches: &ArgMatches, env: &Env) -> Result<Exit, Failure> {
    let parsed = Url::parse(url).map_err(|expected| Failure::usage(format!("{url}: {expected}")))?;
    let read = |name| {
        let path = text(matches, name).expect("clap asks for it");
        std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))
    };
    let is = |name: &str, value: &str| text(matches, name) == Some(value);
    let policy = Policy {
        consent: if is("policy", "auto") { Consent::Auto } else { Consent::Ask },
        grace_days: *matches.get_one::<u32>("grace-days").expect("it has a default"),
        when_stale: if is("when-stale", "refuse") { WhenStale::Refuse } else { WhenStale::Warn },
    };
    releases(env).follow(&parsed, &read("root")?, &read("key")?, policy, now())?;
    say(format_args!("{parsed} is followed; `ingle update --check` asks what it has"));
    Ok(Exit::OK)
}

fn unfollow(what: &str, env: &Env) -> Result<(), Failure> {
    let releases = releases(env);
    // A repository is known by its address as it was understood.
    let url = Url::parse(what).map_or_else(|_| what.to_owned(), |url| url.to_string());
    let is_source = releases.state()?.sources.contains_key(&url);
    releases.unfollow(if is_source { &url } else { what })?;
    let again = match is_source {
        true => "--follow with its root and key follows it again".to_owned(),
        false => format!("`ingle update {what}` follows it again"),
    };
    say(format_args!("{what} is followed no more; what is here stays and is used; {again}"));
    Ok(())
}

fn update_all(name: Option<&str>, matches: &ArgMatches, env: &Env) -> Result<(), Failure> {
    let releases = releases(env);
    let state = releases.state()?;
    if state.sources.is_empty() {
        return Err(Failure::not_found("no repository is followed; ingle update --follow URL begins to"));
    }
    let has_name = |source: &Source, name: &str| source.models.get(name).is_some_and(Model::has_name);
    let owner = name.and_then(|name| state.sources.iter().find(|(_, source)| has_name(source, name)));
    if let (Some(name), Some((url, Source { is_unfollowed: true, .. }))) = (name, owner) {
        let again = format!("ingle update --follow {url} with its root and key follows it again");
        return Err(Failure::blocked(format!("{name}: its repository is followed no more; {again}")));
    }
    if let Some(name) = name.filter(|_| !matches.get_flag("check"))
        && releases.follow_again(name)?
    {
        say(format_args!("{name} is followed again"));
    }
    let seconds = *matches.get_one::<u64>("check-time").expect("it has a default");
    let checks = Checks::new(env, seconds, matches.get_one::<u64>("check-memory").copied());
    let mut failed = None;
    let mut is_found = false;
    for (url, source) in state.sources.iter().filter(|(_, source)| !source.is_unfollowed) {
        if owner.is_some_and(|(of, _)| of != url) {
            continue;
        }
        match with_work(url, &checks, env, |work| releases.refresh(url, work)) {
            Ok(offered) => {
                let is_offered = name.is_some_and(|name| offered.offers.iter().any(|o| o.model == name));
                let names: Vec<&str> = match name {
                    Some(name) if is_offered || source.models.contains_key(name) => vec![name],
                    Some(_) => continue,
                    None => followed(source).collect(),
                };
                is_found = true;
                for name in names.into_iter().filter(|_| !matches.get_flag("check")) {
                    if let Err(failure) = update_one(url, name, &checks, matches, env) {
                        keep(&mut failed, failure);
                    }
                }
            }
            Err(failure) => keep(&mut failed, failure),
        }
    }
    match (failed, name) {
        (Some(failure), _) => Err(failure),
        (None, Some(name)) if !is_found => Err(Failure::not_found(format!(
            "{name}: no repository that is followed has it; ingle update --check shows what there is"
        ))),
        _ => Ok(()),
    }
}

/// Models that are brought up to date without being named: those that are here and were not left alone.
fn followed(source: &Source) -> impl Iterator<Item = &str> {
    let models = source.models.iter().filter(|(_, model)| model.active.is_some() && !model.is_unfollowed);
    models.map(|(name, _)| name.as_str())
}

/// The first failure is what the program ends with; the others are said.
fn keep(first: &mut Option<Failure>, failure: Failure) {
    match first {
        None => *first = Some(failure),
        Some(_) => crate::env::say_error(failure.message),
    }
}

fn update_one(
    url: &str,
    name: &str,
    checks: &Checks<'_>,
    matches: &ArgMatches,
    env: &Env,
) -> Result<(), Failure> {
    let asked = match (matches.get_flag("yes"), matches.get_flag("now")) {
        (_, true) => Asked::YesNow,
        (true, _) => Asked::Yes,
        _ => Asked::Nothing,
    };
    let releases = releases(env);
    let update =
        |asked| with_work(url, checks, env, |work| releases.update(url, name, asked, work, &mut tell(env)));
    let outcome = match update(asked)? {
        Outcome::Ask(offer) => {
            let said = format!("{name}: version {} is there, {}", offer.version, human_bytes(offer.size()));
            if !env.can_ask() {
                return Err(Failure::blocked(format!("{said}; --yes installs it")));
            }
            if !env.ask(&format!("{said}. Install it?"), true)? {
                return Ok(());
            }
            update(Asked::Yes)?
        }
        outcome => outcome,
    };
    if let Outcome::Updated(version) = outcome {
        say(format_args!("{name}: version {version} is used from now on"));
    }
    Ok(())
}

/// What an update works with, for the repository at `url`.
fn with_work<T>(
    url: &str,
    checks: &Checks<'_>,
    env: &Env,
    run: impl FnOnce(&Work<'_>) -> Result<T, Error>,
) -> Result<T, Failure> {
    let parsed = Url::parse(url).map_err(|expected| Failure::usage(format!("{url}: {expected}")))?;
    // The user named this address; plain http is allowed to it alone.
    let client = network::client_to(&[&parsed], network::STALL_TIMEOUT, env)?;
    let start = Instant::now();
    let said = |failure: Failure| match failure.exit {
        Exit::INTERRUPTED => Error::Interrupted(failure.message),
        _ => Error::Refused { what: "the check of a release".into(), why: failure.message },
    };
    let result = run(&Work {
        client: &client,
        retry: Retry::default(),
        parts: Parts::default(),
        pace: Pace::default(),
        metadata_time_max: std::time::Duration::from_secs(METADATA_SECONDS),
        now: now(),
        clock: &|| start.elapsed(),
        structure: &|path, offer| checks.structure(path, offer).map_err(said),
        smoke: &|path, offer| checks.smoke(path, offer).map_err(said),
    });
    Ok(result?)
}

/// Shows what happens.
fn tell(env: &Env) -> impl FnMut(Told<'_>) {
    let mut display = Display::new(env);
    move |told| match told {
        Told::Fetching(event) => display.show(&event),
        Told::Step(offer, step) => {
            display.clear();
            say(format_args!("{} {}: {step}", offer.model, offer.version));
        }
        Told::Said(said) => {
            display.clear();
            say(said);
        }
    }
}

fn report(matches: &ArgMatches, env: &Env) -> Result<Exit, Failure> {
    let releases = releases(env);
    let state = releases.state()?;
    let mut rows = Vec::new();
    for (url, source) in &state.sources {
        let offered = releases.offered(url)?;
        let newest = |name: &str| offered.offers.iter().filter(|o| o.model == name).map(|o| o.version).max();
        let row = |name: &str, model: &Model| Row {
            is_followed: !source.is_unfollowed && !model.is_unfollowed,
            ..Row::of(name, url, model, newest(name))
        };
        rows.extend(source.models.iter().map(|(name, model)| row(name, model)));
        let mut absent: Vec<&str> = offered.offers.iter().map(|o| o.model.as_str()).collect();
        absent.retain(|name| !source.models.contains_key(*name) && !is_here(&state, name));
        absent.dedup();
        rows.extend(absent.into_iter().map(|name| row(name, &Model::default())));
    }
    if matches.get_flag("json") {
        print_json(&rows)?;
        return Ok(Exit::OK);
    }
    let mut out = std::io::stdout().lock();
    for row in &rows {
        let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        let Row { model, repository, version, state, before, offered, .. } = row;
        let state = state.as_deref().unwrap_or("not installed");
        writeln!(
            out,
            "{model}  version {} ({state})  before {}  offered {}  {repository}{}",
            number(*version),
            number(*before),
            number(*offered),
            if row.is_followed { "" } else { "  followed no more" }
        )?;
        for (version, why) in &row.blocked {
            writeln!(out, "  version {version} failed here: {why}")?;
        }
    }
    Ok(Exit::OK)
}

fn is_here(state: &State, name: &str) -> bool {
    state.sources.values().any(|source| source.models.get(name).is_some_and(Model::has_name))
}

impl Row {
    fn of(name: &str, url: &str, model: &Model, offered: Option<u64>) -> Self {
        Self {
            model: name.to_owned(),
            repository: url.to_owned(),
            version: model.active.as_ref().map(|slot| slot.version),
            state: model.active.as_ref().map(updating::standing),
            before: model.other.as_ref().map(|slot| slot.version),
            offered,
            blocked: model.blocked.iter().map(|b| (b.version, b.why.clone())).collect(),
            is_followed: true,
        }
    }
}
