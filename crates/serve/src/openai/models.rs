//! `/v1/models`: what there is, and what each can do.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::app::App;
use crate::fim::Marks;
use crate::reader::{Reader, Task};
use crate::refusal::Refusal;
use crate::served::Served;

/// `GET /v1/models`
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let models = app.models();
    let writers = models.writers.iter().map(|served| writer(&app, served));
    let data: Value = writers.chain(models.readers.iter().map(|one| reader(&app, one))).collect();
    Json(json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let models = app.models();
    let of_name = models.readers.iter().find(|reader| reader.name == id);
    Ok(Json(match of_name {
        Some(one) => reader(&app, one),
        None => writer(&app, &*models.writer(Some(&id))?),
    }))
}

fn writer(app: &App, served: &Served) -> Value {
    let mut can = vec!["completion", "embedding"];
    if served.prompter.has_template() {
        can.push("tools");
    }
    if served.loaded().tokenizer().is_ok_and(|tokenizer| Marks::of(tokenizer).is_some()) {
        can.push("insert");
    }
    model(app, &served.reader, &can, served.engine.ctx())
}

fn reader(app: &App, reader: &Reader) -> Value {
    let can = match reader.task() {
        Task::Vectors => "embedding",
        Task::Scores => "rerank",
    };
    model(app, reader, &[can], reader.embedder().tokens_max())
}

/// A model, what it `can` do and how many tokens it takes; `meta` has llama.cpp's names.
fn model(app: &App, reader: &Reader, can: &[&str], n_ctx: usize) -> Value {
    let config = reader.embedder().config();
    json!({
        "id": reader.name, "object": "model", "created": app.started, "owned_by": "ingle", "capabilities": can,
        "meta": { "n_ctx": n_ctx, "n_ctx_train": config.ctx_train, "n_vocab": config.vocab,
                  "n_embd": config.dim, "size": reader.embedder().file().n_bytes() },
    })
}
