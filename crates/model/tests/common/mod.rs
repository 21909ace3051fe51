//! Tiny models of every family for the suites: those in this repository and, where they are, those beside it.
#![allow(dead_code, reason = "each suite uses its part")]

use std::path::{Path, PathBuf};

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::adapter::Active;
use ingle_model::decoder::{LOGITS_ROWS_MAX, Model, Runtime, Scratch, Span};
use ingle_model::file::gguf::Gguf;
use ingle_model::kv::{self, Kv};

/// A model, read for one tier.
pub struct Tiny {
    pub name: String,
    pub model: Model,
    kernels: Kernels,
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

impl Tiny {
    pub fn open(path: &Path, tier: Option<&str>) -> Self {
        let kernels =
            tier.map_or_else(Kernels::detect, |name| Kernels::named(name).expect("a tier of this machine"));
        let file = Gguf::parse(Bytes::new(std::fs::read(path).unwrap())).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let model = Model::read(&file, &kernels).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name, model, kernels, pools: [Pool::new(1), Pool::new(2)], adapters: Vec::new() }
    }

    pub fn vocab(&self) -> usize {
        self.model.config.vocab
    }

    pub fn mixers(&self) -> Vec<&'static str> {
        self.model.config.layers.iter().map(|layer| layer.mixer.name()).collect()
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

    fn feed_with(&self, pool: &Pool, kv: &mut Kv, scratch: &mut Scratch, tokens: &[u32]) -> Vec<f32> {
        let run = Runtime { pool, kernels: &self.kernels, adapters: &self.adapters };
        let mut out = Vec::new();
        for tokens in tokens.chunks(scratch.tokens_max()) {
            self.model.forward(&run, &mut [Span { kv, tokens }], scratch).expect("valid tokens");
            self.read_logits(&run, tokens.len(), scratch, &mut out);
        }
        out
    }

    /// One step of one token, its logits computed and left in `scratch`.
    pub fn step(&self, kv: &mut Kv, scratch: &mut Scratch, token: u32) {
        let run = Runtime { pool: &self.pools[0], kernels: &self.kernels, adapters: &self.adapters };
        self.model.forward(&run, &mut [Span { kv, tokens: &[token] }], scratch).expect("valid tokens");
        self.model.logits(&run, 0..1, scratch);
    }

    /// One step of several sequences; the logits of all tokens in order.
    pub fn feed_together(&self, kvs: &mut [Kv], parts: &[&[u32]]) -> Vec<f32> {
        let n = parts.iter().map(|p| p.len()).sum();
        let mut scratch = Scratch::new(&self.model.config, n, 2);
        let run = Runtime { pool: &self.pools[1], kernels: &self.kernels, adapters: &self.adapters };
        let mut spans: Vec<Span<'_>> =
            kvs.iter_mut().zip(parts).map(|(kv, tokens)| Span { kv, tokens }).collect();
        self.model.forward(&run, &mut spans, &mut scratch).expect("valid tokens");
        let mut out = Vec::new();
        self.read_logits(&run, n, &mut scratch, &mut out);
        out
    }

    fn read_logits(&self, run: &Runtime<'_>, n: usize, scratch: &mut Scratch, out: &mut Vec<f32>) {
        for first in (0..n).step_by(LOGITS_ROWS_MAX) {
            let rows = first..n.min(first + LOGITS_ROWS_MAX);
            out.extend_from_slice(self.model.logits(run, rows, scratch));
        }
    }
}
