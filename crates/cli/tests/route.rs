//! Here and there through the real binary: the cloud is played by our own server with the demo model.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "each test uses a part of it")]
mod server;

use std::fs;

use harness::{Dir, tiny};
use server::Server;

/// A policy with the server at `address` and more.
fn policy(dir: &Dir, address: &str, more: &str) {
    fs::create_dir_all(dir.path("config/ingle")).unwrap();
    let endpoint = format!(
        "[[endpoint]]\nname = \"workstation\"\nurl = \"{address}/v1\"\nmodel = \"demo\"\nctx = 4096\nright = 0.95\n"
    );
    fs::write(dir.path("config/ingle/route.toml"), format!("{endpoint}{more}")).unwrap();
}

const ASK: &[&str] = &["--temperature", "0", "--max-tokens", "12"];

fn run<'a>(model: &'a str, prompt: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", model, prompt], ASK, more].concat()
}

#[test]
fn the_cloud_is_off_until_it_is_configured_and_local_is_local() {
    let dir = Dir::new();
    dir.ingle(&run("demo", "Tell me a story.", &["--route", "cloud"]))
        .fails(6, &["stays on the device", "no endpoint"]);
    let said = dir.ingle(&["route", "explain", "Why is the sky blue?"]).ok();
    assert!(said.starts_with("local: no endpoint is configured"), "{said}");
    // An endpoint that nobody listens at is never missed by who asks for an answer from here.
    policy(&dir, "http://127.0.0.1:9", "");
    dir.ingle(&run("demo", "Tell me a story.", &["--route", "local"])).ok();
    assert!(!dir.path("state/ingle/egress.jsonl").exists());
    dir.ingle(&run("demo", "Tell me a story.", &["--route", "cloud", "--offline"]))
        .fails(6, &["rule \"offline\""]);
}

#[test]
fn an_answer_comes_from_elsewhere_is_logged_and_has_its_row() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["demo"]);
    policy(&dir, &server.address, "");
    let here = dir.ingle(&run("demo", "Tell me a story.", &["--route", "local"])).ok();
    let there = dir.ingle(&run("demo", "Tell me a story.", &["--route", "cloud"])).run();
    assert_eq!((there.code, there.stdout.trim()), (0, here.trim()), "{there:?}");
    assert!(there.stderr.contains("answered by workstation"), "{there:?}");
    let log = dir.ingle(&["privacy", "log", "--json"]).json();
    assert_eq!((&log["n"], &log["entries"][0]["endpoint"]), (&1.into(), &"workstation".into()), "{log}");
    assert!(dir.ingle(&["privacy", "log"]).ok().contains("to workstation (http://127.0.0.1:"));
    assert!(dir.ingle(&["privacy", "verify"]).ok().contains("holds together: 1 requests"));
    let report = dir.ingle(&["ledger", "--json"]).json();
    let places: Vec<_> = report["places"].as_array().unwrap().iter().filter(|p| p["n"] != 0).collect();
    assert_eq!(places.len(), 2, "{report}");
    assert!(places.iter().any(|p| p["place"] == "there" && p["tokens_out"] == 12), "{report}");
    // Somebody takes a line out.
    let file = dir.path("state/ingle/egress.jsonl");
    let line = fs::read_to_string(&file).unwrap();
    fs::write(&file, line.replace("workstation", "elsewhere..")).unwrap();
    dir.ingle(&["privacy", "verify"]).fails(5, &["egress.jsonl", "line 1", "changed"]);
    // Nothing leaves under a log that does not hold; the answer from here stands.
    fs::write(&file, "nonsense\n").unwrap();
    dir.ingle(&run("demo", "Tell me a story.", &["--route", "cloud"]))
        .fails(5, &["nothing leaves without its log"]);
}

#[test]
fn what_is_private_stays_or_is_taken_out() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["demo"]);
    policy(&dir, &server.address, "");
    let card = "Is 4111 1111 1111 1111 a good number?";
    dir.ingle(&run("demo", card, &["--route", "cloud"])).fails(6, &["CREDIT_CARD", "stays on the device"]);
    let said = dir.ingle(&["route", "explain", card]).ok();
    assert!(said.starts_with("local: rule \"secrets, money and identities stay\""), "{said}");
    assert!(said.contains("found: 1 CREDIT_CARD (financial)") && !said.contains("4111"), "{said}");
    let ledger = dir.ingle(&["ledger"]).ok();
    assert!(
        ledger.contains("refused              1 request, to be answered elsewhere, and kept"),
        "{ledger}"
    );
    dir.ingle(&run("demo", "Write to anna.berg@example.org", &["--route", "cloud"])).ok();
    let log = dir.ingle(&["privacy", "log", "--json"]).json();
    assert_eq!((&log["n"], &log["entries"][0]["redacted"][0]), (&1.into(), &"EMAIL_ADDRESS".into()), "{log}");
    let source = dir.ingle(&["route", "explain", "Summarise this", "--source", "knowledge", "--json"]).json();
    assert_eq!(source["action"], "local");
}

#[test]
fn what_is_piped_in_behind_a_question_stays() {
    let dir = Dir::new();
    policy(&dir, "http://127.0.0.1:9", "");
    let piped = |prompt: &str, text: &str| dir.ingle(&run("demo", prompt, &["--route", "cloud"])).stdin(text);
    piped("Summarise:", "The bridge is old.").fails(6, &["rule \"private sources stay\""]);
    // A question is the user's, whichever way it comes.
    piped("", "Why?").fails(7, &["workstation"]);
    piped("Why?", "").fails(7, &["workstation"]);
}

