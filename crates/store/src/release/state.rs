//! What a device knows of releases: whom it follows, what it trusts, what is in each model's two slots.
//!
//! One document in two copies, which are written in turn, each whole or not at all and with its hash in front. The newest copy
//! that is whole counts: a program that ends while it writes one leaves the other. It lies beside the folders of the slots,
//! never in one, and nothing that comes with a release is written anywhere but into its slot: so a release can't make a
//! device forget what it has seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::offer::{Offer, Revocation, is_model_name};
use crate::cache::{Lock, lock_file};
use crate::error::{Error, Result, at};
use crate::signing::keys::random;
use crate::signing::mismatch;
use crate::signing::statement::{hex, stays_inside};

/// Bytes of a copy that are read: metadata of some sources, of at most some MiB each.
const BYTES_MAX: u64 = 256 << 20;
/// How often a lock is looked at that another program holds, and for how long.
const LOCK_LOOK: Duration = Duration::from_millis(20);
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Another update is not waited for.
const UPDATE_WAIT: Duration = Duration::from_secs(1);

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Rises with every change.
    pub sequence: u64,
    /// A random number of this device, which never leaves it.
    pub device: String,
    /// Whom it follows, by address.
    pub sources: BTreeMap<String, Source>,
}

/// A repository that is followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The public key that releases must be signed with, in PEM.
    pub publisher: String,
    /// What the user allows.
    pub policy: Policy,
    /// The newest metadata that was verified.
    pub trusted: Trusted,
    /// When metadata was last found fresh, in seconds since 1970.
    pub fresh_at: u64,
    /// What was taken back, as of then.
    pub revoked: Vec<Revocation>,
    /// Models of this repository that are or were here.
    pub models: BTreeMap<String, Model>,
    /// The user follows it no more: it is not asked.
    #[serde(default)]
    pub is_unfollowed: bool,
}

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whether releases of models that are here are installed without asking.
    pub consent: Consent,
    /// How long models are used without fresh word from the repository.
    pub grace_days: u32,
    /// And then.
    pub when_stale: WhenStale,
}

/// Who says yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// The user, each time.
    Ask,
    /// The user has, once for all: `ingle update` installs.
    Auto,
}

/// What happens when there was no fresh word for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenStale {
    /// The model is used, and the user told.
    Warn,
    /// It is not used.
    Refuse,
}

/// Verified metadata, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The newest root, which each refresh begins with.
    pub root: String,
    /// The others by the names that the TUF client knows them by.
    pub others: BTreeMap<String, String>,
}

/// A model with its two slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The one that is used.
    pub active: Option<Slot>,
    /// The one to fall back to.
    pub other: Option<Slot>,
    /// The lowest version that may be installed or fallen back to.
    pub floor: u64,
    /// Releases that failed here, which are not tried again.
    pub blocked: Vec<Blocked>,
    /// The user follows it no more: what is here is used, and nothing newer asked for.
    #[serde(default)]
    pub is_unfollowed: bool,
}

/// One slot's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Of the release.
    pub version: u64,
    /// SHA-256 of the content, as its bundle says it.
    pub digest: String,
    /// The folder below the model's, and what to open in it.
    pub folder: String,
    /// A file in the folder, or `.` for the folder.
    pub open: String,
    /// What the floor becomes once it is good.
    pub minimum_version: u64,
    /// How it stands.
    pub standing: Standing,
}

/// How a slot's content has fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// In use, and watched.
    Probation {
        /// Uses that may still begin without one that ended well.
        tries_left: u32,
        /// Uses that must still end well.
        uses_left: u32,
    },
    /// It has proved itself.
    Good,
}

impl Standing {
    /// Whether all its tries have begun and none of them has ended well.
    pub fn has_no_tries(self) -> bool {
        matches!(self, Self::Probation { tries_left: 0, .. })
    }
}

/// A release that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Its version.
    pub version: u64,
    /// What failed, for people.
    pub why: String,
}

impl Model {
    /// Whether a release of it is here or has proved itself here: no other repository may have a model of its name.
    pub fn has_name(&self) -> bool {
        self.active.is_some() || self.other.is_some() || self.floor > 0
    }

