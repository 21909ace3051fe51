//! Fetching a model: ask the hub what there is, plan, then perform file by file.
//!
//! A file counts only once its blob carries its final name, and the branch is noted last, so whatever breaks in between, the
//! cache is as valid as it was before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_net::policy::Purpose;
use ingle_net::{Client, Request, Url};

use crate::answer::{Head, Verdict, judge};
use crate::cache::{Cache, lock_file};
use crate::choose::{Choice, choose};
use crate::error::{Error, Result, at};
use crate::fetch::{Event, Fetched, Retry, Target, Watch, denied, fetch, pause};
use crate::hash::Digest;
use crate::listing::{self, LISTING_BYTES_MAX, Listing, RemoteFile, is_safe_path};
use crate::partial::remove_if_there;
use crate::plan::{Step, step};
use crate::reference::HubRef;

/// Time for the whole listing.
const LISTING_TIMEOUT: Duration = Duration::from_secs(60);

/// The hub, as the user's environment names it.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where it is.
    pub endpoint: Url,
    /// Who we are, sent to the endpoint alone.
    pub token: Option<String>,
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
                let target = Target {
                    name: &file.path,
                    url: &url,
                    token: self.hub.token.as_deref(),
                    size: Some(file.size),
                    digest: Some(&file.digest),
                    partial: &partial,
                    tag_file: None,
                };
                fetch(self.client, &target, &self.retry, watch)?;
                let blob = self.cache.blob(repo, &file.digest);
                at(&blob, fs::rename(&partial, &blob))?;
            }
        }
        self.cache.link(repo, commit, file)
    }

    fn list(&self, hub: &HubRef, watch: Watch<'_>) -> Result<Listing> {
        let url = listing::address(&self.hub.endpoint, hub)?;
        let request = Request {
            purpose: Purpose::ModelListing,
            url: &url,
            token: self.hub.token.as_deref(),
            from: 0,
            if_range: None,
            timeout: Some(LISTING_TIMEOUT),
        };
        let mut n_failed = 0;
        loop {
            let (error, asked) = match self.try_list(hub, &request) {
                Ok(listing) => return Ok(listing),
                Err((error, Some(asked))) => (error, asked),
                Err((error, None)) => return Err(error),
            };
            n_failed += 1;
            let Some(wait) = self.retry.wait(n_failed, asked) else { return Err(error) };
            watch(Event::Waiting { why: error.to_string(), wait });
            pause(self.client, wait)?;
        }
    }

    /// One try; an error comes with `Some(wait)` where another try may help.
    fn try_list(
        &self,
        hub: &HubRef,
        request: &Request<'_>,
    ) -> std::result::Result<Listing, (Error, Option<Option<Duration>>)> {
        let passing = |e: ingle_net::Error| match e {
            ingle_net::Error::Connection { .. } => (e.into(), Some(None)),
            e => (e.into(), None),
        };
        let response = self.client.get(request).map_err(passing)?;
        let head = Head {
            status: response.status,
            content_length: Some(0),
            retry_after: response.header("retry-after"),
            ..Head::default()
        };
        let status = |said: &str| Error::Status {
            url: request.url.origin.to_string(),
            status: head.status,
            said: said.to_owned(),
        };
        match judge(&head, 0, None) {
            Verdict::Restart { .. } => {
                let bytes = response.read_whole(LISTING_BYTES_MAX).map_err(passing)?;
                listing::parse(hub, &bytes).map_err(|e| (e, None))
            }
            Verdict::Denied => Err((denied(&hub.to_string(), self.hub.token.is_some(), head.status), None)),
            Verdict::Missing => {
                let why = "the hub has no such model".to_owned();
                Err((Error::NotFound { what: hub.to_string(), why }, None))
            }
            Verdict::Later(asked) => Err((status("; try again later"), Some(asked))),
            _ => Err((status(", expected a listing"), None)),
        }
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
            token: None,
            size: None,
            digest: expected,
            partial: &partial,
            tag_file: Some(&tag_file),
        };
        let fetched = fetch(self.client, &target, &self.retry, watch)?;
        at(path, fs::rename(&partial, path))?;
        remove_if_there(&tag_file)?;
        Ok(fetched)
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
