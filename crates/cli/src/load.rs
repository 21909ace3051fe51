//! From settings to a loaded model and a session.

use std::sync::Arc;

use ingle_engine::model_file::{LoadOptions, Loaded};
use ingle_engine::session::Session;
use ingle_engine::session::SessionOptions;

use crate::env::Env;
use crate::exit::Failure;
use crate::model_ref;

/// The model called `reference`, ready to run.
pub fn model(reference: &str, env: &Env) -> Result<Arc<Loaded>, Failure> {
    with_threads(reference, env, env.n_threads())
}

/// The same with a number of threads of its own.
pub fn with_threads(reference: &str, env: &Env, n_threads: usize) -> Result<Arc<Loaded>, Failure> {
    let file = model_ref::open(reference, env)?;
    let options = LoadOptions { tier: env.settings.text("tier"), n_threads };
    Ok(Arc::new(Loaded::load(file, &options)?))
}

/// A session for `ctx` positions, or the default.
pub fn session(loaded: &Arc<Loaded>, env: &Env, ctx: Option<usize>) -> Result<Session, Failure> {
    let kv = env.settings.text("kv").expect("it has a default");
    let options = SessionOptions { ctx, kv, chunk: env.settings.count("chunk") };
    Ok(Session::new(loaded.clone(), &options)?)
}
