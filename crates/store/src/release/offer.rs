//! What a repository offers: releases of models, and which of them were taken back. Read from signed metadata; pure.
//!
//! A release is the targets below `MODEL/VERSION/`. Its bundle `MODEL/VERSION/model.sig` carries in its custom field, under
//! `ingle`, how it is rolled out and what it must achieve; the target `revoked.json` carries the list of what was taken back.
//! Metadata of other makers may hold more: what is not ours is passed over, what is ours and malformed is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;
use crate::hash::Digest;
use crate::names::check_name;
use crate::signing::statement::stays_inside;
use crate::signing::{BUNDLE_NAME, mismatch};

/// The target that lists what was taken back.
pub const REVOKED_NAME: &str = "revoked.json";
/// Where our words stand in a target's custom field.
pub const CUSTOM: &str = "ingle";
/// Files of one release, prompts of one evaluation, and characters of one text of ours.
const FILES_MAX: usize = 10_000;
const PROMPTS_MAX: usize = 16;
const TEXT_CHARS_MAX: usize = 2000;

/// How a release is rolled out and what it must achieve: the custom field of its bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The file of the release to open, or `.` for its folder.
    pub open: String,
    /// Share of the devices that take it, in percent.
    pub percent: u8,
    /// Makes the choice of devices another one than that of the last release.
    pub salt: String,
    /// Once this release is good, no version below this one is installed any more.
    pub minimum_version: u64,
    /// What it must achieve on the device before it is used.
    pub smoke: Smoke,
}

/// What a release must achieve. Numbers are thousandths where they say so: signed metadata knows only whole numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smoke {
    /// The file of the release whose text is scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Perplexity on it, at most; in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity_max_milli: Option<u64>,
    /// Tokens of a window of that; the usual number where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity_ctx: Option<u32>,
    /// Tokens per second of generation, at least; in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second_min_milli: Option<u64>,
    /// Memory at its peak, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ram_bytes_max: Option<u64>,
    /// Prompts with a text that the answer must have.
    #[serde(default)]
    pub prompts: Vec<Prompt>,
}

/// A prompt and what its answer must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// What is asked, at temperature 0.
    pub prompt: String,
    /// What the answer must have; empty where any answer will do.
    pub expect: String,
}

/// A release that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The model.
    pub model: String,
    /// The version; `None` where only the content matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// SHA-256 of the content as its bundle says it, under whatever version; `None` where only the version matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// For people.
    pub why: String,
}

impl Revocation {
    /// Whether it speaks of this release.
    pub fn is_of(&self, model: &str, version: u64, digest: &str) -> bool {
        self.model == model && (self.version == Some(version) || self.digest.as_deref() == Some(digest))
    }
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path below the release.
    pub name: String,
    /// Its path below the repository's targets.
    pub target: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// A release that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The model.
    pub model: String,
    /// Rises with each release of the model.
    pub version: u64,
    /// How it is rolled out and what it must achieve.
    pub terms: Terms,
    /// Its files and its bundle.
    pub files: Vec<File>,
}

impl Offer {
    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }
}

/// All that signed metadata says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// By model and version.
    pub offers: Vec<Offer>,
    /// What was taken back.
    pub revoked: Vec<Revocation>,
}

/// Reads the signed part of `targets.json`, which has been verified. `is_consistent`: files are asked for by their hash.
///
/// # Errors
/// [`crate::Error::Mismatch`] for what is ours and malformed.
pub fn read(targets: &Value, is_consistent: bool) -> Result<Offered> {
    let mut offered = Offered::default();
    let mut releases: BTreeMap<(String, u64), (Option<Terms>, Vec<File>)> = BTreeMap::new();
    let all = targets.get("targets").and_then(Value::as_object);
    for (name, target) in all.into_iter().flatten() {
        let ours = target.get("custom").and_then(|c| c.get(CUSTOM));
        if name == REVOKED_NAME {
            let list = ours.and_then(|o| o.get("revoked")).cloned().unwrap_or_default();
            offered.revoked = serde_json::from_value(list).map_err(|e| {
                mismatch(name, "revoked", &e.to_string(), "a list of releases that were taken back")
            })?;
            continue;
        }
        let Some((model, version, file)) = parts_of(name) else { continue };
        let release = releases.entry((model.to_owned(), version)).or_default();
        release.1.push(file_of(name, file, target, is_consistent)?);
        if file == BUNDLE_NAME {
            let terms = ours.cloned().unwrap_or_default();
            let terms = serde_json::from_value(terms)
                .map_err(|e| mismatch(name, "custom", &e.to_string(), "the terms of a release"))?;
            release.0 = Some(check(name, terms)?);
        }
    }
    for ((model, version), (terms, files)) in releases {
        // Files without a bundle are no release of ours.
        let Some(terms) = terms else { continue };
        let has = |name: &str| files.iter().any(|f| f.name == name);
        let needed = [Some(&terms.open).filter(|open| *open != "."), terms.smoke.text.as_ref()];
        if let Some(missing) = needed.into_iter().flatten().find(|name| !has(name)) {
            return Err(mismatch(&format!("{model}/{version}"), missing, "nothing", "a file of the release"));
        }
        if files.iter().try_fold(0, |sum: u64, f| sum.checked_add(f.size)).is_none() {
            let expected = "sizes that a disk could have";
            return Err(mismatch(&format!("{model}/{version}"), "files", "more than 2^64 bytes", expected));
        }
        if files.len() > FILES_MAX {
            let (found, expected) = (files.len().to_string(), format!("at most {FILES_MAX} files"));
            return Err(mismatch(&format!("{model}/{version}"), "files", &found, &expected));
        }
        offered.offers.push(Offer { model, version, terms, files });
    }
    Ok(offered)
}

