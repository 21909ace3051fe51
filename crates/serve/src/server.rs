//! Routing, starting and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use ingle_model::prompt::Now;
use tokio::sync::{Semaphore, watch};

use crate::embeddings::rerank::Rerank;
use crate::guard::{Guard, guard};
use crate::listen::{Limits, Phase, bind, listen};
use crate::reader::{Reader, Task};
use crate::refusal::{Refusal, in_its_words};
use crate::served::{Model, Served, Serving};
use crate::{answering, embeddings, infill, llama, openai, page, payload};

/// How often the server looks whether it is to stop.
const STOP_EVERY: Duration = Duration::from_millis(50);
/// How long the last words of answers that are ended may take to be sent.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Threads on which requests are read, each of which may have a large one in hand.
const READERS_MAX: usize = 16;

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
    /// What clients may take.
    pub limits: Limits,
}

/// What routes know.
#[derive(Debug)]
pub struct App {
    /// Models that write; the first is who is asked when a request names none.
    pub models: Vec<Arc<Served>>,
    /// Models that only read.
    pub readers: Vec<Arc<Reader>>,
    /// When the server started, in seconds since 1970.
    pub started: u64,
    /// What clients may take.
    pub limits: Limits,
    /// How far the server is from its end.
    pub phase: watch::Receiver<Phase>,
    /// Room for large bodies.
    pub bodies: Arc<Semaphore>,
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
    if options.api_keys.iter().any(|key| key.trim().is_empty()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an API key is empty, expected a text"));
    }
    let limits = options.limits;
    let (tell, phase) = watch::channel(Phase::Open);
    let app = Arc::new(App::new(models, limits, phase.clone())?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(READERS_MAX)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let listener = bind(options.address)?;
        let address = listener.local_addr()?;
        let checks = Guard {
            address,
            keys: options.api_keys,
            hosts: options.allow_hosts,
            origins: options.allow_origins,
        };
        let router = router(app.clone(), Arc::new(checks));
        let deadline = async {
            while !stop.load(Relaxed) {
                tokio::time::sleep(STOP_EVERY).await;
            }
            app.models.iter().for_each(|served| served.engine.close());
            app.all().for_each(|reader| reader.close());
            tell.send_replace(Phase::Closing);
            tokio::time::sleep(limits.drain).await;
            tell.send_replace(Phase::Over);
            tokio::time::sleep(LAST_WORDS).await;
        };
        ready(address);
        tokio::select! {
            () = listen(listener, router, limits, phase) => {}
            () = deadline => {}
        }
        Ok(())
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
        .route("/infill", post(answering::route::<infill::Infill>))
        .route("/v1/embeddings", post(embeddings::route::<embeddings::openai::Vectors>))
        .route("/api/embed", post(embeddings::route::<embeddings::ollama::Embed>))
        .route("/api/embeddings", post(embeddings::route::<embeddings::ollama::Embedding>))
        .route("/v1/rerank", post(embeddings::route::<Rerank>))
        .route("/rerank", post(embeddings::route::<Rerank>))
        .route("/reranking", post(embeddings::route::<Rerank>))
        .route("/v1/reranking", post(embeddings::route::<Rerank>))
        .fallback(async |uri: axum::http::Uri| Refusal::NotFound(format!("{}: no such route", uri.path())))
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(DefaultBodyLimit::max(payload::BYTES_MAX))
        .layer(from_fn_with_state(checks, guard))
        .layer(from_fn(in_its_words))
        .with_state(app)
}

impl App {
    /// # Errors
    /// When two models have one name, or one has no tokenizer.
    fn new(serving: Vec<Serving>, limits: Limits, phase: watch::Receiver<Phase>) -> io::Result<Self> {
        let (models, readers, started, bodies) = (Vec::new(), Vec::new(), unix_seconds(), payload::room());
        let mut app = Self { models, readers, started, limits, phase, bodies };
        for Serving { name, model } in serving {
            if app.any(Some(&name)).is_ok() {
                return Err(io::Error::other(format!(
                    "two models have the name {name:?}, expected one each"
                )));
            }
            match model {
                Model::Writer(engine) => {
                    app.models.push(Arc::new(Served::new(name, engine).map_err(io::Error::other)?));
                }
                Model::Reader(embedder) => app.readers.push(Arc::new(Reader::new(name, embedder))),
            }
        }
        Ok(app)
    }

    /// Now, in seconds since 1970.
    pub fn now(&self) -> u64 {
        unix_seconds()
    }

    /// Now, as templates are told of it.
    pub fn calendar(&self) -> Now {
        Now::from_unix(unix_seconds())
    }

    /// The model of this name that writes; without one, the first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it writes nothing.
    pub fn model(&self, name: Option<&str>) -> Result<Arc<Served>, Refusal> {
        let found = match name {
            None => self.models.first(),
            Some(name) => self.models.iter().find(|served| served.name == name),
        };
        found.cloned().ok_or_else(|| {
            let name = name.or(self.readers.first().map(|reader| reader.name.as_str())).unwrap_or_default();
            match self.readers.iter().find(|reader| reader.name == name) {
                Some(reader) => {
                    let does = match reader.task() {
                        Task::Vectors => "makes vectors of texts (/v1/embeddings)",
                        Task::Scores => "scores pairs of texts (/v1/rerank)",
                    };
                    Refusal::field("model", format!("model {name:?} {does} and writes none"))
                }
                None => self.absent(name),
            }
        })
    }

    /// The model of this name that does `task`; without one, the first, and an encoder before others.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it, or every model, does something else.
    pub fn reader(&self, name: Option<&str>, task: Task) -> Result<Arc<Reader>, Refusal> {
        if name.is_some() {
            let reader = self.any(name)?;
            return reader.check(task).map(|()| reader);
        }
        let first = self.all().find(|reader| reader.task() == task).cloned();
        first.ok_or_else(|| {
            let does = match task {
                Task::Vectors => "makes vectors of texts",
                Task::Scores => "scores pairs of texts, expected a cross-encoder to be served",
            };
            Refusal::field("model", format!("model: none here {does}"))
        })
    }

    /// The model of this name, whatever it does; without one, the first that writes, or reads.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name.
    pub fn any(&self, name: Option<&str>) -> Result<Arc<Reader>, Refusal> {
        let found = match name {
            None => self.models.first().map(|served| &served.reader).or(self.readers.first()),
            Some(name) => self.all().find(|reader| reader.name == name),
        };
        found.cloned().ok_or_else(|| self.absent(name.unwrap_or_default()))
    }

    /// All models as ones that read, those first that do nothing else.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Reader>> {
        self.readers.iter().chain(self.models.iter().map(|served| &served.reader))
    }

    fn absent(&self, name: &str) -> Refusal {
        let names = self.models.iter().map(|served| &served.name);
        let names: Vec<&str> =
            names.chain(self.readers.iter().map(|r| &r.name)).map(String::as_str).collect();
        let names = names.join("\", \"");
        Refusal::NotFound(format!("no model {name:?} here; this server has \"{names}\""))
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
