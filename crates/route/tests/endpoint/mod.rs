//! An endpoint that records what it is sent and misbehaves as it is told, and what a request needs to reach it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingle_net::client::Proxies;
use ingle_net::policy::Policy as NetPolicy;
use ingle_net::{Client, Options, Url};
use ingle_route::cloud::Surroundings;
use ingle_route::egress::EgressLog;
use ingle_route::policy::Endpoint;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers.
    Answers,
    /// This status, with a wait if any.
    Status(u16, Option<u64>),
    /// Half an answer.
    Cuts,
    /// A whole answer, and no end of the connection.
    Stays,
    /// An answer up to why it ended, and then nothing of what was announced.
    Drops,
    /// Text without end.
    Floods,
    /// Closes without a word.
    Closes,
    /// Never answers.
    Hangs,
    /// Something that is no answer.
    Rubbish,
    /// Answers this.
    Says(&'static str),
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

pub struct Recorder {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

/// Starts one that treats its `n`-th request as `manner(n)` says.
pub fn start(manner: impl Fn(usize) -> Manner + Send + Sync + 'static) -> Recorder {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (all, manner) = (seen.clone(), Arc::new(manner));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (all, manner) = (all.clone(), manner.clone());
            std::thread::spawn(move || serve(stream, &all, &*manner));
        }
    });
    Recorder { url, seen }
}

const ANSWER: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"All \"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"well.\"},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";

fn serve(stream: TcpStream, all: &Mutex<Vec<Seen>>, manner: &dyn Fn(usize) -> Manner) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let n = {
            let mut all = all.lock().unwrap();
            all.push(Seen { head, body });
            all.len() - 1
        };
        let stream_head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        let said = match manner(n) {
            Manner::Answers => format!("{stream_head}Content-Length: {}\r\n\r\n{ANSWER}", ANSWER.len()),
            Manner::Status(status, wait) => {
                let wait = wait.map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
                let body = "{\"error\":{\"message\":\"not now\"}}";
                format!("HTTP/1.1 {status} No\r\n{wait}Content-Length: {}\r\n\r\n{body}", body.len())
            }
            Manner::Cuts => {
                let half = &ANSWER[..ANSWER.find("well").unwrap() - 40];
                let _ = write!(stream, "{stream_head}Content-Length: {}\r\n\r\n{half}", ANSWER.len());
                return;
            }
            Manner::Stays => {
                let _ = write!(stream, "{stream_head}Content-Length: 9999\r\n\r\n{ANSWER}");
                std::thread::sleep(Duration::from_secs(30));
                return;
            }
            Manner::Drops => {
                let said = &ANSWER[..ANSWER.find("data: {\"choices\":[],").unwrap()];
                let _ = write!(stream, "{stream_head}Content-Length: 9999\r\n\r\n{said}");
                return;
            }
            Manner::Floods => {
                let choice = serde_json::json!({ "delta": { "content": "on and on ".repeat(1000) } });
                let event = format!("data: {}\n\n", serde_json::json!({ "choices": [choice] }));
                let _ = write!(stream, "{stream_head}Connection: close\r\n\r\n");
                while stream.write_all(event.as_bytes()).is_ok() {}
                return;
            }
            Manner::Closes => return,
            Manner::Hangs => {
                std::thread::sleep(Duration::from_secs(30));
                return;
            }
            Manner::Says(text) => {
                let choice = serde_json::json!({ "delta": { "content": text }, "finish_reason": "stop" });
                let event = serde_json::json!({ "choices": [choice] });
                let answer = format!("data: {event}\n\ndata: [DONE]\n\n");
                format!("{stream_head}Content-Length: {}\r\n\r\n{answer}", answer.len())
            }
            Manner::Rubbish => format!("{stream_head}Content-Length: 8\r\n\r\ndata: x\n"),
        };
        if stream.write_all(said.as_bytes()).is_err() {
            return;
        }
    }
}

/// The one client, allowed to speak plainly to these recorders.
pub fn client(to: &[&Recorder]) -> Client {
    let plain_text = to.iter().map(|r| Url::parse(&r.url).unwrap().origin).collect();
    Client::new(Options {
        policy: NetPolicy { offline: None, plain_text },
        user_agent: "ingle/test".into(),
        proxies: Proxies::default(),
        root_certificates: None,
        connect_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_millis(400),
        interrupted: Arc::new(AtomicBool::new(false)),
    })
    .unwrap()
}

/// A clock that goes as far as one waits, besides real time.
#[derive(Debug, Default)]
pub struct Clock {
    waited_ms: AtomicU64,
}

impl Clock {
    pub fn waited_ms(&self) -> u64 {
        self.waited_ms.load(Ordering::Relaxed)
    }
}

impl Surroundings for Clock {
    fn now_ms(&self) -> u64 {
        let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        real.as_millis() as u64 + self.waited_ms()
    }

    fn wait(&self, ms: u64) -> bool {
        self.waited_ms.fetch_add(ms, Ordering::Relaxed);
        true
    }

    fn key(&self, endpoint: &Endpoint) -> Result<Option<String>, String> {
        Ok(endpoint.key.as_ref().map(|_| "sk-of-the-test".to_owned()))
    }
}

/// A log in a folder of its own.
pub fn log(name: &str) -> EgressLog {
    let folder: PathBuf = std::env::temp_dir().join(format!("ingle-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    EgressLog::new(folder.join("egress.jsonl"))
}
