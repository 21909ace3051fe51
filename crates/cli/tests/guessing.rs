//! Guesses over many prompts and many draws: greedy answers are those without guesses, token for token; drawn ones are distributed like
//! those without.
//!
//! Slow suites: `cargo test --release -p ingle-cli --test guessing -- --ignored`. The stories model is beside the
//! repository; where it is not, the demo model's part runs alone and says so.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use ingle_engine::Result;
use ingle_engine::clock::Clock;
use ingle_engine::generate::{Event, Outcome, Overflow, Request};
use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::run::{Engine, EngineOptions, Job, Sink};
use ingle_engine::sample::Params;
use ingle_engine::session::{Session, SessionOptions};
use ingle_engine::spec::{self, Plan, Speculation};
use ingle_kernel::bytes::Bytes;
use ingle_model::token::Parse;

const CTX: usize = 192;

fn loaded(file: ModelFile, pool_of: Option<&Loaded>) -> Arc<Loaded> {
    let options = LoadOptions { tier: None, n_threads: 1, pack: Pack::Auto };
    let loaded = match pool_of {
        Some(other) => Loaded::load_on(other.pool().clone(), file, &options),
        None => Loaded::load(file, &options),
    };
    Arc::new(loaded.unwrap())
}

fn demo() -> Arc<Loaded> {
    loaded(ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).unwrap(), None)
}

/// The demo model in q2_K.
fn small_demo(of: &Loaded) -> Arc<Loaded> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo-f16.gguf");
    let dir = std::env::temp_dir().join(format!("ingle-guessing-{}-{:p}", std::process::id(), of));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("demo-q2k.gguf");
    let made =
        Command::new(env!("CARGO_BIN_EXE_ingle")).arg("quantize").arg(source).arg(&path).arg("q2_k").status();
    assert!(made.unwrap().success());
    let small = loaded(ModelFile::open(&path).unwrap(), Some(of));
    std::fs::remove_dir_all(&dir).unwrap();
    small
}

fn stories() -> Option<Arc<Loaded>> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/stories260K.gguf");
    if !path.exists() {
        eprintln!("{}: not there, its part does not run", path.display());
        return None;
    }
    Some(loaded(ModelFile::open(&path).unwrap(), None))
}

fn options() -> SessionOptions<'static> {
    SessionOptions { ctx: Some(CTX), kv: "f16", chunk: Some(64) }
}

/// A way to guess: which kind, a model or a number of layers for it, guesses in a row and beside it, or none for a plan.
struct Way<'a> {
    kind: &'static str,
    draft: Option<&'a Arc<Loaded>>,
    n_layers: Option<usize>,
    shape: Option<(usize, usize)>,
}

impl Way<'_> {
    fn speculation(&self, target: &Arc<Loaded>, n_lanes: usize) -> Speculation {
        let start = Instant::now();
        let speculation = Speculation::new(Clock::new(move || start.elapsed()));
        let mut speculation = match self.shape {
            Some((n, n_others)) => speculation.with_shape(n, n_others),
            None => speculation,
        };
        let (draft, n_layers) = (self.draft, self.n_layers);
        let plan = Plan { target, draft, n_layers, n_lanes, ctx: CTX, session: options(), words: None };
        speculation.add(spec::kind(self.kind).unwrap(), &plan).unwrap();
        speculation
    }
}

fn encode(loaded: &Loaded, text: &str) -> Vec<u32> {
    let tokenizer = loaded.tokenizer().unwrap();
    let mut ids = tokenizer.before().to_vec();
    tokenizer.encode(text, Parse::Special, &mut ids).unwrap();
    ids
}

/// The tokens of an answer in a session.
fn answer(session: &mut Session, prompt: &[u32], params: &Params, max_tokens: usize) -> (Vec<u32>, Outcome) {
    let request = Request {
        prompt,
        params,
        stop: &[],
        max_tokens,
        overflow: Overflow::Error,
        keep: 0,
        logprobs: None,
        constraint: None,
    };
    let mut tokens = Vec::new();
    let outcome = session.generate(&request, &AtomicBool::new(false), |event| {
        if let Event::Token(id) = event {
            tokens.push(id);
        }
    });
    (tokens, outcome.unwrap())
}

/// Collects the tokens of an answer.
struct Collect {
    tokens: Vec<u32>,
    to: Sender<(Vec<u32>, Outcome)>,
}

