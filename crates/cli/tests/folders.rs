//! Hugging Face folders and split files on the command line.

#[expect(dead_code, reason = "the suite of the command line uses the rest")]
mod harness;

use std::fs;
use std::path::Path;

use harness::Dir;

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/folders").join(name).display().to_string()
}

fn logits(dir: &Dir, model: &str, tier: &str) -> Vec<u8> {
    let ids = dir.file("ids.txt", "1 2 3 60 5");
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
    dir.ingle(&["run", &model("qwen3"), "hello"]).fails(5, &["tokenizer", "nothing"]);
}
