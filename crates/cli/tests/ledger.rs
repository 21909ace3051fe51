//! What answers took, through the real binary.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::fs;

use harness::{Dir, tiny};

const SECRET: &str = "abcabcab";

fn answer<'a>(model: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    let args = ["run", model, SECRET, "--temperature", "0", "--max-tokens", "4"];
    args.into_iter().chain(extra.iter().copied()).collect()
}

#[test]
fn every_answer_is_a_row_without_its_text() {
    let dir = Dir::new();
    let tiny = tiny();
    dir.ingle(&["ledger"]).ok();
    for _ in 0..3 {
        dir.ingle(&answer(&tiny, &[])).ok();
    }
    let rows = fs::read_to_string(dir.path("state/ingle/ledger.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 3);
    assert!(!rows.contains(SECRET) && !rows.contains(".gguf"), "{rows}");
    let report = dir.ingle(&["ledger", "--json"]).json();
    assert_eq!((&report["places"][0]["place"], &report["places"][0]["n"]), (&"here".into(), &3.into()));
    assert_eq!(report["places"][0]["tokens_out"], 12);
    assert_eq!(report["energy"][0]["uj"]["n"], 3);
    assert_eq!(report["energy_compared"][0]["here"]["n"], report["energy_compared"][0]["there"]["n"]);
    let said = dir.ingle(&["ledger", "--since", "1h"]).ok();
    assert!(said.contains("answered here        3 of 3 (100.0 %)") && said.contains("ESTIMATED"), "{said}");
    assert!(dir.ingle(&["ledger", "--since", "2090-01-01"]).ok().contains("no requests"));
    dir.ingle(&["ledger", "--since", "soon"]).fails(2, &["soon", "expected a day"]);
    dir.ingle(&["ledger", "--html", "page.html"]).ok();
    assert!(fs::read_to_string(dir.path("page.html")).unwrap().contains("<svg"));
}

#[test]
fn no_row_is_kept_when_nobody_wants_it() {
    let dir = Dir::new();
    dir.ingle(&answer(&tiny(), &["--ledger=false"])).ok();
    dir.ingle(&answer(&tiny(), &[])).env("INGLE_LEDGER", "off").ok();
    assert!(!dir.path("state/ingle/ledger.jsonl").exists());
}

#[test]
fn a_tariff_makes_money_of_energy_and_a_wrong_one_is_told() {
    let dir = Dir::new();
    let tariff =
        "[electricity]\nper_kwh = 0.3\ncurrency = \"EUR\"\nsource = \"mine\"\ndate = \"2026-01-01\"\n";
    dir.file("config/ingle/ledger.toml", tariff);
    dir.ingle(&answer(&tiny(), &[])).ok();
    let said = dir.ingle(&["ledger"]).ok();
    assert!(said.contains("EUR") && said.contains("mine, 2026-01-01"), "{said}");
    dir.file("config/ingle/ledger.toml", "[electricity]\nper_kwh = 0.3\n");
    dir.ingle(&["ledger"]).fails(2, &["ledger.toml", "line 1", "currency"]);
}

#[test]
fn an_answer_says_what_it_took_and_by_what_it_is_known() {
    let dir = Dir::new();
    let took = dir.ingle(&answer(&tiny(), &["--json", "--rated-power", "15W"])).json()["took"].clone();
    let last = took["energy"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["energy"]["method"], &last["energy"]["scope"]),
        (&"MODELLED".into(), &"package".into())
    );
    assert!(last["source"].as_str().unwrap().starts_with("model: 15 W over "));
    assert!(took["plan"].is_null(), "nothing is governed unless somebody asks");
}

#[test]
fn a_power_limit_is_seen_and_changes_no_answer() {
    let dir = Dir::new();
    let tiny = tiny();
    let free = dir.ingle(&answer(&tiny, &["--threads", "4"])).ok();
    let out = dir.ingle(&answer(&tiny, &["--threads", "4", "--power-limit", "25%", "--stats"])).run();
    assert_eq!((out.code, &out.stdout), (0, &free));
    assert!(out.stderr.contains("held back by         power limit"), "{}", out.stderr);
    assert!(out.stderr.contains("in the end 1 thread, 100 % of the time"), "{}", out.stderr);
    let json = dir.ingle(&answer(&tiny, &["--threads", "4", "--power-limit", "2W", "--json"])).json();
    assert_eq!(json["took"]["plan"]["threads"], 1);
}

#[test]
fn days_are_those_of_the_users_clocks() {
    let dir = Dir::new();
    // The 1st of November 2026, 20:00 UTC.
    dir.file("state/ingle/ledger.jsonl", "{\"at_ms\":1793563200000,\"place\":\"here\"}\n");
    let days = |zone: &str, since: &str| {
        let report = dir.ingle(&["ledger", "--json", "--since", since]).env("TZ", zone).json();
        report["dates"][0].as_str().map(str::to_owned)
    };
    assert_eq!(days("UTC0", "2026-11-01").as_deref(), Some("2026-11-01"));
    assert_eq!(days("XXX-6", "2026-11-01").as_deref(), Some("2026-11-02"));
    assert_eq!(days("XXX-6", "2026-11-02").as_deref(), Some("2026-11-02"));
    assert_eq!(days("UTC0", "2026-11-02"), None);
    // A zone that nobody knows is UTC.
    assert_eq!(days("Nowhere/Land", "2026-11-01").as_deref(), Some("2026-11-01"));
}
