//! llama.cpp's routes: health, tokens, templates, numbers for monitoring.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ingle_engine::chat::Conversation;
use ingle_engine::run::Counters;
use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::openai::messages::messages_of;
use crate::payload::{Payload, aside};
use crate::refusal::Refusal;
use crate::server::App;

/// `GET /health`
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `POST /tokenize`
pub async fn tokenize(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Json<Value>, Refusal> {
    aside(move || tokenized(&app, &body)).await.map(Json)
}

fn tokenized(app: &App, body: &[u8]) -> Result<Value, Refusal> {
    let mut fields = Fields::parse(body)?;
    let content = fields.text("content")?.ok_or_else(|| Refusal::field("content", "content: none given"))?;
    let served = app.model(fields.text("model")?.as_deref())?;
    let special = fields.flag("add_special")?.unwrap_or(false);
    let parses = fields.flag("parse_special")?.unwrap_or(true);
    let pieces = fields.flag("with_pieces")?.unwrap_or(false);
    fields.end()?;
    let ids = served.tokens(&content, special, parses)?;
    let piece = |&id: &u32| {
        let bytes = served.token_text(id);
        let piece = String::from_utf8(bytes).map_or_else(|e| json!(e.into_bytes()), |text| json!(text));
        json!({ "id": id, "piece": piece })
    };
    let tokens: Value = if pieces { ids.iter().map(piece).collect() } else { json!(ids) };
    Ok(json!({ "tokens": tokens }))
}

/// `POST /detokenize`
pub async fn detokenize(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Json<Value>, Refusal> {
    aside(move || detokenized(&app, &body)).await.map(Json)
}

fn detokenized(app: &App, body: &[u8]) -> Result<Value, Refusal> {
    let mut fields = Fields::parse(body)?;
    let wrong = || Refusal::field("tokens", "tokens: expected an array of token ids");
    let tokens = fields.take("tokens").ok_or_else(wrong)?;
    let served = app.model(fields.text("model")?.as_deref())?;
    fields.end()?;
    let ids: Option<Vec<u32>> = tokens
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
        .collect();
    Ok(json!({ "content": served.decode(&ids.ok_or_else(wrong)?)? }))
}

/// `POST /apply-template`
pub async fn apply_template(
    State(app): State<Arc<App>>,
    Payload(body): Payload,
) -> Result<Json<Value>, Refusal> {
    aside(move || templated(&app, &body)).await.map(Json)
}

fn templated(app: &App, body: &[u8]) -> Result<Value, Refusal> {
    let mut fields = Fields::parse(body)?;
    let messages =
        fields.take("messages").ok_or_else(|| Refusal::field("messages", "messages: none given"))?;
    let messages = messages_of(messages)?;
    let tools = fields.take("tools");
    let served = app.model(fields.text("model")?.as_deref())?;
    fields.end()?;
    let conversation =
        Conversation { messages: &messages, tools: tools.as_ref(), extra: Map::new(), now: app.calendar() };
    let prompt = served.prompter.text(served.loaded(), &conversation, true)?;
    Ok(json!({ "prompt": prompt }))
}

/// `GET /metrics`, in Prometheus's text form.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    for row in ROWS {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}", row.name, row.about, row.name, row.kind);
        for served in &app.models {
            let value = (row.value)(served.engine.counters());
            let _ = writeln!(text, "{}{{model={:?}}} {value}", row.name, served.name);
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// A number for monitoring.
struct Row {
    name: &'static str,
    kind: &'static str,
    about: &'static str,
    value: fn(&Counters) -> u64,
}

const fn counter(name: &'static str, about: &'static str, value: fn(&Counters) -> u64) -> Row {
    Row { name, kind: "counter", about, value }
}

const fn gauge(name: &'static str, about: &'static str, value: fn(&Counters) -> u64) -> Row {
    Row { name, kind: "gauge", about, value }
}

static ROWS: &[Row] = &[
    counter("ingle_steps_total", "Steps of the model", |c| c.n_steps.load(Relaxed)),
    counter("ingle_prompt_tokens_total", "Tokens of prompts computed", |c| c.n_prompt.load(Relaxed)),
    counter("ingle_cached_tokens_total", "Tokens of prompts that were there already", |c| {
        c.n_reused.load(Relaxed)
    }),
    counter("ingle_generated_tokens_total", "Tokens chosen", |c| c.n_generated.load(Relaxed)),
    counter("ingle_answers_total", "Answers ended", |c| c.n_ended.load(Relaxed)),
    counter("ingle_refused_total", "Requests refused as the queue was full", |c| c.n_refused.load(Relaxed)),
    gauge("ingle_waiting", "Answers that wait", |c| c.n_waiting.load(Relaxed) as u64),
    gauge("ingle_running", "Answers under way", |c| c.n_running.load(Relaxed) as u64),
];
