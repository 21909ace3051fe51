//! The served model as a reader: its replies in a form, its final answers, and one account of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use ingle_assist::course::Course;
use ingle_assist::document::{Document, Passage, passages};
use ingle_assist::reading::{self, reply_room};
use ingle_engine::chat::{Conversation, Prompt};
use ingle_engine::constrain::{Constraint, Grammar};
use ingle_engine::generate::{Event, Finish, Outcome, Overflow};
use ingle_engine::output::{Delivery, Options, Parser, Part};
use ingle_engine::run::{Job, Refused, Sink};
use ingle_engine::sample::Params;
use ingle_model::token::Parse;
use ingle_route::confidence::Margins;
use serde_json::{Map, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;

use crate::accounts::{Account, Took};
use crate::app::App;
use crate::ask::{Question, Telling, What, ask_for};
use crate::refusal::Refusal;
use crate::served::Served;

/// How long to wait before a full queue is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long the account may take to say what all of it took.
const ACCOUNT_BY: Duration = Duration::from_secs(10);

/// The local model.
pub struct Reader {
    app: Arc<App>,
    served: Arc<Served>,
    /// As it was asked, without documents.
    question: Question,
    by: Option<String>,
    account: Option<Arc<Account>>,
    interrupted: Arc<AtomicBool>,
    handle: Handle,
    /// The form of the last reply, which its passage's other questions have too.
    form: Option<(String, Constraint)>,
    /// Tokens read, of those the ones that were there already, and written.
    pub n_tokens: [usize; 3],
    /// While it is there the model stays.
    _pin: Arc<()>,
}

/// A final answer from here.
pub struct Joined {
    pub outcome: Outcome,
    pub margins: Margins,
    /// Whether something of it was shown.
    pub was_shown: bool,
}

impl Reader {
    /// Whose final answers are as `question` has it.
    pub fn new(
        app: &Arc<App>,
        served: &Arc<Served>,
        question: Question,
        by: Option<String>,
        interrupted: Arc<AtomicBool>,
        handle: Handle,
    ) -> Self {
        let opened = |accounts| Account::open(accounts, by.as_deref(), served.loaded(), 1);
        let account = app.accounts.as_ref().map(opened);
        let (app, served, pin) = (app.clone(), served.clone(), served.pins.clone());
        let (form, n_tokens) = (None, [0; 3]);
        Self { app, served, question, by, account, interrupted, handle, form, n_tokens, _pin: pin }
    }

    /// Its context.
    pub fn ctx(&self) -> usize {
        self.served.engine.ctx()
    }

    /// The number of its model.
    pub fn model(&self) -> u64 {
        self.served.number
    }

    /// Who asked.
    pub fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }

    /// What it was asked.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// Raised when nobody waits any more.
    pub fn interrupted(&self) -> &Arc<AtomicBool> {
        &self.interrupted
    }

    /// The prompt for a final answer, if it leaves room for one.
    pub fn final_prompt(&self, text: &str) -> Result<Option<Prompt>, Refusal> {
        let Some(words) = &self.question.words else { return Ok(None) };
        let prompt = self.prompt(&words.with_last(text), words.extra.clone())?;
        let room = self.question.max_tokens.min(self.ctx() / 4).max(1);
        let has_room = prompt.ids.len() + room <= self.ctx();
        Ok(Some(prompt).filter(|_| has_room))
    }

    /// A final answer, told to `to` as it comes, but for its end.
    pub fn final_answer(&mut self, prompt: Prompt, to: &Sender<Telling>) -> Result<Joined, Refusal> {
        let mut question = self.question.clone();
        if let Some(reading) = &mut question.reading {
            reading.options.inside = prompt.inside;
        }
        (question.prompt, question.keep, question.margins) = (prompt.ids, prompt.keep, true);
        let account = self.account.clone();
        let _inside = self.handle.enter();
        let mut told = ask_for(&self.app, &self.served, question, account)?;
        let mut margins = Margins::default();
        let mut was_shown = false;
        loop {
            let broke_off = || Refusal::Failed("the engine stopped before the answer was complete".into());
            match told.blocking_recv().ok_or_else(broke_off)? {
                Telling::Sure(sure) => margins = *sure,
                Telling::Said(mut said) => {
                    let end = said.pop_if(|said| matches!(said.what, What::End(_)));
                    was_shown |=
                        said.iter().any(|said| matches!(&said.what, What::Text { thinks: false, .. }));
                    if !said.is_empty() && to.blocking_send(Telling::Said(said)).is_err() {
                        return Err(Refusal::Stopping);
                    }
                    let Some(What::End(outcome)) = end.map(|end| end.what) else { continue };
                    let outcome = outcome?;
                    self.count(&outcome);
                    return Ok(Joined { outcome, margins, was_shown });
                }
                Telling::Took(_) | Telling::GivenUp => {}
                other @ Telling::Replaced(_) => _ = to.blocking_send(other),
            }
        }
    }

    /// The final answer that it makes of the facts; `None` where there are none.
    pub fn join(&mut self, course: &Course<'_>, to: &Sender<Telling>) -> Result<Option<Joined>, Refusal> {
        let mut fits = |text: &str| self.final_prompt(text).is_ok_and(|prompt| prompt.is_some());
        let Some((text, _)) = course.joining_here(&mut fits) else { return Ok(None) };
        let Some(prompt) = self.final_prompt(&text)? else { return Ok(None) };
        self.final_answer(prompt, to).map(Some)
    }

    /// What it says of a passage; nothing of use where that and the question have no room.
    pub fn reply(&mut self, text: &str, form: &str) -> Result<String, Refusal> {
        let max_tokens = reply_room(self.ctx());
        let prompt = self.reading_prompt(text)?;
        if prompt.ids.len() + max_tokens > self.ctx() {
            return Ok(String::new());
        }
        let constraint = match self.form.take() {
            Some((of, constraint)) if of == form => constraint,
            _ => self.served.loaded().constraint(&Grammar::Regex(form.to_owned()))?,
        };
        self.form = Some((form.to_owned(), constraint.clone()));
        let constraint = prompt.behind_thoughts(constraint, self.served.format);
        let options = Options { tools: Arc::new([]), inside: prompt.inside, delivery: Delivery::Proven };
        let (to, heard) = mpsc::channel();
        let parser = Some(Parser::new(self.served.format, options));
        let sink = Heard { to, text: String::new(), parser, account: self.account.clone() };
        let mut job = Job {
            prompt: prompt.ids,
            params: Params::GREEDY,
            stop: Vec::new(),
            max_tokens,
            logprobs: None,
            constraint: Some(constraint),
            shown: self.served.markers.clone(),
            overflow: Overflow::Error,
            keep: prompt.keep,
            sink: Box::new(sink),
            cancel: self.interrupted.clone(),
        };
        while let Err(Refused { job: back, closing }) = self.served.engine.submit(job) {
            if closing || self.interrupted.load(Relaxed) {
                return Err(Refusal::Stopping);
            }
            // The request was let in: its readings wait their turn.
            std::thread::sleep(AGAIN_AFTER);
            job = *back;
        }
        let broke_off = |_| Refusal::Failed("the engine stopped while a document was read".into());
        let (text, outcome) = heard.recv().map_err(broke_off)?;
        let outcome = outcome.map_err(Refusal::from)?;
        self.count(&outcome);
        if outcome.finish == Finish::Cancelled { Err(Refusal::Stopping) } else { Ok(text) }
    }

    /// Cuts documents into passages of `wanted` tokens, or the usual ones, or what the context has room for.
    pub fn cut(
        &self,
        documents: &[Document],
        question: &str,
        wanted: Option<usize>,
    ) -> Result<Vec<Passage>, Refusal> {
        let around = self.reading_prompt(&reading::prompt("", ""))?.ids.len();
        let asks = self.count_tokens(question);
        let budget = reading::passage_tokens(self.ctx(), around, asks, wanted)
            .map_err(|why| Refusal::field("documents", format!("documents: {why}")))?;
        Ok(passages(documents, budget, &mut |text| self.count_tokens(text)))
    }

    /// All that was to be answered is: one row of the ledger, and what it took.
    pub fn end(&mut self) -> Option<Took> {
        let account = self.account.take()?;
        let (to, took) = mpsc::channel();
        account.leave([0, 0], move |said| _ = to.send(said));
        took.recv_timeout(ACCOUNT_BY).ok().flatten()
    }

    fn count(&mut self, outcome: &Outcome) {
        let of = [outcome.n_prompt, outcome.n_reused, outcome.n_generated];
        self.n_tokens = std::array::from_fn(|i| self.n_tokens[i] + of[i]);
    }

    fn count_tokens(&self, text: &str) -> usize {
        let mut ids = Vec::new();
        let counted = self
            .served
            .loaded()
            .tokenizer()
            .map_err(drop)
            .and_then(|tokenizer| tokenizer.encode(text, Parse::Text, &mut ids).map_err(drop));
        // A text without tokens is told when it is read.
        counted.map_or(usize::MAX >> 8, |()| ids.len())
    }

    fn reading_prompt(&self, text: &str) -> Result<Prompt, Refusal> {
        let off = |name: &str| (name.to_owned(), false.into());
        let messages = json!([{ "role": "user", "content": text }]);
        self.prompt(&messages, ["enable_thinking", "thinking"].map(off).into_iter().collect())
    }

    fn prompt(
        &self,
        messages: &serde_json::Value,
        extra: Map<String, serde_json::Value>,
    ) -> Result<Prompt, Refusal> {
        let now = self.app.calendar();
        let conversation = Conversation { messages, tools: None, extra, now, begun: "" };
        Ok(self.served.prompter.prompt(self.served.loaded(), &conversation)?)
    }
}

