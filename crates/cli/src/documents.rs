//! `ingle run MODEL QUESTION --document FILE`: `assist`'s way with this program's files, model, gate and words.
//!
//! Documents that fit the context go into the prompt whole, as that reads them best. Longer ones, and all of which somebody elsewhere is to
//! answer, are read passage by passage. Elsewhere is asked where `--route cloud` says so, or as for any other prompt: when the answer from
//! here is not sure enough. Document texts are given to the local model and to nobody else; what is put to the gate is what `assist` makes
//! of the question and the facts. What left is counted in bytes of request bodies, all attempts together, as the log of what left has it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches};
use ingle_assist::course::{Course, Leaving};
use ingle_assist::document::{Document, n_bytes, passages};
use ingle_assist::reading::{self, REPLY_TOKENS};
use ingle_engine::chat::Prompt;
use ingle_engine::constrain::{Constraint, Grammar};
use ingle_engine::generate::Overflow;
use ingle_engine::sample::Params;
use ingle_engine::session::Session;
use ingle_model::token::{Parse, Tokenizer};
use ingle_route::cloud::CloudError;
use ingle_route::decide::Route;
use ingle_route::desk::{Desk, Router, confidence};
use ingle_route::gate::{Wanted, stays};
use ingle_route::ledger::Place;
use ingle_route::policy::Wish;
use serde_json::{Value as Json, json};

use crate::chat::Conversation;
use crate::chat::answer::{Answer, Options, answer};
use crate::chat::prompt::Prompter;
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};
use crate::metering::{Metering, now_ms};
use crate::routing::{self, Release};
use crate::verbs::print_json;

/// The longest document.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
/// The most documents.
const DOCUMENTS_MAX: usize = 100;
/// Tokens of a passage, where nobody says: a small model finds more in less.
const PASSAGE_TOKENS: usize = 512;
/// Tokens that a question from elsewhere may take.
const QUESTION_TOKENS: usize = 128;
/// Facts that are listed where the answer names none.
const LISTED_MAX: usize = 20;
/// What is said where nothing was found.
const NOTHING: &str = "The documents do not seem to say.";

/// `--document` and `--passage`.
pub fn args() -> [Arg; 2] {
    [
        Arg::new("document")
            .long("document")
            .value_name("FILE")
            .action(ArgAction::Append)
            .value_hint(clap::ValueHint::FilePath)
            .conflicts_with_all(["schema", "logprobs"])
            .help("Answer about this text, however long; it stays on the device. May be given several times"),
        Arg::new("passage")
            .long("passage")
            .value_name("N")
            .requires("document")
            .value_parser(clap::value_parser!(u64).range(16..=1 << 20))
            .help("Tokens of a document that are read at once; default: 512, less if the context is short"),
    ]
}

/// The documents of the command line; none where it names none.
pub fn open(matches: &ArgMatches) -> Result<Vec<Document>, Failure> {
    let files: Vec<&String> = matches.get_many::<String>("document").into_iter().flatten().collect();
    if files.len() > DOCUMENTS_MAX {
        return Err(Failure::usage(format!("--document: {} files, {DOCUMENTS_MAX} at most", files.len())));
    }
    files.into_iter().map(|file| open_one(file)).collect()
}

fn open_one(file: &str) -> Result<Document, Failure> {
    let io = |e: io::Error| Failure::file(file, &e);
    let mut bytes = Vec::new();
    File::open(file).map_err(io)?.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(Failure::failed(format!("{file}: more than {DOCUMENT_BYTES_MAX} bytes, split it")));
    }
    let is_text = !bytes.starts_with(b"%PDF") && !bytes.contains(&0);
    let text = String::from_utf8(bytes).ok().filter(|_| is_text).ok_or_else(|| {
        Failure::failed(format!(
            "{file}: not a text in UTF-8 (.txt, .md, .csv, ...), expected one; convert it first"
        ))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
    if text.trim().is_empty() {
        return Err(Failure::failed(format!("{file}: empty, expected a text")));
    }
    Ok(Document { name: file.to_owned(), text })
}

/// What is asked, and by what it is answered.
pub struct Asked<'a> {
    pub question: &'a str,
    pub system: Option<&'a str>,
    pub documents: Vec<Document>,
    /// Tokens of a passage.
    pub passage: Option<usize>,
    pub wanted: Wanted,
    pub prompter: &'a Prompter<'a>,
    pub options: Options,
    pub session: Session,
    pub metering: Metering,
    /// The way of the question, where it may leave.
    pub router: Option<Box<Router>>,
    pub json: bool,
    pub stats: bool,
}

