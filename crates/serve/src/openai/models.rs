//! `/v1/models`: what there is to talk to.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::served::Served;
use crate::server::App;

/// `GET /v1/models`
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let data: Value = app.models.iter().map(|served| model(&app, served)).collect();
    Json(json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let served = app.model(Some(&id))?;
    Ok(Json(model(&app, &served)))
}

fn model(app: &App, served: &Served) -> Value {
    let config = &served.loaded().model.config;
    json!({
        "id": served.name, "object": "model", "created": app.started, "owned_by": "ingle",
        "meta": { "n_ctx": served.engine.ctx(), "n_ctx_train": config.ctx_train, "n_vocab": config.vocab,
                  "n_embd": config.dim, "size": served.loaded().file.n_bytes() },
    })
}
