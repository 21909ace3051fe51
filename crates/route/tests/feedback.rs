//! Whether feedback teaches: users say of some answers whether they were good, and the confidence in answers to other tasks is held
//! against the truth.
//!
//! The answers are recorded (`feedback/rows.txt`): the built-in model's to held-out tasks that the confidence was not fitted to, and those
//! of the same weights in a coarser format, which are wrong more often. A line is a set, a kind of task, 1 for a right answer, and its
//! numbers. The ignored test makes them again: `UPDATE_ROWS=1 cargo test -p ingle-route --test feedback -- --ignored` writes the file.

mod answers;

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use answers::{Answered, answer, tasks};
use ingle_route::confidence::{Confidence, ENOUGH, Feedback, Learned, N_FEATURES, Row, Signal};
use ingle_route::quality::{auroc, expected_calibration_error};

const TASKS_PER_KIND: usize = 60;
const SEEDS: [u64; 2] = [8, 9];
const BINS: usize = 10;
const USERS: usize = 100;

/// A recorded answer.
struct Recorded {
    /// The model, and whether users speak of it (`own`) or it is judged by (`unseen`).
    set: String,
    kind: String,
    row: Row,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/feedback/rows.txt")
}

fn recorded() -> Vec<Recorded> {
    let text = std::fs::read_to_string(path()).unwrap();
    let one = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}"));
        let (set, kind, right) = (word().to_owned(), word().to_owned(), word() == "1");
        let features = std::array::from_fn::<f32, N_FEATURES, _>(|_| word().parse().unwrap());
        Recorded { set, kind, row: Row { features, right, weight: 1.0 } }
    };
    text.lines().map(one).collect()
}

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

