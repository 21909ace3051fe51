//! `ingle imatrix MODEL -o OUT --calib FILE`: which columns of a model's matrices matter, as llama.cpp writes it down.
//!
//! One walk through the model sums up the squares of what each matrix is given; `quantize --imatrix` here and llama.cpp's tools read the
//! result. `--merge` adds what was measured before, with or without a model; a token counts as much wherever it was read. Products of columns,
//! which error feedback needs, are not kept in files: they are of what a model's layers have become on the way, so they belong to one
//! run of one recipe, and more text for them is another `--calib` of `ingle compress`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ingle_compress::Error;
use ingle_compress::calibrate::whole::whole;
use ingle_compress::imatrix::{CHUNK_TOKENS, Imatrix};
use ingle_compress::output::{self, Existing};
use ingle_compress::recipe::Calibration;
use serde_json::json;

use super::compress::texts;
use super::quantize::{failure, read_imatrix};
use super::{Verb, json_arg, print_json, text, text_arg};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::{load, settings};

pub static VERB: Verb = Verb {
    name: "imatrix",
    about: "Measure which columns of a model's matrices matter, for quantisers",
    examples: &[
        "ingle imatrix model-f16.gguf -o imatrix.gguf --calib notes.txt",
        "ingle imatrix model-f16.gguf -o both.gguf --calib chats.txt --merge imatrix.gguf",
        "ingle imatrix -o all.gguf --merge one.gguf --merge two.gguf",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let command = command
        .arg(
            Arg::new("model")
                .value_name("MODEL")
                .required_unless_present("merge")
                .requires("calib")
                .help("The model: a file, a folder or a name")
                .value_hint(clap::ValueHint::FilePath),
        )
        .arg(
            text_arg("output", "OUT", "The new file, GGUF as llama.cpp's tools write it")
                .short('o')
                .required(true),
        )
        .arg(
            text_arg("calib", "FILE", "A text that the model reads meanwhile")
                .action(ArgAction::Append)
                .requires("model"),
        )
        .arg(
            Arg::new("calib-tokens")
                .long("calib-tokens")
                .value_name("N")
                .value_parser(value_parser!(u64).range(2..=1 << 26))
                .help("Read at most so many tokens, evenly over all texts; default: all"),
        )
        .arg(
            text_arg("merge", "FILE", "Add what was measured before on the same model, .gguf or .dat")
                .action(ArgAction::Append),
        )
        .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("Replace OUT if it exists"))
        .arg(json_arg());
    settings::args(command, settings::COMPUTE)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let output = PathBuf::from(text(matches, "output").expect("clap asks for it"));
    let existing = if matches.get_flag("force") { Existing::Replace } else { Existing::Keep };
    output::check(&output, None, existing).map_err(Failure::failed)?;
    let merged = matches.get_many::<String>("merge").into_iter().flatten();
    let mut all =
        merged.map(|path| read_imatrix(path).map(|im| (path, im))).collect::<Result<Vec<_>, _>>()?;
    let ctx = Calibration::default().ctx;
    env.catch_ctrl_c();
    let mut imatrix = match text(matches, "model") {
        Some(name) => match measured(matches, name, ctx, env)? {
            Some(imatrix) => imatrix,
            None => return Ok(Exit::INTERRUPTED),
        },
        None => all.remove(0).1,
    };
    for (path, other) in all {
        imatrix.merge(other).map_err(|e| Failure::failed(format!("{path}: {e}")))?;
    }
    output::write(&output, None, existing, |out| imatrix.write(out)).map_err(Failure::failed)?;
    let (n_tensors, n_chunks) = (imatrix.len(), imatrix.n_chunks);
    let ctx = imatrix.chunk_tokens.unwrap_or(CHUNK_TOKENS);
    if matches.get_flag("json") {
        print_json(&json!({
            "output": output, "n_tensors": n_tensors, "n_chunks": n_chunks, "chunk_tokens": ctx,
            "datasets": imatrix.datasets,
        }))?;
    } else {
        say(format_args!("{}: {n_tensors} tensors, {n_chunks} chunks of {ctx} tokens", output.display()));
    }
    Ok(Exit::OK)
}

/// What the model is given while it reads the texts; `None` when interrupted.
fn measured(matches: &ArgMatches, name: &str, ctx: usize, env: &Env) -> Result<Option<Imatrix>, Failure> {
    let loaded = load::model(name, env)?;
    let config = &loaded.model.config;
    let ctx = ctx.min(config.ctx_train);
    let files: Vec<&String> = matches.get_many("calib").into_iter().flatten().collect();
    let n_tokens = matches.get_one::<u64>("calib-tokens").map_or(usize::MAX / 2, |&n| n as usize);
    let wanted = Calibration { ctx, ..Calibration::default() };
    let sequences = texts::read(&files, n_tokens, &wanted, ctx, &loaded)?;
    let (mut progress, n_layers) = (Progress::new(env), config.layers.len());
    let (contents, run) = (loaded.file.contents(), loaded.runtime(&[]));
    let sites = whole(contents, config, &sequences, run.pool, run.kernels, &mut |layer, share| {
        let percent = 100.0 * (layer as f64 + share) / n_layers as f64;
        progress.show(format_args!("reading {} chunks: {percent:.0} %", sequences.len()));
        !env.interrupted.load(Relaxed)
    });
    progress.clear();
    match sites {
        Err(Error::Interrupted) => Ok(None),
        sites => {
            let name =
                |path: &&String| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
            let datasets = files.iter().filter_map(name).collect();
            let sites = sites.map_err(|e| failure(&loaded.file, e))?;
            Ok(Some(Imatrix::of_sites(&sites, contents, datasets, sequences.len() as u64, ctx as u32)))
        }
    }
}
