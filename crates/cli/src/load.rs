//! From settings to a loaded model and a session.

use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches};
use ingle_engine::model_file::{LoadOptions, Loaded};
use ingle_engine::session::Session;
use ingle_engine::session::SessionOptions;
use ingle_model::adapter::Active;

use crate::env::Env;
use crate::exit::Failure;
use crate::model_ref;
use crate::settings::PACK;

/// The model called `reference`, ready to run.
pub fn model(reference: &str, env: &Env) -> Result<Arc<Loaded>, Failure> {
    with_threads(reference, env, env.n_threads())
}

/// The same with a number of threads of its own.
pub fn with_threads(reference: &str, env: &Env, n_threads: usize) -> Result<Arc<Loaded>, Failure> {
    let file = model_ref::open(reference, env)?;
    Ok(Arc::new(Loaded::load(file, &options(env, n_threads))?))
}

/// How models are loaded, by the settings.
pub fn options(env: &Env, n_threads: usize) -> LoadOptions<'_> {
    let pack = PACK.iter().find(|(name, _)| env.settings.text("pack") == Some(name));
    let pack = pack.expect("one of the choices, or the default").1;
    LoadOptions { tier: env.settings.text("tier"), n_threads, pack }
}

/// How sessions of `ctx` positions are kept, by the settings.
pub fn session_options(env: &Env, ctx: Option<usize>) -> SessionOptions<'_> {
    let kv = env.settings.text("kv").expect("it has a default");
    SessionOptions { ctx, kv, chunk: env.settings.count("chunk") }
}

/// A session for `ctx` positions, or the default, with the adapters that `--adapter` names.
pub fn session(
    loaded: &Arc<Loaded>,
    matches: &ArgMatches,
    env: &Env,
    ctx: Option<usize>,
) -> Result<Session, Failure> {
    let mut session = Session::new(loaded.clone(), &session_options(env, ctx))?;
    let named = matches.get_many::<String>("adapter").into_iter().flatten();
    let adapters = named.map(|named| adapter(loaded, named)).collect::<Result<Vec<_>, _>>()?;
    if !adapters.is_empty() {
        session.set_adapters(adapters);
    }
    Ok(session)
}

/// `--adapter`, of the verbs that make sessions.
pub fn adapter_arg() -> Arg {
    Arg::new("adapter").long("adapter").value_name("PATH[:SCALE]").action(ArgAction::Append).help(
        "Add this LoRA adapter, a .gguf file or a folder of PEFT, times SCALE; may be given several times",
    )
}

/// What `PATH[:SCALE]` names. A path that ends like a scale is still a path.
fn adapter(loaded: &Loaded, named: &str) -> Result<Active, Failure> {
    let (path, scale) = match named.rsplit_once(':') {
        Some((path, scale)) if !Path::new(named).exists() => (path, scale),
        _ => (named, "1"),
    };
    let factor = scale.parse::<f32>().ok().filter(|scale| scale.is_finite());
    let Some(factor) = factor else {
        return Err(Failure::usage(format!("--adapter {named}: the scale {scale:?} is no number")));
    };
    Ok((Arc::new(loaded.adapter(Path::new(path))?), factor))
}
