//! The measurement of adapters that take turns on one model: `cargo test --release -p ingle-engine --test residency -- --ignored
//! --nocapture adapters`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::session::{Session, SessionOptions};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant::by_name;
use ingle_model::adapter::Adapter;
use ingle_model::file::gguf;
use ingle_model::file::gguf_write::{Header, Writer};

use crate::drawn::Rng;

const RANK: usize = 16;
const SWAPS: usize = 200;

/// An adapter for every matrix of the demo's layers.
fn write(path: &Path, seed: u64) {
    let demo = gguf::parse(Bytes::new(ingle_demo::GGUF)).unwrap();
    let (mut rng, f16) = (Rng::new(seed), by_name("f16").unwrap());
    let mut header = Header::default();
    for (key, value) in
        [("general.type", "adapter"), ("general.architecture", "llama"), ("adapter.type", "lora")]
    {
        header.set(key, value).unwrap();
    }
    header.set("adapter.lora.alpha", RANK as f32).unwrap();
    let tensors: Vec<(String, [usize; 2])> = demo
        .tensors()
        .iter()
        .filter(|tensor| tensor.name.starts_with("blk.") && tensor.shape.len() == 2)
        .flat_map(|tensor| {
            let [cols, rows] = [tensor.shape[0], tensor.shape[1]];
            [
                (format!("{}.lora_a", tensor.name), [cols, RANK]),
                (format!("{}.lora_b", tensor.name), [RANK, rows]),
            ]
        })
        .collect();
    tensors.iter().for_each(|(name, shape)| header.add(name, shape, f16).unwrap());
    let mut writer = Writer::begin(std::fs::File::create(path).unwrap(), &header).unwrap();
    for (_, [cols, rows]) in &tensors {
        // Numbers of 2^-8 and thereabouts, of both signs.
        let half = |rng: &mut Rng| (0x1c00 + rng.below(0x400) as u16) | if rng.is(0.5) { 0x8000 } else { 0 };
        let bytes: Vec<u8> = (0..cols * rows).flat_map(|_| half(&mut rng).to_le_bytes()).collect();
        writer.write(&bytes).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
#[ignore = "a measurement, in release and alone"]
fn adapters_take_turns_within_milliseconds() {
    let file = ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).unwrap();
    let load = LoadOptions { tier: None, n_threads: 2, pack: Pack::Off };
    let loaded = Arc::new(Loaded::load(file, &load).unwrap());
    let folder = std::env::temp_dir().join(format!("ingle-adapters-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let paths = [folder.join("a.gguf"), folder.join("b.gguf")];
    paths.iter().zip(1..).for_each(|(path, seed)| write(path, seed));
    let mut session =
        Session::new(loaded.clone(), &SessionOptions { ctx: Some(512), kv: "f16", chunk: None }).unwrap();
    let none = AtomicBool::new(false);
    let (mut opened, mut read, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    let adapters: Vec<Arc<Adapter>> =
        paths.iter().map(|path| Arc::new(loaded.adapter(path).unwrap())).collect();
    for i in 0..SWAPS {
        let since = Instant::now();
        session.set_adapters(vec![(adapters[i % 2].clone(), 1.0)]);
        opened.push(since.elapsed());
        session.feed(&[1, 2, 3], &none, |_| ()).unwrap();
        answers.push(session.last_logits().to_vec());
        let since = Instant::now();
        let fresh = Arc::new(loaded.adapter(&paths[i % 2]).unwrap());
        session.set_adapters(vec![(fresh, 1.0)]);
        read.push(since.elapsed());
        session.feed(&[1, 2, 3], &none, |_| ()).unwrap();
        assert!(session.last_logits() == answers[i], "an adapter is the same each time");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(answers[0] != answers[1] && answers[0] == answers[2]);
    for (name, times) in [("open adapters", &mut opened), ("adapters read from their files", &mut read)] {
        times.sort_unstable();
        let (median, p95, most) = (times[SWAPS / 2], times[SWAPS * 95 / 100], times[SWAPS - 1]);
        println!("{name}: median {median:.2?}, p95 {p95:.2?}, most {most:.2?}");
        assert!(p95 <= Duration::from_millis(10), "{name}: {p95:?}");
    }
}