/// What a user says of `n` of these answers: of a bad one with a thumb or by asking again, and one time in twenty the wrong thing.
fn said(rows: &[Row], n: usize, chance: &mut Chance) -> Vec<Feedback> {
    let one = |answer: usize| {
        let row = rows[chance.below(rows.len())];
        let is_good = row.right != (chance.below(20) == 0);
        let bad = [Signal::Down, Signal::Down, Signal::Regenerated][chance.below(3)];
        let signal = if is_good { Signal::Up } else { bad };
        Feedback { answer: answer as u64, model: None, signal, features: row.features }
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

fn share_right(rows: &[Row]) -> f64 {
    rows.iter().filter(|row| row.right).count() as f64 / rows.len() as f64
}

/// What comes of many users' words.
struct Users {
    /// The mean calibration error, the one that one user in forty exceeds, and the share of users for whom it fell.
    error: f64,
    worst: f64,
    better: f64,
    /// The mean probability.
    mean: f64,
    /// The mean AUROC.
    area: f64,
}

impl Users {
    fn new(own: &[Row], unseen: &[Row], n: usize) -> Self {
        let (built_in, mut chance) = (Confidence::built_in(), Chance(0x9e37_79b9_7f4a_7c15 ^ n as u64));
        let before = judged(&built_in, unseen)[1];
        let mut all: Vec<[f64; 3]> = (0..USERS)
            .map(|_| {
                let rows: Vec<Row> = said(own, n, &mut chance).iter().map(Feedback::row).collect();
                judged(&built_in.refit(&rows), unseen)
            })
            .collect();
        all.sort_by(|a, b| a[1].total_cmp(&b[1]));
        let mean = |i: usize| all.iter().map(|found| found[i]).sum::<f64>() / USERS as f64;
        Self {
            error: mean(1),
            worst: all[USERS - 1 - USERS / 40][1],
            better: all.iter().filter(|found| found[1] < before).count() as f64 / USERS as f64,
            mean: mean(2),
            area: mean(0),
        }
    }
}

/// Rows of a set, of the kinds that `wanted` takes.
fn rows_of(all: &[Recorded], set: &str, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    all.iter().filter(|one| one.set == set && wanted(&one.kind)).map(|one| one.row).collect()
}

/// The kinds of tasks that the built-in confidence takes for better answered than they are, or for worse, by what users can see.
fn misjudged<'a>(all: &'a [Recorded], built_in: &Confidence, too_sure: bool) -> Vec<&'a str> {
    let mut kinds: Vec<&str> = all.iter().map(|one| one.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.retain(|kind| {
        let rows = rows_of(all, "coarse-own", |of| of == *kind);
        let off = judged(built_in, &rows)[2] - share_right(&rows);
        if too_sure { off > 0.05 } else { off < -0.05 }
    });
    kinds
}

#[test]
fn a_users_own_tasks_move_the_probability_to_the_truth() {
    let all = recorded();
    let built_in = Confidence::built_in();
    for too_sure in [true, false] {
        let kinds = misjudged(&all, &built_in, too_sure);
        let [own, unseen] =
            ["coarse-own", "coarse-unseen"].map(|set| rows_of(&all, set, |of| kinds.contains(&of)));
        let [area, before, mean] = judged(&built_in, &unseen);
        let users = Users::new(&own, &unseen, 150);
        let truth = share_right(&unseen);
        eprintln!(
            "{kinds:?}: {} unseen answers, {truth:.3} right. AUROC {area:.3}, calibration error {before:.3}, mean {mean:.3}; after 150 \
             words {:.3}, {:.3} (less for {:.0} % of users), {:.3}",
            unseen.len(),
            users.area,
            users.error,
            100.0 * users.better,
            users.mean
        );
        assert!(kinds.len() >= 2);
        assert!(
            if too_sure { users.mean < mean - 0.03 } else { users.mean > mean + 0.03 },
            "{mean} {}",
            users.mean
        );
        assert!((users.mean - truth).abs() < 0.7 * (mean - truth).abs(), "{mean} {}, {truth}", users.mean);
        assert!(
            users.error < 0.85 * before && users.better > 0.8,
            "{before} {} {}",
            users.error,
            users.better
        );
        assert!(users.area > area - 0.02, "AUROC {area} {}", users.area);
    }
}

#[test]
fn enough_is_where_chance_does_no_harm_and_news_is_heard() {
    let all = recorded();
    let built_in = Confidence::built_in();
    let of = |set: &str| ["own", "unseen"].map(|part| rows_of(&all, &format!("{set}-{part}"), |_| true));
    for set in ["demo", "coarse"] {
        let [own, unseen] = of(set);
        let [area, before, mean] = judged(&built_in, &unseen);
        let (n, right) = (unseen.len(), share_right(&unseen));
        eprintln!(
            "{set}: {n} unseen, {right:.3} right, AUROC {area:.3}, calibration error {before:.3}, mean {mean:.3}"
        );
        for n in [10, 20, 40, 80, 150, 300] {
            let Users { error, worst, better, .. } = Users::new(&own, &unseen, n);
            let percent = 100.0 * better;
            eprintln!(
                "  after {n:3} words {error:.3}, {worst:.3} for one in forty, less for {percent:.0} % of users"
            );
            match (set, n) {
                // Where the built-in confidence fits, nothing is to be gained: mistaken words cost little.
                ("demo", 80) => assert!(error < before + 0.015 && worst < before + 0.04, "{error} {worst}"),
                // Where it does not, few words are chance, and many are news.
                ("coarse", 20) => assert!(worst > before + 0.04, "{worst}: fewer would be enough"),
                ("coarse", 80) => assert!(error < before && worst < before + 0.03, "{error} {worst}"),
                ("coarse", 150) => assert!(error < before - 0.008 && better > 0.7, "{error} {better}"),
                _ => {}
            }
        }
    }
    // That many words are enough, and one fewer are not.
    let [own, _] = of("coarse");
    let mut words = said(&own, 80, &mut Chance(7));
    words
        .iter_mut()
        .for_each(|word| word.signal = if word.signal == Signal::Up { Signal::Up } else { Signal::Down });
    assert_eq!(ENOUGH, 80.0);
    assert!(Learned::from_rows(&words).lesson.is_enough);
    let few = Learned::from_rows(&words[1..]);
    assert!(!few.lesson.is_enough && few.confidence == built_in);
}

/// Calibration errors on the unseen answers of two models, `[own, unseen]` each, as means of users who spoke of 150 answers of either: with
/// one confidence for both, and as each has it.
fn of_two_models(models: &[[Vec<Row>; 2]; 2], chance: &mut Chance) -> [[f64; 2]; 2] {
    let mut errors = [[0.0; 2]; 2];
    for _ in 0..USERS {
        let mut rows = Vec::new();
        for (number, [own, _]) in (1..).zip(models) {
            let said = said(own, 150, chance).into_iter();
            rows.extend(said.map(|row| Feedback {
                answer: row.answer + 1000 * number,
                model: Some(number),
                ..row
            }));
        }
        let learned = Learned::from_rows(&rows);
        assert!(learned.lesson.n == 300 && learned.models.values().all(|of| of.lesson.n == 150));
        for (number, [_, unseen]) in (1..).zip(models) {
            let error = &mut errors[number as usize - 1];
            error[0] += judged(learned.of(None), unseen)[1] / USERS as f64;
            error[1] += judged(learned.of(Some(number)), unseen)[1] / USERS as f64;
        }
        assert_eq!(learned.of(Some(3)), learned.of(None), "a model of which nothing was said");
    }
    errors
}

#[test]
fn each_model_is_believed_as_its_own_answers_were() {
    let all = recorded();
    let parts = |set: &str, kinds: &dyn Fn(&str) -> bool| {
        ["own", "unseen"].map(|part| rows_of(&all, &format!("{set}-{part}"), kinds))
    };
    let mut chance = Chance(0x51_7c_c1_b7_27_22_0a_95);
    // Two models that are alike: nothing is to be gained, and little lost.
    let alike = [parts("demo", &|_| true), parts("coarse", &|_| true)];
    let alike = of_two_models(&alike, &mut chance);
    // One that is worse than the confidence takes it for, and one that is better.
    let built_in = Confidence::built_in();
    let unlike = [true, false].map(|too_sure| {
        let kinds = misjudged(&all, &built_in, too_sure);
        parts("coarse", &|of| kinds.contains(&of))
    });
    let coarse = &unlike[0][0].clone();
    let unlike = of_two_models(&unlike, &mut chance);
    for (name, [first, second]) in [("alike", alike), ("unlike", unlike)] {
        eprintln!(
            "two models {name}, 150 words on each: calibration error {:.3} and {:.3} with one confidence for both, {:.3} and {:.3} with \
             one for each where that foretells better",
            first[0], second[0], first[1], second[1]
        );
    }
    let sum = |errors: &[[f64; 2]; 2], at: usize| errors[0][at] + errors[1][at];
    assert!(sum(&alike, 1) < sum(&alike, 0) + 0.006, "{alike:?}");
    assert!(sum(&unlike, 1) < sum(&unlike, 0) - 0.02, "{unlike:?}");
    // Few words about a model leave it to what all have taught, and rows of before there were models count there.
    let words = said(coarse, 100, &mut chance);
    let old = Learned::from_rows(&words);
    assert!(old.models.is_empty() && old.lesson.is_enough && old.of(Some(7)) == old.of(None));
    let few: Vec<Feedback> =
        words.iter().enumerate().map(|(i, row)| Feedback { model: (i < 20).then_some(7), ..*row }).collect();
    let few = Learned::from_rows(&few);
    assert!(few.models[&7].lesson.n == 20 && few.models[&7].confidence.is_none());
    assert_eq!(few.of(Some(7)), few.of(None));
}

#[test]
fn rows_of_before_there_were_models_are_read_and_new_ones_say_which() {
    let features = "[1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0]";
    let old = format!("{{\"answer\":7,\"signal\":\"up\",\"features\":{features}}}\n");
    let new = format!("{{\"answer\":8,\"model\":{},\"signal\":\"up\",\"features\":{features}}}\n", u64::MAX);
    let (rows, n_skipped) = ingle_route::confidence::feedback::parse((old.clone() + &new).as_bytes());
    assert_eq!((rows.len(), n_skipped, rows[0].model, rows[1].model), (2, 0, None, Some(u64::MAX)));
    assert_eq!(serde_json::to_string(&rows[0]).unwrap() + "\n", old, "and written as they were");
}

#[test]
#[ignore = "minutes; .ci/run --deep runs it"]
fn the_recording_is_what_the_models_say() {
    let mut seen = HashSet::new();
    // What the built-in confidence was fitted to is left out.
    tasks(1, 150, &mut seen);
    let [own, unseen] = SEEDS.map(|seed| tasks(seed, TASKS_PER_KIND, &mut seen));
    let mut text = String::new();
    for (name, model) in [("demo", answers::built_in()), ("coarse", answers::coarse("Q2_K", true))] {
        for (part, tasks) in [("own", &own), ("unseen", &unseen)] {
            for (task, answered) in tasks.iter().zip(answer(&model, tasks)) {
                let Row { features, right, .. } = Answered::row(&answered);
                write!(text, "{name}-{part} {} {}", task.kind.name, u8::from(right)).unwrap();
                features.iter().for_each(|x| write!(text, " {}", (x * 100.0).round() / 100.0).unwrap());
                text.push('\n');
            }
        }
    }
    if std::env::var_os("UPDATE_ROWS").is_some() {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), &text).unwrap();
    }
    // Another CPU may round otherwise, and then say something else here and there.
    let recorded = std::fs::read_to_string(path()).unwrap();
    let n_same = text.lines().zip(recorded.lines()).filter(|(now, then)| now == then).count();
    let n = recorded.lines().count();
    eprintln!("{n_same} of {n} answers have the numbers that were recorded");
    assert!(text.lines().count() == n && n_same * 10 > n * 9, "UPDATE_ROWS=1 writes what the models say now");
}
