//! Forms that begin behind a model's thoughts: what may come before them, however tokens are cut, and what is taken back.

mod demo;
mod jobs;
mod words;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_engine::constrain::{Constraint, Grammar, Vocabulary};
use ingle_engine::generate::{Event, Finish, Overflow, Request};
use ingle_engine::output::{Format, Reasoning, detect};
use ingle_engine::run::{Engine, EngineOptions};
use ingle_engine::sample::Params;
use ingle_engine::session::SessionOptions;
use ingle_model::token::Tokenizer;
use serde_json::json;

use jobs::{Said, job};

fn hermes() -> &'static Format {
    detect("<tool_call>")
}

/// The token that writes this or is called so.
fn id(tokenizer: &Tokenizer, word: &str) -> u32 {
    let is = |id: &u32| tokenizer.token_name(*id) == Some(word.as_bytes());
    (0..tokenizer.n_vocab() as u32).find(is).unwrap_or_else(|| panic!("no token {word:?}"))
}

struct Bench {
    tokenizer: Tokenizer,
    vocabulary: Arc<Vocabulary>,
}

impl Bench {
    fn new(words: &[&str], structure: &[&str]) -> Self {
        let tokenizer = words::tokenizer(words, structure);
        let vocabulary = Arc::new(Vocabulary::new(&tokenizer).unwrap());
        Self { tokenizer, vocabulary }
    }

    fn compile(&self, grammar: &Grammar) -> Constraint {
        self.vocabulary.compile(grammar).unwrap()
    }

    /// Accepts these words, each of which must be allowed.
    fn write(&self, constraint: &mut Constraint, words: &[&str]) {
        for word in words {
            assert!(self.allows(constraint, word), "{word:?} of {words:?}");
            constraint.accept(id(&self.tokenizer, word)).unwrap();
        }
    }

    fn allows(&self, constraint: &mut Constraint, word: &str) -> bool {
        words::allowed(&self.tokenizer, constraint).contains(&id(&self.tokenizer, word))
    }

    #[track_caller]
    fn check(&self, constraint: &mut Constraint, may: &[&str], may_not: &[&str]) {
        let allowed = words::allowed(&self.tokenizer, constraint);
        for (words, expected) in [(may, true), (may_not, false)] {
            for word in words {
                assert_eq!(allowed.contains(&id(&self.tokenizer, word)), expected, "{word:?}");
            }
        }
    }
}

#[test]
fn an_answer_thinks_or_begins_with_its_form() {
    let bench = Bench::new(&["</think>"], &["<think>"]);
    let fresh = bench.compile(&Grammar::JsonObject).after_thoughts(hermes(), None);
    let mut thinks = fresh.clone();
    bench.check(&mut thinks, &["<think>", "{"], &["\n", "a", "<", words::END, "</think>"]);
    bench.write(&mut thinks, &["<think>", "{", "\"", "a", "<think>", "1"]);
    assert!(thinks.is_thinking() && !thinks.may_end() && thinks.forced().is_empty());
    bench.check(&mut thinks, &["}", "</think>", "<"], &[words::END]);
    bench.write(&mut thinks, &["</think>"]);
    assert!(!thinks.is_thinking());
    bench.check(&mut thinks, &["{", "\n"], &["\u{c}", "<think>", "a", words::END]);
    bench.write(&mut thinks, &["\n"; 16]);
    bench.check(&mut thinks, &["{"], &["\n", "<think>", "a", words::END]);
    bench.write(&mut thinks, &["{"]);
    assert!(thinks.has_begun());
    bench.write(&mut thinks, &["}", words::END]);

    let mut begins = fresh;
    bench.write(&mut begins, &["{"]);
    bench.check(&mut begins, &["}", "\""], &["<think>"]);
    bench.write(&mut begins, &["}"]);
    assert!(begins.may_end());
}

