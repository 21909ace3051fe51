//! `ingle quantize IN [OUT] TYPE [THREADS]`: a smaller file of the same model.
//!
//! The words come in llama-quantize's order, and its options have its names. The work is `ingle_compress`'s; here the
//! request is read, the plan is talked about on stderr and the outcome is printed.

mod folder;
mod print;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_compress::Error;
use ingle_compress::imatrix::Imatrix;
use ingle_compress::mixture::{self, Mixture};
use ingle_compress::output::{self, Existing};
use ingle_compress::plan::{self, ModelInfo, Options, Override, Plan};
use ingle_compress::quantize::{self, NotFinite, Request};
use ingle_compress::report::Report;
use ingle_engine::model_file::ModelFile;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;
use ingle_model::file::Contents;
use ingle_model::file::gguf_write::{Header, Meta};
use ingle_model::token::Written;

use super::{Verb, json_arg, text, text_arg};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::{model_ref, settings};

pub static VERB: Verb = Verb {
    name: "quantize",
    about: "Write a smaller file of a model",
    examples: &[
        "ingle quantize model-f16.gguf model-q4.gguf Q4_K_M",
        "ingle quantize model-f16.gguf IQ4_XS 4 --imatrix imatrix.gguf",
        "ingle quantize model-f16.gguf small.gguf Q3_K_M --tensor-type attn_v=q6_K --dry-run",
        "ingle quantize model.gguf folder BF16 --to safetensors",
        "ingle quantize folder smaller W4A16",
        "ingle quantize --list",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = command
        .override_usage("ingle quantize [OPTIONS] IN [OUT] TYPE [THREADS]\n       ingle quantize --list")
        .arg(
            Arg::new("words")
                .value_name("IN [OUT] TYPE [THREADS]")
                .num_args(2..=4)
                .required_unless_present("list")
                .help(
                    "The model; the new file (default: ggml-model-TYPE.gguf beside IN); the type, see --list",
                )
                .value_hint(clap::ValueHint::FilePath),
        )
        .arg(flag("list", "List the types").conflicts_with("words"))
        .arg(flag("force", "Replace OUT if it exists"))
        .arg(flag("dry-run", "Say what each tensor would become and how large the file, and write nothing"))
        .arg(
            text_arg("to", "CONTAINER", "What OUT is: gguf, or a folder: safetensors, compressed-tensors")
                .value_parser(folder::CONTAINERS),
        )
        .arg(text_arg("imatrix", "FILE", "Importances of columns, llama.cpp's imatrix.gguf or .dat"))
        .arg(flag("pure", "The type's format for every tensor, no mixture"))
        .arg(flag("leave-output-tensor", "Leave output.weight as it is"))
        .arg(text_arg("output-tensor-type", "FORMAT", "Format of output.weight"))
        .arg(text_arg("token-embedding-type", "FORMAT", "Format of the token embeddings"))
        .arg(
            text_arg(
                "tensor-type",
                "PATTERN=FORMAT",
                "Format of the tensors whose names a regular expression finds",
            )
            .action(ArgAction::Append),
        )
        .arg(flag("allow-requantize", "Don't warn when IN is quantised already"))
        .arg(flag("allow-nan", "Encode weights that are NaN or infinite, instead of stopping at them"))
        .arg(json_arg());
    settings::args(command, &["threads"])
}

/// What is to be done, as read from the command line.
struct Asked {
    input: String,
    output: PathBuf,
    mixture: &'static Mixture,
    n_threads: usize,
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let as_json = matches.get_flag("json");
    if matches.get_flag("list") {
        print::list(as_json)?;
        return Ok(Exit::OK);
    }
    if let Some(folder) = folder::Asked::read(matches)? {
        return folder.run(matches, env);
    }
    let asked = asked(matches, env)?;
    let file = model_ref::open(&asked.input, env)?;
    let imatrix =
        text(matches, "imatrix").map(|path| Ok::<_, Failure>((path, read_imatrix(path)?))).transpose()?;
    let contents = file.contents();
    let options = options(matches, imatrix.is_some())?;
    let model = ModelInfo::read(contents).map_err(|e| file.model_error(e))?;
    let tensors = quantize::infos(contents);
    if tensors.is_empty() {
        return Err(Failure::failed(format!("{}: no tensors, expected a model with weights", file.name())));
    }
    let plan = plan::plan(&tensors, &model, asked.mixture, &options).map_err(|e| file.model_error(e))?;
    let named = imatrix.as_ref().map(|(path, imatrix)| (*path, imatrix));
    let mut header = quantize::header(contents, asked.mixture, named).map_err(|e| failure(&file, e))?;
    let mut warnings = vocabulary(&file, &mut header)?;
    warnings.extend(print::warnings(contents, &plan, matches.get_flag("allow-requantize")));
    warnings.iter().for_each(|w| say(format_args!("\x1b[33mwarning:\x1b[0m {w}")));

    env.catch_ctrl_c();
    let start = Instant::now();
    let is_dry = matches.get_flag("dry-run");
    let report = if is_dry {
        quantize::estimate(contents, header, &plan).map_err(|e| failure(&file, e))?
    } else {
        let not_finite = if matches.get_flag("allow-nan") { NotFinite::Allow } else { NotFinite::Refuse };
        let request = Request { plan: &plan, imatrix: imatrix.as_ref().map(|(_, im)| im), not_finite };
        let existing = if matches.get_flag("force") { Existing::Replace } else { Existing::Keep };
        match write(&file, &asked, header, &request, existing, env) {
            Err(Error::Interrupted) => return Ok(Exit::INTERRUPTED),
            outcome => outcome.map_err(|e| failure(&file, e))?,
        }
    };
    let outcome = print::Outcome {
        input: file.name(),
        output: (!is_dry).then(|| asked.output.display().to_string()),
        mixture: asked.mixture,
        n_threads: asked.n_threads,
        seconds: start.elapsed().as_secs_f64(),
        contents,
        plan: &plan,
        report: &report,
        warnings: &warnings,
    };
    outcome.print(as_json)?;
    Ok(Exit::OK)
}

fn write(
    file: &ModelFile,
    asked: &Asked,
    header: Header,
    request: &Request<'_>,
    existing: Existing,
    env: &Env,
) -> Result<Report, Error> {
    let pool = Pool::new(asked.n_threads);
    let tensors = file.contents().tensors();
    let mut progress = Progress::new(env);
    output::write(&asked.output, file.paths(), existing, |out| {
        let report = quantize::quantize(file.contents(), header, request, &pool, out, |i| {
            progress.show(format_args!("tensor {} of {}: {}", i + 1, tensors.len(), tensors[i].name));
            !env.interrupted.load(Relaxed)
        })?;
        file.check_unchanged().map_err(std::io::Error::other)?;
        Ok(report)
    })
}

/// Gives the new file the vocabulary of a folder, whose contents have none. What can't be written is a warning: the weights
/// are what was asked for, and they run on ids.
pub(super) fn vocabulary(file: &ModelFile, header: &mut Header) -> Result<Vec<String>, Failure> {
    let reason = match file.vocabulary_for_gguf() {
        None if file.contents().value("tokenizer.ggml.model").is_some() => return Ok(Vec::new()),
        None => "the model has none".to_owned(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(Written { keys, differs })) => {
            for (key, _) in keys.keys() {
                let value = Meta::read(&keys, key).expect("a key of its own");
                header.set(key, value).map_err(|e| file.model_error(e))?;
            }
            let warning =
                |differs| format!("the file's vocabulary can't say all that tokenizer.json says: {differs}");
            return Ok(differs.map(warning).into_iter().collect());
        }
    };
    Ok(vec![format!("the file gets no vocabulary and runs on ids only: {reason}")])
}

/// The words: IN, then OUT unless a type stands there, then the type and the threads.
fn asked(matches: &ArgMatches, env: &Env) -> Result<Asked, Failure> {
    let words: Vec<&String> = matches.get_many("words").expect("clap asks for them").collect();
    let has_output = mixture::by_name(words[1]).is_err() && words.len() > 2;
    let (output, rest) = if has_output { (Some(words[1]), &words[2..]) } else { (None, &words[1..]) };
    let mixture = mixture::by_name(rest[0]).map_err(Failure::usage)?;
    let n_threads =
        match rest.get(1..) {
            None | Some([]) => env.n_threads(),
            Some([n]) => n.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| {
                Failure::usage(format!("{n:?}: expected a number of threads from 1 to 1024"))
            })?,
            Some([_, more, ..]) => return Err(Failure::usage(format!("{more:?}: one word too many"))),
        };
    // Beside a file; a model that has a name lies where nothing else is written.
    let name = format!("ggml-model-{}.gguf", mixture.name);
    let input = Path::new(words[0]);
    let usual = || if input.is_file() { input.with_file_name(&name) } else { PathBuf::from(&name) };
    let output = output.map_or_else(usual, PathBuf::from);
    Ok(Asked { input: words[0].clone(), output, mixture, n_threads })
}

