//! `ingle bench` as scripts and people meet it: fields, counts made by hand, and floors that hold.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::collections::BTreeMap;
use std::path::Path;

use harness::{Dir, tiny};
use serde_json::Value;

/// Fields of every row of a model, each with whether it is a number, a text or a list.
const FIELDS: &[(&str, fn(&Value) -> bool)] = &[
    ("engine", Value::is_string),
    ("model_filename", Value::is_string),
    ("model_type", Value::is_string),
    ("model_size", Value::is_u64),
    ("model_n_params", Value::is_u64),
    ("n_batch", Value::is_u64),
    ("n_ubatch", Value::is_u64),
    ("n_threads", Value::is_u64),
    ("type_k", Value::is_string),
    ("type_v", Value::is_string),
    ("n_prompt", Value::is_u64),
    ("n_gen", Value::is_u64),
    ("n_depth", Value::is_u64),
    ("avg_ns", Value::is_u64),
    ("stddev_ns", Value::is_u64),
    ("avg_ts", Value::is_f64),
    ("stddev_ts", Value::is_f64),
    ("samples_ns", Value::is_array),
    ("samples_ts", Value::is_array),
    ("test", Value::is_string),
    ("tier", Value::is_string),
    ("file_size", Value::is_u64),
    ("gop_per_s", Value::is_f64),
];
/// Fields of some rows: of some tests, or where the machine says what they need.
const SOME: &[(&str, fn(&Value) -> bool)] = &[
    ("cpu_info", Value::is_string),
    ("peak_rss", Value::is_u64),
    ("n_step", Value::is_u64),
    ("step_ms", Value::is_f64),
    ("step_ratio", Value::is_f64),
    ("bytes_per_token", Value::is_f64),
    ("gb_per_s", Value::is_f64),
    ("read_limit_gb_per_s", Value::is_f64),
    ("read_limit_after_gb_per_s", Value::is_f64),
    ("share_of_read", Value::is_f64),
    ("int8_limit_gop_per_s", Value::is_f64),
    ("f32_limit_gop_per_s", Value::is_f64),
    ("share_of_peak", Value::is_f64),
];

/// The rows of `ingle bench -o json` with these arguments, by test; each is checked against the fields.
fn bench(args: &[&str]) -> BTreeMap<String, Value> {
    let all: Vec<&str> = ["bench", "-o", "json"].iter().chain(args).copied().collect();
    let json = Dir::new().ingle(&all).json();
    let rows = json.as_array().expect("an array").iter();
    rows.map(|row| {
        let fields = row.as_object().expect("of objects");
        for (name, is) in FIELDS {
            assert!(fields.get(*name).is_some_and(is), "{name}: {row}");
        }
        for (name, value) in fields {
            let known = FIELDS.iter().chain(SOME).find(|(known, _)| known == name);
            assert!(known.is_some_and(|(_, is)| is(value)), "{name}: {row}");
        }
        (row["test"].as_str().unwrap().to_owned(), row.clone())
    })
    .collect()
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"))
}

