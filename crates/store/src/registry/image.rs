//! What names an image: a registry, a name in it, and a tag or a hash.
//!
//! `ollama:NAME[:TAG]` and `ollama:USER/NAME[:TAG]` are of the registry that a setting names; `oci:REGISTRY/NAME[:TAG]` says its
//! own, with `http://` before it where it has no TLS. `@sha256:HEX` in place of a tag pins the content.

use std::fmt;

use ingle_net::Url;
use ingle_net::url::Scheme;

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::listing::is_safe_path;

/// Where images without a registry of their own come from, unless a setting says otherwise.
pub const OLLAMA_REGISTRY: &str = "https://registry.ollama.ai";
const OLLAMA_MARK: &str = "ollama:";
const OCI_MARK: &str = "oci:";
/// Whose models those are that name no user.
const LIBRARY: &str = "library";
const LATEST: &str = "latest";
const PART_CHARS_MAX: usize = 128;

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// Its registry; `None` for the one that a setting names.
    pub registry: Option<Url>,
    /// The name in the registry, `library/NAME` or deeper.
    pub name: String,
    /// Which of its versions.
    pub version: Version,
}

/// Which version of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The one that has this tag now.
    Tag(String),
    /// The one whose manifest hashes to this.
    Digest(Digest),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.registry {
            None => {
                let name = self.name.strip_prefix(LIBRARY).and_then(|n| n.strip_prefix('/'));
                write!(f, "{OLLAMA_MARK}{}", name.unwrap_or(&self.name))?;
            }
            Some(registry) => {
                let origin = registry.origin.to_string();
                write!(f, "{OCI_MARK}{}/{}", origin.strip_prefix("https://").unwrap_or(&origin), self.name)?;
            }
        }
        let mark = if matches!(self.version, Version::Tag(_)) { ':' } else { '@' };
        write!(f, "{mark}{}", self.version)
    }
}

impl ImageRef {
    /// Reads a reference; `None` for a text that begins otherwise.
    ///
    /// # Errors
    /// [`Error::Reference`] for one that begins so and is none.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let wrong =
            |expected: &str| Error::Reference { found: text.to_owned(), expected: expected.to_owned() };
        if let Some(rest) = text.strip_prefix(OLLAMA_MARK) {
            let (name, version) =
                split(rest).ok_or_else(|| wrong("expected ollama:NAME or ollama:NAME:TAG"))?;
            let name = if name.contains('/') { name.to_owned() } else { format!("{LIBRARY}/{name}") };
            return Ok(Some(Self { registry: None, name, version }));
        }
        let Some(rest) = text.strip_prefix(OCI_MARK) else { return Ok(None) };
        let expected = "expected oci:REGISTRY/NAME or oci:REGISTRY/NAME:TAG";
        let (scheme, rest) = match rest.strip_prefix("http://") {
            Some(rest) => ("http", rest),
            None => ("https", rest.strip_prefix("https://").unwrap_or(rest)),
        };
        let (host, name) = rest.split_once('/').ok_or_else(|| wrong(expected))?;
        if host.contains(['?', '#']) {
            return Err(wrong(expected));
        }
        let registry = Url::parse(&format!("{scheme}://{host}")).map_err(wrong)?;
        let (name, version) = split(name).ok_or_else(|| wrong(expected))?;
        Ok(Some(Self { registry: Some(registry), name: name.to_owned(), version }))
    }

    /// Where it is kept below a folder of names: host, name and version, none of which can leave the folder.
    pub fn path(&self) -> String {
        let host = self.registry.as_ref().map_or_else(
            || "ollama".to_owned(),
            |url| {
                let origin = &url.origin;
                let scheme = if origin.scheme == Scheme::Https { "https" } else { "http" };
                format!("{scheme}_{}_{}", origin.host.replace(':', "+"), origin.port)
            },
        );
        format!("{host}/{}/{}", self.name, self.version.to_string().replace(':', "-"))
    }

    /// The reference that [`Self::path`] stands for.
    pub fn of_path(path: &str) -> Option<Self> {
        let (host, rest) = path.split_once('/')?;
        let (name, version) = rest.rsplit_once('/')?;
        let version = match version.strip_prefix("sha256-").and_then(Digest::sha256) {
            Some(digest) => Version::Digest(digest),
            None => Version::Tag(version.to_owned()),
        };
        let registry = match host {
            "ollama" => None,
            host => {
                let (scheme, rest) = host.split_once('_')?;
                let (host, port) = rest.rsplit_once('_')?;
                Some(Url::parse(&format!("{scheme}://{}:{port}", host.replace('+', ":"))).ok()?)
            }
        };
        Some(Self { registry, name: name.to_owned(), version })
    }
}

