//! What routing by confidence is worth, through real servers: the device is the built-in model in the coarsest format, the cloud is the
//! same model's floats, behind `ingle serve` on another port, the gate, the policy and the log between them.
//!
//! `cargo test --release -p ingle-cli --test routed -- --ignored --nocapture`
//!
//! Every held-out task is asked three times: for the device's answer with the confidence that the server tells, for the cloud's,
//! and with the threshold that the other tasks gave, for whichever the server then chooses. Tasks that the gate keeps or redacts are
//! counted and left out, as the cloud's model was not trained on placeholders; those that fill gaps in code are not conversations.
#![cfg(feature = "demo")]

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;
#[expect(dead_code, reason = "each test uses a part of it")]
mod server;

use std::collections::HashSet;

use harness::Dir;
use ingle_demo::{Item, KINDS, Kind, Prompt, held_out};
use ingle_route::quality::{Curve, Interval, Label, interval};
use ingle_route::score::features;
use ingle_route::score::fit::{Row, choose_penalty, fit};
use serde_json::{Value as Json, json};
use server::Server;

const TOKENS_MAX: usize = 320;
const DRAWS: usize = 2000;
/// Requests at a time.
const AT_A_TIME: usize = 4;

/// A task that training has never seen.
struct Task {
    kind: &'static Kind,
    item: Item,
    body: Json,
    /// What a user would have written.
    text: String,
}

/// What came of it.
#[derive(Clone)]
struct Answer {
    text: String,
    right: bool,
    route: String,
    confidence: f64,
}

fn tasks(seed: u64, n: usize, seen: &mut HashSet<String>) -> Vec<Task> {
    let mut out = Vec::new();
    for kind in KINDS {
        let fresh = held_out(kind, seed, n).into_iter().filter(|item| !seen.contains(&item.contents[0]));
        for item in fresh.collect::<Vec<_>>() {
            let Prompt::Chat(messages) = &item.prompt else { continue };
            let told: Vec<Json> =
                messages.iter().map(|m| json!({ "role": m.role.name(), "content": m.text })).collect();
            let body = json!({ "messages": told, "temperature": 0, "max_tokens": TOKENS_MAX });
            let text = messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n");
            out.push(Task { kind, item, body, text });
        }
    }
    seen.extend(out.iter().map(|task| task.item.contents[0].clone()));
    out
}

