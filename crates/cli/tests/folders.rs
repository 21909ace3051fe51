//! Hugging Face folders and split files on the command line.

#[expect(dead_code, reason = "the suite of the command line uses the rest")]
mod harness;

use std::fs;
use std::path::Path;

use harness::Dir;
use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf;

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/folders").join(name).display().to_string()
}

fn logits(dir: &Dir, model: &str, tier: &str) -> Vec<u8> {
    logits_of("1 2 3 60 5", dir, model, tier)
}

fn logits_of(ids: &str, dir: &Dir, model: &str, tier: &str) -> Vec<u8> {
    let ids = dir.file("ids.txt", ids);
    let out = dir.path("logits.f32");
    let out = out.to_str().unwrap();
    dir.ingle(&["logits", model, "--tokens-file", &ids, "--out", out, "--tier", tier]).ok();
    fs::read(out).unwrap()
}

#[test]
fn a_folder_a_file_and_its_parts_give_the_same_logits() {
    let dir = Dir::new();
    for tier in ["scalar", "exact"] {
        for name in ["qwen3_moe", "llama", "fp8"] {
            let file = logits(&dir, &model(&format!("{name}.gguf")), tier);
            assert_eq!(file.len(), 5 * 61 * 4);
            assert!(logits(&dir, &model(name), tier) == file, "{name}, {tier}");
        }
        let parts = logits(&dir, &model("split/lfm2-00001-of-00003.gguf"), tier);
        assert!(parts == logits(&dir, &model("lfm2"), tier), "{tier}");
    }
}

#[test]
fn embeddings_per_layer_that_end_before_the_vocabulary_are_written_for_all_of_it() {
    let (dir, folder) = (Dir::new(), model("gemma3n"));
    dir.ingle(&["quantize", &folder, "out.gguf", "F16"]).ok();
    let file = dir.path("out.gguf");
    let written = gguf::parse(Bytes::new(fs::read(&file).unwrap())).unwrap();
    let rows = |name: &str| written.tensor(name).unwrap().shape[1];
    assert_eq!((rows("token_embd.weight"), rows("per_layer_token_embd.weight")), (97, 97));
    // The folder has 90 rows: the ids behind them are those in question.
    for ids in ["1 2 3 60 5", "89 90 96 4 95"] {
        for tier in ["scalar", "exact"] {
            let of = |model: &str| logits_of(ids, &dir, model, tier);
            assert!(of(&folder) == of(file.to_str().unwrap()), "{ids}, {tier}");
        }
    }
}

#[test]
fn adapters_of_the_peft_library_lie_in_folders_too() {
    let dir = Dir::new();
    let logits = |model: &str, adapters: &[String]| {
        let ids = dir.file("ids.txt", "1 2 3 60 5");
        let out = dir.path("logits.f32").display().to_string();
        let mut args = vec!["logits", model, "--tokens-file", &ids, "--out", &out];
        args.extend(adapters.iter().flat_map(|adapter| ["--adapter", adapter]));
        dir.ingle(&args).ok();
        fs::read(&out).unwrap()
    };
    let (file, folder) = (model("llama.gguf"), model("llama"));
    let [all, rs] = ["../peft/llama-all", "../peft/llama-rs"].map(model);
    let plain = logits(&file, &[]);
    let once = logits(&file, std::slice::from_ref(&all));
    assert!(once != plain && logits(&folder, std::slice::from_ref(&all)) == once);
    assert!(logits(&file, &[format!("{all}/adapter_model.safetensors:1")]) == once);
    assert!(logits(&file, &[format!("{all}:0")]) == plain);
    assert!(logits(&file, &[format!("{all}:0.5"), format!("{rs}:2")]) != once);

    let ids = dir.file("ids.txt", "1");
    let run = |model: &str, adapter: &str| {
        dir.ingle(&["logits", model, "--tokens-file", &ids, "--out", "y", "--adapter", adapter])
    };
    dir.file("half/adapter_config.json", fs::read(Path::new(&all).join("adapter_config.json")).unwrap());
    let half = dir.path("half").display().to_string();
    run(&file, &half).fails(3, &["half/adapter_model.safetensors: no such file"]);
    dir.file("half/adapter_model.safetensors", b"\x09\0\0\0\0\0\0\0{}");
    run(&file, &half).fails(5, &["half: adapter_model.safetensors header: a length of 9 bytes"]);
    run(&file, dir.path(".").to_str().unwrap()).fails(3, &["adapter_config.json: no such file"]);
    run(&model("qwen3.gguf"), &all).fails(5, &["llama-all: ", "shape [2, 16], expected [2, 32]"]);
}

