//! `ingle bench -m MODEL`: speed, in llama-bench's terms and JSON fields, so that both can stand in one table, and beside it
//! what the machine could have done at that moment.
//!
//! Each test is a row. Right before it the limits are measured on the same threads ([`limits`]), then the test runs once
//! uncounted and as often as asked ([`mod@test`]), then the read bandwidth is measured again: where it changed, the row says
//! little. [`row`] works out the shares; `docs/bench.md` explains every field. [`kernels`] does the same for the matrix
//! kernels alone, [`ahead`] compares generation with guesses. Nothing else here samples or tokenizes: tokens are random.

mod ahead;
mod floors;
mod kernels;
mod limits;
mod lists;
mod row;
mod table;
mod test;

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ingle_engine::memory;
use ingle_engine::session::{Session, SessionOptions};
use ingle_kernel::quant;
use ingle_model::kv;

use super::{Verb, human_bytes, print_json};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::{load, settings};
use floors::Floors;
use limits::Limits;
use row::{COLUMNS, Measured, Row};
use test::{Test, Work};

pub static VERB: Verb = Verb {
    name: "bench",
    about: "Measure speed, and its share of what the machine could do",
    examples: &[
        "ingle bench -m demo",
        "ingle bench -m model.gguf -t 1,2 -p 512 -n 64 -r 3 -o json",
        "ingle bench -m model.gguf -p 0 -n 64 --depth 0,2048,8192 --kv f16,q8_0",
        "ingle bench -m model.gguf --batch 1-16*2",
        "ingle bench -m model.gguf -n 64 -p 0 --assert-read 75%",
        "ingle bench -m model.gguf --spec draft:small.gguf -n 128",
        "ingle bench --kernels --tier avx2 --format q4_0,q8_0",
    ],
    args,
    run,
};

const TOKENS_MAX: usize = 1 << 24;
/// The most tokens of a step that is measured alone.
const STEP_MAX: usize = 64;

/// An option that takes numbers, several with commas or given again.
fn list(name: &'static str, least: usize, most: usize, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .action(ArgAction::Append)
        .value_parser(move |text: &str| lists::numbers(text, least, most))
        .help(help)
}

/// An option that takes a share of a limit.
fn floor(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("SHARE").value_parser(lists::share).help(help)
}

