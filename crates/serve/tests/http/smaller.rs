//! A smaller model answers where who keeps account says so, and says that it did.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use ingle_engine::model_file::{Loaded, ModelFile};
use ingle_kernel::bytes::Bytes;
use ingle_route::ledger::{Place, Row};
use ingle_serve::{Accounts, Then, Work};
use serde_json::json;

use crate::served::{CHAT, LOAD, Server, chat, writer};

/// Takes the smallest model while the device is hot.
#[derive(Debug, Default)]
struct Device {
    is_hot: AtomicBool,
    asked: Mutex<Vec<Vec<u64>>>,
}

impl Accounts for Device {
    fn open(&self, _: Option<&str>, _: Option<&Arc<Loaded>>) -> Arc<Work> {
        Arc::default()
    }

    fn close(&self, _: &Arc<Work>, _: [u64; 2], then: Then) {
        then(Row::new(0, Place::Here), &[]);
    }

    fn choose(&self, n_bytes: &[u64]) -> usize {
        self.asked.lock().unwrap().push(n_bytes.to_vec());
        let smallest = (0..n_bytes.len()).min_by_key(|&at| n_bytes[at]);
        smallest.filter(|_| self.is_hot.load(Relaxed)).unwrap_or(0)
    }

    fn metrics(&self, _: &mut String) {}

    fn page(&self, _: Option<&str>) -> Result<String, String> {
        Ok(String::new())
    }
}

#[test]
fn the_answer_names_the_model_that_gave_it() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/malicious/base.gguf");
    let files = [
        ("demo", ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).unwrap()),
        ("tiny", ModelFile::open(&tiny).unwrap()),
    ];
    let sizes: Vec<u64> = files.iter().map(|(_, file)| file.n_bytes()).collect();
    let serving = files.map(|(name, file)| writer(name, Arc::new(Loaded::load(file, &LOAD).unwrap()), 1, 8));
    let device = Arc::<Device>::default();
    let server = Server::accounting(serving.into(), device.clone());
    let body = |model: &str| chat("abc", json!({ "model": model, "max_tokens": 4 }));
    let by = |path: &str, model: &str| server.fine(path, &body(model))["model"].clone();
    assert_eq!((by(CHAT, "demo"), by(CHAT, "tiny")), ("demo".into(), "tiny".into()));
    let [demo, tiny] = sizes[..] else { panic!("{sizes:?}") };
    assert_eq!(
        *device.asked.lock().unwrap(),
        [[demo, tiny], [tiny, demo]],
        "the one that was asked for first"
    );
    device.is_hot.store(true, Relaxed);
    assert_eq!((by(CHAT, "demo"), by("/v1/messages", "demo")), ("tiny".into(), "tiny".into()));
    let ollama =
        json!({ "model": "demo", "prompt": "abc", "stream": false, "options": { "num_predict": 4 } });
    assert_eq!(server.fine("/api/generate", &ollama)["model"], "tiny");
    let responses = json!({ "model": "demo", "input": "abc", "max_output_tokens": 4 });
    assert_eq!(server.fine("/v1/responses", &responses)["model"], "tiny");
    // Tokens of a model are its own.
    let text = json!({ "model": "demo", "prompt": "abc", "max_tokens": 4 });
    assert_eq!(server.fine("/v1/completions", &text)["model"], "demo");
}
