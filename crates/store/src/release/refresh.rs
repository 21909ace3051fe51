//! Asks a repository for its newest metadata and verifies it, by the TUF specification and with the library `tough`.
//!
//! This is the one place of this crate with async code, which is the library's: it runs on this thread until it is done. Its
//! transport is our client, which reads a bounded text in bounded time. It works on a copy of what is trusted, in a folder of
//! its own, since it replaces files without care for a program that ends in between; what it verified, also where it then
//! refused the rest, is given back to be written in one step.

use std::path::Path;
use std::time::Duration;

use ingle_net::policy::Purpose;
use ingle_net::{Client, Request, Url};
use serde_json::Value;
use tough::error::Error as Tuf;
use tough::{
    Bytes, ExpirationEnforcement, Limits, Repository, RepositoryLoader, Transport, TransportError,
    TransportErrorKind, TransportStream,
};

use super::offer::{self, Offered};
use super::state::Trusted;
use crate::error::{Error, Result, at};
use crate::signing::mismatch;

/// Bytes of one metadata file, and of the small ones.
const BYTES_MAX: u64 = 16 << 20;
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Roots that are followed in one refresh.
const ROOTS_MAX: u64 = 256;
/// What the library keeps beside the root.
const KEPT: [&str; 4] = ["timestamp.json", "snapshot.json", "targets.json", "latest_known_time.json"];

/// What a refresh came to.
#[derive(Debug)]
pub struct Refreshed {
    /// What is trusted from now on, whether or not the refresh succeeded.
    pub trusted: Trusted,
    /// What is offered, or why that can't be known.
    pub offered: Result<Offered>,
}

/// Where things are in the repository at `url`.
pub(crate) fn below(url: &Url, path: &str) -> Result<Url> {
    let whole = format!("{}/{path}", url.to_string().trim_end_matches('/'));
    Url::parse(&whole).map_err(|expected| Error::Reference { found: whole, expected: expected.to_owned() })
}

/// Refreshes what is trusted of the repository at `url`. `scratch` is a folder that is not there, and is gone afterwards.
/// A metadata file must come within `time_max`.
///
/// # Errors
/// What the system says; what the repository gives is judged in [`Refreshed::offered`].
pub fn refresh(
    client: &Client,
    url: &Url,
    trusted: &Trusted,
    scratch: &Path,
    time_max: Duration,
) -> Result<Refreshed> {
    at(scratch, std::fs::create_dir_all(scratch))?;
    let refreshed = refresh_in(client, url, trusted, scratch, time_max);
    at(scratch, std::fs::remove_dir_all(scratch))?;
    refreshed
}

fn refresh_in(
    client: &Client,
    url: &Url,
    trusted: &Trusted,
    scratch: &Path,
    time_max: Duration,
) -> Result<Refreshed> {
    for (name, text) in trusted.others.iter().filter(|(name, _)| KEPT.contains(&name.as_str())) {
        let path = scratch.join(name);
        at(&path, std::fs::write(&path, text))?;
    }
    let addresses = [below(url, "metadata/")?, below(url, "targets/")?].map(|url| url.to_string().parse());
    let [Ok(metadata), Ok(targets)] = addresses else {
        return Err(Error::Reference { found: url.to_string(), expected: "expected an address".into() });
    };
    let limits = Limits {
        max_root_size: SMALL_BYTES_MAX,
        max_timestamp_size: SMALL_BYTES_MAX,
        max_snapshot_size: SMALL_BYTES_MAX,
        max_targets_size: BYTES_MAX,
        max_root_updates: ROOTS_MAX,
    };
    let through = Through { client: client.clone(), time_max };
    let loader = RepositoryLoader::new(&trusted.root, metadata, targets)
        .transport(through)
        .limits(limits)
        .datastore(scratch)
        .expiration_enforcement(ExpirationEnforcement::Safe);
    let runtime = at(scratch, tokio::runtime::Builder::new_current_thread().enable_time().build())?;
    let loaded = runtime.block_on(loader.load());
    // The library's own threads write files; they end here.
    drop(runtime);
    let mut newest = Trusted { root: trusted.root.clone(), ..Trusted::default() };
    let keep = |name: &str| std::fs::read_to_string(scratch.join(name)).ok();
    newest.root = keep("root.json").unwrap_or(newest.root);
    newest.others = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), keep(name)?))).collect();
    let offered = match loaded {
        Ok(repository) => offers_of(&repository),
        Err(error) if client.is_interrupted() => {
            Err(Error::Interrupted(format!("{url}: interrupted ({})", first_words(&error))))
        }
        Err(error) => Err(explain(url, &error)),
    };
    Ok(Refreshed { trusted: newest, offered })
}

