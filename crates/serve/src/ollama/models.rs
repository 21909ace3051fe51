//! What is served, as Ollama's clients ask for it: `/api/version`, `/api/tags`, `/api/ps`, `/api/show`; and `/api/stop`, which is our
//! own: a model leaves memory.

use std::sync::Arc;

use axum::Json as AsJson;
use axum::extract::State;
use ingle_engine::residency::Resident;
use ingle_engine::residency::ledger::KINDS;
use ingle_model::file::{Contents, Value};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::installed::Installed;
use super::timestamp;
use crate::app::{App, Models};
use crate::fields::Fields;
use crate::payload::{Payload, aside};
use crate::reader::{Reader, Task};
use crate::refusal::Refusal;
use crate::residence::Residence;
use crate::served::Served;

/// The version of Ollama whose forms are spoken here: clients ask it what they may expect.
const SPOKEN: &str = "0.13.0";
/// When a model leaves that stays until others need the room.
const NEVER: &str = "9999-12-31T23:59:59Z";
/// Longer arrays of a file's metadata are told only to who asks for all.
const ARRAY_MAX: usize = 8;

/// `GET /api/version`
pub async fn version() -> AsJson<Json> {
    AsJson(json!({ "version": SPOKEN, "ingle": env!("CARGO_PKG_VERSION") }))
}

/// `GET /api/tags`: the models that can be asked: those that are served, and those on the device that would be.
pub async fn tags(State(app): State<Arc<App>>) -> Result<AsJson<Json>, Refusal> {
    let listing = move || {
        let models = app.models();
        let mut told: Vec<Json> = all(&models).map(|one| model(&one)).collect();
        for model in &mut told {
            model["modified_at"] = timestamp(app.started).into();
        }
        for told_of in app.residence.as_ref().map(Residence::told).unwrap_or_default() {
            if models.any(Some(&told_of.name)).is_err() {
                let (name, size) = (told_of.name, told_of.resident.ledger.mapped);
                let modified = timestamp(app.started);
                told.push(json!({ "name": name, "model": name, "size": size, "digest": "", "modified_at": modified }));
            }
        }
        let library = app.library.as_ref().map(|library| library.list());
        for Installed { name, n_bytes, modified } in
            library.transpose().map_err(|e| Refusal::from(&e))?.unwrap_or_default()
        {
            if !app.serves(&name) {
                let modified = timestamp(modified.unwrap_or(app.started));
                told.push(json!({ "name": name, "model": name, "size": n_bytes, "digest": "", "modified_at": modified }));
            }
        }
        Ok(AsJson(json!({ "models": told })))
    };
    aside(listing).await
}

/// `GET /api/ps`: those that are in memory. Under `memory` is what Ollama has no words for.
pub async fn ps(State(app): State<Arc<App>>) -> Result<AsJson<Json>, Refusal> {
    let listing = move || {
        let models = app.models();
        let told = app.residence.as_ref().map(Residence::told).unwrap_or_default();
        let running = all(&models).map(|one| {
            let told = told.iter().find(|told| told.name == one.reader.name);
            let mut model = model(&one);
            let left = told.and_then(|told| told.left);
            model["expires_at"] =
                left.map_or_else(|| NEVER.into(), |left| timestamp(app.now() + left.as_secs()).into());
            if let Some(told) = told {
                model["size"] = told.resident.held().into();
                model["memory"] = memory(&told.resident);
                let kept = one.writer.map_or(0, |served| served.loaded().kept_bytes());
                model["memory"]["packed_in_files"] = kept.into();
            }
            model["size_vram"] = 0.into();
            model["context_length"] = one.ctx().into();
            model
        });
        let mut listed = json!({ "models": running.collect::<Json>() });
        if let Some(residence) = &app.residence {
            let [budget, fixed, used] = residence.sums();
            listed["memory"] = json!({ "budget": budget, "program": fixed, "used": used });
        }
        Ok(AsJson(listed))
    };
    aside(listing).await
}

/// What a model has of the budget.
fn memory(resident: &Resident) -> Json {
    let kinds = KINDS.iter().map(|kind| (kind.name.to_owned(), (kind.of)(&resident.ledger).into()));
    json!({
        "tier": resident.tier.name(), "rests": resident.rests, "pinned": resident.is_pinned,
        "in_use": resident.n_busy, "bytes": kinds.collect::<Map<_, _>>(),
    })
}

/// `POST /api/stop`
pub async fn stop(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<AsJson<Json>, Refusal> {
    let stopping = move || {
        let mut fields = Fields::parse(&body)?;
        let name = take_name(&mut fields)?;
        fields.end()?;
        if !app.serves(&name) {
            return Err(Refusal::NotFound(format!("no model {name:?} here")));
        }
        if !app.stop(&name)? {
            return Err(Refusal::field(
                "model",
                format!("model {name:?} is in use, or served without a budget, and stays"),
            ));
        }
        Ok(AsJson(json!({ "model": name, "done": true, "done_reason": "unload" })))
    };
    aside(stopping).await
}

/// `POST /api/show`
pub async fn show(State(app): State<Arc<App>>, Payload(body): Payload) -> Result<AsJson<Json>, Refusal> {
    let showing = move || {
        let mut fields = Fields::parse(&body)?;
        let name = take_name(&mut fields)?;
        let verbose = fields.flag("verbose")?.unwrap_or(false);
        fields.end()?;
        let reader = app.any(Some(&name))?;
        let models = app.models();
        let writer = models.writers.iter().find(|served| served.name == reader.name);
        let one = One { reader: &reader, writer: writer.map(|served| &**served) };
        let (file, contents) = (reader.embedder().file(), reader.embedder().file().contents());
        let mut shown = json!({
            "modelfile": format!("FROM {}\n", reader.name),
            "parameters": format!("num_ctx {}", one.ctx()),
            // Jinja, not Go.
            "template": file.template_source()?.unwrap_or_default(),
            "details": details(contents),
            "model_info": info(contents, verbose),
            "capabilities": one.capabilities(),
            "modified_at": timestamp(app.started),
        });
        if let Ok(Some(license)) = contents.str("general.license") {
            shown["license"] = license.into();
        }
        Ok(AsJson(shown))
    };
    aside(showing).await
}

/// A model that is served.
struct One<'a> {
    reader: &'a Reader,
    /// The same, if it writes.
    writer: Option<&'a Served>,
}

