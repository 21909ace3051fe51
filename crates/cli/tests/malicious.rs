//! Hostile model files, one test case per file of `malicious/`: the program says in one sentence which file, which part and
//! what it found, exits with the right code, and neither panics nor hangs.
//!
//! `malicious/make.py` writes the files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// File, exit code (5: damaged, 1: well-formed but not usable), and what the sentence says after the file's name.
const CASES: &[(&str, i32, &str)] = &[
    ("alignment-zero", 5, "metadata general.alignment: 0"),
    ("array-length-absurd", 5, "metadata: 3204 bytes left at byte 636"),
    ("array-nested-deep", 5, "metadata x: arrays nested deeper"),
    ("array-of-u64-overflow", 5, "metadata tokenizer.ggml.token_type: 4611686018427387904 elements"),
    ("big-endian", 1, "header: big-endian byte order is not supported"),
    ("context-zero", 5, "metadata llama.context_length: 0"),
    ("dim-lies", 5, "tensor token_embd.weight: shape [8, 16]"),
    ("empty", 5, "header: 0 bytes left at byte 0"),
    ("epsilon-nan", 5, "metadata llama.attention.layer_norm_rms_epsilon: NaN"),
    ("family-missing", 5, "metadata general.architecture: nothing"),
    ("family-unknown", 1, "metadata general.architecture: family \"hal9000\" is not supported"),
    ("heads-do-not-divide", 5, "metadata llama.attention.head_count_kv: 3"),
    ("heads-zero", 5, "metadata llama.attention.head_count: 0"),
    ("key-count-absurd", 5, "header: metadata count 1152921504606846976"),
    ("key-count-one-more", 5, "tensor record 0: a name of 4503599627370496 bytes"),
    ("key-not-utf8", 5, "metadata key 3: a name in invalid UTF-8"),
    ("key-twice", 5, "metadata llama.embedding_length: a second value"),
    ("layers-absurd", 5, "metadata llama.block_count: 2147483648"),
    ("layers-as-text", 5, "metadata llama.block_count: a text"),
    ("layers-missing", 5, "metadata llama.block_count: nothing"),
    ("layers-one-more", 5, "tensor blk.1.attn_q.weight: nothing"),
    ("magic", 5, "header: magic [47, 47, 4d, 4c]"),
    ("norm-nan", 1, "the logit of token 0 is NaN: the model's weights may be damaged"),
    ("pre-tokenizer-unknown", 1, "metadata tokenizer.ggml.pre: runes is not supported"),
    ("rope-odd", 5, "metadata llama.rope.dimension_count: 3"),
    ("rope-scaling-unknown", 1, "metadata llama.rope.scaling.type: \"wormhole\" is not supported"),
    ("string-length-absurd", 5, "metadata: 3776 bytes left at byte 64"),
    ("template-broken", 1, "chat template: unexpected end of input"),
    ("template-grows", 1, "chat template: it made more than 64 MB in line 1"),
    ("template-loops", 1, "chat template: it ran for too long"),
    ("template-raises", 1, "chat template: no chats today"),
    ("template-recurses", 1, "chat template: recursion limit exceeded in line 1"),
    ("tensor-count-absurd", 5, "header: tensor count 1152921504606846976"),
    ("tensor-dimension-zero", 5, "tensor blk.0.attn_q.weight: a dimension of 0"),
    ("tensor-dimensions-many", 5, "tensor blk.0.attn_q.weight: 9 dimensions"),
    ("tensor-format-unknown", 1, "tensor blk.0.attn_q.weight: block format 9999 is not supported"),
    ("tensor-missing", 5, "tensor blk.0.ffn_up.weight: nothing"),
    (
        "tensor-offset-far",
        5,
        "tensor blk.0.attn_q.weight: 256 bytes at offset 1099511627776 of a file of 3840 bytes",
    ),
    (
        "tensor-offset-overflow",
        5,
        "tensor blk.0.attn_q.weight: 256 bytes at offset 18446744073709551584 of a file of 3840 bytes",
    ),
    ("tensor-offset-unaligned", 5, "tensor blk.0.attn_q.weight: offset 3"),
    ("tensor-row-not-whole-blocks", 5, "tensor blk.0.attn_q.weight: rows of 8 values"),
    ("tensor-shape-overflow", 5, "tensor blk.0.attn_q.weight: a dimension of 1099511627776"),
    ("tensor-shape-wrong", 5, "tensor blk.0.attn_q.weight: shape [16, 4]"),
    ("tensor-twice", 5, "tensor blk.0.attn_q.weight: a second record"),
    (
        "tensor-unused",
        1,
        "tensor blk.0.surprise.weight: a tensor that family llama does not use is not supported",
    ),
    ("tensors-overlap", 5, "tensor token_embd.weight: data that overlaps tensor blk.0.attn_q.weight"),
    ("token-types-too-few", 5, "metadata tokenizer.ggml.token_type: 1 types"),
    ("tokenizer-missing", 5, "metadata tokenizer.ggml.model: nothing"),
    ("tokenizer-unknown", 1, "metadata tokenizer.ggml.model: runes is not supported"),
    ("tokens-missing", 5, "metadata tokenizer.ggml.tokens: nothing"),
    ("tokens-not-utf8", 5, "metadata tokenizer.ggml.tokens: token 0: invalid UTF-8"),
    ("tokens-too-few", 5, "metadata tokenizer.ggml.token_type: 16 types"),
    ("truncated-data", 5, "tensor blk.0.ffn_down.weight: 256 bytes at offset 2144 of a file of 3776 bytes"),
    ("truncated-header", 5, "header: 3 bytes left at byte 16"),
    ("truncated-metadata", 5, "metadata: 33 bytes left at byte 267"),
    ("value-type-unknown", 5, "metadata llama.block_count: value type 77"),
    ("version-9", 1, "header: GGUF version 9 is not supported"),
    ("weights-nan", 1, "the logit of token 0 is NaN: the model's weights may be damaged"),
];

/// Generous for a busy machine; a file that loops would take far longer.
const SECONDS_MAX: u64 = 60;

#[test]
fn each_file_is_refused_in_one_sentence() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malicious");
    for &(name, code, says) in CASES {
        let path = dir.join(name).with_extension("gguf");
        let start = Instant::now();
        let output = run(&path);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{name}: {stderr}");
        assert_eq!(stdout, "", "{name}");
        let expected = format!("error: {}: {says}", path.display());
        assert!(stderr.starts_with(&expected), "{name} says {stderr:?}, expected {expected:?}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{name}: {stderr}");
        assert!(start.elapsed() < Duration::from_secs(SECONDS_MAX), "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn every_file_has_a_case_and_the_base_is_valid() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malicious");
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "gguf") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "base" || CASES.iter().any(|(case, ..)| *case == name), "{name} has no case");
    }
    let output = run(&dir.join("base.gguf"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

fn run(path: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_ingle"))
        .args(["run", path.to_str().unwrap(), "abc", "--max-tokens", "3", "--temperature", "0"])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
