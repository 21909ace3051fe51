//! Fits the built-in confidence and judges it on tasks that neither it nor the model has seen, in minutes:
//! `cargo run --release -p ingle-route --example train_confidence [-- FILE]`, which writes it to FILE
//! (`crates/route/src/confidence/built_in.json`).
//!
//! The rows are the built-in demo model's own greedy answers to held-out tasks of its generator, judged by the generator. Prints AUROC
//! and the expected calibration error over ten bins; then, for the same weights in coarser formats, what the built-in confidence is
//! worth for them as it is, and after learning from so many of their own rows.

#[path = "../tests/answers/mod.rs"]
mod answers;

use std::collections::HashSet;
use std::sync::Arc;

use answers::{Answered, Task, answer, tasks};
use ingle_engine::model_file::Loaded;
use ingle_route::confidence::{Confidence, Row};
use ingle_route::quality::{auroc, expected_calibration_error, interval};

const TASKS_PER_KIND: usize = 150;
const DRAWS: usize = 1000;
const BINS: usize = 10;
const ORIGIN: &str = "Fitted to the built-in demo model's greedy answers to tasks of its own generator, judged by it (MIT OR Apache-2.0).";

fn main() {
    let mut seen = HashSet::new();
    let [fit, test] = [1, 2].map(|seed| tasks(seed, TASKS_PER_KIND, &mut seen));
    println!("{:30} {:>5} {:>7}  {:22} {:22}", "", "n", "right", "AUROC [95 %]", "ECE [95 %]");
    let rows_of = |loaded: &Arc<Loaded>, tasks: &[Task]| -> Vec<Row> {
        answer(loaded, tasks).iter().map(Answered::row).collect()
    };
    let demo = answers::built_in();
    let (fit_rows, test_rows) = (rows_of(&demo, &fit), rows_of(&demo, &test));
    let confidence = Confidence::fit(&fit_rows, ORIGIN);
    tell("demo, rows fitted to", &confidence, &fit_rows);
    tell("demo, unseen", &confidence, &test_rows);
    for (mixture, pure) in [("Q3_K_S", true), ("Q2_K", true)] {
        let coarse = answers::coarse(mixture, pure);
        let (mut own, unseen) = (rows_of(&coarse, &fit), rows_of(&coarse, &test));
        // Kinds of tasks come one after the other: mixed, as a user would.
        let n = own.len();
        own = (0..n).map(|i| own[i * 787 % n]).collect();
        tell(&format!("{mixture}, as it is"), &confidence, &unseen);
        for n in [50, 200, 1000] {
            let n = n.min(own.len());
            tell(&format!("{mixture}, after {n} rows"), &confidence.refit(&own[..n]), &unseen);
        }
    }
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, confidence.to_json() + "\n").expect("the file can be written");
        println!("wrote {path}");
    }
}

fn tell(name: &str, confidence: &Confidence, rows: &[Row]) {
    let right: Vec<bool> = rows.iter().map(|row| row.right).collect();
    let p: Vec<f64> = rows.iter().map(|row| confidence.probability(&row.features)).collect();
    let measured = |measure: &dyn Fn(&[f64], &[bool]) -> f64| {
        let found = interval(rows.len(), DRAWS, 1, |places| {
            let (p, right): (Vec<f64>, Vec<bool>) = places.iter().map(|&i| (p[i], right[i])).unzip();
            measure(&p, &right)
        });
        format!("{:.3} [{:.3}, {:.3}]", found.value, found.low, found.high)
    };
    let share = right.iter().filter(|&&r| r).count() as f64 / right.len() as f64;
    println!(
        "{name:30} {:5} {:6.1}%  {:22} {:22}",
        rows.len(),
        100.0 * share,
        measured(&|p, right| auroc(p, right).unwrap_or(f64::NAN)),
        measured(&|p, right| expected_calibration_error(p, right, BINS)),
    );
}
