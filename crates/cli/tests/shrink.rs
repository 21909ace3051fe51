//! A model file that shrinks while it answers ends the program with one sentence and exit code 5.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_file_that_shrinks_while_mapped_ends_in_one_sentence() {
    let model = std::env::temp_dir().join(format!("ingle-shrink-{}.gguf", std::process::id()));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/demo.gguf"), &model).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ingle"))
        .args(["run", model.to_str().unwrap(), "Tell me a story.", "--threads", "1", "--tier", "scalar"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first bytes of the answer: the weights are in use, and most of the answer is to come.
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    File::options().write(true).open(&model).unwrap().set_len(4096).unwrap();
    let output = child.wait_with_output().unwrap();
    fs::remove_file(&model).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains(model.to_str().unwrap()) && stderr.contains("changed") | stderr.contains("shrank")
    );
}
