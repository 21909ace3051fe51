//! A server that the real binary is, and a client of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::harness::Dir;

/// A server with its address; it goes with the test.
pub struct Server {
    child: Child,
    /// As `http://127.0.0.1:PORT`.
    pub address: String,
    /// What it wrote for people since then; it is shown when the test fails.
    pub said: Arc<Mutex<String>>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Server {
    /// `ingle serve` with these arguments, in the world of `dir`.
    pub fn start(dir: &Dir, args: &[&str]) -> Self {
        Self::of(Self::command(dir, args))
    }

    /// The command that starts one.
    pub fn command(dir: &Dir, args: &[&str]) -> Command {
        dir.ingle(&[&["serve"], args, &["--port", "0"]].concat()).command
    }

    /// The server that such a command is.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let line = lines.find(|line| line.contains("http://")).expect("the server says where it is");
        let address = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        // What else it says must not fill the pipe.
        let said = Arc::new(Mutex::new(String::new()));
        let hears = Arc::clone(&said);
        std::thread::spawn(move || lines.for_each(|line| *hears.lock().unwrap() += &(line + "\n")));
        Self { child, address, said }
    }

    /// Opens a request, and leaves it to the caller to read.
    pub fn open(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let host = self.address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let n = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {n}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
        stream
    }

    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let mut text = String::new();
        self.open(method, path, headers, body).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { joined(body) } else { body.to_owned() };
        Reply { status, head: head.to_owned(), body }
    }

    /// The reply to a JSON document.
    pub fn post(&self, path: &str, body: &Json) -> Reply {
        self.ask("POST", path, "", &body.to_string())
    }

    /// The numbers for monitoring that begin like this.
    pub fn metrics(&self, start: &str) -> Vec<(String, f64)> {
        let text = self.ask("GET", "/metrics", "", "").body;
        let rows = text.lines().filter(|line| line.starts_with(start));
        let row = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        rows.map(row).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.said.lock().unwrap());
        }
    }
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

/// A chat with one message.
pub fn chat(text: &str, more: &Json) -> Json {
    let messages = json!([{ "role": "user", "content": text }]);
    let mut body = json!({ "messages": messages, "temperature": 0, "max_tokens": 16 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The documents of a stream of events.
pub fn events(body: &str) -> Vec<Json> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The rows of the ledger, once there are `n` of them.
pub fn rows(dir: &Dir, n: usize) -> Vec<Json> {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(dir.path("state/ingle/ledger.jsonl")).unwrap_or_default();
        let rows: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if rows.len() >= n || start.elapsed() > Duration::from_secs(20) {
            assert_eq!(rows.len(), n, "{text}");
            return rows;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
