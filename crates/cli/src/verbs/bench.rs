//! `ingle bench -m MODEL`: speed, in llama-bench's terms and JSON fields, so that both can stand in one table.

mod kernels;

use std::io::Write;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ingle_engine::model_file::Loaded;
use ingle_engine::sample::Rng;
use ingle_engine::session::Session;
use serde::Serialize;

use super::{Verb, human_bytes, print_json};
use crate::env::{Env, Progress};
use crate::exit::{Exit, Failure};
use crate::stats::Moments;
use crate::{load, settings};

pub static VERB: Verb = Verb {
    name: "bench",
    about: "Measure speed: prompt and generation, or the kernels alone",
    examples: &[
        "ingle bench -m demo",
        "ingle bench -m model.gguf -t 1,2 -p 512 -n 64 -r 3 -o json",
        "ingle bench -m model.gguf --depth 4096 --kv q8_0",
        "ingle bench --kernels",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let list = |name: &'static str, short: Option<char>, default: &'static str, help: &'static str| {
        let arg = Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(u32))
            .value_delimiter(',')
            .default_value(default)
            .help(help);
        short.into_iter().fold(arg, Arg::short)
    };
    let command = command
        .arg(
            Arg::new("model")
                .short('m')
                .long("model")
                .value_name("MODEL")
                .required_unless_present("kernels")
                .help("A .gguf file, a Hugging Face folder, or demo for the built-in model"),
        )
        .arg(list("prompt", Some('p'), "512", "Tokens of the prompt test, 0 for none; several with commas"))
        .arg(list("gen", Some('n'), "128", "Tokens of the generation test, 0 for none; several with commas"))
        .arg(list("depth", Some('d'), "0", "Tokens already in the context before each test"))
        .arg(
            Arg::new("threads")
                .short('t')
                .long("threads")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=1024))
                .value_delimiter(',')
                .help("Threads that compute; several with commas; default: one per core"),
        )
        .arg(
            Arg::new("repetitions")
                .short('r')
                .long("repetitions")
                .value_name("R")
                .value_parser(value_parser!(u32).range(1..))
                .default_value("5")
                .help("How often each test is measured"),
        )
        .arg(
            Arg::new("batch")
                .short('b')
                .long("batch")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=65536))
                .help("Prompt tokens per step"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FORM")
                .value_parser(["table", "json"])
                .default_value("table")
                .help("How to write the results"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("The same as -o json"))
        .arg(
            Arg::new("kernels")
                .long("kernels")
                .action(ArgAction::SetTrue)
                .help("Measure each format's matrix kernel on each tier instead of a model"),
        );
    settings::args(command, &["kv", "tier", "pack"])
}

/// One test's result, under llama-bench's names.
#[derive(Serialize)]
struct Row {
    build_number: &'static str,
    model_filename: String,
    model_type: String,
    model_size: u64,
    model_n_params: u64,
    n_batch: usize,
    n_threads: usize,
    tier: &'static str,
    type_k: String,
    type_v: String,
    n_prompt: usize,
    n_gen: usize,
    n_depth: usize,
    avg_ns: u64,
    stddev_ns: u64,
    avg_ts: f64,
    stddev_ts: f64,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let json = matches.get_flag("json") || matches.get_one::<String>("output").is_some_and(|o| o == "json");
    if matches.get_flag("kernels") {
        return kernels::run(env, json);
    }
    let numbers = |name: &str| -> Vec<usize> {
        matches.get_many::<u32>(name).into_iter().flatten().map(|&n| n as usize).collect()
    };
    let threads = match numbers("threads") {
        given if given.is_empty() => vec![env.n_threads()],
        given => given,
    };
    let mut tests = Vec::new();
    for depth in numbers("depth") {
        tests.extend(numbers("prompt").into_iter().filter(|&p| p > 0).map(|p| Test {
            depth,
            prompt: p,
            gen_n: 0,
        }));
        tests.extend(numbers("gen").into_iter().filter(|&n| n > 0).map(|n| Test {
            depth,
            prompt: 0,
            gen_n: n,
        }));
    }
    let ctx = tests.iter().map(|t| t.depth + t.prompt + t.gen_n).max();
    let ctx = ctx.ok_or_else(|| Failure::usage("-p 0 -n 0: nothing to measure"))?;
    let n_reps = matches.get_one::<u32>("repetitions").copied().unwrap_or(1);
    let batch = matches.get_one::<u32>("batch").map(|&n| n as usize);
    let name = matches.get_one::<String>("model").expect("clap asks for it");

