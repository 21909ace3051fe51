//! The command line as users and scripts meet it.

mod harness;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use harness::{Dir, hostile, tiny};

/// The verbs that the help lists.
fn verbs(dir: &Dir) -> Vec<String> {
    let help = dir.ingle(&["--help"]).ok();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    commands.lines().filter_map(|l| Some(l.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn every_verb_has_help_with_an_example() {
    let dir = Dir::new();
    let verbs = verbs(&dir);
    assert!(verbs.len() >= 10, "{verbs:?}");
    for verb in verbs {
        let help = dir.ingle(&[&verb, "--help"]).ok();
        let examples = help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{verb} has no examples"));
        assert!(examples.trim_start().starts_with(&format!("ingle {verb}")), "{examples}");
    }
}

#[test]
fn the_help_lists_the_exit_codes() {
    let help = Dir::new().ingle(&["--help"]).ok();
    for code in ["0  ok", "3  model or file not found", "130  interrupted"] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn wrong_usage_is_2() {
    let dir = Dir::new();
    let tiny = tiny();
    dir.ingle(&[]).fails(2, &["Usage"]);
    dir.ingle(&["rum"]).fails(2, &["rum", "run"]);
    dir.ingle(&["run", &tiny, "a", "--no-such-flag"]).fails(2, &["--no-such-flag"]);
    dir.ingle(&["run", &tiny, "a", "--power-limit", "5"]).fails(2, &["--power-limit", "15W or 50%"]);
    dir.ingle(&["run", &tiny, "a", "--top-p", "1.5"]).fails(2, &["--top-p", "number from"]);
    dir.ingle(&["run", &tiny, "a", "--kv", "q3_x"]).fails(2, &["q8_0"]);
    dir.ingle(&["run", &tiny, "a", "--tier", "abacus"]).fails(2, &["scalar", "exact"]);
    dir.ingle(&["run", &tiny, "a", "--stop", ""]).fails(2, &["--stop"]);
    dir.ingle(&["run", &tiny, "a", "--system", "x"]).fails(2, &["no chat template"]);
    dir.ingle(&["run", &tiny]).fails(2, &["no prompt"]);
    dir.ingle(&["detokenize", &tiny, "99"]).fails(2, &["99", "end at 15"]);
    dir.ingle(&["detokenize", &tiny, "one"]).fails(2, &["one"]);
}

#[test]
fn missing_models_are_3_and_say_what_to_do() {
    let dir = Dir::new();
    dir.file("qwen.gguf", "");
    dir.ingle(&["show", "./qwne.gguf"]).fails(3, &["no such file", "did you mean ./qwen.gguf?"]);
    dir.ingle(&["show", "someone/model:Q4_K_M"]).fails(3, &["`ingle pull someone/model:Q4_K_M`"]);
    dir.ingle(&["show", "."]).fails(3, &["folder", ".gguf"]);
    dir.ingle(&["show", "demmo"]).fails(3, &["did you mean demo?"]);
    dir.ingle(&["tokenize", &tiny(), "--file", "nothing.txt"]).fails(3, &["nothing.txt"]);
}

#[test]
fn damaged_files_are_5_and_unsupported_ones_1() {
    let dir = Dir::new();
    dir.ingle(&["run", &hostile("truncated-data.gguf"), "a"]).fails(5, &["truncated-data.gguf", "truncated"]);
    dir.ingle(&["run", &hostile("family-unknown.gguf"), "a"]).fails(1, &["not supported; supported: llama"]);
    dir.ingle(&["run", &hostile("weights-nan.gguf"), "a"]).fails(1, &["NaN"]);
    dir.ingle(&["run", &hostile("template-raises.gguf"), "a"])
        .fails(1, &["template-raises.gguf", "no chats today"]);
}

#[test]
fn an_answer_is_data_and_the_rest_is_talk() {
    let dir = Dir::new();
    let out = dir.ingle(&["run", &tiny(), "ab", "--temperature", "0", "--max-tokens", "5", "--stats"]).run();
    assert_eq!((out.code, out.stdout.trim().len()), (0, 5), "{out:?}");
    for figure in ["time to first token", "prompt", "generation", "memory", "energy", "seed"] {
        assert!(out.stderr.contains(figure), "{out:?}");
    }
    let quiet = dir.ingle(&["run", &tiny(), "ab", "--temperature", "0", "--max-tokens", "5"]).run();
    assert_eq!((quiet.stdout, quiet.stderr), (out.stdout, String::new()));
}

#[test]
fn a_seed_repeats_an_answer_whatever_the_threads_and_the_chunk() {
    let dir = Dir::new();
    let tiny = tiny();
    let run = |extra: &[&str]| {
        let args = ["run", &tiny, "abcabcabc", "--temperature", "3", "--max-tokens", "20", "--top-k", "0"];
        let all: Vec<&str> = args.iter().chain(extra).copied().collect();
        dir.ingle(&all).ok()
    };
    let first = run(&["--seed", "7"]);
    assert_eq!(run(&["--seed", "7", "--threads", "1", "--chunk", "1"]), first);
    assert_eq!(run(&["--seed", "7", "--threads", "3", "--chunk", "5"]), first);
    assert_ne!(run(&["--seed", "8"]), first);
}

#[test]
fn stdin_is_appended_to_the_prompt() {
    let dir = Dir::new();
    let count = |args: &[&str], stdin: &str| {
        let mut all = vec!["run"];
        let tiny = tiny();
        all.push(&tiny);
        all.extend(args);
        all.extend(["--max-tokens", "1", "--json"]);
        dir.ingle(&all).stdin(stdin).json()["n_prompt"].as_u64().unwrap()
    };
    let together = count(&["abc"], "def");
    assert!(together > count(&["abc"], ""), "what is piped in counts");
    assert!(together > count(&[], "def"), "and so does PROMPT");
}

#[test]
fn an_answer_as_json_has_its_figures() {
    let json = Dir::new()
        .ingle(&["run", &tiny(), "ab", "--json", "--max-tokens", "3", "--seed", "5", "--temperature", "0"])
        .json();
    assert_eq!(json["seed"], 5);
    assert_eq!(json["finish"], "length");
    assert_eq!(json["n_generated"], 3);
    assert!(json["text"].is_string() && json["generated_per_second"].is_number());
}

#[test]
fn a_stop_text_ends_the_answer() {
    let dir = Dir::new();
    let args = ["run", &tiny(), "ab", "--temperature", "0", "--max-tokens", "9"];
    let whole = dir.ingle(&args).ok();
    let stop = &whole[1..3];
    let all: Vec<&str> = args.iter().copied().chain(["--stop", stop, "--json"]).collect();
    let json = dir.ingle(&all).json();
    assert_eq!(json["finish"], "stop");
    assert_eq!(json["text"], whole[..whole.find(stop).unwrap()]);
}

#[test]
fn a_prompt_that_does_not_fit_is_1_unless_the_oldest_may_go() {
    let dir = Dir::new();
    let long = "abcdefgh".repeat(20);
    dir.ingle(&["run", &tiny(), &long]).fails(1, &["160 tokens", "64", "--overflow drop-oldest"]);
    let out = dir.ingle(&["run", &tiny(), &long, "--overflow", "drop-oldest", "--max-tokens", "4"]).run();
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("tokens were dropped"), "{out:?}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_was_said_and_is_130() {
    use std::io::Read;
    let dir = Dir::new();
    // Greedy, this model never ends, and dropping makes room for ever.
    let args = ["run", &tiny(), "ab", "--temperature", "0", "--overflow", "drop-oldest"];
    let mut command = dir.ingle(&args);
    let mut child = command.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 64];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130));
    assert!(out.stdout.ends_with(b"\n"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::io::Write;
    let dir = Dir::new();
    let mut command = dir.ingle(&["tokenize", &tiny()]);
    let command = command.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    // It writes once it has read to the end, which is after the reader has gone.
    child.stdin.take().unwrap().write_all(b"abc").unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), out.stderr), (Some(0), vec![]));
}

