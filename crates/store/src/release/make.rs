//! Makes and signs a repository from folders of models: what a publisher runs, and any web server then serves.
//!
//! ```text
//! metadata/  1.root.json 2.root.json ...  7.targets.json  7.snapshot.json  timestamp.json
//! targets/   MODEL/VERSION/HASH.FILE ...  MODEL/VERSION/HASH.model.sig  HASH.revoked.json
//! ```
//! A release that was made stays as it is: only its terms may change. What is to be signed is read as devices read it first. What a reader may ask for is in place before the
//! metadata that names it, and `timestamp.json`, which names all the rest, comes last.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tough::schema::{Role, Root, Signed, Snapshot, Targets, Timestamp};

use super::disk::Disk;
use super::offer::{self, CUSTOM, REVOKED_NAME, Revocation, Terms, is_model_name};
use super::roles::{KeyFolder, ROLES};
use crate::error::{Error, Result, at};
use crate::hash::{Digest, Hasher};
use crate::signing::statement::Statement;
use crate::signing::{BUNDLE_NAME, folder, mismatch, sign, verify};

/// Of the TUF specification that the metadata follows.
const SPEC_VERSION: &str = "1.0.31";
const DAY_SECONDS: u64 = 86_400;
/// Where the days stand that metadata is valid, beside the list of what was taken back.
const EXPIRES: &str = "expires_days";

/// What a repository is to offer from now on, beside what it offers already.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// By name and version.
    pub releases: Vec<Release>,
    /// What was taken back, all of it.
    pub revoked: Vec<Revocation>,
    /// How long each role's metadata is valid.
    pub expires: Expires,
}

/// One release.
#[derive(Debug, Clone)]
pub struct Release {
    /// The model's name.
    pub model: String,
    /// Higher than that of the last release.
    pub version: u64,
    /// All files below it are the model.
    pub folder: PathBuf,
    /// How it is rolled out and what it must achieve.
    pub terms: Terms,
}

/// Days that metadata is valid.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expires {
    /// Which keys hold which role.
    pub root: u32,
    /// What is offered.
    pub targets: u32,
    /// Which metadata belongs together.
    pub snapshot: u32,
    /// That there is nothing newer.
    pub timestamp: u32,
}

impl Default for Expires {
    fn default() -> Self {
        Self { root: 365, targets: 90, snapshot: 30, timestamp: 7 }
    }
}