    let mut progress = Progress::new(env);
    let mut rows = Vec::new();
    for &n_threads in &threads {
        let loaded = load::with_threads(name, env, n_threads)?;
        let kv = env.settings.text("kv").expect("it has a default");
        let options = ingle_engine::session::SessionOptions { ctx: Some(ctx), kv, chunk: batch };
        let mut session = Session::new(loaded.clone(), &options)?;
        for test in &tests {
            let mut samples_ns = Vec::new();
            // One run that does not count: it maps the pages and wakes the threads.
            test.measure(&mut session, env, true)?;
            for rep in 0..n_reps {
                progress.show(format_args!("{}: {n_threads} threads, {} of {n_reps}", test.name(), rep + 1));
                samples_ns.push(test.measure(&mut session, env, false)?);
            }
            rows.push(test.row(&loaded, &session, kv, samples_ns));
        }
    }
    progress.clear();
    if json {
        print_json(&rows)?;
    } else {
        print_table(&rows)?;
    }
    Ok(Exit::OK)
}

/// A prompt of `prompt` tokens, or `gen_n` tokens one by one, after `depth` tokens.
struct Test {
    depth: usize,
    prompt: usize,
    gen_n: usize,
}

impl Test {
    fn name(&self) -> String {
        let depth = if self.depth > 0 { format!(" @ {}", self.depth) } else { String::new() };
        match self.gen_n {
            0 => format!("prompt {}{depth}", self.prompt),
            n => format!("generate {n}{depth}"),
        }
    }

    /// Nanoseconds of one run; a warm-up generates one token only.
    fn measure(&self, session: &mut Session, env: &Env, warm_up: bool) -> Result<u64, Failure> {
        let vocab = session.loaded().model.config.vocab as u64;
        let mut rng = Rng::new(1);
        let mut ids = |n: usize| (0..n).map(|_| rng.below(vocab) as u32).collect::<Vec<_>>();
        if session.tokens().len() != self.depth {
            session.truncate(0);
            session.feed(&ids(self.depth), &env.interrupted, |_| ())?;
        }
        let tokens = ids(self.prompt + if warm_up { self.gen_n.min(1) } else { self.gen_n });
        let start = Instant::now();
        if self.gen_n > 0 {
            for id in tokens {
                session.feed(&[id], &env.interrupted, |_| ())?;
                std::hint::black_box(session.last_logits());
            }
        } else {
            session.feed(&tokens, &env.interrupted, |_| ())?;
            std::hint::black_box(session.last_logits());
        }
        let ns = start.elapsed().as_nanos() as u64;
        session.truncate(self.depth);
        // A cache that could not go back exactly catches up here, outside the time.
        session.feed(&[], &env.interrupted, |_| ())?;
        Ok(ns)
    }

    fn row(&self, loaded: &Loaded, session: &Session, kv: &str, samples_ns: Vec<u64>) -> Row {
        let n_tokens = (self.prompt + self.gen_n) as f64;
        let samples_ts: Vec<f64> = samples_ns.iter().map(|&ns| n_tokens / ns as f64 * 1e9).collect();
        let (mut ns, mut ts) = (Moments::default(), Moments::default());
        samples_ns.iter().for_each(|&x| ns.push(x as f64));
        samples_ts.iter().for_each(|&x| ts.push(x));
        let tensors = loaded.file.contents().tensors();
        Row {
            build_number: env!("CARGO_PKG_VERSION"),
            model_filename: loaded.file.name().to_owned(),
            model_type: loaded.model.config.family.name.to_owned(),
            model_size: tensors.iter().map(|t| t.n_bytes() as u64).sum(),
            model_n_params: tensors.iter().map(|t| t.n_values() as u64).sum(),
            n_batch: session.chunk(),
            n_threads: loaded.n_threads(),
            tier: loaded.tier(),
            type_k: kv.to_owned(),
            type_v: kv.to_owned(),
            n_prompt: self.prompt,
            n_gen: self.gen_n,
            n_depth: self.depth,
            avg_ns: ns.mean().value as u64,
            stddev_ns: ns.std_dev() as u64,
            avg_ts: ts.mean().value,
            stddev_ts: ts.std_dev(),
            samples_ns,
            samples_ts,
        }
    }
}

fn print_table(rows: &[Row]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:20} {:>10} {:>7} {:>8} {:>16}  tokens/s", "model", "size", "threads", "tier", "test")?;
    for r in rows {
        let name = r.model_filename.rsplit('/').next().unwrap_or_default();
        let test = Test { depth: r.n_depth, prompt: r.n_prompt, gen_n: r.n_gen }.name();
        writeln!(
            out,
            "{name:20} {:>10} {:>7} {:>8} {test:>16}  {:.2} ± {:.2}",
            human_bytes(r.model_size),
            r.n_threads,
            r.tier,
            r.avg_ts,
            r.stddev_ts
        )?;
    }
    Ok(())
}