/// The local model, and what all of its replies take.
struct Reader<'a> {
    session: Session,
    metering: Metering,
    prompter: &'a Prompter<'a>,
    env: &'a Env,
    progress: Progress,
    /// The form of the last reply, which its passage's other questions have too.
    form: Option<(String, Constraint)>,
    n_replies: usize,
    /// Tokens read, of those the ones that were there already, and written.
    n_tokens: [usize; 3],
}

impl Reader<'_> {
    fn prompt(&self, system: Option<&str>, text: &str, is_final: bool) -> Result<Prompt, Failure> {
        let mut conversation = Conversation::new(system);
        conversation.push("user", text);
        if is_final { self.prompter.prompt(&conversation) } else { self.prompter.thoughtless(&conversation) }
    }

    fn answer(
        &mut self,
        prompt: &Prompt,
        options: &Options,
        show: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer, Failure> {
        let answer = answer(&mut self.session, prompt, options, self.env, &mut self.metering, show)?;
        self.n_tokens = std::array::from_fn(|i| self.n_tokens[i] + answer.n_tokens()[i]);
        if answer.interrupted() { Err(Failure::interrupted()) } else { Ok(answer) }
    }

    /// What a passage says; nothing of use where it and the question have no room.
    fn reply(&mut self, text: &str, form: &str) -> Result<String, Failure> {
        self.n_replies += 1;
        self.progress.show(format_args!("reading: {} replies", self.n_replies));
        let constraint = match self.form.take() {
            Some((of, constraint)) if of == form => constraint,
            _ => self.session.loaded().constraint(&Grammar::Regex(form.to_owned()))?,
        };
        self.form = Some((form.to_owned(), constraint.clone()));
        let prompt = self.prompt(None, text, false)?;
        let room = reply_room(self.session.ctx());
        if prompt.ids.len() + room > self.session.ctx() {
            return Ok(String::new());
        }
        let options = Options {
            params: Params::GREEDY,
            stop: Vec::new(),
            max_tokens: room,
            overflow: Overflow::Error,
            logprobs: None,
            constraint: Some(constraint),
            margins: false,
        };
        Ok(self.answer(&prompt, &options, |_| Ok(()))?.text)
    }
}

/// Tokens that a reply about a passage may take.
fn reply_room(ctx: usize) -> usize {
    REPLY_TOKENS.min(ctx / 4)
}

/// The way elsewhere, and what left by it.
struct There<'a> {
    desk: Arc<Desk>,
    wanted: Wanted,
    /// Nothing was answered yet that could stand.
    must: bool,
    env: &'a Env,
    n_bytes: u64,
    /// The facts that left, by number.
    facts: Vec<usize>,
    answered_by: Option<String>,
    is_redacted: bool,
}

