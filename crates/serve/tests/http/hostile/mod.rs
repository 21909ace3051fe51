//! Clients that mean no good, or are broken: what they send is refused or cut off, and others are answered meanwhile.

mod mutations;
mod silence;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ingle_serve::Limits;
use serde_json::json;

use crate::served::{CHAT, STORY, Server, chat, with};

/// A client that waits for its answer no longer than this is answered, on a machine that is busy with other things too.
const SOON: Duration = Duration::from_secs(20);

/// A connection without a request.
fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(3 * SOON)).unwrap();
    stream
}

/// All that comes until the server closes, which it must.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("the server holds the connection"),
        // A server that refuses before everything was read may reset.
        _ => bytes,
    }
}

/// What a server, which does not wait long, makes of raw bytes, each on a connection of its own.
fn raw(server: &Server, requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let send = |bytes: &Vec<u8>| {
        let mut stream = connect(server);
        let _ = stream.write_all(bytes);
        stream
    };
    let streams: Vec<TcpStream> = requests.iter().map(send).collect();
    streams.iter().map(rest).collect()
}

/// Limits that a test can wait for.
fn short() -> Limits {
    let short = Duration::from_millis(400);
    Limits { idle: 3 * short, head: short, body: short, stall: short, ..Limits::usual() }
}

