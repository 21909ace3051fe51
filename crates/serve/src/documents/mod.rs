//! Questions about documents that come with the request: `assist`'s way with this server's models, gate and tellings.
//!
//! `documents` is a field of every API that asks for text. Those that fit the context go into the prompt; longer ones, and all of which
//! somebody elsewhere is to answer, are read passage by passage on this device ([`reader`]). What is put to the gate ([`there`]) is what
//! `assist` makes of the last message and of facts; documents, their names and earlier messages are given to nobody. A rule that asks keeps
//! facts, as a server has nobody to ask. All that the model read for one answer is one row of the ledger.
//!
//! A document is a text in the request, never a path: this server opens no file for it.

mod reader;
mod there;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_assist::course::Course as Way;
use ingle_assist::document::{Document, Passage, in_one, may_fit};
use ingle_assist::told::Told;
use ingle_engine::generate::Outcome;
use ingle_route::decide::Route;
use ingle_route::desk::Router;
use ingle_route::gate::{Message, Role};
use ingle_route::ledger::Row;
use ingle_route::policy::{FACTS, Situation};
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::accounts::Took;
use crate::app::App;
use crate::ask::{Question, Said, Telling, What, end_in_time};
use crate::elsewhere::{Course, Words, ending};
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::served::Served;
use reader::{Joined, Reader};
use there::There;

/// Questions about documents that are answered at the same time.
pub const AT_A_TIME: usize = 8;
/// The most documents of a request; a body says how long they may be together.
const DOCUMENTS_MAX: usize = 100;
/// The longest name.
const NAME_BYTES_MAX: usize = 255;
/// The largest passage, in tokens.
const PASSAGE_TOKENS_MAX: usize = 1 << 20;
/// Tellings that may wait for a slow client.
const TELLINGS_MAX: usize = 64;
/// What is said where nothing was found.
const NOTHING: &str = "The documents do not seem to say.";

/// What a request brings to be asked about.
#[derive(Debug)]
pub struct Brought {
    documents: Vec<Document>,
    /// Tokens of a passage.
    passage: Option<usize>,
    /// What the request says of how tokens are chosen, and no default of ours.
    pub temperature: Option<f32>,
}

/// Takes documents; `None` where there are none.
pub fn take(fields: &mut Fields) -> Result<Option<Brought>, Refusal> {
    let passage = fields.count("passage", PASSAGE_TOKENS_MAX)?;
    let least = ingle_assist::reading::PASSAGE_TOKENS_MIN;
    if passage.is_some_and(|n| n < least) {
        return Err(fields.refused("passage", format_args!("expected a whole number from {least}")));
    }
    let Some(items) = fields.objects("documents")?.filter(|items| !items.is_empty()) else {
        return match passage {
            Some(_) => Err(fields.refused("passage", "for a request with documents")),
            None => Ok(None),
        };
    };
    if items.len() > DOCUMENTS_MAX {
        return Err(fields.refused("documents", format_args!("{}, {DOCUMENTS_MAX} at most", items.len())));
    }
    let documents = items.into_iter().enumerate().map(|(i, mut item)| {
        let name = item.text("name")?.unwrap_or_else(|| format!("document {}", i + 1));
        let text = item.needed_text("text")?;
        if name.len() > NAME_BYTES_MAX {
            return Err(item.refused("name", format_args!("{NAME_BYTES_MAX} bytes at most")));
        }
        if text.trim().is_empty() {
            return Err(item.refused("text", "empty, expected a text"));
        }
        item.end()?;
        Ok(Document { name, text })
    });
    Ok(Some(Brought { documents: documents.collect::<Result<_, _>>()?, passage, temperature: None }))
}

/// What is told of the answer to `question` of `by` about what it `brought`, which goes the way of `course`.
///
/// # Errors
/// [`Refusal::Invalid`] when the question is more than words, [`Refusal::Busy`] when too many are about documents.
pub fn answer(
    app: &Arc<App>,
    served: &Arc<Served>,
    question: Question,
    brought: Brought,
    (course, must): (Course, bool),
    by: Option<&str>,
) -> Result<Receiver<Telling>, Refusal> {
    let room = app.documents_room.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
    let asked = question.words.as_ref().and_then(Words::last_question).filter(|_| question.n == 1);
    let Some(asked) = asked.map(str::to_owned) else {
        let why = "documents: only for a conversation of texts that ends with a question, without tools, forms, \
                   log-probabilities, the beginning of an answer, or several answers";
        return Err(Refusal::field("documents", why));
    };
    let (to, told) = channel(TELLINGS_MAX);
    let (alive, ended) = channel(1);
    let interrupted = Arc::<AtomicBool>::default();
    let watch =
        end_in_time(to.clone(), vec![interrupted.clone()], ended, app.limits.answer, app.phase.clone());
    tokio::spawn(watch);
    let by = by.map(str::to_owned);
    let reader = Reader::new(app, served, question, by.clone(), interrupted, Handle::current());
    let work = Work { app: app.clone(), asked, brought, must, by, reader, to, _alive: alive, _room: room };
    let start = std::thread::Builder::new().name("ingle-documents".into());
    let started = start.spawn(move || work.run(course));
    started.map(|_| told).map_err(|e| Refusal::Failed(format!("a thread: {e}")))
}

