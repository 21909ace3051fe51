//! `ingle bench --spec HOW`: generation with guesses against generation without, turn about in one run.
//!
//! The prompt is random tokens, answers are greedy and nothing ends them, so both sides write the same tokens. With `--spec-accept` the
//! guesses are those tokens, right with the chance that is given: what guesses of that quality would bring on this machine. A drafter that
//! has weights to read reads them as ever, and only what it says is replaced; guesses in place of any other's cost nothing.
//! With `--spec-trace` they are right where a file of recorded answers says so, a row for each kind of work in it (`bench/README.md`).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::{Arg, ArgMatches};
use ingle_engine::generate::{Event, Overflow, Request};
use ingle_engine::model_file::Loaded;
use ingle_engine::sample::{Bias, BiasToken, Params, Rng};
use ingle_engine::session::{Session, SessionOptions};
use ingle_engine::spec::{self, Ask, Drafter, Speculation, Tally, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::env::{Env, Progress};
use crate::exit::Failure;
use crate::guessing::{self, Guesser};
use crate::load;
use crate::median::median;
use crate::settings::speculate;

/// One way of guessing, measured.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The model's file.
    pub model_filename: String,
    /// Who guesses.
    pub spec: String,
    /// Threads that compute.
    pub n_threads: usize,
    /// Tokens before.
    pub n_depth: usize,
    /// Tokens generated.
    pub n_gen: usize,
    /// Tokens per second with guesses, the median.
    pub avg_ts: f64,
    /// Tokens per second without, the median.
    pub plain_ts: f64,
    /// The median of what the two are to each other in each repetition.
    pub ratio: f64,
    /// Tokens guessed in all repetitions.
    pub drafted: u64,
    /// Of those, tokens chosen.
    pub accepted: u64,
    /// The same of each drafter.
    pub drafters: Json,
    /// A guess, in steps of one token.
    pub guess_cost: Option<f64>,
    /// Steps of so many tokens, in steps of one, as they were measured.
    pub step_costs: Vec<(usize, f64)>,
}

/// The flags.
pub fn args() -> [Arg; 3] {
    let accept =
        "With --spec: guesses that cost what the drafter's cost and are right with this chance, such as 0.8";
    [
        Arg::new("spec")
            .long("spec")
            .value_name("HOW")
            .value_parser(speculate::check)
            .conflicts_with_all(["kernels", "batch", "pg"])
            .help("Measure generation with guesses, by whom --speculate of run can name, against generation without; alone, instead of -p and -n"),
        Arg::new("spec-accept")
            .long("spec-accept")
            .value_name("CHANCE")
            .requires("spec")
            .value_parser(super::lists::share)
            .help(accept),
        Arg::new("spec-trace")
            .long("spec-trace")
            .value_name("FILE")
            .requires("spec")
            .conflicts_with("spec-accept")
            .help("With --spec: guesses that cost nothing, as many of which are right at each token as this file of traces says"),
    ]
}

/// When guesses are right that are not a drafter's.
#[derive(Debug, Clone)]
enum Right {
    Chance(f64),
    /// Of each token of the answer how many guesses were right, and their class.
    Trace(Vec<(usize, usize)>),
}

/// The most guesses of which traces know.
const TRACED_MAX: usize = 8;

/// Recorded answers.
#[derive(Debug, Deserialize)]
struct Traces {
    kinds: Vec<Traced>,
}

#[derive(Debug, Deserialize)]
struct Traced {
    name: String,
    tasks: Vec<Task>,
}

/// A digit for each token.
#[derive(Debug, Deserialize)]
struct Task {
    accepted: String,
    class: String,
}

impl Traced {
    /// Its tasks one behind the other; `None` when that are no digits, or none.
    fn right(&self) -> Option<Right> {
        let digits = |of: fn(&Task) -> &str| -> Option<Vec<usize>> {
            let all = self.tasks.iter().flat_map(|task| of(task).chars());
            all.map(|c| c.to_digit(10).map(|digit| digit as usize)).collect()
        };
        let (accepted, class) = (digits(|task| &task.accepted)?, digits(|task| &task.class)?);
        let fits = !accepted.is_empty() && accepted.len() == class.len();
        fits.then(|| Right::Trace(accepted.into_iter().zip(class).collect()))
    }
}