impl Expires {
    fn days(&self, role: &str) -> u32 {
        match role {
            "root" => self.root,
            "targets" => self.targets,
            "snapshot" => self.snapshot,
            _ => self.timestamp,
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Versions of the roles' metadata, in the order of [`ROLES`].
    pub versions: [u64; 4],
    /// Targets that are offered.
    pub n_targets: usize,
}

impl Expires {
    /// Nothing that a timestamp rests on may expire before it does.
    fn check(self) -> Result<()> {
        let Self { root, targets, snapshot, timestamp } = self;
        if timestamp > root.min(targets).min(snapshot) {
            let (found, expected) =
                (format!("{timestamp} days"), "at most those of root, targets and snapshot");
            return Err(mismatch(EXPIRES, "timestamp", &found, expected));
        }
        Ok(())
    }
}

/// The newest root.
struct Newest {
    signed: Signed<Root>,
    /// Its file, where it was made just now: nobody else has it yet.
    unwritten: Option<(PathBuf, Vec<u8>)>,
}

impl Newest {
    fn version(&self) -> u64 {
        self.signed.signed.version.get()
    }
}

/// Who makes it, where and when.
#[derive(Debug)]
pub struct Maker<'a> {
    /// The repository's folder.
    pub repository: &'a Path,
    /// The keys.
    pub keys: &'a KeyFolder,
    /// Seconds since 1970.
    pub now: u64,
}

impl Maker<'_> {
    /// Signs and adds `contents`. `stop` ends it with `None`, before any metadata has changed.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a release that is there with other content, for what devices would refuse, and for keys that can't sign
    /// what they must.
    pub fn make(
        &self,
        contents: &Contents,
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Option<Made>> {
        contents.revoked.iter().try_for_each(check_revocation)?;
        contents.expires.check()?;
        let mut targets = self.last("targets")?.map_or_else(Map::new, |last| {
            last.get("targets").and_then(Value::as_object).cloned().unwrap_or_default()
        });
        for release in &contents.releases {
            if self.add(release, &mut targets, stop, tell)?.is_none() {
                return Ok(None);
            }
        }
        let is_revoked = |model: &str, version: u64| {
            contents.revoked.iter().any(|r| r.model == model && r.version == Some(version))
        };
        targets.retain(|name, _| {
            let mut parts = name.splitn(3, '/');
            let (model, version) = (parts.next(), parts.next().and_then(|v| v.parse().ok()));
            !model.zip(version).is_some_and(|(model, version)| is_revoked(model, version))
        });
        let list = json!({ "revoked": contents.revoked });
        let text = serde_json::to_vec_pretty(&list).expect("plain data");
        // Signed along, so that a refresh knows them.
        let custom = json!({ "revoked": contents.revoked, EXPIRES: contents.expires });
        let entry = self.place(REVOKED_NAME, &text, Some(custom))?;
        targets.insert(REVOKED_NAME.to_owned(), entry);
        let n_targets = targets.len();
        let signed = json!({ "targets": targets });
        let offered = offer::read(&signed, true)?;
        let is_offered = |r: &&Release| {
            offered.offers.iter().any(|o| o.model == r.model && o.version == r.version)
                || is_revoked(&r.model, r.version)
        };
        if let Some(Release { model, version, .. }) = contents.releases.iter().find(|r| !is_offered(r)) {
            let found = "devices would not see it";
            return Err(mismatch(model, &format!("version {version}"), found, "a version from 1 on"));
        }
        let root = self.root(&contents.expires)?;
        let targets = self.write::<Targets>("targets", signed, &root, &contents.expires)?;
        let (snapshot, timestamp) = self.seal(&root, targets, &contents.expires)?;
        let versions = [root.version(), targets, snapshot, timestamp];
        Ok(Some(Made { versions, n_targets }))
    }

    /// Says anew that there is nothing newer: signs snapshot and timestamp again, and root and targets where the timestamp would
    /// outlast them or their keys are others now. All are valid as long as the last `make` said.
    ///
    /// # Errors
    /// As [`Self::make`]; [`Error::NotFound`] where there is no repository yet.
    pub fn refresh(&self) -> Result<Made> {
        let why = "there is no repository here yet; ingle release make makes one".to_owned();
        let missing = || Error::NotFound { what: self.repository.display().to_string(), why };
        let last = self.last("targets")?.ok_or_else(missing)?;
        let expires = expires_of(&last)?;
        let root = self.root(&expires)?;
        let mut targets = last.get("version").and_then(Value::as_u64).unwrap_or(0);
        let n_targets = last.get("targets").and_then(Value::as_object).map_or(0, Map::len);
        if !self.stand(targets, &root, &expires)? {
            let signed = json!({ "targets": last.get("targets") });
            targets = self.write::<Targets>("targets", signed, &root, &expires)?;
        }
        let (snapshot, timestamp) = self.seal(&root, targets, &expires)?;
        Ok(Made { versions: [root.version(), targets, snapshot, timestamp], n_targets })
    }

    /// Whether the targets of `version` are signed as `root` wants it, for as long as a timestamp of now.
    fn stand(&self, version: u64, root: &Newest, expires: &Expires) -> Result<bool> {
        let path = self.metadata(&format!("{version}.targets.json"));
        let targets: Option<Signed<Targets>> = serde_json::from_slice(&at(&path, fs::read(&path))?).ok();
        Ok(targets.is_some_and(|targets| {
            self.outlasts(targets.signed.expires.as_second(), expires)
                && root.signed.signed.verify_role(&targets).is_ok()
        }))
    }

    /// Whether what expires then, in seconds since 1970, is valid as long as a timestamp of now.
    fn outlasts(&self, then: i64, expires: &Expires) -> bool {
        let timestamp = self.now.saturating_add(u64::from(expires.timestamp) * DAY_SECONDS);
        u64::try_from(then).is_ok_and(|then| then >= timestamp)
    }

    /// The newest root, made anew where the keys say other than it does, or a timestamp of now would outlast it.
    fn root(&self, expires: &Expires) -> Result<Newest> {
        let last = self.last_root()?;
        let mut keys = Map::new();
        let mut roles = Map::new();
        for role in ROLES {
            let ids = self.keys.ids(role)?;
            for id in &ids {
                let public = self.keys.key(id).map(|k| crate::signing::statement::hex(k.public.bytes()));
                let key =
                    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } });
                keys.insert(id.clone(), key);
            }
            let threshold = self.keys.holders(role).threshold;
            roles.insert(role.to_owned(), json!({ "keyids": ids, "threshold": threshold }));
        }
        let (keys, roles) = (Value::Object(keys), Value::Object(roles));
        if let Some((value, signed)) = &last {
            let lasts = self.outlasts(signed.signed.expires.as_second(), expires);
            if lasts && value.get("keys") == Some(&keys) && value.get("roles") == Some(&roles) {
                return Ok(Newest { signed: signed.clone(), unwritten: None });
            }
        }
        let signed = json!({ "consistent_snapshot": true, "keys": keys, "roles": roles });
        let version = last.as_ref().map_or(0, |(_, root)| root.signed.version.get()) + 1;
        let value = self.envelope("root", signed, version, expires)?;
        // A root is signed by its own keys and by those of the one before.
        let mut ids = self.keys.ids("root")?;
        let before = last.as_ref().and_then(|(value, _)| value.pointer("/roles/root/keyids")?.as_array());
        ids.extend(before.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        ids.sort();
        ids.dedup();
        let (text, root) = self.sign::<Root>(&value, &ids)?;
        let wrong = |who: &str| {
            let found = "fewer signatures than it takes, for too few private keys are here";
            mismatch(
                &self.repository.display().to_string(),
                "root",
                found,
                &format!("the threshold of {who} keys"),
            )
        };
        root.signed.verify_role(&root).map_err(|_| wrong("its own"))?;
        if let Some((_, before)) = &last {
            before.signed.verify_role(&root).map_err(|_| wrong("the old root's"))?;
        }
        let path = self.metadata(&format!("{version}.root.json"));
        Ok(Newest { signed: root, unwritten: Some((path, text)) })
    }

    /// The newest root that is there, as it stands and as it is read.
    fn last_root(&self) -> Result<Option<(Value, Signed<Root>)>> {
        let mut newest = None;
        for version in 1u64.. {
            let path = self.metadata(&format!("{version}.root.json"));
            if !path.exists() {
                break;
            }
            newest = Some(path);
        }
        let Some(path) = newest else { return Ok(None) };
        let text = at(&path, fs::read(&path))?;
        let wrong = |e: serde_json::Error| {
            mismatch(&path.display().to_string(), "root", &e.to_string(), "what ingle release wrote")
        };
        let value: Value = serde_json::from_slice(&text).map_err(wrong)?;
        let root = serde_json::from_value(value.clone()).map_err(wrong)?;
        Ok(value.get("signed").cloned().map(|value| (value, root)))
    }

    /// The signed part of a role's newest metadata, as the files before it name it.
    fn last(&self, role: &str) -> Result<Option<Value>> {
        let (name, of) = match role {
            "timestamp" => ("timestamp.json".to_owned(), None),
            "snapshot" => ("snapshot.json".to_owned(), Some("timestamp")),
            _ => ("targets.json".to_owned(), Some("snapshot")),
        };
        let path = match of {
            None => self.metadata(&name),
            Some(of) => {
                let Some(above) = self.last(of)? else { return Ok(None) };
                let version = above.pointer(&format!("/meta/{name}/version")).and_then(Value::as_u64);
                self.metadata(&format!("{}.{name}", version.unwrap_or(0)))
            }
        };
        if !path.exists() {
            return Ok(None);
        }
        let text = at(&path, fs::read(&path))?;
        let value: Value = serde_json::from_slice(&text).map_err(|e| {
            mismatch(&path.display().to_string(), role, &e.to_string(), "what ingle release wrote")
        })?;
        Ok(value.get("signed").cloned())
    }

    /// Signs one release and puts its files in place.
    fn add(
        &self,
        release: &Release,
        targets: &mut Map<String, Value>,
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Option<()>> {
        let Release { model, version, folder: from, terms } = release;
        if !is_model_name(model) {
            let expected = "expected a name of letters, digits, '-', '_' and '.'".to_owned();
            return Err(Error::Reference { found: model.clone(), expected });
        }
        let key = self.keys.publisher()?;
        let below = format!("{model}/{version}/");
        let signature = format!("{below}{BUNDLE_NAME}");
        let custom = serde_json::to_value(terms).expect("plain data");
        let there =
            targets.get(&signature).and_then(|t| t.pointer("/hashes/sha256")?.as_str().map(str::to_owned));
        if let Some(hash) = there {
            let path = self.target(&signature, &hash);
            let text = at(&path, fs::read(&path))?;
            let Some(_) = verify(from, &text, &key.public(), stop, tell).map_err(|e| {
                let found = format!("version {version} is in the repository with other content ({e})");
                mismatch(model, "release", &found, "a new version for new content")
            })?
            else {
                return Ok(None);
            };
            targets.insert(signature.clone(), self.place(&signature, &text, Some(custom))?);
            return Ok(Some(()));
        }
        let Some(text) = sign(from, model, &key, stop, tell)? else { return Ok(None) };
        let bundle = crate::signing::bundle::Bundle::parse(model, &text)?;
        let statement = Statement::parse(model, bundle.payload())?;
        let needed = [Some(&terms.open).filter(|open| *open != "."), terms.smoke.text.as_ref()];
        if let Some(missing) =
            needed.into_iter().flatten().find(|n| statement.files().iter().all(|f| f.name != **n))
        {
            return Err(mismatch(model, missing, "no such file in its folder", "a file of the release"));
        }
        for file in statement.files() {
            let name = format!("{below}{}", file.name);
            let (source, hash) = (from.join(&file.name), file.digest.to_string());
            let to = self.target(&name, &hash);
            Disk::default().make_folder(to.parent().unwrap_or(&to))?;
            let size = at(&source, fs::copy(&source, &to))?;
            Disk::default().sync(&to)?;
            targets.insert(name, json!({ "length": size, "hashes": { "sha256": hash } }));
            if stop() {
                return Ok(None);
            }
        }
        targets.insert(signature.clone(), self.place(&signature, &text, Some(custom))?);
        Ok(Some(()))
    }

    /// Puts a small target in place; gives its entry.
    fn place(&self, name: &str, bytes: &[u8], custom: Option<Value>) -> Result<Value> {
        let hash = sha256(bytes);
        Disk::default().write(&self.target(name, &hash), bytes)?;
        let mut entry = json!({ "length": bytes.len(), "hashes": { "sha256": hash } });
        if let Some(custom) = custom {
            entry["custom"] = json!({ CUSTOM: custom });
        }
        Ok(entry)
    }

    /// Snapshot and timestamp for the targets of `version`; gives their versions.
    fn seal(&self, root: &Newest, version: u64, expires: &Expires) -> Result<(u64, u64)> {
        let meta = |name: &str, version: u64| -> Result<Value> {
            let path = self.metadata(&format!("{version}.{name}"));
            let text = at(&path, fs::read(&path))?;
            let of_file =
                json!({ "version": version, "length": text.len(), "hashes": { "sha256": sha256(&text) } });
            Ok(json!({ "meta": { name: of_file } }))
        };
        let snapshot = self.write::<Snapshot>("snapshot", meta("targets.json", version)?, root, expires)?;
        let above = meta("snapshot.json", snapshot)?;
        let (timestamp, text) = self.next::<Timestamp>("timestamp", above, root, expires)?;
        // Devices that have the new root want what its keys signed: it comes when that is there.
        let disk = Disk::default();
        if let Some((path, text)) = &root.unwritten {
            disk.write(path, text)?;
        }
        disk.write(&self.metadata("timestamp.json"), &text)?;
        Ok((snapshot, timestamp))
    }

    /// Signs and writes the next version of a role's metadata; gives the version.
    fn write<T: Role + DeserializeOwned>(
        &self,
        role: &str,
        signed: Value,
        root: &Newest,
        expires: &Expires,
    ) -> Result<u64> {
        let (version, text) = self.next::<T>(role, signed, root, expires)?;
        Disk::default().write(&self.metadata(&format!("{version}.{role}.json")), &text)?;
        Ok(version)
    }

    /// Signs the next version of a role's metadata.
    fn next<T: Role + DeserializeOwned>(
        &self,
        role: &str,
        signed: Value,
        root: &Newest,
        expires: &Expires,
    ) -> Result<(u64, Vec<u8>)> {
        let last = self.last(role)?.and_then(|last| last.get("version")?.as_u64()).unwrap_or(0);
        // Files of a run that was ended before it came to the timestamp are not written over.
        let is_free = |version: &u64| !self.metadata(&format!("{version}.{role}.json")).exists();
        let version = (last + 1..).find(|v| role == "timestamp" || is_free(v)).unwrap_or(last + 1);
        let value = self.envelope(role, signed, version, expires)?;
        let (text, signed) = self.sign::<T>(&value, &self.keys.ids(role)?)?;
        root.signed.signed.verify_role(&signed).map_err(|e| {
            mismatch(&self.repository.display().to_string(), role, &e.to_string(), "a threshold of its keys")
        })?;
        Ok((version, text))
    }

    /// What all roles have.
    fn envelope(&self, role: &str, signed: Value, version: u64, expires: &Expires) -> Result<Value> {
        let seconds = self.now + u64::from(expires.days(role)) * DAY_SECONDS;
        let wrong = || mismatch(role, "expires", &format!("{seconds} s"), "a date");
        let seconds = i64::try_from(seconds).map_err(|_| wrong())?;
        let at = jiff::Timestamp::from_second(seconds).map_err(|_| wrong())?;
        let version = NonZeroU64::new(version).ok_or_else(wrong)?;
        let mut value = json!({
            "_type": role, "spec_version": SPEC_VERSION, "version": version, "expires": at.to_string()
        });
        if let (Some(value), Value::Object(signed)) = (value.as_object_mut(), signed) {
            value.extend(signed);
        }
        Ok(value)
    }

    /// Signs with those of the keys `ids` whose private halves are here.
    fn sign<T: Role + DeserializeOwned>(
        &self,
        value: &Value,
        ids: &[String],
    ) -> Result<(Vec<u8>, Signed<T>)> {
        let wrong = |e: &dyn std::fmt::Display| {
            mismatch("metadata", T::TYPE.to_string().as_str(), &e.to_string(), "TUF's form")
        };
        let role: T = serde_json::from_value(value.clone()).map_err(|e| wrong(&e))?;
        let bytes = role.canonical_form().map_err(|e| wrong(&e))?;
        let mut signatures = Vec::new();
        for key in ids.iter().filter_map(|id| self.keys.key(id)) {
            signatures.extend(key.sign(&bytes)?.map(|sig| json!({ "keyid": key.id, "sig": sig })));
        }
        let document = json!({ "signatures": signatures, "signed": value });
        let mut text = serde_json::to_vec_pretty(&document).expect("plain data");
        text.push(b'\n');
        Ok((text, serde_json::from_value(document).map_err(|e| wrong(&e))?))
    }

    fn metadata(&self, name: &str) -> PathBuf {
        self.repository.join("metadata").join(name)
    }

    /// Where the target `name` with this content lies.
    fn target(&self, name: &str, hash: &str) -> PathBuf {
        let targets = self.repository.join("targets");
        match name.rsplit_once('/') {
            Some((folder, file)) => targets.join(folder).join(format!("{hash}.{file}")),
            None => targets.join(format!("{hash}.{name}")),
        }
    }
}

