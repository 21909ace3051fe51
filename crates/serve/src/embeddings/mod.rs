//! A request that a reader answers, whatever API it came by: read, let in, computed, told in one piece.
//!
//! An API is a [`Wish`] (Ollama's are with its other routes): it takes a request apart and writes what was made in its own words. Reading and computing happen on
//! threads that may take their time. When the client goes, or time is up, this future goes too, and what it had asked is cancelled.

pub mod openai;
pub mod rerank;

use std::fmt::Write;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ingle_engine::embed::{Input, Truncate};
use serde_json::Value as Json;
use tokio::time::sleep;

use crate::app::App;
use crate::fields::Fields;
use crate::guard::Caller;
use crate::listen::{Phase, reached};
use crate::payload::{Payload, aside};
use crate::reader::{Pass, Reader};
use crate::refusal::Refusal;

/// Texts of a request, as OpenAI has it.
pub const TEXTS_MAX: usize = 2048;

/// An API's way of asking for vectors or scores, and of telling them.
pub trait Wish: Sized + Send + 'static {
    /// Takes a request apart.
    fn read(app: &App, fields: Fields) -> Result<(Arc<Reader>, Self), Refusal>;

    /// Has it done, and writes the response, a JSON document.
    fn answer(self, reader: &Reader, pass: &Pass, cancel: &AtomicBool) -> Result<String, Refusal>;
}

/// The route of an API.
pub async fn route<W: Wish>(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Payload(body): Payload,
) -> Result<Response, Refusal> {
    let read = {
        let app = app.clone();
        move || Fields::parse(&body).and_then(|fields| W::read(&app, fields))
    };
    let (reader, wish) = aside(read).await?;
    let made = async {
        let pass = reader.pass().await?;
        let gone = Gone(Arc::default());
        let cancel = gone.0.clone();
        let (app, reader) = (app.clone(), reader.clone());
        aside(move || {
            let by = app.name_of(caller);
            reader.accounted(app.accounts.as_ref(), by, || wish.answer(&reader, &pass, &cancel))
        })
        .await
    };
    let (late, mut phase) = (late(app.limits.answer), app.phase.clone());
    let text = tokio::select! {
        text = made => text?,
        limit = late => return Err(Refusal::Late(limit)),
        () = reached(&mut phase, Phase::Over) => return Err(Refusal::Stopping),
    };
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// When the time of an answer is up, if it is limited.
async fn late(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => sleep(limit).await,
        None => pending().await,
    }
    limit.unwrap_or_default()
}

/// Raised when it goes.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A text, or what a client made of it.
#[derive(Debug)]
pub enum Given {
    /// A text.
    Text(String),
    /// Its ids.
    Ids(Vec<u32>),
}

impl Given {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Text(text) => Input::Text(text),
            Self::Ids(ids) => Input::Ids(ids),
        }
    }
}

/// Takes a text, token ids, or an array of one of these.
pub fn take_inputs(fields: &mut Fields, name: &str) -> Result<Option<Vec<Given>>, Refusal> {
    let wrong = || {
        Refusal::field(
            name,
            format!("{name}: expected a text, token ids, or an array of up to {TEXTS_MAX} of these"),
        )
    };
    let ids = |items: &[Json]| {
        let ids: Option<Vec<u32>> = items.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect();
        ids.map(Given::Ids).ok_or_else(wrong)
    };
    let Some(value) = fields.take(name) else { return Ok(None) };
    let items = match value {
        Json::String(text) => return Ok(Some(vec![Given::Text(text)])),
        Json::Array(items) => items,
        _ => return Err(wrong()),
    };
    if items.first().is_some_and(Json::is_u64) {
        return Ok(Some(vec![ids(&items)?]));
    }
    if items.len() > TEXTS_MAX {
        return Err(wrong());
    }
    let one = |item: Json| match item {
        Json::String(text) => Ok(Given::Text(text)),
        Json::Array(items) => ids(&items),
        _ => Err(wrong()),
    };
    items.into_iter().map(one).collect::<Result<_, _>>().map(Some)
}

/// As the engine takes them.
pub fn inputs(given: &[Given]) -> Vec<Input<'_>> {
    given.iter().map(Given::input).collect()
}

/// Takes `truncate`: whether a text that is too long is cut.
pub fn take_truncate(fields: &mut Fields, default: Truncate) -> Result<Truncate, Refusal> {
    Ok(match fields.flag("truncate")? {
        Some(true) => Truncate::ToModel,
        Some(false) => Truncate::No,
        None => default,
    })
}

/// Puts a vector at the end of a JSON text, each value with as many digits as tell it from others.
pub fn write_vector(to: &mut String, vector: &[f32]) {
    to.push('[');
    for (i, value) in vector.iter().enumerate() {
        // Writing to a text does not fail.
        let _ = write!(to, "{}{value}", if i > 0 { "," } else { "" });
    }
    to.push(']');
}

/// The object `rest` with `array` in front, which is JSON already: as a [`Json`] many vectors would take eight times their bytes.
pub fn with_array(name: &str, array: &str, rest: &Json) -> String {
    let rest = rest.to_string();
    format!("{{\"{name}\":{array},{}", rest.strip_prefix('{').unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_texts_or_ids_or_many() {
        let taken = |body: &str| {
            let mut fields = Fields::parse(body.as_bytes()).unwrap();
            take_inputs(&mut fields, "input").map(|given| format!("{:?}", given.unwrap()))
        };
        assert_eq!(taken(r#"{"input": "a"}"#).unwrap(), r#"[Text("a")]"#);
        assert_eq!(taken(r#"{"input": [1, 2]}"#).unwrap(), "[Ids([1, 2])]");
        assert_eq!(taken(r#"{"input": ["a", [3]]}"#).unwrap(), r#"[Text("a"), Ids([3])]"#);
        assert_eq!(taken(r#"{"input": []}"#).unwrap(), "[]");
        for bad in [r#"{"a": 1}"#, "[1, -2]", "[4294967296]", "[[1, \"a\"]]", "[\"a\", 1]", "true", "[[[1]]]"]
        {
            assert!(taken(&format!("{{\"input\": {bad}}}")).is_err(), "{bad}");
        }
        let many = serde_json::json!({ "input": vec!["a"; TEXTS_MAX + 1] }).to_string();
        assert!(taken(&many).is_err());
    }

    #[test]
    fn a_vector_in_json_is_the_vector() {
        let vector = [0.1, -1.5e-30, 0.0, f32::MAX, f32::MIN_POSITIVE, 3.0];
        let mut array = String::new();
        write_vector(&mut array, &vector);
        let whole = with_array("data", &array, &serde_json::json!({ "a": 1 }));
        let whole: Json = serde_json::from_str(&whole).unwrap();
        let back: Vec<f32> =
            whole["data"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert_eq!((back.as_slice(), &whole["a"]), (&vector[..], &Json::from(1)));
    }
}
