//! What people made of answers, on this device: the file of rows, who writes to it, and the confidence that learned from it.
//!
//! A row is ten numbers and a verdict (`route::confidence::feedback`): nothing of what was asked or answered, so the file lies plain.

use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;

use ingle_route::confidence::feedback::{append, open};
use ingle_route::confidence::{ENOUGH, Ending, Feedback, Learned, Lesson, Margins, OfModel, Signal};

use crate::env::{Env, say};
use crate::exit::Failure;

/// Where the rows are.
pub fn path(env: &Env) -> PathBuf {
    env.dirs.state.join("feedback.jsonl")
}

/// What there is to learn from, and how many lines are no rows.
///
/// # Errors
/// When the file can't be read.
pub fn learned(env: &Env) -> Result<(Learned, usize), Failure> {
    let path = path(env);
    let (rows, n_skipped) = open(&path).map_err(|e| Failure::file(&path, &e))?;
    Ok((Learned::from_rows(&rows), n_skipped))
}

/// The same, or the built-in confidence: where the settings want no feedback, and with a note where the file can't be read.
pub fn learned_or_built_in(env: &Env) -> Learned {
    if !env.settings.is_on("feedback") {
        return Learned::from_rows(&[]);
    }
    learned(env).map_or_else(
        |failure| {
            say(format_args!("note: {}; nothing is learned from feedback", failure.message));
            Learned::from_rows(&[])
        },
        |(learned, _)| learned,
    )
}

/// Keeps what is said of answers.
#[derive(Debug, Clone)]
pub struct Keeper(PathBuf);

impl Keeper {
    /// Where the settings want it.
    pub fn new(env: &Env) -> Option<Self> {
        env.settings.is_on("feedback").then(|| Self(path(env)))
    }

    /// Keeps what is said of an answer of `model` whose row has this number, as [`fresh`] gives one.
    ///
    /// # Errors
    /// Why it can't be kept.
    pub fn keep(
        &self,
        answer: u64,
        model: u64,
        (margins, ending): (&Margins, Ending),
        signal: Signal,
    ) -> Result<(), String> {
        let features = margins.features(ending);
        ingle_serve::Feedback::keep(self, &Feedback { answer, model: Some(model), signal, features })
    }
}

impl ingle_serve::Feedback for Keeper {
    fn keep(&self, row: &Feedback) -> Result<(), String> {
        let made = self.0.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| append(&self.0, row)).map_err(|e| format!("{}: {e}", self.0.display()))
    }
}

/// A number that stands for an answer in the file, and nowhere else.
pub fn fresh() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// What was learned, in lines: of all models, and of each of which something was said, the most said first.
pub fn words(learned: &Learned) -> String {
    let mut out = words_of(&learned.lesson);
    let mut models: Vec<_> = learned.models.iter().collect();
    models.sort_by_key(|(_, of)| std::cmp::Reverse(of.lesson.n));
    for (number, OfModel { lesson, confidence }) in models {
        let Lesson { n, weight, before, after, .. } = lesson;
        let believed = match lesson.is_enough {
            true if confidence.is_none() => {
                "and the general confidence fits it as well as its own".to_owned()
            }
            true => format!(
                "right: {} by the general confidence, {} by its own",
                percent(*before),
                percent(*after)
            ),
            false => format!("weight {weight}, so the general confidence decides"),
        };
        out.push_str(&format!(
            "model {number:016x}: {n} answers, content with {}, {believed}\n",
            percent(lesson.content)
        ));
    }
    out
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn words_of(lesson: &Lesson) -> String {
    let Lesson { n, signals: [up, down, again, edited], .. } = *lesson;
    if n == 0 {
        return "no feedback yet: the built-in confidence decides\n".to_owned();
    }
    let learned = if lesson.is_enough {
        format!(
            "right, as the built-in confidence has it: {}; as was learned: {}\n",
            percent(lesson.before),
            percent(lesson.after)
        )
    } else {
        format!(
            "right, as the built-in confidence has it: {}; it stands until there is feedback of weight {ENOUGH}, now {}\n",
            percent(lesson.before),
            lesson.weight
        )
    };
    format!(
        "feedback on {n} answers: {up} good, {down} bad, {again} asked for again, {edited} edited\n\
         content with: {} of these, by weight\n{learned}",
        percent(lesson.content)
    )
}
