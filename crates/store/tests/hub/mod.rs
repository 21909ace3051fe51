//! A hub of our own on the loopback: serves repositories as the real one does, and misbehaves on request.
//!
//! Each request to a path takes the next fault queued for that path; with none left it is served properly. Everything asked
//! is written down. One thread per connection, one request per connection.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingle_store::hash::{Digest, Hasher};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How to misbehave once.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Send this much of the body, then hang up.
    Drop(usize),
    /// Send this much of the body, then say nothing more for this long.
    Stall(usize, Duration),
    /// Claim a length that is off by this much.
    LieAboutLength(i64),
    /// Flip a bit in the middle.
    WrongBytes,
    /// Answer with a status, and this `Retry-After`.
    Status(u16, Option<&'static str>),
    /// Send the reader elsewhere, to the same path below this address.
    Redirect(String),
    /// Send the whole file whatever range was asked for.
    IgnoreRange,
    /// Answer 206 with another range than the one asked for.
    WrongRange,
    /// Never end the body.
    Endless,
    /// Carry this entity tag.
    Tag(&'static str),
    /// Not HTTP at all.
    Noise,
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub target: String,
    pub headers: HashMap<String, String>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct State {
    /// Files by path below the root.
    files: BTreeMap<String, Vec<u8>>,
    /// Repositories: their files in order.
    repos: BTreeMap<String, Vec<String>>,
    faults: HashMap<String, VecDeque<Fault>>,
    seen: Vec<Seen>,
    /// A token without which nothing is served.
    token: Option<String>,
}

/// A running hub. Its threads end with the test's process.
#[derive(Clone)]
pub struct Hub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

pub fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(None, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish().to_string()
}

fn git_blob(bytes: &[u8]) -> String {
    let kind = Digest::GitBlob([0; 20]);
    let mut hasher = Hasher::new(Some(&kind), bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish().to_string()
}

fn is_large(path: &str) -> bool {
    path.ends_with(".gguf") || path.ends_with(".safetensors")
}

/// What the hub calls a file's content.
pub fn oid(path: &str, bytes: &[u8]) -> String {
    if is_large(path) { sha256(bytes) } else { git_blob(bytes) }
}

/// Where a repository's file is asked for.
pub fn resolve(repo: &str, file: &str) -> String {
    format!("/{repo}/resolve/{COMMIT}/{file}")
}

impl Hub {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::new(Mutex::new(State::default())),
        };
        let serving = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = serving.clone();
                std::thread::spawn(move || {
                    // A client that hangs up is what many tests are about.
                    let _ = hub.serve(stream);
                });
            }
        });
        hub
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a file to a repository.
    pub fn add(&self, repo: &str, file: &str, bytes: &[u8]) {
        let mut state = self.state();
        state.files.insert(resolve(repo, file), bytes.to_vec());
        let files = state.repos.entry(repo.to_owned()).or_default();
        files.retain(|f| f != file);
        files.push(file.to_owned());
    }

    /// Adds a file outside any repository.
    pub fn add_plain(&self, path: &str, bytes: &[u8]) {
        self.state().files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Queues misbehaviour for a path.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(path.to_owned()).or_default().extend(faults);
    }

    /// Queues misbehaviour for a repository's listing.
    pub fn fail_listing(&self, repo: &str, faults: impl IntoIterator<Item = Fault>) {
        self.fail(&format!("/api/models/{repo}/revision/main"), faults);
    }

    /// From now on only who knows the token is served.
    pub fn require_token(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The requests for one path.
    pub fn seen_at(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| s.target.split('?').next() == Some(path)).collect()
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let seen = Seen { target, headers };
        let (fault, token) = {
            let mut state = self.state();
            state.seen.push(seen.clone());
            (state.faults.get_mut(&path).and_then(VecDeque::pop_front), state.token.clone())
        };
        if token.is_some_and(|t| seen.header("authorization") != Some(&format!("Bearer {t}"))) {
            return respond(&stream, 401, &[], b"no");
        }
        match fault {
            Some(Fault::Status(status, retry)) => {
                let retry = retry.map(|r| format!("Retry-After: {r}"));
                respond(&stream, status, retry.as_slice(), b"no")
            }
            Some(Fault::Redirect(base)) => {
                respond(&stream, 302, &[format!("Location: {base}{}", seen.target)], b"")
            }
            Some(Fault::Noise) => (&stream).write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            fault => match self.content(&path) {
                Some(content) => send(&stream, &seen, &content, fault),
                None => respond(&stream, 404, &[], b"no"),
            },
        }
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let repo = path.strip_prefix("/api/models/").and_then(|p| p.split("/revision/").next());
        let listed = repo.and_then(|repo| Some((repo, state.repos.get(repo)?)));
        let Some((repo, files)) = listed else {
            return state.files.get(path).cloned();
        };
        let sibling = |file: &String| {
            let bytes = &state.files[&resolve(repo, file)];
            let (size, oid) = (bytes.len(), oid(file, bytes));
            match is_large(file) {
                true => serde_json::json!({ "rfilename": file, "size": size, "blobId": COMMIT,
                    "lfs": { "sha256": oid, "size": size, "pointerSize": 130 } }),
                false => serde_json::json!({ "rfilename": file, "size": size, "blobId": oid }),
            }
        };
        let siblings: Vec<serde_json::Value> = files.iter().map(sibling).collect();
        let listing =
            serde_json::json!({ "sha": COMMIT, "tags": ["gguf", "license:mit"], "siblings": siblings });
        Some(listing.to_string().into_bytes())
    }
}

fn respond(mut stream: &TcpStream, status: u16, headers: &[String], body: &[u8]) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    headers.iter().for_each(|h| head.push_str(&format!("{h}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)
}

fn send(mut stream: &TcpStream, seen: &Seen, content: &[u8], fault: Option<Fault>) -> std::io::Result<()> {
    let range =
        seen.header("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let tag = match &fault {
        Some(Fault::Tag(tag)) => (*tag).to_owned(),
        _ => format!("\"{}\"", sha256(content)),
    };
    let is_same = seen.header("if-range").is_none_or(|asked| asked == tag);
    let from = range.filter(|_| is_same && !matches!(fault, Some(Fault::IgnoreRange)));
    if from.is_some_and(|from| from >= content.len()) {
        return respond(stream, 416, &[format!("Content-Range: bytes */{}", content.len())], b"");
    }
    let mut body = content[from.unwrap_or(0)..].to_vec();
    let mut head = match from {
        Some(from) => {
            let from = if matches!(fault, Some(Fault::WrongRange)) { from + 1 } else { from };
            format!(
                "HTTP/1.1 206 X\r\nContent-Range: bytes {from}-{}/{}\r\n",
                content.len() - 1,
                content.len()
            )
        }
        None => "HTTP/1.1 200 X\r\n".to_owned(),
    };
    head.push_str(&format!("ETag: {tag}\r\nConnection: close\r\n"));
    if let Some(Fault::Endless) = fault {
        stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
        loop {
            stream.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
            stream.write_all(&body)?;
            stream.write_all(b"\r\n")?;
        }
    }
    let length = match fault {
        Some(Fault::LieAboutLength(by)) => body.len() as i64 + by,
        _ => body.len() as i64,
    };
    if let Some(Fault::WrongBytes) = fault {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())?;
    match fault {
        Some(Fault::Drop(n)) => stream.write_all(&body[..n.min(body.len())]),
        Some(Fault::Stall(n, time)) => {
            stream.write_all(&body[..n.min(body.len())])?;
            std::thread::sleep(time);
            Ok(())
        }
        _ => stream.write_all(&body),
    }
}