fn offers_of(repository: &Repository) -> Result<Offered> {
    let targets = serde_json::to_value(&repository.targets().signed).expect("metadata was read from JSON");
    offer::read(&targets, repository.root().signed.consistent_snapshot)
}

/// Checks that `root` is metadata of a root, signed as it says itself: what following a repository begins with.
///
/// # Errors
/// [`Error::Mismatch`] for anything else.
pub fn check_root(what: &str, root: &str) -> Result<()> {
    let wrong =
        |found: String| mismatch(what, "root", &found, "metadata of a root that is signed by its own keys");
    let root: tough::schema::Signed<tough::schema::Root> =
        serde_json::from_str(root).map_err(|e| wrong(e.to_string()))?;
    root.signed.verify_role(&root).map_err(|e| wrong(e.to_string()))
}

/// A failed refresh: the network's fault, or the repository's.
fn explain(url: &Url, error: &Tuf) -> Error {
    let said = first_words(error);
    let is_hostile = causes(error).any(|cause| {
        let tuf = cause.downcast_ref::<Tuf>();
        matches!(tuf, Some(Tuf::HashMismatch { .. } | Tuf::MaxSizeExceeded { .. }))
            || matches!(cause.downcast_ref::<Error>(), Some(Error::Mismatch { .. }))
    });
    match error {
        Tuf::Transport { .. } if !is_hostile => {
            ingle_net::Error::Connection { url: url.to_string(), reason: said }.into()
        }
        Tuf::ExpiredMetadata { .. } => mismatch(
            &url.to_string(),
            "metadata",
            &said,
            "metadata that is still valid; somebody may be holding newer back",
        ),
        _ => mismatch(&url.to_string(), "metadata", &said, "what the TUF specification allows"),
    }
}

/// An error and what it comes from, each once.
fn first_words(error: &Tuf) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if said.last().is_none_or(|last| !last.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

/// An error and those it comes from, the outermost first.
fn causes(error: &Tuf) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// Our client, as the library sees it.
#[derive(Debug, Clone)]
struct Through {
    client: Client,
    time_max: Duration,
}

#[tough::async_trait]
impl Transport for Through {
    async fn fetch(&self, url: url::Url) -> std::result::Result<TransportStream, TransportError> {
        let fetched = self.whole(url.as_str());
        let bytes =
            fetched.map_err(|(kind, error)| TransportError::new_with_cause(kind, url.as_str(), error))?;
        let once = futures_util::stream::once(std::future::ready(Ok(Bytes::from(bytes))));
        Ok(Box::pin(once))
    }
}

impl Through {
    /// The whole text at `url`. Waiting here holds nobody up: there is nothing else on this thread.
    fn whole(&self, url: &str) -> std::result::Result<Vec<u8>, (TransportErrorKind, Error)> {
        let other = |error: Error| (TransportErrorKind::Other, error);
        let url = Url::parse(url)
            .map_err(|expected| Error::Reference { found: url.to_owned(), expected: expected.to_owned() })
            .map_err(other)?;
        let request = Request {
            purpose: Purpose::ReleaseMetadata,
            url: &url,
            token: None,
            from: 0,
            to: None,
            if_range: None,
            accept: None,
            timeout: Some(self.time_max),
        };
        let response = self.client.get(&request).map_err(|e| other(e.into()))?;
        match response.status {
            200 => match response.read_whole(BYTES_MAX) {
                Ok(bytes) => Ok(bytes),
                Err(ingle_net::Error::Answer { url, found, expected }) => {
                    Err(other(mismatch(&url, "metadata", &found, &expected)))
                }
                Err(e) => Err(other(e.into())),
            },
            status => {
                let kind = match status {
                    403 | 404 | 410 => TransportErrorKind::FileNotFound,
                    _ => TransportErrorKind::Other,
                };
                let said = ", expected a repository's metadata".to_owned();
                Err((kind, Error::Status { url: url.to_string(), status, said }))
            }
        }
    }
}

/// The signed part of a metadata file that was verified.
pub(crate) fn signed(text: &str) -> Option<Value> {
    serde_json::from_str::<Value>(text).ok()?.get("signed").cloned()
}
