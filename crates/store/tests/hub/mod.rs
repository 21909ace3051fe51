//! A hub of our own on the loopback: serves repositories as the real one does, and misbehaves on request.
//!
//! Each request to a path takes the next fault queued for that path; with none left it is served properly. Everything asked
//! is written down, and how much of each file's content was sent. One thread per connection, one request per connection.
//! Under `/v2/` it is a registry, whose manifests and blobs are plain files; it may want to see a pass, which `/token` gives.

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
    /// Send the body in pieces of this size with this pause between them.
    Trickle(usize, Duration),
    /// Not HTTP at all.
    Noise,
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub target: String,
    pub headers: HashMap<String, String>,
    pub is_head: bool,
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
    /// Repositories at a commit: their files in order.
    repos: BTreeMap<(String, String), Vec<String>>,
    /// Commits of branches and tags other than the main one.
    revisions: BTreeMap<(String, String), String>,
    /// Bytes of content sent, by path.
    sent: HashMap<String, usize>,
    /// The pass that a registry wants to see, and how often it was given.
    pass: Option<(String, usize)>,
    /// The login that it wants to see before, the scheme that it says, and where passes are to be had.
    login: Option<(String, &'static str, String)>,
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
    [".gguf", ".safetensors", ".ingle-delta"].iter().any(|ending| path.ends_with(ending))
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

    /// Adds a file to a repository's main branch.
    pub fn add(&self, repo: &str, file: &str, bytes: &[u8]) {
        self.add_at(repo, COMMIT, file, bytes);
    }

    /// Adds a file to a repository at a commit.
    pub fn add_at(&self, repo: &str, commit: &str, file: &str, bytes: &[u8]) {
        let mut state = self.state();
        state.files.insert(format!("/{repo}/resolve/{commit}/{file}"), bytes.to_vec());
        let files = state.repos.entry((repo.to_owned(), commit.to_owned())).or_default();
        files.retain(|f| f != file);
        files.push(file.to_owned());
    }

    /// Gives a commit a name.
    pub fn name_commit(&self, repo: &str, revision: &str, commit: &str) {
        self.state().revisions.insert((repo.to_owned(), revision.to_owned()), commit.to_owned());
    }

    /// Adds an image's blob to the registry; gives its digest.
    pub fn add_blob(&self, name: &str, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", sha256(bytes));
        self.add_plain(&format!("/v2/{name}/blobs/{digest}"), bytes);
        digest
    }

    /// Adds an image's manifest under a tag and under its digest, which it gives.
    pub fn add_manifest(&self, name: &str, tag: &str, manifest: &serde_json::Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = format!("sha256:{}", sha256(&bytes));
        for version in [tag, &digest] {
            self.add_plain(&format!("/v2/{name}/manifests/{version}"), &bytes);
        }
        digest
    }

    /// From now on the registry wants to see this pass.
    pub fn require_pass(&self, pass: &str) {
        self.state().pass = Some((pass.to_owned(), 0));
    }

    /// From now on the registry wants to see this login: for a pass, or with each request.
    pub fn require_login(&self, login: &str, scheme: &'static str) {
        self.require_login_at(login, scheme, &self.url);
    }

    /// The same, with passes given at `realm`.
    pub fn require_login_at(&self, login: &str, scheme: &'static str, realm: &str) {
        let mut state = self.state();
        state.login = Some((format!("Basic {login}"), scheme, realm.to_owned()));
        state.pass = Some(("pass-of-login".to_owned(), 0));
    }

    /// How often the pass was given out.
    pub fn passes_given(&self) -> usize {
        self.state().pass.as_ref().map_or(0, |(_, n)| *n)
    }

    /// Bytes of content that were sent of a path.
    pub fn sent(&self, path: &str) -> usize {
        self.state().sent.get(path).copied().unwrap_or(0)
    }

    /// Adds a file outside any repository.
    pub fn add_plain(&self, path: &str, bytes: &[u8]) {
        self.state().files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Queues misbehaviour for a path.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(path.to_owned()).or_default().extend(faults);
    }

    /// Behaves from now on.
    pub fn forget_faults(&self) {
        self.state().faults.clear();
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
        let is_head = line.starts_with("HEAD ");
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let path = target.split('?').next().unwrap_or_default().replace("%2F", "/");
        let seen = Seen { target, headers, is_head };
        let (fault, token) = {
            let mut state = self.state();
            state.seen.push(seen.clone());
            (state.faults.get_mut(&path).and_then(VecDeque::pop_front), state.token.clone())
        };
        if token.is_some_and(|t| seen.header("authorization") != Some(&format!("Bearer {t}"))) {
            return respond(&stream, 401, &[], b"no");
        }
        let is_pass_refused = path == "/token" && fault.is_some();
        if !is_pass_refused && let Some(answer) = self.check_pass(&path, &seen) {
            return respond(&stream, answer.0, &answer.1, answer.2.as_bytes());
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
                Some(content) if is_head => head_of(&stream, &path, &content),
                Some(content) => {
                    let count = |n| *self.state().sent.entry(path.clone()).or_default() += n;
                    send(&stream, &seen, &path, &content, fault, &count)
                }
                None => respond(&stream, 404, &[], b"no"),
            },
        }
    }

    /// The registry's refusal, or its pass; `None` where neither is due.
    fn check_pass(&self, path: &str, seen: &Seen) -> Option<(u16, Vec<String>, String)> {
        let mut state = self.state();
        let login = state.login.clone();
        let (pass, n_given) = state.pass.as_mut()?;
        let shows_login =
            login.as_ref().is_none_or(|(login, ..)| seen.header("authorization") == Some(login));
        if let Some((_, "Basic", _)) = login {
            let challenge = vec!["WWW-Authenticate: Basic realm=\"test\"".to_owned()];
            return (path.starts_with("/v2/") && !shows_login).then(|| (401, challenge, "{}".to_owned()));
        }
        if path == "/token" && !shows_login {
            return Some((401, Vec::new(), "{}".to_owned()));
        }
        if path == "/token" {
            *n_given += 1;
            return Some((200, Vec::new(), serde_json::json!({ "token": pass }).to_string()));
        }
        let is_shown = seen.header("authorization") == Some(&format!("Bearer {pass}"));
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"{}/token\",service=\"test\",scope=\"repository:x:pull\"",
            login.map_or_else(|| self.url.clone(), |(_, _, realm)| realm)
        );
        (path.starts_with("/v2/") && !is_shown).then(|| (401, vec![challenge], "{}".to_owned()))
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let commit_of = |repo: &str, revision: &str| match revision {
            "main" => COMMIT.to_owned(),
            other => {
                let named = state.revisions.get(&(repo.to_owned(), other.to_owned()));
                named.cloned().unwrap_or_else(|| other.to_owned())
            }
        };
        if let Some((repo, rest)) = path.split_once("/resolve/")
            && let Some((revision, file)) = rest.split_once('/')
        {
            let commit = commit_of(repo.trim_start_matches('/'), revision);
            return state.files.get(&format!("{repo}/resolve/{commit}/{file}")).cloned();
        }
        if let Some((repo, commit)) = path.strip_prefix("/api/models/").and_then(|p| p.split_once("/tree/")) {
            let files = state.repos.get(&(repo.to_owned(), commit_of(repo, commit)))?;
            let entry = |file: &String| {
                let bytes = &state.files[&format!("/{repo}/resolve/{}/{file}", commit_of(repo, commit))];
                let (size, oid) = (bytes.len(), oid(file, bytes));
                match is_large(file) {
                    true => serde_json::json!({ "type": "file", "path": file, "size": size, "oid": COMMIT,
                        "lfs": { "oid": oid, "size": size, "pointerSize": 130 } }),
                    false => serde_json::json!({ "type": "file", "path": file, "size": size, "oid": oid }),
                }
            };
            return serde_json::to_vec(&files.iter().map(entry).collect::<Vec<_>>()).ok();
        }
        let asked = path.strip_prefix("/api/models/").and_then(|p| p.split_once("/revision/"));
        let commit = asked.map(|(repo, revision)| commit_of(repo, revision)).unwrap_or_default();
        let listed =
            asked.and_then(|(repo, _)| Some((repo, state.repos.get(&(repo.to_owned(), commit.clone()))?)));
        let Some((repo, files)) = listed else {
            return state.files.get(path).cloned();
        };
        let sibling = |file: &String| {
            let bytes = &state.files[&format!("/{repo}/resolve/{commit}/{file}")];
            let (size, oid) = (bytes.len(), oid(file, bytes));
            match is_large(file) {
                true => serde_json::json!({ "rfilename": file, "size": size, "blobId": COMMIT,
                    "lfs": { "sha256": oid, "size": size, "pointerSize": 130 } }),
                false => serde_json::json!({ "rfilename": file, "size": size, "blobId": oid }),
            }
        };
        let siblings: Vec<serde_json::Value> = files.iter().map(sibling).collect();
        let listing = serde_json::json!({ "id": repo, "modelId": repo, "private": false, "sha": commit,
            "tags": ["gguf", "license:mit"], "siblings": siblings });
        Some(listing.to_string().into_bytes())
    }
}

