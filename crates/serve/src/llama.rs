//! llama.cpp's routes: health, tokens, templates, numbers for monitoring.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ingle_engine::chat::Conversation;
use ingle_engine::memory;
use ingle_engine::residency::Tier;
use ingle_engine::residency::ledger::KINDS;
use ingle_engine::run::Counters;
use ingle_engine::spec::Tally;
use serde_json::{Map, Value, json};

use crate::app::{App, Models};
use crate::fields::Fields;
use crate::openai::messages::take_messages;
use crate::openai::tools::take_list;
use crate::payload::{Payload, aside};
use crate::reader::Reader;
use crate::refusal::Refusal;
use crate::residence::Residence;

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
    let reader = app.any(fields.text("model")?.as_deref())?;
    let special = fields.flag("add_special")?.unwrap_or(false);
    let parses = fields.flag("parse_special")?.unwrap_or(true);
    let pieces = fields.flag("with_pieces")?.unwrap_or(false);
    fields.end()?;
    let mut ids = reader.tokens(&content, special, parses)?;
    if special {
        ids.extend(reader.tokens_after()?);
    }
    let piece = |&id: &u32| {
        let bytes = reader.token_text(id);
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
    let reader = app.any(fields.text("model")?.as_deref())?;
    fields.end()?;
    let ids: Option<Vec<u32>> = tokens
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
        .collect();
    Ok(json!({ "content": reader.decode(&ids.ok_or_else(wrong)?)? }))
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
    let messages = take_messages(&mut fields)?;
    let tools = take_list(&mut fields)?.told();
    let served = app.model(fields.text("model")?.as_deref())?;
    fields.end()?;
    let (extra, now) = (Map::new(), app.calendar());
    let conversation = Conversation { messages: &messages, tools: tools.as_ref(), extra, now, begun: "" };
    let prompt = served.prompter.text(served.loaded(), &conversation, true)?;
    Ok(json!({ "prompt": prompt }))
}

/// `GET /metrics`, in Prometheus's text form.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (models, mut text) = (app.models(), String::new());
    for row in ROWS {
        row.write(&mut text, models.writers.iter().map(|served| (&*served.name, served.engine.counters())));
    }
    drafters(&mut text, &models);
    process(&mut text, &app);
    if let Some(residence) = &app.residence {
        ledger(&mut text, residence, &models);
    }
    if let Some(accounts) = &app.accounts {
        accounts.metrics(&mut text);
    }
    for row in READER_ROWS {
        row.write(&mut text, models.all().map(|reader| (&*reader.name, &**reader)));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// The rows of the whole process.
fn process(text: &mut String, app: &App) {
    let time = app.http_ns.load(Relaxed) as f64 * NANOSECOND;
    let mut row = |name: &str, kind: &str, about: &str, value: f64| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let about = "Time of requests and answers on their way, JSON included";
    row("ingle_http_seconds_total", "counter", about, time);
    if let Some(bytes) = memory::resident_bytes() {
        row("ingle_resident_bytes", "gauge", "Memory that the process has resident", bytes as f64);
    }
}

/// The rows of models' memory.
fn ledger(text: &mut String, residence: &Residence, models: &Models) {
    let counts = &residence.counts;
    let [budget, fixed, used] = residence.sums();
    let rows = [
        ("ingle_memory_budget_bytes", "gauge", "Memory that the server may have", budget),
        ("ingle_memory_program_bytes", "gauge", "Of it what the program has without a model", fixed),
        (
            "ingle_memory_used_bytes",
            "gauge",
            "Of it what is taken, or kept free for what models may come to take",
            used,
        ),
        ("ingle_model_asked_total", "counter", "Requests for models", counts.n_asked.load(Relaxed)),
        ("ingle_model_hits_total", "counter", "Requests whose model was hot", counts.n_hits.load(Relaxed)),
        ("ingle_model_loads_total", "counter", "Models loaded", counts.n_loads.load(Relaxed)),
        ("ingle_model_unmaps_total", "counter", "Models that left memory", counts.n_unmaps.load(Relaxed)),
        (
            "ingle_model_drops_total",
            "counter",
            "Models whose weights left the process",
            counts.n_drops.load(Relaxed),
        ),
        (
            "ingle_model_refused_total",
            "counter",
            "Requests refused for want of memory",
            counts.n_refused.load(Relaxed),
        ),
        (
            "ingle_memory_pressure_total",
            "counter",
            "Times that the system ran short",
            counts.n_pressures.load(Relaxed),
        ),
    ];
    for (name, kind, about, value) in rows {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}");
    }
    let name = "ingle_model_bytes";
    let _ = writeln!(text, "# HELP {name} What a model takes when it is hot, by kind\n# TYPE {name} gauge");
    for told in residence.told() {
        let (model, tier) = (&*told.name, told.resident.tier.name());
        for kind in KINDS {
            let (kind, value) = (kind.name, (kind.of)(&told.resident.ledger));
            let _ = writeln!(text, "{name}{{model={model:?},tier={tier:?},kind={kind:?}}} {value}");
        }
    }
    let name = "ingle_model_packed_file_bytes";
    let about = "Weights of a model that lie packed in mapped files";
    let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} gauge");
    for served in &models.writers {
        let (model, value) = (&*served.name, served.loaded().kept_bytes());
        let _ = writeln!(text, "{name}{{model={model:?}}} {value}");
    }
    let name = "ingle_model_swap_seconds";
    let _ = writeln!(text, "# HELP {name} How long models took to become hot\n# TYPE {name} summary");
    for from in [Tier::Warm, Tier::Cold] {
        for part in [0.5, 0.95, 1.0] {
            let Some((time, _)) = residence.swap_time(from, part) else { continue };
            let (tier, time) = (from.name(), time.as_secs_f64());
            let _ = writeln!(text, "{name}{{from={tier:?},quantile=\"{part}\"}} {time}");
        }
        if let Some((_, n)) = residence.swap_time(from, 1.0) {
            let _ = writeln!(text, "{name}_count{{from={:?}}} {n}", from.name());
        }
    }
}

