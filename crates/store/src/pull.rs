//! Fetching a model: ask the hub what there is, plan, then perform file by file.
//!
//! A file counts only once its blob carries its final name, and the branch is noted last, so whatever breaks in between, the
//! cache is as valid as it was before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_net::{Client, Url};

use crate::ask::{Question, ask_small};
use crate::cache::{Cache, lock_file};
use crate::choose::{Choice, choose};
use crate::error::{Error, Result, at};
use crate::fetch::{Event, Fetched, Pass, Retry, Target, Watch, fetch, fetch_beginning, pause};
use crate::hash::{Digest, hash_file};
use crate::listing::{self, LISTING_BYTES_MAX, Listing, RemoteFile, is_safe_path};
use crate::partial::remove_if_there;
use crate::parts::Parts;
use crate::plan::{Step, bytes_to_fetch, step};
use crate::reference::HubRef;
use crate::space;

/// The hub, as the user's environment names it.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where it is.
    pub endpoint: Url,
    /// Who we are, sent to the endpoint alone.
    pub token: Option<String>,
}

impl Hub {
    fn pass(&self) -> Pass<'_> {
        self.token.as_deref().map_or(Pass::None, Pass::Token)
    }
}

/// Everything a pull needs.
#[derive(Debug, Clone, Copy)]
pub struct Puller<'a> {
    /// The way out.
    pub client: &'a Client,
    /// The hub.
    pub hub: &'a Hub,
    /// Where files go.
    pub cache: &'a Cache,
    /// Patience.
    pub retry: Retry,
    /// How large files are fetched.
    pub parts: Parts,
}

/// What will be fetched.
#[derive(Debug, Clone)]
pub struct Job {
    /// What was asked for.
    pub asked: HubRef,
    /// The repository at its commit.
    pub listing: Listing,
    /// The model's files, the one to open first.
    pub files: Vec<RemoteFile>,
    /// What to do for each.
    pub steps: Vec<Step>,
    /// The quantisation, where the name says one.
    pub quant: Option<String>,
    /// A folder of safetensors.
    pub is_folder: bool,
}

