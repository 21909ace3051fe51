//! `ingle compress IN -o OUT --recipe NAME`: a smaller model, and what it cost.
//!
//! Calibrate, compress, put together: the work is `ingle_compress`'s, the texts are read or written by [`texts`]. What a run has
//! done is kept beside OUT until it is whole, so the same command goes on after a kill.

mod texts;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ingle_compress::journal::Journal;
use ingle_compress::method;
use ingle_compress::mixture::{self, Mixture};
use ingle_compress::output::{self, Existing};
use ingle_compress::pipeline::{self, Job, Progress as Stage};
use ingle_compress::plan::{self, ModelInfo, Options, Override, Plan};
use ingle_compress::quantize;
use ingle_compress::recipe::{RECIPES, Recipe};
use ingle_compress::report::Report;
use ingle_compress::{Error, method::Needs};
use ingle_engine::model_file::ModelFile;
use serde_json::json;

use super::quantize::{failure, vocabulary};
use super::{Verb, human_bytes, json_arg, print_json, text, text_arg};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::rate::clock;
use crate::{load, model_ref, settings};

pub static VERB: Verb = Verb {
    name: "compress",
    about: "Make a model small with what its inputs are, and say what it cost",
    examples: &[
        "ingle compress model-f16.gguf -o small.gguf --recipe q4km",
        "ingle compress model-f16.gguf -o small.gguf --recipe q3km --calib notes.txt --calib chats.txt",
        "ingle compress model-f16.gguf -o small.gguf --recipe mine.toml --json",
        "ingle compress --list",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = command
        .override_usage("ingle compress [OPTIONS] IN -o OUT --recipe RECIPE\n       ingle compress --list")
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
                .required_unless_present("list"),
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
        .arg(flag("force", "Replace OUT if it exists"))
        .arg(json_arg());
    settings::args(command, settings::COMPUTE)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    if matches.get_flag("list") {
        return list(matches.get_flag("json"));
    }
    env.catch_ctrl_c();
    let start = Instant::now();
    let recipe = recipe(matches)?;
    let output = PathBuf::from(text(matches, "output").expect("clap asks for it"));
    let input = super::model_name(matches);
    let existing = if matches.get_flag("force") { Existing::Replace } else { Existing::Keep };
    let file = model_ref::open(input, env)?;
    output::check(&output, Some(Path::new(file.name())), existing).map_err(|e| failure(&file, e))?;
    let chosen = chosen(&recipe, &file)?;
    let loaded = load::model(input, env)?;
    let sequences = if chosen.encoder.needs == Needs::Nothing {
        Vec::new()
    } else {
        match texts::sequences(matches, &recipe.calibration, &loaded, env)? {
            Some(sequences) => sequences,
            None => return Ok(Exit::INTERRUPTED),
        }
    };
    let key = pipeline::key(file.contents(), &recipe, &sequences, loaded.tier());
    let (journal, goes_on) = Journal::open(&output, &key).map_err(|e| failure(&file, e))?;
    if goes_on {
        say(format_args!("going on where the last run was stopped"));
    }
    let run = loaded.runtime(&[]);
    let job = Job {
        file: file.contents(),
        config: &loaded.model.config,
        plan: &chosen.plan,
        balance: recipe.balance,
        prune: recipe.prune,
        encoder: chosen.encoder,
        sequences: &sequences,
        pool: run.pool,
        kernels: run.kernels,
        journal: &journal,
    };
    let mut progress = Progress::new(env);
    let mut shown = Shown::new(job.config.layers.len());
    let done = pipeline::run(&job, &mut |stage| {
        shown.show(&mut progress, stage);
        !env.interrupted.load(Relaxed)
    });
    progress.clear();
    match done {
        Err(Error::Interrupted) => return Ok(Exit::INTERRUPTED),
        done => done.map_err(|e| failure(&file, e))?,
    }
    let mut header =
        quantize::header(file.contents(), chosen.mixture, None).map_err(|e| failure(&file, e))?;
    header.set("ingle.compress.recipe", recipe.to_toml().as_str()).map_err(|e| file.model_error(e))?;
    let warnings = vocabulary(&file, &mut header)?;
    warnings.iter().for_each(|w| say(format_args!("\x1b[33mwarning:\x1b[0m {w}")));
    let report = output::write(&output, Some(Path::new(file.name())), existing, |out| {
        file.check_unchanged().map_err(std::io::Error::other)?;
        pipeline::assemble(&job, header, out)
    });
    let report = report.map_err(|e| failure(&file, e))?;
    journal.remove().map_err(|e| failure(&file, e))?;
    let n_tokens = sequences.iter().map(Vec::len).sum();
    print(matches.get_flag("json"), &recipe, &output, &report, n_tokens, start.elapsed().as_secs_f64())?;
    Ok(Exit::OK)
}

/// What a recipe means for a model.
struct Chosen {
    mixture: &'static Mixture,
    encoder: &'static method::Encoder,
    plan: Plan,
}

fn chosen(recipe: &Recipe, file: &ModelFile) -> Result<Chosen, Failure> {
    let mixture = mixture::by_name(&recipe.mixture).map_err(Failure::usage)?;
    let encoder = method::encoder(&recipe.method).map_err(Failure::usage)?;
    let overrides =
        recipe.tensors.iter().map(|(pattern, format)| Override::parse(&format!("{pattern}={format}")));
    let options = Options {
        overrides: overrides.collect::<Result<_, _>>().map_err(Failure::usage)?,
        has_imatrix: encoder.needs > Needs::Nothing,
        ..Options::default()
    };
    let model = ModelInfo::read(file.contents()).map_err(|e| file.model_error(e))?;
    let tensors = quantize::infos(file.contents());
    let plan = plan::plan(&tensors, &model, mixture, &options).map_err(|e| file.model_error(e))?;
    Ok(Chosen { mixture, encoder, plan })
}

/// The recipe that is asked for: a file where there is one of that name, else one of the shelf.
fn recipe(matches: &ArgMatches) -> Result<Recipe, Failure> {
    let name = text(matches, "recipe").expect("clap asks for it");
    let mut recipe = match std::fs::read_to_string(name) {
        Ok(words) => Recipe::parse(name, &words),
        Err(e) if Path::new(name).exists() => return Err(Failure::file(name, &e)),
        Err(_) if name.contains(['.', '/']) => {
            return Err(Failure::not_found(format!("{name}: no such recipe file")));
        }
        Err(_) => Recipe::named(name),
    }
    .map_err(Failure::usage)?;
    if let Some(&n) = matches.get_one::<u64>("calib-tokens") {
        recipe.calibration.tokens = n as usize;
        recipe.calibration.ctx = recipe.calibration.ctx.min(n as usize);
    }
    Ok(recipe)
}

/// Tells a person how far a run is, and how long it may take.
struct Shown {
    n_layers: usize,
    start: Instant,
    /// What share of the work was done when this began.
    first: Option<f64>,
}

impl Shown {
    fn new(n_layers: usize) -> Self {
        Self { n_layers, start: Instant::now(), first: None }
    }

    fn show(&mut self, progress: &mut Progress, stage: Stage<'_>) {
        // Of a layer's time, about so much is looking, encoding and going on.
        let (what, layer, part) = match stage {
            Stage::Looking(i, part) => {
                (format!("layer {} of {}: what its matrices are given", i + 1, self.n_layers), i, 0.4 * part)
            }
            Stage::Encoding(i, name) => (format!("layer {} of {}: {name}", i + 1, self.n_layers), i, 0.5),
            Stage::Ends(name) => (name.to_owned(), self.n_layers, 0.0),
            Stage::GoingOn(i, part) => {
                (format!("layer {} of {}: what it gives on", i + 1, self.n_layers), i, 0.6 + 0.4 * part)
            }
        };
        let done = (layer as f64 + part) / (self.n_layers as f64 + 0.5);
        let first = *self.first.get_or_insert(done);
        let elapsed = self.start.elapsed().as_secs_f64();
        let left = elapsed * (1.0 - done) / (done - first);
        let left =
            std::time::Duration::try_from_secs_f64(left).ok().filter(|_| done > first && elapsed > 2.0);
        let left = left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
        progress.show(format_args!("{:3.0} %{left}  {what}", 100.0 * done));
    }
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

fn print(
    as_json: bool,
    recipe: &Recipe,
    output: &Path,
    report: &Report,
    n_tokens: usize,
    seconds: f64,
) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!({
            "output": output.display().to_string(),
            "recipe": recipe,
            "recipe_hash": recipe.hash(),
            "calibration_tokens": n_tokens,
            "seconds": seconds,
            "file_bytes": report.n_file_bytes,
            "bits_per_weight": report.bits_per_weight(report.bytes_after),
            "relative_rmse": report.loss().relative_rmse(),
        }));
    }
    let mut out = std::io::stdout().lock();
    let bits = report.bits_per_weight(report.bytes_after);
    writeln!(out, "{}: {}, {bits:.2} bits a weight", output.display(), human_bytes(report.n_file_bytes))?;
    writeln!(
        out,
        "recipe   {} ({} by {}), {}",
        recipe.name,
        recipe.mixture,
        recipe.method,
        &recipe.hash()[..12]
    )?;
    writeln!(out, "read     {n_tokens} tokens")?;
    writeln!(out, "took     {}", clock(std::time::Duration::from_secs_f64(seconds)))?;
    Ok(())
}
