//! `ingle quantize` as users and scripts meet it, on the demo model and hostile files.

#[expect(dead_code, reason = "the other tests of the command line use the rest")]
mod harness;

use std::fs;
use std::path::Path;

use harness::{Dir, hostile, tiny};
use ingle_kernel::bytes::Bytes;
use ingle_model::file::gguf;

fn names(dir: &Dir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir.path(".")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| n.contains(".gguf"));
    names.sort();
    names
}

#[test]
fn a_smaller_file_is_written_and_answers() {
    let dir = Dir::new();
    let small = dir.ingle(&["quantize", "demo", "out.gguf", "q4_k", "1", "--json"]).json();
    assert_eq!((small["type"].as_str(), small["file_type"].as_u64()), (Some("Q4_K_M"), Some(15)));
    assert_eq!(small["file_bytes"].as_u64().unwrap(), fs::metadata(dir.path("out.gguf")).unwrap().len());
    assert!(small["bytes_after"].as_u64() < small["bytes_before"].as_u64(), "{small}");
    let error = small["relative_rmse"].as_f64().unwrap();
    assert!(error > 0.01 && error < 0.1, "{error}");
    let answer =
        dir.ingle(&["run", "out.gguf", "Tell me a story.", "--temperature", "0", "--max-tokens", "8"]).ok();
    assert!(answer.trim().len() > 8, "{answer}");
    // Without OUT the name is llama-quantize's, beside IN.
    fs::copy(tiny(), dir.path("in.gguf")).unwrap();
    let said = dir.ingle(&["quantize", "in.gguf", "F16"]).ok();
    assert!(said.contains("ggml-model-F16.gguf") && said.contains("bits per weight"), "{said}");
    assert_eq!(names(&dir), ["ggml-model-F16.gguf", "in.gguf", "out.gguf"]);
}

#[test]
fn what_fell_back_and_what_loses_twice_is_said() {
    let dir = Dir::new();
    let out = dir.ingle(&["quantize", &tiny(), "a.gguf", "Q4_K_M"]).run();
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("token_embd.weight: f16 instead of"), "{out:?}");
    assert!(out.stderr.contains("hold no whole blocks of 256"), "{out:?}");
    let again = dir.ingle(&["quantize", "demo", "b.gguf", "F16", "--tensor-type", "nothing=q8_0"]).run();
    assert!(
        again.stderr.contains("quantised already") && again.stderr.contains("nothing: no tensor"),
        "{again:?}"
    );
    let quiet = dir.ingle(&["quantize", "demo", "c.gguf", "F16", "--allow-requantize"]).run();
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert!(fs::read(dir.path("b.gguf")).unwrap() == fs::read(dir.path("c.gguf")).unwrap());
}

#[test]
fn a_dry_run_says_all_and_writes_nothing() {
    let dir = Dir::new();
    let args = [
        "quantize",
        &tiny(),
        "out.gguf",
        "Q8_0",
        "--output-tensor-type",
        "f16",
        "--token-embedding-type",
        "q5_0",
    ];
    let dry = |extra: &[&str]| dir.ingle(&[&args[..], extra].concat());
    let said = dry(&["--dry-run"]).ok();
    assert!(
        said.contains("as asked") && said.contains("kept: one row") && said.contains("would be written"),
        "{said}"
    );
    let dry = dry(&["--dry-run", "--json"]).json();
    assert!(names(&dir).is_empty() && dry["output"].is_null() && dry["relative_rmse"].is_null());
    let wet = dir.ingle(&[&args[..], &["--json"]].concat()).json();
    for same in ["file_bytes", "bytes_after", "tensors"] {
        assert_eq!(dry[same], wet[same]);
    }
}

