//! Fetching a model while someone watches: what `ingle pull` does, and `ingle run` when it may.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ingle_net::Client;
use ingle_store::Error;
use ingle_store::cache::Cache;
use ingle_store::fetch::{Event, Retry};
use ingle_store::library::{Library, Meaning};
use ingle_store::parts::Parts;
use ingle_store::plan::bytes_to_fetch;
use ingle_store::pull::Puller;
use ingle_store::reference::{FileRef, HubRef, Reference, Want};
use ingle_store::registry::image::ImageRef;
use ingle_store::registry::login::Kept;
use ingle_store::registry::pull::{ImageJob, ImagePuller};
use ingle_store::short_names;
use serde::Serialize;

use crate::env::{Env, Progress, say};
use crate::exit::Failure;
use crate::fit::{self, Fit};
use crate::model_ref;
use crate::rate::{Rate, clock};
use crate::verbs::human_bytes;
use crate::{credentials, network};

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
    /// What it needs of the memory, as far as that was known before it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Fit>,
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
    let mut library = Library::new(Cache::new(&env.dirs.hub_cache), &env.dirs.data);
    library.images.neighbours.clone_from(&env.dirs.ollama_blobs);
    library
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
        pull(&reference, env)?;
    }
    Ok(())
}

/// Fetches what `reference` names.
pub fn pull(reference: &Reference, env: &Env) -> Result<Pulled, Failure> {
    let (hub, registry) = (network::hub(env)?, network::registry(env)?);
    let named = match reference {
        Reference::Image(ImageRef { registry: Some(named), .. }) => named,
        _ => &registry,
    };
    let client = network::client(&hub, &[&registry, named], env)?;
    let library = library(env);
    let (retry, parts) = (Retry::default(), Parts::default());
    let puller = Puller { client: &client, hub: &hub, cache: &library.cache, retry, parts };
    let mut display = Display::new(env);
    let mut pulled = match reference {
        Reference::Hub(asked) => pull_hub(&puller, asked, &mut display, env)?,
        Reference::Url(file) => pull_url(&puller, &library, file, &mut display)?,
        Reference::Image(image) => {
            let (logins, images) = (network::logins(env)?, &library.images);
            let mut known = logins.clone();
            let (client, registry) = (&client, &registry);
            let with = |logins| ImagePuller { client, registry, logins, images, retry, parts };
            // What everybody is given starts no program of the user's.
            let planned = match (with(&logins).plan(image, &mut |e| display.show(&e)), logins.of(named)) {
                (Err(Error::NotFound { .. }), Some(Kept::Program(helper))) => {
                    display.progress.clear();
                    known.note(named, credentials::ask(&helper, env)?);
                    with(&known).plan(image, &mut |e| display.show(&e))
                }
                (planned, _) => planned,
            };
            pull_image(&with(&known), image, &planned?, &mut display, env)?
        }
    };
    display.progress.clear();
    pulled.connections = connections(&client);
    Ok(pulled)
}

fn pull_hub(
    puller: &Puller<'_>,
    asked: &HubRef,
    display: &mut Display,
    env: &Env,
) -> Result<Pulled, Failure> {
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
    say_size(&what, missing, bytes, &license);
    puller.check_room(&job)?;
    let memory = match missing {
        0 => None,
        _ => Some(fit::before(bytes, job.files.len() == 1, &|until| puller.begin(&job, until), env)?),
    };
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
        memory,
        files: files.collect(),
        connections: Vec::new(),
    })
}

/// What will be fetched, of how much.
fn say_size(what: &str, missing: u64, bytes: u64, license: &str) {
    match missing {
        0 => say(format_args!("{what}: already here")),
        n if n < bytes => {
            say(format_args!("{what}: {} of {} to fetch{license}", human_bytes(n), human_bytes(bytes)));
        }
        _ => say(format_args!("{what}: {}{license}", human_bytes(bytes))),
    }
}

fn pull_image(
    puller: &ImagePuller<'_>,
    image: &ImageRef,
    job: &ImageJob,
    display: &mut Display,
    env: &Env,
) -> Result<Pulled, Failure> {
    let bytes = job.files.iter().map(|f| f.size).sum();
    let missing = bytes_to_fetch(&job.files, &job.steps);
    say_size(&image.to_string(), missing, bytes, "");
    puller.check_room(job)?;
    let is_one = job.files.iter().filter(|f| f.path.ends_with(".gguf")).count() == 1;
    let memory = match missing {
        0 => None,
        _ => Some(fit::before(bytes, is_one, &|until| puller.begin(job, until), env)?),
    };
    let path = puller.perform(job, &mut |e| display.show(&e))?;
    let files = job.files.iter().map(|f| PulledFile {
        path: f.path.clone(),
        bytes: f.size,
        algorithm: f.digest.algorithm(),
        hash: f.digest.to_string(),
    });
    let files = files.collect();
    Ok(Pulled { name: image.to_string(), path, bytes, memory, files, connections: Vec::new() })
}

fn pull_url(
    puller: &Puller<'_>,
    library: &Library,
    file: &FileRef,
    display: &mut Display,
) -> Result<Pulled, Failure> {
    let url = &file.url;
    let path = library.path_of_url(url)?;
    let fetched = puller.fetch_url(url, &path, file.sha256.as_ref(), &mut |e| display.show(&e))?;
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
        memory: None,
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
pub struct Display {
    progress: Progress,
    rate: Rate,
    start: Instant,
    drawn: Option<Instant>,
    file: String,
    is_waiting: bool,
}

impl Display {
    /// Nothing is shown yet.
    pub fn new(env: &Env) -> Self {
        Self {
            progress: Progress::new(env),
            rate: Rate::default(),
            start: Instant::now(),
            drawn: None,
            file: String::new(),
            is_waiting: false,
        }
    }

    /// Removes the line.
    pub fn clear(&mut self) {
        self.progress.clear();
    }

    /// Shows what happens.
    pub fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Bytes { file, done, size } => self.bytes(file, *done, *size),
            Event::Waiting { why, wait } => {
                self.progress.clear();
                match wait.is_zero() {
                    true => say(why),
                    false => say(format_args!("{why}; trying again in {:.1} s", wait.as_secs_f64())),
                }
            }
            Event::Locked { file } if !self.is_waiting => {
                self.is_waiting = true;
                self.progress.clear();
                say(format_args!("{file}: another program is fetching it; waiting for that"));
            }
            Event::Locked { .. } => {}
            Event::Reused { file, way, bytes, size } => {
                self.progress.clear();
                let (bytes, size) = (human_bytes(*bytes), human_bytes(*size));
                say(format_args!(
                    "{file}: {way}, {bytes} instead of {size}; the rest is made of the revision that is here"
                ));
            }
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
