//! Tiny models of every family for the suites: those in this repository and, where they are, those beside it.
#![allow(dead_code, reason = "each suite uses its part")]

pub mod damage;

use std::path::{Path, PathBuf};

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::adapter::Active;
use ingle_model::decoder::{Branch, LOGITS_ROWS_MAX, Model, Runtime, Scratch, Span};
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::folder::{self, Folder};
use ingle_model::file::{Contents, gguf};
use ingle_model::kv::{self, Kv, Room};

/// A model, read for one tier.
pub struct Tiny {
    pub name: String,
    pub model: Model,
    pub kernels: Kernels,
    pools: [Pool; 2],
    pub adapters: Vec<Active>,
}

/// The folders of tiny models there are, each with what it is.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = root.join("tests/families");
    let beside = root.join("../../../shared/golden/families");
    [here, beside].into_iter().filter(|dir| dir.is_dir()).collect()
}

/// Every `.gguf` with a `.f32` of expected logits beside it.
pub fn golden_models() -> Vec<PathBuf> {
    let files = folders().into_iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    paths
        .retain(|path| path.extension().is_some_and(|e| e == "gguf") && path.with_extension("f32").is_file());
    paths.sort();
    paths
}

/// One model per file of [`golden_models`], and the valid base of the hostile files.
pub fn tiny_models() -> Vec<Tiny> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/malicious/base.gguf");
    golden_models().into_iter().chain([base]).map(|path| Tiny::open(&path, None)).collect()
}

/// Hugging Face folders, each with the path, without an ending, of its GGUF file and its logits.
pub fn golden_folders() -> Vec<(PathBuf, PathBuf)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let dir = std::fs::read_dir(tests.join("folders")).unwrap();
    let mut all: Vec<PathBuf> = dir.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.join(folder::CONFIG).is_file());
    all.sort();
    let beside = |path: PathBuf| {
        let shared = tests.join("families").join(path.file_name().unwrap());
        let own = path.with_extension("gguf").is_file();
        if own { (path.clone(), path) } else { (path, shared) }
    };
    all.into_iter().map(beside).collect()
}

/// Whether `files` are those of a model of `tests/families`.
pub fn is_shared(files: &Path) -> bool {
    files.parent().unwrap().ends_with("families")
}

/// The files of a folder.
pub fn read_folder(path: &Path) -> Folder {
    let read = |name: &str| std::fs::read(path.join(name)).ok();
    let index = read(SAFETENSORS.index);
    let names = index.as_deref().map(|index| SAFETENSORS.shards(index).expect("a valid index"));
    let names = names.unwrap_or(vec![SAFETENSORS.one.to_owned()]);
    let shards = names.into_iter().map(|name| (name.clone(), Bytes::new(read(&name).unwrap()))).collect();
    Folder { config: read(folder::CONFIG).unwrap(), index, shards, ..Folder::default() }
}

