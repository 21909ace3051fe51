//! How often the drafters without a model guess right, and what a guess costs.
//!
//! `cargo run --release -p ingle-engine --example lookup -- DATA [VOCABULARY.gguf] [--traces FILE]`, where DATA holds the folders `text` and
//! `json` (see `tasks.rs`). The answer of each task is known, so it is replayed: at each step up to eight tokens are guessed, and as many are
//! accepted as are the answer's, and one more. Without a vocabulary the built-in model's is used.
//!
//! `--traces` writes, for the first tasks of each kind, what a step would accept at every token of the answer, one digit each, and
//! the class of its ground: a step of any depth `d` at token `p` accepts the smaller of `d` and the digit, and the next is that much further.

mod store;
mod tasks;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ingle_demo::Rng;
use ingle_engine::model_file::ModelFile;
use ingle_engine::spec::lookup::{CLASSES, Lookup};
use ingle_kernel::bytes::Bytes;
use ingle_model::token::{Parse, Tokenizer};
use serde_json::{Value as Json, json};

/// Tokens that are guessed at a step.
const N_GUESS: usize = 8;
/// Steps that are timed in long texts.
const N_STEPS: usize = 1000;
/// Tasks of a kind that are written as traces.
const TRACES_MAX: usize = 10;

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let traces = args.iter().position(|arg| arg == "--traces").map(|at| args.drain(at..).nth(1));
    let data = PathBuf::from(args.first().context("the folder of data is missing")?);
    let (name, tokenizer) = match args.get(1).map(Path::new) {
        None => ("demo", ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF))?.tokenizer()?),
        Some(path) => (
            path.file_stem().and_then(|name| name.to_str()).unwrap_or(""),
            ModelFile::open(path)?.tokenizer()?,
        ),
    };
    println!("vocabulary {name}, {} tokens; {N_GUESS} tokens are guessed at a step\n", tokenizer.n_vocab());

    println!(
        "{:34} {:>6} {:>6} {:>6} {:>9} {:>9} {:>9} {:>6}",
        "lookup", "tasks", "prompt", "answer", "accepted", "guessed", "no guess", "us"
    );
    let mut classes = [("copies", [Sum::default(); CLASSES.len()]), ("free text", Default::default())];
    let mut written = Vec::new();
    for group in tasks::groups(&data)? {
        let tasks: Vec<Replay> =
            group.tasks.iter().map(|task| Replay::new(&tokenizer, task)).collect::<Result<_>>()?;
        let mut sums = [Sum::default(); CLASSES.len()];
        tasks.iter().for_each(|task| task.replay(&mut sums));
        let all = sums.iter().fold(Sum::default(), |a, b| a.and(b));
        let mean = |n: fn(&Replay) -> usize| tasks.iter().map(n).sum::<usize>() / tasks.len();
        println!(
            "{:34} {:6} {:6} {:6} {:9.2} {:9.2} {:8.0}% {:6.2}",
            group.name,
            tasks.len(),
            mean(|task| task.n_prompt),
            mean(|task| task.tokens.len() - task.n_prompt),
            all.per_step(all.n_accepted),
            all.per_step(all.n_guessed),
            100.0 * all.per_step(sums[0].n_steps),
            all.per_step(1) * all.time.as_secs_f64() * 1e6,
        );
        let free = usize::from(group.name.starts_with("free"));
        classes[free].1.iter_mut().zip(&sums).for_each(|(class, sum)| *class = class.and(sum));
        written.push(json!({
            "name": group.name,
            "tasks": tasks.iter().take(TRACES_MAX).map(Replay::trace).collect::<Vec<_>>(),
        }));
    }
    for (text, sums) in &classes {
        println!("\n{:34} {:>9} {:>9} {:>9} {:>9}", text, "steps", "accepted", "guessed", "first");
        for (class, sum) in CLASSES.iter().zip(sums).filter(|(_, sum)| sum.n_steps > 0) {
            let (accepted, guessed) = (sum.per_step(sum.n_accepted), sum.per_step(sum.n_guessed));
            let first = 100.0 * sum.per_step(sum.n_first);
            println!("{class:34} {:9} {accepted:9.2} {guessed:9.2} {first:8.0}%", sum.n_steps);
        }
    }
    costs(&data, &tokenizer)?;
    store::measure(&data, &tokenizer)?;
    if let Some(path) = traces {
        let path = path.context("--traces needs a file")?;
        let about = "accepted: of 8 tokens that lookup guesses before each token of the answer but the first, which is known, \
                     so many lead it; class: what the guess rests on";
        let traces = json!({"vocabulary": name, "about": about, "classes": CLASSES, "kinds": written});
        std::fs::write(&path, format!("{traces:#}\n")).with_context(|| path.clone())?;
    }
    Ok(())
}

/// Ids of a text that is nothing but text.
fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    tokenizer.encode(text, Parse::Text, &mut ids)?;
    Ok(ids)
}

/// What steps came to.
#[derive(Clone, Copy, Default)]
struct Sum {
    n_steps: usize,
    n_guessed: usize,
    n_accepted: usize,
    /// Steps whose first guess was right.
    n_first: usize,
    time: Duration,
}

