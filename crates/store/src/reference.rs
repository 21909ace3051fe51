//! What a reference to a model means, as far as its text alone can say.
//!
//! `user/repo[@REVISION][:QUANT]`, the same behind `hf.co/`, and the hub's web addresses are hub references; `ollama:` and
//! `oci:` name images of a registry; another https address is a file, with `#sha256=HEX` behind it one of that content alone;
//! whatever else may be a short name, which takes `@REVISION` too. Paths are not looked at here: the caller knows the disk.

use std::fmt;

use ingle_net::Url;

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::listing::is_safe_path;
use crate::registry::image::ImageRef;
use crate::short_names;

/// The hub's public endpoint.
pub const ENDPOINT: &str = "https://huggingface.co";
const HUB_HOSTS: [&str; 2] = ["hf.co", "huggingface.co"];
/// The branch that is meant where nobody names one.
pub const MAIN: &str = "main";
/// What stands before the hash behind an address.
const HASH_MARK: &str = "sha256=";
const REVISION_CHARS_MAX: usize = 128;

/// A model that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// On the hub.
    Hub(HubRef),
    /// A file at an address.
    Url(FileRef),
    /// An image in a registry.
    Image(ImageRef),
}

/// A file at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Where it is.
    pub url: Url,
    /// What it must hash to, where the reference says so.
    pub sha256: Option<Digest>,
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
        if let Want::File(file) = &self.want
            && !is_gguf_name(file)
        {
            return write!(f, "{ENDPOINT}/{repo}/blob/{revision}/{file}");
        }
        write!(f, "{repo}")?;
        if revision != MAIN {
            write!(f, "@{revision}")?;
        }
        match &self.want {
            Want::Default => Ok(()),
            Want::Quant(what) | Want::File(what) => write!(f, ":{what}"),
        }
    }
}

impl fmt::Display for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)?;
        self.sha256.as_ref().map_or(Ok(()), |digest| write!(f, "#{HASH_MARK}{digest}"))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(hub) => hub.fmt(f),
            Self::Url(file) => file.fmt(f),
            Self::Image(image) => image.fmt(f),
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
        if let Some(image) = ImageRef::parse(text)? {
            return Ok(Some(Self::Image(image)));
        }
        if let Some((name, revision)) = text.rsplit_once('@')
            && let Some(short) = short_names::find(name)
        {
            let revision = parse_revision(revision)
                .ok_or_else(|| wrong("expected the name of a branch or tag, or a commit, behind the @"))?;
            return Ok(Some(Self::Hub(HubRef { revision, ..short })));
        }
        if text.contains("://") {
            let (address, hash) = text.split_once('#').map_or((text, None), |(a, h)| (a, Some(h)));
            let url = Url::parse(address).map_err(wrong)?;
            if !HUB_HOSTS.contains(&url.origin.host.as_str()) {
                let read = |hash: &str| Digest::sha256(hash.strip_prefix(HASH_MARK)?);
                let sha256 = match hash.map(read) {
                    Some(None) => {
                        return Err(wrong("expected #sha256= and 64 hex digits behind the address"));
                    }
                    known => known.flatten(),
                };
                return Ok(Some(Self::Url(FileRef { url, sha256 })));
            }
            let hub = parse_hub(url.path().trim_matches('/'));
            return hub
                .map(|hub| Some(Self::Hub(hub)))
                .ok_or_else(|| wrong("expected https://hf.co/user/repo"));
        }
        let on_hub = behind_hub(text);
        match (parse_hub(on_hub.unwrap_or(text)), on_hub) {
            (Some(hub), _) => Ok(Some(Self::Hub(hub))),
            (None, Some(_)) => Err(wrong("expected hf.co/user/repo, with @REVISION or :QUANT behind it")),
            (None, None) => Ok(None),
        }
    }
}