/// How long metadata is valid, as these targets say it.
fn expires_of(targets: &Value) -> Result<Expires> {
    let said = targets.pointer(&format!("/targets/{REVOKED_NAME}/custom/{CUSTOM}/{EXPIRES}"));
    said.map_or_else(|| Ok(Expires::default()), Expires::deserialize)
        .map_err(|e| mismatch("targets", EXPIRES, &e.to_string(), "what ingle release wrote"))
}

/// That there is something that a revocation can be of.
fn check_revocation(revocation: &Revocation) -> Result<()> {
    let Revocation { model, version, digest, .. } = revocation;
    let wrong = |part: &str, found: &str, expected: &str| Err(mismatch("revoked", part, found, expected));
    let is_digest = |digest: &String| Digest::sha256(digest).is_some_and(|read| read.to_string() == *digest);
    match (version, digest) {
        _ if !is_model_name(model) => wrong("model", model, "the name of a model"),
        (None, None) => wrong(model, "neither version nor digest", "one of them"),
        (Some(0), _) => wrong(model, "version 0", "a version from 1 on"),
        (_, Some(digest)) if !is_digest(digest) => wrong(model, digest, "64 hex digits in lower case"),
        _ => Ok(()),
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(Some(&Digest::Sha256([0; 32])), bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// The file that a release is opened by, where its publisher does not say: its first GGUF file, or the folder.
///
/// # Errors
/// What the system says; [`Error::Mismatch`] for a folder with no model that is known by its name.
pub fn usual_open(from: &Path) -> Result<String> {
    let names = folder::names(from, &[BUNDLE_NAME])?;
    if names.iter().any(|name| name == "config.json") {
        return Ok(".".to_owned());
    }
    let first = names.into_iter().find(|name| name.to_ascii_lowercase().ends_with(".gguf"));
    first.ok_or_else(|| {
        mismatch(&from.display().to_string(), "open", "no .gguf file and no config.json", "open = \"FILE\"")
    })
}
