//! Measures structured output on published schemas: how many compile, what is wrongly accepted or rejected, and what a mask
//! costs.
//!
//! `cargo run --release -p ingle-engine --example constrain -- DATA VOCABULARY.gguf`, where DATA holds the folders
//! `jsonschemabench` (schemas of real programs) and `json-schema-test-suite` (instances marked valid and invalid). For each
//! schema three answers are drawn under the mask and judged by the jsonschema crate; changed ones are tried token by token, and
//! so are the suite's instances.
//!
//! `--list` names what failed; `--only PART` takes the schemas whose place has PART in it; `--answers FILE` writes JSON lines
//! of all schemas and instances, with what was made of them, for a judge that is not ours (`tests/structured/judge.py`).

mod bench;
mod change;
mod schemas;
mod suite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ingle_engine::constrain::{Grammar, Vocabulary};
use ingle_engine::model_file::ModelFile;
use ingle_engine::output;

use bench::Bench;

/// What the command line asks.
struct Asked {
    data: PathBuf,
    vocabulary: PathBuf,
    list: bool,
    only: String,
    answers: Option<PathBuf>,
}

fn main() -> Result<()> {
    let asked = read_args()?;
    let tokenizer = ModelFile::open(&asked.vocabulary)?.tokenizer()?;
    let start = Instant::now();
    let vocabulary = Arc::new(Vocabulary::new(&tokenizer)?);
    println!("vocabulary: {} tokens, ready after {:.0} ms", vocabulary.n_vocab(), millis(start.elapsed()));
    thoughts(&vocabulary)?;
    let mut bench = Bench::new(tokenizer, vocabulary, asked.list, asked.only, asked.answers.as_deref())?;
    schemas::measure(&mut bench, &asked.data.join("jsonschemabench"))?;
    for draft in ["draft2020-12", "draft7"] {
        suite::measure(&mut bench, &asked.data.join("json-schema-test-suite/tests").join(draft), draft)?;
    }
    bench.finish()
}

fn read_args() -> Result<Asked> {
    let mut args = std::env::args().skip(1);
    let data = args.next().context("the folder of data is missing")?.into();
    let vocabulary = args.next().context("the GGUF file of a vocabulary is missing")?.into();
    let mut asked = Asked { data, vocabulary, list: false, only: String::new(), answers: None };
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--list" => asked.list = true,
            "--only" => asked.only = value()?,
            "--answers" => asked.answers = Some(value()?.into()),
            _ => bail!("{arg} is not known, expected --list, --only or --answers"),
        }
    }
    Ok(asked)
}

/// What it costs a request that a model may think before its form: the first one, and those that follow.
fn thoughts(vocabulary: &Arc<Vocabulary>) -> Result<()> {
    let format = output::detect("<tool_call>");
    let constraint = vocabulary.compile(&Grammar::JsonObject)?;
    let times: Vec<Duration> = (0..101)
        .map(|_| {
            let constraint = constraint.clone();
            let start = Instant::now();
            let behind = constraint.after_thoughts(format, None);
            let time = start.elapsed();
            drop(behind);
            time
        })
        .collect();
    let mut later = times[1..].to_vec();
    later.sort_unstable();
    println!("after thoughts: first {:.3} ms, then {:.4} ms", millis(times[0]), millis(later[50]));
    Ok(())
}

/// All JSON files of a folder and those in it, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
