//! What may be spent in a day, against endpoints: whoever asks, however many at once, and whatever an endpoint says that it counted.

#[expect(dead_code, reason = "the tests of single attempts use the rest")]
mod endpoint;

use std::sync::{Arc, Mutex};

use endpoint::{Clock, Manner, Recorder, client, log, start};
use ingle_route::cloud::{CloudError, Surroundings};
use ingle_route::confidence::Learned;
use ingle_route::desk::{Desk, Router, Way};
use ingle_route::gate::{Message, Role, Wanted};
use ingle_route::ledger::{Book, LedgerFile, Place, Row};
use ingle_route::policy::{Policy, Situation, Wish};

/// Money per million tokens, of the dear model and of the cheap one.
const PRICES: &str = r#"
[[price]]
model = "dear"
input_per_million = 100.0
output_per_million = 100.0
currency = "USD"
source = "the test"
date = "2026-11-01"
[[price]]
model = "cheap"
input_per_million = 1.0
output_per_million = 1.0
currency = "USD"
source = "the test"
date = "2026-11-01"
"#;

fn desk(name: &str, to: &[(&Recorder, &str)], budget: &str) -> Arc<Desk> {
    let endpoint = |(at, model): &(&Recorder, &str)| {
        format!("[[endpoint]]\nname = \"{model}\"\nurl = \"{}\"\nmodel = \"{model}\"\n", at.url)
    };
    let text = to.iter().map(endpoint).collect::<String>() + budget;
    let log = log(name);
    Arc::new(Desk {
        policy: Policy::parse("route.toml", &text).unwrap(),
        book: Book::parse(PRICES).unwrap(),
        confidence: Learned::from_rows(&[]),
        zone: |_| 0,
        ledger: LedgerFile::new(log.path().with_file_name("ledger.jsonl")),
        keeps_rows: true,
        log,
        resting: Mutex::default(),
        promised: Mutex::default(),
    })
}

/// The way of a question whose answer has 100 tokens at most.
fn router(desk: &Arc<Desk>) -> Box<Router> {
    let messages = [Message { role: Role::User, text: "Is all well?".into() }];
    let wanted = Wanted { max_tokens: Some(100), ..Wanted::default() };
    match desk.way(&messages, &wanted, &Situation { wish: Wish::Cloud, ..Situation::default() }) {
        Way::Open(router) => router,
        _ => panic!("it may leave"),
    }
}

fn ask(desk: &Arc<Desk>, to: &[&Recorder]) -> Result<String, CloudError> {
    let answered = router(desk).ask(&client(to), &Clock::default(), None, &mut |_| {})?;
    Ok(answered.endpoint)
}

fn n_seen(at: &Recorder) -> usize {
    at.seen.lock().unwrap().len()
}

#[test]
fn who_asks_for_elsewhere_is_held_to_the_budget_too() {
    let one = start(|_| Manner::Answers);
    // A request is expected to take 103 tokens and takes 14.
    let desk = desk("tokens", &[(&one, "cheap")], "[budget]\ntokens = 120\n");
    assert_eq!(ask(&desk, &[&one]).unwrap(), "cheap");
    assert_eq!(ask(&desk, &[&one]).unwrap(), "cheap");
    let said = ask(&desk, &[&one]).unwrap_err().to_string();
    assert!(said.contains("cheap: it would take more than is left of the day's budget"), "{said}");
    assert_eq!(n_seen(&one), 2);
    assert_eq!(desk.log.verify().unwrap().len(), 2);
    let given_back = *desk.promised.lock().unwrap();
    assert_eq!((given_back.money, given_back.tokens), (0.0, 0));
}

#[test]
fn a_dearer_endpoint_is_no_fallback_where_only_the_cheaper_one_is_paid_for() {
    let (cheap, dear) = (start(|_| Manner::Status(401, None)), start(|_| Manner::Answers));
    let to = [(&cheap, "cheap"), (&dear, "dear")];
    // A request is expected to cost 0.0001 and 0.0103.
    let poor = desk("poor", &to, "[budget]\nmoney = 0.001\n");
    let said = ask(&poor, &[&cheap, &dear]).unwrap_err().to_string();
    assert!(said.contains("cheap: status 401") && said.contains("dear: it would take more"), "{said}");
    assert_eq!((n_seen(&cheap), n_seen(&dear)), (1, 0));
    let rich = desk("rich", &to, "[budget]\nmoney = 1.0\n");
    assert_eq!(ask(&rich, &[&cheap, &dear]).unwrap(), "dear");
}

#[test]
fn requests_at_the_same_time_share_one_budget() {
    let one = start(|_| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        Manner::Answers
    });
    let desk = desk("parallel", &[(&one, "cheap")], "[budget]\ntokens = 250\n");
    let n_answered: usize = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(&desk, &[&one]).is_ok())).collect();
        asked.into_iter().map(|asked| usize::from(asked.join().unwrap())).sum()
    });
    assert_eq!((n_answered, n_seen(&one)), (2, 2), "two of 103 tokens fit in 250");
}

#[test]
fn counts_without_measure_do_not_make_the_budget_new() {
    let one = start(|_| Manner::Answers);
    let desk = desk("overflow", &[(&one, "cheap")], "[budget]\ntokens = 1000\nmoney = 1.0\n");
    let now_ms = Clock::default().now_ms();
    for tokens_in in [u64::MAX, 5] {
        let row = Row { tokens_in, tokens_out: 7, ..Row::new(now_ms, Place::There) };
        desk.ledger.append(&row).unwrap();
    }
    assert!(ask(&desk, &[&one]).is_err());
    assert_eq!(n_seen(&one), 0);
}
