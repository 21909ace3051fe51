//! What a reference to a model means, as far as its text alone can say.
//!
//! `user/repo[:QUANT]`, `hf.co/user/repo[:QUANT]` and the hub's web addresses are hub references; another https address is a
//! file; whatever else may be a short name. Paths are not looked at here: the caller knows the disk.

use std::fmt;

use ingle_net::Url;

use crate::error::{Error, Result};
use crate::short_names;

/// The hub's public endpoint.
pub const ENDPOINT: &str = "https://huggingface.co";
const HUB_HOSTS: [&str; 2] = ["hf.co", "huggingface.co"];
const MAIN: &str = "main";

/// A model that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// On the hub.
    Hub(HubRef),
    /// A file at an address.
    Url(Url),
}

/// Files of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRef {
    /// Whose and which.
    pub repo: Repo,
    /// A branch, tag or commit.
    pub revision: String,
    /// Which of its files.
    pub want: Want,
}

/// Which files of a repository are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// The usual choice.
    Default,
    /// The GGUF file of this quantisation, `Q4_K_M` say.
    Quant(String),
    /// This file.
    File(String),
}

/// `user/repo`, checked: two names of letters, digits, `-`, `_` and `.`, as the hub gives them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repo(String);

impl Repo {
    /// Checks `user/repo`.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, name) = text.split_once('/')?;
        (is_hub_name(user) && is_hub_name(name)).then(|| Self(text.to_owned()))
    }

    /// `user/repo`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `repo`.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

/// `--` is how the cache joins user and name, `..` climbs; the hub allows neither.
fn is_hub_name(name: &str) -> bool {
    let is_edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = name.as_bytes();
    bytes.len() <= 96
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        && !name.contains("--")
        && !name.contains("..")
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HubRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (repo, revision) = (&self.repo, &self.revision);
        match &self.want {
            Want::File(file) if revision != MAIN => write!(f, "{ENDPOINT}/{repo}/blob/{revision}/{file}"),
            _ if revision != MAIN => write!(f, "{ENDPOINT}/{repo}/tree/{revision}"),
            Want::Default => write!(f, "{repo}"),
            Want::Quant(what) | Want::File(what) => write!(f, "{repo}:{what}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(hub) => hub.fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// What stands behind the hub's name at the beginning of `text`, where it stands there.
pub fn behind_hub(text: &str) -> Option<&str> {
    HUB_HOSTS.iter().find_map(|host| text.strip_prefix(host)?.strip_prefix('/'))
}

impl Reference {
    /// Reads a reference; `None` for a text that looks like none (a path or an unknown name).
    ///
    /// # Errors
    /// [`Error::Reference`] for one that is almost right: an address that is not https, a strange quantisation.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if let Some(short) = short_names::find(text) {
            return Ok(Some(Self::Hub(short)));
        }
        let wrong =
            |expected: &str| Error::Reference { found: text.to_owned(), expected: expected.to_owned() };
        if text.contains("://") {
            let url = Url::parse(text).map_err(wrong)?;
            if !HUB_HOSTS.contains(&url.origin.host.as_str()) {
                return Ok(Some(Self::Url(url)));
            }
            let hub = parse_hub(url.path().trim_matches('/'));
            return hub
                .map(|hub| Some(Self::Hub(hub)))
                .ok_or_else(|| wrong("expected https://hf.co/user/repo"));
        }
        let on_hub = behind_hub(text);
        match (parse_hub(on_hub.unwrap_or(text)), on_hub) {
            (Some(hub), _) => Ok(Some(Self::Hub(hub))),
            (None, Some(_)) => Err(wrong("expected hf.co/user/repo or hf.co/user/repo:QUANT")),
            (None, None) => Ok(None),
        }
    }
}

/// `user/repo`, `user/repo:QUANT`, `user/repo:file.gguf`, `user/repo/{blob,resolve}/REVISION/FILE`, `user/repo/tree/REVISION`.
fn parse_hub(text: &str) -> Option<HubRef> {
    let (text, want) = match text.split_once(':') {
        Some((text, what)) => (text, parse_want(what)?),
        None => (text, Want::Default),
    };
    let mut pieces = text.splitn(5, '/');
    let repo = Repo::parse(&format!("{}/{}", pieces.next()?, pieces.next()?))?;
    let (revision, want) = match (pieces.next(), pieces.next(), pieces.next()) {
        (None, None, None) => (MAIN.to_owned(), want),
        (Some("tree"), Some(revision), None) if want == Want::Default => (revision.to_owned(), want),
        (Some("blob" | "resolve"), Some(revision), Some(file)) if want == Want::Default => {
            (revision.to_owned(), Want::File(file.to_owned()))
        }
        _ => return None,
    };
    let is_plain =
        !revision.is_empty() && revision.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    (is_plain && !revision.starts_with('.')).then_some(HubRef { repo, revision, want })
}

/// What stands behind the colon.
pub(crate) fn parse_want(text: &str) -> Option<Want> {
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if text.to_ascii_lowercase().ends_with(".gguf") {
        return Some(Want::File(text.to_owned()));
    }
    is_plain.then(|| Want::Quant(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(text: &str) -> Option<(String, String, Want)> {
        match Reference::parse(text).ok()?? {
            Reference::Hub(h) => Some((h.repo.to_string(), h.revision, h.want)),
            Reference::Url(_) => None,
        }
    }

    #[test]
    fn every_spelling_of_a_hub_reference() {
        let quant = |q: &str| Want::Quant(q.to_owned());
        let file = |f: &str| Want::File(f.to_owned());
        for (text, revision, want) in [
            ("user/repo", "main", Want::Default),
            ("user/repo:Q4_K_M", "main", quant("Q4_K_M")),
            ("user/repo:a.gguf", "main", file("a.gguf")),
            ("hf.co/user/repo:q8_0", "main", quant("q8_0")),
            ("huggingface.co/user/repo", "main", Want::Default),
            ("https://huggingface.co/user/repo", "main", Want::Default),
            ("https://hf.co/user/repo/tree/v2", "v2", Want::Default),
            ("https://hf.co/user/repo/resolve/main/d/a.gguf?download=true", "main", file("d/a.gguf")),
            ("https://hf.co/user/repo/blob/main/a.gguf", "main", file("a.gguf")),
        ] {
            assert_eq!(hub(text), Some(("user/repo".to_owned(), revision.to_owned(), want)), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_left_to_others() {
        for text in
            ["", "x", "./a/b", "../a", "/a/b", "a/b/c", "a//b", "a/b:", "a/b:c d", "a--b/c", "a/..", ".a/b"]
        {
            assert_eq!(Reference::parse(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_is_almost_one_gets_a_sentence() {
        for text in ["ftp://a/b", "https://hf.co/user", "hf.co/user", "hf.co/a/b/../../c", "https://u@a/b"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_addresses_are_files() {
        let url = Reference::parse("https://example.org/a.gguf").unwrap().unwrap();
        assert_eq!(url.to_string(), "https://example.org/a.gguf");
    }
}