/// The contents of a folder.
pub fn import(path: &Path) -> Contents {
    folder::import(&read_folder(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Logits in float64 and what they were computed for.
pub struct Reference {
    pub tokens: Vec<u32>,
    /// Of the sequence's cache: LongRoPE chooses its factors by it, and the library of one model by what a sequence holds.
    pub ctx: usize,
    logits: Vec<f64>,
    /// Their standard deviation.
    spread: f64,
}

impl Reference {
    /// Reads what lies beside a GGUF file; `files` is its path, with an ending or without.
    pub fn read(files: &Path) -> Self {
        let tokens = std::fs::read_to_string(files.with_file_name("tokens.txt")).unwrap();
        let tokens = tokens.split_whitespace().map(|t| t.parse().unwrap()).collect();
        let bytes = std::fs::read(files.with_extension("f32")).unwrap();
        let logits: Vec<f64> =
            bytes.as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect();
        let n = logits.len() as f64;
        let mean = logits.iter().sum::<f64>() / n;
        let spread = (logits.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        let ctx = if files.parent().unwrap().ends_with("folders") { 64 } else { 256 };
        Self { tokens, ctx, logits, spread }
    }

    /// The largest difference of any of `logits`, in standard deviations of these.
    pub fn worst(&self, logits: &[f32]) -> f64 {
        assert_eq!(logits.len(), self.logits.len());
        let differences = logits.iter().zip(&self.logits).map(|(&a, b)| (f64::from(a) - b).abs());
        differences.fold(0.0, f64::max) / self.spread
    }
}

/// Largest difference allowed, in standard deviations of the reference logits.
pub const TOLERANCE: f64 = 5e-5;

/// What is allowed to a tier that reads `file`: block formats quantise activations, which only the tier `exact` does not. In
/// models as narrow as these that was seen to move a logit by a tenth of the spread.
pub fn tolerance(file: &Contents, tier: &str) -> f64 {
    let quantises = file.tensors().iter().any(|t| t.format.block > 1);
    if quantises && tier != "exact" { 0.25 } else { TOLERANCE }
}

impl Tiny {
    pub fn open(path: &Path, tier: Option<&str>) -> Self {
        let file = gguf::parse(Bytes::new(std::fs::read(path).unwrap())).unwrap();
        Self::new(&path.file_stem().unwrap().to_string_lossy(), &file, tier)
    }

    pub fn new(name: &str, file: &Contents, tier: Option<&str>) -> Self {
        let kernels =
            tier.map_or_else(Kernels::detect, |name| Kernels::named(name).expect("a tier of this machine"));
        let model = Model::read(file, &kernels).unwrap_or_else(|e| panic!("{name}: {e}"));
        let name = name.to_owned();
        Self { name, model, kernels, pools: [Pool::new(1), Pool::new(2)], adapters: Vec::new() }
    }

    pub fn vocab(&self) -> usize {
        self.model.config.vocab
    }

    pub fn mixers(&self) -> Vec<&'static str> {
        self.model.config.layers.iter().map(|layer| layer.mixer.name()).collect()
    }

    /// Room for `n` sequences with f32 keys and values.
    pub fn room(&self, ctx: usize, n: usize) -> Room {
        let format = kv::format(&self.model.config, "f32").unwrap();
        Room::new(&self.model.config, format, ctx, n, 0)
    }

    /// An empty sequence with f32 keys and values, and buffers for steps of `chunk` tokens.
    pub fn sequence(&self, ctx: usize, chunk: usize, n_threads: usize) -> (Kv, Scratch) {
        let format = kv::format(&self.model.config, "f32").unwrap();
        let config = &self.model.config;
        (Kv::new(config, format, ctx), Scratch::new(config, chunk, n_threads))
    }

    /// Feeds `tokens` in steps as large as `scratch` allows; the logits of each. `(tokens.len(), vocab)`
    pub fn feed(&self, kv: &mut Kv, scratch: &mut Scratch, tokens: &[u32]) -> Vec<f32> {
        self.feed_with(&self.pools[0], kv, scratch, tokens)
    }

    /// The logits of `tokens` in a fresh sequence. `(tokens.len(), vocab)`
    pub fn logits(&self, tokens: &[u32], ctx: usize, chunk: usize, n_threads: usize) -> Vec<f32> {
        let (mut kv, mut scratch) = self.sequence(ctx, chunk.min(tokens.len()), n_threads);
        self.feed_with(&self.pools[n_threads - 1], &mut kv, &mut scratch, tokens)
    }

    /// The logits of the last `n` of `tokens`, fed in one step that leaves out what only the others' logits need. `(n, vocab)`
    pub fn last_logits(&self, tokens: &[u32], ctx: usize, n: usize) -> Vec<f32> {
        let (mut kv, mut scratch) = self.sequence(ctx, tokens.len(), 1);
        let run = Runtime { adapters: &self.adapters, ..Runtime::new(&self.pools[0], &self.kernels) };
        let span = Span::wanting(n, &mut kv, tokens);
        self.model.forward(&run, &mut [span], &mut scratch).expect("valid tokens");
        self.model.logits(&run, 0..n, &mut scratch).to_vec()
    }

    fn feed_with(&self, pool: &Pool, kv: &mut Kv, scratch: &mut Scratch, tokens: &[u32]) -> Vec<f32> {
        let run = Runtime { adapters: &self.adapters, ..Runtime::new(pool, &self.kernels) };
        let mut out = Vec::new();
        for tokens in tokens.chunks(scratch.tokens_max()) {
            self.model.forward(&run, &mut [Span::new(kv, tokens)], scratch).expect("valid tokens");
            self.read_logits(&run, tokens.len(), scratch, &mut out);
        }
        out
    }

    /// One step of one token, its logits computed and left in `scratch`.
    pub fn step(&self, kv: &mut Kv, scratch: &mut Scratch, token: u32) {
        let run = Runtime { adapters: &self.adapters, ..Runtime::new(&self.pools[0], &self.kernels) };
        self.model.forward(&run, &mut [Span::new(kv, &[token])], scratch).expect("valid tokens");
        self.model.logits(&run, 0..1, scratch);
    }

    /// One step of several sequences; the logits of all tokens in order.
    pub fn feed_together(&self, kvs: &mut [Kv], parts: &[&[u32]]) -> Vec<f32> {
        let n = parts.iter().map(|p| p.len()).sum();
        let mut scratch = Scratch::new(&self.model.config, n, 2);
        let run = Runtime { adapters: &self.adapters, ..Runtime::new(&self.pools[1], &self.kernels) };
        let mut spans: Vec<Span<'_>> =
            kvs.iter_mut().zip(parts).map(|(kv, tokens)| Span::new(kv, tokens)).collect();
        self.model.forward(&run, &mut spans, &mut scratch).expect("valid tokens");
        let mut out = Vec::new();
        self.read_logits(&run, n, &mut scratch, &mut out);
        out
    }

    /// One step of `tokens` whose last are those of `branches`, the logits of each.
    pub fn feed_branches(&self, kv: &mut Kv, tokens: &[u32], branches: &[Branch]) -> Vec<f32> {
        let mut scratch = Scratch::new(&self.model.config, tokens.len(), 2);
        let run = Runtime { adapters: &self.adapters, ..Runtime::new(&self.pools[1], &self.kernels) };
        let span = Span { kv, tokens, n_wanted: tokens.len(), branches };
        self.model.forward(&run, &mut [span], &mut scratch).expect("valid branches");
        let mut out = Vec::new();
        self.read_logits(&run, tokens.len(), &mut scratch, &mut out);
        out
    }

    fn read_logits(&self, run: &Runtime<'_>, n: usize, scratch: &mut Scratch, out: &mut Vec<f32>) {
        for first in (0..n).step_by(LOGITS_ROWS_MAX) {
            let rows = first..n.min(first + LOGITS_ROWS_MAX);
            out.extend_from_slice(self.model.logits(run, rows, scratch));
        }
    }
}
