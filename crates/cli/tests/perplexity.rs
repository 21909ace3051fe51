//! Judging models as users do: bases of both forms, protocols, comparisons and tasks.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::fs;
use std::path::Path;

use harness::{Dir, tiny};
use serde_json::Value;

/// A text of five windows of 32 tokens for the tiny model.
fn text(dir: &Dir) -> String {
    dir.file("text.txt", "abcdefghijklmno".repeat(11))
}

/// `ingle perplexity` with the tiny model.
fn perplexity(dir: &Dir, args: &[&str]) -> harness::TestCommand {
    let tiny = tiny();
    let all: Vec<&str> = ["perplexity", &tiny].into_iter().chain(args.iter().copied()).collect();
    dir.ingle(&all)
}

/// The compact form sums a row in another order.
fn near(a: &Value, b: &Value) {
    let value = |v: &Value| v["value"].as_f64().unwrap();
    assert!((value(a) - value(b)).abs() < 1e-12 * value(a), "{a} {b}");
}

#[test]
fn a_model_is_its_own_base_in_both_forms() {
    let dir = Dir::new();
    let text = text(&dir);
    for compact in [&[][..], &["--compact"]] {
        let base = dir.path("base.bin").display().to_string();
        let saving = ["--file", &text, "--ctx", "32", "--json", "--save-base", &base];
        let alone = perplexity(&dir, &[&saving[..], compact].concat()).json();
        assert_eq!((alone["n_chunks"].as_u64(), alone["n_tokens"].as_u64()), (Some(5), Some(75)));
        assert_eq!(alone["protocol"], "half");
        let same = perplexity(&dir, &["--base", &base, "--json"]).json();
        near(&same["ppl"], &alone["ppl"]);
        assert_eq!(same["top1"]["value"], 1.0);
        for figure in ["mean", "median", "p99"] {
            let estimate = &same["kld"][figure];
            assert!(estimate["value"].as_f64().unwrap().abs() < 1e-5, "{same}");
            assert!(estimate["se"].is_number(), "{same}");
        }
        let table = perplexity(&dir, &["--base", &base, "--chunks", "2"]).ok();
        assert!(
            table.contains("divergence, median") && table.contains("30 tokens scored in 2 windows"),
            "{table}"
        );
        let cut = fs::read(&base).unwrap();
        let cut = dir.file("cut.bin", &cut[..cut.len() / 2]);
        let said = if compact.is_empty() { "ends early" } else { "truncated" };
        perplexity(&dir, &["--base", &cut]).fails(5, &["cut.bin", said]);
    }
    perplexity(&dir, &["--base", &text]).fails(5, &["_logits_"]);
    perplexity(&dir, &["--base", &dir.file("empty", "")]).fails(5, &["ends early"]);
    let short = dir.file("short.txt", "abc");
    perplexity(&dir, &["--file", &short]).fails(1, &["two windows"]);
}

#[test]
fn a_base_never_takes_the_models_place() {
    let dir = Dir::new();
    let (text, model) = (text(&dir), dir.file("m.gguf", fs::read(tiny()).unwrap()));
    for compact in [&[][..], &["--compact"]] {
        let words = ["perplexity", &model, "--file", &text, "--ctx", "32", "--save-base", "./m.gguf"];
        dir.ingle(&[&words[..], compact].concat()).fails(1, &["is the input itself"]);
        assert!(fs::read(&model).unwrap() == fs::read(tiny()).unwrap());
    }
    // Nor that of a folder's weights.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/words/model");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        dir.file(&format!("copy/{name}"), fs::read(&path).unwrap());
    }
    for compact in [&[][..], &["--compact"]] {
        let base = "copy/model.safetensors";
        let words = ["perplexity", "copy", "--file", &text, "--ctx", "32", "--save-base", base];
        dir.ingle(&[&words[..], compact].concat()).fails(1, &["is the input itself"]);
        assert!(fs::read(dir.path(base)).unwrap() == fs::read(folder.join("model.safetensors")).unwrap());
    }
}

#[test]
fn a_changed_compact_base_is_refused() {
    let dir = Dir::new();
    let (text, base) = (text(&dir), dir.path("base.bin").display().to_string());
    perplexity(&dir, &["--file", &text, "--ctx", "32", "--save-base", &base, "--compact"]).ok();
    let mut bytes = fs::read(&base).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&base, bytes).unwrap();
    perplexity(&dir, &["--base", &base]).fails(5, &["base.bin", "hash"]);
}

#[test]
fn protocols_are_told_apart() {
    let dir = Dir::new();
    let (text, base) = (text(&dir), dir.path("base.bin").display().to_string());
    let whole = ["--file", &text, "--ctx", "32", "--protocol", "whole"];
    let json = perplexity(&dir, &[&whole[..], &["--json"]].concat()).json();
    assert_eq!((json["protocol"].as_str(), json["n_tokens"].as_u64()), (Some("whole"), Some(155)));
    assert!(perplexity(&dir, &whole).ok().contains("protocol whole: 155 tokens scored in 5 windows of 32"));
    // llama.cpp's format can't say it; the compact one can, and who compares need not.
    perplexity(&dir, &[&whole[..], &["--save-base", &base]].concat())
        .fails(2, &["protocol half only", "--compact"]);
    perplexity(&dir, &[&whole[..], &["--save-base", &base, "--compact"]].concat()).ok();
    let again = perplexity(&dir, &["--base", &base, "--json"]).json();
    assert_eq!(again["protocol"], json["protocol"]);
    near(&again["ppl"], &json["ppl"]);
    perplexity(&dir, &["--base", &base, "--protocol", "half"]).fails(2, &["--protocol"]);
    perplexity(&dir, &["--file", &text, "--protocol", "third"]).fails(2, &["half", "whole"]);
    let out = perplexity(&dir, &["--file", &text, "--ctx", "80", "--json"]).run();
    assert!(out.code == 0 && out.stderr.contains("longer than the 64"), "{out:?}");
}

