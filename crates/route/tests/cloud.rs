//! The cloud leg against endpoints that time out, are busy, stumble and cut their streams: an answer or a clear message, in time,
//! charged once, and every attempt in the log.

#[expect(dead_code, reason = "the tests of documents use the rest")]
mod endpoint;

use endpoint::{Clock, Manner, Recorder, client, log, start};
use ingle_route::cloud::plan::{Health, Limits};
use ingle_route::cloud::{Answer, Cloud, CloudError, Piece, Surroundings};
use ingle_route::egress::EgressLog;
use ingle_route::gate::{Gate, Message, Outgoing, Release, Role, Wanted};
use ingle_route::policy::{Endpoint, Policy, Situation};

struct Run {
    result: Result<Answer, CloudError>,
    said: String,
    voids: usize,
    waited_ms: u64,
    log: EgressLog,
}

fn policy(to: &[&Recorder], more: &str) -> Policy {
    let endpoint = |(i, r): (usize, &&Recorder)| {
        format!("[[endpoint]]\nname = \"e{i}\"\nurl = \"{}\"\nmodel = \"m{i}\"\n{more}\n", r.url)
    };
    Policy::parse("route.toml", &to.iter().enumerate().map(endpoint).collect::<String>()).unwrap()
}

fn outgoing(policy: &Policy) -> Outgoing {
    let messages = [
        Message { role: Role::System, text: "Be brief.".into() },
        Message { role: Role::User, text: "Is all well?".into() },
    ];
    match Gate::new(policy.clone()).release(&messages, &Wanted::default(), &Situation::default()) {
        Release::Released(outgoing) => outgoing,
        other => panic!("{other:?}"),
    }
}

fn ask(name: &str, to: &[&Recorder], more: &str, within_ms: u64) -> Run {
    let policy = policy(to, more);
    let (clock, log, client) = (Clock::default(), log(name), client(to));
    let limits = Limits { attempts: 3, wait_ms: 10, wait_max_ms: 5000, rest_ms: 60_000 };
    let cloud = Cloud { client: &client, log: &log, surroundings: &clock, limits };
    let endpoints: Vec<&Endpoint> = policy.endpoints.iter().collect();
    let (mut said, mut voids) = (String::new(), 0);
    let deadline = clock.now_ms() + within_ms;
    let result =
        cloud.ask(
            &outgoing(&policy),
            &endpoints,
            &mut Health::default(),
            deadline,
            &mut |piece| match piece {
                Piece::From(_) => {}
                Piece::Text(text) => said.push_str(text),
                Piece::Void => {
                    said.clear();
                    voids += 1;
                }
            },
        );
    Run { result, said, voids, waited_ms: clock.waited_ms(), log }
}

#[test]
fn an_answer_comes_with_its_tokens_and_is_logged_before() {
    let one = start(|_| Manner::Answers);
    let run = ask("answer", &[&one], "key = \"env:X\"", 5000);
    let answer = run.result.unwrap();
    assert_eq!((answer.text.as_str(), run.said.as_str()), ("All well.", "All well."));
    assert_eq!((answer.tokens_in, answer.tokens_out), (Some(11), Some(3)));
    let (entries, seen) = (run.log.verify().unwrap(), one.seen.lock().unwrap().clone());
    assert_eq!((entries.len(), seen.len()), (1, 1));
    assert_eq!(entries[0].bytes, seen[0].body.len() as u64);
    assert!(
        seen[0].head.to_ascii_lowercase().contains("authorization: bearer sk-of-the-test"),
        "{}",
        seen[0].head
    );
    let body: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!((body["model"].as_str(), body["messages"][0]["role"].as_str()), (Some("m0"), Some("system")));
    assert!(!std::fs::read_to_string(run.log.path()).unwrap().contains("all well"), "no text in the log");
}

#[test]
fn the_other_api_is_spoken_too() {
    let one = start(|_| Manner::Answers);
    ask("anthropic", &[&one], "api = \"anthropic\"\nkey = \"env:X\"", 5000).result.unwrap();
    let seen = one.seen.lock().unwrap().clone();
    let head = seen[0].head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/messages ") && head.contains("x-api-key: sk-of-the-test"), "{head}");
    let body: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!((body["system"].as_str(), body["messages"].as_array().unwrap().len()), (Some("Be brief."), 1));
}

