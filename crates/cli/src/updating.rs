//! Releases as this program follows them: where they lie, and the children that look at what came.
//!
//! A release is opened and measured by this very program, started again, with verbs that people type, too: `show` for its
//! structure, `run`, `perplexity` and `bench` for what it achieves. A child that a hostile file ends takes nothing with it; it
//! has limits of time and memory, reads the release and writes nothing, and reaches nobody ([`mod@crate::confine`]).

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ingle_store::library::Meaning;
use ingle_store::release::Releases;
use ingle_store::release::offer::{Offer, Smoke};
use ingle_store::release::state::{Slot, Standing};
use serde_json::Value;

use crate::confine::{self, Limits};
use crate::env::{Env, say};
use crate::exit::Failure;
use crate::pulling;
use crate::verbs::{CONFINED, human_bytes};

/// Memory for opening a model beside its mapped file, and for using one beside twice its bytes, where the user names none.
const OPENING_BYTES: u64 = 2 << 30;
const USING_BYTES: u64 = 4 << 30;
/// Addresses beside those of files and of what is taken: the program itself, and for each thread a stack and a pool of the allocator.
const PROGRAM_ADDRESSES: u64 = 2 << 30;
const THREAD_ADDRESSES: u64 = 256 << 20;
/// What is said last when there is no more memory to have: by the standard library, and where threads begin, for their stacks.
const OUT_OF_MEMORY: [&str; 3] =
    ["memory allocation of", "the system starts a thread", "the system gave no thread"];
/// Before what a system can't limit, as a child says it.
pub const LACKING: &str = "note: children are not confined as they should be: ";
/// How often a child is looked after.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of what a child says that are read.
const SAID_BYTES_MAX: u64 = 1 << 20;
/// Tokens of an answer to a prompt, and tokens that the speed is measured over.
const ANSWER_TOKENS: &str = "32";
const SPEED_TOKENS: &str = "32";

/// The releases on this device.
pub fn releases(env: &Env) -> Releases {
    Releases::new(env.dirs.data.join("releases"))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The file or folder that `name` means if it is a model whose releases are followed; says what there is to say.
pub fn path_of(name: &str, env: &Env) -> Result<Option<std::path::PathBuf>, Failure> {
    let releases = releases(env);
    // A name whose release was removed may be another model's.
    let is_other = || matches!(pulling::library(env).find(name), Ok(Meaning::Here(_)));
    if !releases.is_here(name)? && is_other() {
        return Ok(None);
    }
    let opened = releases.open(name, now(), env.is_use)?;
    let Some(opened) = opened else { return Ok(None) };
    for said in &opened.told {
        say(format_args!("\x1b[33mwarning:\x1b[0m {said}"));
    }
    if env.is_use {
        env.used.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), opened.used));
    }
    Ok(Some(opened.path))
}

/// What was used ended well.
pub fn used_well(env: &Env) -> Result<(), Failure> {
    let used = std::mem::take(&mut *env.used.lock().unwrap_or_else(PoisonError::into_inner));
    if used.is_empty() {
        return Ok(());
    }
    let releases = releases(env);
    used.iter().try_for_each(|(name, _)| releases.ended(name))?;
    Ok(())
}

/// How a release has fared, for people.
pub fn standing(slot: &Slot) -> String {
    match slot.standing {
        Standing::Good => "good".to_owned(),
        Standing::Probation { tries_left, uses_left } => {
            format!("on probation, {uses_left} good uses to go, {tries_left} tries left")
        }
    }
}

/// What a child said.
struct Said {
    /// It ended with 0.
    is_well: bool,
    stdout: String,
    stderr: String,
}

/// What looks at a release, and how much it may take.
#[derive(Debug)]
pub struct Checks<'a> {
    env: &'a Env,
    time_max: Duration,
    /// What the user names.
    memory_max: Option<u64>,
}

/// A release to look at: its folder, and bytes of all of it.
struct Looked<'a> {
    folder: &'a Path,
    n_bytes: u64,
}

impl<'a> Checks<'a> {
    /// Those that take so many seconds, and so many bytes of memory, at most.
    pub fn new(env: &'a Env, seconds: u64, memory_max: Option<u64>) -> Self {
        // The system closes what was left open here only where it is told.
        confine::close_for_children();
        Self { env, time_max: Duration::from_secs(seconds), memory_max }
    }

    /// Whether a model opens. A text says what is wrong with it.
    pub fn structure(&self, path: &Path, offer: &Offer) -> Result<Option<String>, Failure> {
        let looked = looked(path, offer);
        let said = self.child(&["show", &path.display().to_string(), "--json"], &looked, OPENING_BYTES)?;
        said.stderr.lines().filter(|line| line.contains(LACKING)).for_each(say);
        Ok((!said.is_well).then(|| last_line(&said.stderr)))
    }

