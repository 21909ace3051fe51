//! What would leave, and whether it may: the question at a terminal, played on a pseudo-terminal against a recording endpoint.
#![cfg(all(unix, feature = "demo"))]

#[expect(dead_code, reason = "the tests of the cloud leg use the rest")]
#[path = "../../route/tests/endpoint/mod.rs"]
mod endpoint;
#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use endpoint::{Manner, Recorder, start};
use harness::Dir;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long a test waits for the program.
const WAIT: Duration = Duration::from_secs(60);
/// Behind the question the program throws away what was typed before it; an answer is typed again until one is read.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
const QUESTION: &str = "Send it? [y/N]";

/// The program at a terminal.
struct Played {
    code: i32,
    stdout: String,
    /// What stood on the terminal.
    screen: String,
}

/// Runs `ingle` at a terminal on which `early` is typed at once, and `answer` behind the question.
fn play(dir: &Dir, args: &[&str], early: &str, answer: &str) -> Played {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = File::options().read(true).write(true).open(name).unwrap();
    let mut master = File::from(master);
    let mut command = dir.ingle(args).command;
    command.stdin(slave.try_clone().unwrap()).stderr(slave).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The program's own ends alone keep the terminal open.
    drop(command);
    let screen = Arc::<Mutex<Vec<u8>>>::default();
    let (mut reading, shown) = (master.try_clone().unwrap(), screen.clone());
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // A terminal whose last user is gone ends with an error.
        while let Ok(n @ 1..) = reading.read(&mut buffer) {
            shown.lock().unwrap().extend(&buffer[..n]);
        }
    });
    let shown = || String::from_utf8_lossy(&screen.lock().unwrap()).into_owned();
    master.write_all(early.as_bytes()).unwrap();
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap();
        }
        assert!(begun.elapsed() < WAIT, "the program waits: {}", shown());
        std::thread::sleep(AGAIN_AFTER);
        if shown().contains(QUESTION) {
            // It may have ended meanwhile.
            let _ = master.write_all(answer.as_bytes());
        }
    };
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    reader.join().unwrap();
    let screen = shown();
    Played { code, stdout, screen }
}

/// A policy that asks about everything.
fn policy(dir: &Dir, to: &Recorder) {
    let endpoint = format!("[[endpoint]]\nname = \"workstation\"\nurl = \"{}\"\nmodel = \"m\"\n", to.url);
    dir.file("config/ingle/route.toml", endpoint + "[[rule]]\nname = \"show me\"\nthen = \"ask\"\n");
}

const RUN: &[&str] = &["run", "demo", "Tell anna.berg@example.org\u{202e} a story.", "--route", "cloud"];

#[test]
fn what_would_leave_is_shown_and_leaves_after_a_yes() {
    let (dir, recorder) = (Dir::new(), start(|_| Manner::Says("Once upon a time.")));
    policy(&dir, &recorder);
    let played = play(&dir, RUN, "", "y\n");
    assert_eq!((played.code, played.stdout.trim()), (0, "Once upon a time."), "{}", played.screen);
    assert!(played.screen.contains("This would leave the device (rule \"show me\")"), "{}", played.screen);
    let seen = recorder.seen.lock().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    let sent = body["messages"][0]["content"].as_str().unwrap();
    // What was shown is what was sent, and nothing in it turned the line round.
    let shown: String = sent.chars().map(|c| if c == '\u{202e}' { '\u{fffd}' } else { c }).collect();
    assert!(
        played.screen.contains(&format!("user: {sent}")) || played.screen.contains(&format!("user: {shown}")),
        "{sent:?} {}",
        played.screen
    );
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_no_keeps_it_and_so_does_what_was_typed_before_the_question() {
    let (dir, recorder) = (Dir::new(), start(|_| Manner::Says("Once upon a time.")));
    policy(&dir, &recorder);
    for (early, answer) in [("", "n\n"), ("", "\n"), ("y\ny\n", "n\n"), ("", "yess\n")] {
        let played = play(&dir, RUN, early, answer);
        assert_eq!((played.code, played.stdout.as_str()), (6, ""), "{answer:?} {}", played.screen);
        assert!(
            played.screen.contains(QUESTION) && played.screen.contains("nobody agreed"),
            "{}",
            played.screen
        );
    }
    assert!(recorder.seen.lock().unwrap().is_empty());
    assert!(!dir.path("state/ingle/egress.jsonl").exists());
}
