//! `ingle compress IN -o OUT --recipe NAME`: a smaller model, and what it cost.
//!
//! Calibrate, encode, put together, judge: the work is `ingle_compress`'s. [`texts`] reads what the model is measured and judged on, or has
//! the model write it; [`judged`] makes results until one passes the recipe's gate; [`print`](mod@print) says what came of it, [`report`] for later; [`search`] finds a recipe where targets are given instead. What a run has done
//! is kept beside OUT until it is whole, so the same command goes on after a kill.

mod judged;
mod pace;
mod print;
mod report;
mod search;
pub(super) mod texts;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ingle_compress::journal::Lock;
use ingle_compress::output::{self, Existing};
use ingle_compress::recipe::{RECIPES, Recipe};
use ingle_compress::slim::Slimmed;
use ingle_compress::{Error, method, mixture, pipeline, slim};
use ingle_engine::model_file::Loaded;
use serde_json::json;

use self::judged::{Outcome, Work};
use super::quantize::failure;
use super::{Verb, json_arg, print_json, text, text_arg};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::{load, settings};

pub static VERB: Verb = Verb {
    name: "compress",
    about: "Make a model small with what its inputs are, and say what it cost",
    examples: &[
        "ingle compress model-f16.gguf -o small.gguf --recipe q4km",
        "ingle compress model-f16.gguf -o small.gguf --recipe q3km --calib notes.txt --calib chats.txt",
        "ingle compress model-f16.gguf -o small.gguf --recipe w8a8-smooth --report",
        "ingle compress model-f16.gguf -o small.gguf --recipe mine.toml --json",
        "ingle compress model-f16.gguf -o small.gguf --target \"size<=600MB\"",
        "ingle compress --list",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = command
        .override_usage("ingle compress [OPTIONS] IN -o OUT --recipe RECIPE or --target TARGETS\n       ingle compress --list")
        .arg(
            Arg::new("model")
                .value_name("IN")
                .required_unless_present("list")
                .help("The model: a file, a folder or a name")
                .value_hint(clap::ValueHint::FilePath),
        )
        .arg(text_arg("output", "OUT", "The new file").short('o').required_unless_present("list"))
        .arg(
            text_arg("recipe", "RECIPE", "A name, see --list, or a TOML file")
                .required_unless_present_any(["list", "target"]),
        )
        .arg(
            text_arg(
                "target",
                "TARGETS",
                "Find the formats that are worth most: size<=600MB, kld<=0.03, toks>=25, ram<=1GB; the rest is the recipe's",
            )
            .action(ArgAction::Append),
        )
        .arg(flag("list", "List the recipes that come with the program").conflicts_with("model"))
        .arg(
            text_arg("calib", "FILE", "A text like what the model will read; without any it writes its own")
                .action(ArgAction::Append),
        )
        .arg(
            Arg::new("calib-tokens")
                .long("calib-tokens")
                .value_name("N")
                .value_parser(value_parser!(u64).range(2..=1 << 26))
                .help("Tokens of calibration, instead of the recipe's"),
        )
        .arg(
            text_arg(
                "eval",
                "FILE",
                "A text to judge the result on, none of --calib; without any, some of those are left for it",
            )
            .action(ArgAction::Append),
        )
        .arg(
            Arg::new("eval-windows")
                .long("eval-windows")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Judge the result on so many windows of text"),
        )
        .arg(flag("report", "Write OUT.json and OUT.html too: all figures, what each tensor lost; with --target they are there anyway"))
        .arg(flag("force", "Replace OUT if it exists"))
        .arg(json_arg());
    settings::args(command, settings::COMPUTE)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    if matches.get_flag("list") {
        return list(matches.get_flag("json"));
    }
    env.catch_ctrl_c();
    match compress(matches, env) {
        Ok(outcome) => {
            print::outcome(&outcome, matches.get_flag("json"))?;
            Ok(if outcome.written { Exit::OK } else { Exit::INVALID })
        }
        Err(failure) if failure.exit == Exit::INTERRUPTED => Ok(Exit::INTERRUPTED),
        Err(failure) => Err(failure),
    }
}

fn compress(matches: &ArgMatches, env: &Env) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let (mut recipe, target) = (recipe(matches)?, search::target(matches)?);
    let output = PathBuf::from(text(matches, "output").expect("clap asks for it"));
    let existing = if matches.get_flag("force") { Existing::Replace } else { Existing::Keep };
    let loaded = load::model(super::model_name(matches), env)?;
    let file = &loaded.file;
    let check = || output::check(&output, file.paths(), existing).map_err(|e| failure(file, e));
    let check_reports = || report::check(&output, existing).map_err(|e| failure(file, e));
    let reports = target.is_some() || matches.get_flag("report");
    // What can't be done is said before anything is read.
    check()?;
    recipe.options(true).and(method::encoder(&recipe.method).map(drop)).map_err(Failure::usage)?;
    mixture::by_name(&recipe.mixture).map_err(Failure::usage)?;
    let lock = Lock::new(&output).map_err(|e| failure(file, e))?;
    if reports && !lock.has_noted(report::BEGUN) {
        check_reports()?;
    }
    let texts = texts::texts(matches, &recipe.calibration, &loaded, env)?.ok_or_else(Failure::interrupted)?;
    let slimmed = slimmed(&recipe, &loaded, &texts.calibration, env)?;
    let (contents, config) = match &slimmed {
        Some(slimmed) => (&slimmed.contents, &slimmed.config),
        None => (file.contents(), &loaded.model.config),
    };
    let key = pipeline::key(contents, &recipe, &texts.calibration, &texts.judged_on.tokens, loaded.tier());
    // Reports that other work has begun are in the way, and that work may still go on.
    if reports && !lock.is_of(&key) {
        check_reports()?;
    }
    let (journal, goes_on) = lock.begin(&key).map_err(|e| failure(file, e))?;
    if goes_on {
        say("going on where the last run was stopped");
    }
    let mut work =
        Work { loaded: &loaded, contents, config, texts: &texts, journal: &journal, env, base: None };
    let mut found = None;
    if let Some(target) = target {
        let (chosen, of_search) = search::find(&mut work, &recipe, &target, &output, existing)?;
        (recipe, found) = (chosen, Some(of_search));
    }
    let mut outcome = work.until_it_passes(recipe)?;
    outcome.output = output.clone();
    outcome.slim = slimmed.map(|slimmed| slimmed.report);
    outcome.seconds = start.elapsed().as_secs_f64();
    if outcome.written {
        check()?;
    }
    // While OUT has no name yet, a run that is stopped here can go on and write its report again.
    if reports {
        let found = found.as_ref().map(|found| (found, None));
        report::write(&output, file.name(), found, Some(&outcome), &journal, existing)?;
    }
    if outcome.written {
        check()?;
        std::fs::rename(journal.path(judged::RESULT), &output).map_err(|e| Failure::file(&output, &e))?;
        journal.remove().map_err(|e| failure(file, e))?;
    }
    Ok(outcome)
}

