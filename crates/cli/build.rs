//! What the linker can do for the size of the program: functions that came out alike are kept once, and the addresses that
//! are set when the program starts are listed in the short form (`DT_RELR`), a hundredth of the long one.
//!
//! Not every linker and C library can do both. So each option is tried on an empty program, which must link and start; one
//! that fails is left out, and so are all when the program is built for another machine than this one. A program with the
//! short form asks for a C library that reads it (glibc 2.36), which the one it was built with then does.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const OPTIONS: [&str; 2] = ["-Wl,--icf=all", "-Wl,-z,pack-relative-relocs"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    let here = env::var("HOST").is_ok_and(|host| is("TARGET", &host));
    if !here || !is("CARGO_CFG_TARGET_OS", "linux") || !is("PROFILE", "release") {
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for option in OPTIONS.into_iter().filter(|option| works(option, &folder)) {
        println!("cargo:rustc-link-arg-bins={option}");
    }
}

/// Whether a program that is linked with `option`, as this build links otherwise, starts.
fn works(option: &str, folder: &Path) -> bool {
    let (source, program) = (folder.join("empty.rs"), folder.join("empty"));
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets it"));
    rustc.arg(&source).arg("-o").arg(&program).arg("-C").arg(format!("link-arg={option}"));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    std::fs::write(&source, "fn main() {}\n").is_ok()
        && rustc.output().is_ok_and(|linked| linked.status.success())
        && Command::new(program).status().is_ok_and(|ended| ended.success())
}
