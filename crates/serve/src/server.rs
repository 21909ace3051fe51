//! Binding, routing and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use ingle_model::prompt::Now;

use crate::guard::{Guard, guard};
use crate::ollama::installed::{self, Library};
use crate::ollama::{answer::Answer, chat::Chat, generate::Generate};
use crate::refusal::{Refusal, in_its_words};
use crate::served::{Served, Serving};
use crate::{answering, anthropic, llama, ollama, openai, page, payload};

/// How often the server looks whether it is to stop.
const STOP_EVERY: Duration = Duration::from_millis(50);
/// How long answers under way may go on once it is.
const DRAIN: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 for any that is free.
    pub address: SocketAddr,
    /// Keys, any of which is needed; none for an open server, which only the loopback may have.
    pub api_keys: Vec<String>,
    /// Host names by which it may be called, besides its address and the loopback's.
    pub allow_hosts: Vec<String>,
    /// Origins whose pages may call it, besides its own.
    pub allow_origins: Vec<String>,
    /// The models on the device, where clients may fetch and remove some.
    pub library: Option<Arc<dyn Library>>,
}

/// What routes know.
#[derive(Debug)]
pub struct App {
    /// The models; the first is who is asked when a request names none.
    pub models: Vec<Arc<Served>>,
    /// When the server started, in seconds since 1970.
    pub started: u64,
    /// The models on the device, where clients may change them.
    pub library: Option<Arc<dyn Library>>,
    /// Held while a model is fetched.
    pub pulling: Arc<tokio::sync::Mutex<()>>,
}

/// Serves until `stop` is raised; tells `ready` where.
///
/// # Errors
/// When the address can't be had, or needs a key and there is none, two models have one name, or one has no tokenizer.
pub fn serve(
    models: Vec<Serving>,
    options: Options,
    stop: Arc<AtomicBool>,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    if !options.address.ip().is_loopback() && options.api_keys.is_empty() {
        let why = format!("{}: others can reach this address, so an API key is needed", options.address);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let models: Result<Vec<_>, _> = models.into_iter().map(|one| Served::new(one).map(Arc::new)).collect();
    let models = models.map_err(io::Error::other)?;
    for (i, one) in models.iter().enumerate() {
        if models[..i].iter().any(|other| other.name == one.name) {
            return Err(io::Error::other(format!(
                "two models have the name {:?}, expected one each",
                one.name
            )));
        }
    }
    let app =
        Arc::new(App { models, started: unix_seconds(), library: options.library, pulling: Arc::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let checks = Guard {
            address,
            keys: options.api_keys,
            hosts: options.allow_hosts,
            origins: options.allow_origins,
        };
        let router = router(app.clone(), Arc::new(checks));
        let stopped = {
            let (app, stop) = (app.clone(), stop.clone());
            async move {
                while !stop.load(Relaxed) {
                    tokio::time::sleep(STOP_EVERY).await;
                }
                app.models.iter().for_each(|served| served.engine.close());
            }
        };
        ready(address);
        let serving = async { axum::serve(listener, router).with_graceful_shutdown(stopped).await };
        let deadline = async {
            while !stop.load(Relaxed) {
                tokio::time::sleep(STOP_EVERY).await;
            }
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving => served,
            () = deadline => Ok(()),
        }
    });
    runtime.shutdown_timeout(STOP_EVERY);
    outcome
}

fn router(app: Arc<App>, checks: Arc<Guard>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{name}", get(page::file))
        .route("/health", get(llama::health))
        .route("/metrics", get(llama::metrics))
        .route("/tokenize", post(llama::tokenize))
        .route("/detokenize", post(llama::detokenize))
        .route("/apply-template", post(llama::apply_template))
        .route("/v1/models", get(openai::models::list))
        .route("/v1/models/{id}", get(openai::models::one))
        .route("/v1/chat/completions", post(answering::route::<openai::chat::Chat>))
        .route("/v1/completions", post(answering::route::<openai::completions::Completion>))
        .route("/v1/messages", post(answering::route::<anthropic::create::Message>))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/api/version", get(ollama::models::version))
        .route("/api/tags", get(ollama::models::tags))
        .route("/api/ps", get(ollama::models::ps))
        .route("/api/show", post(ollama::models::show))
        .route("/api/generate", post(answering::route::<Answer<Generate>>))
        .route("/api/pull", post(installed::pull))
        .route("/api/delete", delete(installed::delete))
        .route("/api/create", post(installed::elsewhere))
        .route("/api/copy", post(installed::elsewhere))
        .route("/api/push", post(installed::elsewhere))
        .route("/api/blobs/{digest}", post(installed::elsewhere).head(installed::elsewhere))
        .route("/api/chat", post(answering::route::<Answer<Chat>>))
        .fallback(async |uri: axum::http::Uri| Refusal::NotFound(format!("{}: no such route", uri.path())))
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(DefaultBodyLimit::max(payload::BYTES_MAX))
        .layer(from_fn_with_state(checks, guard))
        .layer(from_fn(in_its_words))
        .with_state(app)
}

impl App {
    /// Now, in seconds since 1970.
    pub fn now(&self) -> u64 {
        unix_seconds()
    }

    /// Now, as templates are told of it.
    pub fn calendar(&self) -> Now {
        Now::from_unix(unix_seconds())
    }

    /// The model of this name; without one, the first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name.
    pub fn model(&self, name: Option<&str>) -> Result<Arc<Served>, Refusal> {
        let found = match name {
            None => self.models.first(),
            Some(name) => self.models.iter().find(|served| is_name_of(&served.name, name)),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = self.models.iter().map(|served| served.name.as_str()).collect();
            let (name, names) = (name.unwrap_or_default(), names.join("\", \""));
            Refusal::NotFound(format!("no model {name:?} here; this server has \"{names}\""))
        })
    }
}

/// Whether a model is meant. Clients of Ollama put `:latest` behind names that have no tag.
fn is_name_of(model: &str, asked: &str) -> bool {
    let plain = |name: &'_ str| name.strip_suffix(":latest").unwrap_or(name).len();
    model[..plain(model)] == asked[..plain(asked)]
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
