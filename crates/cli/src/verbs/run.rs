//! `ingle run MODEL [PROMPT]`: one answer, or a chat at the terminal.

use std::io::{self, Read, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_engine::constrain::Grammar;
use ingle_engine::kv_dir::fingerprint::number_of_model;
use ingle_engine::sample::LOGPROBS_MAX;
use ingle_route::cloud::Piece;
use ingle_route::cloud::wire::Finish;
use ingle_route::decide::Route;
use ingle_route::desk::Router;
use ingle_route::gate::Wanted;
use ingle_route::ledger::{Instead, Place};
use ingle_route::policy::Wish;
use serde_json::json;

use super::{Verb, json_arg, model_arg, model_name, print_json, text, text_arg};
use crate::chat::Conversation;
use crate::chat::answer::{Options, answer};
use crate::chat::prompt::Prompter;
use crate::chat::terminal::{self, Chat};
use crate::documents::{self, Asked};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::feedback::Keeper;
use crate::guessing::Guesser;
use crate::metering::{Governed, Metering, now_ms};
use crate::routing::{self, Way};
use crate::settings::Source;
use crate::{beside, load, pulling, settings, smaller};

pub static VERB: Verb = Verb {
    name: "run",
    about: "Answer a prompt, or chat when there is none",
    examples: &[
        "ingle run demo",
        "ingle run demo \"Tell me a story.\" --temperature 0",
        "ingle run demo \"Summarise:\" < notes.txt",
        "ingle run model.gguf \"When does the contract end?\" --document contract.txt --document letters.md",
        "ingle run demo \"Tell me a story.\" --dry-multiplier 0.8 --samplers \"dry;top-p;temperature\"",
        "ingle run model.gguf \"Name a city and its country.\" --schema city.json",
        "ingle run qwen3:0.6b \"Why is the sky blue?\"",
        "ingle run model.gguf \"List three rivers.\" --system \"Be brief.\" --seed 7 --stats",
        "ingle run model.gguf \"Summarise:\" --background --power-limit 50% < notes.txt",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let command = command
        .arg(model_arg())
        .arg(load::adapter_arg())
        .arg(
            Arg::new("prompt")
                .value_name("PROMPT")
                .help("What to answer; stdin is appended when it is not a terminal"),
        )
        .arg(text_arg("system", "TEXT", "The system message"))
        .arg(
            Arg::new("stop")
                .long("stop")
                .value_name("TEXT")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .help("End the answer before this text; may be given several times"),
        )
        .arg(text_arg("schema", "FILE", "Answer with JSON that this JSON Schema accepts"))
        .arg(
            Arg::new("stats")
                .long("stats")
                .action(ArgAction::SetTrue)
                .help("Say on stderr how fast it was and what it took"),
        )
        .arg(
            Arg::new("background")
                .long("background")
                .action(ArgAction::SetTrue)
                .help("Nobody waits for it: compute only while the device is charging, cool and not in use"),
        )
        .arg(
            Arg::new("logprobs")
                .long("logprobs")
                .value_name("N")
                .requires("json")
                .value_parser(clap::value_parser!(u64).range(0..=LOGPROBS_MAX as u64))
                .help(
                    "With --json: each token's log-probability and those of the N most probable, 20 at most",
                ),
        )
        .arg(smaller::arg())
        .args(documents::args())
        .arg(json_arg());
    let command = settings::args(settings::args(command, &settings::sampling_names()), settings::GUESSING);
    let command =
        settings::args(settings::args(command, &["max-tokens", "ctx", "overflow"]), settings::COMPUTE);
    settings::args(settings::args(command, settings::METERING), settings::AT_REST)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let prompt = prompt_text(matches, env)?;
    let json = matches.get_flag("json");
    if prompt.is_none() && (json || !env.stdout_is_terminal) {
        return Err(Failure::usage(
            "no PROMPT: a chat needs a terminal, and stdout is not one (or --json is given)",
        ));
    }
    let is_background = matches.get_flag("background");
    if prompt.is_none() && is_background {
        return Err(Failure::usage("--background: somebody waits in a chat; give a PROMPT"));
    }
    let about = documents::open(matches)?;
    if prompt.is_none() && !about.is_empty() {
        return Err(Failure::usage("--document: no PROMPT, expected a question about it"));
    }
    let schema = text(matches, "schema").map(|file| {
        std::fs::read_to_string(file).map(Grammar::JsonSchema).map_err(|e| Failure::file(file, &e))
    });
    let schema = schema.transpose()?;
    // A form and numbers come from this device, and so does a chat.
    let may_leave = prompt.as_deref().filter(|_| schema.is_none() && !matches.contains_id("logprobs"));
    let way = |env| match may_leave {
        Some(prompt) => Way::of(prompt, text(matches, "system"), &wanted(matches, env), env),
        None => Ok(Way::Here),
    };
    let must_leave = routing::wish(env) == Wish::Cloud;
    if must_leave && about.is_empty() {
        env.catch_ctrl_c();
        return match way(env)? {
            Way::There(router) => elsewhere(&router, None, json, env),
            _ => Err(Failure::usage("--route cloud: a chat, --schema and --logprobs are for this device")),
        };
    }
    pulling::offer(model_name(matches), env)?;
    env.catch_ctrl_c();
    let governed = Governed::new(is_background, 1, env)?;
    // That its size is looked at is no use of a model yet.
    let model = smaller::chosen(model_name(matches), matches, &governed, env)?;
    env.is_use = true;
    let beside = beside::of(model, env)?;
    for (name, value) in &beside.settings {
        let wrong = |expected| Failure::invalid(format!("{model}: its {name}: {value}, {expected}"));
        env.settings.prefer(name, value).map_err(wrong)?;
    }
    let given = matches.get_many::<String>("stop").into_iter().flatten().cloned();
    let mut options = Options::from_settings(&env.settings, given.chain(beside.stop).collect())?;
    options.logprobs = matches.get_one::<u64>("logprobs").map(|&n| n as usize);
    // Of documents more is asked elsewhere than the question, which their own way sees to.
    let router = match if must_leave { Way::Here } else { way(env)? } {
        Way::Open(router) => Some(router),
        _ => None,
    };
    let loaded = load::with_threads(model, env, governed.n_threads())?;
    options.constraint = schema.map(|schema| loaded.constraint(&schema)).transpose()?;
    let prompter = Prompter::new(&loaded)?;
    let system = text(matches, "system");
    if system.is_some() && !prompter.has_template() {
        return Err(Failure::usage("--system: this model has no chat template; put it into the prompt"));
    }
    let mut session = load::session(&loaded, matches, env, env.settings.count("ctx"))?;
    let feedback = if prompt.is_none() { Keeper::new(env) } else { None };
    options.margins = router.is_some() || feedback.is_some();
    if governed.may_guess() {
        Guesser::new(env, loaded.pool())?.guess(&mut session, load::session_options(env, None))?;
    }
    let mut metering = Metering::new(env, &loaded, governed)?;
    let system = system.or(beside.system.as_deref().filter(|_| prompter.has_template()));
    let stats = matches.get_flag("stats");
    if let Some(question) = prompt.as_deref().filter(|_| !about.is_empty()) {
        let passage = matches.get_one::<u64>("passage").map(|&n| n as usize);
        let (documents, wanted, prompter) = (about, wanted(matches, env), &prompter);
        let asked = Asked {
            question,
            system,
            documents,
            passage,
            wanted,
            prompter,
            options,
            session,
            metering,
            router,
            json,
            stats,
        };
        return documents::run(asked, env);
    }
    let mut conversation = Conversation::new(system);
    let Some(prompt) = prompt else {
        let last = None;
        let chat =
            Chat { prompter: &prompter, conversation, options, stats, session, metering, feedback, last };
        return terminal::run(chat, env);
    };

    if let Some(router) = &router {
        let decision = router.before(&prompt, session.ctx(), now_ms()).map_err(Failure::failed)?;
        routing::say_decision(&decision);
        if decision.route == Route::Cloud {
            return elsewhere(router, None, json, env);
        }
    }
    // What may be replaced is shown only where the reader sees that it was.
    let held = router.is_some() && !env.stdout_is_terminal;
    conversation.push("user", &prompt);
    let prompt = prompter.prompt(&conversation)?;
    if let Some(router) = &router {
        options.abort = router.abort(now_ms()).map_err(Failure::failed)?;
    }
    let mut out = io::stdout();
    let mut show = |piece: &str| {
        if json || held {
            return Ok(());
        }
        out.write_all(piece.as_bytes())?;
        out.flush()
    };
    let mut given = answer(&mut session, &prompt, &options, env, &mut metering, &mut show)?;
    if let Some(router) = router.filter(|_| !given.interrupted()) {
        let right = router.confidence(number_of_model(&loaded), &given.margins, given.ending());
        let decision = router.after(right, now_ms()).map_err(Failure::failed)?;
        if given.was_given_up || decision.route == Route::Cloud {
            if !json && !held {
                writeln!(io::stdout())?;
            }
            if given.was_given_up {
                say(
                    "asking elsewhere: the answer from this device was too unsure to be completed, and is void",
                );
            } else {
                routing::say_decision(&decision);
            }
            match elsewhere(&router, Some(Instead::OfHere), json, env) {
                Err(failure) if failure.exit == Exit::INTERRUPTED => return Err(failure),
                Err(failure) if given.was_given_up => {
                    say(format_args!("note: {}; this device answers, to the end", failure.message));
                    options.abort = None;
                    given = answer(&mut session, &prompt, &options, env, &mut metering, &mut show)?;
                }
                Err(failure) => {
                    say(format_args!("note: {}; the answer from this device stands", failure.message));
                }
                done => return done,
            }
        }
    }
    let (answer, mut out) = (given, io::stdout());
    if json {
        print_json(&answer.to_json())?;
    } else if held {
        writeln!(out, "{}", answer.text)?;
    } else {
        writeln!(out)?;
    }
    answer.explain(session.ctx());
    if stats {
        answer.say_stats();
    }
    Ok(if answer.interrupted() { Exit::INTERRUPTED } else { Exit::OK })
}

/// What is asked of an endpoint beside the words: what the user has said, no default of ours.
fn wanted(matches: &ArgMatches, env: &Env) -> Wanted {
    let said = env.settings.get("temperature").filter(|(_, source)| **source != Source::Default);
    Wanted {
        max_tokens: env.settings.count("max-tokens").and_then(|n| u32::try_from(n).ok()),
        temperature: said.and_then(|(value, _)| value.parse().ok()),
        stop: matches.get_many::<String>("stop").into_iter().flatten().cloned().collect(),
    }
}

/// Has the answer come from elsewhere, as the first or in place of one from here.
fn elsewhere(router: &Router, instead: Option<Instead>, json: bool, env: &Env) -> Result<Exit, Failure> {
    let (mut out, live) = (io::stdout(), !json && env.stdout_is_terminal);
    let mut written = Ok(());
    let answered = routing::ask(router, instead, env, &mut |piece| match piece {
        Piece::Text(text) if live => {
            written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
        Piece::Void if live => say("\nthat answer broke off and is void; another attempt:"),
        _ => {}
    })?;
    written?;
    let is_redacted = answered.row.place == Place::Redacted;
    if json {
        print_json(&json!({
            "text": answered.text, "answered_by": answered.endpoint, "redacted": is_redacted,
            "finish": answered.finish.name(),
        }))?;
        return Ok(Exit::OK);
    }
    if live {
        writeln!(out)?;
    } else {
        writeln!(out, "{}", answered.text)?;
    }
    let redacted = if is_redacted { ", without what is private" } else { "" };
    say(format_args!("answered by {}{redacted}", answered.endpoint));
    if !matches!(answered.finish, Finish::Itself | Finish::Stop(_)) {
        say(format_args!(
            "note: {} says that it is not complete: {}",
            answered.endpoint,
            answered.finish.name()
        ));
    }
    Ok(Exit::OK)
}

/// PROMPT and what is piped in; `None` when there is neither and someone sits at the terminal.
fn prompt_text(matches: &ArgMatches, env: &mut Env) -> Result<Option<String>, Failure> {
    let mut prompt = text(matches, "prompt").unwrap_or_default().to_owned();
    if !env.stdin_is_terminal {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map_err(|e| Failure::file("stdin", &e))?;
        let piped =
            String::from_utf8(bytes).map_err(|_| Failure::failed("stdin: not UTF-8, expected a text"))?;
        // Behind a question lies what it is about; a prompt that comes so alone is what the user says.
        env.is_file_piped = !prompt.is_empty() && !piped.is_empty();
        if env.is_file_piped {
            prompt.push('\n');
        }
        prompt.push_str(&piped);
        if prompt.is_empty() {
            return Err(Failure::usage("no prompt: neither PROMPT nor anything on stdin"));
        }
    } else if prompt.is_empty() {
        return Ok(None);
    }
    Ok(Some(prompt))
}
