//! Fetching a model while someone watches: what `ingle pull` does, and `ingle run` when it may.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ingle_net::{Client, Url};
use ingle_store::cache::Cache;
use ingle_store::fetch::{Event, Retry};
use ingle_store::hash::Digest;
use ingle_store::library::{Library, Meaning};
use ingle_store::plan::bytes_to_fetch;
use ingle_store::pull::Puller;
use ingle_store::reference::{HubRef, Reference, Want};
use ingle_store::short_names;
use serde::Serialize;

use crate::env::{Env, Progress, say};
use crate::exit::Failure;
use crate::model_ref;
use crate::network;
use crate::rate::{Rate, clock};
use crate::verbs::human_bytes;

/// How often the line is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

/// A model that has come.
#[derive(Debug, Serialize)]
pub struct Pulled {
    /// What to type.
    pub name: String,
    /// The file or folder to open.
    pub path: PathBuf,
    /// Bytes of the whole model.
    pub bytes: u64,
    /// Its files with their hashes.
    pub files: Vec<PulledFile>,
    /// What was said to whom.
    pub connections: Vec<Connection>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct PulledFile {
    /// In the repository, or as the address ends.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// `sha256` or `git blob sha1`.
    pub algorithm: &'static str,
    /// The hash, in hex.
    pub hash: String,
}

/// One row of the ledger.
#[derive(Debug, Serialize)]
pub struct Connection {
    purpose: &'static str,
    to: String,
    n_requests: u64,
    bytes_out: u64,
    bytes_in: u64,
}

/// The models of this user.
pub fn library(env: &Env) -> Library {
    Library::new(Cache::new(&env.dirs.hub_cache), &env.dirs.data)
}

/// Where a model that is not here could be fetched and someone can be asked, asks and fetches.
pub fn offer(text: &str, env: &Env) -> Result<(), Failure> {
    if !env.can_ask() || model_ref::is_on_disk(text) || env.settings.is_on("offline") {
        return Ok(());
    }
    let Meaning::Absent(reference) = model_ref::meaning(text, env)? else { return Ok(()) };
    let from = if reference.to_string() == text { String::new() } else { format!(" ({reference})") };
    if env.ask(&format!("{text}{from} is not here yet. Fetch it now?"), true)? {
        env.catch_ctrl_c();
        pull(&reference, None, env)?;
    }
    Ok(())
}

/// Fetches what `reference` names; `sha256` is the hash the user expects of a single file.
pub fn pull(reference: &Reference, sha256: Option<&Digest>, env: &Env) -> Result<Pulled, Failure> {
    let hub = network::hub(env)?;
    let client = network::client(&hub, env)?;
    let library = library(env);
    let puller = Puller { client: &client, hub: &hub, cache: &library.cache, retry: Retry::default() };
    let mut display = Display::new(env);
    let mut pulled = match reference {
        Reference::Hub(asked) => pull_hub(&puller, asked, &mut display)?,
        Reference::Url(url) => pull_url(&puller, &library, url, sha256, &mut display)?,
    };
    display.progress.clear();
    pulled.connections = connections(&client);
    Ok(pulled)
}

fn pull_hub(puller: &Puller<'_>, asked: &HubRef, display: &mut Display) -> Result<Pulled, Failure> {
    let job = puller.plan(asked, &mut |e| display.show(&e))?;
    let bytes = job.files.iter().map(|f| f.size).sum();
    let missing = bytes_to_fetch(&job.files, &job.steps);
    let license =
        short_names::license(&asked.repo).map(str::to_owned).or_else(|| job.listing.license.clone());
    let license = license.map(|l| format!(", licence: {l}")).unwrap_or_default();
    let what = match &job.quant {
        Some(quant) => format!("{} {quant}", asked.repo),
        None => asked.repo.to_string(),
    };
    match missing {
        0 => say(format_args!("{what}: already here")),
        n if n < bytes => {
            say(format_args!("{what}: {} of {} to fetch{license}", human_bytes(n), human_bytes(bytes)));
        }
        _ => say(format_args!("{what}: {}{license}", human_bytes(bytes))),
    }
    let path = puller.perform(&job, &mut |e| display.show(&e))?;
    // Found again by the quantisation that was chosen, whatever another day's choice would be.
    let want = match (&asked.want, &job.quant) {
        (Want::Default, Some(quant)) => Want::Quant(quant.clone()),
        (want, _) => want.clone(),
    };
    let exact = HubRef { want, ..asked.clone() };
    let short = short_names::of(&asked.repo, job.quant.as_deref()).filter(|s| s.hub_ref() == exact);
    let files = job.files.iter().map(|f| PulledFile {
        path: f.path.clone(),
        bytes: f.size,
        algorithm: f.digest.algorithm(),
        hash: f.digest.to_string(),
    });
    Ok(Pulled {
        name: short.map_or_else(|| exact.to_string(), |s| s.name.to_owned()),
        path,
        bytes,
        files: files.collect(),
        connections: Vec::new(),
    })
}

fn pull_url(
    puller: &Puller<'_>,
    library: &Library,
    url: &Url,
    sha256: Option<&Digest>,
    display: &mut Display,
) -> Result<Pulled, Failure> {
    let path = library.path_of_url(url)?;
    let fetched = puller.fetch_url(url, &path, sha256, &mut |e| display.show(&e))?;
    let file = PulledFile {
        path: url.file_name().to_owned(),
        bytes: fetched.size,
        algorithm: fetched.digest.algorithm(),
        hash: fetched.digest.to_string(),
    };
    Ok(Pulled {
        name: url.to_string(),
        path,
        bytes: fetched.size,
        files: vec![file],
        connections: Vec::new(),
    })
}

fn connections(client: &Client) -> Vec<Connection> {
    let rows = client.ledger().rows().into_iter();
    rows.map(|row| Connection {
        purpose: row.purpose.name(),
        to: row.to.to_string(),
        n_requests: row.n_requests,
        bytes_out: row.bytes_out,
        bytes_in: row.bytes_in,
    })
    .collect()
}

/// The progress line.
struct Display {
    progress: Progress,
    rate: Rate,
    start: Instant,
    drawn: Option<Instant>,
    file: String,
    is_waiting: bool,
}

impl Display {
    fn new(env: &Env) -> Self {
        Self {
            progress: Progress::new(env),
            rate: Rate::default(),
            start: Instant::now(),
            drawn: None,
            file: String::new(),
            is_waiting: false,
        }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Bytes { file, done, size } => self.bytes(file, *done, *size),
            Event::Waiting { why, wait } => {
                self.progress.clear();
                say(format_args!("{why}; trying again in {:.1} s", wait.as_secs_f64()));
            }
            Event::Locked { file } if !self.is_waiting => {
                self.is_waiting = true;
                self.progress.clear();
                say(format_args!("{file}: another program is fetching it; waiting for that"));
            }
            Event::Locked { .. } => {}
        }
    }

    fn bytes(&mut self, file: &str, done: u64, size: u64) {
        if self.file != file {
            file.clone_into(&mut self.file);
            self.rate = Rate::default();
        }
        self.rate.add(self.start.elapsed(), done);
        let is_due = self.drawn.is_none_or(|at| at.elapsed() >= REDRAW);
        if !is_due && done < size {
            return;
        }
        self.drawn = Some(Instant::now());
        let percent = if size == 0 { 100.0 } else { done as f64 * 100.0 / size as f64 };
        let rate =
            self.rate.per_second().map(|r| format!("  {}/s", human_bytes(r as u64))).unwrap_or_default();
        let left = self.rate.left(size).map(|t| format!("  {} left", clock(t))).unwrap_or_default();
        let (done, size) = (human_bytes(done), human_bytes(size));
        self.progress.show(format_args!("{file}  {percent:.0} %  {done} of {size}{rate}{left}"));
    }
}
