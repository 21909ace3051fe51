//! Routing, starting and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::sync::watch;

use crate::accounts::Accounts;
use crate::app::App;
use crate::elsewhere::Elsewhere;
use crate::feedback::Feedback;
use crate::guard::{ApiKey, Guard, guard};
use crate::listen::{Limits, Phase, bind, listen};
use crate::ollama::installed::Library;
use crate::payload;
use crate::refusal::{Refusal, in_its_words};
use crate::residence::Terms;
use crate::routes::ROUTES;
use crate::served::Serving;

/// How often the server looks whether it is to stop.
const STOP_EVERY: Duration = Duration::from_millis(50);
/// How long the last words of answers that are ended may take to be sent.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often it is looked which models are to leave.
const HOUSE_EVERY: Duration = Duration::from_secs(1);
/// Threads on which requests are read, each of which may have a large one in hand.
const READERS_MAX: usize = 16;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 for any that is free.
    pub address: SocketAddr,
    /// Keys, any of which is needed; none for an open server, which only the loopback may have.
    pub api_keys: Vec<ApiKey>,
    /// Host names by which it may be called, besides its address and the loopback's.
    pub allow_hosts: Vec<String>,
    /// Origins whose pages may call it, besides its own.
    pub allow_origins: Vec<String>,
    /// What clients may take.
    pub limits: Limits,
    /// The models on the device, where clients may fetch and remove some.
    pub library: Option<Arc<dyn Library>>,
    /// How models beside those that are given come and go; `None` where there are no others.
    pub residence: Option<Terms>,
    /// Who keeps account of what answers take, if anybody.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// Who knows where else answers may come from, if anybody.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// Who keeps what is said of answers, if anybody.
    pub feedback: Option<Arc<dyn Feedback>>,
}

/// Serves until `stop` is raised; tells `ready` where.
///
/// # Errors
/// When the address can't be had, or needs a key and there is none, two models have one name, or one has no tokenizer.
pub fn serve(
    models: Vec<Serving>,
    mut options: Options,
    stop: Arc<AtomicBool>,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    if !options.address.ip().is_loopback() && options.api_keys.is_empty() {
        let why = format!("{}: others can reach this address, so an API key is needed", options.address);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if options.api_keys.iter().any(|key| key.key.trim().is_empty()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an API key is empty, expected a text"));
    }
    let limits = options.limits;
    let (tell, phase) = watch::channel(Phase::Open);
    let app = Arc::new(App::new(models, &mut options, phase.clone())?);
    if let Some(residence) = &app.residence {
        residence.begin(&|models| app.list(models)).map_err(|refusal| match refusal {
            Refusal::Memory(why) => io::Error::new(io::ErrorKind::OutOfMemory, why),
            other => io::Error::other(other.to_string()),
        })?;
    }
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
        let http_ns = app.http_ns.clone();
        let deadline = async {
            while !stop.load(Relaxed) {
                tokio::time::sleep(STOP_EVERY).await;
            }
            let models = app.models();
            models.writers.iter().for_each(|served| served.engine.close());
            models.all().for_each(|reader| reader.close());
            tell.send_replace(Phase::Closing);
            tokio::time::sleep(limits.drain).await;
            tell.send_replace(Phase::Over);
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::spawn(keep_house(app.clone()));
        ready(address);
        tokio::select! {
            () = listen(listener, router, limits, phase, http_ns) => {}
            () = deadline => {}
        }
        Ok(())
    });
    runtime.shutdown_timeout(STOP_EVERY);
    outcome
}

/// Has models leave that are not asked for, or as the system is short of memory.
async fn keep_house(app: Arc<App>) {
    while *app.phase.borrow() == Phase::Open && app.residence.is_some() {
        tokio::time::sleep(HOUSE_EVERY).await;
        let app = app.clone();
        let work = move || {
            if let Some(residence) = &app.residence {
                residence.tick(&|models| app.list(models));
            }
        };
        // What breaks off there is nobody's request.
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

fn router(app: Arc<App>, checks: Arc<Guard>) -> Router {
    let routes = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.make)()));
    routes
        .fallback(async |uri: axum::http::Uri| Refusal::NotFound(format!("{}: no such route", uri.path())))
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(DefaultBodyLimit::max(payload::BYTES_MAX))
        .layer(from_fn_with_state(checks, guard))
        .layer(from_fn(in_its_words))
        .with_state(app)
}