impl There<'_> {
    /// Asks elsewhere; `None` where what was to leave stays, or nobody answers.
    fn ask(&mut self, leaving: &Leaving) -> Result<Option<String>, Failure> {
        let is_plan = leaving.sources.is_empty();
        let wanted =
            if is_plan { Wanted { max_tokens: None, ..self.wanted.clone() } } else { self.wanted.clone() };
        let router =
            match routing::release(&self.desk, &leaving.messages, leaving.sources, &wanted, self.env)? {
                Release::Open(router) => router,
                Release::Stays(why) if is_plan && self.must => return Err(Failure::blocked(why)),
                Release::Stays(why) => {
                    say(format_args!("note: {why}; what is known here answers"));
                    return Ok(None);
                }
            };
        match routing::try_ask(&router, self.env, &mut |_| {})? {
            Ok(answered) => {
                self.left(answered.row.bytes_out, leaving);
                self.answered_by = Some(answered.endpoint);
                self.is_redacted |= answered.row.place == Place::Redacted;
                Ok(Some(answered.text))
            }
            Err(error) => {
                if let CloudError::NoAnswer(_, bytes) | CloudError::Interrupted(bytes) = &error {
                    self.left(bytes.out, leaving);
                }
                match error {
                    CloudError::NoAnswer(..) if !(is_plan && self.must) => {
                        say(format_args!("note: {error}; what is known here answers"));
                        Ok(None)
                    }
                    error => Err(routing::failure(error)),
                }
            }
        }
    }

    fn left(&mut self, n_bytes: u64, leaving: &Leaving) {
        self.n_bytes += n_bytes;
        if n_bytes > 0 {
            self.facts.extend(&leaving.facts);
            self.facts.sort_unstable();
            self.facts.dedup();
        }
    }
}

