//! `ingle run MODEL QUESTION --document FILE`: `assist`'s way with this program's files, model, gate and words.
//!
//! Documents that fit the context go into the prompt whole, as that reads them best. Longer ones, and all of which somebody elsewhere is to
//! answer, are read passage by passage. Elsewhere is asked where `--route cloud` says so, or as for any other prompt: when the answer from
//! here is not sure enough. Texts of documents are given to the local model ([`reader`]) and to nobody else; what is put to the gate
//! ([`there`]) is what `assist` makes of the question and the facts. What left is counted in bytes of request bodies, all attempts
//! together, as the log of what left has it.

mod files;
mod reader;
mod there;
mod told;

use std::io::{self, Write};
use std::time::Instant;

use ingle_assist::course::Course;
use ingle_assist::document::{Document, in_one, may_fit};
use ingle_assist::told::Told;
use ingle_engine::chat::Prompt;
use ingle_engine::session::Session;
use ingle_route::decide::Route;
use ingle_route::desk::Router;
use ingle_route::gate::Wanted;
use ingle_route::policy::{FACTS, Wish};
use serde_json::json;

use crate::chat::answer::{Answer, Options};
use crate::chat::prompt::Prompter;
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::metering::{Metering, Took, now_ms};
use crate::routing;
use crate::verbs::print_json;
use reader::Reader;
use there::There;
use told::Words;

pub use files::{args, open};

/// What is said where nothing was found.
const NOTHING: &str = "The documents do not seem to say.";

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
    /// The way of the question, where it may leave and the answer from here is tried first.
    pub router: Option<Box<Router>>,
    pub json: bool,
    pub stats: bool,
}

/// Answers a question about documents.
pub fn run(asked: Asked<'_>, env: &Env) -> Result<Exit, Failure> {
    let Asked { question, documents, mut router, json, stats, .. } = asked;
    let (must, start) = (routing::wish(env) == Wish::Cloud, Instant::now());
    let work = (asked.session, asked.metering);
    let mut reader = Reader::new(work, asked.prompter, asked.system, asked.options, env);
    let mut whole = None;
    if !must && may_fit(&documents, reader.ctx()) {
        whole = reader.final_prompt(&in_one(question, &documents))?;
    }
    let mut cut = Vec::new();
    if router.is_some() || whole.is_none() {
        match reader.cut(&documents, question, asked.passage) {
            Ok(passages) => cut = passages,
            // It can be answered here, and nowhere else.
            Err(_) if whole.is_some() => router = None,
            Err(failure) => return Err(failure),
        }
    }
    let mut course = Course::new(question, &documents, &cut);
    // What may be replaced is shown only where the reader sees that it was.
    let live = !json && (router.is_none() || env.stdout_is_terminal);
    let ways = Ways { whole, router, wanted: asked.wanted, must, live, env };
    let answered = ways.answer(question, &mut course, &mut reader);
    // What was read took what it took, also where nothing came of it.
    let took = reader.end();
    let answered = answered?;
    let text = answered.text().to_owned();
    let is_from_here = answered.from_there.is_none();
    let told = Told {
        documents: &documents,
        n_passages: cut.len(),
        was_whole: answered.was_whole,
        course: &course,
        left: answered.left.as_ref().map(|there| &there.left),
    };
    if json {
        let mut all = told.to_json(is_from_here);
        all["text"] = json!(text);
        let [n_in, n_reused, n_out] = reader.n_tokens;
        all["n_prompt"] = json!(n_in);
        all["n_reused"] = json!(n_reused);
        all["n_generated"] = json!(n_out);
        all["took"] = took.to_json();
        print_json(&all)?;
    } else if live && is_from_here && answered.here.is_some() {
        writeln!(io::stdout())?;
    } else {
        writeln!(io::stdout(), "{text}")?;
    }
    if let Some(answer) = answered.here.as_ref().filter(|_| is_from_here) {
        answer.explain(reader.ctx());
    }
    let words = Words(told);
    words.say_facts(&text);
    words.say_what_left();
    if stats {
        say_stats(&course, &reader, &took, start);
    }
    Ok(Exit::OK)
}