impl Sink for Collect {
    fn ready(&self) -> bool {
        true
    }

    fn on(&mut self, event: Event<'_>) {
        if let Event::Token(id) = event {
            self.tokens.push(id);
        }
    }

    fn end(self: Box<Self>, outcome: Result<Outcome>) {
        self.to.send((self.tokens, outcome.unwrap())).unwrap();
    }
}

fn submit(engine: &Engine, prompt: &[u32], max_tokens: usize) -> Receiver<(Vec<u32>, Outcome)> {
    let (to, said) = channel();
    let job = Job {
        prompt: prompt.to_vec(),
        params: Params::GREEDY,
        stop: Vec::new(),
        max_tokens,
        logprobs: None,
        constraint: None,
        shown: Arc::default(),
        overflow: Overflow::Error,
        keep: 0,
        cancel: Arc::default(),
        sink: Box::new(Collect { tokens: Vec::new(), to }),
    };
    engine.submit(job).unwrap();
    said
}

/// Two hundred prompts, some of which repeat themselves.
fn prompts() -> Vec<String> {
    let who =
        ["Lily", "Tom", "the dog", "a bird", "Ben and Mia", "an old man", "the cat", "Sam", "a frog", "Mum"];
    let how = [
        "Once upon a time there was {}. One day {}",
        "{} went to the park.",
        "{} said: I like it, I like it, I like",
        "Tell me about {}.",
        "In the morning {} was sad. In the morning {} was",
        "{}",
        "There was a big box. In the box sat {}. There was a big",
        "Why does {} sing?",
        "\"No,\" said {}. \"No,\" said {}.",
        "It was dark, and {} could not sleep, and",
        "One, two, three, one, two, three, {} counts one, two",
        "The end. {} and the moon",
        "{} saw a red ball. It was a red ball. {}",
        "Name: {}\nColour: red\nName: {}\nColour:",
        "Every day {} and {} played",
        "a {} b {} c {} d",
        "Look! There is {}!",
        "{}, {}, {} and",
        "Yesterday {} lost a shoe.",
        "Be kind to {}, because",
    ];
    how.iter().flat_map(|how| who.iter().map(move |who| how.replace("{}", who))).collect()
}

#[test]
#[ignore = "a slow suite: 200 prompts with every drafter"]
fn greedy_answers_of_200_prompts_are_the_same_whoever_guesses() {
    const N_TOKENS: usize = 48;
    let demo = demo();
    let small = small_demo(&demo);
    let mut models = vec![(demo, small.clone())];
    models.extend(stories().map(|stories| (stories.clone(), stories)));
    let mut n_accepted = 0;
    for (target, draft) in &models {
        let prompts: Vec<Vec<u32>> = prompts().iter().map(|text| encode(target, text)).collect();
        assert_eq!(prompts.len(), 200);
        let mut session = Session::new(target.clone(), &options()).unwrap();
        let plain: Vec<_> =
            prompts.iter().map(|prompt| answer(&mut session, prompt, &Params::GREEDY, N_TOKENS).0).collect();
        let way = |kind, draft, n_layers, shape| Way { kind, draft, n_layers, shape };
        let ways = [
            way("lookup", None, None, Some((8, 0))),
            way("lookup", None, None, None),
            way("draft", Some(draft), None, Some((4, 0))),
            way("draft", Some(draft), None, Some((5, 5))),
            way("draft", Some(draft), None, None),
            way("exit", None, Some(2), Some((3, 2))),
            way("exit", None, Some(2), None),
        ];
        for way in ways {
            let name = (target.file.name(), way.kind, way.shape);
            let mut guessing = Session::new(target.clone(), &options()).unwrap();
            guessing.speculate(way.speculation(target, 1));
            for (prompt, plain) in prompts.iter().zip(&plain) {
                let (tokens, outcome) = answer(&mut guessing, prompt, &Params::GREEDY, N_TOKENS);
                assert_eq!(&tokens, plain, "{name:?}");
                n_accepted += outcome.guesses.total().n_accepted;
            }
            let lanes = EngineOptions {
                session: options(),
                n_lanes: 4,
                queue_max: 200,
                prefix_bytes: Some(1 << 20),
                kv_dir: None,
                clock: None,
            };
            let engine = Engine::guessing(target.clone(), &lanes, Some(way.speculation(target, 4))).unwrap();
            let said: Vec<_> = prompts.iter().map(|prompt| submit(&engine, prompt, N_TOKENS)).collect();
            for (said, plain) in said.into_iter().zip(&plain) {
                assert_eq!(&said.recv().unwrap().0, plain, "{name:?} in 4 lanes");
            }
        }
    }
    assert!(n_accepted > 10_000, "{n_accepted}");
}

