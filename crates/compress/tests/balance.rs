//! Scale that is moved from inputs to weights changes no result, in any family; where it can't be moved, nothing changes at all.

use std::fs;
use std::path::{Path, PathBuf};

use ingle_compress::balance::Balance;
use ingle_compress::journal::Lock;
use ingle_compress::pipeline::{self, Job};
use ingle_compress::plan::{self, ModelInfo, Options};
use ingle_compress::{method, mixture, quantize};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::config::Config;
use ingle_model::decoder::Runtime;
use ingle_model::file::{Contents, gguf};
use ingle_model::walk::{Walk, supported};
use ingle_model::weights::Layer;

fn models() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/families");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "gguf"));
    paths.sort();
    paths
}

fn logits(file: &Contents, config: &Config, sequences: &[Vec<u32>], run: &Runtime<'_>) -> Vec<f32> {
    let mut walk = Walk::begin(file, config, sequences, run).unwrap();
    for i in 0..config.layers.len() {
        let layer = Layer::of(file, config, i, run.kernels).unwrap();
        assert!(walk.through(&layer, i, true, run, |_| true));
    }
    let mut all = Vec::new();
    let each = |_: usize, rows: &mut [f32]| {
        all.extend_from_slice(rows);
        true
    };
    assert!(walk.logits(file, run, each).unwrap());
    all
}

#[test]
fn what_is_moved_changes_no_result() {
    let (pool, kernels) = (Pool::new(2), Kernels::named("exact").unwrap());
    let run = Runtime::new(&pool, &kernels);
    let dir = std::env::temp_dir().join(format!("ingle-balance-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let (mut moved, mut left) = (Vec::new(), Vec::new());
    for path in models() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = gguf::parse(Bytes::new(fs::read(&path).unwrap())).unwrap();
        let Ok(config) = Config::read(&file) else { continue };
        if supported(&config).is_err() {
            continue;
        }
        let tokens = (0..40).map(|i| i * 7 % config.vocab as u32).collect();
        let sequences = [tokens];
        let before = logits(&file, &config, &sequences, &run);
        let spread = before.iter().map(|v| v * v).sum::<f32>().sqrt() / (before.len() as f32).sqrt();

        let model = ModelInfo::read(&file).unwrap();
        let mixture = mixture::by_name("F32").unwrap();
        let plan = plan::plan(&quantize::infos(&file), &model, mixture, &Options::default()).unwrap();
        let (journal, _) = Lock::new(&dir.join(&name)).unwrap().begin("test").unwrap();
        let job = Job {
            file: &file,
            config: &config,
            plan: &plan,
            balance: Some(Balance::Smooth(0.6)),
            prune: None,
            encoder: method::encoder("rtn").unwrap(),
            asymmetric: false,
            sequences: &sequences,
            pool: &pool,
            kernels: &kernels,
            journal: &journal,
        };
        pipeline::run(&job, &mut |_| true).unwrap();
        let mut bytes = Vec::new();
        let header = quantize::header(&file, mixture, None).unwrap();
        pipeline::assemble(&job, header, &|_| false, &mut bytes).unwrap();
        let after_file = gguf::parse(Bytes::new(bytes)).unwrap();
        let after = logits(&after_file, &config, &sequences, &run);
        let worst = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / spread;
        assert!(worst < 2e-3, "{name}: a logit moved by {worst:.1e} of the spread");
        let norm = |file: &Contents| file.tensor("blk.0.attn_norm.weight").map(|t| t.values());
        if norm(&file) == norm(&after_file) { left.push(name) } else { moved.push(name) }
    }
    fs::remove_dir_all(&dir).unwrap();
    eprintln!("moved in {moved:?}, left alone {left:?}");
    for family in ["gemma", "glm4", "starcoder2"] {
        assert!(moved.iter().any(|name| name == family), "{family}: {moved:?}");
    }
}
