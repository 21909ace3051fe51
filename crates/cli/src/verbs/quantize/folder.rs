//! `ingle quantize IN OUT TYPE --to safetensors` and its like: the model as a folder.
//!
//! A type of integers says itself that a folder is meant, as does an OUT that ends in `/`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use clap::ArgMatches;
use ingle_compress::Error;
use ingle_compress::export::{self, Encoding, SHARD_BYTES_MAX};
use ingle_compress::output::{self, Existing};
use ingle_model::file::folder;
use serde_json::json;

use super::super::{human_bytes, print_json, text};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::model_ref;

/// Containers of new models.
pub const CONTAINERS: [&str; 3] = ["gguf", "safetensors", "compressed-tensors"];

/// What the command line asks for if it is a folder.
pub struct Asked {
    input: String,
    output: PathBuf,
    encoding: &'static Encoding,
}

impl Asked {
    /// `None` when it asks for a file.
    pub fn read(matches: &ArgMatches) -> Result<Option<Self>, Failure> {
        let words: Vec<&String> = matches.get_many("words").expect("clap asks for them").collect();
        let to = text(matches, "to");
        let encoding = words.get(2).map(|word| export::by_name(word));
        let is_compressed = matches!(&encoding, Some(Ok(encoding)) if encoding.is_compressed());
        let is_folder = words[1].ends_with('/') || is_compressed;
        if to == Some(CONTAINERS[0]) || (to.is_none() && !is_folder) {
            return Ok(None);
        }
        let (Some(encoding), 3) = (encoding, words.len()) else {
            return Err(Failure::usage("a folder takes IN, OUT and TYPE, and no number of threads"));
        };
        let encoding = encoding.map_err(Failure::usage)?;
        let container = if encoding.is_compressed() { CONTAINERS[2] } else { CONTAINERS[1] };
        if to.is_some_and(|to| to != container) {
            let found = to.unwrap_or_default();
            return Err(Failure::usage(format!(
                "--to {found}: type {} is one of {container}",
                encoding.name
            )));
        }
        for flag in ["imatrix", "output-tensor-type", "token-embedding-type", "tensor-type"] {
            if matches.contains_id(flag) {
                return Err(Failure::usage(format!(
                    "--{flag}: a folder has no such choice; it is one of GGUF files"
                )));
            }
        }
        for flag in ["pure", "leave-output-tensor", "allow-nan", "dry-run"] {
            if matches.get_flag(flag) {
                return Err(Failure::usage(format!(
                    "--{flag}: a folder has no such choice; it is one of GGUF files"
                )));
            }
        }
        Ok(Some(Self { input: words[0].clone(), output: PathBuf::from(words[1]), encoding }))
    }

    /// Writes the folder and says what it is.
    pub fn run(&self, matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
        let file = model_ref::open(&self.input, env)?;
        let contents = file.contents();
        let path = Path::new(file.name());
        let beside = if path.is_dir() { Some(path) } else { path.parent() };
        let from = beside.filter(|_| is_of_folder(contents));
        let config = from.map(|from| from.join(folder::CONFIG));
        let config = config.map(|path| std::fs::read(&path).map_err(|e| Failure::file(&path, &e)));
        let export = folder::export::export(contents, config.transpose()?.as_deref())
            .map_err(|e| file.model_error(e))?;
        if from.is_none() {
            let warning =
                "the folder gets no tokenizer.json: copy the one of the model that the file was made of";
            say(format_args!("\x1b[33mwarning:\x1b[0m {warning}"));
        }
        env.catch_ctrl_c();
        let start = Instant::now();
        let mut progress = Progress::new(env);
        let existing = if matches.get_flag("force") { Existing::Replace } else { Existing::Keep };
        let outcome = output::write_folder(&self.output, Some(path), existing, |to| {
            let written =
                export::write(contents, &export, self.encoding, from, to, SHARD_BYTES_MAX, |i, n| {
                    progress.show(format_args!("tensor {} of {n}", i + 1));
                    !env.interrupted.load(Relaxed)
                })?;
            file.check_unchanged().map_err(std::io::Error::other)?;
            Ok(written)
        });
        drop(progress);
        let written = match outcome {
            Err(Error::Interrupted) => return Ok(Exit::INTERRUPTED),
            outcome => outcome.map_err(|e| super::failure(&file, e))?,
        };
        let output = self.output.display().to_string();
        if matches.get_flag("json") {
            print_json(&json!({
                "input": file.name(),
                "output": output,
                "type": self.encoding.name,
                "seconds": start.elapsed().as_secs_f64(),
                "n_tensors": written.n_tensors,
                "n_integers": written.n_integers,
                "n_files": written.n_files,
                "bytes": written.n_bytes,
            }))?;
        } else {
            let (size, files) =
                (human_bytes(written.n_bytes), if written.n_files == 1 { "file" } else { "files" });
            println!("{output}  {size} in {} {files} of weights: {}", written.n_files, self.encoding.about);
        }
        Ok(Exit::OK)
    }
}

/// Whether the weights lie in a folder that has more of the model.
fn is_of_folder(contents: &ingle_model::file::Contents) -> bool {
    folder::weights::WEIGHT_FILES.iter().any(|files| contents.container.starts_with(files.container))
}
