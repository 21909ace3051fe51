//! Feedback through the real binary: said of answers, kept as numbers, learned from at the next start, forgotten.
#![cfg(feature = "demo")]

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "each test uses a part of it")]
mod server;

use std::fs;

use harness::Dir;
use serde_json::{Value as Json, json};
use server::{Server, chat};

const CHAT: &str = "/v1/chat/completions";
const FEEDBACK: &str = "/v1/ingle/feedback";
const STORY: &str = "Tell me a story.";

/// Somebody may be asked elsewhere, but nothing is worth it: so the server says how sure it is of its own answers.
fn policy(dir: &Dir) {
    let endpoint = "[[endpoint]]\nname = \"workstation\"\nurl = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\n";
    dir.file("config/ingle/route.toml", format!("{endpoint}[worth]\nright = 0.0\n"));
}

fn asked(server: &Server) -> (String, f64) {
    let ingle = server.post(CHAT, &chat(STORY, &json!({}))).json()["ingle"].clone();
    let told = || panic!("{ingle}");
    (
        ingle["id"].as_str().map_or_else(told, str::to_owned),
        ingle["confidence"].as_f64().unwrap_or_else(|| panic!("{ingle}")),
    )
}

fn say(server: &Server, id: &str, signal: &str) -> u16 {
    server.post(FEEDBACK, &json!({ "id": id, "signal": signal })).status
}

#[test]
fn answers_that_were_called_bad_are_believed_less_after_a_restart() {
    let dir = Dir::new();
    policy(&dir);
    let file = dir.path("state/ingle/feedback.jsonl");
    let first = {
        let server = Server::start(&dir, &["demo"]);
        let (id, first) = asked(&server);
        assert_eq!(say(&server, &id, "down"), 200);
        assert_eq!(say(&server, "answer-x", "down"), 404);
        for _ in 0..10 {
            assert_eq!(say(&server, &asked(&server).0, "down"), 200);
        }
        assert_eq!(asked(&server).1, first, "what is said counts from the next start on");
        first
    };
    // Eleven are too few: nothing has changed yet.
    let lesson = dir.ingle(&["route", "feedback", "--json"]).json();
    assert_eq!((&lesson["n"], &lesson["is_enough"]), (&11.into(), &false.into()), "{lesson}");
    assert!(
        dir.ingle(&["route", "feedback"]).ok().contains("it stands until there is feedback of weight 80")
    );
    let taught = {
        let server = Server::start(&dir, &["demo"]);
        let (id, second) = asked(&server);
        assert_eq!(second, first);
        // A word that is taken back is none, and a thumb outranks that somebody asks again.
        assert_eq!((say(&server, &id, "up"), say(&server, &id, "withdrawn")), (200, 200));
        for _ in 0..80 {
            let (id, _) = asked(&server);
            assert_eq!((say(&server, &id, "down"), say(&server, &id, "regenerated")), (200, 200));
        }
        dir.ingle(&["route", "feedback", "--json"]).json()
    };
    assert_eq!((&taught["n"], &taught["signals"]), (&91.into(), &json!([0, 91, 0, 0])), "{taught}");
    let [before, after] = ["before", "after"].map(|name| taught[name].as_f64().unwrap());
    assert!(taught["is_enough"] == true && (before - first).abs() < 1e-6 && after < before, "{taught}");
    let server = Server::start(&dir, &["demo"]);
    let (_, third) = asked(&server);
    eprintln!("right with {first:.3} before, {third:.3} after 91 thumbs down");
    assert!(third < first - 0.02 && (third - after).abs() < 1e-6, "{first} {third} {after}");
    let said = dir.ingle(&["route", "feedback"]).ok();
    assert!(said.starts_with("feedback on 91 answers: 0 good, 91 bad"), "{said}");
    assert!(dir.ingle(&["route", "explain", STORY]).run().stderr.contains("learned from 91 answers"));
    let deaf = Server::start(&dir, &["demo", "--feedback=false"]);
    let unmoved = deaf.post(CHAT, &chat(STORY, &json!({}))).json()["ingle"]["confidence"].as_f64();
    assert_eq!(unmoved, Some(first), "nothing is learned where nobody wants it");
    // Nothing of what was said is in the file.
    let rows = fs::read_to_string(&file).unwrap();
    let keys = |row: &str| serde_json::from_str::<Json>(row).unwrap().as_object().unwrap().len();
    assert!(rows.lines().all(|row| keys(row) == 4) && !rows.contains("story"), "{rows}");
    assert!(dir.ingle(&["route", "feedback", "--forget"]).run().stderr.contains("forgotten"));
    assert!(!file.exists());
    drop(server);
    assert_eq!(asked(&Server::start(&dir, &["demo"])).1, first);
}

#[test]
fn nothing_is_kept_where_nobody_wants_it() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["demo", "--feedback=false"]);
    let answer = server.post(CHAT, &chat(STORY, &json!({}))).json();
    assert!(answer["ingle"]["route"] == "here" && answer["ingle"]["id"].is_null(), "{answer}");
    assert_eq!(say(&server, "answer-x", "up"), 404);
    assert!(dir.ingle(&["route", "feedback"]).ok().contains("no feedback yet"));
    dir.ingle(&["route", "feedback", "x"]).fails(2, &["takes no PROMPT"]);
    dir.ingle(&["route", "explain", "x", "--forget"]).fails(2, &["--forget"]);
    dir.ingle(&["route", "explain"]).fails(2, &["PROMPT"]);
}

#[test]
fn a_file_that_is_not_ours_is_told_and_stops_nobody() {
    let dir = Dir::new();
    policy(&dir);
    dir.file("state/ingle/feedback.jsonl", "nonsense\n".repeat(3));
    assert!(dir.ingle(&["route", "feedback"]).run().stderr.contains("3 lines are no rows"));
    dir.file("state/ingle/feedback.jsonl", " ".repeat(5 << 20));
    dir.ingle(&["route", "feedback"]).fails(1, &["feedback.jsonl"]);
    let run = dir.ingle(&["run", "demo", STORY, "--max-tokens", "4"]).run();
    assert!(run.code == 0 && run.stderr.contains("nothing is learned from feedback"), "{run:?}");
}