fn args(command: Command) -> Command {
    let model = "A .gguf file, a Hugging Face folder, a name from the list, or demo for the built-in model";
    let command = command
        .arg(
            Arg::new("model")
                .short('m')
                .long("model")
                .value_name("MODEL")
                .required_unless_present("kernels")
                .help(model),
        )
        .arg(
            list("prompt", 0, TOKENS_MAX, "Tokens of the prompt test, 0 for none; 4,8 or 1-9+2 or 1-16*2 for several [default: 512]")
                .short('p')
                .visible_alias("n-prompt"),
        )
        .arg(
            list("gen", 0, TOKENS_MAX, "Tokens of the generation test, 0 for none [default: 128]")
                .short('n')
                .visible_alias("n-gen"),
        )
        .arg(
            Arg::new("pg")
                .long("pg")
                .value_name("P,N")
                .action(ArgAction::Append)
                .value_parser(|text: &str| lists::pair(text, TOKENS_MAX))
                .help("A prompt of P tokens and N generated behind it, measured together; alone, instead of -p and -n"),
        )
        .arg(list(
            "batch",
            1,
            STEP_MAX,
            "Tokens of a single step, with the logits of each, beside a step of one; alone, instead of -p and -n",
        ))
        .arg(
            list("depth", 0, TOKENS_MAX, "Tokens already in the context before each test [default: 0]")
                .short('d')
                .visible_alias("n-depth"),
        )
        .arg(list("threads", 1, 1024, "Threads that compute [default: one per core]").short('t'))
        .arg(
            Arg::new("kv")
                .long("kv")
                .value_name("NAME")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(PossibleValuesParser::new(kv::FORMATS))
                .help("Format of the KV cache, several with commas [default: f16]"),
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
            Arg::new("kernels")
                .long("kernels")
                .action(ArgAction::SetTrue)
                .conflicts_with("model")
                .help("Measure each format's matrix kernel on each tier instead of a model"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("NAME")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(PossibleValuesParser::new(quant::names()))
                .ignore_case(true)
                .conflicts_with("model")
                .help("With --kernels: only these block formats"),
        )
        .arg(floor(
            "assert-read",
            "Fail when single tokens take less than this share of the read bandwidth, such as 75%",
        ))
        .arg(floor("assert-peak", "Fail when prompts take less than this share of the peak of products"))
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FORM")
                .value_parser(["table", "json"])
                .default_value("table")
                .help("How to write the results"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("The same as -o json"));
    settings::args(command.args(ahead::args()), &["tier", "pack", "chunk", "draft-tokens"])
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let json = matches.get_flag("json") || matches.get_one::<String>("output").is_some_and(|o| o == "json");
    let threads = numbers(matches, "threads").unwrap_or_else(|| vec![env.n_threads()]);
    let floor = |name: &str| matches.get_one::<f64>(name).copied();
    let floors = Floors { read: floor("assert-read"), peak: floor("assert-peak") };
    if matches.get_flag("kernels") {
        let formats = words(matches, "format").unwrap_or_else(|| quant::names().collect());
        return kernels::run(env, &threads, &formats, &floors, json);
    }
    if matches.contains_id("spec") {
        let one =
            |name: &str, usual| numbers(matches, name).and_then(|n| n.first().copied()).unwrap_or(usual);
        let name = matches.get_one::<String>("model").expect("clap asks for it");
        let n_reps = matches.get_one::<u32>("repetitions").copied().expect("it has a default");
        let rows = ahead::measure(matches, env, name, &threads, (one("depth", 0), one("gen", 128)), n_reps)?;
        return if json { print_json(&rows) } else { ahead::print(&rows) }.map(|()| Exit::OK);
    }
    let tests = tests(matches)?;
    let rows = measure_all(matches, env, &threads, &tests)?;
    if json {
        print_json(&rows)?;
    } else {
        print_table(&rows)?;
    }
    if rows.iter().any(Row::is_doubtful) {
        say("~: the read bandwidth was more than 10% another after the test than before; measure again");
    }
    let share = |row: &Row, share| (row.test.clone(), share);
    let generation = rows.iter().filter(|row| row.n_prompt == 0);
    let prompts = rows.iter().filter(|row| row.n_gen == 0 && row.n_step.is_none());
    floors.check(
        generation.map(|row| share(row, row.share_of_read)),
        prompts.map(|row| share(row, row.share_of_peak)),
    )?;
    Ok(Exit::OK)
}

/// All numbers given for `name`, if any were.
fn numbers(matches: &ArgMatches, name: &str) -> Option<Vec<usize>> {
    Some(matches.get_many::<Vec<usize>>(name)?.flatten().copied().collect())
}

/// All words given for `name`, if any were.
fn words<'a>(matches: &'a ArgMatches, name: &str) -> Option<Vec<&'a str>> {
    Some(matches.get_many::<String>(name)?.map(String::as_str).collect())
}

/// The tests asked for, by depth.
fn tests(matches: &ArgMatches) -> Result<Vec<Test>, Failure> {
    let mut steps = numbers(matches, "batch").unwrap_or_default();
    if !steps.is_empty() {
        steps.push(1);
        steps.sort_unstable();
        steps.dedup();
    }
    let pairs: Vec<(usize, usize)> = matches.get_many("pg").into_iter().flatten().copied().collect();
    let (prompt, generation) = (numbers(matches, "prompt"), numbers(matches, "gen"));
    // The usual two unless something else was asked for.
    let usual = (steps.is_empty() && pairs.is_empty()) || prompt.is_some() || generation.is_some();
    let or_usual = |given: Option<Vec<usize>>, n| given.unwrap_or(if usual { vec![n] } else { Vec::new() });
    let works: Vec<Work> = or_usual(prompt, 512)
        .into_iter()
        .map(Work::Prompt)
        .chain(or_usual(generation, 128).into_iter().map(Work::Generate))
        .filter(|work| !matches!(work, Work::Prompt(0) | Work::Generate(0)))
        .chain(pairs.into_iter().map(|(p, n)| Work::Both(p, n)))
        .chain(steps.into_iter().map(Work::Step))
        .collect();
    if works.is_empty() {
        return Err(Failure::usage("-p 0 -n 0: nothing to measure"));
    }
    let depths = numbers(matches, "depth").unwrap_or_else(|| vec![0]);
    Ok(depths.iter().flat_map(|&depth| works.iter().map(move |&work| Test { depth, work })).collect())
}