#[test]
fn show_names_the_container_and_what_is_made() {
    let dir = Dir::new();
    let llama = dir.ingle(&["show", &model("llama")]).ok();
    assert!(llama.contains("(safetensors in 2 files, "), "{llama}");
    assert!(llama.contains("of them made when loading"), "{llama}");
    let report = dir.ingle(&["show", &model("qwen3"), "--json"]).json();
    assert_eq!(report["container"], "safetensors");
    assert_eq!(report["family"], "qwen3");
    let report = dir.ingle(&["show", &model("split/lfm2-00001-of-00003.gguf"), "--json"]).json();
    assert_eq!(report["container"], "GGUF 3 in 3 parts");
}

#[test]
fn what_is_no_model_says_so() {
    let dir = Dir::new();
    dir.file("empty/readme.txt", "");
    dir.ingle(&["show", dir.path("empty").to_str().unwrap()]).fails(3, &["without config.json"]);
    let folder = dir.file("weightless/config.json", "{}");
    let folder = Path::new(&folder).parent().unwrap().to_str().unwrap();
    dir.ingle(&["show", folder]).fails(3, &["model.safetensors: no such file"]);
    dir.file("weightless/model.safetensors", b"\0\0\0\0\0\0\0\x80{}");
    dir.ingle(&["show", folder]).fails(5, &["config.json model_type: nothing"]);
    dir.file("weightless/config.json", r#"{"model_type": "hal9000"}"#);
    dir.ingle(&["show", folder]).fails(1, &["config.json model_type: \"hal9000\" is not supported"]);
    dir.file("weightless/config.json", r#"{"model_type": "llama"}"#);
    dir.ingle(&["show", folder])
        .fails(5, &["model.safetensors header: a length of 9223372036854775808 bytes"]);
    let second = model("split/lfm2-00002-of-00003.gguf");
    dir.ingle(&["show", &second]).fails(5, &["open lfm2-00001-of-00003.gguf"]);
    dir.ingle(&["show", &model("qwen3/model.safetensors")]).fails(1, &["the folder it lies in"]);
}

#[test]
fn a_model_without_a_vocabulary_runs_on_ids_only() {
    let dir = Dir::new();
    let said = ["tokenizer.json: nothing, expected the model's vocabulary"];
    dir.ingle(&["run", &model("qwen3"), "hello"]).fails(5, &said);
}

/// A folder with a vocabulary, and what its libraries make of it (`words/make.py`).
fn words() -> (String, serde_json::Value) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/words");
    let expected = fs::read(here.join("expected.json")).unwrap();
    (here.join("model").display().to_string(), serde_json::from_slice(&expected).unwrap())
}

#[test]
fn a_folder_has_its_own_vocabulary() {
    let (dir, (model, expected)) = (Dir::new(), words());
    for (kind, special) in [("text", false), ("special", true)] {
        for case in expected[kind].as_array().unwrap() {
            let text = case[0].as_str().unwrap();
            let mut args = vec!["tokenize", &model, text, "--json"];
            args.extend(special.then_some("--special"));
            assert_eq!(dir.ingle(&args).json()["ids"], case[1], "{text:?}, {kind}");
        }
    }
    let tokenizer = &dir.ingle(&["show", &model, "--json"]).json()["tokenizer"];
    assert_eq!(tokenizer["n_vocab"], 300, "{tokenizer}");
}

#[test]
fn a_file_written_from_a_folder_has_its_vocabulary_template_and_logits() {
    let (dir, (model, expected)) = (Dir::new(), words());
    let out = dir.ingle(&["quantize", &model, "out.gguf", "BF16"]).run();
    assert_eq!((out.code, &*out.stderr), (0, ""), "{out:?}");
    let file = dir.path("out.gguf").display().to_string();
    for (kind, special) in [("text", false), ("special", true)] {
        for case in expected[kind].as_array().unwrap() {
            let mut args = vec!["tokenize", &file, case[0].as_str().unwrap(), "--json"];
            args.extend(special.then_some("--special"));
            assert_eq!(dir.ingle(&args).json()["ids"], case[1], "{case}, {kind}");
        }
    }
    let messages = dir.file("messages.json", expected["messages"].to_string());
    let rendered = dir.ingle(&["template", &file, "--messages", &messages, "--json"]).json();
    assert_eq!(rendered["prompt"], expected["rendered"]);
    let prompt = expected["messages"][0]["content"].as_str().unwrap();
    let [from_folder, from_file] = [&model, &file].map(|model| {
        dir.ingle(&["run", model, prompt, "--temperature", "0", "--max-tokens", "20", "--json"]).json()
    });
    assert_eq!(from_file["text"], from_folder["text"]);
    assert_eq!(
        from_file["n_generated"], from_folder["n_generated"],
        "both end where generation_config.json says"
    );
    for kind in ["BF16", "F32"] {
        dir.ingle(&["quantize", &model, "out.gguf", kind, "--force"]).ok();
        for tier in ["scalar", "exact"] {
            let (a, b) = (logits(&dir, &file, tier), logits(&dir, &model, tier));
            assert!(!a.is_empty() && a == b, "{kind}, {tier}");
        }
    }
    // What GGUF has no name for costs the vocabulary, and is said before the work begins.
    for entry in fs::read_dir(&model).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        dir.file(&format!("copy/{name}"), fs::read(&path).unwrap());
    }
    let copy = dir.path("copy").display().to_string();
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&fs::read(Path::new(&model).join("tokenizer.json")).unwrap()).unwrap();
    tokenizer["pre_tokenizer"]["add_prefix_space"] = true.into();
    dir.file("copy/tokenizer.json", tokenizer.to_string());
    let out = dir.ingle(&["quantize", &copy, "none.gguf", "Q8_0"]).run();
    let said = "the file gets no vocabulary and runs on ids only: ";
    assert!(out.code == 0 && out.stderr.contains(said), "{out:?}");
    assert!(out.stderr.contains("copy: tokenizer.json: pre_tokenizer: "), "{out:?}");
    dir.ingle(&["tokenize", "none.gguf", "a"]).fails(5, &["tokenizer.ggml.model"]);
}

