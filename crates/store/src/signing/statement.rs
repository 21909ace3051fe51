//! What is signed: an in-toto statement that lists a model's files.
//!
//! The one subject's digest is the SHA-256 over all files' digests in the order of the list, so that it names the model.

use std::collections::BTreeSet;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::folder::Listed;
use super::mismatch;
use crate::error::Result;
use crate::hash::Digest;

const TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// Files of one model, and characters of one name.
const FILES_MAX: usize = 100_000;
const NAME_CHARS_MAX: usize = 1024;
/// What a signature never speaks of: the names that other signers leave out, too.
pub(super) const IGNORED: &[&str] = &[".git", ".gitattributes", ".github", ".gitignore", super::BUNDLE_NAME];

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    _type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Serialization {
    method: String,
    hash_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard_size: Option<u64>,
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

/// A statement of the right form.
#[derive(Debug, Clone)]
pub struct Statement {
    text: Text,
    /// Files by SHA-256, sorted by name; empty where other digests or shards are used.
    files: Vec<Listed>,
    root: String,
}

impl Statement {
    /// A statement about the model `name` of `files`, which are sorted by name.
    pub(super) fn of(name: &str, files: &[Listed]) -> Self {
        let mut root = Context::new(&SHA256);
        let mut resources = Vec::new();
        for file in files {
            if let Digest::Sha256(bytes) = &file.digest {
                root.update(bytes);
            }
            let (name, digest) = (file.name.clone(), file.digest.to_string());
            resources.push(Resource { name, algorithm: "sha256".into(), digest });
        }
        let root = hex(root.finish().as_ref());
        let digest = Map::from_iter([("sha256".to_owned(), Value::from(root.clone()))]);
        let serialization = Serialization {
            method: "files".into(),
            hash_type: "sha256".into(),
            shard_size: None,
            allow_symlinks: false,
            ignore_paths: IGNORED.iter().map(|&name| name.to_owned()).collect(),
        };
        let text = Text {
            _type: TYPE.into(),
            subject: vec![Subject { name: name.to_owned(), digest }],
            predicate_type: PREDICATE_TYPE.into(),
            predicate: Predicate { serialization, resources },
        };
        Self { text, files: files.to_vec(), root }
    }

    /// The bytes to sign.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.text).expect("a statement is plain data")
    }

    /// Reads what was signed. `what` names it in errors.
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] with the part that is wrong.
    pub fn parse(what: &str, payload: &[u8]) -> Result<Self> {
        let text: Text = serde_json::from_slice(payload)
            .map_err(|e| mismatch(what, "statement", &e.to_string(), "an in-toto statement about a model"))?;
        let wrong = |part: &str, found: &str, expected: &str| Err(mismatch(what, part, found, expected));
        if text._type != TYPE {
            return wrong("_type", &text._type, TYPE);
        }
        if text.predicate_type != PREDICATE_TYPE {
            return wrong("predicateType", &text.predicate_type, PREDICATE_TYPE);
        }
        let [subject] = text.subject.as_slice() else {
            return wrong("subject", &text.subject.len().to_string(), "exactly one");
        };
        let is_digest = |value: &Value| value.as_str().is_some_and(is_hex);
        if subject.name.is_empty() || subject.digest.is_empty() || !subject.digest.values().all(is_digest) {
            return wrong("subject", "no name or no digest", "a name and digests in hex");
        }
        let serialization = &text.predicate.serialization;
        let is_hash = |name: &str| ["sha256", "blake2b", "blake3"].contains(&name);
        match (serialization.method.as_str(), serialization.shard_size) {
            ("files", None) | ("shards", Some(1..)) => {}
            (method, size) => {
                return wrong("method", &format!("{method} of {size:?}"), "files, or shards of a size");
            }
        }
        if !is_hash(&serialization.hash_type) || serialization.ignore_paths.iter().any(String::is_empty) {
            return wrong("serialization", &serialization.hash_type, "sha256, blake2b or blake3, and paths");
        }
        let resources = &text.predicate.resources;
        if resources.len() > FILES_MAX {
            return wrong("resources", &resources.len().to_string(), &format!("at most {FILES_MAX}"));
        }
        let mut seen = BTreeSet::new();
        let mut root = Context::new(&SHA256);
        for resource in resources {
            let name = resource.name.as_str();
            if name.is_empty() || name.len() > NAME_CHARS_MAX || !seen.insert(name) {
                return wrong("resources", &format!("the name {name:?}"), "each name once");
            }
            let bytes = unhex(&resource.digest).filter(|_| is_hash(&resource.algorithm));
            let Some(bytes) = bytes else { return wrong(name, &resource.digest, "a digest in hex") };
            root.update(&bytes);
        }
        let root = hex(root.finish().as_ref());
        match subject.digest.get("sha256").and_then(Value::as_str) {
            Some(said) if said == root => {}
            said => {
                return wrong(
                    "subject",
                    said.unwrap_or("no sha256"),
                    &format!("{root}, as its resources say"),
                );
            }
        }
        let mut files: Vec<Listed> = match serialization.method.as_str() {
            "files" => resources.iter().filter_map(Resource::listed).collect(),
            _ => Vec::new(),
        };
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { text, files, root })
    }

    /// That all files are listed whole and by SHA-256, under names that stay in their folder.
    pub(super) fn is_readable(&self, what: &str) -> Result<()> {
        let resources = &self.text.predicate.resources;
        if self.text.predicate.serialization.method != "files" {
            return Err(mismatch(what, "method", "shards", "files, each hashed whole"));
        }
        if let Some(other) = resources.iter().find(|r| r.listed().is_none()) {
            return Err(mismatch(what, &other.name, &other.algorithm, "sha256"));
        }
        if let Some(out) = self.files.iter().find(|f| !stays_inside(&f.name)) {
            return Err(mismatch(what, &out.name, "a path out of the folder", "a path below it"));
        }
        if self.text.predicate.serialization.allow_symlinks {
            return Err(mismatch(what, "allow_symlinks", "true", "false"));
        }
        Ok(())
    }

    /// The model's name, which says nothing about its content.
    pub fn name(&self) -> &str {
        &self.text.subject[0].name
    }

    /// SHA-256 over all files' digests, in hex: the content's name.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Files by SHA-256, sorted by name.
    pub fn files(&self) -> &[Listed] {
        &self.files
    }

    /// What the signer left out, below the folder.
    pub(super) fn ignored(&self) -> impl Iterator<Item = &str> {
        self.text.predicate.serialization.ignore_paths.iter().map(String::as_str)
    }
}

