//! Answers in Ollama's words: what both of its routes ask for beside their subject, and the lines that tell of an answer.
//!
//! A call is told when it is complete, as its arguments are an object there. One that the answer's end cut short is told as text.

use std::marker::PhantomData;
use std::sync::Arc;

use ingle_engine::constrain::Grammar;
use ingle_engine::generate::{Finish, Overflow};
use ingle_engine::sample::LOGPROBS_MAX;
use serde_json::{Map, Value as Json, json};

use super::options::{self, Options};
use super::{keep_alive, timestamp};
use crate::answering::{Asked, Dialect, Framing, Told};
use crate::app::App;
use crate::ask::{Question, Said, TokenLogprobs, What};
use crate::dialogue::{Dialogue, Thinking, Tools, take_begun};
use crate::fields::Fields;
use crate::form::Form;
use crate::guard::Caller;
use crate::openai::logprobs_json;
use crate::refusal::Refusal;
use crate::reply::{Call, Reply, SoFar};
use crate::served::Served;

/// A kind of answer.
pub trait Kind: Send + Unpin + 'static {
    /// Takes what it is about.
    fn subject(fields: &mut Fields) -> Result<Subject, Refusal>;

    /// Puts what is `said` into a line.
    fn put(said: Map<String, Json>, line: &mut Json);
}

/// What an answer is about.
#[derive(Debug)]
pub enum Subject {
    /// Nothing: it is asked whether the model is there.
    Nothing,
    /// A text to go on with, as it stands.
    Text(String),
    /// A conversation, in templates' words; a last message of the assistant's begins the answer.
    Conversation(Vec<Json>, Tools),
}

/// An answer in Ollama's words.
#[derive(Debug)]
pub struct Answer<K> {
    served: Arc<Served>,
    created: u64,
    tells_logprobs: bool,
    is_empty: bool,
    /// Calls that were told.
    n_calls: usize,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Dialect for Answer<K> {
    fn read(app: &Arc<App>, _: Caller, mut fields: Fields) -> Result<Asked<Self>, Refusal> {
        let served = app.answerer(fields.text("model")?.as_deref())?;
        let stream = fields.flag("stream")?.unwrap_or(true).then_some(Framing::Lines);
        let Options { mut sampling, max_tokens, keep } = options::take(&mut fields, served.engine.ctx())?;
        if let Some(drops) = fields.flag("truncate")? {
            sampling.overflow = if drops { Overflow::DropOldest } else { Overflow::Error };
        }
        fields.unsupported("shift", &[json!(sampling.overflow == Overflow::DropOldest)])?;
        if let Some(time) = keep_alive::take(&mut fields)? {
            app.keep(&served.name, time);
        }
        let (form, thinking) = (take_format(&mut fields)?, take_think(&mut fields, &served)?);
        let tells_logprobs = fields.flag("logprobs")?.unwrap_or(false);
        let top = fields.count("top_logprobs", LOGPROBS_MAX)?;
        if top.is_some_and(|n| n > 0) && !tells_logprobs {
            return Err(Refusal::field("top_logprobs", "top_logprobs: needs \"logprobs\": true"));
        }
        let logprobs = tells_logprobs.then_some(top.unwrap_or(0));
        let subject = K::subject(&mut fields)?;
        fields.end()?;
        let is_empty = matches!(subject, Subject::Nothing);
        let mut question = match subject {
            Subject::Conversation(mut messages, tools) => {
                let begun = take_begun(&mut messages)?;
                let dialogue = Dialogue {
                    messages: messages.into(),
                    begun,
                    tools,
                    form,
                    thinking,
                    extra: Map::new(),
                    sampling,
                    max_tokens,
                    logprobs,
                    n: 1,
                };
                dialogue.question(&served, app.calendar())?
            }
            subject => {
                let prompt = match subject {
                    Subject::Text(text) => served.tokens(&text, true, true)?,
                    _ => Vec::new(),
                };
                let constraint = form.map(|form| form.compile(&served)).transpose()?;
                let (max_tokens, n) = (max_tokens.unwrap_or(usize::MAX), usize::from(!is_empty));
                let reading = None;
                Question {
                    prompt,
                    keep: 1,
                    sampling,
                    max_tokens,
                    logprobs,
                    constraint,
                    reading,
                    margins: false,
                    abort: None,
                    words: None,
                    n,
                }
            }
        };
        question.keep = keep.unwrap_or(question.keep);
        let (created, kind) = (app.now(), PhantomData);
        let dialect = Self { served: served.clone(), created, tells_logprobs, is_empty, n_calls: 0, kind };
        Ok(Asked { served, question, stream, dialect })
    }

    fn whole(&mut self, so_far: &SoFar) -> Json {
        let Some(reply) = so_far.replies.first() else { return self.loaded() };
        let calls: Vec<Json> = reply.calls().enumerate().filter_map(call_json).collect();
        let mut said = Map::new();
        let text = reply.text() + &cut_call(reply).unwrap_or_default();
        said.insert("content".to_owned(), text.into());
        let thoughts = reply.thoughts();
        if !thoughts.is_empty() {
            said.insert("thinking".to_owned(), thoughts.into());
        }
        if !calls.is_empty() {
            said.insert("tool_calls".to_owned(), calls.into());
        }
        let mut line = self.line(said, &reply.logprobs);
        end(&mut line, reply, so_far);
        line
    }

    fn begin(&mut self, to: &mut Told) {
        if self.is_empty {
            to.document(&self.loaded());
        }
    }

    fn tell(&mut self, said: &Said, so_far: &SoFar, to: &mut Told) {
        let reply = &so_far.replies[said.index];
        let mut told = Map::new();
        told.insert("content".to_owned(), "".into());
        match &said.what {
            What::Text { text, thinks, logprobs } => {
                told.insert(if *thinks { "thinking" } else { "content" }.to_owned(), text.as_str().into());
                to.document(&self.line(told, logprobs));
            }
            What::CallEnd => {
                told.insert("tool_calls".to_owned(), self.calls(reply).into());
                to.document(&self.line(told, &[]));
            }
            What::End(_) => {
                told.insert("content".to_owned(), cut_call(reply).unwrap_or_default().into());
                // One that is complete but for its last marker.
                let calls = self.calls(reply);
                if !calls.is_empty() {
                    told.insert("tool_calls".to_owned(), calls.into());
                }
                let mut line = self.line(told, &[]);
                end(&mut line, reply, so_far);
                to.document(&line);
            }
            // Calls are told when they are complete, what was dropped at the end.
            What::CallBegin { .. } | What::Arguments(_) | What::Dropped(_) => {}
        }
    }

    fn fail(&mut self, refusal: &Refusal, to: &mut Told) {
        to.document(&refusal.ollama());
    }
}

impl<K: Kind> Answer<K> {
    fn line(&self, said: Map<String, Json>, logprobs: &[TokenLogprobs]) -> Json {
        let mut line = json!({ "model": self.served.name, "created_at": timestamp(self.created) });
        K::put(said, &mut line);
        if self.tells_logprobs && !logprobs.is_empty() {
            line["logprobs"] = logprobs_json(&self.served, logprobs);
        }
        line["done"] = false.into();
        line
    }