    /// Whether its slots name nothing out of their folders, whoever wrote the state.
    fn stays_inside(&self) -> bool {
        let mut slots = [&self.active, &self.other].into_iter().flatten();
        slots.all(|slot| {
            let is_folder = stays_inside(&slot.folder) && !slot.folder.contains('/');
            is_folder && (slot.open == "." || stays_inside(&slot.open))
        })
    }
}

impl Slot {
    /// The slot that a release comes into.
    pub fn of(offer: &Offer, digest: &str, standing: Standing) -> Self {
        Self {
            version: offer.version,
            folder: folder_of(offer.version, digest),
            digest: digest.to_owned(),
            open: offer.terms.open.clone(),
            minimum_version: offer.terms.minimum_version,
            standing,
        }
    }
}

/// What the folder of a version with this content is called.
fn folder_of(version: u64, digest: &str) -> String {
    format!("{version}-{}", digest.get(..16).unwrap_or(digest))
}

/// The two copies, and the lock that guards them.
#[derive(Debug, Clone)]
pub struct StateFile {
    folder: PathBuf,
}

impl StateFile {
    /// The copies in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the copies lie.
    pub fn copies(&self) -> [PathBuf; 2] {
        ["state.0.json", "state.1.json"].map(|name| self.folder.join(name))
    }

    /// The newest state; an empty one where there is none yet.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when there are copies and none is whole: nothing is forgotten silently.
    pub fn read(&self) -> Result<State> {
        let mut newest: Option<State> = None;
        let mut n_found = 0;
        for path in self.copies() {
            let size = match std::fs::metadata(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                metadata => at(&path, metadata)?.len(),
            };
            n_found += 1;
            if size > BYTES_MAX {
                continue;
            }
            let copy = parse(&at(&path, std::fs::read(&path))?);
            newest = [newest, copy].into_iter().flatten().max_by_key(|state| state.sequence);
        }
        match newest {
            None if n_found > 0 => Err(mismatch(
                &self.folder.display().to_string(),
                "state of releases",
                "no copy that is whole",
                "state.0.json or state.1.json as ingle wrote them; without them, follow the repositories anew",
            )),
            newest => Ok(newest.unwrap_or_default()),
        }
    }

    /// Changes the state; no other program changes it meanwhile.
    ///
    /// # Errors
    /// [`Error::Locked`] when another program holds the lock for ten seconds; what `change` gives; and what the system says.
    pub fn edit<T>(&self, disk: &Disk, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        disk.make_folder(&self.folder)?;
        let _lock = self.lock("state.lock", LOCK_WAIT)?;
        let before = self.read()?;
        let mut state = before.clone();
        let out = change(&mut state)?;
        if state == before && !state.device.is_empty() {
            return Ok(out);
        }
        if state.device.is_empty() {
            state.device = hex(&random::<16>()?);
        }
        state.sequence = before.sequence + 1;
        let copy = usize::from(state.sequence % 2 == 1);
        disk.write_secret(&self.copies()[copy], &unparse(&state))?;
        Ok(out)
    }

    /// The lock that one update at a time holds. A program that another thread is just starting has all our locks for a moment;
    /// that is waited for.
    ///
    /// # Errors
    /// [`Error::Locked`] when another update runs.
    pub fn lock_updates(&self, disk: &Disk) -> Result<Lock> {
        disk.make_folder(&self.folder)?;
        self.lock("update.lock", UPDATE_WAIT)
    }

    /// A lock in the folder, which is waited for.
    fn lock(&self, name: &str, wait: Duration) -> Result<Lock> {
        let path = self.folder.join(name);
        let mut waited = Duration::ZERO;
        lock_file(&path, || {
            if waited >= wait {
                return Err(Error::Locked { path: path.clone(), waited });
            }
            std::thread::sleep(LOCK_LOOK);
            waited += LOCK_LOOK;
            Ok(())
        })
    }

    /// Where a model's slots lie.
    pub fn slots_dir(&self, model: &str) -> PathBuf {
        self.folder.join("slots").join(model)
    }

    /// A slot's folder.
    pub fn slot_dir(&self, model: &str, slot: &Slot) -> PathBuf {
        self.slots_dir(model).join(&slot.folder)
    }

    /// What to open of a slot.
    pub fn path_of(&self, model: &str, slot: &Slot) -> PathBuf {
        let folder = self.slot_dir(model, slot);
        if slot.open == "." { folder } else { folder.join(&slot.open) }
    }

