//! `/v1/models`: what there is to talk to.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::server::App;

/// `GET /v1/models`
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "object": "list", "data": [model(&app)] }))
}

/// `GET /v1/models/{id}`
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    app.check_model(Some(&id))?;
    Ok(Json(model(&app)))
}

fn model(app: &App) -> Value {
    let config = &app.engine.loaded().model.config;
    json!({
        "id": app.name, "object": "model", "created": app.started, "owned_by": "ingle",
        "meta": { "n_ctx": app.engine.ctx(), "n_ctx_train": config.ctx_train, "n_vocab": config.vocab,
                  "n_embd": config.dim, "size": app.engine.loaded().file.n_bytes() },
    })
}
