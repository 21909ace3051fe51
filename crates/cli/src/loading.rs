//! Models as the server has them: loaded with the settings it was started with, at its start or when a client first asks for one.
//! All compute on the same threads and take turns.

use std::path::PathBuf;
use std::sync::Arc;

use ingle_engine::at_rest::Form;
use ingle_engine::embed::{Embedder, is_encoder};
use ingle_engine::kv_dir::KvDir;
use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::packed::PackedDir;
use ingle_engine::residency::need::{Need, Wish};
use ingle_engine::run::{Allowance, Engine, EngineOptions};
use ingle_engine::session::{CTX_DEFAULT, SessionOptions};
use ingle_kernel::par::Pool;
use ingle_serve::Model;

use crate::env::say;
use crate::exit::Failure;
use crate::guessing::{self, Guesser};
use crate::packing::Writer;
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
    /// A folder for more of that, the bytes it may have, and how its files lie there.
    pub kv_dir: Option<(PathBuf, u64, Arc<dyn Form>)>,
    /// A folder for packed weights, and who writes there.
    pub packed: Option<(PackedDir, Writer)>,
    /// Who guesses ahead.
    pub guesser: Guesser,
    /// What models that write may do at the moment.
    pub allowance: Arc<Allowance>,
    /// Whether one model is served and no other can be asked for.
    pub is_alone: bool,
    /// Bytes that there were for models at the start, if the system says.
    pub room: Option<u64>,
}

/// Of the memory beside contexts, what is kept of what answers have been through is one part of so many.
const SHARE_OF_THE_REST: u64 = 4;

/// What differs between the ways to load a model.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Positions of an answer.
    pub ctx: usize,
    /// How keys and values are kept.
    pub kv: &'a str,
    /// Bytes of what answers have been through that are kept.
    pub prefix_bytes: u64,
    /// Whether weights are packed in memory, where no file has them so.
    pub packs: bool,
}

impl Loader {
    /// How a model that needs this is to be loaded where there is room.
    pub fn wish(&self, need: &Need) -> Wish {
        let ctx = self.ctx.or(need.ctx_train().map(|ctx| ctx.min(CTX_DEFAULT))).unwrap_or(CTX_DEFAULT).max(1);
        let packs = match self.pack {
            Pack::On => true,
            Pack::Off | Pack::Kept => false,
            // What is packed in memory can't leave it but with its model; what a file has can, and waits for nobody.
            Pack::Auto => self.is_alone && self.room.is_none_or(|room| need.mapped() <= room / 2),
        };
        let mut wish = Wish {
            ctx,
            kv: self.kv.clone(),
            n_lanes: self.n_lanes,
            chunk: self.chunk,
            prefix_bytes: self.prefix_bytes,
            packs,
        };
        // By itself it takes no more than a part of what is left.
        if let (None, Some(room), Ok(ledger)) = (wish.prefix_bytes, self.room, need.ledger(&wish)) {
            let left = room.saturating_sub(ledger.total() - ledger.prefix);
            wish.prefix_bytes = Some(ledger.prefix.min(left / SHARE_OF_THE_REST));
        }
        wish
    }

    /// The model of `file`, and what there is to say of it.
    pub fn load(&self, mut file: ModelFile, parts: &Parts<'_>) -> Result<(Model, String), Failure> {
        let n_threads = self.pool.n_threads();
        let pack = match (self.pack, parts.packs) {
            (Pack::Off, _) => Pack::Off,
            (_, true) => Pack::On,
            (_, false) => Pack::Kept,
        };
        let options = LoadOptions { tier: self.tier.as_deref(), n_threads, pack };
        if is_encoder(&file) {
            let embedder = Embedder::load_on(self.pool.clone(), file, &options)?;
            let makes = if embedder.is_ranker() { "scores of pairs" } else { "vectors of texts" };
            let about = format!("{makes} up to {} tokens", embedder.tokens_max());
            return Ok((Model::Reader(embedder), about));
        }
        let report = |what: &str| say(format_args!("{what}"));
        let kv_dir = self.kv_dir.as_ref();
        let session = SessionOptions { ctx: Some(parts.ctx), kv: parts.kv, chunk: self.chunk };
        let engine = EngineOptions {
            session,
            n_lanes: self.n_lanes,
            queue_max: self.queue_max,
            prefix_bytes: Some(parts.prefix_bytes),
            kv_dir: kv_dir.map(|(path, bytes_max, form)| KvDir { path, bytes_max: *bytes_max, form, report }),
            clock: Some(&guessing::clock()),
        };
        if let Some((dir, _)) = &self.packed {
            file.set_packed_dir(dir.clone());
        }
        let loaded = Arc::new(Loaded::load_on(self.pool.clone(), file, &options)?);
        if let (Some((_, writer)), Some(packer)) = (&self.packed, loaded.packer()?) {
            writer.write(packer);
        }
        let guesses = self.guesser.speculation(&loaded, session, parts.ctx, self.n_lanes)?;
        let engine = Engine::guessing(loaded, &engine, guesses)?;
        engine.govern(self.allowance.clone());
        let kept = human_bytes(engine.prefix_bytes());
        let about = format!("contexts of {} tokens, up to {kept} kept of them", engine.ctx());
        Ok((Model::Writer(engine), about))
    }
}