#[test]
fn files_that_are_there_stay_unless_forced() {
    let dir = Dir::new();
    fs::copy(tiny(), dir.path("in.gguf")).unwrap();
    dir.file("out.gguf", "precious");
    dir.ingle(&["quantize", "in.gguf", "out.gguf", "Q8_0"]).fails(1, &["out.gguf", "--force"]);
    assert_eq!(fs::read(dir.path("out.gguf")).unwrap(), b"precious");
    dir.ingle(&["quantize", "in.gguf", "out.gguf", "Q8_0", "--force"]).ok();
    dir.ingle(&["quantize", "in.gguf", "./in.gguf", "Q8_0", "--force"]).fails(1, &["the input itself"]);
    dir.ingle(&["quantize", "in.gguf", "no/such/out.gguf", "Q8_0"]).fails(1, &["no/such/out.gguf"]);
    assert_eq!(fs::read(dir.path("in.gguf")).unwrap(), fs::read(tiny()).unwrap());
    assert_eq!(names(&dir), ["in.gguf", "out.gguf"]);
}

#[test]
fn importances_are_measured_added_up_and_used() {
    let dir = Dir::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo-f16.gguf").display().to_string();
    let text = fs::read_to_string(Path::new(&source).with_file_name("golden/held-out.txt")).unwrap();
    let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
    dir.file("a.txt", first);
    dir.file("b.txt", second);
    let said = dir.ingle(&["imatrix", &source, "-o", "a.gguf", "--calib", "a.txt", "--json"]).json();
    let n_chunks = said["n_chunks"].as_u64().unwrap();
    assert!(n_chunks > 0 && said["n_tensors"].as_u64().unwrap() > 20, "{said}");
    assert_eq!(said["datasets"][0], "a.txt");
    // Together in one go, and added up.
    let one = ["imatrix", &source, "-o", "one.gguf", "--calib", "b.txt", "--merge", "a.gguf", "--json"];
    let one = dir.ingle(&one).json();
    dir.ingle(&["imatrix", &source, "-o", "b.gguf", "--calib", "b.txt"]).ok();
    dir.ingle(&["imatrix", "-o", "two.gguf", "--merge", "b.gguf", "--merge", "a.gguf"]).ok();
    // A token counts the same whether texts are read apart or together: sums differ by their rounding to f32 alone.
    dir.ingle(&["imatrix", &source, "-o", "both.gguf", "--calib", "a.txt", "--calib", "b.txt"]).ok();
    let [both, two] = ["both.gguf", "two.gguf"]
        .map(|name| gguf::parse(Bytes::new(fs::read(dir.path(name)).unwrap())).unwrap());
    assert_eq!(both.tensors().len(), two.tensors().len());
    for (a, b) in both.tensors().iter().zip(two.tensors()) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        for (x, y) in a.values().into_iter().zip(b.values()) {
            assert!((x - y).abs() <= 2.0 * f32::EPSILON * x, "{}: {x} {y}", a.name);
        }
    }
    assert_eq!(one["datasets"].as_array().unwrap().len(), 2, "{one}");
    assert!(one["n_chunks"].as_u64().unwrap() > n_chunks);
    let quantize = |with: &[&str]| {
        let args = [&["quantize", &source, "out.gguf", "Q2_K", "--force", "--json"], with].concat();
        let said = dir.ingle(&args).json();
        (said, fs::read(dir.path("out.gguf")).unwrap())
    };
    let (without, _) = quantize(&[]);
    let (with, from_one) = quantize(&["--imatrix", "one.gguf"]);
    let (_, from_two) = quantize(&["--imatrix", "two.gguf"]);
    // The name of the file is in the header.
    assert_eq!(from_one.len(), from_two.len());
    assert!(from_one[from_one.len() / 2..] == from_two[from_two.len() / 2..]);
    assert!(with["relative_rmse"].as_f64() > without["relative_rmse"].as_f64(), "{with}");
    dir.ingle(&["imatrix", "-o", "one.gguf", "--merge", "a.gguf"]).fails(1, &["one.gguf", "--force"]);
    dir.ingle(&["imatrix", &source, "-o", "c.gguf"]).fails(2, &["--calib"]);
    // Another model, if only by its format.
    dir.ingle(&["quantize", &source, "q8.gguf", "Q8_0"]).ok();
    dir.ingle(&["imatrix", "q8.gguf", "-o", "c.gguf", "--calib", "b.txt", "--merge", "a.gguf"])
        .fails(1, &["a.gguf: importances to merge", "of another model", "of the same"]);
    dir.ingle(&["imatrix", "-o", "c.gguf", "--merge", "a.txt"]).fails(5, &["a.txt"]);
    assert_eq!(names(&dir), ["a.gguf", "b.gguf", "both.gguf", "one.gguf", "out.gguf", "q8.gguf", "two.gguf"]);
}