/// The status of the first response in `bytes`, if there is any.
fn status(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// Somebody else is answered, soon.
fn is_well(server: &Server) {
    let begin = Instant::now();
    let (status, answer) = server.post(CHAT, &chat("Hello", json!({ "max_tokens": 4 })));
    assert_eq!(status, 200, "{answer}");
    assert!(begin.elapsed() < SOON, "it took {:?}", begin.elapsed());
}

/// Waits until no answer is computed.
fn falls_idle(server: &Server) {
    let begin = Instant::now();
    // Who waits has not begun yet.
    while server.metric("ingle_running") + server.metric("ingle_waiting") > 0 {
        assert!(begin.elapsed() < 2 * SOON, "it goes on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_no_request_is_refused_or_closed_upon() {
    let server = Server::limited(1, 8, &[], short());
    let post = |head: &str, body: &str| {
        format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{body}").into_bytes()
    };
    let get = |line: &str, head: &str| format!("{line}\r\n{head}\r\n").into_bytes();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let requests = [
        b"GET /\r\n".to_vec(),
        b"GET /\r\n\r\n".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        b"\0\0\0\0\0\0\0\0\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        vec![0xff; 5000],
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n".to_vec(),
        b"GET /health HTTP/1.1\r\nHost: local\xffhost\r\n\r\n".to_vec(),
        get("GET /health HTTP/9.9", "Host: localhost\r\n"),
        get("GET /health HTTP/1.1", "Host : localhost\r\n"),
        get("GET /health HTTP/1.1", ""),
        get("GET /health HTTP/1.0", ""),
        get("GET /health HTTP/1.1", "Host: localhost\r\nHost: evil.example\r\n"),
        get("GET http://evil.example/health HTTP/1.1", "Host: localhost\r\n"),
        get("GET http://localhost/health HTTP/1.1", "Host: evil.example\r\n"),
        get("CONNECT evil.example:443 HTTP/1.1", "Host: evil.example:443\r\n"),
        get("GET /health HTTP/1.1", "Host: localhost\r\nOrigin: null\r\n"),
        get("GET /../../etc/passwd HTTP/1.1", "Host: localhost\r\n"),
        get("GET /page/..%2f..%2fCargo.toml HTTP/1.1", "Host: localhost\r\n"),
        get("TRACE / HTTP/1.1", "Host: localhost\r\n"),
        post("Content-Length: -1\r\n", "{}"),
        post("Content-Length: 99999999999999999999999\r\n", "{}"),
        post("Content-Length: 2\r\nContent-Length: 20\r\n", "{}"),
        post("Content-Length: 20\r\n", "{}"),
        post("Content-Length: 1\r\n", "{}"),
        post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "5\r\n{\"a\":\r\n0\r\n\r\n"),
        post("Transfer-Encoding: gzip\r\n", "{}"),
        post(chunked, "zz\r\n{}\r\n0\r\n\r\n"),
        post(chunked, "FFFFFFFFFFFFFFFF\r\n{}"),
        post(chunked, "FFFFFFFFFFFFFFFFFFFFF\r\n{}"),
        post(chunked, "5\r\n{}"),
        post(chunked, "2\r\n{}xx0\r\n\r\n"),
        post(chunked, "-2\r\n{}\r\n"),
        post(chunked, &"1;".repeat(50_000)),
        post(chunked, &format!("2\r\n{{}}\r\n0\r\n{}", "x: y\r\n".repeat(50_000))),
    ];
    for (request, answer) in requests.iter().zip(raw(&server, &requests)) {
        let shown = String::from_utf8_lossy(&request[..request.len().min(90)]).into_owned();
        assert!(
            answer.is_empty() || status(&answer).is_some_and(|status| (400..500).contains(&status)),
            "{shown:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    is_well(&server);
}

#[test]
fn heads_are_limited_in_bytes_and_in_number() {
    let server = Server::limited(1, 8, &[], short());
    let get = |path: &str, head: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
    let heads = [
        get("/health", &format!("X: {}\r\n", "x".repeat(50_000))),
        get("/health", &format!("X: {}\r\n", "x".repeat(100_000))),
        get("/health", &"X: x\r\n".repeat(10_000)),
        get(&format!("/{}", "x".repeat(100_000)), ""),
        "X".repeat(1_000_000),
    ];
    let answers = raw(&server, &heads.map(String::into_bytes));
    assert_eq!(status(&answers[0]), Some(200), "it fits");
    for answer in &answers[1..] {
        assert!(answer.is_empty() || matches!(status(answer), Some(400 | 414 | 431)), "{answer:?}");
    }
    is_well(&server);
}

#[test]
fn bodies_that_are_no_json_are_refused_on_every_route() {
    let server = Server::start(1, 8, &[]);
    let bodies = [
        b"{\"content\": \"\xc3\x28\"}".to_vec(),
        b"{\"content\": \"a\0b\"}".to_vec(),
        b"\0".to_vec(),
        b"{\"content\": \"\\ud800\"}".to_vec(),
        b"{\"messages\": 1e999999}".to_vec(),
        [b"{\"messages\": ".to_vec(), vec![b'['; 100_000]].concat(),
        [vec![b'['; 100_000], vec![b']'; 100_000]].concat(),
        b"{\"a\":".repeat(100_000),
        format!("[{}1]", "1,".repeat(2_000_000)).into_bytes(),
        vec![b' '; 1_000_000],
        b"\xef\xbb\xbf{}".to_vec(),
    ];
    for (path, _) in mutations::ROUTES {
        for body in &bodies {
            let (status, _, text) = server.ask("POST", path, "", body);
            assert!(status == 400 && text.contains("\"error\""), "{path}: {status} {text}");
        }
    }
    is_well(&server);
}

#[test]
fn a_thousand_requests_in_one_breath_are_answered_in_order() {
    let server = Server::start(1, 8, &[]);
    let mut stream = connect(&server);
    let one = |i: usize| format!("GET /number/{i} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut all: String = (0..1000).map(one).collect();
    all.push_str("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let reader = stream.try_clone().unwrap();
    let answers = std::thread::spawn(move || rest(&reader));
    stream.write_all(all.as_bytes()).unwrap();
    let answers = String::from_utf8(answers.join().unwrap()).unwrap();
    let mut from = 0;
    for i in 0..1000 {
        let name = format!("/number/{i}:");
        from += answers[from..].find(&name).unwrap_or_else(|| panic!("{name} is not answered in its turn"));
    }
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 1000);
    assert!(answers.ends_with("{\"status\":\"ok\"}"));
    is_well(&server);
}

#[test]
fn an_answer_that_takes_too_long_ends_with_the_reason() {
    let limits = Limits { answer: Some(Duration::from_millis(400)), ..Limits::usual() };
    let server = Server::limited(1, 8, &[], limits);
    let asked = server.endless();
    let (status, whole) = server.post(CHAT, &with(asked.clone(), &json!({ "stream": false })));
    let message = whole["error"]["message"].as_str().unwrap();
    assert!(status == 504 && message.contains("0.4 s"), "{status} {message}");
    let (status, _, text) = server.ask("POST", CHAT, "", asked.to_string().as_bytes());
    let last = text.trim_end().rsplit("\n\n").nth(1).unwrap();
    assert!(status == 200 && last.contains("0.4 s") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(text.contains("\"content\":"), "what there was has been sent");
    // One that waits while the lane is taken waits no longer either.
    let taken = server.open("POST", CHAT, "", asked.to_string().as_bytes());
    let (status, waited) = server.post(CHAT, &with(asked, &json!({ "stream": false })));
    assert_eq!(status, 504, "{waited}");
    drop(taken);
    falls_idle(&server);
    is_well(&server);
}

#[test]
fn a_server_that_stops_tells_the_answers_that_it_ends() {
    let limits = Limits { drain: Duration::from_millis(200), ..Limits::usual() };
    let server = Server::limited(1, 8, &[], limits);
    let _silent: Vec<TcpStream> = (0..20).map(|_| connect(&server)).collect();
    let asked = server.endless();
    let mut stream = server.open("POST", CHAT, "", asked.to_string().as_bytes());
    stream.read_exact(&mut [0; 2000]).unwrap();
    let begin = Instant::now();
    let reader = std::thread::spawn(move || rest(&stream));
    drop(server);
    assert!(begin.elapsed() < SOON, "it took {:?}", begin.elapsed());
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    assert!(text.contains("the server is stopping") && text.contains("data: [DONE]"), "{text}");
}

#[test]
fn a_server_that_stops_does_not_wait_for_those_who_say_nothing() {
    let server = Server::limited(1, 8, &[], Limits { drain: 3 * SOON, ..Limits::usual() });
    let mut kept = connect(&server);
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    kept.read_exact(&mut [0; 100]).unwrap();
    let silent: Vec<TcpStream> = (0..20).map(|_| connect(&server)).collect();
    is_well(&server);
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < SOON, "it took {:?}", begin.elapsed());
    drop(silent);
}

#[test]
fn no_answer_repeats_a_secret() {
    let server = Server::start(1, 8, &["right-key-7314"]);
    let keys = ["right-key-7314", "wrong-key-9265"];
    for key in keys {
        let body = format!("{{\"{key}x\": 1, \"messages\": 3, \"api_key\": \"{key}\"}}");
        let heads = [
            format!("Authorization: Bearer {key}\r\n"),
            format!("X-Api-Key: {key}\r\nOrigin: http://evil.example\r\n"),
            format!("Authorization: {key}\r\n"),
            format!("Authorization: Basic {key}\r\nCookie: session={key}\r\n"),
        ];
        for head in &heads {
            for (method, path) in
                [("GET", "/v1/models"), ("GET", "/nothing"), ("PUT", "/v1/models"), ("POST", CHAT)]
            {
                let body =
                    if method == "POST" { body.replace(&format!("{key}x"), "x") } else { String::new() };
                let path = format!("{path}?key={key}");
                let (_, head, text) = server.ask(method, &path, head, body.as_bytes());
                assert!(!head.contains(key) && !text.contains(key), "{method} {path}: {head} {text}");
            }
        }
    }
}

#[test]
fn browsers_and_monitors_learn_what_they_need() {
    let server = Server::start(1, 8, &["key"]);
    let wanted = "authorization, content-type, x-api-key, anthropic-version, x-stainless-lang";
    let asks = format!(
        "Origin: https://friend.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: {wanted}\r\n"
    );
    let (status, head, _) = server.ask("OPTIONS", CHAT, &asks, b"");
    let head = head.to_lowercase();
    assert!(status == 204 && head.contains(&format!("access-control-allow-headers: {wanted}")), "{head}");
    assert!(head.contains("access-control-allow-methods: get, head, post"), "{head}");
    // A page may read why it was refused.
    for (path, words) in
        [("/v1/models", "code"), ("/v1/messages", "authentication_error"), ("/api/chat", "error")]
    {
        let (status, head, body) = server.ask("POST", path, "Origin: https://friend.example\r\n", b"{}");
        let head = head.to_lowercase();
        assert!(status == 401 && body.contains(words), "{path}: {body}");
        for told in ["access-control-allow-origin: https://friend", "nosniff", "www-authenticate: bearer"] {
            assert!(head.contains(told), "{path}: {told} is not in {head}");
        }
    }
    let (status, head, _) = server.ask("OPTIONS", CHAT, "Origin: https://evil.example\r\n", b"");
    assert!(status == 403 && !head.to_lowercase().contains("access-control-allow"), "{head}");
    for path in ["/", "/health", "/page/style.css", "/metrics", "/v1/models"] {
        let (status, head, body) = server.ask("HEAD", path, "Authorization: bearer key\r\n", b"");
        let head = head.to_lowercase();
        assert!(status == 200 && body.is_empty() && head.contains("content-length: "), "{path}: {head}");
        for seal in ["x-content-type-options: nosniff", "cross-origin-resource-policy: same-origin"] {
            assert!(head.contains(seal), "{path}: {head}");
        }
    }
    let (_, head, _) = server.ask("GET", "/", "", b"");
    let head = head.to_lowercase();
    for seal in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "no-referrer"] {
        assert!(head.contains(seal) && !head.contains("unsafe-inline"), "{head}");
    }
    let story = chat(STORY, json!({ "max_tokens": 4 })).to_string();
    assert_eq!(server.ask("POST", CHAT, "X-Api-Key: key\r\n", story.as_bytes()).0, 200);
}
