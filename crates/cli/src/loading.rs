//! Models as the server has them: loaded with the settings it was started with, at its start or when a client first asks for one.
//! All compute on the same threads and take turns.

use std::path::PathBuf;
use std::sync::Arc;

use ingle_engine::embed::{Embedder, is_encoder};
use ingle_engine::kv_dir::KvDir;
use ingle_engine::memory::available_bytes;
use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::run::{Allowance, Engine, EngineOptions};
use ingle_engine::session::SessionOptions;
use ingle_kernel::par::Pool;
use ingle_serve::Model;

use crate::env::say;
use crate::exit::Failure;
use crate::guessing::{self, Guesser};
use crate::verbs::human_bytes;

/// How the server's models are loaded.
#[derive(Debug)]
pub struct Loader {
    /// The threads.
    pub pool: Arc<Pool>,
    /// A tier by name.
    pub tier: Option<String>,
    /// Whether weights are packed.
    pub pack: Pack,
    /// Positions of an answer.
    pub ctx: Option<usize>,
    /// How keys and values are kept.
    pub kv: String,
    /// Tokens of a prompt that share a step.
    pub chunk: Option<usize>,
    /// Answers of a model that are computed at the same time.
    pub n_lanes: usize,
    /// Answers of a model that may wait.
    pub queue_max: usize,
    /// Bytes of what answers have been through that a model keeps.
    pub prefix_bytes: Option<u64>,
    /// A folder for more of that, and the bytes it may have.
    pub kv_dir: Option<(PathBuf, u64)>,
    /// Who guesses ahead.
    pub guesser: Guesser,
    /// What models that write may do at the moment.
    pub allowance: Arc<Allowance>,
}

impl Loader {
    /// The model of `file`, and what there is to say of it.
    pub fn load(&self, file: ModelFile) -> Result<(Model, String), Failure> {
        let n_threads = self.pool.n_threads();
        let options = LoadOptions { tier: self.tier.as_deref(), n_threads, pack: self.pack };
        if is_encoder(&file) {
            let embedder = Embedder::load_on(self.pool.clone(), file, &options)?;
            let makes = if embedder.is_ranker() { "scores of pairs" } else { "vectors of texts" };
            let about = format!("{makes} up to {} tokens", embedder.tokens_max());
            return Ok((Model::Reader(embedder), about));
        }
        let report = |what: &str| say(format_args!("{what}"));
        let kv_dir = self.kv_dir.as_ref();
        let session = SessionOptions { ctx: self.ctx, kv: &self.kv, chunk: self.chunk };
        let engine = EngineOptions {
            session,
            n_lanes: self.n_lanes,
            queue_max: self.queue_max,
            prefix_bytes: self.prefix_bytes,
            kv_dir: kv_dir.map(|(path, bytes_max)| KvDir { path, bytes_max: *bytes_max, report }),
            clock: Some(&guessing::clock()),
        };
        let loaded = Arc::new(Loaded::load_on(self.pool.clone(), file, &options)?);
        let ctx = session.ctx_of(&loaded.model.config);
        let guesses = self.guesser.speculation(&loaded, session, ctx, self.n_lanes)?;
        let engine = Engine::guessing(loaded, &engine, guesses)?;
        engine.govern(self.allowance.clone());
        let kept = human_bytes(engine.prefix_bytes());
        let about = format!("contexts of {} tokens, up to {kept} kept of them", engine.ctx());
        Ok((Model::Writer(engine), about))
    }

    /// The same beside the models that are served: its weights must have room in the memory that is left, as those of the others do.
    pub fn load_beside(&self, file: ModelFile) -> Result<(Model, String), Failure> {
        check_room(&file, available_bytes())?;
        self.load(file)
    }
}

/// That `available` bytes, if the system says how many, hold the weights of `file`.
fn check_room(file: &ModelFile, available: Option<u64>) -> Result<(), Failure> {
    let (needed, available) = (file.n_bytes(), available.unwrap_or(u64::MAX));
    if needed <= available {
        return Ok(());
    }
    let what = format!("{}: its weights", file.name());
    Err(ingle_engine::Error::Memory { what, needed, available }.into())
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn weights_without_room_are_refused() {
        let file = ModelFile::from_bytes("demo", ingle_kernel::bytes::Bytes::new(ingle_demo::GGUF)).unwrap();
        let n_bytes = file.n_bytes();
        assert!(check_room(&file, None).is_ok() && check_room(&file, Some(n_bytes)).is_ok());
        let refused = check_room(&file, Some(n_bytes - 1)).unwrap_err();
        assert!(
            refused.exit == Exit::MEMORY && refused.message.contains("its weights"),
            "{}",
            refused.message
        );
    }
}