/// The rows of each drafter.
fn drafters(text: &mut String, models: &Models) {
    for (name, about) in [("drafted", "guessed ahead"), ("accepted", "guessed ahead and chosen")] {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# HELP ingle_drafter_{name}_tokens_total Tokens {about}, by drafter");
        let _ = writeln!(text, "# TYPE ingle_drafter_{name}_tokens_total counter");
        for served in &models.writers {
            for (drafter, count) in guesses(served.engine.counters()).kinds() {
                let n = if name == "drafted" { count.n_drafted } else { count.n_accepted };
                let model = &*served.name;
                let _ = writeln!(
                    text,
                    "ingle_drafter_{name}_tokens_total{{model={model:?},drafter={drafter:?}}} {n}"
                );
            }
        }
    }
}

/// What came of guesses so far.
fn guesses(counters: &Counters) -> Tally {
    *counters.guesses.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number for monitoring.
struct Row<T> {
    name: &'static str,
    kind: &'static str,
    about: &'static str,
    value: fn(&T) -> u64,
    unit: f64,
}

/// A second's unit where nanoseconds are counted.
const NANOSECOND: f64 = 1e-9;

impl<T> Row<T> {
    /// The row with the value of each model.
    fn write<'a>(&self, to: &mut String, models: impl Iterator<Item = (&'a str, &'a T)>)
    where
        T: 'a,
    {
        // Writing to a text does not fail.
        let _ = writeln!(to, "# HELP {} {}\n# TYPE {} {}", self.name, self.about, self.name, self.kind);
        for (model, of) in models {
            let value = (self.value)(of) as f64 * self.unit;
            let _ = writeln!(to, "{}{{model={model:?}}} {value}", self.name);
        }
    }
}

const fn counter<T>(name: &'static str, about: &'static str, value: fn(&T) -> u64) -> Row<T> {
    Row { name, kind: "counter", about, value, unit: 1.0 }
}

/// A counter of seconds, of a number of nanoseconds.
const fn seconds<T>(name: &'static str, about: &'static str, value: fn(&T) -> u64) -> Row<T> {
    Row { name, kind: "counter", about, value, unit: NANOSECOND }
}

const fn gauge<T>(name: &'static str, about: &'static str, value: fn(&T) -> u64) -> Row<T> {
    Row { name, kind: "gauge", about, value, unit: 1.0 }
}

/// Of models that read, or are asked for their vectors.
static READER_ROWS: &[Row<Reader>] = &[
    counter("ingle_vectors_total", "Vectors made of texts", |r| r.counters.n_vectors.load(Relaxed)),
    counter("ingle_scores_total", "Pairs of texts scored", |r| r.counters.n_scores.load(Relaxed)),
    counter("ingle_read_tokens_total", "Tokens read for vectors and scores", |r| {
        r.counters.n_tokens.load(Relaxed)
    }),
    counter(
        "ingle_readings_refused_total",
        "Requests for vectors or scores refused as too many waited",
        |r| r.counters.n_refused.load(Relaxed),
    ),
    gauge("ingle_readings_waiting", "Requests for vectors or scores that wait", |r| r.n_waiting() as u64),
];

/// Of models that write.
static ROWS: &[Row<Counters>] = &[
    counter("ingle_steps_total", "Steps of the model", |c| c.n_steps.load(Relaxed)),
    counter("ingle_prompt_tokens_total", "Tokens of prompts computed", |c| c.n_prompt.load(Relaxed)),
    counter("ingle_cached_tokens_total", "Tokens of prompts that were there already", |c| {
        c.n_reused.load(Relaxed)
    }),
    counter("ingle_generated_tokens_total", "Tokens chosen", |c| c.n_generated.load(Relaxed)),
    counter("ingle_answers_total", "Answers ended", |c| c.n_ended.load(Relaxed)),
    counter("ingle_refused_total", "Requests refused as the queue was full", |c| c.n_refused.load(Relaxed)),
    gauge("ingle_kept_blocks", "Blocks of 64 tokens kept for prompts that begin the same", |c| {
        c.n_kept_blocks.load(Relaxed) as u64
    }),
    gauge("ingle_kept_bytes", "Memory of them", |c| c.n_kept_bytes.load(Relaxed)),
    counter("ingle_evicted_total", "Blocks and states that made room for others", |c| {
        c.n_evicted.load(Relaxed)
    }),
    seconds("ingle_model_seconds_total", "Time of the model's steps, drafters' included", |c| {
        c.model_ns.load(Relaxed)
    }),
    seconds("ingle_choosing_seconds_total", "Time in which tokens were chosen, written and told", |c| {
        c.choosing_ns.load(Relaxed)
    }),
    counter("ingle_drafted_tokens_total", "Tokens guessed ahead", |c| guesses(c).total().n_drafted),
    counter("ingle_accepted_tokens_total", "Tokens guessed ahead that were chosen", |c| {
        guesses(c).total().n_accepted
    }),
    gauge("ingle_drafter_bytes", "Memory of what guesses ahead, beside the model", |c| {
        c.n_drafter_bytes.load(Relaxed)
    }),
    gauge("ingle_waiting", "Answers that wait", |c| c.n_waiting.load(Relaxed) as u64),
    gauge("ingle_running", "Answers under way", |c| c.n_running.load(Relaxed) as u64),
];
