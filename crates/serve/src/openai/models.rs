//! `/v1/models`: what there is, and what each can do; beside the list, in this server's own `ingle`, where else the one who asks may have
//! answers from, and whether something is kept of what is said of them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use ingle_route::policy::Wish;
use serde_json::{Value, json};

use crate::app::App;
use crate::fim::Marks;
use crate::guard::Caller;
use crate::reader::{Reader, Task};
use crate::refusal::Refusal;
use crate::residence::{Residence, Told};
use crate::served::Served;

/// `GET /v1/models`
pub async fn list(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let models = app.models();
    let writers = models.writers.iter().map(|served| writer(&app, served));
    let known = app.residence.as_ref().map(Residence::told).unwrap_or_default();
    let others =
        known.iter().filter(|known| models.any(Some(&known.name)).is_err()).map(|known| cold(&app, known));
    let data: Value =
        writers.chain(models.readers.iter().map(|one| reader(&app, one))).chain(others).collect();
    let ingle = json!({ "endpoints": endpoints(&app, caller), "feedback": app.recent.is_some() });
    Json(json!({ "object": "list", "data": data, "ingle": ingle }))
}

/// Who else may answer `caller`; nobody where server or key say that everything stays here.
fn endpoints(app: &App, caller: Caller) -> Vec<&str> {
    let by_key = app.keys.get(caller.0).map_or(Wish::Auto, |key| key.route);
    let open = app.elsewhere.as_ref().filter(|elsewhere| elsewhere.wish().strictest(by_key) != Wish::Local);
    let all = open.map_or(&[][..], |elsewhere| &elsewhere.desk().policy.endpoints);
    all.iter().map(|endpoint| endpoint.name.as_str()).collect()
}

/// `GET /v1/models/{id}`
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let models = app.models();
    let known = app.residence.as_ref().map(Residence::told).unwrap_or_default();
    if let (true, Some(known)) = (models.any(Some(&id)).is_err(), known.iter().find(|known| known.name == id))
    {
        return Ok(Json(cold(&app, known)));
    }
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

/// A model that is not in memory: what its header says.
fn cold(app: &App, known: &Told) -> Value {
    let can: &[&str] = if known.only_reads { &["embedding"] } else { &["completion", "embedding"] };
    json!({
        "id": known.name, "object": "model", "created": app.started, "owned_by": "ingle", "capabilities": can,
        "meta": { "size": known.resident.ledger.mapped.max(known.resident.ledger.packed) },
    })
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