    /// The calls that are complete and were not told.
    fn calls(&mut self, reply: &Reply) -> Vec<Json> {
        let calls: Vec<Json> = reply.calls().enumerate().skip(self.n_calls).filter_map(call_json).collect();
        self.n_calls += calls.len();
        calls
    }

    /// What is said where nothing was asked: the model is there.
    fn loaded(&self) -> Json {
        let said = [("content".to_owned(), Json::from(""))].into_iter().collect();
        let mut line = self.line(said, &[]);
        line["done"] = true.into();
        line["done_reason"] = "load".into();
        line
    }
}

/// Makes the last line of one.
fn end(line: &mut Json, reply: &Reply, so_far: &SoFar) {
    let (n_prompt, _, n_generated) = so_far.n_tokens();
    let (prompt, rest) = so_far.times();
    let reason = match reply.finish() {
        Some(Finish::EndOfText | Finish::Stop(_) | Finish::Banned) => "stop",
        Some(Finish::Length | Finish::Context | Finish::Cancelled) | None => "length",
    };
    let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    line["done"] = true.into();
    line["done_reason"] = reason.into();
    line["total_duration"] = nanoseconds(prompt + rest).into();
    // It was loaded before anybody asked.
    line["load_duration"] = 0.into();
    line["prompt_eval_count"] = n_prompt.into();
    line["prompt_eval_duration"] = nanoseconds(prompt).into();
    line["eval_count"] = n_generated.into();
    line["eval_duration"] = nanoseconds(rest).into();
    so_far.sign(line);
    if so_far.n_dropped() > 0 {
        line["dropped_tokens"] = so_far.n_dropped().into();
    }
}

/// A call in a message; none where it is not complete.
fn call_json((index, call): (usize, &Call)) -> Option<Json> {
    let arguments: Json = serde_json::from_str(&call.arguments).ok()?;
    let function = json!({ "index": index, "name": call.name, "arguments": arguments });
    Some(json!({ "id": call.id, "function": function }))
}

/// What there is of a call that the end cut short.
fn cut_call(reply: &Reply) -> Option<String> {
    let (index, call) = reply.calls().enumerate().last()?;
    call_json((index, call)).is_none().then(|| {
        let name = Json::from(call.name.as_str());
        format!("{{\"name\": {name}, \"arguments\": {}", call.arguments)
    })
}

/// `""`, `"json"` or a schema.
fn take_format(fields: &mut Fields) -> Result<Option<Form>, Refusal> {
    let grammar = match fields.take("format") {
        None => return Ok(None),
        Some(Json::String(word)) if word.is_empty() => return Ok(None),
        Some(Json::String(word)) if word == "json" => Grammar::JsonObject,
        Some(schema @ Json::Object(_)) => Grammar::JsonSchema(schema.to_string()),
        Some(_) => return Err(Refusal::field("format", "format: expected \"json\" or a JSON Schema")),
    };
    Ok(Some(Form::new("format", grammar)))
}

/// `true`, `false`, or how much.
fn take_think(fields: &mut Fields, served: &Served) -> Result<Option<Thinking>, Refusal> {
    let thinking = match fields.take("think") {
        None => return Ok(None),
        Some(Json::Bool(false)) => return Ok(Some(Thinking::Off)),
        Some(Json::Bool(true)) => Thinking::On,
        Some(Json::String(word)) if ["low", "medium", "high", "max"].contains(&word.as_str()) => {
            Thinking::Effort(word)
        }
        Some(_) => {
            let why = "think: expected true, false, \"low\", \"medium\", \"high\" or \"max\"";
            return Err(Refusal::field("think", why));
        }
    };
    if served.thinks() {
        return Ok(Some(thinking));
    }
    Err(Refusal::field("think", format!("think: {} is not known to think before it speaks", served.name)))
}