/// Answers a question about documents.
pub fn run(asked: Asked<'_>, env: &Env) -> Result<Exit, Failure> {
    let Asked { question, system, documents, router, options, json, stats, .. } = asked;
    let (wish, ctx, start) = (routing::wish(env), asked.session.ctx(), Instant::now());
    let loaded = asked.session.loaded().clone();
    let tokenizer = loaded.tokenizer()?;
    let mut reader = Reader {
        session: asked.session,
        metering: asked.metering,
        prompter: asked.prompter,
        env,
        progress: Progress::new(env),
        form: None,
        n_replies: 0,
        n_tokens: [0; 3],
    };
    let begun = reader.metering.begin_parts();
    let whole =
        (n_bytes(&documents) / 16 < ctx).then(|| reader.prompt(system, &in_one(question, &documents), true));
    let whole = whole.transpose()?.filter(|prompt| prompt.ids.len() + options.room(ctx) <= ctx);
    let cut = match wish == Wish::Cloud || router.is_some() || whole.is_none() {
        true => {
            let budget = passage_tokens(asked.passage, question, &reader, tokenizer)?;
            passages(&documents, budget, &mut |text| count(tokenizer, text))
        }
        false => Vec::new(),
    };
    let mut course = Course::new(question, &documents, &cut);
    // What may be replaced is shown only where the reader sees that it was.
    let live = !json && (router.is_none() || env.stdout_is_terminal);
    let mut out = io::stdout();
    let mut show = |piece: &str| {
        if live {
            out.write_all(piece.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    };
    let mut elsewhere = wish == Wish::Cloud;
    if let Some(router) = &router {
        let decision = router.before(question, ctx, now_ms()).map_err(Failure::failed)?;
        routing::say_decision(&decision);
        elsewhere = decision.route == Route::Cloud;
    }
    let mut draft: Option<Answer> = None;
    let was_whole = !elsewhere && whole.is_some();
    if !elsewhere {
        draft = match &whole {
            Some(prompt) => Some(reader.answer(prompt, &options, &mut show)?),
            None => {
                course.read_for_itself(&mut |text, form| reader.reply(text, form))?;
                joined_here(&course, system, &options, &mut reader, &mut show)?
            }
        };
        if let Some(router) = &router {
            let right = draft.as_ref().map_or(0.0, |answer| confidence(&answer.margins, answer.ending()));
            let decision = router.after(right, now_ms()).map_err(Failure::failed)?;
            elsewhere = decision.route == Route::Cloud;
            if elsewhere && live && draft.is_some() {
                say("");
            }
            routing::say_decision(&decision);
        }
    }
    let mut left = None;
    let mut text = None;
    if elsewhere {
        let desk = routing::desk(routing::policy(env)?, env)?;
        let situation = routing::situation_of(&[ingle_route::policy::FACTS], env);
        let may = |fact: &str| !stays(&desk.policy, fact, &situation);
        let mut there = There {
            desk: desk.clone(),
            wanted: asked.wanted,
            must: wish == Wish::Cloud,
            env,
            n_bytes: 0,
            facts: Vec::new(),
            answered_by: None,
            is_redacted: false,
        };
        text = course.elsewhere(
            &mut |text, form| reader.reply(text, form),
            &mut |leaving| there.ask(leaving),
            &may,
        )?;
        if text.is_none() && draft.is_none() {
            draft = joined_here(&course, system, &options, &mut reader, &mut show)?;
        }
        left = Some(there);
    }
    reader.progress.clear();
    let from_here = || draft.as_ref().map_or(NOTHING, |answer| answer.text.as_str()).to_owned();
    let is_from_here = text.is_none();
    let text = text.unwrap_or_else(from_here);
    let took = reader.metering.end_parts(&begun, start.elapsed(), [reader.n_tokens[0], reader.n_tokens[2]]);
    let told = Told {
        documents: &documents,
        n_passages: cut.len(),
        was_whole,
        course: &course,
        left: left.as_ref(),
    };
    if json {
        let mut all = told.to_json(&text, is_from_here);
        all["n_prompt"] = json!(reader.n_tokens[0]);
        all["n_reused"] = json!(reader.n_tokens[1]);
        all["n_generated"] = json!(reader.n_tokens[2]);
        all["took"] = took.to_json();
        print_json(&all)?;
    } else if live && is_from_here && draft.is_some() {
        writeln!(out)?;
    } else {
        writeln!(out, "{text}")?;
    }
    if let Some(answer) = draft.as_ref().filter(|_| is_from_here) {
        answer.explain(ctx);
    }
    told.say_facts(&text);
    told.say_what_left();
    if stats {
        let tally = course.tally();
        say(format_args!("replies about passages {}, {} of no use", tally.n_replies, tally.n_unusable));
        let [n_in, n_reused, n_out] = reader.n_tokens;
        say(format_args!("tokens               {n_in} read, {n_reused} of them reused, {n_out} written"));
        say(format_args!("wall time            {:.1} s", start.elapsed().as_secs_f64()));
        took.say();
    }
    Ok(Exit::OK)
}

/// The documents before the question.
fn in_one(question: &str, documents: &[Document]) -> String {
    let mut out = String::new();
    for document in documents {
        out.push_str(document.text.trim());
        out.push_str("\n\n");
    }
    out.push_str(question);
    out
}

fn count(tokenizer: &Tokenizer, text: &str) -> usize {
    let mut ids = Vec::new();
    // A text without tokens is told when it is read.
    tokenizer.encode(text, Parse::Text, &mut ids).map_or(usize::MAX >> 8, |()| ids.len())
}

/// Tokens of a passage that leave room for the question, what is around it, and the reply.
fn passage_tokens(
    wanted: Option<usize>,
    question: &str,
    reader: &Reader<'_>,
    tokenizer: &Tokenizer,
) -> Result<usize, Failure> {
    let ctx = reader.session.ctx();
    let around = reader.prompt(None, &reading::prompt("", ""), false)?.ids.len();
    let taken = around + count(tokenizer, question).max(QUESTION_TOKENS.min(ctx / 8)) + reply_room(ctx);
    let room = ctx.saturating_sub(taken);
    if room < 16 {
        return Err(Failure::failed(format!(
            "the context of {ctx} tokens has no room for a passage beside the question: {taken} tokens; raise --ctx"
        )));
    }
    Ok(wanted.unwrap_or(PASSAGE_TOKENS).min(room))
}

/// The answer that the local model makes of the facts; `None` where there are none.
fn joined_here(
    course: &Course<'_>,
    system: Option<&str>,
    options: &Options,
    reader: &mut Reader<'_>,
    show: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<Option<Answer>, Failure> {
    let ctx = reader.session.ctx();
    let fits = |text: &str| {
        let prompt = reader.prompt(system, text, true);
        prompt.is_ok_and(|prompt| prompt.ids.len() + options.room(ctx) <= ctx)
    };
    let Some((prompt, n)) = course.joining_here(&mut { fits }) else { return Ok(None) };
    let n_facts = course.sheet().facts().len();
    if n < n_facts {
        say(format_args!(
            "note: {n} of {n_facts} facts have room in the context of {ctx} tokens; raise --ctx"
        ));
    }
    let prompt = reader.prompt(system, &prompt, true)?;
    reader.progress.clear();
    reader.answer(&prompt, options, show).map(Some)
}

/// What the user is told of how an answer came about.
struct Told<'a> {
    documents: &'a [Document],
    n_passages: usize,
    was_whole: bool,
    course: &'a Course<'a>,
    left: Option<&'a There<'a>>,
}

impl Told<'_> {
    /// The facts that the answer names, or the first ones, with where they stand.
    fn say_facts(&self, text: &str) {
        let facts = self.course.sheet().facts();
        let named: Vec<usize> =
            (0..facts.len()).filter(|at| text.contains(&format!("[{}]", at + 1))).collect();
        let all: Vec<usize> = if named.is_empty() { (0..facts.len()).collect() } else { named };
        for &at in all.iter().take(LISTED_MAX) {
            let places = facts[at].places.iter().map(|place| {
                let document = &self.documents[place.document];
                format!("{}:{}", document.name, document.line_of(place.quote.start))
            });
            say(format_args!("[{}] {}  {}", at + 1, facts[at].answer, places.collect::<Vec<_>>().join(", ")));
        }
        if all.len() > LISTED_MAX {
            say(format_args!("and {} more facts", all.len() - LISTED_MAX));
        }
    }

    fn say_what_left(&self) {
        let n_bytes = n_bytes(self.documents);
        let n_facts = self.course.sheet().facts().len();
        let how = match self.was_whole && self.course.asked().is_empty() {
            true => "whole, as it fits the context".to_owned(),
            false => format!("in {} passages, {n_facts} facts", self.n_passages),
        };
        let left = match self.left.filter(|there| there.n_bytes > 0) {
            None => "nothing left this device".to_owned(),
            Some(there) => {
                let what = match there.facts.len() {
                    0 => "question".to_owned(),
                    1 => "question and 1 fact".to_owned(),
                    n => format!("question and {n} facts"),
                };
                let to = there.answered_by.as_deref().unwrap_or("elsewhere, which gave no answer");
                let share = 100.0 * there.n_bytes as f64 / n_bytes as f64;
                format!("{} bytes left for {to} ({what}), {share:.1} %", grouped(there.n_bytes))
            }
        };
        say(format_args!("read {} bytes here {how}; {left}", grouped(n_bytes as u64)));
    }

    fn to_json(&self, text: &str, is_from_here: bool) -> Json {
        let left = |at: usize| self.left.is_some_and(|there| there.facts.contains(&at));
        let facts: Vec<Json> = (self.course.sheet().facts().iter().enumerate())
            .map(|(at, fact)| {
                let places: Vec<Json> = (fact.places.iter())
                    .map(|place| {
                        let document = &self.documents[place.document];
                        json!({
                            "file": document.name, "line": document.line_of(place.quote.start),
                            "passage": place.passage + 1, "start": place.quote.start, "end": place.quote.end,
                            "quote": document.text[place.quote.clone()],
                        })
                    })
                    .collect();
                json!({
                    "question": self.course.asked()[fact.question], "answer": fact.answer, "left": left(at),
                    "places": places,
                })
            })
            .collect();
        let there = self.left;
        json!({
            "text": text,
            "answered_by": there.and_then(|there| there.answered_by.as_deref()).filter(|_| !is_from_here),
            "redacted": there.is_some_and(|there| there.is_redacted),
            "whole": self.was_whole && self.course.asked().is_empty(),
            "bytes_read": n_bytes(self.documents),
            "bytes_left": there.map_or(0, |there| there.n_bytes),
            "n_passages": self.n_passages,
            "questions": self.course.asked(),
            "n_replies": self.course.tally().n_replies,
            "n_unusable": self.course.tally().n_unusable,
            "facts": facts,
        })
    }
}

/// A number with commas.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_have_commas() {
        assert_eq!(
            [0, 999, 1000, 182_340, 1_000_000].map(grouped),
            ["0", "999", "1,000", "182,340", "1,000,000"]
        );
    }
}