#[test]
fn no_color_is_honoured() {
    let dir = Dir::new();
    let escape = |command: harness::TestCommand| command.run().stderr.contains('\x1b');
    let args = ["show", "nothing.gguf"];
    assert!(!escape(dir.ingle(&args)), "not a terminal");
    assert!(escape(dir.ingle(&args).env("CLICOLOR_FORCE", "1")), "the test can see colours");
    assert!(!escape(dir.ingle(&args).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1")));
}

#[test]
fn completions_exist_for_every_shell() {
    let dir = Dir::new();
    let verbs = verbs(&dir);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = dir.ingle(&["completions", shell]).ok();
        for verb in &verbs {
            assert!(script.contains(verb.as_str()), "{shell} does not know {verb}");
        }
        assert!(script.contains("repeat-penalty"), "{shell} does not know flags");
    }
    dir.ingle(&["completions", "dos"]).fails(2, &["bash"]);
}

#[test]
fn settings_come_from_flag_variable_file_default_in_that_order() {
    let dir = Dir::new();
    let file = dir.file("config/ingle/config.toml", "top_k = 11\ntop_p = 0.5\nkv = \"q8_0\"\n");
    let json = dir
        .ingle(&["config", "--json", "--top-k", "13"])
        .env("INGLE_TOP_K", "12")
        .env("INGLE_TOP_P", "0.25")
        .json();
    let setting = |name: &str| {
        let s = &json["settings"][name];
        (s["value"].clone(), s["source"].as_str().unwrap().to_owned())
    };
    assert_eq!(setting("top-k"), (13.into(), "flag".into()));
    assert_eq!(setting("top-p"), (0.25.into(), "INGLE_TOP_P".into()));
    assert_eq!(setting("kv"), ("q8_0".into(), file));
    assert_eq!(setting("temperature").1, "default");
    assert!(dir.ingle(&["config"]).ok().contains("q8_0"));
}

#[test]
fn a_wrong_config_file_or_variable_is_named() {
    let dir = Dir::new();
    dir.ingle(&["config"]).env("INGLE_THREADS", "many").fails(2, &["INGLE_THREADS", "many", "whole number"]);
    dir.file("config/ingle/config.toml", "tempratur = 1\n");
    dir.ingle(&["config"]).fails(2, &["config.toml", "tempratur", "did you mean temperature?"]);
    dir.file("config/ingle/config.toml", "temperature = \n");
    dir.ingle(&["config"]).fails(2, &["config.toml", "line 1"]);
}

#[test]
fn show_says_what_a_model_is() {
    let dir = Dir::new();
    let json = dir.ingle(&["show", &tiny(), "--json", "--ctx", "32", "--kv", "f32"]).json();
    assert_eq!(json["family"], "llama");
    assert_eq!(json["shape"]["dim"], 8);
    assert_eq!(json["memory"]["ctx"], 32);
    assert_eq!(json["memory"]["kv"], "f32");
    assert!(json["memory"]["total_bytes"].as_u64() > json["memory"]["kv_bytes"].as_u64());
    let text = dir.ingle(&["show", &tiny()]).ok();
    for word in ["family", "licence", "context", "tokenizer", "chat template", "memory", "attn_q"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // What can't be run can still be looked at.
    assert!(dir.ingle(&["show", &hostile("family-unknown.gguf")]).ok().contains("can't run"));
}

#[test]
fn adapters_change_the_logits_as_much_as_they_are_asked_to() {
    let dir = Dir::new();
    let ids = dir.file("ids", "1 2 3 4 5 6");
    let adapter =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/adapters/c.gguf").display().to_string();
    let logits = |adapters: &[String]| {
        let out = dir.path("logits").display().to_string();
        let (tiny, mut args) = (tiny(), vec!["logits"]);
        args.extend([tiny.as_str(), "--tokens-file", &ids, "--out", &out]);
        args.extend(adapters.iter().flat_map(|adapter| ["--adapter", adapter]));
        dir.ingle(&args).ok();
        fs::read(&out).unwrap()
    };
    let plain = logits(&[]);
    assert!(logits(&[format!("{adapter}:0")]) == plain);
    let once = logits(std::slice::from_ref(&adapter));
    assert!(once != plain);
    assert!(logits(&[adapter.clone(), adapter.clone()]) != once, "several add up");
    let copy = dir.file("named:1", fs::read(&adapter).unwrap());
    assert!(logits(&[copy]) == once, "a name that ends like a scale");

    let run = |adapter: &str| dir.ingle(&["run", &tiny(), "a", "--adapter", adapter]);
    run("missing.gguf").fails(3, &["missing.gguf", "no such file"]);
    run(&format!("{adapter}:much")).fails(2, &["--adapter", "\"much\" is no number"]);
    run(&tiny()).fails(5, &["base.gguf: metadata general.type: nothing, expected adapter"]);
}

#[test]
fn logits_do_not_depend_on_the_chunk() {
    let dir = Dir::new();
    let ids = dir.file("ids.txt", "1 2 3\n4, 5");
    let rows = |chunk: &str| {
        let out = dir.path("out.f32").display().to_string();
        let said = dir
            .ingle(&["logits", &tiny(), "--tokens-file", &ids, "--out", &out, "--chunk", chunk, "--json"])
            .json();
        assert_eq!((said["n_tokens"].as_u64(), said["n_vocab"].as_u64()), (Some(5), Some(16)));
        fs::read(out).unwrap()
    };
    assert_eq!(rows("1").len(), 5 * 16 * 4);
    assert_eq!(rows("1"), rows("5"));
}

#[test]
fn templates_render_without_a_model() {
    let dir = Dir::new();
    let template = dir.file("t.jinja", "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}{{ mood }}");
    let messages = dir.file("m.json", r#"[{"role": "user", "content": "hi"}]"#);
    let args =
        ["template", "--template-file", &template, "--bos", "<s>", "--eos", "</s>", "--messages", &messages];
    assert_eq!(dir.ingle(&args).ok(), "<s>[user]hi[assistant]");
    let more = |extra: &[&str]| dir.ingle(&args.iter().chain(extra).copied().collect::<Vec<_>>()).ok();
    assert_eq!(more(&["--no-generation-prompt", "--set", "mood=calm"]), "<s>[user]hicalm");
    assert!(more(&["--json"]).contains("prompt"));
    dir.ingle(&["template", &tiny(), "--messages", &messages]).fails(1, &["no chat template"]);
    let object = dir.file("o.json", "{}");
    dir.ingle(&["template", "--template-file", &template, "--messages", &object]).fails(1, &["JSON array"]);
}

#[test]
fn text_becomes_ids_and_comes_back() {
    let dir = Dir::new();
    assert_eq!(dir.ingle(&["tokenize", &tiny(), "abc"]).ok(), "1 2 3\n");
    assert_eq!(dir.ingle(&["tokenize", &tiny()]).stdin("ab").ok(), "1 2\n");
    assert_eq!(dir.ingle(&["tokenize", &tiny(), "ab", "--json"]).json()["ids"], serde_json::json!([1, 2]));
    assert_eq!(dir.ingle(&["detokenize", &tiny(), "1", "2", "3"]).ok(), "abc\n");
    assert_eq!(dir.ingle(&["detokenize", &tiny()]).stdin("[1, 2]").ok(), "ab\n");
    assert_eq!(dir.ingle(&["tokenize", &tiny(), "<|end|>a", "--special"]).ok(), "0 1\n");
}

/// On real vocabularies, where the reference data is at hand.
#[test]
fn real_vocabularies_round_trip() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/tokenizers");
    let dir = Dir::new();
    let text = "Hello, wörld! 123 + 45 = 168\n\tfn main() { } 你好 🎉";
    for name in ["gpt-2", "llama-bpe", "llama-spm", "qwen2", "phi-3"] {
        let vocab = golden.join(format!("ggml-vocab-{name}.gguf"));
        if !vocab.exists() {
            eprintln!("skipped {name}: no reference data at ../shared/golden/tokenizers");
            continue;
        }
        let vocab = vocab.display().to_string();
        let ids = dir.ingle(&["tokenize", &vocab, text]).ok();
        assert_eq!(dir.ingle(&["detokenize", &vocab]).stdin(&ids).ok(), format!("{text}\n"), "{name}");
    }
}

#[test]
fn sampling_flags_are_checked_and_the_nearest_sampler_is_named() {
    let dir = Dir::new();
    let tiny = tiny();
    let fails = |flags: &[&str], words: &[&str]| {
        let all: Vec<&str> = ["run", &tiny, "a"].iter().chain(flags).copied().collect();
        dir.ingle(&all).fails(2, words);
    };
    fails(&["--samplers", "top-k;temprature"], &["--samplers", "did you mean temperature?"]);
    fails(&["--samplers", "top-k;top_k"], &["samplers", "top-k once"]);
    fails(&["--samplers", "top-k", "--xtc-probability", "0.5"], &["xtc among them"]);
    fails(&["--mirostat", "3"], &["--mirostat", "from 0 to 2"]);
    fails(&["--logit-bias", "7"], &["--logit-bias", "ID=BIAS"]);
    fails(&["--logit-bias", "99=1"], &["logit-bias", "99", "an id below 16"]);
    fails(&["--logprobs", "3"], &["--json"]);
    fails(&["--logprobs", "21", "--json"], &["--logprobs", "20"]);
}

#[test]
fn a_bias_bans_and_a_banned_string_never_appears() {
    let dir = Dir::new();
    let tiny = tiny();
    let run = |flags: &[&str]| {
        let args = ["run", &tiny, "abc", "--temperature", "0", "--max-tokens", "12"];
        let all: Vec<&str> = args.iter().chain(flags).copied().collect();
        dir.ingle(&all).ok().trim_end_matches('\n').to_owned()
    };
    let free = run(&[]);
    let first = &free[..1];
    assert!(!run(&["--logit-bias", &format!("{first}=-inf")]).contains(first));
    let pair = &free[..2];
    let without = run(&["--banned-string", pair]);
    assert!(!without.contains(pair) && without.len() == free.len(), "{free} {without}");
}

#[test]
fn logprobs_are_in_the_json() {
    let dir = Dir::new();
    let tiny = tiny();
    let args = ["run", &tiny, "abc", "--seed", "1", "--max-tokens", "6", "--json", "--logprobs", "2"];
    let json = dir.ingle(&args).json();
    let entries = json["logprobs"].as_array().unwrap();
    assert_eq!(entries.len() as u64, json["n_generated"].as_u64().unwrap());
    for entry in entries {
        let logprob = entry["logprob"].as_f64().unwrap();
        let top = entry["top_logprobs"].as_array().unwrap();
        assert!(logprob <= 0.0 && top.len() == 2 && top[0]["logprob"].as_f64().unwrap() >= logprob);
        let bytes: Vec<u8> =
            entry["bytes"].as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u8).collect();
        assert_eq!(bytes, entry["token"].as_str().unwrap().as_bytes());
    }
    let text: String = entries.iter().filter_map(|e| e["token"].as_str()).filter(|t| t.len() == 1).collect();
    assert_eq!(text, json["text"].as_str().unwrap());
}

#[test]
fn a_schema_is_held_or_refused() {
    let dir = Dir::new();
    let city = serde_json::json!({ "type": "object", "required": ["city", "people"], "additionalProperties": false,
        "properties": { "city": { "type": "string", "maxLength": 20 }, "people": { "type": "integer", "maximum": 99 } } });
    let file = dir.file("city.json", city.to_string());
    let said = dir.ingle(&["run", "demo", "A city", "--schema", &file, "--seed", "1"]).run();
    assert_eq!(said.code, 0, "{said:?}");
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(answer["city"].is_string() && answer["people"].as_i64().unwrap() <= 99, "{answer}");
    let cut = dir.ingle(&["run", "demo", "A city", "--schema", &file, "--max-tokens", "2"]).run();
    assert!(cut.stderr.contains("before its form was complete"), "{cut:?}");
    let unique = dir.file("unique.json", r#"{"type": "array", "uniqueItems": true}"#);
    dir.ingle(&["run", "demo", "x", "--schema", &unique]).fails(1, &["uniqueItems"]);
    dir.ingle(&["run", "demo", "x", "--schema", "none.json"]).fails(3, &["none.json"]);
}

#[test]
fn a_form_that_leaves_no_choice_is_guessed_and_told_of() {
    let dir = Dir::new();
    let schema = dir.file(
        "s.json",
        r#"{"type": "object", "properties": {"the_name_of_the_animal": {"enum": ["dog", "cat"]}},
            "required": ["the_name_of_the_animal"], "additionalProperties": false}"#,
    );
    let run = |extra: &[&str]| {
        let args = ["run", "demo", "Which animal?", "--temperature", "0", "--schema", &schema, "--json"];
        dir.ingle(&[&args[..], extra].concat()).json()
    };
    let plain = run(&["--speculate", "off"]);
    assert_eq!(plain["guesses"]["drafted"], 0);
    let guessed = run(&["--speculate", "form", "--draft-tokens", "6"]);
    assert_eq!(guessed["text"], plain["text"]);
    assert!(guessed["guesses"]["drafters"]["form"]["accepted"].as_u64().unwrap() > 2, "{guessed}");
    let run = |how: &str| dir.ingle(&["run", "demo", "a", "--speculate", how]);
    run("medusa").fails(2, &["draft:MODEL"]);
    run("heads").fails(1, &["no heads"]);
    run("exit:6").fails(1, &["6 layers, expected 1 to 5"]);
}

#[test]
fn words_of_answers_are_kept_where_asked_for_and_removed() {
    let dir = Dir::new();
    let words = dir.path("state/ingle/words");
    let run = |how: &str| {
        let args = ["run", "demo", "Tell me a story.", "--temperature", "0", "--json", "--draft-tokens", "4"];
        dir.ingle(&[&args[..], &["--speculate", how]].concat()).json()
    };
    let plain = run("auto");
    assert!(!words.exists() && dir.path("cache/ingle/speculation").exists());
    let first = run("words");
    assert_eq!(fs::read_dir(&words).unwrap().count(), 1);
    let again = run("words");
    assert!(first["text"] == plain["text"] && again["text"] == plain["text"]);
    let accepted =
        |of: &serde_json::Value| of["guesses"]["drafters"]["words"]["accepted"].as_u64().unwrap_or(0);
    assert!(accepted(&first) < 5 && accepted(&again) > 20, "{first} {again}");
    dir.ingle(&["rm", "--words"]).ok();
    assert!(!words.exists());
    assert!(accepted(&run("words")) < 5);
}
