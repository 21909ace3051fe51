//! All routes, which `openapi.json` describes.

use std::sync::Arc;

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};

use crate::app::App;
use crate::embeddings::rerank::Rerank;
use crate::ollama::{answer::Answer, chat::Chat, generate::Generate, installed};
use crate::openai::responses;
use crate::{answering, anthropic, embeddings, feedback, infill, llama, ollama, openai, page};

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// The methods it takes, with spaces between.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that holds openapi.json"))]
    methods: &'static str,
    /// Who answers.
    pub make: fn() -> MethodRouter<Arc<App>>,
}

const fn route(path: &'static str, methods: &'static str, make: fn() -> MethodRouter<Arc<App>>) -> Route {
    Route { path, methods, make }
}

/// All of them.
pub static ROUTES: &[Route] = &[
    route("/", "GET", || get(page::index)),
    route("/page/{name}", "GET", || get(page::file)),
    route("/ledger", "GET", || get(page::ledger)),
    route("/openapi.json", "GET", || get(openapi)),
    route("/health", "GET", || get(llama::health)),
    route("/metrics", "GET", || get(llama::metrics)),
    route("/tokenize", "POST", || post(llama::tokenize)),
    route("/detokenize", "POST", || post(llama::detokenize)),
    route("/apply-template", "POST", || post(llama::apply_template)),
    route("/v1/models", "GET", || get(openai::models::list)),
    route("/v1/models/{id}", "GET", || get(openai::models::one)),
    route("/v1/chat/completions", "POST", || post(answering::route::<openai::chat::Chat>)),
    route("/v1/completions", "POST", || post(answering::route::<openai::completions::Completion>)),
    route("/v1/responses", "POST", || post(answering::route::<responses::Answer>)),
    route("/v1/responses/{id}", "GET DELETE", || get(responses::kept::one).delete(responses::kept::delete)),
    route("/v1/responses/{id}/cancel", "POST", || post(responses::kept::cancel)),
    route("/v1/responses/{id}/input_items", "GET", || get(responses::kept::input_items)),
    route("/v1/ingle/feedback", "POST", || post(feedback::feedback)),
    route("/infill", "POST", || post(answering::route::<infill::Infill>)),
    route("/v1/embeddings", "POST", || post(embeddings::route::<embeddings::openai::Vectors>)),
    route("/api/embed", "POST", || post(embeddings::route::<ollama::embed::Embed>)),
    route("/api/embeddings", "POST", || post(embeddings::route::<ollama::embed::Embedding>)),
    route("/v1/rerank", "POST", || post(embeddings::route::<Rerank>)),
    route("/rerank", "POST", || post(embeddings::route::<Rerank>)),
    route("/reranking", "POST", || post(embeddings::route::<Rerank>)),
    route("/v1/reranking", "POST", || post(embeddings::route::<Rerank>)),
    route("/v1/messages", "POST", || post(answering::route::<anthropic::create::Message>)),
    route("/v1/messages/count_tokens", "POST", || post(anthropic::count_tokens)),
    route("/api/version", "GET", || get(ollama::models::version)),
    route("/api/tags", "GET", || get(ollama::models::tags)),
    route("/api/ps", "GET", || get(ollama::models::ps)),
    route("/api/stop", "POST", || post(ollama::models::stop)),
    route("/api/show", "POST", || post(ollama::models::show)),
    route("/api/generate", "POST", || post(answering::route::<Answer<Generate>>)),
    route("/api/pull", "POST", || post(installed::pull)),
    route("/api/delete", "DELETE", || delete(installed::delete)),
    route("/api/create", "POST", || post(installed::elsewhere)),
    route("/api/copy", "POST", || post(installed::elsewhere)),
    route("/api/push", "POST", || post(installed::elsewhere)),
    route("/api/blobs/{digest}", "POST HEAD", || post(installed::elsewhere).head(installed::elsewhere)),
    route("/api/chat", "POST", || post(answering::route::<Answer<Chat>>)),
];

/// What the routes take and give.
const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /openapi.json`
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_every_field_that_changes_nothing() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        for (name, accepted) in
            [("OpenAiAccepted", openai::ACCEPTED), ("AnthropicAccepted", anthropic::ACCEPTED)]
        {
            let of = described["components"]["schemas"][name]["properties"].as_object().unwrap();
            let of: Vec<&str> = of.keys().map(String::as_str).collect();
            assert_eq!(of, accepted, "{name}");
        }
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<String> = described["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, of)| {
                of.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let there: BTreeSet<String> = ROUTES
            .iter()
            .flat_map(|route| route.methods.split(' ').map(move |method| format!("{method} {}", route.path)))
            .collect();
        assert_eq!(described, there);
    }
}
