//! What people make of answers: each that can be spoken of has a name, and `POST /v1/ingle/feedback` says that it was good, or not.
//!
//! Of an answer are kept the numbers that say how surely its tokens were chosen, no word of it, for the last [`ANSWERS_MAX`] and as long
//! as the server runs. What is said becomes a row of these numbers and a verdict, which [`Feedback`] keeps; that row has a number of its
//! own, so that it leads to no answer. An answer may be spoken of again: rows of one answer have one number, and who reads them takes the
//! last word. Where keys are asked for, an answer can be spoken of with the key that it was asked with.
//!
//! Answers from elsewhere have no such numbers, nor have those that could be asked of nobody else: they have no name.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::{Extension, Json};
use ingle_engine::generate::Finish;
use ingle_route::confidence::{self, Margins, N_FEATURES, Signal};
use serde_json::{Value, json};

use crate::app::App;
use crate::elsewhere::ending;
use crate::fields::Fields;
use crate::guard::Caller;
use crate::ids;
use crate::payload::{Payload, aside};
use crate::refusal::Refusal;

/// Answers that can be spoken of.
pub const ANSWERS_MAX: usize = 256;

/// Who keeps what is said of answers.
pub trait Feedback: fmt::Debug + Send + Sync {
    /// Keeps a row. May wait for a file.
    ///
    /// # Errors
    /// Why it can't be kept, in a sentence.
    fn keep(&self, row: &confidence::Feedback) -> Result<(), String>;
}

/// Answers that can be spoken of, and who keeps what is said.
#[derive(Debug)]
pub struct Recent {
    keeper: Arc<dyn Feedback>,
    /// The oldest first.
    answers: Mutex<VecDeque<Answer>>,
}

/// An answer, as far as it is remembered.
#[derive(Debug)]
struct Answer {
    id: String,
    by: Caller,
    number: u64,
    model: u64,
    features: [f32; N_FEATURES],
}

impl Recent {
    /// None yet.
    pub fn new(keeper: Arc<dyn Feedback>) -> Self {
        Self { keeper, answers: Mutex::default() }
    }

    /// Remembers an answer of `model` to `by`, and gives its name.
    pub fn remember(&self, by: Caller, model: u64, margins: &Margins, finish: Finish) -> String {
        let (id, number) = (ids::fresh("answer-"), ids::number());
        let features = margins.features(ending(finish));
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() == ANSWERS_MAX {
            answers.pop_front();
        }
        answers.push_back(Answer { id: id.clone(), by, number, model, features });
        id
    }

    /// The row of what `by` says of the answer of this name.
    fn row(&self, by: Caller, id: &str, signal: Signal) -> Option<confidence::Feedback> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = answers.iter().find(|answer| answer.id == id && answer.by == by)?;
        let (answer, model) = (found.number, Some(found.model));
        Some(confidence::Feedback { answer, model, signal, features: found.features })
    }
}

/// An answer that is to have a name once it is over.
#[derive(Debug, Clone)]
pub struct Named {
    /// Where it is remembered.
    pub recent: Arc<Recent>,
    /// Who asked.
    pub by: Caller,
    /// The number of the model that answers.
    pub model: u64,
}

/// `POST /v1/ingle/feedback`
pub async fn feedback(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Payload(body): Payload,
) -> Result<Json<Value>, Refusal> {
    aside(move || taken(&app, caller, &body)).await.map(Json)
}

fn taken(app: &App, caller: Caller, body: &[u8]) -> Result<Value, Refusal> {
    let mut fields = Fields::parse(body)?;
    let id = fields.needed_text("id")?;
    let said = fields.needed_text("signal")?;
    fields.end()?;
    let signal = Signal::parse(&said).ok_or_else(|| {
        let names = Signal::ALL.map(|signal| format!("{:?}", signal.name())).join(", ");
        Refusal::field("signal", format!("signal: {said:?}, expected one of {names}"))
    })?;
    let none = || Refusal::NotFound("this server keeps nothing of what is said of answers".into());
    let recent = app.recent.as_ref().ok_or_else(none)?;
    let row = recent.row(caller, &id, signal).ok_or_else(|| {
        Refusal::NotFound(format!(
            "no answer {id:?} is remembered: the last {ANSWERS_MAX} are, as long as the server runs"
        ))
    })?;
    recent.keeper.keep(&row).map_err(Refusal::Failed)?;
    Ok(json!({ "id": id, "signal": signal.name() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<confidence::Feedback>>);

    impl Feedback for Kept {
        fn keep(&self, row: &confidence::Feedback) -> Result<(), String> {
            self.0.lock().unwrap().push(*row);
            Ok(())
        }
    }

    #[test]
    fn the_last_answers_are_remembered_for_who_asked_and_their_rows_lead_nowhere() {
        let recent = Recent::new(Arc::new(Kept::default()));
        let mut margins = Margins::default();
        margins.push(1.0);
        let of = |n: usize| recent.remember(Caller(n % 2), 7, &margins, Finish::EndOfText);
        let names: Vec<String> = (0..=ANSWERS_MAX).map(of).collect();
        let row = |by, at: usize| recent.row(Caller(by), &names[at], Signal::Down);
        assert_eq!(row(0, 0), None, "the oldest is forgotten");
        assert_eq!(row(0, 1), None, "it is somebody else's");
        let [first, again, other] = [row(1, 1), row(1, 1), row(1, 3)].map(Option::unwrap);
        assert_eq!((first.answer, first.features), (again.answer, again.features));
        assert!(first.answer != other.answer && !names[1].contains(&first.answer.to_string()));
        assert_eq!(recent.answers.lock().unwrap().len(), ANSWERS_MAX);
    }
}