#[test]
fn wrong_requests_are_sentences() {
    let dir = Dir::new();
    let tiny = tiny();
    dir.ingle(&["quantize"]).fails(2, &["Usage"]);
    dir.ingle(&["quantize", &tiny, "Q9"]).fails(2, &["Q9", "Q4_K_M"]);
    dir.ingle(&["quantize", &tiny, "out.gguf", "IQ2_XS"])
        .fails(2, &["IQ2_XS", "read but not written", "IQ4_XS"]);
    dir.ingle(&["quantize", &tiny, "out.gguf", "Q8_0", "many"]).fails(2, &["many", "1 to 1024"]);
    dir.ingle(&["quantize", &tiny, "Q8_0", "2", "3"]).fails(2, &["3", "too many"]);
    dir.ingle(&["quantize", &tiny, "Q8_0", "--tensor-type", "attn"]).fails(2, &["PATTERN=FORMAT"]);
    dir.ingle(&["quantize", &tiny, "Q8_0", "--output-tensor-type", "q9"])
        .fails(2, &["--output-tensor-type", "q9"]);
    dir.ingle(&["quantize", "none.gguf", "out.gguf", "Q8_0"]).fails(3, &["no such file"]);
    dir.ingle(&["quantize", &tiny, "out.gguf", "Q8_0", "--imatrix", "none.dat"]).fails(3, &["none.dat"]);
    dir.file("im.dat", [9, 0, 0, 0]);
    dir.ingle(&["quantize", &tiny, "out.gguf", "Q8_0", "--imatrix", "im.dat"])
        .fails(5, &["im.dat", "importances"]);
    assert!(names(&dir).is_empty(), "nothing is left behind");
}

#[test]
fn hostile_files_leave_nothing_behind() {
    let dir = Dir::new();
    dir.ingle(&["quantize", &hostile("weights-nan.gguf"), "out.gguf", "Q8_0"])
        .fails(1, &["weights-nan.gguf: tensor ", "NaN"]);
    dir.ingle(&["quantize", &hostile("weights-nan.gguf"), "nan.gguf", "Q8_0", "--allow-nan"]).ok();
    assert_eq!(names(&dir), ["nan.gguf"]);
    // Every other file of the folder either quantises or ends in a sentence, and never in a panic.
    let mut n = 0;
    for entry in fs::read_dir(Path::new(&hostile("."))).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "gguf") {
            let out = dir.ingle(&["quantize", path.to_str().unwrap(), "x.gguf", "Q4_K_M", "--force"]).run();
            assert!([0, 1, 5].contains(&out.code), "{}: {out:?}", path.display());
            assert!(
                out.code == 0 || out.stderr.contains(path.file_name().unwrap().to_str().unwrap()),
                "{out:?}"
            );
            n += 1;
        }
    }
    assert!(n > 20, "{n}");
}

#[test]
fn the_list_is_the_shelf() {
    let dir = Dir::new();
    let text = dir.ingle(&["quantize", "--list"]).ok();
    let shelf = dir.ingle(&["quantize", "--list", "--json"]).json();
    assert!(shelf.as_array().unwrap().len() > 20);
    for entry in shelf.as_array().unwrap() {
        assert!(text.contains(entry["name"].as_str().unwrap()), "{entry}");
    }
}