#[test]
fn rows_have_llama_benchs_fields_and_ours() {
    let rows = bench(&["-m", &tiny(), "-t", "2", "-p", "8", "-n", "4", "--pg", "8,4", "-d", "8", "-r", "2"]);
    let names: Vec<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(names, ["pp8 @ d8", "pp8+tg4 @ d8", "tg4 @ d8"]);
    for (name, row) in &rows {
        let counts = ["n_prompt", "n_gen", "n_depth", "n_threads"].map(|n| row[n].as_u64().unwrap());
        let expected = match name.as_str() {
            "pp8 @ d8" => [8, 0, 8, 2],
            "tg4 @ d8" => [0, 4, 8, 2],
            _ => [8, 4, 8, 2],
        };
        assert_eq!(counts, expected, "{name}");
        let samples: Vec<f64> =
            row["samples_ns"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(samples.len(), 2);
        let mean = samples.iter().sum::<f64>() / 2.0;
        assert!((number(row, "avg_ns") - mean).abs() <= 1.0, "{row}");
        let tokens = (counts[0] + counts[1]) as f64;
        let rate = samples.iter().map(|ns| tokens / ns * 1e9).sum::<f64>() / 2.0;
        assert!((number(row, "avg_ts") / rate - 1.0).abs() < 1e-3, "{row}");
    }
}

#[test]
fn shares_are_of_the_limits_beside_them() {
    let rows = bench(&["-m", &tiny(), "-t", "1", "-p", "8", "-n", "4", "-r", "1"]);
    for row in rows.values() {
        let seconds = number(row, "avg_ns") / 1e9;
        let tokens = number(row, "n_prompt") + number(row, "n_gen");
        let rate = number(row, "bytes_per_token") * tokens / seconds / 1e9;
        assert!((number(row, "gb_per_s") / rate - 1.0).abs() < 1e-2, "{row}");
        if row.get("read_limit_gb_per_s").is_some() {
            let share = number(row, "gb_per_s") / number(row, "read_limit_gb_per_s");
            assert!((number(row, "share_of_read") / share - 1.0).abs() < 1e-6, "{row}");
        }
        // All of its weights are floats.
        if row.get("f32_limit_gop_per_s").is_some() {
            let share = number(row, "gop_per_s") / number(row, "f32_limit_gop_per_s");
            assert!((number(row, "share_of_peak") / share - 1.0).abs() < 1e-6, "{row}");
        }
    }
    let plain = bench(&["-m", &tiny(), "-t", "1", "-p", "8", "-n", "0", "-r", "1", "--tier", "scalar"]);
    for left_out in ["int8_limit_gop_per_s", "f32_limit_gop_per_s", "share_of_peak"] {
        assert!(plain["pp8"].get(left_out).is_none(), "no instruction, no limit: {left_out}");
    }
}

/// By hand: 600 floats of weights, all of them read, and 32 bytes of f16 keys and values per position.
#[test]
fn bytes_and_products_are_those_counted_by_hand() {
    let rows =
        bench(&["-m", &tiny(), "-t", "1", "-p", "8", "-n", "4", "-d", "0,8", "-r", "1", "--batch", "4"]);
    let bytes = |name: &str| number(&rows[name], "bytes_per_token");
    assert_eq!(rows["tg4"]["model_size"], 2400);
    assert_eq!(bytes("tg4"), 2400.0 + 32.0 * 2.5);
    assert_eq!(bytes("tg4 @ d8"), 2400.0 + 32.0 * 10.5);
    assert_eq!(bytes("pp8"), (2400.0 + 32.0 * 8.0) / 8.0, "once for all tokens of a step");
    assert_eq!(bytes("step4"), (2400.0 + 32.0 * 4.0) / 4.0);
    assert_eq!(bytes("step1 @ d8"), 2400.0 + 32.0 * 9.0);
    // 448 weights of the layer per token, and 128 of the head where logits are read.
    let ops = |name: &str| number(&rows[name], "gop_per_s") * number(&rows[name], "avg_ns");
    for (name, products) in [("tg4", 4 * 576), ("pp8", 8 * 448 + 128), ("step4", 4 * 576)] {
        assert!((ops(name) / (2 * products) as f64 - 1.0).abs() < 1e-2, "{name}: {}", ops(name));
    }
}

#[test]
fn the_built_in_model_reads_the_bytes_of_its_file() {
    let rows = bench(&["-m", "demo", "-p", "0", "-n", "2", "-r", "1", "-d", "0,100", "--kv", "q8_0"]);
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo.gguf")).unwrap();
    let all: f64 = tensor_bytes(&bytes).values().sum::<u64>() as f64;
    assert!(!tensor_bytes(&bytes).contains_key("output.weight"), "its head is its embedding");
    let (near, far) = (&rows["tg2"], &rows["tg2 @ d100"]);
    assert_eq!(number(near, "model_size"), all);
    assert_eq!(number(near, "file_size"), bytes.len() as f64);
    let (of_near, of_far) = (number(near, "bytes_per_token") - all, number(far, "bytes_per_token") - all);
    assert!(of_near > 0.0);
    assert_eq!(of_far / of_near, 101.5 / 1.5, "keys and values of all positions up to the token's own");
    assert_eq!(near["type_k"], "q8_0");
    if let Some(peak) = near.get("peak_rss") {
        assert!(peak.as_u64().unwrap() < 200 << 20, "without the buffer of the limits: {peak}");
    }
}

#[test]
fn a_step_is_told_beside_one_of_a_token() {
    let rows = bench(&["-m", "demo", "-t", "1", "--batch", "4-8*2", "-r", "2"]);
    let names: Vec<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(names, ["step1", "step4", "step8"], "and none of the usual tests");
    assert_eq!(number(&rows["step1"], "step_ratio"), 1.0);
    for row in rows.values() {
        let ratio = number(row, "avg_ns") / number(&rows["step1"], "avg_ns");
        assert!((number(row, "step_ratio") / ratio - 1.0).abs() < 1e-3, "{row}");
        assert!((number(row, "step_ms") * 1e6 / number(row, "avg_ns") - 1.0).abs() < 1e-3, "{row}");
        assert_eq!(row["n_step"], row["n_prompt"]);
    }
}

#[test]
fn every_combination_is_a_row() {
    let dir = Dir::new();
    let args = ["bench", "-m", "demo", "-t", "1-2", "-p", "2,3", "-n", "0", "-r", "1", "--kv", "f16,q8_0"];
    let json = dir.ingle(&[&args[..], &["--json"]].concat()).json();
    let kinds = json.as_array().unwrap().iter();
    let kinds: Vec<String> = kinds
        .map(|r| format!("{} {} {}", r["n_threads"], r["type_k"].as_str().unwrap(), r["n_prompt"]))
        .collect();
    let expected =
        ["1 f16 2", "1 f16 3", "1 q8_0 2", "1 q8_0 3", "2 f16 2", "2 f16 3", "2 q8_0 2", "2 q8_0 3"];
    assert_eq!(kinds, expected);
}

#[test]
fn the_table_fits_80_columns() {
    let dir = Dir::new();
    let text = dir
        .ingle(&["bench", "-m", "demo", "-p", "64", "-n", "8", "--batch", "2", "-d", "500", "-r", "2"])
        .ok();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("demo: ") && lines[0].contains("MiB"), "{text}");
    assert!(lines[1].starts_with("test "), "{text}");
    assert!(lines[2].starts_with("pp64 @ d500 "), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_floor_that_cannot_be_reached_fails_after_the_table() {
    let dir = Dir::new();
    let args = ["bench", "-m", &tiny(), "-t", "1", "-p", "4", "-n", "2", "-r", "1"];
    let with = |more: &[&str]| dir.ingle(&[&args[..], more].concat()).run();
    // So small a model in a cache: no more than a hundredth of the memory's rate, in any state of the machine.
    let out = with(&["--assert-read", "1000%"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.contains("tg2"), "{out:?}");
    assert!(out.stderr.contains("--assert-read 1000.0%: tg2"), "{out:?}");
    assert_eq!(with(&["--assert-read", "0"]).code, 0);
    let out = with(&["--assert-peak", "0", "--tier", "scalar"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains("no limit measured"), "{out:?}");
    let out =
        dir.ingle(&["bench", "-m", &tiny(), "-p", "0", "-n", "2", "-r", "1", "--assert-peak", "0"]).run();
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains("nothing was measured"), "{out:?}");
}

#[test]
fn kernels_are_told_by_format_tier_and_tokens() {
    let dir = Dir::new();
    let tiers = dir.ingle(&["bench", "--kernels", "--format", "Q4_0", "-t", "1", "--json"]).json();
    let rows = tiers.as_array().unwrap();
    assert_eq!(rows.len() % 4, 0);
    for (row, n_tokens) in rows.iter().zip([1, 8, 32, 128].into_iter().cycle()) {
        assert_eq!(row["format"], "q4_0");
        assert_eq!(row["n_tokens"], n_tokens);
        let [gb, limit, share, us] =
            ["weight_gb_per_s", "read_limit_gb_per_s", "share_of_read", "us"].map(|name| number(row, name));
        assert!(gb > 0.0 && limit > 0.0 && us > 0.0 && share > 0.0, "{row}");
        let seconds = number(row, "us") / 1e6;
        let n_rows = match n_tokens {
            1 | 8 => 8192.0,
            32 => 4096.0,
            _ => 2048.0,
        };
        let weights = n_rows * 2048.0;
        assert!((gb * 1e9 * seconds / (weights * 18.0 / 32.0) - 1.0).abs() < 1e-6, "{row}");
        let ops = 2.0 * weights * f64::from(n_tokens);
        assert!((number(row, "gop_per_s") * 1e9 * seconds / ops - 1.0).abs() < 1e-6, "{row}");
        let known = row["tier"] == "scalar"
            || row.get("share_of_peak").is_some()
            || cfg!(not(target_arch = "x86_64"));
        assert!(known, "{row}");
        assert!(row["tier"] != "scalar" || row.get("share_of_peak").is_none(), "{row}");
    }
    let best = rows.iter().rev().find(|row| row["tier"] != "exact").unwrap()["tier"].as_str().unwrap();
    let args = ["bench", "--kernels", "--format", "q4_0", "-t", "1", "--tier", best];
    let out = dir.ingle(&[&args[..], &["--assert-read", "1000%"]].concat()).run();
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.lines().all(|line| line.chars().count() <= 80), "{out:?}");
    assert!(out.stderr.contains(&format!("q4_0 {best}")), "{out:?}");
}

#[test]
fn wrong_requests_are_refused_before_anything_runs() {
    let dir = Dir::new();
    let refused = |args: &[&str], words: &[&str]| {
        dir.ingle(&[&["bench", "-m", &tiny()], args].concat()).fails(2, words);
    };
    refused(&["-p", "0", "-n", "0"], &["nothing to measure"]);
    refused(&["-p", "ten"], &["--prompt", "range"]);
    refused(&["-t", "0"], &["--threads", "from 1 to 1024"]);
    refused(&["--batch", "65"], &["--batch", "from 1 to 64"]);
    refused(&["--batch", "8", "--chunk", "4"], &["--batch 8", "--chunk"]);
    refused(&["--pg", "512"], &["--pg", "512,128"]);
    refused(&["--assert-read", "75"], &["--assert-read", "75%"]);
    refused(&["--kv", "q9_9"], &["--kv", "q8_0"]);
    refused(&["--format", "q4_0"], &["--format", "--model"]);
    dir.ingle(&["bench", "--kernels", "--format", "q9_9"]).fails(2, &["q9_9", "q4_0"]);
    dir.ingle(&["bench"]).fails(2, &["--model"]);
}

/// Bytes of each tensor of a GGUF file, read as the format is written down and in no other way.
fn tensor_bytes(file: &[u8]) -> BTreeMap<String, u64> {
    let mut at = 8;
    let u32_at = |at: &mut usize| {
        *at += 4;
        u32::from_le_bytes(file[*at - 4..*at].try_into().unwrap())
    };
    let u64_at = |at: &mut usize| {
        *at += 8;
        u64::from_le_bytes(file[*at - 8..*at].try_into().unwrap())
    };
    let text = |at: &mut usize| {
        let n = u64_at(at) as usize;
        *at += n;
        String::from_utf8(file[*at - n..*at].to_vec()).unwrap()
    };
    let width = |kind: u32| [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind as usize];
    let (n_tensors, n_keys) = (u64_at(&mut at), u64_at(&mut at));
    for _ in 0..n_keys {
        text(&mut at);
        let (kind, n) = match u32_at(&mut at) {
            9 => (u32_at(&mut at), u64_at(&mut at)),
            kind => (kind, 1),
        };
        for _ in 0..n {
            if kind == 8 {
                text(&mut at);
            } else {
                at += width(kind);
            }
        }
    }
    let tensor = |_| {
        let name = text(&mut at);
        let n_dims = u32_at(&mut at);
        let n: u64 = (0..n_dims).map(|_| u64_at(&mut at)).product();
        // ggml's numbers of f32, f16, q4_0, q8_0, q4_K, q5_K and q6_K.
        let (block, bytes) = match u32_at(&mut at) {
            0 => (1, 4),
            1 => (1, 2),
            2 => (32, 18),
            8 => (32, 34),
            12 => (256, 144),
            13 => (256, 176),
            14 => (256, 210),
            other => panic!("type {other} is not in this table yet"),
        };
        u64_at(&mut at);
        (name, n / block * bytes)
    };
    (0..n_tensors).map(tensor).collect()
}

#[test]
fn bench_compares_with_and_without() {
    let dir = Dir::new();
    let row = |how: &str| {
        let args = format!("bench -m demo -n 24 -r 1 --json {how}");
        dir.ingle(&args.split(' ').collect::<Vec<_>>()).json()[0].clone()
    };
    let of = |row: &Value, name: &str| row[name].as_f64().unwrap();
    let exit = row("--spec exit:2 --draft-tokens 2");
    assert!(of(&exit, "avg_ts") > 0.0 && of(&exit, "plain_ts") > 0.0, "{exit}");
    assert!(of(&exit, "drafted") > of(&exit, "accepted"), "{exit}");
    let tasks = r#"{"kinds": [{"name": "x", "tasks": [{"accepted": "308", "class": "408"}]}]}"#;
    let trace = dir.file("trace.json", tasks);
    let traced = row(&format!("--spec lookup --draft-tokens 4 --spec-trace {trace}"));
    assert!(of(&traced, "accepted") > 4.0 && traced["spec"] == "x", "{traced}");
}
