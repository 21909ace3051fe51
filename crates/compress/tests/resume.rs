//! A run that goes on ends with the bytes of one that was not stopped, whatever the journal has lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ingle_compress::journal::{Journal, Lock};
use ingle_compress::pipeline::{self, Job};
use ingle_compress::plan::{self, ModelInfo, Options};
use ingle_compress::{method, mixture, quantize};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::config::Config;
use ingle_model::file::gguf;

/// What is done of the work, by name.
fn parts(journal: &Journal) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(journal.path("")).unwrap().map(|entry| entry.unwrap().path());
    let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    let parts = named.filter(|(name, _)| name.starts_with("layer-") || name.starts_with("tensor-"));
    parts.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

#[test]
fn a_part_that_is_damaged_is_made_again_from_the_inputs_that_it_had() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/families/seed_oss.gguf");
    let file = gguf::parse(Bytes::new(fs::read(model).unwrap())).unwrap();
    let config = Config::read(&file).unwrap();
    let (pool, kernels) = (Pool::new(2), Kernels::detect());
    let sequences = [(0..40).map(|i| i * 7 % config.vocab as u32).collect()];
    let info = ModelInfo::read(&file).unwrap();
    let mixture = mixture::by_name("Q4_0").unwrap();
    let plan = plan::plan(&quantize::infos(&file), &info, mixture, &Options::default()).unwrap();
    for asymmetric in [false, true] {
        let output = format!("ingle-resume-{asymmetric}-{}.gguf", std::process::id());
        let (journal, _) = Lock::new(&std::env::temp_dir().join(output)).unwrap().begin("test").unwrap();
        let job = Job {
            file: &file,
            config: &config,
            plan: &plan,
            balance: None,
            prune: None,
            encoder: method::encoder("gptq").unwrap(),
            asymmetric,
            sequences: &sequences,
            pool: &pool,
            kernels: &kernels,
            journal: &journal,
        };
        pipeline::run(&job, &mut |_| true).unwrap();
        let whole = parts(&journal);
        assert!(whole.len() > config.layers.len());
        for (name, bytes) in &whole {
            let mut damaged = bytes.clone();
            damaged[bytes.len() / 2] ^= 1;
            fs::write(journal.path(name), damaged).unwrap();
            pipeline::run(&job, &mut |_| true).unwrap();
            let again = parts(&journal);
            assert!(again.keys().eq(whole.keys()));
            assert!(again == whole, "{name} was damaged, asymmetric {asymmetric}");
        }
        journal.remove().unwrap();
    }
}
