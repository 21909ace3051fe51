//! Fetches one file: resumes what is there, hashes as it writes, retries what may pass, and trusts only the hash. A large file
//! whose hash is known comes over several connections ([`crate::parts`]).
//!
//! The caller holds the lock of the partial file. Whatever happens, that file holds a beginning of what was sent, so the
//! next attempt (a minute or a week later) goes on behind it; only bytes with a wrong hash are deleted.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use ingle_net::policy::Purpose;
use ingle_net::{Client, Request, Response, Url};

use crate::answer::{Head, Verdict, judge, judge_part};
use crate::error::{Error, Result, at};
use crate::hash::Digest;
use crate::parallel::{Outcome, fetch_parts, remove_beside};
use crate::partial::{Partial, remove_if_there};
use crate::parts::Parts;
use crate::registry::pass::{Passes, Shown};

/// An attempt that brought this much starts the count of tries anew.
pub(crate) const PROGRESS_BYTES: u64 = 64 << 10;
/// How often a pause looks whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(100);

/// How often to try, and how long to wait in between.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in a row that bring nothing before we give up.
    pub tries_max: u32,
    /// Wait before the second try; doubled for each one after.
    pub first_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries_max: 5, first_wait: Duration::from_millis(500) }
    }
}

impl Retry {
    /// The wait after `n_failed` failures in a row, or `None` when it is enough. A server's own wish comes first.
    pub fn wait(&self, n_failed: u32, asked: Option<Duration>) -> Option<Duration> {
        let backoff = self.first_wait * 2u32.saturating_pow(n_failed.saturating_sub(1)).min(1 << 10);
        (n_failed < self.tries_max).then(|| asked.unwrap_or(backoff))
    }
}

/// What happens meanwhile, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A file begins or goes on: bytes that are on disk, of how many.
    Bytes {
        /// The file's name.
        file: &'a str,
        /// Bytes on disk.
        done: u64,
        /// Bytes of the whole file.
        size: u64,
    },
    /// Something failed that may pass.
    Waiting {
        /// What failed.
        why: String,
        /// How long until the next try.
        wait: Duration,
    },
    /// A file is made of an older revision and less than all of its bytes.
    Reused {
        /// The file's name.
        file: &'a str,
        /// How.
        way: &'static str,
        /// Bytes to fetch.
        bytes: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Another program fetches this file; we wait for it.
    Locked {
        /// The file's name.
        file: &'a str,
    },
}

/// Receives events.
pub type Watch<'a> = &'a mut dyn FnMut(Event<'_>);

/// One file to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// Where it is.
    pub url: &'a Url,
    /// Shown to the host of `url` alone.
    pub pass: Pass<'a>,
    /// Its bytes, where they are known before.
    pub size: Option<u64>,
    /// Its hash, where it is known before.
    pub digest: Option<&'a Digest>,
    /// Where its bytes are gathered.
    pub partial: &'a Path,
    /// Where the server's entity tag is kept between attempts, for a file without a hash: a part is only continued while the
    /// server still has the same content.
    pub tag_file: Option<&'a Path>,
}