/// Every test on every number of threads with every format of the cache.
fn measure_all(
    matches: &ArgMatches,
    env: &Env,
    threads: &[usize],
    tests: &[Test],
) -> Result<Vec<Row>, Failure> {
    let ctx = tests.iter().map(|t| t.depth + t.n_tokens()).max();
    let longest_step = tests.iter().filter(|t| matches!(t.work, Work::Step(_))).map(Test::n_tokens).max();
    let name = matches.get_one::<String>("model").expect("clap asks for it");
    let usual_kv = env.settings.text("kv").expect("it has a default");
    let kvs = words(matches, "kv").unwrap_or_else(|| vec![usual_kv]);
    let n_reps = matches.get_one::<u32>("repetitions").copied().expect("it has a default");

    let mut progress = Progress::new(env);
    let mut rows: Vec<Row> = Vec::new();
    for &n_threads in threads {
        memory::forget_peak_resident();
        let loaded = load::with_threads(name, env, n_threads)?;
        for kv in &kvs {
            let options = SessionOptions { ctx, kv, chunk: env.settings.count("chunk") };
            let mut session = Session::new(loaded.clone(), &options)?;
            if let Some(n) = longest_step.filter(|&n| n > session.chunk()) {
                let chunk = session.chunk();
                return Err(Failure::usage(format!("--batch {n}: more than the {chunk} tokens of --chunk")));
            }
            for test in tests {
                let told = |what: &str| format!("{n_threads} threads, {kv}, {}: {what}", test.name());
                progress.show(told("context"));
                test.prepare(&mut session, env)?;
                let measured = measure(test, &mut session, env, n_reps, |what| progress.show(told(what)))?;
                let mut row = Row::new(test, &session, kv, measured);
                let one = rows.iter().chain([&row]).find(|one| one.n_step == Some(1) && one.is_like(&row));
                row.step_ratio = row.n_step.and(one).map(|one| row.avg_ns as f64 / one.avg_ns as f64);
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// Measures one test on a session that was prepared for it, between two looks at the limits.
fn measure(
    test: &Test,
    session: &mut Session,
    env: &Env,
    n_reps: u32,
    mut told: impl FnMut(&str),
) -> Result<Measured, Failure> {
    let loaded = session.loaded().clone();
    let run = loaded.runtime(&[]);
    let peak_before = memory::peak_resident_bytes();
    told("limits");
    let limits = Limits::measure(run.pool, run.kernels);
    // The buffer of the limits is no part of what the model takes.
    let forgot = memory::forget_peak_resident();
    test.warm_up(session, env)?;
    let mut samples_ns = Vec::new();
    for rep in 0..n_reps {
        told(&format!("{} of {n_reps}", rep + 1));
        samples_ns.push(test.sample(session, env)?);
    }
    let peak_rss = peak_before.max(memory::peak_resident_bytes()).filter(|_| forgot);
    told("limits");
    let read_after = Limits::read(run.pool);
    memory::forget_peak_resident();
    Ok(Measured { samples_ns, limits, read_after, peak_rss })
}

fn print_table(rows: &[Row]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let Some(first) = rows.first() else { return Ok(()) };
    let name = first.model_filename.rsplit('/').next().unwrap_or_default();
    let size = human_bytes(first.file_size);
    writeln!(out, "{name}: {}, file {size}, tier {}", first.model_type, first.tier)?;
    table::write(&mut out, COLUMNS, rows)?;
    let range = |what: &str, of: fn(&Row) -> Option<f64>, unit: f64| {
        let found = rows.iter().filter_map(of);
        let (least, most) = found.fold((f64::INFINITY, 0.0f64), |(a, b), x| (a.min(x), b.max(x)));
        let figure = |x: f64| table::figure(x / unit);
        (most > 0.0).then(|| format!("{what} {} to {}", figure(least), figure(most)))
    };
    let read = range("read", |r| r.read_limit_gb_per_s, 1.0).map(|read| read + " GB/s");
    let products =
        [range("int8", |r| r.int8_limit_gop_per_s, 1e3), range("f32", |r| r.f32_limit_gop_per_s, 1e3)];
    let products: Vec<String> = products.into_iter().flatten().map(|limit| limit + " TOP/s").collect();
    let limits: Vec<String> = read.into_iter().chain(products).collect();
    if !limits.is_empty() {
        writeln!(out, "limits: {}", limits.join(", "))?;
    }
    Ok(())
}