    /// Where what comes is gathered.
    pub fn staging_dir(&self) -> PathBuf {
        self.folder.join("staging")
    }

    /// The folder of all this.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A copy: the hash of the rest, a line's end, the document.
fn unparse(state: &State) -> Vec<u8> {
    let document = serde_json::to_vec_pretty(state).expect("a state is plain data");
    let mut copy = hex(digest(&SHA256, &document).as_ref()).into_bytes();
    copy.push(b'\n');
    copy.extend(document);
    copy
}

fn parse(copy: &[u8]) -> Option<State> {
    let (hash, document) = copy.split_at_checked(64)?;
    let document = document.strip_prefix(b"\n")?;
    let is_whole = hash == hex(digest(&SHA256, document).as_ref()).as_bytes();
    let state: State = is_whole.then(|| serde_json::from_slice(document).ok()).flatten()?;
    let mut models = state.sources.values().flat_map(|source| &source.models);
    models.all(|(name, model)| is_model_name(name) && model.stays_inside()).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn source() -> Source {
        let policy = Policy { consent: Consent::Ask, grace_days: 30, when_stale: WhenStale::Warn };
        Source {
            publisher: String::new(),
            policy,
            trusted: Trusted::default(),
            fresh_at: 0,
            revoked: Vec::new(),
            models: BTreeMap::new(),
            is_unfollowed: false,
        }
    }

    /// Whoever can write the state has no folder opened or removed beside it.
    #[test]
    fn a_slot_that_leads_out_of_its_folder_is_not_read() {
        let slot = Slot {
            version: 1,
            digest: String::new(),
            folder: "1-0".into(),
            open: "m".into(),
            minimum_version: 1,
            standing: Standing::Good,
        };
        let with = |name: &str, slot: Slot| {
            let model = Model { active: Some(slot), ..Model::default() };
            let models = BTreeMap::from([(name.to_owned(), model)]);
            let sources = BTreeMap::from([("a".to_owned(), Source { models, ..source() })]);
            parse(&unparse(&State { sources, ..State::default() }))
        };
        assert!(with("m", slot.clone()).is_some());
        assert!(with("m", Slot { open: ".".into(), ..slot.clone() }).is_some());
        for folder in ["..", "../other", "a/b", "/a", ""] {
            assert_eq!(with("m", Slot { folder: folder.into(), ..slot.clone() }), None, "{folder}");
        }
        assert_eq!(with("m", Slot { open: "../../x".into(), ..slot.clone() }), None);
        assert_eq!(with("..", slot), None);
    }

    /// The newest copy is cut at every length and flipped at every byte: the older one is what is read.
    #[test]
    fn a_torn_copy_leaves_the_other_one() {
        let folder = Folder(std::env::temp_dir().join(format!("ingle-state-{}", std::process::id())));
        let file = StateFile::new(&folder.0);
        let disk = Disk::default();
        let follow = |url: &str| {
            let add = |state: &mut State| {
                state.sources.insert(url.into(), source());
                Ok(())
            };
            file.edit(&disk, add).unwrap();
        };
        assert_eq!(file.read().unwrap(), State::default());
        follow("a");
        let first = file.read().unwrap();
        assert_eq!((first.sequence, first.device.len()), (1, 32));
        follow("b");
        let second = file.read().unwrap();
        assert_eq!((second.sequence, second.sources.len(), &second.device), (2, 2, &first.device));

        let newest = &file.copies()[0];
        let whole = std::fs::read(newest).unwrap();
        for n in 0..whole.len() {
            std::fs::write(newest, &whole[..n]).unwrap();
            assert_eq!(file.read().unwrap(), first, "cut to {n} bytes");
            let mut flipped = whole.clone();
            flipped[n] ^= 1;
            std::fs::write(newest, flipped).unwrap();
            assert_eq!(file.read().unwrap(), first, "byte {n} flipped");
        }
        std::fs::write(newest, &whole).unwrap();
        assert_eq!(file.read().unwrap(), second);
        for copy in file.copies() {
            std::fs::write(copy, "").unwrap();
        }
        assert!(file.read().unwrap_err().to_string().contains("no copy that is whole"));
    }
}
