//! Nothing private leaves: generated conversations with planted values, random policies, endpoints that misbehave. Not one planted value
//! may reach the endpoint, and the log has every byte that did. `--ignored` runs ten thousand requests.

#[expect(dead_code, reason = "the tests of the cloud leg use the rest")]
mod endpoint;
#[path = "private/generator.rs"]
mod generator;

use endpoint::{Clock, Manner, client, log, start};
use generator::{Dice, KINDS, decoys, samples};
use ingle_route::cloud::plan::{Health, Limits};
use ingle_route::cloud::{Cloud, Surroundings};
use ingle_route::egress::sha256_of;
use ingle_route::gate::{Gate, Message, Release, Role, Wanted};
use ingle_route::policy::{Endpoint, Network, Policy, Situation, Wish};

/// A policy that loosens and tightens at random; no rule of it lets out what the built-in ones keep.
fn policy(dice: &mut Dice, urls: &[&str]) -> Policy {
    let mut text = String::new();
    for (i, url) in urls.iter().enumerate().take(1 + dice.below(urls.len())) {
        text += &format!("[[endpoint]]\nname = \"e{i}\"\nurl = \"{url}\"\nmodel = \"m\"\n");
    }
    let classes = ["secret", "financial", "identity", "contact", "person", "place", "network"];
    for i in 0..dice.below(4) {
        let (class, action) = (dice.pick(&classes), dice.pick(&["allow", "redact", "ask", "local"]));
        let when = match dice.below(4) {
            0 => String::new(),
            1 => "when = { app = [\"mail\"] }\n".to_owned(),
            2 => "when = { network = [\"metered\"] }\n".to_owned(),
            _ => format!("when = {{ class = [\"{class}\"] }}\n"),
        };
        text += &format!("[[rule]]\nname = \"r{i}\"\n{when}then = \"{action}\"\n");
    }
    Policy::parse("route.toml", &text).unwrap()
}

fn situation(dice: &mut Dice) -> Situation {
    Situation {
        wish: [Wish::Auto, Wish::Cloud, Wish::Auto, Wish::Local][dice.below(4)],
        app: [None, Some("mail".to_owned())][dice.below(2)].clone(),
        sources: if dice.below(8) == 0 { vec!["knowledge".into()] } else { Vec::new() },
        network: [None, Some(Network::Metered), Some(Network::Unmetered)][dice.below(3)],
        ..Situation::default()
    }
}

fn run(n_requests: usize, name: &str) {
    let manner = |n: usize| match n % 11 {
        1 => Manner::Status(500, None),
        3 => Manner::Cuts,
        5 => Manner::Status(429, Some(1)),
        6 => Manner::Closes,
        8 => Manner::Rubbish,
        _ => Manner::Answers,
    };
    let (one, two) = (start(manner), start(manner));
    let (client, log, clock) = (client(&[&one, &two]), log(name), Clock::default());
    let limits = Limits { attempts: 3, wait_ms: 5, wait_max_ms: 2000, rest_ms: 50 };
    let cloud = Cloud { client: &client, log: &log, surroundings: &clock, limits };
    let mut dice = Dice(7);
    let per_kind = n_requests.div_ceil(KINDS.len());
    let mut planted = Vec::new();
    for kind in KINDS {
        planted.extend(samples(kind, per_kind, 99));
    }
    let harmless = decoys(n_requests / 4, 99);
    // Addresses of machines are no private class: only a rule keeps them.
    let (mut canaries, mut tainted) = (Vec::new(), Vec::new());
    let (mut n_released, mut n_kept, mut n_asked) = (0, 0, 0);
    for sample in planted.iter().chain(&harmless) {
        let policy = policy(&mut dice, &[&one.url, &two.url]);
        let situation = situation(&mut dice);
        let word = format!("canary{:016x}", dice.next());
        let mut text = sample.text.clone();
        if !situation.sources.is_empty() {
            text = format!("{text} {word}");
            tainted.push(word);
        }
        for (kind, span) in sample.planted.iter().filter(|(kind, _)| *kind != "IP_ADDRESS") {
            canaries.push((*kind, sample.text[span.clone()].to_owned()));
        }
        let mut messages = vec![Message { role: Role::User, text }];
        if dice.below(2) == 0 {
            messages.insert(0, Message { role: Role::System, text: "You help.".into() });
        }
        let mut gate = Gate::new(policy.clone());
        let outgoing = match gate.release(&messages, &Wanted::default(), &situation) {
            Release::Released(outgoing) => outgoing,
            Release::Ask(question) => {
                n_asked += 1;
                question.agreed()
            }
            Release::Kept(_) => {
                n_kept += 1;
                continue;
            }
        };
        n_released += 1;
        let endpoints: Vec<&Endpoint> = policy.endpoints.iter().collect();
        // No answer is no leak.
        let deadline = clock.now_ms() + 5000;
        let _ = cloud.ask(&outgoing, &endpoints, &mut Health::default(), deadline, &mut |_| {});
    }
    println!("{n_released} released ({n_asked} after a question), {n_kept} kept");
    assert!(n_released > n_requests / 10 && n_kept > n_requests / 10 && n_asked > 0);
    let mut seen = one.seen.lock().unwrap().clone();
    seen.extend(two.seen.lock().unwrap().clone());
    let everything: Vec<String> = seen
        .iter()
        .map(|seen| {
            format!("{}\n{}", seen.head, serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap())
        })
        .collect();
    let everything = everything.join("\n");
    for (kind, value) in &canaries {
        let escaped = serde_json::to_string(value).unwrap();
        assert!(!everything.contains(escaped.trim_matches('"')), "{kind}: {value:?} left");
    }
    for word in &tainted {
        assert!(!everything.contains(word.as_str()), "{word} left");
    }
    // The log has every body that arrived, and no other.
    let mut logged: Vec<(u64, String)> =
        log.verify().unwrap().into_iter().map(|entry| (entry.bytes, entry.sha256)).collect();
    let mut arrived: Vec<(u64, String)> =
        seen.iter().map(|seen| (seen.body.len() as u64, sha256_of(&seen.body))).collect();
    logged.sort();
    arrived.sort();
    assert_eq!(logged.len(), arrived.len());
    assert!(logged == arrived);
}

#[test]
fn nothing_planted_reaches_the_endpoint_and_the_log_has_every_byte() {
    run(600, "leak");
}

#[test]
#[ignore = "ten thousand requests: minutes"]
fn nothing_planted_reaches_the_endpoint_in_ten_thousand_requests() {
    run(10_000, "leak-deep");
}
