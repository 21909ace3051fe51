//! Routing, starting and stopping.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use ingle_engine::chat::Prompter;
use ingle_engine::generate::Overflow;
use ingle_engine::run::Engine;
use ingle_model::prompt::Now;
use ingle_model::token::{Detokenizer, Parse, Place, Render};
use tokio::sync::{Semaphore, watch};

use crate::guard::{Guard, guard};
use crate::listen::{Limits, Phase, bind, listen};
use crate::refusal::Refusal;
use crate::{llama, openai, page, payload};

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

/// What is served.
#[derive(Debug)]
pub struct Serving {
    /// The model's lanes.
    pub engine: Engine,
    /// The name by which requests call the model.
    pub name: String,
}

/// What routes know.
#[derive(Debug)]
pub struct App {
    /// The model's lanes.
    pub engine: Engine,
    /// How it is spoken to.
    pub prompter: Prompter,
    /// The name by which requests call it.
    pub name: String,
    /// When the server started, in seconds since 1970.
    pub started: u64,
    /// What clients may take.
    pub limits: Limits,
    /// How far the server is from its end.
    pub phase: watch::Receiver<Phase>,
    /// Room for large bodies.
    pub bodies: Arc<Semaphore>,
    n_ids: AtomicU64,
}

/// Serves until `stop` is raised; tells `ready` where.
///
/// # Errors
/// When the address can't be had, or needs a key and there is none, or the model has no tokenizer.
pub fn serve(
    serving: Serving,
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
    let prompter = Prompter::new(serving.engine.loaded()).map_err(io::Error::other)?;
    let app = Arc::new(App {
        prompter,
        engine: serving.engine,
        name: serving.name,
        started: unix_seconds(),
        limits,
        phase: phase.clone(),
        bodies: payload::room(),
        n_ids: AtomicU64::new(0),
    });
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
            app.engine.close();
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
        .route("/v1/chat/completions", post(openai::chat::route))
        .route("/v1/completions", post(openai::completions::route))
        .fallback(async |uri: axum::http::Uri| Refusal::NotFound(format!("{}: no such route", uri.path())))
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(DefaultBodyLimit::max(payload::BYTES_MAX))
        .layer(from_fn_with_state(checks, guard))
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

    /// A name that no other answer has.
    pub fn fresh_id(&self, kind: &str) -> String {
        format!("{kind}-{:016x}{:06x}", random(), self.n_ids.fetch_add(1, Relaxed))
    }

    /// A seed for who gives none, short enough to be typed.
    pub fn fresh_seed(&self) -> u64 {
        random() >> 32
    }

    /// # Errors
    /// [`Refusal::NotFound`] for another model than this.
    pub fn check_model(&self, name: Option<&str>) -> Result<(), Refusal> {
        match name {
            Some(name) if name != self.name => {
                Err(Refusal::NotFound(format!("no model {name:?} here; this server has {:?}", self.name)))
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// When a prompt of `n` tokens does not fit and nothing may be dropped.
    pub fn check_length(&self, n: usize, overflow: Overflow) -> Result<(), Refusal> {
        let ctx = self.engine.ctx();
        if n > ctx && overflow == Overflow::Error {
            return Err(ingle_engine::Error::PromptTooLong { tokens: n, ctx }.into());
        }
        Ok(())
    }

    /// The ids of a prompt that is a text.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, Refusal> {
        self.tokens(text, special, true)
    }

    /// The ids of a text, with BOS and EOS where the model wants them and special tokens in the text read as such.
    pub fn tokens(&self, text: &str, special: bool, parses: bool) -> Result<Vec<u32>, Refusal> {
        let loaded = self.engine.loaded();
        let tokenizer = loaded.tokenizer()?;
        let mut ids = Vec::new();
        if special {
            ids.extend(tokenizer.before());
        }
        let parse = if parses { Parse::Special } else { Parse::Text };
        tokenizer.encode(text, parse, &mut ids).map_err(|e| loaded.file.model_error(e))?;
        Ok(ids)
    }

    /// The text of ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Refusal> {
        let loaded = self.engine.loaded();
        let (tokenizer, vocab) = (loaded.tokenizer()?, loaded.model.config.vocab);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(Refusal::request(format!("token id {id}: this model's ids end at {}", vocab - 1)));
        }
        let mut text = String::new();
        let mut detokenizer = Detokenizer::new(Render::Special, Place::Start);
        ids.iter().for_each(|&id| detokenizer.push(tokenizer, id, &mut text));
        detokenizer.flush(&mut text);
        Ok(text)
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Bits that nobody can foresee, from the keys that hash tables are given.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
