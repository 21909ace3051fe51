//! `POST /v1/chat/completions`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ingle_engine::chat::Conversation;
use ingle_engine::generate::Outcome;
use ingle_engine::sample::LOGPROBS_MAX;
use serde_json::{Map, Value, json};

use super::{
    ANSWERS_MAX, Clock, Telling, Told, collect, logprobs_json, reason, say_dropped, stream, take_stream,
    timings, usage,
};
use crate::ask::{Question, Said, What, ask};
use crate::fields::Fields;
use crate::form;
use crate::payload::{Payload, aside};
use crate::refusal::Refusal;
use crate::sampling;
use crate::server::App;

/// What a request asks for, besides the answer itself.
#[derive(Debug)]
struct Wanted {
    stream: bool,
    stream_usage: bool,
    logprobs: bool,
    n: usize,
}

/// The route.
pub async fn route(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Response, Refusal> {
    let mut clock = Clock::start();
    let (question, wanted) = aside({
        let app = app.clone();
        move || read(&app, &body)
    })
    .await?;
    let id = app.fresh_id("chatcmpl");
    let said = ask(&app, question)?;
    if wanted.stream {
        let n = wanted.n;
        let telling = Chunks { app, id, clock, wanted, begun: vec![false; n], outcomes: vec![None; n] };
        return Ok(stream::respond(said, telling));
    }
    let answers = collect(said, wanted.n, &mut clock).await?;
    let outcomes: Vec<Outcome> = answers.iter().filter_map(|answer| answer.outcome).collect();
    let choices: Vec<Value> = answers
        .iter()
        .zip(&outcomes)
        .enumerate()
        .map(|(index, (answer, outcome))| {
            let logprobs =
                wanted.logprobs.then(|| json!({ "content": logprobs_json(&app, &answer.logprobs) }));
            json!({
                "index": index,
                "message": { "role": "assistant", "content": answer.text },
                "logprobs": logprobs,
                "finish_reason": reason(outcome.finish),
            })
        })
        .collect();
    let mut response = json!({
        "id": id, "object": "chat.completion", "created": app.now(), "model": app.name,
        "choices": choices, "usage": usage(&outcomes), "timings": timings(&clock, &outcomes),
    });
    say_dropped(&mut response, &answers);
    Ok(Json(response).into_response())
}

/// Reads a request and renders its prompt.
fn read(app: &App, body: &[u8]) -> Result<(Question, Wanted), Refusal> {
    let mut fields = Fields::parse(body)?;
    app.check_model(fields.text("model")?.as_deref())?;
    let messages =
        fields.take("messages").ok_or_else(|| Refusal::field("messages", "messages: none given"))?;
    let messages = messages_of(messages)?;
    let (stream, stream_usage) = take_stream(&mut fields)?;
    let logprobs = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", LOGPROBS_MAX)?;
    if top.is_some() && !logprobs {
        return Err(Refusal::field("top_logprobs", "top_logprobs: needs \"logprobs\": true"));
    }
    let max_tokens = fields.count("max_tokens", usize::MAX)?;
    let max_tokens = fields.count("max_completion_tokens", usize::MAX)?.or(max_tokens);
    let n = fields.count("n", ANSWERS_MAX)?.unwrap_or(1).max(1);
    let extra = match fields.take("chat_template_kwargs") {
        None => Map::new(),
        Some(Value::Object(extra)) => extra,
        Some(_) => {
            return Err(Refusal::field("chat_template_kwargs", "chat_template_kwargs: expected an object"));
        }
    };
    fields.unsupported("tools", &[json!([])])?;
    fields.unsupported("tool_choice", &[json!("none"), json!("auto")])?;
    let constraint = form::take(app, &mut fields)?;
    fields.unsupported("modalities", &[json!(["text"])])?;
    fields.unsupported("store", &[json!(false)])?;
    // What these say is about an account or a bill that there is none of.
    fields.harmless(&[
        "user",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "parallel_tool_calls",
    ]);
    let sampling = sampling::take(&mut fields, app.fresh_seed())?;
    fields.end()?;
    let conversation = Conversation { messages: &messages, tools: None, extra, now: app.calendar() };
    let prompt = app.prompter.prompt(app.engine.loaded(), &conversation)?;
    app.check_length(prompt.ids.len(), sampling.overflow)?;
    let question = Question {
        prompt: prompt.ids,
        keep: prompt.keep,
        sampling,
        max_tokens: max_tokens.unwrap_or(usize::MAX),
        logprobs: logprobs.then_some(top.unwrap_or(0)),
        constraint,
        n,
    };
    Ok((question, Wanted { stream, stream_usage, logprobs, n }))
}

/// Messages as templates know them: contents are texts.
pub fn messages_of(messages: Value) -> Result<Value, Refusal> {
    let Value::Array(messages) = messages else {
        return Err(Refusal::field("messages", "messages: expected an array"));
    };
    if messages.is_empty() {
        return Err(Refusal::field("messages", "messages: expected at least one"));
    }
    let one = |(i, mut message): (usize, Value)| {
        let wrong = |what: &str| Refusal::field("messages", format!("messages[{i}]: {what}"));
        let role = message["role"].as_str().ok_or_else(|| wrong("expected a role"))?;
        match role {
            "system" | "user" | "assistant" | "tool" => {}
            "developer" => message["role"] = "system".into(),
            other => return Err(wrong(&format!("the role {other:?} is not known"))),
        }
        let content = match message["content"].take() {
            Value::String(text) => text.into(),
            Value::Null => Value::Null,
            Value::Array(parts) => {
                let text = |part: &Value| match part["type"].as_str() {
                    Some("text") => part["text"].as_str().map(str::to_owned),
                    _ => None,
                };
                let texts: Option<Vec<String>> = parts.iter().map(text).collect();
                texts.ok_or_else(|| wrong("only parts of type text are understood"))?.concat().into()
            }
            _ => return Err(wrong("content: expected a text or parts of type text")),
        };
        message["content"] = content;
        Ok(message)
    };
    messages.into_iter().enumerate().map(one).collect()
}

/// A streamed answer.
struct Chunks {
    app: Arc<App>,
    id: String,
    clock: Clock,
    wanted: Wanted,
    /// Answers whose role was told.
    begun: Vec<bool>,
    outcomes: Vec<Option<Outcome>>,
}

impl Chunks {
    fn chunk(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.app.now(), "model": self.app.name,
            "choices": choices,
        })
    }

    fn delta(&self, index: usize, delta: Value, finish: Option<&str>, logprobs: Value) -> Value {
        let choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish });
        self.chunk(json!([choice]))
    }

    fn begin(&mut self, index: usize, to: &mut Told) {
        if !std::mem::replace(&mut self.begun[index], true) {
            to.chunk(&self.delta(index, json!({ "role": "assistant", "content": "" }), None, Value::Null));
        }
    }
}

