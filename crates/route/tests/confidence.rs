//! The confidence held against its bars, on the built-in model's answers to tasks that neither of them has seen.
//!
//! The plain test takes some tasks of each kind. The ignored one plays the cloud with the model's floats and the device with the same
//! weights in the coarsest format, and prints what each way of routing is worth:
//! `cargo test --release -p ingle-route --test confidence -- --ignored --nocapture`.

mod answers;

use std::collections::HashSet;

use answers::{Answered, Task, answer, tasks};
use ingle_demo::Prompt;
use ingle_route::confidence::{Confidence, Row, Rule, Running, Verdict};
use ingle_route::quality::{Curve, Label, auroc, expected_calibration_error, interval};
use ingle_route::score::features;
use ingle_route::score::fit::{self, choose_penalty};

/// The seeds that `examples/train_confidence.rs` fits and judges with are 1 and 2.
const SEED: u64 = 3;
const TASKS_QUICK: usize = 30;

#[test]
fn the_built_in_confidence_tells_right_from_wrong() {
    let mut seen = HashSet::new();
    // What it was fitted to is left out.
    tasks(1, 150, &mut seen);
    let tasks = tasks(SEED, TASKS_QUICK, &mut seen);
    let rows: Vec<Row> = answer(&answers::built_in(), &tasks).iter().map(Answered::row).collect();
    let confidence = Confidence::built_in();
    let p: Vec<f64> = rows.iter().map(|row| confidence.probability(&row.features)).collect();
    let right: Vec<bool> = rows.iter().map(|row| row.right).collect();
    let (area, error) = (auroc(&p, &right).unwrap(), expected_calibration_error(&p, &right, 10));
    eprintln!("{} answers, AUROC {area:.3}, calibration error {error:.3}", rows.len());
    assert!(area >= 0.80, "AUROC {area}");
    assert!(error <= 0.05, "calibration error {error}");
}

const TASKS_ALL: usize = 100;
const DRAWS: usize = 2000;
/// What gives an answer up early; chosen by the tasks that are fitted to.
const FLOORS: &[f32] = &[0.1, 0.2, 0.4, 0.8, 1.2];

#[test]
#[ignore = "minutes; .ci/run --deep runs it"]
fn routing_by_confidence_beats_routing_by_the_prompt() {
    let mut seen = HashSet::new();
    let [fit, test] = [4, 5].map(|seed| tasks(seed, TASKS_ALL, &mut seen));
    let (device, cloud) = (answers::coarse("Q2_K", true), answers::coarse("F16", false));
    let [fit_here, test_here] = [&fit, &test].map(|tasks| answer(&device, tasks));
    let [fit_there, test_there] = [&fit, &test].map(|tasks| answer(&cloud, tasks));
    let label = |(here, there): (&Answered, &Answered)| Label { weak: here.right, strong: there.right };
    let fit_labels: Vec<Label> = fit_here.iter().zip(&fit_there).map(label).collect();
    let labels: Vec<Label> = test_here.iter().zip(&test_there).map(label).collect();

    let by_prompt = prompt_scores(&fit, &fit_labels, &test);
    let own: Vec<Row> = fit_here.iter().map(Answered::row).collect();
    let doubts = |confidence: &Confidence| -> Vec<f64> {
        test_here.iter().map(|a| 1.0 - confidence.probability(&a.row().features)).collect()
    };
    let built_in = Confidence::built_in();
    let (by_built_in, by_own) = (doubts(&built_in), doubts(&built_in.refit(&own)));

    let oracle = Curve::oracle(&labels);
    eprintln!("{} tasks; here {:.3} right, there {:.3}", labels.len(), oracle.weak(), oracle.strong());
    let gains: Vec<f64> = labels.iter().map(|l| l.gain()).collect();
    let routers = [
        ("by the prompt", &by_prompt),
        ("built-in confidence", &by_built_in),
        ("confidence, refitted", &by_own),
        ("oracle", &gains),
    ];
    for (name, scores) in routers {
        let curve = Curve::new(scores, &labels);
        let gained = compare(scores, &by_prompt, &labels);
        eprintln!(
            "{name:22} APGR {:.3}  CPT50 {:5.1} %  CPT80 {:5.1} %  false-cheap {:.1} %, {:.1} %  APGR above the prompt's {:+.3} [{:+.3}, {:+.3}]",
            curve.apgr(),
            100.0 * curve.cpt(0.5),
            100.0 * curve.cpt(0.8),
            100.0 * curve.at_cpt(0.5).false_cheap,
            100.0 * curve.at_cpt(0.8).false_cheap,
            gained.value,
            gained.low,
            gained.high,
        );
    }
    abort_early(&fit_here, &test_here);
    for scores in [&by_built_in, &by_own] {
        let gained = compare(scores, &by_prompt, &labels);
        assert!(gained.low > 0.0, "{gained:?}");
    }
}

/// The expected gain of each test prompt by a score that was fitted to the fit prompts.
fn prompt_scores(fit: &[Task], labels: &[Label], test: &[Task]) -> Vec<f64> {
    // What a user would have written; the special tokens around it say nothing.
    let text = |task: &Task| match &task.item.prompt {
        Prompt::Chat(messages) => messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n"),
        Prompt::Fill { prefix, suffix } => format!("{prefix}\n{suffix}"),
    };
    let row =
        |(task, label): (&Task, &Label)| fit::Row { features: features(&text(task)), gain: label.gain() };
    let rows: Vec<fit::Row> = fit.iter().zip(labels).map(row).collect();
    let rows: Vec<&fit::Row> = rows.iter().collect();
    let penalty = choose_penalty(&rows, |row| row.features.buckets.iter().map(|b| b.0 as usize).sum());
    let scorer = fit::fit(&rows, penalty, "");
    test.iter().map(|task| scorer.gain(&text(task))).collect()
}

/// By how much the APGR of one router is above another's, on the same draws of questions.
fn compare(a: &[f64], b: &[f64], labels: &[Label]) -> ingle_route::quality::Interval {
    let apgr = |scores: &[f64], places: &[usize]| {
        let of = |&i: &usize| (scores[i], labels[i]);
        let (scores, labels): (Vec<f64>, Vec<Label>) = places.iter().map(of).unzip();
        Curve::new(&scores, &labels).apgr()
    };
    interval(labels.len(), DRAWS, 1, |places| apgr(a, places) - apgr(b, places))
}

/// Prints what giving answers up early is worth: of the answers, how many, how many of these would have been wrong, and the tokens saved.
fn abort_early(fit: &[Answered], test: &[Answered]) {
    let measure = |answers: &[Answered], rule: Rule| {
        let (mut n, mut n_wrong, mut n_saved) = (0, 0, 0);
        for answer in answers {
            let mut running = Running::new(rule);
            let at = answer.margins.iter().position(|&m| {
                running.push(m);
                running.verdict() != Verdict::GoOn
            });
            if let Some(at) = at {
                n += 1;
                n_wrong += usize::from(!answer.right);
                n_saved += answer.margins.len() - 1 - at;
            }
        }
        (n, n_wrong, n_saved)
    };
    let rule = |floor_nats| Rule { n_tokens_min: 8, quantile: 0.2, floor_nats };
    for &floor in FLOORS {
        let (n, n_wrong, _) = measure(fit, rule(floor));
        let (m, m_wrong, saved) = measure(test, rule(floor));
        let n_tokens: usize = test.iter().map(|a| a.margins.len()).sum();
        eprintln!(
            "given up below {floor} nats: {n_wrong} of {n} wrong where fitted; unseen {m_wrong} of {m}, {saved} of {n_tokens} tokens saved"
        );
    }
}