#[test]
fn markers_may_be_cut_anywhere() {
    let words = ["<th", "ink>Hm", "ink></think>", "k>x", ">\n\n", ">{", ">=", "</think", "</think>{", "{\""];
    let bench = Bench::new(&words, &[]);
    let mut constraint = bench.compile(&Grammar::JsonObject).after_thoughts(hermes(), None);
    bench.check(&mut constraint, &["<", "<th", "{", "{\""], &["</think", ">", "ink>Hm", "t"]);
    bench.write(&mut constraint, &["<th"]);
    bench.check(&mut constraint, &["i", "ink>Hm"], &["a", "{", "ink></think>", words::END]);
    bench.write(&mut constraint, &["ink>Hm"]);
    assert!(constraint.is_thinking());
    // What would close thoughts and go on is masked only where it would.
    bench.check(&mut constraint, &[">{", ">=", ">\n\n", "</think"], &["</think>{", words::END]);
    bench.write(&mut constraint, &[">=", "</think", "x", "</think"]);
    bench.check(&mut constraint, &[">", ">\n\n", "a"], &[">{", ">="]);
    bench.write(&mut constraint, &[">\n\n", "{\"", "a"]);
    assert!(constraint.has_begun());

    // Another token that closes, in three pieces.
    let mut constraint =
        bench.compile(&Grammar::JsonObject).after_thoughts(hermes(), Some(&hermes().reasoning[0]));
    bench.write(&mut constraint, &["{", "<", "</think", "<", "/", "t", "h", "i", "n"]);
    bench.check(&mut constraint, &["k"], &["k>x"]);
    bench.write(&mut constraint, &["k", ">", "{", "}", words::END]);
}

#[test]
fn what_may_be_either_is_followed_as_both() {
    let bench = Bench::new(&[], &[]);
    let choices = Grammar::Choices(vec!["<thin".into(), "<b>".into()]);
    let fresh = bench.compile(&choices).after_thoughts(hermes(), None);
    let mut form = fresh.clone();
    bench.write(&mut form, &["<", "t", "h", "i", "n"]);
    assert!(form.may_end() && !form.has_begun());
    bench.check(&mut form, &["k", words::END], &["b"]);
    bench.write(&mut form, &[words::END]);
    let mut thinks = fresh.clone();
    bench.write(
        &mut thinks,
        &["<", "t", "h", "i", "n", "k", ">", "<", "/", "t", "h", "i", "n", "k", ">", "<"],
    );
    bench.check(&mut thinks, &["b", "t"], &["/"]);
    let mut other = fresh;
    bench.write(&mut other, &["<", "b"]);
    assert_eq!(other.forced(), b">");
    assert!(other.accept(id(&bench.tokenizer, "x")).is_err());
}

#[test]
fn openings_in_plain_words_are_not_waited_for() {
    let bench = Bench::new(&[], &[]);
    let granite = detect("<|start_of_role|><|tool_call|>");
    let mut constraint = bench.compile(&Grammar::JsonObject).after_thoughts(granite, None);
    bench.check(&mut constraint, &["{", "<"], &["H"]);
    let mut inside = bench.compile(&Grammar::JsonObject).after_thoughts(granite, Some(&granite.reasoning[1]));
    let close: Vec<String> = "so Here is my response:".chars().map(String::from).collect();
    bench.write(&mut inside, &close.iter().map(String::as_str).collect::<Vec<_>>());
    bench.check(&mut inside, &["{", " "], &["H"]);
}

#[test]
fn an_answer_in_channels_has_its_form_in_the_final_one() {
    let markers = ["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>"];
    let bench = Bench::new(&["analysis", "final", "assistant"], &markers);
    let harmony = detect("<|channel|><|message|>");
    let fresh = bench.compile(&Grammar::JsonObject).after_thoughts(harmony, None);
    let mut constraint = fresh.clone();
    bench.write(
        &mut constraint,
        &["<|channel|>", "analysis", "<|message|>", "{", "<|end|>", "<|start|>", "assistant"],
    );
    assert!(!constraint.may_end());
    bench.write(&mut constraint, &["<|channel|>", "final", "<|message|>"]);
    bench.check(&mut constraint, &["{"], &["a", "\n", "<|channel|>"]);
    let mut at_once = fresh;
    bench.write(&mut at_once, &["<|channel|>", "final", "<|message|>", "{", "}"]);
    assert!(at_once.may_end());
}

