//! `POST /v1/responses`: a response made of items, kept so that a later request can go on from it.
//!
//! `input` reads items and makes messages of them, `settings` reads everything else, `output` has the items of an answer, `stored`
//! keeps what was made, and `kept` has the routes that look at it. Here is the dialect itself. A response is kept when all of it
//! was said; one that failed, or whose client went, is not. Conversations, background work and the tools of OpenAI's own machines
//! are refused by name.

mod input;
pub mod kept;
mod output;
mod settings;
pub mod stored;

use std::sync::Arc;

use ingle_engine::generate::Finish;
use serde_json::{Map, Value as Json, json};

use self::input::{messages_of, take_items};
use self::output::{Part, TEXT, item, prefix};
use self::stored::{Item, Kept};
use super::{logprobs_json, take_stream};
use crate::answering::{Asked, Dialect, Told};
use crate::app::App;
use crate::ask::{Said, TokenLogprobs, What};
use crate::dialogue::Dialogue;
use crate::fields::Fields;
use crate::guard::Caller;
use crate::ids;
use crate::refusal::Refusal;
use crate::reply::{Piece, Reply, SoFar};
use crate::served::Served;

/// An answer in the words of the Responses API.
#[derive(Debug)]
pub struct Answer {
    app: Arc<App>,
    caller: Caller,
    served: Arc<Served>,
    id: String,
    created: u64,
    /// Settings, as the request gave them.
    repeated: Map<String, Json>,
    /// The conversation before the answer.
    context: Vec<Arc<Item>>,
    stores: bool,
    tells_logprobs: bool,
    thoughts: &'static Part,
    /// The ids of the items that have begun.
    ids: Vec<String>,
    /// Whether the last of them is still being said.
    is_open: bool,
    n_events: usize,
}

impl Dialect for Answer {
    fn read(app: &Arc<App>, caller: Caller, mut fields: Fields) -> Result<Asked<Self>, Refusal> {
        let served = app.answerer(fields.text("model")?.as_deref())?;
        let (stream, _) = take_stream(&mut fields)?;
        let input = take_items(&mut fields, |id| app.responses.item(caller, id))?;
        let settings = settings::take(fields)?;
        let mut context = match &settings.previous {
            None => Vec::new(),
            Some(id) => kept::response(app, caller, id)
                .map_err(|e| Refusal::NotFound(format!("previous_response_id: {e}")))?
                .items()
                .cloned()
                .collect(),
        };
        context.extend(input);
        let dialogue = Dialogue {
            messages: messages_of(settings.instructions, &context)?,
            begun: String::new(),
            tools: settings.tools,
            form: settings.form,
            thinking: settings.thinking,
            extra: Map::new(),
            sampling: settings.sampling,
            max_tokens: settings.max_tokens,
            logprobs: settings.logprobs,
            n: 1,
        };
        let question = dialogue.question(&served, app.calendar())?;
        let dialect = Self {
            app: app.clone(),
            caller,
            served: served.clone(),
            id: ids::fresh("resp_"),
            created: app.now(),
            repeated: settings.repeated,
            context,
            stores: settings.stores,
            tells_logprobs: settings.logprobs.is_some(),
            thoughts: settings.thoughts,
            ids: Vec::new(),
            is_open: false,
            n_events: 0,
        };
        Ok(Asked { served, question, stream, dialect })
    }

    fn whole(&mut self, so_far: &SoFar) -> Json {
        let pieces = &so_far.replies[0].pieces;
        self.ids = pieces.iter().map(|piece| ids::fresh(prefix(piece))).collect();
        self.finished(so_far)
    }

    fn begin(&mut self, to: &mut Told) {
        let response = self.response("in_progress", json!([]));
        self.event(to, "response.created", json!({ "response": response }));
        self.event(to, "response.in_progress", json!({ "response": response }));
    }

    fn tell(&mut self, said: &Said, so_far: &SoFar, to: &mut Told) {
        let reply = &so_far.replies[0];
        match &said.what {
            What::Text { text, logprobs, thinks } => {
                self.open(reply, to);
                let part = if *thinks { self.thoughts } else { &TEXT };
                let mut more = json!({ part.index: 0, "delta": text });
                if !thinks {
                    more["logprobs"] = self.logprobs(logprobs);
                }
                self.item_event(to, part.delta, more);
            }
            What::CallBegin { .. } => self.open(reply, to),
            What::Arguments(text) => {
                self.item_event(to, "response.function_call_arguments.delta", json!({ "delta": text }));
            }
            What::CallEnd => self.close(reply, to),
            What::Dropped(_) => {}
            What::End(_) => {
                self.close(reply, to);
                let response = self.finished(so_far);
                let name = if cut(reply).is_none() { "response.completed" } else { "response.incomplete" };
                self.event(to, name, json!({ "response": response }));
            }
        }
    }

    fn fail(&mut self, refusal: &Refusal, to: &mut Told) {
        let code = match refusal {
            Refusal::Invalid { .. } => "invalid_prompt",
            Refusal::Busy => "rate_limit_exceeded",
            _ => "server_error",
        };
        let message = refusal.to_string();
        self.event(to, "error", json!({ "code": code, "message": message, "param": null }));
        let mut response = self.response("failed", json!([]));
        response["error"] = json!({ "code": code, "message": message });
        self.event(to, "response.failed", json!({ "response": response }));
    }
}