/// A question about documents, under way.
struct Work {
    app: Arc<App>,
    asked: String,
    brought: Brought,
    /// Elsewhere is asked for.
    must: bool,
    by: Option<String>,
    reader: Reader,
    to: Sender<Telling>,
    _alive: Sender<std::convert::Infallible>,
    _room: OwnedSemaphorePermit,
}

/// An answer, and which way it came.
struct Answered {
    outcome: Outcome,
    /// From elsewhere: what it took.
    there: Option<(Row, String)>,
    confidence: Option<f64>,
    told: Json,
}

impl Work {
    fn run(mut self, course: Course) {
        let answered = self.answer(course);
        // What was read took what it took, also where nothing came of it.
        let took = self.reader.end();
        let last = match answered {
            Ok(answered) => {
                let took = told_of(took, &answered);
                if let Some(took) = took {
                    self.tell(Telling::Took(Box::new(took)));
                }
                Ok(answered.outcome)
            }
            Err(refusal) => Err(refusal),
        };
        let n_tokens = last.as_ref().map_or(0, |outcome| outcome.n_generated);
        self.tell(Telling::Said(vec![Said { index: 0, what: What::End(last), n_tokens }]));
    }

    /// The answer from here first, where elsewhere is not asked for; from elsewhere, where that is worth it.
    fn answer(&mut self, course: Course) -> Result<Answered, Refusal> {
        let documents = std::mem::take(&mut self.brought.documents);
        let (mut router, mut elsewhere) = match course {
            Course::Here => (None, false),
            Course::Open(router) => (Some(router), false),
            Course::There(router) => (Some(router), true),
        };
        let mut whole = None;
        if !self.must && may_fit(&documents, self.reader.ctx()) {
            whole = self.reader.final_prompt(&in_one(&self.asked, &documents))?;
        }
        let mut cut: Vec<Passage> = Vec::new();
        if router.is_some() || whole.is_none() {
            match self.reader.cut(&documents, &self.asked, self.brought.passage) {
                Ok(passages) => cut = passages,
                // It can be answered here, and nowhere else.
                Err(_) if whole.is_some() => (router, elsewhere) = (None, false),
                Err(refusal) => return Err(refusal),
            }
        }
        let asked = self.asked.clone();
        let mut way = Way::new(&asked, &documents, &cut);
        let was_whole = !elsewhere && whole.is_some();
        let (mut here, mut confidence) = (None, None);
        if !elsewhere {
            here = match whole {
                Some(prompt) => Some(self.reader.final_answer(prompt, &self.to)?),
                None => {
                    way.read_for_itself(&mut |text, form| self.reader.reply(text, form))?;
                    self.reader.join(&way, &self.to)?
                }
            };
            (elsewhere, confidence) = self.is_unsure(router.as_deref(), here.as_ref())?;
        }
        let mut there = None;
        let (mut left, mut stayed) = (None, None);
        if elsewhere && let Some(elsewhere) = self.app.elsewhere.clone() {
            let sources = vec![FACTS.to_owned()];
            let situation = Situation { sources, ..elsewhere.situation(self.by.as_deref()) };
            let mut asking =
                There::new(elsewhere.clone(), &self.app, &self.reader, self.brought.temperature, self.must);
            let text = way.elsewhere(
                &mut |text, form| self.reader.reply(text, form),
                &mut |leaving| asking.ask(leaving),
                (&elsewhere.desk().policy, &situation),
            )?;
            if let (Some(text), Some((row, by))) = (text, asking.last.take()) {
                if here.as_ref().is_some_and(|joined: &Joined| joined.was_shown) {
                    self.tell(Telling::Replaced(by.clone()));
                }
                self.say(&text);
                there = Some((row, by));
            }
            if there.is_none() && here.is_none() {
                here = self.reader.join(&way, &self.to)?;
            }
            (left, stayed) = (Some(asking.left), asking.stayed);
        }
        if there.is_none() && here.is_none() {
            self.say(NOTHING);
        }
        let (n_passages, is_from_here) = (cut.len(), there.is_none());
        let told = Told { documents: &documents, n_passages, was_whole, course: &way, left: left.as_ref() };
        let mut told = told.to_json(is_from_here);
        let [n_in, n_reused, n_out] = self.reader.n_tokens;
        told["n_prompt"] = json!(n_in);
        told["n_reused"] = json!(n_reused);
        told["n_generated"] = json!(n_out);
        if let Some(why) = stayed {
            told["stayed"] = why.into();
        }
        let outcome = match (&there, here) {
            (Some((row, _)), _) => Outcome {
                n_prompt: row.tokens_in as usize,
                n_generated: row.tokens_out as usize,
                ..Outcome::default()
            },
            (None, Some(joined)) => joined.outcome,
            (None, None) => Outcome::default(),
        };
        Ok(Answered { outcome, there, confidence, told })
    }