impl Telling for Chunks {
    fn tell(&mut self, Said { index, what }: Said, to: &mut Told) {
        match what {
            What::Text(text, logprobs) => {
                self.clock.saw_text();
                self.begin(index, to);
                let logprobs = if self.wanted.logprobs {
                    json!({ "content": logprobs_json(&self.app, &logprobs) })
                } else {
                    Value::Null
                };
                to.chunk(&self.delta(index, json!({ "content": text }), None, logprobs));
            }
            What::Dropped(n) => {
                self.begin(index, to);
                let mut chunk = self.delta(index, json!({}), None, Value::Null);
                chunk["dropped_tokens"] = n.into();
                to.chunk(&chunk);
            }
            What::End(Err(refusal)) => {
                to.chunk(&refusal.json());
                to.done();
            }
            What::End(Ok(outcome)) => {
                self.begin(index, to);
                self.outcomes[index] = Some(outcome);
                let mut last = self.delta(index, json!({}), Some(reason(outcome.finish)), Value::Null);
                let Some(outcomes) = self.outcomes.iter().copied().collect::<Option<Vec<_>>>() else {
                    return to.chunk(&last);
                };
                last["timings"] = timings(&self.clock, &outcomes);
                to.chunk(&last);
                if self.wanted.stream_usage {
                    let mut chunk = self.chunk(json!([]));
                    chunk["usage"] = usage(&outcomes);
                    chunk["timings"] = timings(&self.clock, &outcomes);
                    to.chunk(&chunk);
                }
                to.done();
            }
        }
    }
}