/// What a server is shown.
#[derive(Debug, Clone, Copy)]
pub enum Pass<'a> {
    /// Nothing.
    None,
    /// A token of the user's.
    Token(&'a str),
    /// What a registry gives to everybody who asks, and wants to see again.
    Registry(&'a Passes),
}

impl Pass<'_> {
    /// What to show now.
    pub(crate) fn token(&self) -> Option<Shown> {
        match self {
            Self::None => None,
            Self::Token(token) => Some(Shown::Token((*token).to_owned())),
            Self::Registry(passes) => passes.shown(),
        }
    }

    /// After a refusal: whether there is something new to show.
    pub(crate) fn is_renewed(&self, client: &Client, refusal: &Response) -> std::result::Result<bool, Stop> {
        match self {
            Self::Registry(passes) if refusal.status == 401 => passes.renew(client, refusal),
            _ => Ok(false),
        }
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes.
    pub size: u64,
    /// Of the content.
    pub digest: Digest,
}

/// Why an attempt ended without the whole file.
pub(crate) enum Stop {
    /// More tries won't help.
    Final(Error),
    /// They may.
    Later(Error, Option<Duration>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Fetches `target` into its partial file, synced to disk and verified.
///
/// # Errors
/// Whatever is left when the tries are used up; [`Error::Mismatch`] for content with a wrong hash, which is deleted.
pub fn fetch(
    client: &Client,
    target: &Target<'_>,
    retry: &Retry,
    parts: &Parts,
    watch: Watch<'_>,
) -> Result<Fetched> {
    let mut partial = Partial::open(client, target)?;
    let mut size = target.size;
    let mut n_failed = 0;
    // Parts of a file may only be put together where a hash says in the end that they belong together.
    let mut in_parts = target.digest.and(target.size).filter(|&size| parts.are_worth_it(size));
    loop {
        if let Some(size) = in_parts {
            match fetch_parts(client, target, &mut partial, size, (retry, parts), watch) {
                Ok(Outcome::Whole) => {}
                Ok(Outcome::NoRanges) => {
                    in_parts = None;
                    remove_beside(target.partial)?;
                    partial.beside = 0;
                }
                Err(e) => return Err(partial.explain(e, target, Some(size))),
            }
        }
        let before = partial.len;
        let (error, asked) = match attempt(client, target, &mut partial, &mut size, watch) {
            Ok(size) => match partial.verify(target, size)? {
                Some(fetched) => return Ok(fetched),
                None => continue,
            },
            Err(Stop::Final(e)) => return Err(partial.explain(e, target, size)),
            Err(Stop::Later(e, asked)) => (e, asked),
        };
        n_failed = if partial.len >= before + PROGRESS_BYTES { 1 } else { n_failed + 1 };
        let Some(wait) = retry.wait(n_failed, asked) else {
            return Err(error);
        };
        watch(Event::Waiting { why: error.to_string(), wait });
        pause(client, wait).map_err(|e| partial.explain(e, target, size))?;
    }
}

/// One connection: from the partial file's end to the file's end, if all goes well. Gives the whole file's size.
fn attempt(
    client: &Client,
    target: &Target<'_>,
    partial: &mut Partial<'_>,
    size_known: &mut Option<u64>,
    watch: Watch<'_>,
) -> std::result::Result<u64, Stop> {
    if let Some(size) = size_known.filter(|&size| size == partial.len) {
        return Ok(size);
    }
    let tag = target.tag_file.and_then(|path| std::fs::read_to_string(path).ok());
    let response = ask(client, target, &Ask { from: partial.len, to: None, tag: tag.as_deref() })?;
    let head = Head::of(&response);
    // A whole file may be another one than the one we had begun, where nothing said beforehand how long it is.
    let known = if head.status == 200 { target.size } else { *size_known };
    let size = match judge(&head, partial.len, known) {
        Verdict::Append { size } => size,
        Verdict::Restart { size } => {
            if partial.len > 0 {
                partial.restart(Some(size))?;
            }
            size
        }
        Verdict::NothingLeft { size: whole } if known.is_none() && whole == Some(partial.len) => {
            return Ok(partial.len);
        }
        Verdict::NothingLeft { .. } if partial.len > 0 => {
            partial.restart(known)?;
            let error = status(target, head.status, ", so what was kept is dropped");
            return Err(Stop::Later(error, Some(Duration::ZERO)));
        }
        refused => return Err(refusal(refused, target, head.status)),
    };
    if let Some(path) = target.tag_file {
        keep_tag(path, &response)?;
    }
    *size_known = Some(size);
    partial.receive(client, target, response, size, watch)
}

/// Which bytes of a target are wanted.
pub(crate) struct Ask<'a> {
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
    pub(crate) tag: Option<&'a str>,
}

/// Asks for some bytes. An answer that only wants to see a pass, and gives one, is no answer yet.
pub(crate) fn ask(
    client: &Client,
    target: &Target<'_>,
    asked: &Ask<'_>,
) -> std::result::Result<Response, Stop> {
    let token = target.pass.token();
    let response = client.get(&Request {
        purpose: Purpose::ModelFile,
        url: target.url,
        token: token.as_ref().map(Shown::credential),
        from: asked.from,
        to: asked.to,
        if_range: asked.tag,
        accept: None,
        timeout: None,
    });
    let response = response.map_err(|e| match e {
        ingle_net::Error::Connection { .. } => Stop::Later(e.into(), None),
        e => Stop::Final(e.into()),
    })?;
    if target.pass.is_renewed(client, &response)? {
        let error = status(target, response.status, ", and gave a new pass");
        return Err(Stop::Later(error, Some(Duration::ZERO)));
    }
    Ok(response)
}

/// Brings the partial file of `target` to at least `until` bytes, in one try, so that what a file begins with is known before the
/// rest is fetched; they are not fetched again. Gives the bytes it has, or `None` where that did not work out.
pub(crate) fn fetch_beginning(client: &Client, target: &Target<'_>, until: u64) -> Option<u64> {
    let size = target.size?;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(target.partial).ok()?;
    let mut len = file.metadata().ok()?.len();
    let until = until.min(size);
    // The second try is for a registry that wants to see a pass first.
    for _ in 0..2 {
        if len >= until {
            break;
        }
        let Ok(response) = ask(client, target, &Ask { from: len, to: Some(until - 1), tag: None }) else {
            continue;
        };
        if !matches!(judge_part(&Head::of(&response), len..until, size), Verdict::Append { .. }) {
            return None;
        }
        let _ = std::io::copy(&mut response.into_reader().take(until - len), &mut file);
        len = file.metadata().ok()?.len();
    }
    Some(len)
}

/// What an answer without content comes to.
pub(crate) fn refusal(verdict: Verdict, target: &Target<'_>, code: u16) -> Stop {
    Stop::Final(match verdict {
        Verdict::Later(asked) => return Stop::Later(status(target, code, "; try again later"), asked),
        Verdict::Denied => denied(target.name, &target.pass, code),
        Verdict::Missing => Error::NotFound {
            what: target.name.to_owned(),
            why: format!("{} has no such file", target.url.origin),
        },
        Verdict::Wrong(found, expected) => Error::Mismatch {
            file: target.name.to_owned(),
            part: format!("answer of {}", target.url.origin),
            found,
            expected,
        },
        _ => status(target, code, ", which is no file"),
    })
}

fn status(target: &Target<'_>, status: u16, said: &str) -> Error {
    Error::Status { url: target.url.origin.to_string(), status, said: said.to_owned() }
}

/// The sentence for a server that will not give it.
pub(crate) fn denied(what: &str, pass: &Pass<'_>, status: u16) -> Error {
    let why = match (pass, status) {
        (Pass::Registry(passes), _) => &passes.why_denied(),
        (Pass::None, 401) => {
            "the hub has no such model, or it is private: set HF_TOKEN to a token that may read it"
        }
        (Pass::Token(_), 401) => "the hub has no such model, or does not accept the token in HF_TOKEN",
        (Pass::None, _) => {
            "its owner asks for consent: accept the terms on the model's page, then set HF_TOKEN"
        }
        (Pass::Token(_), _) => {
            "the token may not read it; accept the terms on the model's page, or use another token"
        }
    };
    Error::NotFound { what: what.to_owned(), why: why.to_owned() }
}

/// Keeps a strong entity tag for the next attempt; a weak one promises too little to join parts.
fn keep_tag(path: &Path, response: &Response) -> Result<()> {
    match response.header("etag").filter(|tag| tag.starts_with('"')) {
        Some(tag) => at(path, std::fs::write(path, tag)),
        None => remove_if_there(path),
    }
}

/// Waits, but not longer than the user wants to.
pub(crate) fn pause(client: &Client, wait: Duration) -> Result<()> {
    let mut left = wait;
    while left > Duration::ZERO && !client.is_interrupted() {
        let slice = LOOK.min(left);
        std::thread::sleep(slice);
        left -= slice;
    }
    if client.is_interrupted() { Err(ingle_net::Error::Interrupted.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_and_a_servers_wish_comes_first() {
        let retry = Retry { tries_max: 4, first_wait: Duration::from_secs(1) };
        let waits: Vec<_> = (1..=4).map(|n| retry.wait(n, None).map(|w| w.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), None]);
        assert_eq!(retry.wait(1, Some(Duration::from_secs(9))), Some(Duration::from_secs(9)));
        assert_eq!(retry.wait(4, Some(Duration::ZERO)), None);
    }
}