/// How often each continuation of `n_tokens` came in `n` draws.
fn counts(
    session: &mut Session,
    prompt: &[u32],
    seeds: std::ops::Range<u64>,
    n_tokens: usize,
) -> HashMap<Vec<u32>, u32> {
    let mut counts = HashMap::new();
    for seed in seeds {
        let params = Params { temperature: 1.0, seed, ..Params::GREEDY };
        let (tokens, _) = answer(session, prompt, &params, n_tokens);
        *counts.entry(tokens).or_insert(0) += 1;
    }
    counts
}

/// The chance that two samples of one distribution differ as these do: chi-square, rare continuations together, by Wilson and Hilferty's cube root.
fn p_value(a: &HashMap<Vec<u32>, u32>, b: &HashMap<Vec<u32>, u32>) -> f64 {
    let mut cells: Vec<(f64, f64)> = Vec::new();
    let mut rare = (0.0, 0.0);
    let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let cell = (f64::from(*a.get(key).unwrap_or(&0)), f64::from(*b.get(key).unwrap_or(&0)));
        if cell.0 + cell.1 >= 20.0 { cells.push(cell) } else { rare = (rare.0 + cell.0, rare.1 + cell.1) }
    }
    cells.push(rare);
    assert!(cells.len() > 20, "{} kinds of continuations", cells.len());
    // Both samples have the same size.
    let chi: f64 = cells.iter().filter(|(a, b)| a + b > 0.0).map(|(a, b)| (a - b) * (a - b) / (a + b)).sum();
    let k = (cells.len() - 1) as f64;
    let z = ((chi / k).cbrt() - (1.0 - 2.0 / (9.0 * k))) / (2.0 / (9.0 * k)).sqrt();
    // The normal distribution's tail (Abramowitz and Stegun 26.2.17).
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t
        * (0.319_381_53
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly;
    if z > 0.0 { tail } else { 1.0 - tail }
}

#[test]
#[ignore = "a slow suite: 20,000 draws with each of several drafters"]
fn drawn_answers_are_distributed_as_without_guesses() {
    const N: u64 = 20_000;
    let demo = demo();
    let small = small_demo(&demo);
    let way = |kind, draft, n_layers, shape| Way { kind, draft, n_layers, shape: Some(shape) };
    let mut cases = vec![(
        demo.clone(),
        "The dog",
        vec![way("draft", Some(&small), None, (3, 0)), way("draft", Some(&small), None, (3, 3))],
    )];
    if let Some(stories) = stories() {
        let ways = vec![way("exit", None, Some(2), (3, 0)), way("exit", None, Some(2), (3, 3))];
        cases.push((stories, "The", ways));
    }
    for (target, prompt, ways) in cases {
        let prompt = encode(&target, prompt);
        let mut session = Session::new(target.clone(), &options()).unwrap();
        let plain = counts(&mut session, &prompt, 0..N, 4);
        for way in ways {
            let mut guessing = Session::new(target.clone(), &options()).unwrap();
            guessing.speculate(way.speculation(&target, 1));
            // Other seeds: with the same ones the answers are the same, one by one.
            let guessed = counts(&mut guessing, &prompt, N..2 * N, 4);
            let p = p_value(&plain, &guessed);
            println!("{} {} {:?}: p = {p:.3}", target.file.name(), way.kind, way.shape);
            assert!(p > 0.01, "{} {:?}: p = {p}", way.kind, way.shape);
            let again = counts(&mut guessing, &prompt, 0..N / 10, 4);
            assert_eq!(again, counts(&mut session, &prompt, 0..N / 10, 4));
        }
        // The test sees a difference where there is one.
        let params = |seed| Params { temperature: 0.9, seed, ..Params::GREEDY };
        let mut other = HashMap::new();
        for seed in N..2 * N {
            *other.entry(answer(&mut session, &prompt, &params(seed), 4).0).or_insert(0) += 1;
        }
        assert!(p_value(&plain, &other) < 1e-6);
    }
}