/// Model, version and path of a target of ours.
fn parts_of(name: &str) -> Option<(&str, u64, &str)> {
    let (model, rest) = name.split_once('/')?;
    let (version, file) = rest.split_once('/')?;
    let number: u64 = version.parse().ok().filter(|&n| n > 0)?;
    (number.to_string() == version && is_model_name(model) && stays_inside(file))
        .then_some((model, number, file))
}

/// Whether a model may be called so: like any model, and like a folder on every system.
pub fn is_model_name(name: &str) -> bool {
    check_name(name).is_ok() && !name.contains(':') && !name.ends_with('.')
}

fn file_of(name: &str, file: &str, target: &Value, is_consistent: bool) -> Result<File> {
    let size = target.get("length").and_then(Value::as_u64);
    let digest = target.pointer("/hashes/sha256").and_then(Value::as_str);
    let digest = digest.and_then(Digest::sha256);
    let (Some(size), Some(digest)) = (size, digest) else {
        return Err(mismatch(name, "target", "no length or no sha256", "both"));
    };
    let target = match (is_consistent, name.rsplit_once('/')) {
        (true, Some((folder, file))) => format!("{folder}/{digest}.{file}"),
        (true, None) => format!("{digest}.{name}"),
        (false, _) => name.to_owned(),
    };
    Ok(File { name: file.to_owned(), target, size, digest })
}

fn check(name: &str, terms: Terms) -> Result<Terms> {
    let wrong = |part: &str, found: &str, expected: &str| Err(mismatch(name, part, found, expected));
    if terms.percent > 100 {
        return wrong("percent", &terms.percent.to_string(), "at most 100");
    }
    if terms.open != "." && !stays_inside(&terms.open) {
        return wrong("open", &terms.open, "a file of the release");
    }
    let prompts = &terms.smoke.prompts;
    let texts = prompts.iter().flat_map(|p| [&p.prompt, &p.expect]).chain([&terms.salt]);
    if prompts.len() > PROMPTS_MAX || texts.into_iter().any(|t| t.len() > TEXT_CHARS_MAX) {
        return wrong(
            "smoke",
            "too much text",
            &format!("at most {PROMPTS_MAX} prompts of {TEXT_CHARS_MAX} bytes"),
        );
    }
    if terms.smoke.perplexity_max_milli.is_some() && terms.smoke.text.is_none() {
        return wrong("smoke", "a perplexity without a text", "the text that is scored");
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn target(custom: Option<Value>) -> Value {
        let mut target = json!({ "length": 3, "hashes": { "sha256": "0".repeat(64) } });
        if let Some(custom) = custom {
            target["custom"] = json!({ CUSTOM: custom });
        }
        target
    }

    fn terms() -> Value {
        json!({ "open": "m.gguf", "percent": 5, "salt": "s", "minimum_version": 1, "smoke": {} })
    }

    #[test]
    fn a_release_is_its_bundle_and_the_files_beside_it() {
        let read_targets = |targets: Value| read(&json!({ "targets": targets }), true);
        let offered = read_targets(json!({
            "chat/2/m.gguf": target(None),
            "chat/2/model.sig": target(Some(terms())),
            "chat/3/m.gguf": target(None),
            "other.txt": target(None),
            "../2/m.gguf": target(None),
            "revoked.json": target(Some(json!({ "revoked": [{ "model": "chat", "version": 1, "why": "bad" }] }))),
        }))
        .unwrap();
        assert_eq!(offered.offers.len(), 1);
        let offer = &offered.offers[0];
        assert_eq!((offer.model.as_str(), offer.version, offer.size()), ("chat", 2, 6));
        assert_eq!(offer.files[0].target, format!("chat/2/{}.m.gguf", "0".repeat(64)));
        assert!(offered.revoked[0].is_of("chat", 1, "") && !offered.revoked[0].is_of("chat", 2, ""));
    }

    #[test]
    fn sizes_that_do_not_add_up_are_refused() {
        let mut huge = target(None);
        huge["length"] = json!(u64::MAX);
        let targets = json!({ "chat/2/m.gguf": huge, "chat/2/model.sig": target(Some(terms())) });
        let said = read(&json!({ "targets": targets }), true).unwrap_err().to_string();
        assert!(said.contains("chat/2: files: more than 2^64 bytes"), "{said}");
    }

    #[test]
    fn terms_that_make_no_sense_are_refused() {
        for (path, value) in [
            ("/percent", json!(101)),
            ("/open", json!("../m.gguf")),
            ("/open", json!("n.gguf")),
            ("/smoke", json!({ "perplexity_max_milli": 1 })),
            ("/smoke", json!({ "text": "absent.txt" })),
            ("/smoke", json!({ "prompts": vec![json!({ "prompt": "", "expect": "" }); PROMPTS_MAX + 1] })),
            ("/salt", json!(1)),
        ] {
            let mut changed = terms();
            *changed.pointer_mut(path).unwrap() = value;
            let targets =
                json!({ "chat/2/m.gguf": target(None), "chat/2/model.sig": target(Some(changed.clone())) });
            assert!(read(&json!({ "targets": targets }), true).is_err(), "{changed}");
        }
    }
}