/// Knows what will be said, and says it as often as it is told to.
#[derive(Debug)]
struct Replay {
    said: Arc<Vec<u32>>,
    n_prompt: usize,
    right: Right,
    rng: Rng,
    /// Who guesses first, for what that costs: as many tokens are said as it guessed.
    behind: Option<Box<dyn Drafter>>,
}

impl Drafter for Replay {
    fn draft(&mut self, target: &Target<'_>, asks: &mut [Ask<'_>]) -> ingle_engine::Result<()> {
        let vocab = target.loaded.model.config.vocab as u32;
        if let Some(drafter) = &mut self.behind {
            drafter.draft(target, asks)?;
            for ask in &mut *asks {
                ask.n = ask.drafts.chain().len();
                ask.drafts.clear();
            }
        }
        for ask in asks {
            let (n, n_right, class) = match &self.right {
                Right::Chance(chance) => {
                    let limit = (chance * f64::from(u32::MAX)) as u64;
                    (ask.n, (0..ask.n).take_while(|_| self.rng.below(1 << 32) <= limit).count(), 0)
                }
                Right::Trace(places) => match places[(ask.tokens.len() - self.n_prompt) % places.len()] {
                    (_, 0) => (0, 0, 0),
                    (n_right, class) => (ask.n.min(TRACED_MAX), n_right, class),
                },
            };
            ask.drafts.class = class;
            let rest = self.said.get(ask.tokens.len()..).unwrap_or_default();
            for (i, &id) in rest.iter().take(n).enumerate() {
                ask.drafts.push(if i < n_right { id } else { (id + 1) % vocab });
            }
        }
        Ok(())
    }
}

/// Measures what `--spec` asks for.
pub fn measure(
    matches: &ArgMatches,
    env: &Env,
    name: &str,
    threads: &[usize],
    (depth, n_gen): (usize, usize),
    n_reps: u32,
) -> Result<Vec<Row>, Failure> {
    let how = matches.get_one::<String>("spec").expect("it is measured");
    let mut whose: Vec<(String, Option<Right>)> = Vec::new();
    match (matches.get_one::<f64>("spec-accept"), matches.get_one::<String>("spec-trace")) {
        (Some(&chance), _) => {
            whose.push((format!("right with a chance of {chance}"), Some(Right::Chance(chance))));
        }
        (_, Some(file)) => whose.extend(traces(file)?),
        _ => whose.push((how.clone(), None)),
    }
    let mut progress = Progress::new(env);
    let mut rows = Vec::new();
    for &n_threads in threads {
        let loaded = load::with_threads(name, env, n_threads)?;
        let n_prompt = depth.max(1);
        let ctx = n_prompt + n_gen + 1;
        let options = SessionOptions { ctx: Some(ctx), ..load::session_options(env, None) };
        let mut rng = Rng::new(1);
        let vocab = loaded.model.config.vocab as u64;
        let prompt: Vec<u32> = (0..n_prompt).map(|_| rng.below(vocab) as u32).collect();
        let mut plain = Session::new(loaded.clone(), &options)?;
        let (_, mut said, _) = generate(&mut plain, &prompt, n_gen)?;
        said.splice(0..0, prompt.iter().copied());
        let said = Arc::new(said);
        for (name, right) in &whose {
            let mut guessed = Session::new(loaded.clone(), &options)?;
            let speculation = match right {
                None => Guesser::of(how, env, loaded.pool())?.speculation(&loaded, options, ctx, 1)?,
                Some(right) => {
                    let replay = |behind| {
                        let (said, right) = (said.clone(), right.clone());
                        Box::new(Replay { said, n_prompt, right, rng: Rng::new(2), behind })
                    };
                    let guesser = Guesser::of(how, env, loaded.pool())?.without_experience();
                    if guesser.is_free() {
                        let depth = env.settings.count("draft-tokens");
                        let mut speculation = Speculation::new(guessing::clock()).with_depth(depth);
                        speculation.take(spec::kind("lookup")?, replay(None), 0.0);
                        Some(speculation)
                    } else {
                        let speculation = guesser.speculation(&loaded, options, ctx, 1)?;
                        speculation.map(|all| all.wrapped(|_, drafter| replay(Some(drafter))))
                    }
                }
            };
            let speculation = speculation.ok_or_else(|| Failure::usage("--spec off: nothing to measure"))?;
            guessed.speculate(speculation);
            // A run that does not count: steps are measured, weights packed.
            generate(&mut guessed, &prompt, n_gen)?;
            let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            let mut tally = Tally::default();
            for rep in 0..n_reps {
                progress.show(format_args!("{n_threads} threads, {name}: {} of {n_reps}", rep + 1));
                let (plain_ts, _, _) = generate(&mut plain, &prompt, n_gen)?;
                let (ts, tokens, guesses) = generate(&mut guessed, &prompt, n_gen)?;
                if tokens != said[n_prompt..] {
                    return Err(Failure::failed("guesses changed the answer, expected the same tokens"));
                }
                tally.add(&guesses);
                with.push(ts);
                without.push(plain_ts);
                ratios.push(ts / plain_ts);
            }
            rows.push(row(&loaded, name, &mut guessed, &tally, [with, without, ratios], (depth, n_gen)));
        }
    }
    Ok(rows)
}