impl Resource {
    fn listed(&self) -> Option<Listed> {
        let digest = Digest::sha256(&self.digest).filter(|_| self.algorithm == "sha256")?;
        Some(Listed { name: self.name.clone(), digest })
    }
}

/// A relative path in POSIX form that leads down only.
pub(crate) fn stays_inside(name: &str) -> bool {
    !name.contains(['\\', '\0', ':']) && name.split('/').all(|part| !["", ".", ".."].contains(&part))
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Pairs of lower-case hex digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let all: Option<Vec<u8>> = pairs.iter().map(|&[h, l]| Some(digit(h)? << 4 | digit(l)?)).collect();
    all.filter(|_| rest.is_empty() && is_hex(text))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_read_back_and_its_root_guards_the_list() {
        let file = |name: &str, hex: &str| Listed {
            name: name.into(),
            digest: Digest::sha256(&hex.repeat(32)).unwrap(),
        };
        let files = [file("a", "00"), file("d/b", "ff")];
        let statement = Statement::of("m", &files);
        let bytes = statement.to_bytes();
        let read = Statement::parse("x", &bytes).unwrap();
        assert_eq!((read.name(), read.root(), read.files()), ("m", statement.root(), &files[..]));
        let changed = String::from_utf8(bytes).unwrap().replace("d/b", "a");
        assert!(
            Statement::parse("x", changed.as_bytes()).unwrap_err().to_string().contains("each name once")
        );
        let changed =
            String::from_utf8(statement.to_bytes()).unwrap().replace(&"ff".repeat(32), &"fe".repeat(32));
        assert!(
            Statement::parse("x", changed.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("as its resources say")
        );
    }

    #[test]
    fn paths_out_of_the_folder_are_known() {
        for name in ["../a", "/a", "a/../b", "a//b", "C:a", "a\\b", ""] {
            assert!(!stays_inside(name), "{name}");
        }
        assert!(stays_inside("a/b.c") && stays_inside("..a"));
    }
}