impl Sum {
    /// Counts a step that guessed `guess` where `rest` came; how many tokens it accepted.
    fn step(&mut self, guess: &[u32], rest: &[u32], time: Duration) -> usize {
        let n = accepted(guess, rest);
        self.n_steps += 1;
        self.n_guessed += guess.len().min(rest.len());
        self.n_accepted += n;
        self.n_first += usize::from(n > 0);
        self.time += time;
        n
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            n_steps: self.n_steps + other.n_steps,
            n_guessed: self.n_guessed + other.n_guessed,
            n_accepted: self.n_accepted + other.n_accepted,
            n_first: self.n_first + other.n_first,
            time: self.time + other.time,
        }
    }

    fn per_step(&self, n: usize) -> f64 {
        n as f64 / self.n_steps.max(1) as f64
    }
}

fn accepted(guess: &[u32], rest: &[u32]) -> usize {
    guess.iter().zip(rest).take_while(|(a, b)| a == b).count()
}

/// A task as tokens.
struct Replay {
    n_prompt: usize,
    /// The prompt and the answer.
    tokens: Vec<u32>,
}

impl Replay {
    fn new(tokenizer: &Tokenizer, task: &tasks::Task) -> Result<Self> {
        let mut tokens = encode(tokenizer, &task.prompt)?;
        let n_prompt = tokens.len();
        tokens.extend(encode(tokenizer, &task.answer)?);
        Ok(Self { n_prompt, tokens })
    }

    /// Adds the steps of the answer to their classes.
    fn replay(&self, sums: &mut [Sum; CLASSES.len()]) {
        let mut lookup = Lookup::new(self.tokens.len());
        lookup.follow(&self.tokens[..self.n_prompt]);
        let mut out = Vec::with_capacity(N_GUESS);
        let mut at = self.n_prompt;
        while at + 1 < self.tokens.len() {
            // What the model has seen, and the token that it gave.
            let (seen, given) = (&self.tokens[..at], &self.tokens[at..=at]);
            out.clear();
            let start = Instant::now();
            lookup.follow(seen);
            let ground = lookup.guess(given, N_GUESS, &mut out);
            let time = start.elapsed();
            at += 1 + sums[ground.class()].step(&out, &self.tokens[at + 1..], time);
        }
    }

    /// What a step at each token would accept, and why.
    fn trace(&self) -> Json {
        let mut lookup = Lookup::new(self.tokens.len());
        let (mut digits, mut classes) = (String::new(), String::new());
        let mut out = Vec::new();
        for at in self.n_prompt..self.tokens.len().saturating_sub(1) {
            out.clear();
            lookup.follow(&self.tokens[..=at]);
            let ground = lookup.guess(&[], N_GUESS, &mut out);
            digits += &accepted(&out, &self.tokens[at + 1..]).to_string();
            classes += &ground.class().to_string();
        }
        json!({"prompt_tokens": self.n_prompt, "accepted": digits, "class": classes})
    }
}

/// What it costs to follow and to guess: in a play, in a loop, and where every pair has been there countless times and no match is long.
fn costs(data: &Path, tokenizer: &Tokenizer) -> Result<()> {
    println!(
        "\n{:16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "lookup in", "KB", "new ns", "back ns", "follow us", "guess us", "99 % us"
    );
    let path = data.join("text/tinyshakespeare.txt");
    let play =
        encode(tokenizer, &std::fs::read_to_string(&path).with_context(|| path.display().to_string())?)?;
    let loops = (0..150_000).map(|i| [1, 2, 1, 2, 1, 3][i % 6]).collect();
    let mut rng = Rng::new(1);
    let coins = (0..150_000).map(|_| rng.below(2) as u32).collect();
    for (name, text) in [("a play", play), ("a loop", loops), ("coin tosses", coins)] {
        for n in [2_000, 8_000, 32_000, 128_000] {
            let mut lookup = Lookup::new(n + N_STEPS);
            let start = Instant::now();
            lookup.follow(&text[..n]);
            let new = start.elapsed();
            let start = Instant::now();
            lookup.truncate(n / 2);
            let back = start.elapsed();
            lookup.follow(&text[..n]);
            let mut follow = Duration::ZERO;
            let mut guesses = Vec::with_capacity(N_STEPS);
            let mut out = Vec::with_capacity(N_GUESS);
            for at in n..n + N_STEPS {
                out.clear();
                let start = Instant::now();
                lookup.follow(&text[..at]);
                follow += start.elapsed();
                let start = Instant::now();
                lookup.guess(&text[at..=at], N_GUESS, &mut out);
                guesses.push(start.elapsed().as_secs_f64() * 1e6);
            }
            guesses.sort_by(f64::total_cmp);
            println!(
                "{:16} {:10} {:10.1} {:10.1} {:10.2} {:10.2} {:10.2}",
                format!("{name}, {n}"),
                Lookup::n_bytes(n) / 1000,
                new.as_secs_f64() * 1e9 / n as f64,
                back.as_secs_f64() * 2e9 / n as f64,
                follow.as_secs_f64() * 1e6 / N_STEPS as f64,
                guesses.iter().sum::<f64>() / N_STEPS as f64,
                guesses[N_STEPS * 99 / 100],
            );
        }
    }
    Ok(())
}
