//! From settings to a loaded model and a session.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches};
use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile};
use ingle_engine::session::Session;
use ingle_engine::session::SessionOptions;
use ingle_kernel::bytes::Bytes;
use ingle_model::adapter::{Active, Adapter};
use ingle_store::library::Meaning;

use crate::at_rest;
use crate::env::Env;
use crate::exit::Failure;
use crate::model_ref;
use crate::packing;
use crate::settings::PACK;

/// The model called `reference`, ready to run.
pub fn model(reference: &str, env: &Env) -> Result<Arc<Loaded>, Failure> {
    with_threads(reference, env, env.n_threads())
}

/// The same with a number of threads of its own.
pub fn with_threads(reference: &str, env: &Env, n_threads: usize) -> Result<Arc<Loaded>, Failure> {
    let mut file = model_ref::open(reference, env)?;
    if let Some(dir) = packing::dir(env) {
        file.set_packed_dir(dir);
    }
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
    let adapters = named.map(|named| adapter(loaded, named, env)).collect::<Result<Vec<_>, _>>()?;
    if !adapters.is_empty() {
        session.set_adapters(adapters);
    }
    Ok(session)
}

/// `--adapter`, of the verbs that make sessions.
pub fn adapter_arg() -> Arg {
    Arg::new("adapter").long("adapter").value_name("ADAPTER[:SCALE]").action(ArgAction::Append).help(
        "Add this LoRA adapter, a .gguf file, a folder of PEFT or a name from the list, times SCALE; may be given several times",
    )
}

/// What `ADAPTER[:SCALE]` names: a path, a name of the library or a reference to what was pulled. One that ends like a scale is
/// still one.
fn adapter(loaded: &Loaded, named: &str, env: &Env) -> Result<Active, Failure> {
    if let Some(path) = adapter_path(named, env)? {
        return Ok((Arc::new(open_adapter(loaded, &path, env)?), 1.0));
    }
    let (text, scale) = named.rsplit_once(':').unwrap_or((named, "1"));
    let factor = scale.parse::<f32>().ok().filter(|scale| scale.is_finite());
    let Some(factor) = factor else {
        return Err(Failure::usage(format!("--adapter {named}: the scale {scale:?} is no number")));
    };
    match adapter_path(text, env)? {
        Some(path) => Ok((Arc::new(open_adapter(loaded, &path, env)?), factor)),
        None => Err(Failure::not_found(format!(
            "--adapter {named}: no such file, and no name of the list; `ingle pull` fetches one"
        ))),
    }
}

/// Where the adapter called `text` lies, if it is here.
fn adapter_path(text: &str, env: &Env) -> Result<Option<PathBuf>, Failure> {
    if Path::new(text).exists() {
        return Ok(Some(text.into()));
    }
    Ok(match model_ref::meaning(text, env) {
        Ok(Meaning::Here(path)) => Some(path),
        _ => None,
    })
}

/// Opens it; a sealed one in memory.
fn open_adapter(loaded: &Loaded, path: &Path, env: &Env) -> Result<Adapter, Failure> {
    if let Some([config, weights]) = at_rest::peft_parts(path)
        && [&config, &weights].iter().any(|part| at_rest::is_sealed_at(part))
    {
        let [config, weights] = [at_rest::read_any(&config, env)?, at_rest::read_any(&weights, env)?];
        let name = path.display().to_string();
        let file = loaded.file.adapter_from_parts(&name, &config, Bytes::new(weights))?;
        return Ok(loaded.adapter_of(&file)?);
    }
    match at_rest::read_sealed(path, env)? {
        None => Ok(loaded.adapter(path)?),
        Some(bytes) => {
            let file = ModelFile::from_bytes(&path.display().to_string(), Bytes::new(bytes))?;
            Ok(loaded.adapter_of(&file)?)
        }
    }
}