/// Why an answer is not complete, if it is not.
fn cut(reply: &Reply) -> Option<&'static str> {
    match reply.finish() {
        Some(Finish::EndOfText | Finish::Stop(_) | Finish::Banned) => None,
        Some(Finish::Length | Finish::Context | Finish::Cancelled) | None => Some("max_output_tokens"),
    }
}

impl Answer {
    /// The response, with what is the same from beginning to end.
    fn response(&self, status: &str, output: Json) -> Json {
        let mut response = json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status,
            "completed_at": null, "error": null, "incomplete_details": null,
            "model": self.served.name, "output": output, "usage": null,
        });
        if let Json::Object(response) = &mut response {
            response.extend(self.repeated.clone());
        }
        response
    }

    /// The response when all is said, which is kept if it may be.
    fn finished(&self, so_far: &SoFar) -> Json {
        let reply = &so_far.replies[0];
        let output: Vec<Json> = (0..reply.pieces.len()).map(|at| self.item(reply, at)).collect();
        let items = output.iter().map(|item| Arc::new(Item::new(item))).collect();
        let cut = cut(reply);
        let mut response =
            self.response(if cut.is_none() { "completed" } else { "incomplete" }, output.into());
        match cut {
            None => response["completed_at"] = self.app.now().into(),
            Some(reason) => response["incomplete_details"] = json!({ "reason": reason }),
        }
        let (n_prompt, n_reused, n_generated) = so_far.n_tokens();
        response["usage"] = json!({
            "input_tokens": n_prompt,
            // What was computed is in the cache from then on.
            "input_tokens_details": { "cached_tokens": n_reused, "cache_write_tokens": n_prompt - n_reused },
            "output_tokens": n_generated,
            "output_tokens_details": { "reasoning_tokens": so_far.n_thought() },
            "total_tokens": n_prompt + n_generated,
        });
        response["timings"] = so_far.timings();
        so_far.sign(&mut response);
        if so_far.n_dropped() > 0 {
            response["dropped_tokens"] = so_far.n_dropped().into();
        }
        if self.stores {
            let kept = Kept { response: response.to_string(), context: self.context.clone(), output: items };
            self.app.responses.keep(self.caller, &self.id, kept);
        }
        response
    }

    /// The item of a piece, as far as it is said.
    fn item(&self, reply: &Reply, at: usize) -> Json {
        let is_whole = at + 1 < reply.pieces.len() || cut(reply).is_none();
        let status = if is_whole { "completed" } else { "incomplete" };
        let parts = self.part(reply, at).map(|part| json!([part]));
        item(&reply.pieces[at], &self.ids[at], status, self.thoughts, parts.unwrap_or_default())
    }

    /// The only part of a piece that is a text.
    fn part(&self, reply: &Reply, at: usize) -> Option<Json> {
        match &reply.pieces[at] {
            Piece::Text(text) => Some(TEXT.json(text, self.logprobs(reply.logprobs_of(at)))),
            Piece::Thought(text) => Some(self.thoughts.json(text, Json::Null)),
            Piece::Call(_) => None,
        }
    }

    fn logprobs(&self, tokens: &[TokenLogprobs]) -> Json {
        if self.tells_logprobs { logprobs_json(&self.served, tokens) } else { json!([]) }
    }

    /// Begins the item of a piece that is new, and ends the one before.
    fn open(&mut self, reply: &Reply, to: &mut Told) {
        let at = self.ids.len();
        let Some(piece) = reply.pieces.get(at) else { return };
        self.close(reply, to);
        self.ids.push(ids::fresh(prefix(piece)));
        self.is_open = true;
        let begun = item(piece, &self.ids[at], "in_progress", self.thoughts, json!([]));
        self.event(to, "response.output_item.added", json!({ "output_index": at, "item": begun }));
        let part = match piece {
            Piece::Text(_) => &TEXT,
            Piece::Thought(_) => self.thoughts,
            Piece::Call(_) => return,
        };
        self.item_event(to, part.added, json!({ part.index: 0, "part": part.json("", json!([])) }));
    }

    /// Ends the item that is being said.
    fn close(&mut self, reply: &Reply, to: &mut Told) {
        if !std::mem::replace(&mut self.is_open, false) {
            return;
        }
        let at = self.ids.len() - 1;
        let (item, part) = (self.item(reply, at), self.part(reply, at));
        match &reply.pieces[at] {
            Piece::Call(call) => {
                let all = json!({ "name": call.name, "arguments": call.arguments });
                self.item_event(to, "response.function_call_arguments.done", all);
            }
            Piece::Text(text) | Piece::Thought(text) => {
                let is_text = matches!(reply.pieces[at], Piece::Text(_));
                let kind = if is_text { &TEXT } else { self.thoughts };
                let mut all = json!({ kind.index: 0, "text": text });
                if is_text {
                    all["logprobs"] = self.logprobs(reply.logprobs_of(at));
                }
                self.item_event(to, kind.done, all);
                self.item_event(to, kind.part_done, json!({ kind.index: 0, "part": part }));
            }
        }
        self.event(to, "response.output_item.done", json!({ "output_index": at, "item": item }));
    }

    /// An event about the item that is being said.
    fn item_event(&mut self, to: &mut Told, name: &str, more: Json) {
        let at = self.ids.len() - 1;
        let mut event = json!({ "item_id": self.ids[at], "output_index": at });
        if let (Json::Object(event), Json::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        self.event(to, name, event);
    }

    fn event(&mut self, to: &mut Told, name: &str, more: Json) {
        let mut event = json!({ "type": name, "sequence_number": self.n_events });
        self.n_events += 1;
        if let (Json::Object(event), Json::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        to.event(name, &event);
    }
}