/// The server's answers; `None` where a rule keeps a task that is asked of the cloud.
fn ask(server: &Server, tasks: &[Task], route: &str) -> Vec<Option<Answer>> {
    let one = |task: &Task| {
        let mut body = task.body.clone();
        body["route"] = route.into();
        let reply = server.post("/v1/chat/completions", &body);
        if reply.status == 403 {
            return None;
        }
        let told = reply.json();
        assert_eq!(reply.status, 200, "{told}");
        let choice = &told["choices"][0];
        let text = choice["message"]["content"].as_str().unwrap().to_owned();
        let is_whole = choice["finish_reason"] == "stop";
        Some(Answer {
            right: is_whole && (task.kind.judge)(&task.item, &text),
            text,
            route: told["ingle"]["route"].as_str().unwrap().to_owned(),
            confidence: told["ingle"]["confidence"].as_f64().unwrap_or(f64::NAN),
        })
    };
    let part = tasks.len().div_ceil(AT_A_TIME).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            tasks.chunks(part).map(|part| scope.spawn(|| part.iter().map(one).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

fn policy(dir: &Dir, cloud: &Server, right: f64, worth: f64) {
    let endpoint = format!(
        "[[endpoint]]\nname = \"cloud\"\nurl = \"{}/v1\"\nmodel = \"demo\"\nctx = 8192\n",
        cloud.address
    );
    let text = format!("{endpoint}right = {right:.6}\n[worth]\nright = {worth:.1}\n");
    dir.file("config/ingle/route.toml", text);
}

/// Tasks that may leave as they are, with both answers.
struct Answered {
    tasks: Vec<Task>,
    here: Vec<Answer>,
    there: Vec<Answer>,
    n_kept: usize,
    n_redacted: usize,
}

fn answered(device: &Server, tasks: Vec<Task>) -> Answered {
    let (here, there) = (ask(device, &tasks, "auto"), ask(device, &tasks, "cloud"));
    let mut out = Answered { tasks: vec![], here: vec![], there: vec![], n_kept: 0, n_redacted: 0 };
    for ((task, here), there) in tasks.into_iter().zip(here).zip(there) {
        match there {
            None => out.n_kept += 1,
            Some(there) if there.route == "redacted" => out.n_redacted += 1,
            Some(there) => {
                out.tasks.push(task);
                out.here.push(here.unwrap());
                out.there.push(there);
            }
        }
    }
    out
}

impl Answered {
    fn labels(&self) -> Vec<Label> {
        let both = self.here.iter().zip(&self.there);
        both.map(|(here, there)| Label { weak: here.right, strong: there.right }).collect()
    }

    fn doubts(&self) -> Vec<f64> {
        self.here.iter().map(|here| 1.0 - here.confidence).collect()
    }
}

/// The expected gain of each test prompt by a score that was fitted to the other ones.
fn prompt_scores(fitted: &Answered, test: &[Task]) -> Vec<f64> {
    let labels = fitted.labels();
    let row = |(task, label): (&Task, &Label)| Row { features: features(&task.text), gain: label.gain() };
    let rows: Vec<Row> = fitted.tasks.iter().zip(&labels).map(row).collect();
    let rows: Vec<&Row> = rows.iter().collect();
    let penalty = choose_penalty(&rows, |row| row.features.buckets.iter().map(|b| b.0 as usize).sum());
    let scorer = fit(&rows, penalty, "");
    test.iter().map(|task| scorer.gain(&task.text)).collect()
}

/// By how much the APGR of one router is above another's, on the same draws of questions.
fn compare(a: &[f64], b: &[f64], labels: &[Label]) -> Interval {
    let apgr = |scores: &[f64], places: &[usize]| {
        let (scores, labels): (Vec<f64>, Vec<Label>) = places.iter().map(|&i| (scores[i], labels[i])).unzip();
        Curve::new(&scores, &labels).apgr()
    };
    interval(labels.len(), DRAWS, 1, |places| apgr(a, places) - apgr(b, places))
}

/// Measures with `n` tasks of each kind to fit to, and as many to judge by: the gain in APGR.
fn measure(n: usize) -> Interval {
    let (dir, far) = (Dir::new(), Dir::new());
    let floats = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/demo-f16.gguf");
    let coarse = dir.path("coarse.gguf").display().to_string();
    dir.ingle(&["quantize", floats, &coarse, "Q2_K", "--pure"]).ok();
    let lanes = AT_A_TIME.to_string();
    let cloud = Server::start(&far, &[floats, "--model-name", "demo", "--parallel", &lanes]);
    // Nothing is worth anything: the device answers and says how sure it is.
    policy(&dir, &cloud, 0.95, 0.0);
    let device = Server::start(&dir, &[&coarse, "--parallel", &lanes]);
    let mut seen = HashSet::new();
    let [fitted, test] = [4, 5].map(|seed| answered(&device, tasks(seed, n, &mut seen)));
    drop(device);
    let (labels, doubts) = (test.labels(), test.doubts());
    let by_prompt = prompt_scores(&fitted, &test.tasks);
    let gained = compare(&doubts, &by_prompt, &labels);
    let oracle = Curve::oracle(&labels);
    let counted = (labels.len(), test.n_redacted, test.n_kept);
    eprintln!(
        "{} tasks that leave as they are, {} that leave redacted, {} that stay; here {:.3} right, there {:.3}",
        counted.0,
        counted.1,
        counted.2,
        oracle.weak(),
        oracle.strong()
    );
    for (name, scores) in [("by the prompt", &by_prompt), ("by confidence", &doubts)] {
        eprintln!("{name:14} APGR {:.3}", Curve::new(scores, &labels).apgr());
    }
    eprintln!("above the prompt's {:+.3} [{:+.3}, {:+.3}]", gained.value, gained.low, gained.high);
    chosen(&dir, &cloud, &coarse, &fitted, &test, &by_prompt);
    gained
}

/// Has the server choose by the threshold that sends half of the fitted tasks away, and holds what it does against both answers.
fn chosen(dir: &Dir, cloud: &Server, coarse: &str, fitted: &Answered, test: &Answered, by_prompt: &[f64]) {
    let mut sure: Vec<f64> = fitted.here.iter().map(|here| here.confidence).collect();
    sure.sort_by(f64::total_cmp);
    let threshold = sure[sure.len() / 2];
    policy(dir, cloud, threshold, 1.0);
    let device = Server::start(dir, &[coarse, "--parallel", &AT_A_TIME.to_string()]);
    let routed: Vec<Answer> = ask(&device, &test.tasks, "auto").into_iter().map(Option::unwrap).collect();
    for ((routed, here), there) in routed.iter().zip(&test.here).zip(&test.there) {
        let expected = if routed.route == "here" { here } else { there };
        assert_eq!(routed.text, expected.text, "the answer of the place that it says it is from");
        assert_eq!(
            routed.route == "there",
            here.confidence < (threshold * 1e6).round() / 1e6,
            "{}",
            here.confidence
        );
    }
    let n_there = routed.iter().filter(|answer| answer.route == "there").count();
    // As many by the prompt alone: those of the greatest gain.
    let mut order: Vec<usize> = (0..by_prompt.len()).collect();
    order.sort_by(|&a, &b| by_prompt[b].total_cmp(&by_prompt[a]));
    let mut right_by_prompt: Vec<bool> = test.here.iter().map(|here| here.right).collect();
    for &at in &order[..n_there] {
        right_by_prompt[at] = test.there[at].right;
    }
    let n = routed.len();
    let mean = |places: &[usize], right: &dyn Fn(usize) -> bool| {
        places.iter().filter(|&&at| right(at)).count() as f64 / places.len() as f64
    };
    let gained = interval(n, DRAWS, 1, |places| {
        mean(places, &|at| routed[at].right) - mean(places, &|at| right_by_prompt[at])
    });
    let all: Vec<usize> = (0..n).collect();
    eprintln!(
        "the server sent {n_there} of {n} away and is right in {:.3}; as many by the prompt {:.3}: {:+.3} [{:+.3}, {:+.3}]",
        mean(&all, &|at| routed[at].right),
        mean(&all, &|at| right_by_prompt[at]),
        gained.value,
        gained.low,
        gained.high
    );
}

#[test]
fn a_few_tasks_go_the_way_that_their_answers_say() {
    // Too few for a verdict; what the server does is held against both answers all the same.
    let gained = measure(6);
    assert!(gained.low <= gained.value && gained.value <= gained.high, "{gained:?}");
}

#[test]
#[ignore = "minutes; .ci/run --deep runs it"]
fn routing_by_confidence_beats_routing_by_the_prompt_over_http() {
    let gained = measure(100);
    assert!(gained.low > 0.0, "{gained:?}");
}