/// The ways that an answer may come.
struct Ways<'a> {
    /// The prompt with the documents in it, where that fits.
    whole: Option<Prompt>,
    router: Option<Box<Router>>,
    wanted: Wanted,
    /// Elsewhere was asked for.
    must: bool,
    /// The answer from here is shown as it comes.
    live: bool,
    env: &'a Env,
}

/// An answer, and which way it came.
struct Answered<'a> {
    here: Option<Answer>,
    /// What stands in its place.
    from_there: Option<String>,
    left: Option<There<'a>>,
    was_whole: bool,
}

impl Answered<'_> {
    fn text(&self) -> &str {
        let here = self.here.as_ref().map_or(NOTHING, |answer| &answer.text);
        self.from_there.as_deref().unwrap_or(here)
    }
}

impl<'a> Ways<'a> {
    /// The answer from here first, where elsewhere is not asked for; from elsewhere, where that is worth it.
    fn answer(
        self,
        question: &str,
        course: &mut Course<'_>,
        reader: &mut Reader<'_>,
    ) -> Result<Answered<'a>, Failure> {
        let live = self.live;
        let mut out = io::stdout();
        let mut show = |piece: &str| {
            if live { out.write_all(piece.as_bytes()).and_then(|()| out.flush()) } else { Ok(()) }
        };
        let mut elsewhere = self.must;
        if let Some(router) = &self.router {
            let decision = router.before(question, reader.ctx(), now_ms()).map_err(Failure::failed)?;
            routing::say_decision(&decision);
            elsewhere = decision.route == Route::Cloud;
        }
        let was_whole = !elsewhere && self.whole.is_some();
        let mut here = None;
        if !elsewhere {
            here = match &self.whole {
                Some(prompt) => Some(reader.final_answer(prompt, &mut show)?),
                None => {
                    course.read_for_itself(&mut |text, form| reader.reply(text, form))?;
                    reader.join(course, &mut show)?
                }
            };
            elsewhere = self.is_unsure(here.as_ref(), reader)?;
        }
        let (mut left, mut from_there) = (None, None);
        if elsewhere {
            let desk = routing::desk(routing::policy(self.env)?, self.env)?;
            let situation = routing::situation_of(&[FACTS], &desk.policy, self.env);
            let mut there = There::new(desk.clone(), self.wanted, self.env);
            from_there = course.elsewhere(
                &mut |text, form| reader.reply(text, form),
                &mut |leaving| there.ask(leaving),
                (&desk.policy, &situation),
            )?;
            if from_there.is_none() && here.is_none() {
                here = reader.join(course, &mut show)?;
            }
            left = Some(there);
        }
        Ok(Answered { here, from_there, left, was_whole })
    }

    /// Whether somebody else is to answer in place of the answer from here.
    fn is_unsure(&self, here: Option<&Answer>, reader: &Reader<'_>) -> Result<bool, Failure> {
        let Some(router) = &self.router else { return Ok(false) };
        let right =
            here.map_or(0.0, |answer| router.confidence(reader.model(), &answer.margins, answer.ending()));
        let decision = router.after(right, now_ms()).map_err(Failure::failed)?;
        let is_unsure = decision.route == Route::Cloud;
        if is_unsure && self.live && here.is_some() {
            say("");
        }
        routing::say_decision(&decision);
        Ok(is_unsure)
    }
}

fn say_stats(course: &Course<'_>, reader: &Reader<'_>, took: &Took, start: Instant) {
    let tally = course.tally();
    say(format_args!(
        "replies              {} about passages, {} of no use",
        tally.n_replies, tally.n_unusable
    ));
    let [n_in, n_reused, n_out] = reader.n_tokens;
    say(format_args!("tokens               {n_in} read, {n_reused} of them reused, {n_out} written"));
    let n_left_out = course.sheet().n_left_out;
    if n_left_out > 0 {
        say(format_args!("facts                {n_left_out} had no room on the sheet"));
    }
    say(format_args!("wall time            {:.1} s", start.elapsed().as_secs_f64()));
    took.say();
}
