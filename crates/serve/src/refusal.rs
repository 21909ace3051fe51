//! A request that is not answered, in OpenAI's form: a status and `{"error": {message, type, param, code}}`.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something in the request can't be met; the field it is about, if it is one.
    #[error("{message}")]
    Invalid {
        /// One sentence.
        message: String,
        /// The field's name.
        param: Option<String>,
    },
    /// The key is missing or wrong.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The request comes from, or is for, somewhere else.
    #[error("{0}")]
    Forbidden(String),
    /// No such route, model or response.
    #[error("{0}")]
    NotFound(String),
    /// The server does not do that; what does is said.
    #[error("{0}")]
    Elsewhere(String),
    /// The route takes another method.
    #[error("this route takes another method")]
    Method,
    /// The body has more than so many bytes.
    #[error("the body has more than {0} bytes, which is the most")]
    TooLarge(usize),
    /// The body did not come within so long.
    #[error("the body did not come within {} s, which is the most", .0.as_secs_f64())]
    Slow(Duration),
    /// There is no room for another large body.
    #[error("other large requests are being read; try again in a few seconds")]
    Crowded,
    /// As many requests as may wait are waiting.
    #[error("the queue is full; try again in a few seconds")]
    Busy,
    /// The answer was not there within so long.
    #[error("the answer was not complete within {} s, which is this server's limit", .0.as_secs_f64())]
    Late(Duration),
    /// It was to be answered elsewhere, and nobody did.
    #[error("{message}")]
    Unanswered {
        /// What was tried.
        message: String,
        /// Whose answer was begun and broke off, where something of it was shown.
        begun: Option<Begun>,
    },
    /// The server is about to stop.
    #[error("the server is stopping")]
    Stopping,
    /// There is no memory for the model that is asked; the sum is said.
    #[error("{0}")]
    Memory(String),
    /// The model or the program failed.
    #[error("{0}")]
    Failed(String),
}

/// An answer from elsewhere that broke off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// `there` or `redacted`.
    pub route: &'static str,
    /// The endpoint.
    pub by: String,
}

impl Refusal {
    /// `message` about the field `param`.
    pub fn field(param: &str, message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), param: Some(param.to_owned()) }
    }

    /// `message` about the request as a whole.
    pub fn request(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), param: None }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Elsewhere(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::Crowded | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Memory(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unanswered { .. } => StatusCode::BAD_GATEWAY,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What it is called in OpenAI's words, which are nearly Anthropic's.
    fn kind(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::Elsewhere(_) | Self::Method | Self::TooLarge(_) | Self::Slow(_) => {
                "invalid_request_error"
            }
            Self::Unauthorized(_) => "authentication_error",
            Self::Forbidden(_) => "permission_error",
            Self::NotFound(_) => "not_found_error",
            Self::Busy | Self::Crowded | Self::Stopping => "overloaded_error",
            Self::Late(_) => "timeout_error",
            Self::Memory(_) | Self::Failed(_) | Self::Unanswered { .. } => "server_error",
        }
    }

    /// The body in OpenAI's words.
    pub fn json(&self) -> Json {
        let param = if let Self::Invalid { param, .. } = self { param.as_deref() } else { None };
        let mut body = json!({ "error": {
            "message": self.to_string(), "type": self.kind(), "param": param, "code": self.status().as_u16(),
        } });
        if let Self::Unanswered { begun: Some(Begun { route, by }), .. } = self {
            body["ingle"] = json!({ "route": route, "by": by, "finish": "cut" });
        }
        body
    }

    /// The body in Anthropic's words.
    pub fn anthropic(&self) -> Json {
        let kind = match self {
            Self::Memory(_) | Self::Failed(_) | Self::Unanswered { .. } => "api_error",
            Self::TooLarge(_) => "request_too_large",
            _ => self.kind(),
        };
        json!({ "type": "error", "error": { "type": kind, "message": self.to_string() } })
    }

    /// The body in Ollama's words.
    pub fn ollama(&self) -> Json {
        json!({ "error": self.to_string() })
    }
}

/// Whose words are spoken under a path; elsewhere they are OpenAI's.
static WORDS: &[(&str, fn(&Refusal) -> Json)] =
    &[("/v1/messages", Refusal::anthropic), ("/api/", Refusal::ollama)];

/// A layer that puts refusals into the words of the API that was asked.
pub async fn in_its_words(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let words = WORDS.iter().find(|(start, _)| path.starts_with(start)).map(|(_, words)| words);
    let response = next.run(request).await;
    match (words, response.extensions().get::<Refusal>().cloned()) {
        // What stands in the head for the browser holds for these words too.
        (Some(words), Some(refusal)) => {
            let (mut head, _) = response.into_parts();
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, words(&refusal).to_string().into())
        }
        _ => response,
    }
}

impl From<ingle_engine::Error> for Refusal {
    fn from(error: ingle_engine::Error) -> Self {
        use ingle_engine::Error as E;
        match error {
            E::PromptTooLong { tokens, ctx } => Self::request(format!(
                "the prompt has {tokens} tokens, the context {ctx}; shorten it, or set \"overflow\": \"drop-oldest\""
            )),
            E::Input(_) | E::Constraint(_) | E::Model { .. } | E::Sample { .. } => {
                Self::request(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), axum::Json(self.json())).into_response();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
        }
        if matches!(self, Self::Unauthorized(_)) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