#[test]
fn what_was_taken_back_leaves_no_trace() {
    let bench = Bench::new(&["<th", "ink>", ">\n"], &[]);
    let choices = bench.compile(&Grammar::Choices(vec!["<thin".into(), "[1]".into()]));
    let object = bench.compile(&Grammar::JsonObject);
    let inside = Some(&hermes().reasoning[0]);
    let thought =
        ["<th", "ink>", "a", "<", "/", "t", "h", "i", "n", "k", ">\n", "\n", "[", "1", "]", words::END];
    let table: [(Constraint, &[&str]); 4] = [
        (choices.clone().after_thoughts(hermes(), None), &thought),
        (choices.after_thoughts(hermes(), None), &["<", "t", "h", "i", "n", words::END]),
        (object.clone().after_thoughts(hermes(), None), &["{", "\"", "a", "\"", ":", "1", "2", "}"]),
        (
            object.after_thoughts(hermes(), inside),
            &["\"", "<", "/", "t", "h", "i", "n", "k", ">", "{", "}", words::END],
        ),
    ];
    for (fresh, words) in &table {
        for n_back in 0..=words.len() {
            let (mut there_and_back, mut straight) = (fresh.clone(), fresh.clone());
            bench.write(&mut there_and_back, words);
            there_and_back.take_back(n_back).unwrap();
            let left = &words[..words.len() - n_back];
            bench.write(&mut straight, left);
            if left.last() != Some(&words::END) {
                let allowed = |constraint: &mut Constraint| words::allowed(&bench.tokenizer, constraint);
                assert_eq!(allowed(&mut there_and_back), allowed(&mut straight), "{left:?}");
            }
            assert_eq!(there_and_back.may_end(), straight.may_end(), "{left:?}");
            assert_eq!(there_and_back.has_begun(), straight.has_begun(), "{left:?}");
            if n_back > 0 {
                bench.write(&mut there_and_back, &words[words.len() - n_back..]);
            }
        }
        assert!(fresh.clone().take_back(1).is_err());
    }
}

#[test]
fn thoughts_that_begin_alike_end_each_in_their_way() {
    static SHORT: Reasoning = Reasoning { open: "<think>", close: "." };
    let long = &hermes().reasoning[0];
    assert_eq!(long.open, SHORT.open);
    let bench = Bench::new(&["</think>"], &[]);
    let form = bench.compile(&Grammar::JsonObject);
    // Twice, as what a vocabulary was looked through for is kept.
    for _ in 0..2 {
        for (reasoning, close, other) in [(long, "</think>", "."), (&SHORT, ".", "</think>")] {
            let mut constraint = form.clone().after_thoughts(hermes(), Some(reasoning));
            bench.write(&mut constraint, &["a", other]);
            assert!(constraint.is_thinking(), "{other:?}");
            bench.write(&mut constraint, &[close]);
            assert!(!constraint.is_thinking(), "{close:?}");
            bench.check(&mut constraint, &["{", "\n"], &["a", other]);
        }
    }
}

/// Thoughts that the demo model ends soon: with a sentence.
static SENTENCE: Reasoning = Reasoning { open: "(", close: "." };

#[test]
fn many_answers_think_each_for_itself() {
    let loaded = demo::load(None, 2);
    let schema = json!({ "type": "object", "required": ["n", "s"], "additionalProperties": false,
        "properties": { "n": { "type": "integer", "maximum": 9999 }, "s": { "type": "string", "maxLength": 8 } } });
    let form = loaded.constraint(&Grammar::JsonSchema(schema.to_string())).unwrap();
    let form = form.after_thoughts(hermes(), Some(&SENTENCE));
    let prompt = demo::encode(&loaded, "Once upon a time there was");
    let session = SessionOptions { ctx: Some(512), kv: "f16", chunk: Some(64) };
    let engine = Engine::new(
        loaded.clone(),
        &EngineOptions { session, n_lanes: 4, queue_max: 100, prefix_bytes: None, kv_dir: None, clock: None },
    )
    .unwrap();
    let params = |seed| Params { temperature: 1.0, seed, ..Params::GREEDY };
    let said: Vec<_> = (0..8)
        .map(|seed| {
            let (mut job, said) = job(&prompt, &params(seed), 400);
            job.stop.clear();
            (job.constraint, job.overflow, job.keep) = (Some(form.clone()), Overflow::Error, 0);
            engine.submit(job).unwrap();
            said
        })
        .collect();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut lengths = Vec::new();
    for (seed, said) in said.iter().enumerate() {
        let Said { text, outcome } = said.recv().unwrap();
        let outcome = outcome.unwrap();
        let params = params(seed as u64);
        let request = Request {
            prompt: &prompt,
            params: &params,
            stop: &[],
            max_tokens: 400,
            overflow: Overflow::Error,
            keep: 0,
            logprobs: None,
            constraint: Some(&form),
        };
        let mut alone = String::new();
        let mut session = demo::session(&loaded, 512, "f16", 64);
        let on = |event: Event<'_>| {
            if let Event::Text(piece) = event {
                alone.push_str(piece);
            }
        };
        session.generate(&request, &AtomicBool::new(false), on).unwrap();
        assert_eq!(text, alone);
        assert_eq!(outcome.finish, Finish::EndOfText, "{text}");
        let (thoughts, form) = text.split_once('.').unwrap();
        assert!(validator.is_valid(&serde_json::from_str(form).unwrap()), "{text}");
        lengths.push(thoughts.len());
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 2, "they thought of different things");
}