#[test]
fn a_folder_has_its_own_template_and_answers_until_its_end() {
    let (dir, (model, expected)) = (Dir::new(), words());
    let messages = dir.file("messages.json", expected["messages"].to_string());
    let rendered = dir.ingle(&["template", &model, "--messages", &messages, "--json"]).json();
    assert_eq!(rendered["prompt"], expected["rendered"]);

    let prompt = expected["messages"][0]["content"].as_str().unwrap();
    let answer = |model: &str| {
        let args = ["run", model, prompt, "--temperature", "0", "--max-tokens", "20", "--json"];
        dir.ingle(&args).json()
    };
    let answered = answer(&model);
    assert_eq!(answered["text"], expected["answer"]);
    assert_eq!(answered["n_prompt"], expected["prompt"].as_array().unwrap().len());
    assert_eq!(answered["n_generated"], expected["answer_ids"].as_array().unwrap().len());
    assert_eq!(answered["finish"], "end");

    // Without generation_config.json it goes on: config.json knows of one end only.
    for entry in fs::read_dir(&model).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != "generation_config.json" {
            dir.file(&format!("copy/{name}"), fs::read(&path).unwrap());
        }
    }
    let copy = dir.path("copy");
    let goes_on = answer(copy.to_str().unwrap());
    assert!(goes_on["n_generated"].as_u64() > answered["n_generated"].as_u64(), "{goes_on}");
    for (wrong, says) in [
        ("{", "generation_config.json: EOF"),
        (
            r#"{"eos_token_id": "<|end|>"}"#,
            "generation_config.json eos_token_id: something else, expected an id",
        ),
    ] {
        dir.file("copy/generation_config.json", wrong);
        dir.ingle(&["tokenize", copy.to_str().unwrap(), "a"]).fails(5, &[says]);
    }
    fs::remove_file(dir.path("copy/generation_config.json")).unwrap();
    dir.file("copy/tokenizer.json", "{}");
    dir.ingle(&["run", copy.to_str().unwrap(), "a"]).fails(5, &["tokenizer.json: "]);
}
