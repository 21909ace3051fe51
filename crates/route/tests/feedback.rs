//! Whether feedback teaches: the device's model is a coarser one than the confidence was fitted to, a user says of some of its answers
//! whether they were good, and the confidence in answers to other tasks is held against the truth.
//!
//! The plain test is one such user. The ignored one draws many, with more and less to say, on a model that the built-in confidence fits
//! and on one that it does not: what `ENOUGH` rests on.
//! `cargo test --release -p ingle-route --test feedback -- --ignored --nocapture`.

mod answers;

use std::collections::HashSet;

use answers::{Answered, answer, tasks};
use ingle_route::confidence::{Confidence, ENOUGH, Feedback, Learned, Row, Signal};
use ingle_route::quality::{auroc, expected_calibration_error};

const TASKS_QUICK: usize = 24;
const BINS: usize = 10;

/// Xorshift: the same numbers everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// What a user says of `n` of these answers, drawn by `chance`: of a bad one with a thumb or by asking again, and one time in twenty the
/// wrong thing.
fn said(rows: &[Row], n: usize, chance: &mut Chance) -> Vec<Feedback> {
    let one = |answer: usize| {
        let row = rows[chance.below(rows.len())];
        let is_good = row.right != (chance.below(20) == 0);
        let bad = [Signal::Down, Signal::Down, Signal::Regenerated][chance.below(3)];
        let signal = if is_good { Signal::Up } else { bad };
        Feedback { answer: answer as u64, signal, features: row.features }
    };
    (0..n).map(one).collect()
}

/// AUROC, calibration error and mean probability on `rows`.
fn judged(confidence: &Confidence, rows: &[Row]) -> [f64; 3] {
    let right: Vec<bool> = rows.iter().map(|row| row.right).collect();
    let p: Vec<f64> = rows.iter().map(|row| confidence.probability(&row.features)).collect();
    let mean = p.iter().sum::<f64>() / p.len() as f64;
    [auroc(&p, &right).unwrap(), expected_calibration_error(&p, &right, BINS), mean]
}

fn rows_of(model: &std::sync::Arc<ingle_engine::model_file::Loaded>, seed: u64, n: usize) -> [Vec<Row>; 2] {
    let mut seen = HashSet::new();
    let [own, unseen] = [seed, seed + 1].map(|seed| tasks(seed, n, &mut seen));
    [own, unseen].map(|tasks| answer(model, &tasks).iter().map(Answered::row).collect())
}

fn share_right(rows: &[Row]) -> f64 {
    rows.iter().filter(|row| row.right).count() as f64 / rows.len() as f64
}

#[test]
fn feedback_moves_the_probability_to_the_truth_on_answers_that_nobody_spoke_of() {
    let [own, unseen] = rows_of(&answers::coarse("Q2_K", true), 6, TASKS_QUICK);
    let built_in = Learned::from_rows(&[]).confidence;
    let [area, error, mean] = judged(&built_in, &unseen);
    let truth = share_right(&unseen);
    let said = said(&own, 150, &mut Chance(7));
    let learned = Learned::from_rows(&said);
    let [area_after, error_after, mean_after] = judged(&learned.confidence, &unseen);
    eprintln!(
        "{} unseen answers, {truth:.3} right. Built in: AUROC {area:.3}, calibration error {error:.3}, mean {mean:.3}; \
         after 150 words: {area_after:.3}, {error_after:.3}, {mean_after:.3}",
        unseen.len()
    );
    assert!(learned.lesson.is_enough);
    assert!((mean_after - truth).abs() < (mean - truth).abs(), "{mean} {mean_after}, {truth} are right");
    assert!(error_after < error, "{error} {error_after}");
    assert!(area_after > area - 0.03, "{area} {area_after}");
    // What is too little to learn from changes nothing.
    let few = Learned::from_rows(&said[..ENOUGH as usize - 1]);
    assert!(!few.lesson.is_enough && few.confidence == built_in);
}

#[test]
#[ignore = "minutes; .ci/run --deep runs it"]
fn how_much_feedback_is_enough() {
    const USERS: usize = 200;
    let built_in = Confidence::built_in();
    for (name, model) in [("demo", answers::built_in()), ("Q2_K", answers::coarse("Q2_K", true))] {
        let [own, unseen] = rows_of(&model, 8, 100);
        let before = judged(&built_in, &unseen)[1];
        eprintln!(
            "{name}: {} unseen, {:.3} right, calibration error {before:.3}",
            unseen.len(),
            share_right(&unseen)
        );
        for n in [5, 10, 20, 40, 80, 150, 300] {
            let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ n as u64);
            let mut errors: Vec<f64> = (0..USERS)
                .map(|_| {
                    let rows: Vec<Row> = said(&own, n, &mut chance).iter().map(Feedback::row).collect();
                    judged(&built_in.refit(&rows), &unseen)[1]
                })
                .collect();
            errors.sort_by(f64::total_cmp);
            let mean = errors.iter().sum::<f64>() / USERS as f64;
            let better = errors.iter().filter(|&&error| error < before).count() as f64 / USERS as f64;
            eprintln!(
                "  {n:4} words: calibration error {mean:.3} [{:.3}, {:.3}], smaller for {:.0} % of users",
                errors[USERS / 40],
                errors[USERS - 1 - USERS / 40],
                100.0 * better
            );
            if n >= 40 && name == "Q2_K" {
                assert!(better > 0.95, "{n}: {better}");
            }
            if name == "demo" {
                assert!(errors[USERS - 1 - USERS / 40] < before + 0.05, "{n}: {errors:?}");
            }
        }
    }
}
