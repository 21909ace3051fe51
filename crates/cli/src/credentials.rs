//! Logins for registries that a program of the user's keeps, as docker's file names it: `docker-credential-NAME get`, with the
//! registry on its standard input, writes a name and a secret.
//!
//! It is run where a registry does not give an image to everybody, once, found as any program is, and may take as long as somebody needs
//! to unlock a keychain. The login goes to that registry alone and into no message.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ingle_store::registry::login::{Helper, Kept};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::exit::Failure;

/// How long somebody may take to unlock a keychain.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// What such programs say when they have nothing for a registry.
const NOTHING: &str = "credentials not found";

/// Asks the program; `None` where it has nothing for that registry.
///
/// # Errors
/// What the program says, or that it is not there, is no such program, or takes too long.
pub fn ask(helper: &Helper, env: &Env) -> Result<Option<Kept>, Failure> {
    let program = format!("docker-credential-{}", helper.name);
    let failed = |why: String| {
        Failure::usage(format!(
            "{program}, which keeps the login for {} as docker's file of logins says: {why}",
            helper.server
        ))
    };
    let command = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match command {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(failed("no such program is installed".to_owned()));
        }
        Err(e) => return Err(failed(e.to_string())),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it knows what to say without.
        let _ = stdin.write_all(helper.server.as_bytes());
    }
    let stdout = child.stdout.take();
    let listener = std::thread::spawn(move || {
        let mut answer = Zeroizing::new(Vec::new());
        if let Some(stdout) = stdout {
            let _ = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        }
        answer
    });
    let status = wait(&mut child, env).map_err(|e| failed(e.to_string()))?;
    let Some(status) = status else {
        return Err(match env.interrupted.load(Relaxed) {
            true => Failure::interrupted(),
            false => failed(format!("it took longer than {} s", TIME_MAX.as_secs())),
        });
    };
    let answer = listener.join().unwrap_or_default();
    if status.success() {
        return Helper::read(&answer)
            .map(Some)
            .map_err(|expected| failed(format!("its answer is none, {expected}")));
    }
    // Why it failed stands where the answer would: it is no secret.
    let said = String::from_utf8_lossy(&answer);
    if said.to_lowercase().contains(NOTHING) {
        return Ok(None);
    }
    let said = said.lines().next().unwrap_or_default().trim();
    let why = if said.is_empty() { status.to_string() } else { said.chars().take(200).collect() };
    Err(failed(why))
}

/// Waits for it, not for ever; `None` where it had to be ended.
fn wait(child: &mut Child, env: &Env) -> std::io::Result<Option<std::process::ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > TIME_MAX || env.interrupted.load(Relaxed) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}
