//! `ingle bench --spec HOW`: generation with guesses against generation without, turn about in one run.
//!
//! The prompt is random tokens, answers are greedy and nothing ends them, so both sides write the same tokens. With `--spec-accept` the
//! guesses are those tokens, right with the chance that is given: what guesses of that quality would bring on this machine if they cost nothing.
//! With `--spec-trace` they are right as often as a file of recorded steps says.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::{Arg, ArgMatches};
use ingle_engine::generate::{Event, Overflow, Request};
use ingle_engine::model_file::Loaded;
use ingle_engine::sample::{Bias, BiasToken, Params, Rng};
use ingle_engine::session::{Session, SessionOptions};
use ingle_engine::spec::{self, Ask, Drafter, Speculation, Tally, Target};
use serde::Serialize;
use serde_json::Value as Json;

use crate::env::{Env, Progress};
use crate::exit::Failure;
use crate::{guessing, load};

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
    let accept = "With --spec: guesses that cost nothing and are right with this chance, such as 0.8";
    [
        Arg::new("spec")
            .long("spec")
            .value_name("HOW")
            .value_parser(guessing::check)
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
            .help("With --spec: guesses that cost nothing, so many of which are right at each step as this JSON array of numbers says"),
    ]
}

/// How often guesses are right that are not a drafter's.
#[derive(Debug, Clone)]
enum Right {
    Chance(f64),
    Steps(Vec<usize>),
}

/// Knows what will be said, and says it as often as it is told to.
#[derive(Debug)]
struct Replay {
    said: Arc<Vec<u32>>,
    right: Right,
    rng: Rng,
    n_steps: usize,
}

impl Drafter for Replay {
    fn draft(&mut self, target: &Target<'_>, asks: &mut [Ask<'_>]) -> ingle_engine::Result<()> {
        let vocab = target.loaded.model.config.vocab as u32;
        for ask in asks {
            let n_right = match &self.right {
                Right::Chance(chance) => {
                    let limit = (chance * f64::from(u32::MAX)) as u64;
                    (0..ask.n).take_while(|_| self.rng.below(1 << 32) <= limit).count()
                }
                Right::Steps(steps) => steps[self.n_steps % steps.len()],
            };
            self.n_steps += 1;
            let rest = self.said.get(ask.tokens.len()..).unwrap_or_default();
            for (i, &id) in rest.iter().take(ask.n).enumerate() {
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
    let right = match (matches.get_one::<f64>("spec-accept"), matches.get_one::<String>("spec-trace")) {
        (Some(&chance), _) => Some(Right::Chance(chance)),
        (_, Some(file)) => Some(Right::Steps(steps(file)?)),
        _ => None,
    };
    let how = matches.get_one::<String>("spec").expect("it is measured");
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
        let mut guessed = Session::new(loaded.clone(), &options)?;
        let speculation = match &right {
            None => guessing::by(how, &loaded, env, options, ctx, 1)?,
            Some(right) => {
                let depth = env.settings.count("draft-tokens");
                let mut speculation = Speculation::new(guessing::clock()).with_depth(depth);
                let (said, right) = (Arc::new(said.clone()), right.clone());
                let replay = Replay { said, right, rng: Rng::new(2), n_steps: 0 };
                speculation.take(spec::kind("lookup")?, Box::new(replay), 0.0);
                Some(speculation)
            }
        };
        let speculation = speculation.ok_or_else(|| Failure::usage("--spec off: nothing to measure"))?;
        guessed.speculate(speculation);
        // A run that does not count: steps are measured, weights packed.
        generate(&mut guessed, &prompt, n_gen)?;
        let (mut with, mut without, mut ratios, mut tally) =
            (Vec::new(), Vec::new(), Vec::new(), Tally::default());
        for rep in 0..n_reps {
            progress.show(format_args!("{n_threads} threads: {} of {n_reps}", rep + 1));
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
        rows.push(row(&loaded, matches, &mut guessed, &tally, [with, without, ratios], (depth, n_gen)));
    }
    Ok(rows)
}

fn row(
    loaded: &Loaded,
    matches: &ArgMatches,
    guessed: &mut Session,
    tally: &Tally,
    measured: [Vec<f64>; 3],
    (n_depth, n_gen): (usize, usize),
) -> Row {
    let state = guessed.speculator().map(|speculator| speculator.state().clone()).unwrap_or_default();
    let guess_ns = state.sources.iter().find_map(|source| source.guess_ns.ok());
    let [avg_ts, plain_ts, ratio] = measured.map(median);
    let total = tally.total();
    let how = matches.get_one::<String>("spec");
    let accept =
        matches.get_one::<f64>("spec-accept").map(|chance| format!("right with a chance of {chance}"));
    let trace = matches.get_one::<String>("spec-trace").map(|file| format!("right as in {file}"));
    Row {
        model_filename: loaded.file.name().to_owned(),
        spec: accept.or(trace).or(how.cloned()).unwrap_or_default(),
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

/// The numbers of a trace.
fn steps(file: &str) -> Result<Vec<usize>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| Failure::file(file, &e))?;
    let wrong = || Failure::failed(format!("{file}: expected a JSON array of whole numbers, at least one"));
    let steps: Vec<usize> = serde_json::from_str(&text).map_err(|_| wrong())?;
    if steps.is_empty() { Err(wrong()) } else { Ok(steps) }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    let (low, high) = (of[(of.len() - 1) / 2], of[of.len() / 2]);
    (low + high) / 2.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
