//! Models of several files: opened by one path, watched all, and a sentence when one is missing or is another.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ingle_engine::model_file::ModelFile;

fn folders() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/folders")
}

/// A copy of a folder of tiny models that goes away with the test.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str) -> Self {
        static N: AtomicUsize = AtomicUsize::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ingle-containers-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for entry in fs::read_dir(folders().join(name)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn refuses(&self, name: &str, expected: &str) {
        let path = self.path(name);
        let said = ModelFile::open(&path).err().map_or_else(|| panic!("{name} opens"), |e| e.to_string());
        assert!(said.contains(expected), "{said:?}, expected {expected:?}");
        assert!(said.starts_with(self.0.to_str().unwrap()) && !said.contains('\n'), "{said}");
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const FIRST: &str = "lfm2-00001-of-00003.gguf";
const SECOND: &str = "lfm2-00002-of-00003.gguf";
const LAST: &str = "lfm2-00003-of-00003.gguf";

#[test]
fn the_first_part_opens_all_and_they_hold_what_the_whole_holds() {
    let parts = ModelFile::open(&folders().join("split").join(FIRST)).unwrap();
    let whole = ModelFile::open(&folders().join("lfm2.gguf")).unwrap();
    assert_eq!(parts.contents().container, "GGUF 3 in 3 parts");
    assert_eq!(parts.contents().tensors().len(), whole.contents().tensors().len());
    for tensor in whole.contents().tensors() {
        assert!(parts.contents().tensor(&tensor.name).unwrap().bytes()[..] == tensor.bytes()[..]);
    }
}

#[test]
fn parts_that_are_missing_renamed_or_not_the_first_are_named() {
    let copy = Copy::of("split");
    copy.refuses(SECOND, &format!("part 2 of 3, expected the first part: open {FIRST}"));
    fs::rename(copy.path(FIRST), copy.path("model.gguf")).unwrap();
    copy.refuses("model.gguf", "expected a name that ends in -00001-of-00003.gguf");
    fs::rename(copy.path("model.gguf"), copy.path(FIRST)).unwrap();
    fs::copy(copy.path(SECOND), copy.path(LAST)).unwrap();
    copy.refuses(FIRST, "part 3 of 3: a file that says it is part 2 of 3");
    fs::remove_file(copy.path(LAST)).unwrap();
    copy.refuses(FIRST, &format!("metadata split.count: {LAST} is not there"));
}

#[test]
fn every_file_is_watched() {
    for (folder, open, watched) in
        [("split", FIRST, SECOND), ("llama", "", "model-00002-of-00002.safetensors")]
    {
        let copy = Copy::of(folder);
        let file = ModelFile::open(&copy.path(open)).unwrap();
        file.check_unchanged().unwrap();
        let n_bytes = fs::metadata(copy.path(watched)).unwrap().len();
        let changed = fs::File::options().write(true).open(copy.path(watched)).unwrap();
        changed.set_len(n_bytes + 1).unwrap();
        let said = file.check_unchanged().unwrap_err().to_string();
        assert!(said.contains(watched) && said.contains("changed"), "{said}");
    }
}

#[test]
fn folders_that_miss_something_say_what() {
    let copy = Copy::of("llama");
    let index = fs::read_to_string(copy.path("model.safetensors.index.json")).unwrap();
    let part = "model-00002-of-00002.safetensors";
    fs::rename(copy.path(part), copy.path("elsewhere")).unwrap();
    copy.refuses("", &format!("model.safetensors.index.json: {part}, which is not there"));
    fs::write(copy.path("model.safetensors.index.json"), index.replace(part, "../elsewhere")).unwrap();
    copy.refuses(
        "",
        "model.safetensors.index.json: file \"../elsewhere\", expected names of files beside it",
    );
    fs::remove_file(copy.path("model.safetensors.index.json")).unwrap();
    copy.refuses("", "model.safetensors: no such file");
    fs::remove_file(copy.path("config.json")).unwrap();
    copy.refuses("", "config.json: no such file");
    fs::create_dir(copy.path("config.json")).unwrap();
    copy.refuses("", "config.json: file: not a regular file");
}

#[test]
fn a_file_is_known_by_its_beginning_or_its_name() {
    let copy = Copy::of("qwen3");
    copy.refuses(
        "model.safetensors",
        "a file of weights alone: no configuration is not supported; supported: the folder",
    );
    fs::write(copy.path("stories.bin"), [7; 100]).unwrap();
    copy.refuses(
        "stories.bin",
        "header dim: 117901063, expected 1 to 16777216 (is this a checkpoint of llama2.c?)",
    );
    fs::write(copy.path("old.bin"), b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.").unwrap();
    copy.refuses("old.bin", "old.bin header: PyTorch's format of before its version 1.6 is not supported");
    fs::copy(folders().join("qwen3.gguf"), copy.path("named.bin")).unwrap();
    assert_eq!(ModelFile::open(&copy.path("named.bin")).unwrap().contents().container, "GGUF 3");
}

#[test]
fn a_folder_has_files_of_pytorch_where_it_has_no_safetensors() {
    let pytorch = folders().join("../pytorch/mistral/pytorch_model.bin");
    let copy = Copy::of("mistral");
    fs::copy(&pytorch, copy.path("pytorch_model.bin")).unwrap();
    fs::copy(&pytorch, copy.path("other.pth")).unwrap();
    let container = |name: &str| ModelFile::open(&copy.path(name)).unwrap().contents().container.clone();
    assert_eq!(container(""), "safetensors");
    assert_eq!(container("other.pth"), "PyTorch", "a file stands for its folder");
    fs::remove_file(copy.path("model.safetensors")).unwrap();
    assert_eq!(container(""), "PyTorch");
    fs::remove_file(copy.path("config.json")).unwrap();
    copy.refuses("other.pth", "config.json: no such file");
}

#[test]
fn a_template_comes_from_its_own_file_or_the_tokenizers() {
    let copy = Copy::of("qwen3");
    let template = || ModelFile::open(&copy.0).unwrap().template_source().unwrap().map(str::to_owned);
    assert_eq!(template(), None);
    fs::write(copy.path("tokenizer_config.json"), r#"{"chat_template": "one"}"#).unwrap();
    assert_eq!(template().as_deref(), Some("one"));
    let several =
        r#"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "two"}]}"#;
    fs::write(copy.path("tokenizer_config.json"), several).unwrap();
    assert_eq!(template().as_deref(), Some("two"));
    fs::write(copy.path("chat_template.jinja"), "three").unwrap();
    assert_eq!(template().as_deref(), Some("three"));
    fs::write(copy.path("chat_template.jinja"), b"\xff").unwrap();
    copy.refuses("", "chat_template.jinja: invalid UTF-8");
}