/// All of them, those that write first.
fn all(models: &Models) -> impl Iterator<Item = One<'_>> {
    let writers = models.writers.iter().map(|served| One { reader: &served.reader, writer: Some(served) });
    writers.chain(models.readers.iter().map(|reader| One { reader, writer: None }))
}

impl One<'_> {
    /// Tokens that it takes.
    fn ctx(&self) -> usize {
        self.writer.map_or_else(|| self.reader.embedder().tokens_max(), |served| served.engine.ctx())
    }

    fn capabilities(&self) -> Vec<&'static str> {
        let Some(served) = self.writer else {
            return match self.reader.task() {
                Task::Vectors => vec!["embedding"],
                Task::Scores => Vec::new(),
            };
        };
        let calls = !served.format.example.is_empty();
        let known = [("completion", true), ("tools", calls), ("thinking", served.thinks())];
        known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }
}

/// Takes the model's name, which older clients call `name`.
pub fn take_name(fields: &mut Fields) -> Result<String, Refusal> {
    let (model, name) = (fields.text("model")?, fields.text("name")?);
    model.or(name).ok_or_else(|| Refusal::field("model", "model: none given"))
}

fn model(one: &One<'_>) -> Json {
    let (name, file) = (&one.reader.name, one.reader.embedder().file());
    json!({
        "name": name, "model": name, "size": file.n_bytes(), "digest": digest(file.contents()),
        "details": details(file.contents()),
    })
}

/// What tells a model from others: the SHA-256 of what its file says of itself, not of its weights' bytes.
fn digest(contents: &Contents) -> String {
    let mut hash = Sha256::new();
    for (key, value) in contents.keys() {
        hash.update(key);
        match value {
            Value::String(bytes) => hash.update(&bytes[..]),
            Value::Array { len, bytes, .. } => {
                hash.update(len.to_le_bytes());
                hash.update(&bytes[..]);
            }
            other => hash.update(format!("{other:?}")),
        }
    }
    for tensor in contents.tensors() {
        hash.update(format!("{} {:?} {}", tensor.name, tensor.shape, tensor.format.name));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn details(contents: &Contents) -> Json {
    let family = contents.str("general.architecture").ok().flatten().unwrap_or_default();
    let n_params: u64 = contents.tensors().iter().map(|tensor| tensor.n_values() as u64).sum();
    json!({
        "parent_model": "",
        "format": contents.container.split(' ').next().unwrap_or_default().to_lowercase(),
        "family": family,
        "families": [family],
        "parameter_size": rounded(n_params),
        "quantization_level": level(contents),
    })
}

/// A number of parameters as people write it.
fn rounded(n: u64) -> String {
    match n {
        0..1_000_000 => format!("{:.1}K", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", n as f64 / 1e6),
        _ => format!("{:.1}B", n as f64 / 1e9),
    }
}

/// The block format that most bytes have.
fn level(contents: &Contents) -> String {
    let mut formats: Vec<(&str, usize)> = Vec::new();
    for tensor in contents.tensors() {
        match formats.iter_mut().find(|(name, _)| *name == tensor.format.name) {
            Some((_, n_bytes)) => *n_bytes += tensor.n_bytes(),
            None => formats.push((tensor.format.name, tensor.n_bytes())),
        }
    }
    let most = formats.into_iter().max_by_key(|(_, n_bytes)| *n_bytes);
    most.map_or_else(String::new, |(name, _)| name.to_uppercase())
}

/// A file's metadata under its own keys; long arrays are null unless all is wanted.
fn info(contents: &Contents, verbose: bool) -> Json {
    let told = |(key, value): (&str, &Value)| {
        let json = match value {
            Value::Uint(n) => json!(n),
            Value::Int(n) => json!(n),
            Value::Float(x) => json!(x),
            Value::Bool(b) => json!(b),
            Value::String(bytes) => String::from_utf8_lossy(bytes).into(),
            Value::Array { len, .. } if *len > ARRAY_MAX && !verbose => Json::Null,
            Value::Array { .. } => array(contents, key),
        };
        (key.to_owned(), json)
    };
    // The template has a place of its own.
    let keys = contents.keys().filter(|(key, _)| *key != "tokenizer.chat_template");
    Json::Object(keys.map(told).collect::<Map<_, _>>())
}

fn array(contents: &Contents, key: &str) -> Json {
    if let Ok(Some(texts)) = contents.strings(key) {
        return texts.map(|text| Json::from(String::from_utf8_lossy(text))).collect();
    }
    if let Ok(Some(ints)) = contents.ints(key) {
        return ints.into();
    }
    contents.floats(key).ok().flatten().map_or(Json::Null, Json::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded() {
        assert_eq!([999, 751_632_384, 8_030_261_248].map(rounded), ["1.0K", "751.6M", "8.0B"]);
    }
}