fn options(matches: &ArgMatches, has_imatrix: bool) -> Result<Options, Failure> {
    let format = |name: &str| -> Result<Option<&'static Format>, Failure> {
        let format = text(matches, name).map(plan::format_named).transpose();
        format.map_err(|e| Failure::usage(format!("--{name}: {e}")))
    };
    let overrides = matches.get_many::<String>("tensor-type").unwrap_or_default();
    let overrides = overrides.map(|o| Override::parse(o)).collect::<Result<_, _>>();
    Ok(Options {
        pure: matches.get_flag("pure"),
        leave_output: matches.get_flag("leave-output-tensor"),
        output: format("output-tensor-type")?,
        token_embedding: format("token-embedding-type")?,
        overrides: overrides.map_err(|e| Failure::usage(format!("--tensor-type: {e}")))?,
        has_imatrix,
    })
}

pub(super) fn read_imatrix(path: &str) -> Result<Imatrix, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    Imatrix::parse(&Bytes::new(bytes)).map_err(|e| {
        let failure = Failure::from(e);
        Failure { message: format!("{path}: {}", failure.message), ..failure }
    })
}

/// Errors about the input get its name in front; those about the output have a name already.
pub(super) fn failure(file: &ModelFile, error: Error) -> Failure {
    match error {
        Error::Model(source) => file.model_error(source).into(),
        error @ Error::Value { .. } => Failure::failed(format!("{}: {error}", file.name())),
        error => Failure::failed(error),
    }
}

/// A line per tensor whose rows did not suit the format that was wanted.
pub(super) fn fallbacks<'a>(contents: &'a Contents, plan: &'a Plan) -> impl Iterator<Item = String> + 'a {
    contents.tensors().iter().zip(&plan.choices).filter_map(|(t, choice)| {
        let wanted = choice.instead_of?;
        let (name, cols, block) = (&t.name, t.shape[0], wanted.block);
        let got = choice.format.name;
        Some(format!(
            "{name}: {got} instead of {}: rows of {cols} values hold no whole blocks of {block}",
            wanted.name
        ))
    })
}