/// What the hub's own library asks before it fetches.
fn head_of(stream: &TcpStream, path: &str, content: &[u8]) -> std::io::Result<()> {
    let headers = [
        format!("X-Repo-Commit: {COMMIT}"),
        format!("ETag: \"{}\"", oid(path, content)),
        format!("Content-Length: {}", content.len()),
        "Accept-Ranges: bytes".to_owned(),
    ];
    let head = format!("HTTP/1.1 200 X\r\n{}\r\nConnection: close\r\n\r\n", headers.join("\r\n"));
    (&*stream).write_all(head.as_bytes())
}

fn respond(mut stream: &TcpStream, status: u16, headers: &[String], body: &[u8]) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    headers.iter().for_each(|h| head.push_str(&format!("{h}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)
}

/// Bytes from the first on, up to the last if there is one.
fn range_of(seen: &Seen) -> Option<(usize, Option<usize>)> {
    let (first, last) = seen.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, if last.is_empty() { None } else { Some(last.parse().ok()?) }))
}

/// Bytes that a request for a part asks for.
pub fn n_asked(seen: &Seen) -> usize {
    range_of(seen).and_then(|(first, last)| Some(last? + 1 - first)).expect("it asks for a part")
}

/// Sends the content as the request and the fault have it; `count` hears of the bytes of it that went out.
fn send(
    stream: &TcpStream,
    seen: &Seen,
    path: &str,
    content: &[u8],
    fault: Option<Fault>,
    count: &dyn Fn(usize),
) -> std::io::Result<()> {
    let tag = match &fault {
        Some(Fault::Tag(tag)) => (*tag).to_owned(),
        _ if path.contains("/resolve/") => format!("\"{}\"", oid(path, content)),
        _ => format!("\"{}\"", sha256(content)),
    };
    let is_same = seen.header("if-range").is_none_or(|asked| asked == tag);
    let asked = range_of(seen).filter(|_| is_same && !matches!(fault, Some(Fault::IgnoreRange)));
    if asked.is_some_and(|(from, _)| from >= content.len()) {
        let whole = format!("Content-Range: bytes */{}", content.len());
        return respond(stream, 416, &[whole], b"");
    }
    let from = asked.map_or(0, |(from, _)| from);
    let end = asked.and_then(|(_, last)| last).map_or(content.len(), |last| content.len().min(last + 1));
    let mut body = content[from..end].to_vec();
    let mut head = match asked {
        Some(_) => {
            let from = if matches!(fault, Some(Fault::WrongRange)) { from + 1 } else { from };
            format!("HTTP/1.1 206 X\r\nContent-Range: bytes {from}-{}/{}\r\n", end - 1, content.len())
        }
        None => "HTTP/1.1 200 X\r\n".to_owned(),
    };
    head.push_str(&format!("ETag: {tag}\r\nX-Repo-Commit: {COMMIT}\r\nConnection: close\r\n"));
    if let Some(Fault::WrongBytes) = fault {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    let length = match fault {
        Some(Fault::LieAboutLength(by)) => body.len() as i64 + by,
        _ => body.len() as i64,
    };
    let write = |bytes: &[u8]| {
        count(bytes.len());
        (&*stream).write_all(bytes)
    };
    match fault {
        Some(Fault::Endless) => {
            (&*stream).write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes())?;
            loop {
                (&*stream).write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
                write(&body)?;
                (&*stream).write_all(b"\r\n")?;
            }
        }
        ref fault => {
            (&*stream).write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())?;
            match fault {
                Some(Fault::Drop(n)) => write(&body[..*n.min(&body.len())]),
                Some(Fault::Stall(n, time)) => {
                    write(&body[..*n.min(&body.len())])?;
                    std::thread::sleep(*time);
                    Ok(())
                }
                Some(Fault::Trickle(n, pause)) => body.chunks(*n).try_for_each(|piece| {
                    std::thread::sleep(*pause);
                    write(piece)
                }),
                _ => write(&body),
            }
        }
    }
}
