//! `POST /v1/chat/completions`

use std::sync::Arc;

use ingle_engine::sample::LOGPROBS_MAX;
use serde_json::{Map, Value as Json, json};

use super::messages::take_messages;
use super::tools::take_tools;
use super::{
    ACCEPTED, ANSWERS_MAX, end_stream, fail_stream, logprobs_json, reason, response, take_metadata,
    take_stream,
};
use crate::answering::{Asked, Dialect, Told};
use crate::app::App;
use crate::ask::{Said, What};
use crate::dialogue::{Dialogue, Thinking};
use crate::fields::Fields;
use crate::form;
use crate::guard::Caller;
use crate::ids;
use crate::refusal::Refusal;
use crate::reply::{Call, Reply, SoFar};
use crate::sampling;
use crate::served::Served;

/// An answer in the words of Chat Completions.
#[derive(Debug)]
pub struct Chat {
    served: Arc<Served>,
    id: String,
    created: u64,
    tells_usage: bool,
    tells_logprobs: bool,
    /// Answers whose role was told.
    begun: Vec<bool>,
}

impl Dialect for Chat {
    fn read(app: &Arc<App>, _: Caller, mut fields: Fields) -> Result<Asked<Self>, Refusal> {
        let served = app.answerer(fields.text("model")?.as_deref())?;
        let messages = take_messages(&mut fields)?;
        let (stream, tells_usage) = take_stream(&mut fields)?;
        let tells_logprobs = fields.flag("logprobs")?.unwrap_or(false);
        let top = fields.count("top_logprobs", LOGPROBS_MAX)?;
        if top.is_some() && !tells_logprobs {
            return Err(Refusal::field("top_logprobs", "top_logprobs: needs \"logprobs\": true"));
        }
        let max_tokens = fields.count("max_tokens", usize::MAX)?;
        let max_tokens = fields.count("max_completion_tokens", usize::MAX)?.or(max_tokens);
        let n = fields.count("n", ANSWERS_MAX)?.unwrap_or(1).max(1);
        let extra = match fields.take("chat_template_kwargs") {
            None => Map::new(),
            Some(Json::Object(extra)) => extra,
            Some(_) => {
                return Err(Refusal::field(
                    "chat_template_kwargs",
                    "chat_template_kwargs: expected an object",
                ));
            }
        };
        let thinking = fields.text("reasoning_effort")?.map(thinking_of);
        let (tools, form) = (take_tools(&mut fields)?, form::take(&mut fields)?);
        fields.unsupported("modalities", &[json!(["text"])])?;
        fields.unsupported("store", &[json!(false)])?;
        fields.unsupported("verbosity", &[json!("medium")])?;
        take_metadata(&mut fields)?;
        fields.harmless(ACCEPTED);
        let sampling = sampling::take(&mut fields, ids::seed())?;
        fields.end()?;
        let logprobs = tells_logprobs.then_some(top.unwrap_or(0));
        let begun = String::new();
        let dialogue =
            Dialogue { messages, begun, tools, form, thinking, extra, sampling, max_tokens, logprobs, n };
        let question = dialogue.question(&served, app.calendar())?;
        let dialect = Self {
            id: ids::fresh("chatcmpl-"),
            created: app.now(),
            served: served.clone(),
            tells_usage,
            tells_logprobs,
            begun: vec![false; n],
        };
        Ok(Asked { served, question, stream, dialect })
    }

    fn whole(&mut self, so_far: &SoFar) -> Json {
        let choice = |(index, reply): (usize, &Reply)| {
            json!({
                "index": index,
                "message": message(reply),
                "logprobs": self.logprobs(&reply.logprobs),
                "finish_reason": reason(reply),
            })
        };
        let choices = so_far.replies.iter().enumerate().map(choice).collect();
        response("chat.completion", &self.id, self.created, &self.served, choices, so_far)
    }

    fn tell(&mut self, said: &Said, so_far: &SoFar, to: &mut Told) {
        let index = said.index;
        if !std::mem::replace(&mut self.begun[index], true) {
            to.document(&self.delta(index, json!({ "role": "assistant", "content": "" })));
        }
        let reply = &so_far.replies[index];
        // The call that is being told.
        let n_calls = reply.calls().count();
        let call = |told: Json| {
            let mut told = told;
            told["index"] = n_calls.saturating_sub(1).into();
            json!({ "tool_calls": [told] })
        };
        let delta = match &said.what {
            What::Text { text, thinks, logprobs } => {
                let field = if *thinks { "reasoning_content" } else { "content" };
                let mut chunk = self.delta(index, json!({ field: text }));
                chunk["choices"][0]["logprobs"] = self.logprobs(logprobs);
                chunk
            }
            What::CallBegin { id, name } => {
                let function = json!({ "name": name, "arguments": "" });
                self.delta(index, call(json!({ "id": id, "type": "function", "function": function })))
            }
            What::Arguments(json) => self.delta(index, call(json!({ "function": { "arguments": json } }))),
            What::CallEnd => return,
            What::Dropped(n) => {
                let mut chunk = self.delta(index, json!({}));
                chunk["dropped_tokens"] = (*n).into();
                chunk
            }
            What::End(_) => {
                let mut last = self.delta(index, json!({}));
                last["choices"][0]["finish_reason"] = reason(reply).into();
                if so_far.is_over() {
                    last["timings"] = so_far.timings();
                    so_far.sign(&mut last);
                }
                last
            }
        };
        to.document(&delta);
        if so_far.is_over() {
            end_stream(self.tells_usage.then(|| self.chunk(json!([]))), so_far, to);
        }
    }

    fn replace(&mut self, by: &str, said: &Said, _: &SoFar, to: &mut Told) {
        let What::Text { text, .. } = &said.what else { return };
        let mut chunk = self.delta(said.index, json!({ "content": text }));
        // For clients that can take back what they have shown, and leave these words out.
        chunk["ingle"] = json!({ "replaced_by": by });
        to.document(&chunk);
    }

    fn fail(&mut self, refusal: &Refusal, to: &mut Told) {
        fail_stream(refusal, to);
    }
}

impl Chat {
    fn logprobs(&self, tokens: &[crate::ask::TokenLogprobs]) -> Json {
        if self.tells_logprobs {
            json!({ "content": logprobs_json(&self.served, tokens) })
        } else {
            Json::Null
        }
    }

    fn chunk(&self, choices: Json) -> Json {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.served.name,
            "choices": choices,
        })
    }

    fn delta(&self, index: usize, delta: Json) -> Json {
        self.chunk(json!([{ "index": index, "delta": delta, "logprobs": null, "finish_reason": null }]))
    }
}

/// What an answer is in a message.
fn message(reply: &Reply) -> Json {
    let (text, thoughts) = (reply.text(), reply.thoughts());
    let calls: Vec<Json> = reply.calls().map(call_json).collect();
    let content = if text.is_empty() && !calls.is_empty() { Json::Null } else { text.into() };
    let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
    if !thoughts.is_empty() {
        message["reasoning_content"] = thoughts.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    message
}

/// A call in a message.
fn call_json(call: &Call) -> Json {
    let function = json!({ "name": call.name, "arguments": call.arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

/// How much a model is to think.
pub fn thinking_of(effort: String) -> Thinking {
    if effort == "none" { Thinking::Off } else { Thinking::Effort(effort) }
}
