//! The local model as a reader: its prompts, its replies in a form, and what all of them take together.

use std::io;
use std::time::Instant;

use ingle_assist::course::Course;
use ingle_assist::document::{Document, Passage, passages};
use ingle_assist::reading::{self, reply_room};
use ingle_engine::chat::Prompt;
use ingle_engine::constrain::{Constraint, Grammar};
use ingle_engine::generate::Overflow;
use ingle_engine::kv_dir::fingerprint::number_of_model;
use ingle_engine::meter::Mark;
use ingle_engine::sample::Params;
use ingle_engine::session::Session;
use ingle_model::token::{Parse, Tokenizer};

use crate::chat::Conversation;
use crate::chat::answer::{Answer, Options, answer};
use crate::chat::prompt::Prompter;
use crate::env::{Env, Progress, say};
use crate::exit::Failure;
use crate::metering::{Metering, Took};

/// The local model.
pub struct Reader<'a> {
    session: Session,
    metering: Metering,
    prompter: &'a Prompter<'a>,
    system: Option<&'a str>,
    /// Of final answers.
    options: Options,
    env: &'a Env,
    progress: Progress,
    begun: (Mark, Instant),
    /// The form of the last reply, which its passage's other questions have too.
    form: Option<(String, Constraint)>,
    n_replies: usize,
    /// Tokens read, of those the ones that were there already, and written.
    pub n_tokens: [usize; 3],
}

impl<'a> Reader<'a> {
    /// Whose final answers follow `system` and `options`.
    pub fn new(
        (session, mut metering): (Session, Metering),
        prompter: &'a Prompter<'a>,
        system: Option<&'a str>,
        options: Options,
        env: &'a Env,
    ) -> Self {
        let begun = (metering.begin_parts(), Instant::now());
        let (progress, form, n_replies, n_tokens) = (Progress::new(env), None, 0, [0; 3]);
        Self { session, metering, prompter, system, options, env, progress, begun, form, n_replies, n_tokens }
    }

    /// Its context.
    pub fn ctx(&self) -> usize {
        self.session.ctx()
    }

    /// The number of its model.
    pub fn model(&self) -> u64 {
        number_of_model(self.session.loaded())
    }

    /// The prompt for a final answer, if it leaves room for one.
    pub fn final_prompt(&self, text: &str) -> Result<Option<Prompt>, Failure> {
        let mut conversation = Conversation::new(self.system);
        conversation.push("user", text);
        let prompt = self.prompter.prompt(&conversation)?;
        let has_room = prompt.ids.len() + self.options.room(self.ctx()) <= self.ctx();
        Ok(Some(prompt).filter(|_| has_room))
    }

    /// A final answer.
    pub fn final_answer(
        &mut self,
        prompt: &Prompt,
        show: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer, Failure> {
        self.progress.clear();
        let options = self.options.clone();
        self.answer(prompt, &options, show)
    }

    /// The final answer that it makes of the facts; `None` where there are none.
    pub fn join(
        &mut self,
        course: &Course<'_>,
        show: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Option<Answer>, Failure> {
        let mut fits = |text: &str| self.final_prompt(text).is_ok_and(|prompt| prompt.is_some());
        let Some((text, n)) = course.joining_here(&mut fits) else { return Ok(None) };
        let (n_facts, ctx) = (course.sheet().facts().len(), self.ctx());
        if n < n_facts {
            say(format_args!(
                "note: {n} of {n_facts} facts have room in the context of {ctx} tokens; raise --ctx"
            ));
        }
        let Some(prompt) = self.final_prompt(&text)? else { return Ok(None) };
        self.final_answer(&prompt, show).map(Some)
    }

    /// What it says of a passage; nothing of use where that and the question have no room.
    pub fn reply(&mut self, text: &str, form: &str) -> Result<String, Failure> {
        self.n_replies += 1;
        let room = reply_room(self.ctx());
        let prompt = self.reading_prompt(text)?;
        if prompt.ids.len() + room > self.ctx() {
            return Ok(String::new());
        }
        self.progress.show(format_args!("reading: reply {}", self.n_replies));
        let constraint = match self.form.take() {
            Some((of, constraint)) if of == form => constraint,
            _ => self.session.loaded().constraint(&Grammar::Regex(form.to_owned()))?,
        };
        self.form = Some((form.to_owned(), constraint.clone()));
        let options = Options {
            params: Params::GREEDY,
            stop: Vec::new(),
            max_tokens: room,
            overflow: Overflow::Error,
            logprobs: None,
            constraint: Some(constraint),
            margins: false,
            abort: None,
        };
        Ok(self.answer(&prompt, &options, &mut |_| Ok(()))?.text)
    }

    /// Cuts documents into passages of `wanted` tokens, or the usual ones, or what the context has room for.
    pub fn cut(
        &self,
        documents: &[Document],
        question: &str,
        wanted: Option<usize>,
    ) -> Result<Vec<Passage>, Failure> {
        let (ctx, loaded) = (self.ctx(), self.session.loaded().clone());
        let tokenizer = loaded.tokenizer()?;
        let around = self.reading_prompt(&reading::prompt("", ""))?.ids.len();
        let asks = count(tokenizer, question);
        let budget = reading::passage_tokens(ctx, around, asks, wanted)
            .map_err(|why| Failure::failed(format!("{why}; raise --ctx")))?;
        Ok(passages(documents, budget, &mut |text| count(tokenizer, text)))
    }

    /// All that was to be answered is: one row of the ledger, and what it took.
    pub fn end(&mut self) -> Took {
        self.progress.clear();
        let (mark, start) = &self.begun;
        self.metering.end_parts(mark, start.elapsed(), [self.n_tokens[0], self.n_tokens[2]])
    }

    fn reading_prompt(&self, text: &str) -> Result<Prompt, Failure> {
        let mut conversation = Conversation::new(None);
        conversation.push("user", text);
        self.prompter.thoughtless(&conversation)
    }

    fn answer(
        &mut self,
        prompt: &Prompt,
        options: &Options,
        show: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer, Failure> {
        let answer = answer(&mut self.session, prompt, options, self.env, &mut self.metering, show)?;
        let n_tokens = answer.n_tokens();
        self.n_tokens = std::array::from_fn(|i| self.n_tokens[i] + n_tokens[i]);
        if answer.interrupted() { Err(Failure::interrupted()) } else { Ok(answer) }
    }
}

fn count(tokenizer: &Tokenizer, text: &str) -> usize {
    let mut ids = Vec::new();
    // A text without tokens is told when it is read.
    tokenizer.encode(text, Parse::Text, &mut ids).map_or(usize::MAX >> 8, |()| ids.len())
}
