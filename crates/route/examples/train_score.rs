//! Trains and judges a prompt score on RouteLLM's labels (Apache-2.0), in seconds:
//! `cargo run --release -p ingle-route --example train_score [-- FILE]`, which writes the weights to FILE.
//!
//! Prints, for each set: the models' accuracies; APGR with its bootstrap interval, CPT and the false-cheap rate of five-fold
//! cross-validation, in which equal prompts are in one fold and the penalty is chosen within the other four; the same with whole
//! subjects held out; then what a score that learned from one set knows of the other, the time of a prompt and the size of the file.

#[path = "../tests/labels/mod.rs"]
mod labels;

use std::time::Instant;

use ingle_route::quality::{Curve, Label, interval};
use ingle_route::score::fit::Row;
use labels::crossing::{FOLDS, crossed, fit_choosing, hash, rows};
use labels::{Question, questions};

const DRAWS: usize = 400;
const SEEDS: u64 = 5;
const ORIGIN: &str =
    "Fitted to RouteLLM's labels of GSM8K and half of MMLU, Mixtral 8x7B against GPT-4 (Apache-2.0).";

fn main() {
    let sets = ["gsm8k", "mmlu"].map(|name| (name, questions(name)));
    let [(_, Some(gsm8k)), (_, Some(mmlu))] = sets else { return };
    println!(
        "{:28} {:>5} {:>6} {:>22} {:>6} {:>6}  false-cheap",
        "", "n", "folds", "APGR [95 %]", "CPT50", "CPT80"
    );
    for (name, questions) in [("gsm8k", &gsm8k), ("mmlu", &mmlu)] {
        judge(name, questions);
    }
    for (from, to, name) in [(&gsm8k, &mmlu, "gsm8k to mmlu"), (&mmlu, &gsm8k, "mmlu to gsm8k")] {
        let rows = rows(from);
        let scorer = fit_choosing(&rows.iter().collect::<Vec<_>>(), "");
        let gains: Vec<f64> = to.iter().map(|q| scorer.gain(&q.prompt)).collect();
        tell(name, "-", &gains, &labels::labels(to));
    }
    let all: Vec<Question> = gsm8k.into_iter().chain(mmlu).collect();
    let rows = rows(&all);
    let start = Instant::now();
    let scorer = fit_choosing(&rows.iter().collect::<Vec<&Row>>(), ORIGIN);
    let bytes = scorer.to_bytes();
    println!("\nfitted to both in {:.1} s, {} bytes", start.elapsed().as_secs_f64(), bytes.len());
    time(&scorer, &all);
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, &bytes).expect("the file can be written");
        println!("wrote {path}");
    }
}

/// Cross-validates on one set.
fn judge(name: &str, questions: &[Question]) {
    let (rows, labels) = (rows(questions), labels::labels(questions));
    tell(&format!("{name}, oracle"), "-", &labels.iter().map(|l| l.gain()).collect::<Vec<_>>(), &labels);
    let mut apgr = Vec::new();
    for seed in 0..SEEDS {
        let fold = |q: &Question| (hash(&q.prompt, seed) % FOLDS as u64) as usize;
        let gains = crossed(&rows, &questions.iter().map(fold).collect::<Vec<_>>());
        apgr.push(Curve::new(&gains, &labels).apgr());
        if seed == 0 {
            tell(&format!("{name}, prompt score"), "random", &gains, &labels);
        }
    }
    let apgr: Vec<String> = apgr.iter().map(|a| format!("{a:.3}")).collect();
    println!("{:28} {:>5} {:>6} {}", "", "", "", apgr.join(" "));
    let mut subjects: Vec<&str> = questions.iter().map(|q| q.subject.as_str()).collect();
    subjects.dedup();
    if subjects.len() >= FOLDS {
        let at = |q: &Question| {
            subjects.iter().position(|s| *s == q.subject).unwrap_or(0) * FOLDS / subjects.len()
        };
        let gains = crossed(&rows, &questions.iter().map(at).collect::<Vec<_>>());
        tell(&format!("{name}, unseen subjects"), "whole", &gains, &labels);
    }
}

/// A line of the table, and what is kept wrongly at CPT50 and CPT80: of all questions, and of those kept.
fn tell(name: &str, folds: &str, scores: &[f64], labels: &[Label]) {
    let apgr = interval(labels.len(), DRAWS, 1, |places| {
        let of = |i: &usize| (scores[*i], labels[*i]);
        let (scores, labels): (Vec<f64>, Vec<Label>) = places.iter().map(of).unzip();
        Curve::new(&scores, &labels).apgr()
    });
    let curve = Curve::new(scores, labels);
    let rate = |q: f64| {
        let at = curve.at_cpt(q);
        format!("{:.1} % ({:.1} % of kept)", 100.0 * at.false_cheap, 100.0 * at.false_cheap_of_kept)
    };
    println!(
        "{name:28} {:5} {folds:>6}    {:.3} [{:.3}, {:.3}] {:5.1}% {:5.1}%  {}, {}",
        labels.len(),
        apgr.value,
        apgr.low,
        apgr.high,
        100.0 * curve.cpt(0.5),
        100.0 * curve.cpt(0.8),
        rate(0.5),
        rate(0.8),
    );
}

/// How long a prompt takes: the set's, and the longest that is read whole.
fn time(scorer: &ingle_route::score::Scorer, questions: &[Question]) {
    let clocked = |prompts: &[&str]| {
        let mut micros: Vec<f64> = prompts
            .iter()
            .map(|prompt| {
                let start = Instant::now();
                std::hint::black_box(scorer.gain(prompt));
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        micros.sort_by(f64::total_cmp);
        (micros[micros.len() / 2], micros[micros.len() * 99 / 100])
    };
    let prompts: Vec<&str> = questions.iter().map(|q| q.prompt.as_str()).collect();
    let (median, p99) = clocked(&prompts);
    println!("a prompt of the sets: {median:.0} us, 99 % within {p99:.0} us");
    let long = prompts.concat();
    let (median, p99) = clocked(&vec![&long[..long.floor_char_boundary(1 << 20)]; 200]);
    println!("a prompt of 1 MB: {median:.0} us, 99 % within {p99:.0} us");
}
