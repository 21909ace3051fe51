//! llama.cpp's routes: health, tokens, templates, numbers for monitoring.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ingle_engine::chat::Conversation;
use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::openai::chat::messages_of;
use crate::payload::Payload;
use crate::refusal::Refusal;
use crate::server::App;

/// `GET /health`
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `POST /tokenize`
pub async fn tokenize(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Json<Value>, Refusal> {
    let mut fields = Fields::parse(&body)?;
    let content = fields.text("content")?.ok_or_else(|| Refusal::field("content", "content: none given"))?;
    let special = fields.flag("add_special")?.unwrap_or(false);
    let parses = fields.flag("parse_special")?.unwrap_or(true);
    let pieces = fields.flag("with_pieces")?.unwrap_or(false);
    fields.end()?;
    let ids = app.tokens(&content, special, parses)?;
    let piece = |&id: &u32| {
        let bytes = crate::ask::token_text(app.engine.loaded(), id);
        let piece = String::from_utf8(bytes).map_or_else(|e| json!(e.into_bytes()), |text| json!(text));
        json!({ "id": id, "piece": piece })
    };
    let tokens: Value = if pieces { ids.iter().map(piece).collect() } else { json!(ids) };
    Ok(Json(json!({ "tokens": tokens })))
}

/// `POST /detokenize`
pub async fn detokenize(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<Json<Value>, Refusal> {
    let mut fields = Fields::parse(&body)?;
    let wrong = || Refusal::field("tokens", "tokens: expected an array of token ids");
    let tokens = fields.take("tokens").ok_or_else(wrong)?;
    fields.end()?;
    let ids: Option<Vec<u32>> = tokens
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
        .collect();
    Ok(Json(json!({ "content": app.decode(&ids.ok_or_else(wrong)?)? })))
}

/// `POST /apply-template`
pub async fn apply_template(
    State(app): State<Arc<App>>,
    Payload(body): Payload,
) -> Result<Json<Value>, Refusal> {
    let mut fields = Fields::parse(&body)?;
    let messages =
        fields.take("messages").ok_or_else(|| Refusal::field("messages", "messages: none given"))?;
    let messages = messages_of(messages)?;
    let tools = fields.take("tools");
    fields.end()?;
    let conversation =
        Conversation { messages: &messages, tools: tools.as_ref(), extra: Map::new(), now: app.calendar() };
    let prompt = app.prompter.text(app.engine.loaded(), &conversation, true)?;
    Ok(Json(json!({ "prompt": prompt })))
}

/// `GET /metrics`, in Prometheus's text form.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let c = app.engine.counters();
    let rows = [
        ("ingle_steps_total", "counter", "Steps of the model", c.n_steps.load(Relaxed)),
        ("ingle_prompt_tokens_total", "counter", "Tokens of prompts computed", c.n_prompt.load(Relaxed)),
        (
            "ingle_cached_tokens_total",
            "counter",
            "Tokens of prompts that were there already",
            c.n_reused.load(Relaxed),
        ),
        ("ingle_generated_tokens_total", "counter", "Tokens chosen", c.n_generated.load(Relaxed)),
        ("ingle_answers_total", "counter", "Answers ended", c.n_ended.load(Relaxed)),
        (
            "ingle_refused_total",
            "counter",
            "Requests refused as the queue was full",
            c.n_refused.load(Relaxed),
        ),
        (
            "ingle_kept_blocks",
            "gauge",
            "Blocks of 64 tokens kept for prompts that begin the same",
            c.n_kept_blocks.load(Relaxed) as u64,
        ),
        ("ingle_kept_bytes", "gauge", "Memory of them", c.n_kept_bytes.load(Relaxed)),
        (
            "ingle_evicted_total",
            "counter",
            "Blocks and states that made room for others",
            c.n_evicted.load(Relaxed),
        ),
        ("ingle_waiting", "gauge", "Answers that wait", c.n_waiting.load(Relaxed) as u64),
        ("ingle_running", "gauge", "Answers under way", c.n_running.load(Relaxed) as u64),
    ];
    let mut text = String::new();
    for (name, kind, about, value) in rows {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