/// The model without the parts that the recipe takes away, where it takes any.
fn slimmed(
    recipe: &Recipe,
    loaded: &Loaded,
    sequences: &[Vec<u32>],
    env: &Env,
) -> Result<Option<Slimmed>, Failure> {
    let Some(parts) = recipe.slim else { return Ok(None) };
    let (file, config) = (&loaded.file, &loaded.model.config);
    let mut progress = Progress::new(env);
    let done = slim::slim(file.contents(), config, parts, sequences, &loaded.runtime(&[]), &mut |stage| {
        progress.show(format_args!("{stage}"));
        !env.interrupted.load(Relaxed)
    });
    progress.clear();
    match done {
        Err(Error::Interrupted) => Err(Failure::interrupted()),
        done => done.map(Some).map_err(|e| failure(file, e)),
    }
}

/// The recipe that is asked for: a file where there is one of that name, else one of the shelf.
fn recipe(matches: &ArgMatches) -> Result<Recipe, Failure> {
    let Some(name) = text(matches, "recipe") else {
        return Ok(with_tokens(matches, Recipe { name: "searched".into(), ..Recipe::default() }));
    };
    let recipe = match std::fs::read_to_string(name) {
        Ok(words) => Recipe::parse(name, &words),
        Err(e) if Path::new(name).exists() => return Err(Failure::file(name, &e)),
        Err(_) if name.contains(['.', '/']) => {
            return Err(Failure::not_found(format!("{name}: no such recipe file")));
        }
        Err(_) => Recipe::named(name),
    }
    .map_err(Failure::usage)?;
    Ok(with_tokens(matches, recipe))
}

/// `recipe` with the tokens of `--calib-tokens`.
fn with_tokens(matches: &ArgMatches, mut recipe: Recipe) -> Recipe {
    if let Some(&n) = matches.get_one::<u64>("calib-tokens") {
        recipe.calibration.tokens = n as usize;
        recipe.calibration.ctx = recipe.calibration.ctx.min(n as usize);
    }
    recipe
}

fn list(as_json: bool) -> Result<Exit, Failure> {
    let recipes = RECIPES.iter().map(|(name, _)| Recipe::named(name).expect("tests read them all"));
    if as_json {
        print_json(
            &recipes
                .map(|r| json!({ "name": r.name, "about": r.about, "type": r.mixture, "method": r.method }))
                .collect::<Vec<_>>(),
        )?;
        return Ok(Exit::OK);
    }
    let mut out = std::io::stdout().lock();
    for recipe in recipes {
        writeln!(out, "{:12} {:8} {:8} {}", recipe.name, recipe.mixture, recipe.method, recipe.about)?;
    }
    Ok(Exit::OK)
}