/// The name, and the tag or hash behind it; `latest` where there is none.
fn split(text: &str) -> Option<(&str, Version)> {
    if let Some((name, digest)) = text.split_once('@') {
        let digest = Digest::sha256(digest.strip_prefix("sha256:")?)?;
        return is_name(name).then_some((name, Version::Digest(digest)));
    }
    let (name, tag) = text.rsplit_once(':').unwrap_or((text, LATEST));
    let is_tag = (1..=PART_CHARS_MAX).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !tag.starts_with(['.', '-']);
    (is_name(name) && is_tag).then(|| (name, Version::Tag(tag.to_owned())))
}

/// Pieces of letters, digits, `-`, `_` and `.`, joined by `/`.
fn is_name(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    let is_piece = |piece: &str| !piece.starts_with(['.', '-']);
    text.len() <= 2 * PART_CHARS_MAX
        && text.bytes().all(is_plain)
        && is_safe_path(text)
        && text.split('/').all(is_piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_image() {
        let hex = "ab".repeat(32);
        let pinned = format!("oci:ghcr.io/a/b/c@sha256:{hex}");
        for (text, name, shown) in [
            ("ollama:qwen3", "library/qwen3", "ollama:qwen3:latest"),
            ("ollama:qwen3:0.6b", "library/qwen3", "ollama:qwen3:0.6b"),
            ("ollama:user/x:y", "user/x", "ollama:user/x:y"),
            ("oci:ghcr.io/a/b:v1", "a/b", "oci:ghcr.io/a/b:v1"),
            ("oci:http://127.0.0.1:5000/a/b:v1", "a/b", "oci:http://127.0.0.1:5000/a/b:v1"),
            ("oci:https://ghcr.io/b", "b", "oci:ghcr.io/b:latest"),
            ("oci:box.lan:5000/b", "b", "oci:box.lan:5000/b:latest"),
            ("oci:http://box_1:443/b", "b", "oci:http://box_1:443/b:latest"),
            ("oci:http://[::1]:5000/b", "b", "oci:http://[::1]:5000/b:latest"),
            (&pinned, "a/b/c", &pinned),
        ] {
            let image = ImageRef::parse(text).unwrap().unwrap();
            assert_eq!((image.name.as_str(), image.to_string().as_str()), (name, shown), "{text}");
            assert_eq!(ImageRef::parse(shown).unwrap().unwrap(), image, "{shown}");
            assert!(is_safe_path(&image.path()), "{}", image.path());
            assert_eq!(ImageRef::of_path(&image.path()).unwrap().to_string(), shown, "{}", image.path());
        }
        assert_eq!(ImageRef::parse("user/repo").unwrap(), None);
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for text in [
            "ollama:",
            "ollama:..",
            "ollama:a/../b",
            "ollama:a:",
            "ollama:a:../b",
            "ollama:a@sha256:00",
            "ollama:/a",
            "ollama:.a",
            "oci:",
            "oci:name",
            "oci:host/",
            "oci:u@host/a",
            "oci:host:99999/a",
            "oci:host?x/a",
            "oci:host#x/a",
            "oci:ftp://host/a",
        ] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }
}
