//! `ingle compress` as users and scripts meet it, on the demo model in 16 bits: what it writes, what it refuses to hand over, and
//! that a run that is killed ends with the bytes of one that is not.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use harness::Dir;

/// The demo model in 16 bits, and a text.
fn demo(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(name).display().to_string()
}

fn source() -> String {
    demo("demo-f16.gguf")
}

/// Arguments that compress the demo model into `out` by the recipe in `recipe`, measured on a committed text.
fn args(out: &str, recipe: &str) -> Vec<String> {
    let text = demo("golden/held-out.txt");
    let words = ["compress", &source(), "-o", out, "--recipe", recipe, "--calib", &text, "--json"];
    words.iter().map(|&word| word.to_owned()).collect()
}

fn run(dir: &Dir, args: &[String]) -> harness::Outcome {
    dir.ingle(&args.iter().map(String::as_str).collect::<Vec<_>>()).run()
}

/// `ingle` at work, to be killed.
fn begun(dir: &Dir, args: &[String]) -> Child {
    let mut command = dir.ingle(&args.iter().map(String::as_str).collect::<Vec<_>>()).command;
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn ok(dir: &Dir, args: &[String]) -> serde_json::Value {
    let out = run(dir, args);
    assert_eq!(out.code, 0, "{out:?}");
    serde_json::from_str(&out.stdout).unwrap()
}

const SMALL: &str = "[calibration]\ntokens = 2048\nctx = 256\n";

#[test]
fn rounding_to_nearest_gives_the_tensors_of_quantize() {
    let dir = Dir::new();
    let recipe = dir.file("rtn.toml", format!("type = \"Q4_K_M\"\nmethod = \"rtn\"\n{SMALL}"));
    ok(&dir, &args("out.gguf", &recipe));
    let plain = dir.ingle(&["quantize", &source(), "plain.gguf", "Q4_K_M", "--json"]).json();
    let n = plain["bytes_after"].as_u64().unwrap() as usize;
    let [ours, plain] = ["out.gguf", "plain.gguf"].map(|name| fs::read(dir.path(name)).unwrap());
    assert!(ours[ours.len() - n..] == plain[plain.len() - n..]);
}

#[test]
fn feedback_beats_importances_and_rounding_and_the_recipe_in_the_report_makes_the_same_bytes() {
    let dir = Dir::new();
    let kld = |method: &str, threads: &str| {
        let recipe =
            dir.file(&format!("{method}.toml"), format!("type = \"Q2_K\"\nmethod = \"{method}\"\n{SMALL}"));
        let mut args = args(&format!("{method}{threads}.gguf"), &recipe);
        args.extend(["--threads".into(), threads.into()]);
        let said = ok(&dir, &args);
        (said["evaluation"]["kld"]["mean"]["value"].as_f64().unwrap(), said)
    };
    let ((rtn, _), (search, _), (gptq, said)) = (kld("rtn", "2"), kld("search", "2"), kld("gptq", "2"));
    assert!(gptq < 0.9 * search && search < rtn, "{gptq} {search} {rtn}");
    let again = dir.file("again.toml", said["recipe_toml"].as_str().unwrap());
    ok(&dir, &args("again.gguf", &again));
    kld("gptq", "1");
    let [first, again, alone] =
        ["gptq2.gguf", "again.gguf", "gptq1.gguf"].map(|name| fs::read(dir.path(name)).unwrap());
    assert!(first == again, "the recipe in the report");
    assert!(first == alone, "the number of threads");
}

#[test]
fn killed_at_ten_moments_it_ends_with_the_same_bytes() {
    let dir = Dir::new();
    let recipe = dir.file(
        "r.toml",
        format!("type = \"Q4_K_M\"\nmethod = \"gptq\"\nbalance = \"awq\"\nasymmetric = true\n{SMALL}"),
    );
    let start = std::time::Instant::now();
    ok(&dir, &args("whole.gguf", &recipe));
    let whole = start.elapsed();
    let mut state = 7u64;
    for _ in 0..10 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = begun(&dir, &args("killed.gguf", &recipe));
        std::thread::sleep(Duration::from_secs_f64(
            whole.as_secs_f64() * (state >> 40) as f64 / (1 << 25) as f64,
        ));
        child.kill().unwrap();
        child.wait().unwrap();
        if dir.path("killed.gguf").exists() {
            break;
        }
    }
    if !dir.path("killed.gguf").exists() {
        ok(&dir, &args("killed.gguf", &recipe));
    }
    let [whole, killed] = ["whole.gguf", "killed.gguf"].map(|name| fs::read(dir.path(name)).unwrap());
    assert!(whole == killed);
    let mut left: Vec<_> =
        fs::read_dir(dir.path(".")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.retain(|name| name.contains("compress"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_search_that_is_killed_behind_its_report_goes_on_and_replaces_it() {
    let dir = Dir::new();
    let recipe = "type = \"Q8_0\"\nmethod = \"rtn\"\n[calibration]\ntokens = 256\nctx = 64\n";
    let mut words = args("found.gguf", &dir.file("r.toml", recipe));
    let size = fs::metadata(source()).unwrap().len() * 6 / 10;
    words.extend(["--target".into(), format!("size<={size}B"), "--eval-windows".into(), "1".into()]);
    let mut child = begun(&dir, &words);
    while !dir.path("found.gguf.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended without a report");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dir.path("found.gguf").exists(), "it was killed too late");
    // To other work the report is another's, and what was done of this stays.
    let of_search = fs::read(dir.path("found.gguf.json")).unwrap();
    let other = [&words[..], &["--calib-tokens".into(), "128".into()]].concat();
    let refused = run(&dir, &other);
    assert!(refused.code == 1 && refused.stderr.contains("found.gguf.json"), "{refused:?}");
    assert!(fs::read(dir.path("found.gguf.json")).unwrap() == of_search);
    let again = run(&dir, &words);
    assert!(again.code == 0 && again.stderr.contains("going on"), "{again:?}");
    let said: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let kept = fs::read_to_string(dir.path("found.gguf.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&kept).unwrap()["file_bytes"], said["file_bytes"]);
    assert!(fs::read_to_string(dir.path("found.gguf.html")).unwrap().contains("that was written"));
    // What another search has left is in the way, as before.
    fs::remove_file(dir.path("found.gguf")).unwrap();
    let again = run(&dir, &words);
    assert!(again.code == 1 && again.stderr.contains("found.gguf.json"), "{again:?}");
}

#[test]
fn what_gets_no_report_gets_no_name_and_the_next_run_goes_on() {
    let dir = Dir::new();
    let recipe = dir.file("r.toml", format!("type = \"Q4_K_M\"\nmethod = \"gptq\"\n{SMALL}"));
    let words = [&args("out.gguf", &recipe)[..], &["--report".into()]].concat();
    let mut child = begun(&dir, &words);
    while !dir.path(".out.gguf.compress/key").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended without a journal");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Meanwhile another run is told before it has read anything.
    let empty = dir.file("empty.txt", "");
    let second = dir.ingle(&["compress", &source(), "-o", "out.gguf", "--recipe", "q4km", "--calib", &empty]);
    second.fails(1, &["out.gguf: another run is writing it"]);
    dir.file("out.gguf.html", "another's");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(!dir.path("out.gguf").exists());
    fs::remove_file(dir.path("out.gguf.html")).unwrap();
    let again = run(&dir, &words);
    assert!(again.code == 0 && again.stderr.contains("going on"), "{again:?}");
    assert!(["out.gguf", "out.gguf.json", "out.gguf.html"].iter().all(|name| dir.path(name).exists()));
}

#[test]
fn a_broken_result_is_repaired_or_not_handed_over() {
    let dir = Dir::new();
    let bad = format!(
        "type = \"Q4_K_M\"\nmethod = \"gptq\"\n{SMALL}\n[tensors]\n\"^token_embd\" = \"q2_K\"\n[gate]\n"
    );
    let recipe = dir.file("bad.toml", format!("{bad}kld = 0.04\n"));
    let out = run(&dir, &args("out.gguf", &recipe));
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("token_embd costs most, q2_K becomes q3_K"), "{out:?}");
    let said: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(said["promotions"][0]["tensors"], "token_embd");
    assert!(said["evaluation"]["kld"]["mean"]["value"].as_f64().unwrap() <= 0.04);
    assert!(dir.path("out.gguf").exists());

    // A layer that is promoted changes all behind it; what the journal has of the unchanged model is no shortcut then.
    let layer = format!(
        "type = \"Q4_K_M\"\nmethod = \"gptq\"\nasymmetric = true\n{SMALL}\n[tensors]\n\"ffn_down\" = \"q2_K\"\n[gate]\nkld = 0.003\n"
    );
    let said = ok(&dir, &args("layer.gguf", &dir.file("layer.toml", layer)));
    assert_eq!(said["promotions"][0]["tensors"], "ffn_down", "{said}");
    let again = dir.file("again.toml", said["recipe_toml"].as_str().unwrap());
    ok(&dir, &args("again.gguf", &again));
    assert!(fs::read(dir.path("layer.gguf")).unwrap() == fs::read(dir.path("again.gguf")).unwrap());

    // What can't be reached is said, and nothing has the name.
    let never = format!("type = \"F16\"\nmethod = \"rtn\"\n{SMALL}[gate]\nppl_ratio = 0.5\n");
    let out = run(&dir, &args("never.gguf", &dir.file("never.toml", never)));
    assert_eq!(out.code, 5, "{out:?}");
    let said: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert!(said["output"].is_null() && said["gate"]["passed"] == false, "{said}");
    assert!(!dir.path("never.gguf").exists());
}

#[test]
fn what_rounded_inputs_cost_is_reported_with_scale_moved_and_without() {
    let dir = Dir::new();
    let recipe = format!("type = \"Q8_0\"\nmethod = \"search\"\nbalance.smooth = 0.85\n{SMALL}");
    let mut words = args("out.gguf", &dir.file("w8a8.toml", recipe));
    words.push("--report".into());
    let said = ok(&dir, &words);
    // Seven matrices in each of six layers; the head's inputs keep their scale.
    assert_eq!(said["rounded_inputs"]["n_tensors"], 42, "{said}");
    let of =
        |value: &serde_json::Value| ["without", "with"].map(|name| value["rounded_inputs"][name].as_f64());
    let mut n = 0;
    for tensor in said["tensors"].as_array().unwrap() {
        if let [Some(without), Some(with)] = of(tensor) {
            assert!((1e-4..0.1).contains(&without) && (1e-4..0.1).contains(&with), "{tensor}");
            assert!(tensor["rounded_inputs"]["n_inputs"].as_u64().unwrap() >= 256, "{tensor}");
            // Several heads read each value, so what would be taken from one of their inputs can't be given to the values.
            let name = tensor["name"].as_str().unwrap();
            assert_eq!(with != without, !name.contains("attn_output"), "{tensor}");
            n += 1;
        }
    }
    assert_eq!(n, 42);
    let [Some(without), Some(with)] = of(&said) else { panic!("{said}") };
    eprintln!("rounded inputs change outputs by {without:.5}, with scale moved by {with:.5}");
    let kept = fs::read_to_string(dir.path("out.gguf.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&kept).unwrap(), said);
    let page = fs::read_to_string(dir.path("out.gguf.html")).unwrap();
    assert!(
        page.contains("blk.5.ffn_down.weight") && page.contains(&format!("{:.3} %", 100.0 * with)),
        "{page}"
    );
    // A report is as much in the way as a file is.
    fs::remove_file(dir.path("out.gguf")).unwrap();
    let again = run(&dir, &words);
    assert!(
        again.code == 1 && again.stderr.contains("out.gguf.json") && again.stderr.contains("--force"),
        "{again:?}"
    );
}

#[test]
fn a_slimmed_model_has_fewer_layers_and_answers() {
    let dir = Dir::new();
    let recipe = format!("type = \"Q8_0\"\nmethod = \"rtn\"\nslim = {{ layers = 0.34 }}\n{SMALL}");
    ok(&dir, &args("slim.gguf", &dir.file("slim.toml", recipe)));
    let shown = dir.ingle(&["show", "slim.gguf", "--json"]).json();
    assert!(shown.to_string().contains("\"n_layers\":4"), "{shown}");
    let answer =
        dir.ingle(&["run", "slim.gguf", "Tell me a story.", "--temperature", "0", "--max-tokens", "8"]).ok();
    assert!(!answer.trim().is_empty());
}

/// Minutes: `cargo test --release -p ingle-cli --test compress -- --ignored`.
#[test]
#[ignore = "makes some ten files"]
fn a_search_beats_the_recipe_of_its_size_and_is_made_again_by_the_recipe_it_found() {
    let dir = Dir::new();
    let fixed = ok(&dir, &args("fixed.gguf", "q4km"));
    let size = fixed["file_bytes"].as_u64().unwrap();
    let mut words = args("found.gguf", "q4km");
    words.extend(["--target".into(), format!("size<={size}B")]);
    let found = ok(&dir, &words);
    assert!(fs::metadata(dir.path("found.gguf")).unwrap().len() <= size);
    let kld = |said: &serde_json::Value| said["evaluation"]["kld"]["mean"]["value"].as_f64().unwrap();
    assert!(kld(&found) < 0.85 * kld(&fixed), "{} {}", kld(&found), kld(&fixed));
    assert!(fs::read_to_string(dir.path("found.gguf.html")).unwrap().contains("<svg"));
    let recipe = dir.file("found.toml", found["recipe_toml"].as_str().unwrap());
    ok(&dir, &args("again.gguf", &recipe));
    let [first, again] = ["found.gguf", "again.gguf"].map(|name| fs::read(dir.path(name)).unwrap());
    assert!(first == again);
}

#[test]
fn mistakes_are_told_before_the_work() {
    let dir = Dir::new();
    let unknown = dir.file("unknown.toml", "methd = \"gptq\"");
    let method = dir.file("method.toml", "method = \"magic\"");
    let format = dir.file("format.toml", "[tensors]\n\"attn\" = \"q9\"");
    let empty = dir.file("empty.txt", "");
    for (recipe, said) in [
        ("q9000", "q4km"),
        ("missing.toml", "no such recipe file"),
        (&unknown, "unknown field `methd`"),
        (&method, "gptq"),
        (&format, "q9"),
    ] {
        let out = run(&dir, &args("out.gguf", recipe));
        assert!(out.code != 0 && out.stderr.contains(said), "{recipe}: {out:?}");
        assert_eq!(out.stderr.trim().lines().count(), 1, "{out:?}");
    }
    let out =
        dir.ingle(&["compress", &source(), "-o", "out.gguf", "--recipe", "q4km", "--calib", &empty]).run();
    assert!(out.code == 1 && out.stderr.contains("expected something to read"), "{out:?}");
    assert!(!dir.path(".out.gguf.compress").exists(), "nothing was begun");
    dir.file("there.gguf", "mine");
    let out = run(&dir, &args("there.gguf", "q4km"));
    assert!(out.code == 1 && out.stderr.contains("--force replaces it"), "{out:?}");
    assert_eq!(fs::read(dir.path("there.gguf")).unwrap(), b"mine");
}