impl Puller<'_> {
    /// Asks the hub and plans. One small request.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a repository, file or quantisation that does not exist.
    pub fn plan(&self, hub: &HubRef, watch: Watch<'_>) -> Result<Job> {
        let listing = self.list(hub, watch)?;
        let paths: Vec<&str> = listing.files.iter().map(|f| f.path.as_str()).collect();
        let Choice { files, quant, is_folder } =
            choose(&paths, &hub.want).map_err(|why| Error::NotFound { what: hub.to_string(), why })?;
        let files: Vec<RemoteFile> = files.iter().map(|&i| listing.files[i].clone()).collect();
        let on_disk = |file: &RemoteFile| self.cache.on_disk(&hub.repo, &listing.commit, file);
        let steps = files.iter().map(|file| step(file, on_disk(file))).collect();
        Ok(Job { asked: hub.clone(), listing, files, steps, quant, is_folder })
    }

    /// Does what was planned. Gives the file or folder to open.
    pub fn perform(&self, job: &Job, watch: Watch<'_>) -> Result<PathBuf> {
        let (repo, commit) = (&job.asked.repo, &job.listing.commit);
        self.check_room(job)?;
        self.cache.prepare(repo)?;
        for file in &job.files {
            self.perform_file(job, file, watch)?;
        }
        self.cache.write_ref(&job.asked, commit)?;
        let snapshot = self.cache.snapshot(repo, commit);
        Ok(match job.files.first() {
            Some(first) if !job.is_folder => snapshot.join(&first.path),
            _ => snapshot,
        })
    }

    /// That the disk has room for what will be fetched.
    ///
    /// # Errors
    /// [`Error::NoRoom`] with the sum.
    pub fn check_room(&self, job: &Job) -> Result<()> {
        let needed = bytes_to_fetch(&job.files, &job.steps);
        space::check(self.cache.root(), needed, space::free_bytes(self.cache.root()))
    }

    fn perform_file(&self, job: &Job, file: &RemoteFile, watch: Watch<'_>) -> Result<()> {
        let (repo, commit) = (&job.asked.repo, &job.listing.commit);
        let _lock = self.cache.lock(repo, file, self.client, watch)?;
        // Looked at again, now that nobody else writes: another program may have brought it meanwhile.
        match step(file, self.cache.on_disk(repo, commit, file)) {
            Step::Keep => return Ok(()),
            Step::Link => {}
            Step::Fetch { .. } => {
                let url = listing::file_address(&self.hub.endpoint, &job.listing, file)?;
                let partial = self.cache.partial(repo, &file.digest);
                let target = self.target(file, &url, &partial);
                self.reuse(job, file, &target, watch)?;
                fetch(self.client, &target, &self.retry, &self.parts, watch)?;
                let blob = self.cache.blob(repo, &file.digest);
                at(&blob, fs::rename(&partial, &blob))?;
            }
        }
        self.cache.link(repo, commit, file)
    }

    pub(crate) fn target<'t>(&'t self, file: &'t RemoteFile, url: &'t Url, partial: &'t Path) -> Target<'t> {
        Target {
            name: &file.path,
            url,
            pass: self.hub.pass(),
            size: Some(file.size),
            digest: Some(&file.digest),
            partial,
            tag_file: None,
        }
    }

    /// The file in which the first of the job's files is gathered, with its first bytes up to `until`; `None` where there is no
    /// need or no way.
    pub fn begin(&self, job: &Job, until: u64) -> Option<PathBuf> {
        let (file, repo) = (job.files.first()?, &job.asked.repo);
        if !matches!(job.steps.first()?, Step::Fetch { .. }) {
            return None;
        }
        self.cache.prepare(repo).ok()?;
        let _lock = self.cache.lock(repo, file, self.client, &mut |_| {}).ok()?;
        let partial = self.cache.partial(repo, &file.digest);
        let url = listing::file_address(&self.hub.endpoint, &job.listing, file).ok()?;
        let target = self.target(file, &url, &partial);
        fetch_beginning(self.client, &target, until)
            .is_some_and(|n| n >= until.min(file.size))
            .then_some(partial)
    }

    fn list(&self, hub: &HubRef, watch: Watch<'_>) -> Result<Listing> {
        let url = listing::address(&self.hub.endpoint, hub)?;
        let question = Question {
            url: &url,
            pass: self.hub.pass(),
            accept: None,
            what: &hub.to_string(),
            who: "the hub",
            bytes_max: LISTING_BYTES_MAX,
        };
        let small = ask_small(self.client, &question, &self.retry, watch)?;
        listing::parse(hub, &small.bytes)
    }

    /// Fetches a file from an address to `path`; `expected` is its SHA-256 where the user knows it.
    pub fn fetch_url(
        &self,
        url: &Url,
        path: &Path,
        expected: Option<&Digest>,
        watch: Watch<'_>,
    ) -> Result<Fetched> {
        let beside = |ending: &str| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{name}.{ending}"))
        };
        let folder = path.parent().unwrap_or(path);
        at(folder, fs::create_dir_all(folder))?;
        let (partial, tag_file) = (beside("incomplete"), beside("etag"));
        let name = url.file_name().to_owned();
        let _lock = lock_file(&beside("lock"), || {
            watch(Event::Locked { file: &name });
            pause(self.client, Duration::from_millis(200))
        })?;
        let target = Target {
            name: &name,
            url,
            pass: Pass::None,
            size: None,
            digest: expected,
            partial: &partial,
            tag_file: Some(&tag_file),
        };
        if let Some(fetched) = self.is_here(path, expected)? {
            return Ok(fetched);
        }
        let fetched = fetch(self.client, &target, &self.retry, &self.parts, watch)?;
        at(path, fs::rename(&partial, path))?;
        remove_if_there(&tag_file)?;
        Ok(fetched)
    }
}

impl Puller<'_> {
    /// What lies at `path`, where it is what is `expected`.
    fn is_here(&self, path: &Path, expected: Option<&Digest>) -> Result<Option<Fetched>> {
        let Some(expected) = expected.filter(|_| path.is_file()) else { return Ok(None) };
        let size = at(path, fs::metadata(path))?.len();
        let stop = || self.client.is_interrupted();
        let Some(found) = hash_file(path, expected, &stop, &mut |_| {})? else {
            return Err(ingle_net::Error::Interrupted.into());
        };
        Ok((found == *expected).then_some(Fetched { size, digest: found }))
    }
}

/// Where a file from an address lies below `folder`: under its host and its path.
///
/// # Errors
/// [`Error::Reference`] for an address that names no file, or one that could leave the folder.
pub fn path_of_url(folder: &Path, url: &Url) -> Result<PathBuf> {
    let wrong = |expected: &str| Error::Reference { found: url.to_string(), expected: expected.to_owned() };
    let relative = format!("{}{}", url.origin.host.replace(['[', ']', ':'], "_"), url.path());
    if !url.file_name().to_ascii_lowercase().ends_with(".gguf") {
        return Err(wrong("expected the address of a .gguf file"));
    }
    if !is_safe_path(&relative) {
        return Err(wrong("expected a path of plain names"));
    }
    Ok(folder.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_from_addresses_lie_under_host_and_path() {
        let path = |text: &str| path_of_url(Path::new("m"), &Url::parse(text).unwrap());
        assert_eq!(path("https://a.org:1/b/c.gguf?d=/e").unwrap(), Path::new("m/a.org/b/c.gguf"));
        for bad in
            ["https://a/", "https://a/b", "https://a/../b.gguf", "https://a/x:y.gguf", "https://a//b.gguf"]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