    /// Whether somebody else is to answer in place of the answer from here, and how sure that is.
    fn is_unsure(
        &self,
        router: Option<&Router>,
        here: Option<&Joined>,
    ) -> Result<(bool, Option<f64>), Refusal> {
        let (Some(router), Some(elsewhere)) = (router, &self.app.elsewhere) else { return Ok((false, None)) };
        let right = here.map_or(0.0, |one| {
            router.confidence(self.reader.model(), &one.margins, ending(one.outcome.finish))
        });
        let decision = router.after(right, elsewhere.now_ms()).map_err(|e| Refusal::Failed(e.to_string()))?;
        Ok((decision.route == Route::Cloud, Some(right)))
    }

    fn say(&self, text: &str) {
        let what = What::Text { text: text.to_owned(), thinks: false, logprobs: Vec::new() };
        self.tell(Telling::Said(vec![Said { index: 0, what, n_tokens: 0 }]));
    }

    fn tell(&self, telling: Telling) {
        // Who is gone needs nothing.
        let _ = self.to.blocking_send(telling);
    }
}

/// What is told of where the answer is from: bytes that left are those of all that was asked for it.
fn told_of(here: Option<Took>, answered: &Answered) -> Option<Took> {
    let n_left = answered.told["bytes_left"].as_u64().unwrap_or(0);
    let mut took = match &answered.there {
        Some((row, by)) => {
            let replaced = here.map(|took| Box::new(took.row));
            Took { endpoint: Some(by.clone()), replaced, ..Took::there(row.clone()) }
        }
        None => Took { confidence: answered.confidence, ..here? },
    };
    took.row.bytes_out = n_left;
    took.documents = Some(Box::new(answered.told.clone()));
    Some(took)
}

impl Words {
    /// What is asked last.
    fn last_question(&self) -> Option<&str> {
        self.messages.last().filter(|last| last.role == Role::User).map(|last| last.text.as_str())
    }

    /// In templates' words, with `text` in place of what is asked last.
    fn with_last(&self, text: &str) -> Json {
        let before = self.messages.split_last().map_or(&[][..], |(_, before)| before);
        let one = |role: Role, text: &str| json!({ "role": role.name(), "content": text });
        let before = before.iter().map(|Message { role, text }| one(*role, text));
        before.chain([one(Role::User, text)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_texts_in_the_request_and_bounded() {
        let of = |body: Json| take(&mut Fields::parse(body.to_string().as_bytes()).unwrap());
        assert!(of(json!({})).unwrap().is_none());
        assert!(of(json!({ "documents": [] })).unwrap().is_none());
        let taken = of(json!({ "documents": [{ "text": "a" }, { "name": "b.md", "text": "b" }] }));
        let names: Vec<String> = taken.unwrap().unwrap().documents.into_iter().map(|d| d.name).collect();
        assert_eq!(names, ["document 1", "b.md"]);
        let many: Vec<Json> = (0..=DOCUMENTS_MAX).map(|_| json!({ "text": "a" })).collect();
        for (body, said) in [
            (json!({ "documents": "a" }), "documents: expected an array of objects"),
            (json!({ "documents": ["a"] }), "documents[0]: expected an object"),
            (json!({ "documents": [{ "name": "a" }] }), "documents[0].text: none given"),
            (json!({ "documents": [{ "text": " \n" }] }), "documents[0].text: empty"),
            (
                json!({ "documents": [{ "text": "a", "path": "/etc/passwd" }] }),
                "documents[0].path: no such field",
            ),
            (json!({ "documents": [{ "text": "a", "name": "n".repeat(256) }] }), "documents[0].name: 255"),
            (json!({ "documents": many }), "documents: 101, 100 at most"),
            (json!({ "passage": 80 }), "passage: for a request with documents"),
            (
                json!({ "passage": 3, "documents": [{ "text": "a" }] }),
                "passage: expected a whole number from 16",
            ),
        ] {
            let error = of(body).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}, expected {said}");
        }
    }
}
