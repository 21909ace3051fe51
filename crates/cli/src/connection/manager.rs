//! NetworkManager, asked by its own program `nmcli`, for a moment: where that is not installed or does not answer, it says nothing.
//!
//! Its property `Metered` can only be had over D-Bus, which this program does not speak by default.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take.
const WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 256;

/// `yes`, `no (guessed)`, `unknown`: what is said of an interface.
pub fn metered(interface: &str) -> Option<String> {
    let mut child = Command::new("nmcli")
        .args(["--get-values", "GENERAL.METERED", "device", "show", interface])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let start = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if start.elapsed() < WAIT => std::thread::sleep(LOOK_EVERY),
            _ => {
                // It may have ended meanwhile; either way nothing is heard of it.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut answer = String::new();
    child.stdout.take()?.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).ok()?;
    ended.then_some(answer)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_says_nothing() {
        // No such interface, and on most machines that run this no such program.
        assert_eq!(metered("no-such-if"), None);
    }
}
