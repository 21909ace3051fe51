//! The table and the gains of a real model: the demo, read as it lies in the repository.

use std::cell::Cell;
use std::path::Path;

use ingle_compress::journal::Lock;
use ingle_compress::method::rounding::SEARCH;
use ingle_compress::pipeline::Job;
use ingle_compress::search::{probe, table};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::config::Config;
use ingle_model::file::gguf;

#[test]
fn bits_lower_every_tensors_error_and_probes_tell_tensors_apart() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo-f16.gguf");
    let file = gguf::parse(Bytes::new(std::fs::read(demo).unwrap())).unwrap();
    let config = Config::read(&file).unwrap();
    let (pool, kernels) = (Pool::new(1), Kernels::detect());
    let sequences: Vec<Vec<u32>> =
        (0..4).map(|s| (0..64).map(|i| (s * 911 + i * 37) % 4096).collect()).collect();
    let output = std::env::temp_dir().join(format!("ingle-search-{}.gguf", std::process::id()));
    let (journal, _) = Lock::new(&output).unwrap().begin("a test's").unwrap();
    let plan = table::plan_of_probes(&file);
    let job = Job {
        file: &file,
        config: &config,
        plan: &plan,
        balance: None,
        prune: None,
        encoder: &SEARCH,
        asymmetric: false,
        sequences: &sequences,
        pool: &pool,
        kernels: &kernels,
        journal: &journal,
    };
    let heads = Cell::new(0);
    let mut seconds = |format: &'static ingle_kernel::quant::Format, product: table::Product| {
        heads.set(heads.get() + usize::from(product.is_head));
        (product.rows * format.row_bytes(product.cols)) as f64
    };
    let mut entries = table::measure(&job, &mut seconds, &mut |_| true).unwrap();
    probe::gains(&job, &mut entries, &mut |_| true).unwrap();

    // Seven matrices in each of six layers, and the embeddings.
    assert_eq!(entries.len(), 6 * 7 + 1);
    for entry in &entries {
        let name = &entry.name;
        assert!(entry.gain > 0.0 && entry.gain.is_finite(), "{name}: {}", entry.gain);
        let error = |format: &str| entry.candidates.iter().find(|c| c.format.name == format).unwrap().error;
        for pair in ["q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "q8_0", "f16"].windows(2) {
            assert!(error(pair[0]) > error(pair[1]), "{name}: {pair:?}");
        }
        assert_eq!(error("f16"), 0.0);
        // With importances the same format costs no more than without, but for what they leave out.
        assert!(error(table::PROBED) < 1.2 * entry.probed, "{name}");
        assert!(entry.candidates.is_sorted_by(|a, b| a.bytes <= b.bytes));
    }
    // The embeddings are the head too: once for every format.
    assert_eq!(heads.get(), entries[0].candidates.len());
    let gains: Vec<f64> = entries.iter().map(|e| e.gain * e.probed).collect();
    let (least, most) = gains.iter().fold((f64::INFINITY, 0.0f64), |(a, b), &g| (a.min(g), b.max(g)));
    assert!(most > 2.0 * least, "{least} {most}");
    let stopped = table::measure(&job, &mut seconds, &mut |_| false);
    assert_eq!(stopped.unwrap_err().to_string(), "interrupted");
    journal.remove().unwrap();
}