/// The demo, as it is and in two bits, beside itself in 16 bits.
#[test]
fn a_comparison_says_better_worse_or_nothing() {
    let dir = Dir::new();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/demo-f16.gguf");
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/golden/held-out.txt");
    let [base, small] = ["base.bin", "small.gguf"].map(|name| dir.path(name).display().to_string());
    let windows = ["--file", text, "--ctx", "128", "--chunks", "8"];
    dir.ingle(&[&["perplexity", demo][..], &windows, &["--save-base", &base, "--compact"]].concat()).ok();
    assert!(fs::metadata(&base).unwrap().len() < 8 * 63 * 600);
    dir.ingle(&["quantize", demo, &small, "Q2_K"]).ok();
    let verdict = |first: &str, second: &str| -> Vec<(String, String)> {
        let json = dir.ingle(&["perplexity", first, "--base", &base, "--compare", second, "--json"]).json();
        assert_eq!(json["reference"], "demo-f16.gguf");
        assert!(json["other"]["kld"]["mean"]["high"].is_number(), "{json}");
        let said = |d: &Value| (d["figure"].as_str().unwrap().into(), d["verdict"].as_str().unwrap().into());
        json["differences"].as_array().unwrap().iter().map(said).collect()
    };
    for (first, second, expected) in
        [("demo", &*small, "better"), (&*small, "demo", "worse"), ("demo", "demo", "no difference shown")]
    {
        let all = verdict(first, second);
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], ("divergence, mean".into(), expected.into()), "{all:?}");
    }
    let table = dir.ingle(&["perplexity", "demo", "--base", &base, "--compare", &small]).ok();
    assert!(table.contains(" better\n") && table.contains("\ndemo less "), "{table}");
    let tiny = tiny();
    dir.ingle(&["perplexity", "demo", "--base", &base, "--compare", &tiny]).fails(1, &["vocabulary"]);
    dir.ingle(&["perplexity", "demo", "--file", text, "--ctx", "16", "--compare", &tiny])
        .fails(1, &["other tokens", "same vocabulary"]);
}

/// The scores are those on record, made by the engine's own test.
#[test]
fn the_demos_tasks_score_what_is_recorded() {
    const N: usize = 12;
    let record = include_str!("../../../demo/scores-engine.json");
    let record: Value = serde_json::from_str(record).unwrap();
    let record = record["engine"][format!("seed 2026, {N} items per kind")].as_object().unwrap();
    let json = Dir::new().ingle(&["perplexity", "demo", "--tasks", "demo", "--items", "12", "--json"]).json();
    let tasks = json["tasks"].as_array().unwrap();
    assert_eq!((tasks.len(), json.get("ppl")), (record.len() + 1, None));
    let mut n_right = 0;
    for (task, (kind, right)) in tasks[1..].iter().zip(record) {
        assert_eq!(task["name"], format!("demo {kind}"));
        let found = (task["accuracy"]["value"].as_f64().unwrap() * N as f64).round();
        assert_eq!(Some(found as u64), right.as_u64(), "{kind}");
        assert!(task["accuracy"]["low"].as_f64().unwrap() > 0.3);
        n_right += found as usize;
    }
    let all = tasks[0]["accuracy"]["value"].as_f64().unwrap();
    assert!((all - n_right as f64 / (record.len() * N) as f64).abs() < 1e-12);
}

#[test]
fn questions_with_choices_are_put_to_a_model() {
    let dir = Dir::new();
    // Sums that the demo knows, in the words of its training, the right one at changing places.
    let question = |i: usize| {
        let (a, b) = (3 + i, 5 + 2 * i % 7);
        let wrong = a + b + 1 + i % 3;
        let prompt = format!("<|im_start|>user\nWhat is {a} + {b}?<|im_end|>\n<|im_start|>assistant\n");
        let choices = if i.is_multiple_of(2) { [a + b, wrong] } else { [wrong, a + b] };
        serde_json::json!({ "query": prompt, "choices": choices.map(|c| c.to_string()), "gold": i % 2 })
    };
    let lines: Vec<String> = (0..20).map(|i| question(i).to_string()).collect();
    let file = dir.file("sums.jsonl", lines.join("\n"));
    let json = dir.ingle(&["perplexity", "demo", "--tasks", &file, "--json"]).json();
    let tasks = json["tasks"].as_array().unwrap();
    let names: Vec<_> = tasks.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["sums.jsonl acc", "sums.jsonl acc_norm"]);
    assert_eq!(tasks[0]["n"], 20);
    let table =
        dir.ingle(&["perplexity", "demo", "--tasks", &file, "--items", "3", "--compare", "demo"]).ok();
    assert!(table.contains("sums.jsonl acc, of 3") && table.contains("no difference shown"), "{table}");

    let wrong = dir.file("wrong.jsonl", format!("{}\n{{\"query\": 3}}", lines[0]));
    dir.ingle(&["perplexity", "demo", "--tasks", &wrong]).fails(5, &["wrong.jsonl", "line 2"]);
    dir.ingle(&["perplexity", "demo", "--tasks", "none.jsonl"]).fails(3, &["none.jsonl"]);
    dir.ingle(&["perplexity", "demo"]).fails(2, &["--file"]);
    dir.ingle(&["perplexity", "demo", "--tasks", "demo", "--items", "101"]).fails(2, &["--items", "100"]);
}
