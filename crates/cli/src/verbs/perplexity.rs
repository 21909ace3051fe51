//! `ingle perplexity MODEL --file F`: how well a model predicts a text, how far it is from a base, what it gets right, and
//! whether another is better.
//!
//! The text is tokenised with BOS where the model adds one and cut into windows by a protocol: llama.cpp's, so that numbers
//! can stand side by side, or GPTQ's. A rest shorter than a window is left out. Here the request is read and files are
//! opened; [`evaluating`] measures and `ingle_compress::evaluate` has the mathematics.

use std::io::Write;
use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ingle_compress::evaluate::compact::{N_BEST, N_DRAWN};
use ingle_compress::evaluate::protocol::{CTX_MIN, PROTOCOLS, Protocol, Text};
use ingle_compress::evaluate::report::Report;
use ingle_compress::evaluate::scores::Scores;
use ingle_engine::model_file::Loaded;
use ingle_engine::session::Session;
use ingle_model::token::Parse;

use super::{Verb, json_arg, model_arg, model_name, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::evaluating::base::{Base, Save};
use crate::evaluating::{self, Rows, tasks};
use crate::exit::{Exit, Failure};
use crate::{load, settings};

pub static VERB: Verb = Verb {
    name: "perplexity",
    about: "Measure a model: perplexity, distance from a base, right answers",
    examples: &[
        "ingle perplexity model.gguf --file text.txt --ctx 512 --chunks 20",
        "ingle perplexity model.gguf --file text.txt --protocol whole",
        "ingle perplexity f16.gguf --file text.txt --save-base base.bin --compact",
        "ingle perplexity q4.gguf --base base.bin --json",
        "ingle perplexity new.gguf --base base.bin --compare old.gguf",
        "ingle perplexity model.gguf --tasks arc_easy.jsonl",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let count = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64).range(1..)).help(help)
    };
    let command = command
        .arg(model_arg())
        .arg(load::adapter_arg())
        .arg(text_arg("file", "FILE", "The text").required_unless_present_any(["base", "tasks"]))
        .arg(
            Arg::new("protocol")
                .long("protocol")
                .value_name("NAME")
                .value_parser(PossibleValuesParser::new(PROTOCOLS.iter().map(|p| p.name)))
                .default_value(PROTOCOLS[0].name)
                .conflicts_with("base")
                .help(format!("How the text is cut and scored; numbers of different protocols don't compare. {}", protocols())),
        )
        .arg(count("chunks", "Score only the first N windows"))
        .arg(
            text_arg("save-base", "FILE", "Write this model's log-probabilities, to compare others with, in llama.cpp's format")
                .conflicts_with("base")
                .requires("file"),
        )
        .arg(Arg::new("compact").long("compact").action(ArgAction::SetTrue).requires("save-base").help(format!(
            "With --save-base: keep the {N_BEST} best tokens of each position and {N_DRAWN} drawn from the rest, at most 0.6 KB"
        )))
        .arg(
            text_arg(
                "base",
                "FILE",
                "Compare with a base's log-probabilities; its text, windows and protocol are used",
            )
            .conflicts_with("file"),
        )
        .arg(
            text_arg("compare", "MODEL", "Measure another model on the same, and say whether it is better or worse")
                .conflicts_with("save-base"),
        )
        .arg(
            text_arg("tasks", "FILE", "Put multiple-choice questions to the model, JSON lines as of lm-evaluation-harness; demo for the demo's held-out tasks")
                .action(ArgAction::Append),
        )
        .arg(count("items", "Put only the first N questions of each file, or items of each of the demo's kinds, to the model"))
        .arg(json_arg());
    settings::args(settings::args(command, &["ctx"]), settings::COMPUTE)
}

fn protocols() -> String {
    let said: Vec<String> = PROTOCOLS.iter().map(|p| format!("{}: {}", p.name, p.about)).collect();
    said.join("; ")
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    env.catch_ctrl_c();
    let outcome = evaluate(matches, env);
    match outcome {
        Ok(report) if matches.get_flag("json") => print_json(&report)?,
        Ok(report) => write!(std::io::stdout().lock(), "{report}")?,
        Err(failure) if failure.exit == Exit::INTERRUPTED => return Ok(Exit::INTERRUPTED),
        Err(failure) => return Err(failure),
    }
    Ok(Exit::OK)
}

