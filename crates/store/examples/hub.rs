//! The tests' hub as a program: serves the folders USER/REPO below a folder until its standard input ends, and says where.
//!
//! `cargo run -p ingle-store --example hub -- FOLDER`; each request for a file is a line on stderr. `tests/hub_client` runs it.

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/hub/mod.rs"]
mod hub;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::Duration;

fn main() {
    let folder = std::env::args().nth(1).expect("hub FOLDER");
    let hub = hub::Hub::start();
    for user in below(Path::new(&folder)) {
        for repo in below(&user) {
            let name = repo.strip_prefix(&folder).expect("it is below").display().to_string();
            for file in below(&repo) {
                let path = file.file_name().expect("it has one").to_string_lossy().into_owned();
                hub.add(&name, &path, &fs::read(&file).expect("a file that can be read"));
            }
        }
    }
    println!("{}", hub.url);
    let telling = hub.clone();
    thread::spawn(move || {
        let mut n = 0;
        loop {
            for seen in telling.seen().iter().skip(n) {
                n += 1;
                eprintln!("{}{}", if seen.is_head { "HEAD " } else { "GET " }, seen.target);
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    // Whoever started it holds the other end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}