/// `user/repo[@REVISION][:QUANT]`, `...:file.gguf`, `user/repo/{blob,resolve}/REVISION/FILE`, `user/repo/tree/REVISION`.
fn parse_hub(text: &str) -> Option<HubRef> {
    let (text, want) = match text.split_once(':') {
        Some((text, what)) => (text, parse_want(what)?),
        None => (text, Want::Default),
    };
    let (text, pinned) = match text.split_once('@') {
        Some((text, revision)) => (text, Some(parse_revision(revision)?)),
        None => (text, None),
    };
    let mut pieces = text.splitn(5, '/');
    let repo = Repo::parse(&format!("{}/{}", pieces.next()?, pieces.next()?))?;
    let is_bare = pinned.is_none() && want == Want::Default;
    let (revision, want) = match (pieces.next(), pieces.next(), pieces.next()) {
        (None, None, None) => (pinned.unwrap_or_else(|| MAIN.to_owned()), want),
        (Some("tree"), Some(revision), None) if is_bare => (parse_revision(revision)?, want),
        (Some("blob" | "resolve"), Some(revision), Some(file)) if is_bare => {
            (parse_revision(revision)?, Want::File(file.to_owned()))
        }
        _ => return None,
    };
    Some(HubRef { repo, revision, want })
}

/// A branch, tag or commit, which becomes a path below a folder: plain names, joined by `/`.
fn parse_revision(text: &str) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    let is_revision = text.len() <= REVISION_CHARS_MAX
        && text.bytes().all(is_plain)
        && is_safe_path(text)
        && text.split('/').all(|piece| !piece.starts_with(['.', '-']));
    is_revision.then(|| text.to_owned())
}

fn is_gguf_name(text: &str) -> bool {
    text.to_ascii_lowercase().ends_with(".gguf")
}

/// What stands behind the colon.
pub(crate) fn parse_want(text: &str) -> Option<Want> {
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_gguf_name(text) {
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
            _ => None,
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
            ("user/repo@v2", "v2", Want::Default),
            ("user/repo@v2:q8_0", "v2", quant("q8_0")),
            ("hf.co/user/repo@refs/pr/1:d/a.gguf", "refs/pr/1", file("d/a.gguf")),
            ("https://hf.co/user/repo/blob/v2/README.md", "v2", file("README.md")),
        ] {
            assert_eq!(
                hub(text),
                Some(("user/repo".to_owned(), revision.to_owned(), want.clone())),
                "{text}"
            );
            let shown = Reference::parse(text).unwrap().unwrap().to_string();
            assert_eq!(hub(&shown), Some(("user/repo".to_owned(), revision.to_owned(), want)), "{shown}");
        }
    }

    #[test]
    fn a_short_name_may_be_pinned() {
        let pinned = Reference::parse("qwen3:0.6b@v1").unwrap().unwrap();
        assert_eq!(pinned.to_string(), "Qwen/Qwen3-0.6B-GGUF@v1:Q8_0");
        assert!(Reference::parse("qwen3@../x").is_err());
    }

    #[test]
    fn what_is_no_reference_is_left_to_others() {
        for text in [
            "",
            "x",
            "./a/b",
            "../a",
            "/a/b",
            "a/b/c",
            "a//b",
            "a/b:",
            "a/b:c d",
            "a--b/c",
            "a/..",
            ".a/b",
            "a/b@",
            "a/b@../x",
            "a/b@-x",
            "a/b@x/.lock",
            "a/b@x y",
        ] {
            assert_eq!(Reference::parse(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_is_almost_one_gets_a_sentence() {
        let short = "https://a/b.gguf#sha256=00";
        for text in [
            short,
            "https://a/b.gguf#md5=00",
            "ftp://a/b",
            "https://hf.co/user",
            "hf.co/user",
            "hf.co/a/b/../../c",
            "https://u@a/b",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_addresses_are_files() {
        let url = Reference::parse("https://example.org/a.gguf").unwrap().unwrap();
        assert_eq!(url.to_string(), "https://example.org/a.gguf");
        let text = format!("https://example.org/a.gguf#sha256={}", "ab".repeat(32));
        let Some(Reference::Url(file)) = Reference::parse(&text).unwrap() else { panic!("{text}") };
        assert_eq!((file.to_string(), file.url.to_string().contains('#')), (text, false));
    }
}
