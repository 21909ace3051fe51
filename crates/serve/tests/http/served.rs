//! A server with the built-in model, and a client that writes to its socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ingle_engine::model_file::{LoadOptions, Loaded, ModelFile, Pack};
use ingle_engine::run::{Engine, EngineOptions};
use ingle_engine::session::SessionOptions;
use ingle_kernel::bytes::Bytes;
use ingle_route::confidence::Feedback as Row;
use ingle_serve::{Accounts, ApiKey, Feedback, Limits, Model, Options, Serving, Terms, serve};
use serde_json::{Value as Json, json};

pub const LOAD: LoadOptions<'static> = LoadOptions { tier: None, n_threads: 2, pack: Pack::Off };

/// What was said of answers.
#[derive(Debug, Default)]
pub struct Heard(pub Mutex<Vec<Row>>);

impl Feedback for Heard {
    fn keep(&self, row: &Row) -> Result<(), String> {
        self.0.lock().unwrap().push(*row);
        Ok(())
    }
}

/// A server on a thread, stopped when it goes.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(n_lanes: usize, queue_max: usize, api_keys: &[&str]) -> Self {
        Self::limited(n_lanes, queue_max, api_keys, Limits::usual())
    }

    pub fn limited(n_lanes: usize, queue_max: usize, api_keys: &[&str], limits: Limits) -> Self {
        Self::of(Bytes::new(ingle_demo::GGUF), n_lanes, queue_max, api_keys, limits)
    }

    /// A server of another model than the built-in one.
    pub fn of(gguf: Bytes, n_lanes: usize, queue_max: usize, api_keys: &[&str], limits: Limits) -> Self {
        let file = ModelFile::from_bytes("demo", gguf).unwrap();
        let loaded = Arc::new(Loaded::load(file, &LOAD).unwrap());
        Self::run(vec![writer("demo", loaded, n_lanes, queue_max)], api_keys, limits)
    }

    /// A server of these models.
    pub fn serving(serving: Vec<Serving>) -> Self {
        Self::run(serving, &[], Limits::usual())
    }

    /// A server whose models come and go.
    pub fn keeping(terms: Terms) -> Self {
        Self::start_with(Vec::new(), &[], Limits::usual(), Some(terms), None, None)
    }

    /// A server with the built-in model that hands what is said of answers to `heard`.
    pub fn hearing(heard: Arc<Heard>) -> Self {
        Self::hearing_with_keys(heard, &[])
    }

    pub fn hearing_with_keys(heard: Arc<Heard>, api_keys: &[&str]) -> Self {
        let file = ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).unwrap();
        let loaded = Arc::new(Loaded::load(file, &LOAD).unwrap());
        let serving = vec![writer("demo", loaded, 4, 64)];
        Self::start_with(serving, api_keys, Limits::usual(), None, Some(heard), None)
    }

    /// A server of these models, of which `accounts` keeps account.
    pub fn accounting(serving: Vec<Serving>, accounts: Arc<dyn Accounts>) -> Self {
        Self::start_with(serving, &[], Limits::usual(), None, None, Some(accounts))
    }

    fn run(serving: Vec<Serving>, api_keys: &[&str], limits: Limits) -> Self {
        Self::start_with(serving, api_keys, limits, None, None, None)
    }

    fn start_with(
        serving: Vec<Serving>,
        api_keys: &[&str],
        limits: Limits,
        residence: Option<Terms>,
        heard: Option<Arc<Heard>>,
        accounts: Option<Arc<dyn Accounts>>,
    ) -> Self {
        let options = Options {
            address: "127.0.0.1:0".parse().unwrap(),
            api_keys: api_keys.iter().map(|key| ApiKey::plain(*key)).collect(),
            allow_hosts: Vec::new(),
            allow_origins: vec!["https://friend.example".into()],
            library: None,
            residence,
            accounts,
            elsewhere: None,
            feedback: heard.map(|heard| heard as Arc<dyn Feedback>),
            limits,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = channel();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || serve(serving, options, stop, |address| tell.send(address).unwrap()).unwrap()
        });
        Self { address: told.recv().unwrap(), stop, thread: Some(thread) }
    }

    /// Opens a request, and leaves it to the caller to read.
    pub fn open(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}{headers}\r\n",
            self.address,
            if headers.contains("Content-Length") {
                String::new()
            } else {
                format!("Content-Length: {}\r\n", body.len())
            }
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is too large is refused before it is all there.
        let _ = stream.write_all(body);
        stream
    }

    /// Status, head and body of a request.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String, String) {
        let mut text = String::new();
        self.open(method, path, headers, body).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        (status, head.to_owned(), if is_chunked { joined(body) } else { body.to_owned() })
    }

    pub fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        let (status, _, text) = self.ask("POST", path, "", body.to_string().as_bytes());
        (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}")))
    }

    /// The answer to a request that is answered.
    pub fn fine(&self, path: &str, body: &Json) -> Json {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    /// Asserts that it is refused with this status in a sentence that has these words.
    pub fn refused(&self, path: &str, body: &Json, status: u16, words: &[&str]) {
        let (found, answer) = self.post(path, body);
        let error = &answer["error"];
        let message = error["message"].as_str().or(error.as_str()).unwrap_or_default();
        assert!(
            found == status && words.iter().all(|word| message.contains(word)),
            "{path} {body}: {found} {message:?}, expected {words:?}"
        );
    }

    /// A chat whose streamed answer does not end by itself.
    pub fn endless(&self) -> Json {
        let (_, end) = self.post("/tokenize", &json!({ "content": "<|im_end|><|endoftext|>" }));
        let ids = end["tokens"].as_array().unwrap();
        let bias: serde_json::Map<_, _> = ids.iter().map(|id| (id.to_string(), json!(-100))).collect();
        let more = json!({ "logit_bias": bias, "max_tokens": 1_000_000, "overflow": "drop-oldest" });
        chat(STORY, with(more, &json!({ "temperature": 1, "stream": true })))
    }

    pub fn metric(&self, name: &str) -> u64 {
        self.metric_of(name, "demo")
    }

    pub fn metric_of(&self, name: &str, model: &str) -> u64 {
        let (_, _, text) = self.ask("GET", "/metrics", "", b"");
        let start = format!("{name}{{model={model:?}}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A model that writes, in lanes.
pub fn writer(name: &str, loaded: Arc<Loaded>, n_lanes: usize, queue_max: usize) -> Serving {
    let session = SessionOptions { ctx: Some(512), kv: "f16", chunk: None };
    let options =
        EngineOptions { session, n_lanes, queue_max, prefix_bytes: None, kv_dir: None, clock: None };
    Serving { model: Model::Writer(Engine::new(loaded, &options).unwrap()), name: name.to_owned() }
}

/// The parts of a chunked body.
fn joined(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let n = usize::from_str_radix(size, 16).unwrap();
        out.push_str(&rest[..n]);
        body = rest[n..].strip_prefix("\r\n").unwrap_or_default();
    }
    out
}

/// `into` with the fields of `more`.
pub fn with(mut into: Json, more: &Json) -> Json {
    into.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    into
}

pub fn chat(text: &str, more: Json) -> Json {
    let messages = json!([{ "role": "user", "content": text }]);
    with(json!({ "messages": messages, "temperature": 0, "max_tokens": 24 }), &more)
}

pub const CHAT: &str = "/v1/chat/completions";
pub const STORY: &str = "Tell me a story.";