/// Hears a reply to its end.
struct Heard {
    to: mpsc::Sender<(String, ingle_engine::Result<Outcome>)>,
    text: String,
    parser: Option<Parser>,
    account: Option<Arc<Account>>,
}

impl Sink for Heard {
    fn ready(&self) -> bool {
        true
    }

    fn on(&mut self, event: Event<'_>) {
        if let (Event::Text(piece), Some(parser)) = (event, &mut self.parser) {
            let text = &mut self.text;
            parser.push(piece, |part| {
                if let Part::Text(piece) = part {
                    text.push_str(piece);
                }
            });
        }
    }

    fn worked(&mut self, nanoseconds: u64) {
        if let Some(account) = &self.account {
            account.worked(nanoseconds);
        }
    }

    fn end(self: Box<Self>, outcome: ingle_engine::Result<Outcome>) {
        let Self { to, mut text, parser, account } = *self;
        if let Some(parser) = parser {
            parser.finish(|part| {
                if let Part::Text(piece) = part {
                    text.push_str(piece);
                }
            });
        }
        if let (Some(account), Ok(outcome)) = (&account, &outcome) {
            account.read([outcome.n_prompt, outcome.n_generated]);
        }
        // Who is gone needs nothing.
        let _ = to.send((text, outcome));
    }
}