#[test]
fn an_unsure_answer_is_replaced_and_one_that_nobody_replaces_stands() {
    let dir = Dir::new();
    let server = Server::start(&Dir::new(), &["demo"]);
    let tiny = tiny();
    // Random weights are sure of nothing, and a right answer is worth a lot.
    policy(&dir, &server.address, "[worth]\nright = 10.0\n");
    let replaced = dir.ingle(&run(&tiny, "abc", &["--json"])).json();
    assert_eq!(replaced["answered_by"], "workstation", "{replaced}");
    let ledger = dir.ingle(&["ledger"]).ok();
    assert!(ledger.contains("answered here        0 of 1 (0.0 %)"), "{ledger}");
    assert!(ledger.contains("here                 1 answer (1 replaced)"), "{ledger}");
    // Worth nothing, nobody is asked.
    policy(&dir, &server.address, "[worth]\nright = 0.0\n");
    let stays = dir.ingle(&run(&tiny, "abc", &["--json"])).json();
    assert!(stays["answered_by"].is_null() && stays["text"].is_string(), "{stays}");
    // A budget that is used up.
    policy(&dir, &server.address, "[worth]\nright = 10.0\n[budget]\ntokens = 1\n");
    assert!(dir.ingle(&run(&tiny, "abc", &["--json"])).json()["answered_by"].is_null());
    // Nobody there: the answer from here stands, and the reader is told.
    policy(&dir, "http://127.0.0.1:9", "[worth]\nright = 10.0\n");
    let stands = dir.ingle(&run(&tiny, "abc", &[])).run();
    assert!(stands.code == 0 && stands.stderr.contains("the answer from this device stands"), "{stands:?}");
    dir.ingle(&run("demo", "Tell me a story.", &["--route", "cloud"]))
        .fails(7, &["no answer from elsewhere", "workstation"]);
}

#[test]
fn hours_of_rules_are_those_of_the_users_clocks() {
    let dir = Dir::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60;
    // Half an hour around what clocks show six hours east of Greenwich.
    let at = |minute: u64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    let there = now + 6 * 60;
    let rule = format!(
        "[[rule]]\nname = \"now\"\nwhen = {{ hours = \"{}-{}\" }}\nthen = \"local\"\n",
        at(there - 15),
        at(there + 15)
    );
    policy(&dir, "http://127.0.0.1:9", &rule);
    let said = |zone: &str| dir.ingle(&["route", "explain", "Why is the sky blue?"]).env("TZ", zone).ok();
    assert!(said("XXX-6").starts_with("local: rule \"now\""), "{}", said("XXX-6"));
    assert!(said("UTC0").starts_with("allow"), "{}", said("UTC0"));
}

#[test]
fn rules_know_whether_the_network_is_metered_and_people_who_says_so() {
    let dir = Dir::new();
    let rule = "[[rule]]\nname = \"no bytes to pay\"\nwhen = { network = [\"metered\"] }\nthen = \"local\"\n";
    policy(&dir, "http://127.0.0.1:9", rule);
    let explained = |more: &[&str]| {
        dir.ingle(&[&["route", "explain", "Why is the sky blue?"], more].concat())
            .env("INGLE_NETWORK", "auto")
    };
    let said = explained(&["--network", "metered"]).ok();
    assert!(said.starts_with("local: rule \"no bytes to pay\""), "{said}");
    assert!(said.contains("network: metered (the setting network)"), "{said}");
    assert!(explained(&["--network", "unmetered"]).ok().starts_with("allow"));
    let said = explained(&["--offline"]).ok();
    assert!(said.contains("network: offline (the setting offline)"), "{said}");
    // Whatever this machine has, it is said what was seen.
    let seen = explained(&["--json"]).json();
    assert!(seen["network"]["seen"].as_str().is_some_and(|seen| !seen.is_empty()), "{seen}");
    dir.ingle(&run("demo", "Tell me a story.", &["--route", "cloud", "--network", "metered"]))
        .fails(6, &["rule \"no bytes to pay\""]);
}

#[test]
fn an_answer_that_gets_too_unsure_is_given_up_where_the_policy_says_so() {
    let dir = Dir::new();
    let server = Server::start(&Dir::new(), &["demo"]);
    let tiny = tiny();
    // Random weights are below any bar.
    let abort = "[worth]\nright = 10.0\n[abort]\nafter_tokens = 4\npart = 0.5\nbelow_nats = 1000.0\n";
    policy(&dir, &server.address, abort);
    let replaced = dir.ingle(&run(&tiny, "abc", &[])).run();
    assert!(
        replaced.code == 0 && replaced.stderr.contains("too unsure to be completed, and is void"),
        "{replaced:?}"
    );
    assert!(replaced.stderr.contains("answered by workstation"), "{replaced:?}");
    let rows = fs::read_to_string(dir.path("state/ingle/ledger.jsonl")).unwrap();
    let here = rows.lines().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap());
    let n_out: Vec<u64> =
        here.filter(|row| row["place"] == "here").map(|row| row["tokens_out"].as_u64().unwrap()).collect();
    assert!(n_out.len() == 1 && (4..8).contains(&n_out[0]), "of 12 tokens: {rows}");
    // Nobody else answers: this device does, as it would have.
    let whole = dir.ingle(&run(&tiny, "abc", &["--route", "local"])).ok();
    policy(&dir, "http://127.0.0.1:9", abort);
    let stands = dir.ingle(&run(&tiny, "abc", &[])).run();
    assert_eq!((stands.code, &stands.stdout), (0, &whole), "{stands:?}");
    assert!(stands.stderr.contains("this device answers, to the end"), "{stands:?}");
    // Where asking elsewhere is worth nothing, none is given up.
    policy(&dir, &server.address, &abort.replace("10.0", "0.0"));
    assert_eq!(dir.ingle(&run(&tiny, "abc", &[])).ok(), whole);
}
