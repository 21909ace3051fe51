//! Clients that say nothing, or little, or do not listen.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ingle_serve::Limits;
use serde_json::json;

use super::{SOON, connect, falls_idle, is_well, rest, short, status};
use crate::served::{CHAT, Server, with};

/// Sends a byte at a time until the server has had enough; what it said, and after how long.
fn trickle(mut stream: TcpStream, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let begin = Instant::now();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut said = Vec::new();
    for byte in bytes.iter().cycle() {
        assert!(begin.elapsed() < SOON, "it listens on and on");
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(n) => said.extend_from_slice(&some[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    (said, begin.elapsed())
}

#[test]
fn a_head_that_trickles_is_cut_off() {
    let server = Server::limited(1, 8, &[], short());
    let streams: Vec<TcpStream> = (0..20).map(|_| connect(&server)).collect();
    let clients = streams.into_iter().map(|stream| {
        std::thread::spawn(move || trickle(stream, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: xxxx"))
    });
    let clients: Vec<_> = clients.collect();
    is_well(&server);
    for client in clients {
        let (said, after) = client.join().unwrap();
        assert!(said.is_empty() && after < SOON, "{said:?} {after:?}");
        assert!(after > Duration::from_millis(300), "it had its time: {after:?}");
    }
}

#[test]
fn a_body_that_trickles_is_refused() {
    let server = Server::limited(1, 8, &[], short());
    let mut stream = connect(&server);
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (said, after) = trickle(stream, b" ");
    assert!(after < SOON, "{after:?}");
    assert!(status(&said) == Some(408), "{}", String::from_utf8_lossy(&said));
    is_well(&server);
}

#[test]
fn a_connection_is_kept_between_requests_for_a_while() {
    let server = Server::limited(1, 8, &[], short());
    let mut stream = connect(&server);
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"{\"status\":\"ok\"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        // Longer than a head may take.
        std::thread::sleep(Duration::from_millis(600));
    }
    let begin = Instant::now();
    assert!(rest(&stream).is_empty());
    assert!(begin.elapsed() < SOON, "it is not kept for ever: {:?}", begin.elapsed());
}

#[test]
fn who_does_not_listen_gets_no_more_answer() {
    let server = Server::limited(2, 8, &[], short());
    // Many bytes to a token, so that what the system holds for the client is soon full.
    let asked = with(server.endless(), &json!({ "logprobs": true, "top_logprobs": 20, "n": 2 }));
    let stream = server.open("POST", CHAT, "", asked.to_string().as_bytes());
    let begin = Instant::now();
    while server.metric("ingle_running") == 0 {
        assert!(begin.elapsed() < SOON, "it is not computed");
    }
    let begin = Instant::now();
    while server.metric("ingle_running") > 0 {
        assert!(begin.elapsed() < 3 * SOON, "it is computed for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(stream);
    is_well(&server);
}

#[test]
fn who_goes_while_an_answer_is_waited_for_frees_its_lane() {
    let server = Server::start(1, 8, &[]);
    let asked = with(server.endless(), &json!({ "stream": false })).to_string();
    let ask = || server.open("POST", CHAT, "", asked.as_bytes());
    let clients = [ask(), ask(), ask()];
    let begin = Instant::now();
    while server.metric("ingle_running") + server.metric("ingle_waiting") < 3 {
        assert!(begin.elapsed() < SOON, "they are not computed");
    }
    drop(clients);
    falls_idle(&server);
    is_well(&server);
}

/// Opens `n` connections that say nothing and asks beside them.
fn silent_many(server: &Server, n: usize) -> Vec<TcpStream> {
    let mut silent = Vec::with_capacity(n);
    for i in 0..n {
        let mut stream = TcpStream::connect(server.address).unwrap();
        if i % 2 == 1 {
            stream.write_all(b"GET /health HT").unwrap();
        }
        silent.push(stream);
        if i % (n / 4) == 0 {
            is_well(server);
        }
    }
    is_well(server);
    silent
}

/// As many connections as `wanted`, or as descriptors allow for both of their ends.
fn n_connections(wanted: usize) -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let most = maximum.unwrap_or(1 << 20).min(1 << 20);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
        wanted.min((most as usize).saturating_sub(400) / 2)
    }
    #[cfg(not(unix))]
    wanted
}

#[test]
fn a_thousand_silent_connections_keep_nobody_waiting() {
    let server = Server::start(2, 8, &[]);
    let n = n_connections(1000);
    let silent = silent_many(&server, n);
    assert!(silent.len() >= 300, "descriptors for only {}", silent.len());
}

#[test]
#[ignore = "needs 20,000 descriptors and some seconds"]
fn ten_thousand_silent_connections_keep_nobody_waiting() {
    let server = Server::start(2, 8, &[]);
    let n = n_connections(10_000);
    let begin = Instant::now();
    let silent = silent_many(&server, n);
    println!("{} silent connections, {:?}", silent.len(), begin.elapsed());
    assert!(silent.len() >= 5000, "only {}", silent.len());
}

#[test]
fn where_all_places_are_taken_who_was_silent_for_longest_makes_room() {
    let server = Server::limited(2, 8, &[], Limits { connections_max: 30, ..Limits::usual() });
    // Answers under way are no silence.
    let mut busy = server.open("POST", CHAT, "", server.endless().to_string().as_bytes());
    busy.read_exact(&mut [0; 500]).unwrap();
    let silent = silent_many(&server, 120);
    assert!(rest(&silent[0]).is_empty(), "the first was closed");
    let mut last = silent.last().unwrap();
    last.write_all(b"TP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(status(&rest(last)), Some(200), "the last was not");
    busy.read_exact(&mut [0; 500]).unwrap();
}

#[test]
fn where_nobody_makes_room_the_next_waits_until_somebody_goes() {
    let server = Server::limited(2, 8, &[], Limits { connections_max: 2, ..Limits::usual() });
    let asked = server.endless().to_string();
    let mut busy = [(); 2].map(|()| server.open("POST", CHAT, "", asked.as_bytes()));
    busy.iter_mut().for_each(|stream| stream.read_exact(&mut [0; 500]).unwrap());
    let mut next = connect(&server);
    next.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    next.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(next.read(&mut [0; 1]).is_err(), "there is no place");
    next.set_read_timeout(Some(SOON)).unwrap();
    drop(busy);
    assert_eq!(status(&rest(&next)), Some(200));
}