fn evaluate(matches: &ArgMatches, env: &Env) -> Result<Report, Failure> {
    let loaded = load::model(model_name(matches), env)?;
    let text = text_of(&loaded, matches, env)?;
    let session = |ctx| load::session(&loaded, matches, env, ctx);
    let (mut report, scores) = measure(&loaded, text.as_ref(), matches, env, &session)?;
    let Some(name) = self::text(matches, "compare") else { return Ok(report) };
    let other = load::model(name, env)?;
    if text_of(&other, matches, env)? != text {
        let said = "makes other tokens of the text, expected a model with the same vocabulary";
        return Err(Failure::failed(format!("{name}: {said}")));
    }
    // Adapters belong to the first model alone: what they are worth can be seen beside the same model.
    let session = |ctx| Ok(Session::new(other.clone(), &load::session_options(env, ctx))?);
    let (beside, others) = measure(&other, text.as_ref(), matches, env, &session)?;
    report.set_beside(beside, scores.as_ref().zip(others.as_ref()));
    Ok(report)
}

/// Does all that is asked, for one model.
fn measure(
    loaded: &Arc<Loaded>,
    text: Option<&Text>,
    matches: &ArgMatches,
    env: &Env,
    session: &dyn Fn(Option<usize>) -> Result<Session, Failure>,
) -> Result<(Report, Option<Scores>), Failure> {
    let vocab = loaded.model.config.vocab;
    let mut report = evaluating::report(loaded);
    let mut scores = None;
    if let Some(text) = text {
        let rows = match (self::text(matches, "base"), self::text(matches, "save-base")) {
            (Some(path), _) => Rows::Beside(Base::open(path, vocab)?),
            (None, Some(path)) => {
                Rows::Keep(Save::begin(path, matches.get_flag("compact"), text, vocab, &loaded.file)?)
            }
            (None, None) => Rows::Score,
        };
        scores = Some(evaluating::read(&mut session(Some(text.ctx))?, env, text, rows, &mut report)?);
    }
    let n_items = matches.get_one::<u64>("items").map(|&n| usize::try_from(n).unwrap_or(usize::MAX));
    for path in matches.get_many::<String>("tasks").into_iter().flatten() {
        report.tasks.extend(tasks::run(path, n_items, env, session)?);
    }
    report.ram_bytes = ingle_engine::memory::peak_resident_bytes();
    Ok((report, scores))
}

/// The text as a model reads it: of the base, or of the file, where there is either.
fn text_of(loaded: &Loaded, matches: &ArgMatches, env: &Env) -> Result<Option<Text>, Failure> {
    let n_windows = matches.get_one::<u64>("chunks").map_or(usize::MAX, |&n| n as usize);
    if let Some(path) = text(matches, "base") {
        let Text { protocol, ctx, tokens } = Base::open(path, loaded.model.config.vocab)?.text().clone();
        return Ok(Some(Text::new(protocol, ctx, tokens, n_windows)));
    }
    let Some(path) = text(matches, "file") else { return Ok(None) };
    let name = text(matches, "protocol");
    let protocol: &'static Protocol =
        PROTOCOLS.iter().find(|p| Some(p.name) == name).expect("one of the choices");
    let ctx = env.settings.count("ctx").unwrap_or(protocol.ctx);
    let tokens = tokens_of(path, loaded, ctx)?;
    let trained = loaded.model.config.ctx_train;
    if ctx > trained {
        say(format_args!(
            "\x1b[33mwarning:\x1b[0m windows of {ctx} tokens are longer than the {trained} the model was trained for; --ctx {trained} fits"
        ));
    }
    Ok(Some(Text::new(protocol, ctx, tokens, n_windows)))
}

/// The text's ids, at least two windows of them.
fn tokens_of(path: &str, loaded: &Loaded, ctx: usize) -> Result<Vec<u32>, Failure> {
    if ctx < CTX_MIN {
        return Err(Failure::usage(format!("--ctx {ctx}: expected at least {CTX_MIN}")));
    }
    let text = super::tokenize::read_text(path)?;
    let tokenizer = loaded.tokenizer()?;
    let mut ids = Vec::new();
    ids.extend(tokenizer.bos().filter(|_| tokenizer.adds_bos()));
    tokenizer.encode(&text, Parse::Text, &mut ids).map_err(|e| loaded.file.model_error(e))?;
    if ids.len() < 2 * ctx {
        return Err(Failure::failed(format!(
            "{path}: {} tokens, expected at least two windows of {ctx}; a smaller --ctx needs less",
            ids.len()
        )));
    }
    Ok(ids)
}
