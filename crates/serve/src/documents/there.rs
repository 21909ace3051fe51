//! The way elsewhere for what `assist` makes of a question: the gate, the endpoints, and a count of what left.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_assist::course::Leaving;
use ingle_assist::told::Left;
use ingle_route::cloud::CloudError;
use ingle_route::desk::Way;
use ingle_route::gate::Wanted;
use ingle_route::ledger::{Instead, Place, Row};
use ingle_route::policy::{Situation, Wish};
use tokio::sync::Semaphore;

use super::reader::Reader;
use crate::app::App;
use crate::elsewhere::Elsewhere;
use crate::refusal::Refusal;

/// The way elsewhere, and what left by it.
pub struct There {
    elsewhere: Arc<dyn Elsewhere>,
    room: Arc<Semaphore>,
    wanted: Wanted,
    by: Option<String>,
    interrupted: Arc<AtomicBool>,
    /// Elsewhere was asked for: where the plan stays or gets no answer, that is a failure.
    must: bool,
    /// Whether an answer stands in place of what is read here.
    stands: bool,
    /// What left.
    pub left: Left,
    /// The last answer's row, and who gave it.
    pub last: Option<(Row, String)>,
    /// Why something stayed that could have left, or got no answer.
    pub stayed: Option<String>,
}

impl There {
    /// For what `reader` was asked.
    pub fn new(
        elsewhere: Arc<dyn Elsewhere>,
        app: &App,
        reader: &Reader,
        temperature: Option<f32>,
        must: bool,
    ) -> Self {
        let question = reader.question();
        let wanted = Wanted {
            max_tokens: u32::try_from(question.max_tokens).ok(),
            temperature,
            stop: question.sampling.stop.clone(),
        };
        Self {
            elsewhere,
            room: app.elsewhere_room.clone(),
            wanted,
            by: reader.by().map(str::to_owned),
            interrupted: reader.interrupted().clone(),
            must,
            stands: false,
            left: Left::default(),
            last: None,
            stayed: None,
        }
    }

    /// Asks elsewhere; `None` where what was to leave stays, or nobody answers.
    pub fn ask(&mut self, leaving: &Leaving) -> Result<Option<String>, Refusal> {
        let is_plan = leaving.sources.is_empty();
        let must = self.must && is_plan;
        let mut wanted = self.wanted.clone();
        if is_plan {
            // What was said is the length of the answer.
            wanted.max_tokens = None;
        }
        let sources = leaving.sources.iter().map(|&source| source.to_owned()).collect();
        let wish = if self.must { Wish::Cloud } else { Wish::Auto };
        let situation = Situation { wish, sources, ..self.elsewhere.situation(self.by.as_deref()) };
        let why = match self.elsewhere.desk().way(&leaving.messages, &wanted, &situation) {
            Way::Open(router) => {
                let Ok(_room) = self.room.clone().try_acquire_owned() else { return Err(Refusal::Busy) };
                // What is read here has one row, in whose place the first answer from elsewhere comes; a plan is no answer.
                let instead = if is_plan || self.stands { Instead::NoAnswer } else { Instead::OfHere };
                match self.elsewhere.ask(&router, Some(instead), &self.interrupted, &mut |_| {}) {
                    Ok(answered) => {
                        self.stands |= !is_plan;
                        self.left.count(answered.row.bytes_out, leaving);
                        self.left.answered_by = Some(answered.endpoint.clone());
                        self.left.is_redacted |= answered.row.place == Place::Redacted;
                        self.last = Some((answered.row, answered.endpoint));
                        return Ok(Some(answered.text));
                    }
                    Err(CloudError::Interrupted(_)) => return Err(Refusal::Stopping),
                    Err(error @ CloudError::NoAnswer(..)) if must => {
                        return Err(Refusal::Unanswered { message: error.to_string(), begun: None });
                    }
                    Err(error) if must => return Err(Refusal::Failed(error.to_string())),
                    Err(error) => {
                        self.left.count(error.bytes().out, leaving);
                        error.to_string()
                    }
                }
            }
            Way::Here => "nobody else may be asked".to_owned(),
            Way::Kept(kept) => kept.to_string(),
            Way::Ask(asking) => {
                let why = &asking.question().would_leave().verdict().why;
                format!("this request stays on the device: {why}, and a server has nobody to ask")
            }
        };
        if must {
            // Who is refused need not hear of the ledger.
            let _ = self.elsewhere.desk().refused(situation.app.as_deref(), self.elsewhere.now_ms());
            return Err(Refusal::Forbidden(why));
        }
        self.stayed = Some(why);
        Ok(None)
    }
}
