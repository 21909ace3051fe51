//! RouteLLM's numbers, computed anew from its labels, and the prompt score held against its bars.

mod labels;

use std::collections::HashSet;

use ingle_route::quality::Curve;
use ingle_route::score::fit::Row;
use ingle_route::score::{ROUTELLM, Scorer};
use labels::crossing::{FOLDS, crossed, fit_choosing, hash, rows};
use labels::{Question, labels, questions};

/// What RouteLLM's labels say, decontaminated.
struct Known {
    name: &'static str,
    n: usize,
    n_subjects: usize,
    strong: f64,
    weak: f64,
    oracle_apgr: f64,
    cpt_50: f64,
    cpt_80: f64,
    /// The least APGR of the prompt score under five-fold cross-validation.
    bar: f64,
}

static KNOWN: &[Known] = &[
    Known {
        name: "gsm8k",
        n: 1_307,
        n_subjects: 1,
        strong: 85.77,
        weak: 63.73,
        oracle_apgr: 1.120,
        cpt_50: 11.0,
        cpt_80: 17.7,
        bar: 0.61,
    },
    // The half of MMLU that is beside the repository: 28 of 57 subjects.
    Known {
        name: "mmlu",
        n: 6_382,
        n_subjects: 28,
        strong: 77.53,
        weak: 65.42,
        oracle_apgr: 1.369,
        cpt_50: 6.1,
        cpt_80: 9.7,
        bar: 0.69,
    },
];

#[test]
fn the_labels_give_the_published_numbers() {
    for known in KNOWN {
        let Some(questions) = questions(known.name) else { return };
        let labels = labels(&questions);
        let oracle = Curve::oracle(&labels);
        assert_eq!(labels.len(), known.n);
        let subjects: HashSet<&str> = questions.iter().map(|q| q.subject.as_str()).collect();
        assert_eq!(subjects.len(), known.n_subjects);
        let near = |found: f64, expected: f64, tolerance: f64, what: &str| {
            assert!(
                (found - expected).abs() <= tolerance,
                "{} {what}: {found}, expected {expected}",
                known.name
            );
        };
        near(100.0 * oracle.strong(), known.strong, 0.005, "strong");
        near(100.0 * oracle.weak(), known.weak, 0.005, "weak");
        // The area was published on a grid, and cut rather than rounded.
        near(oracle.apgr(), known.oracle_apgr, 0.001, "oracle APGR");
        // One question more or less, and what rounding took.
        let question = 0.05 + 100.0 / known.n as f64;
        near(100.0 * oracle.cpt(0.5), known.cpt_50, question, "oracle CPT50");
        near(100.0 * oracle.cpt(0.8), known.cpt_80, question, "oracle CPT80");
        near(Curve::random(&labels).apgr(), 0.5, 1e-9, "random APGR");
        // Not only the mean of all orders: an order that knows nothing.
        let guesses: Vec<f64> = questions.iter().map(|q| hash(&q.prompt, 7) as f64).collect();
        near(Curve::new(&guesses, &labels).apgr(), 0.5, 0.05, "APGR of a guess");
    }
}

#[test]
fn the_prompt_score_clears_its_bars_on_unseen_questions() {
    for known in KNOWN {
        let Some(questions) = questions(known.name) else { return };
        let fold: Vec<usize> =
            questions.iter().map(|q| (hash(&q.prompt, 0) % FOLDS as u64) as usize).collect();
        let apgr = Curve::new(&crossed(&rows(&questions), &fold), &labels(&questions)).apgr();
        eprintln!("{}: APGR {apgr:.3}, at least {}", known.name, known.bar);
        assert!(apgr >= known.bar, "{}: {apgr}", known.name);
    }
}

#[test]
fn the_built_in_weights_are_those_that_the_labels_give() {
    let (Some(gsm8k), Some(mmlu)) = (questions("gsm8k"), questions("mmlu")) else { return };
    let all: Vec<Question> = gsm8k.into_iter().chain(mmlu).collect();
    let rows = rows(&all);
    let built_in = Scorer::parse(ROUTELLM).unwrap();
    let again = fit_choosing(&rows.iter().collect::<Vec<&Row>>(), &built_in.origin);
    // Another system's logarithm may differ in its last bit, which may move a byte by one.
    let far = built_in.buckets.iter().zip(&again.buckets).filter(|(a, b)| a.abs_diff(**b) > 1).count();
    assert_eq!(far, 0);
    assert!(
        (built_in.scale - again.scale).abs() < 1e-5 && (built_in.intercept - again.intercept).abs() < 1e-6
    );
}