    /// Whether a model achieves what it must. A text says what it does not.
    pub fn smoke(&self, path: &Path, offer: &Offer) -> Result<Option<String>, Failure> {
        let (looked, smoke) = (looked(path, offer), &offer.terms.smoke);
        let model = path.display().to_string();
        let child = |args: &[&str]| {
            let memory = looked.n_bytes.saturating_mul(2).saturating_add(USING_BYTES);
            self.child(args, &looked, memory)
        };
        for prompt in &smoke.prompts {
            let args = [
                "run",
                &model,
                "--temperature",
                "0",
                "--max-tokens",
                ANSWER_TOKENS,
                "--route",
                "local",
                "--",
                &prompt.prompt,
            ];
            let said = child(&args)?;
            if !said.is_well {
                return Ok(Some(last_line(&said.stderr)));
            }
            if !said.stdout.contains(&prompt.expect) {
                let found = said.stdout.trim();
                return Ok(Some(format!(
                    "{:?} is answered with {found:?}, expected {:?} in it",
                    prompt.prompt, prompt.expect
                )));
            }
        }
        if let (Some(text), Some(most)) = (&smoke.text, smoke.perplexity_max_milli) {
            let text = looked.folder.join(text).display().to_string();
            let ctx = smoke.perplexity_ctx.map(|ctx| ctx.to_string());
            let mut args = vec!["perplexity", &model, "--file", &text, "--json"];
            args.extend(ctx.iter().flat_map(|ctx| ["--ctx", ctx]));
            let said = child(&args)?;
            let found = number(&said, "/ppl/value");
            if let Some(wrong) = bound("perplexity", found, most as f64 / 1000.0, f64::le, "at most", &said) {
                return Ok(Some(wrong));
            }
            if let Some(wrong) = memory(number(&said, "/ram_bytes"), smoke, &said) {
                return Ok(Some(wrong));
            }
        }
        if smoke.tokens_per_second_min_milli.is_none() && smoke.ram_bytes_max.is_none() {
            return Ok(None);
        }
        let said = child(&["bench", "-m", &model, "-p", "0", "-n", SPEED_TOKENS, "-r", "1", "-o", "json"])?;
        if let Some(least) = smoke.tokens_per_second_min_milli {
            let found = number(&said, "/0/avg_ts");
            let wrong = bound("tokens per second", found, least as f64 / 1000.0, f64::ge, "at least", &said);
            if wrong.is_some() {
                return Ok(wrong);
            }
        }
        Ok(memory(number(&said, "/0/peak_rss"), smoke, &said))
    }
}

fn looked<'a>(path: &'a Path, offer: &Offer) -> Looked<'a> {
    let folder = match offer.terms.open.as_str() {
        "." => path,
        open => path.ancestors().nth(open.split('/').count()).unwrap_or(path),
    };
    Looked { folder, n_bytes: offer.size() }
}

fn memory(found: Option<f64>, smoke: &Smoke, said: &Said) -> Option<String> {
    let most = smoke.ram_bytes_max? as f64;
    bound("bytes of memory", found, most, f64::le, "at most", said)
}

/// What is wrong with a number, if anything.
fn bound(
    what: &str,
    found: Option<f64>,
    limit: f64,
    holds: fn(&f64, &f64) -> bool,
    word: &str,
    said: &Said,
) -> Option<String> {
    match found {
        None => Some(format!("{what} can't be measured: {}", last_line(&said.stderr))),
        Some(found) if holds(&found, &limit) => None,
        Some(found) => Some(format!("{what}: {found:.3}, expected {word} {limit:.3}")),
    }
}

fn number(said: &Said, pointer: &str) -> Option<f64> {
    let document: Value = serde_json::from_str(&said.stdout).ok().filter(|_| said.is_well)?;
    document.pointer(pointer)?.as_f64()
}

impl Checks<'_> {
    /// Runs this program again, to its end.
    fn child(&self, args: &[&str], looked: &Looked<'_>, memory: u64) -> Result<Said, Failure> {
        let program = std::env::current_exe().map_err(|e| Failure::file("the program itself", &e))?;
        let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        let memory_bytes = self.memory_max.unwrap_or(memory);
        let files = looked.n_bytes.saturating_mul(2);
        let limits = Limits {
            memory_bytes,
            address_bytes: memory_bytes
                .saturating_add(files)
                .saturating_add(PROGRAM_ADDRESSES + THREAD_ADDRESSES * n_threads),
            cpu_seconds: self.time_max.as_secs().max(1).saturating_mul(n_threads),
            folder: looked.folder.to_owned(),
        };
        let spawned = Command::new(&program)
            .arg(format!("--{CONFINED}={limits}"))
            .args(args.split_at(1).0)
            .arg("--offline")
            .args(args.split_at(1).1)
            .env("INGLE_LEDGER", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|e| Failure::file(&program, &e))?;
        let (stdout, stderr) = (listen(child.stdout.take()), listen(child.stderr.take()));
        let status = wait(&mut child, self.time_max, self.env);
        let hear = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
        let (stdout, mut stderr) = (hear(stdout), hear(stderr));
        let status = status.map_err(|e| Failure::file(&program, &e))?;
        if self.env.interrupted.load(Relaxed) {
            return Err(Failure::interrupted());
        }
        match status {
            None => stderr = format!("it took longer than {} s", self.time_max.as_secs()),
            Some(status) if !status.success() && OUT_OF_MEMORY.iter().any(|said| stderr.contains(said)) => {
                stderr = format!("it took more than {} of memory", human_bytes(memory_bytes));
            }
            Some(status) if status.code().is_none() => {
                stderr = format!("the program that opened it ended with {status}");
            }
            Some(_) => {}
        }
        Ok(Said { is_well: status.is_some_and(|s| s.success()), stdout, stderr })
    }
}

/// Reads what a child says, while it runs.
fn listen(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut bytes);
            // The rest is let go by, so that the child is not held up.
            let _ = std::io::copy(&mut from, &mut std::io::sink());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child, not for ever; `None` where it had to be ended.
fn wait(
    child: &mut Child,
    time_max: Duration,
    env: &Env,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > time_max || env.interrupted.load(Relaxed) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// What a child said last, without the word that all errors begin with.
fn last_line(stderr: &str) -> String {
    let mut lines = stderr.lines();
    // A bug of ours says what it is behind where it is.
    let panicked = lines.by_ref().find(|line| line.contains(" panicked at ")).and_then(|_| lines.next());
    let last = || stderr.lines().rev().find(|line| !line.trim().is_empty());
    let line = panicked.or_else(last).unwrap_or("it said nothing");
    line.trim_start_matches("error:").trim().to_owned()
}