#[test]
fn who_stumbles_is_asked_again_and_charged_once() {
    for (i, bad) in
        [Manner::Status(500, None), Manner::Cuts, Manner::Closes, Manner::Rubbish].into_iter().enumerate()
    {
        let one = start(move |n| if n < 2 { bad } else { Manner::Answers });
        let run = ask(&format!("again{i}"), &[&one], "", 5000);
        let answer = run.result.unwrap_or_else(|e| panic!("{bad:?}: {e}"));
        assert_eq!((answer.text.as_str(), run.said.as_str()), ("All well.", "All well."), "{bad:?}");
        assert_eq!((answer.tokens_in, answer.tokens_out), (Some(11), Some(3)));
        assert_eq!(run.voids, if bad == Manner::Cuts { 2 } else { 0 });
        let sent: u64 = run.log.verify().unwrap().iter().map(|entry| entry.bytes).sum();
        let seen: usize = one.seen.lock().unwrap().iter().map(|seen| seen.body.len()).sum();
        assert_eq!((sent, answer.bytes.out), (seen as u64, seen as u64), "{bad:?}");
    }
}

#[test]
fn who_is_busy_is_waited_for_as_long_as_it_asks_and_no_longer_than_there_is_time() {
    let one = start(|n| if n == 0 { Manner::Status(429, Some(3)) } else { Manner::Answers });
    let run = ask("busy", &[&one], "", 10_000);
    assert_eq!((run.result.unwrap().text.as_str(), run.waited_ms), ("All well.", 3000));
    let one = start(|_| Manner::Status(429, Some(3)));
    let two = start(|_| Manner::Answers);
    let run = ask("busier", &[&one, &two], "", 2000);
    assert_eq!((run.result.unwrap().endpoint, run.waited_ms), (1, 0));
}

#[test]
fn what_is_refused_is_not_repeated_there() {
    let (one, two) = (start(|_| Manner::Status(401, None)), start(|_| Manner::Answers));
    let run = ask("refused", &[&one, &two], "", 5000);
    assert_eq!(run.result.unwrap().endpoint, 1);
    assert_eq!(one.seen.lock().unwrap().len(), 1);
}

#[test]
fn an_answer_is_whole_once_it_says_so_whatever_the_connection_does() {
    for (name, manner, tokens) in [("stays", Manner::Stays, Some(3)), ("drops", Manner::Drops, None)] {
        let one = start(move |_| manner);
        let begun = std::time::Instant::now();
        let run = ask(name, &[&one], "", 5000);
        let answer = run.result.unwrap();
        assert_eq!((answer.text.as_str(), answer.tokens_out, run.voids), ("All well.", tokens, 0), "{name}");
        assert_eq!(one.seen.lock().unwrap().len(), 1, "{name}: asked once");
        assert!(begun.elapsed().as_millis() < 350, "{name}: {:?}", begun.elapsed());
    }
}

#[test]
fn an_answer_without_end_is_given_up_and_not_asked_for_again() {
    let (one, two) = (start(|_| Manner::Floods), start(|_| Manner::Answers));
    let run = ask("floods", &[&one, &two], "", 60_000);
    let answer = run.result.unwrap();
    assert_eq!((answer.endpoint, run.said.as_str(), run.voids), (1, "All well.", 1));
    assert_eq!(one.seen.lock().unwrap().len(), 1);
    assert!(answer.bytes.r#in < 9 << 20, "{}", answer.bytes.r#in);
}

#[test]
fn no_answer_is_a_sentence_in_time() {
    let (one, two) = (start(|_| Manner::Hangs), start(|_| Manner::Status(500, None)));
    let begun = std::time::Instant::now();
    let run = ask("nobody", &[&one, &two], "", 3000);
    let said = run.result.unwrap_err().to_string();
    assert!(begun.elapsed().as_millis() < 4000, "{:?}", begun.elapsed());
    assert!(
        said.contains("e0: ") && said.contains("e1: status 500: not now") && !said.contains('\n'),
        "{said}"
    );
    assert!(run.said.is_empty());
}

#[test]
fn nothing_leaves_without_its_log() {
    let one = start(|_| Manner::Answers);
    let broken = log("broken");
    std::fs::create_dir_all(broken.path()).unwrap();
    let policy = policy(&[&one], "");
    let (clock, client) = (Clock::default(), client(&[&one]));
    let cloud = Cloud { client: &client, log: &broken, surroundings: &clock, limits: Limits::default() };
    let endpoints: Vec<&Endpoint> = policy.endpoints.iter().collect();
    let deadline = clock.now_ms() + 1000;
    let said = cloud.ask(&outgoing(&policy), &endpoints, &mut Health::default(), deadline, &mut |_| {});
    assert!(said.unwrap_err().to_string().contains("nothing leaves without its log"));
    assert!(one.seen.lock().unwrap().is_empty());
}