fn row(
    loaded: &Loaded,
    name: &str,
    guessed: &mut Session,
    tally: &Tally,
    measured: [Vec<f64>; 3],
    (n_depth, n_gen): (usize, usize),
) -> Row {
    let state = guessed.speculator().map(|speculator| speculator.state().clone()).unwrap_or_default();
    let guess_ns = state.sources.iter().find_map(|source| source.guess_ns.ok());
    let [avg_ts, plain_ts, ratio] = measured.map(median);
    let total = tally.total();
    Row {
        model_filename: loaded.file.name().to_owned(),
        spec: name.to_owned(),
        n_threads: loaded.n_threads(),
        n_depth,
        n_gen,
        avg_ts,
        plain_ts,
        ratio,
        drafted: total.n_drafted,
        accepted: total.n_accepted,
        drafters: guessing::json(tally)["drafters"].clone(),
        guess_cost: guess_ns.map(|ns| ns / state.costs.of(1)),
        step_costs: state.costs.factors().collect(),
    }
}

/// Tokens per second behind the first, the tokens, and what was guessed.
fn generate(session: &mut Session, prompt: &[u32], n: usize) -> Result<(f64, Vec<u32>, Tally), Failure> {
    let ending = session.loaded().tokenizer()?.ending().to_vec();
    let ban = |id| Bias { token: BiasToken::Id(id), bias: f32::NEG_INFINITY };
    let params = Params { logit_bias: ending.into_iter().map(ban).collect(), ..Params::GREEDY };
    session.truncate(0);
    let request = Request {
        prompt,
        params: &params,
        stop: &[],
        max_tokens: n,
        overflow: Overflow::Error,
        keep: 0,
        logprobs: None,
        constraint: None,
    };
    let (mut first, mut tokens) = (None, Vec::with_capacity(n));
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| {
        if let Event::Token(id) = event {
            first.get_or_insert_with(Instant::now);
            tokens.push(id);
        }
    })?;
    let time = first.map_or(f64::INFINITY, |first| first.elapsed().as_secs_f64());
    Ok((outcome.n_generated.saturating_sub(1) as f64 / time, tokens, outcome.guesses))
}

/// The kinds of work of a file of traces.
fn traces(file: &str) -> Result<Vec<(String, Option<Right>)>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| Failure::file(file, &e))?;
    let wrong =
        |why: String| Failure::failed(format!("{file}: {why}, expected traces as bench/README.md has them"));
    let traces: Traces = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let named = traces.kinds.iter().map(|kind| match kind.right() {
        Some(right) => Ok((kind.name.clone(), Some(right))),
        None => Err(wrong(format!("{:?} has other than as many digits of each sort", kind.name))),
    });
    named.collect()
}

/// Writes the rows as lines for people.
pub fn print(rows: &[Row]) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for row in rows {
        let name = row.model_filename.rsplit('/').next().unwrap_or_default();
        writeln!(
            out,
            "{name}, {} threads, tg{}, {}: {:.1} tokens/s, without {:.1}, {:.2} x; {} of {} guesses accepted",
            row.n_threads,
            row.n_gen,
            row.spec,
            row.avg_ts,
            row.plain_ts,
            row.ratio,
            row.accepted,
            row.drafted
        )?;
        let costs =
            row.step_costs.iter().map(|(n, cost)| format!("{n}: {cost:.2}")).collect::<Vec<_>>().join(", ");
        writeln!(out, "  a step of so many tokens, in steps of one: {costs}")?;
        if let Some(cost) = row.guess_cost {
            writeln!(out, "  a guess, in steps of one token: {cost:.3}")?;
        }
    }
    Ok(())
}
