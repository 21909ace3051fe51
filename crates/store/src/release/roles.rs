//! A publisher's keys: a folder with a private key per file, and a file that says which of them hold which role.
//!
//! Roles are TUF's four and the `publisher`, whose key signs the models themselves and which devices are given once, beside
//! the first root. A key that lost its role stays in the folder: the next root must be signed by the old ones, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use crate::error::{Error, Result, at};
use crate::signing::keys::{KINDS, PrivateKey, PublicKey, generate};
use crate::signing::mismatch;
use crate::signing::statement::hex;

/// TUF's roles, the one that vouches for the others first.
pub const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];
/// Signs models. OMS's tools read its kind.
const PUBLISHER: &str = "publisher.pem";
/// What devices are given of it.
pub const PUBLISHER_PUBLIC: &str = "publisher.pub.pem";
const ROLES_FILE: &str = "roles.json";
const KEYS_MAX: usize = 16;

/// Who holds a role: files of keys, of which so many must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holders {
    /// Keys that must sign.
    pub threshold: usize,
    /// Names of files in the folder.
    pub keys: Vec<String>,
}

/// How many keys a role gets, and how many of them must sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Keys that must sign.
    pub threshold: usize,
    /// Keys there are.
    pub n_keys: usize,
}

/// A key of a role.
#[derive(Debug)]
pub struct RoleKey {
    /// Its id: SHA-256 of what metadata says of it.
    pub id: String,
    /// The public half.
    pub public: PublicKey,
    private: PrivateKey,
}

impl RoleKey {
    fn read(path: &Path) -> Result<Self> {
        let text = at(path, fs::read_to_string(path))?;
        let private = PrivateKey::from_pem(&path.display().to_string(), &text)?;
        let public = private.public();
        // Canonical JSON: keys sorted, nothing between.
        let canonical = format!(
            "{{\"keytype\":\"ed25519\",\"keyval\":{{\"public\":\"{}\"}},\"scheme\":\"ed25519\"}}",
            hex(public.bytes())
        );
        Ok(Self { id: hex(digest(&SHA256, canonical.as_bytes()).as_ref()), public, private })
    }

    /// Signs `bytes`, in hex.
    ///
    /// # Errors
    /// [`Error::Random`] when the system has no randomness to give.
    pub fn sign(&self, bytes: &[u8]) -> Result<String> {
        Ok(hex(&self.private.sign(bytes)?))
    }
}

/// A folder of keys.
#[derive(Debug)]
pub struct KeyFolder {
    folder: PathBuf,
    holders: BTreeMap<String, Holders>,
    keys: BTreeMap<String, RoleKey>,
}

impl KeyFolder {
    /// Makes a folder of new keys, which nobody else may read. Roles that `quorums` does not name get one key.
    ///
    /// # Errors
    /// [`Error::Reference`] where there are keys already, for other roles, and for thresholds that can't be reached.
    pub fn create(folder: &Path, quorums: &BTreeMap<String, Quorum>) -> Result<Self> {
        let wrong = |found: String, expected: &str| Error::Reference { found, expected: expected.to_owned() };
        let disk = Disk::default();
        let roles_file = folder.join(ROLES_FILE);
        if roles_file.exists() {
            return Err(wrong(
                folder.display().to_string(),
                "expected a folder without keys; these are in use",
            ));
        }
        if let Some(other) = quorums.keys().find(|role| !ROLES.contains(&role.as_str())) {
            return Err(wrong(other.clone(), "expected one of the roles root, targets, snapshot, timestamp"));
        }
        disk.make_folder(folder)?;
        let mut holders = BTreeMap::new();
        for role in ROLES {
            let Quorum { threshold, n_keys } =
                quorums.get(role).copied().unwrap_or(Quorum { threshold: 1, n_keys: 1 });
            if !(1..=n_keys).contains(&threshold) || n_keys > KEYS_MAX {
                let said = format!("{role}={threshold}/{n_keys}");
                return Err(wrong(said, "expected a threshold that the keys can reach, of at most 16 keys"));
            }
            let keys = new_keys(&disk, folder, role, 1, n_keys)?;
            holders.insert(role.to_owned(), Holders { threshold, keys });
        }
        let publisher = generate(KINDS[0])?;
        disk.write_secret(&folder.join(PUBLISHER), publisher.as_bytes())?;
        let public = PrivateKey::from_pem(PUBLISHER, &publisher)?.public().to_pem();
        disk.write(&folder.join(PUBLISHER_PUBLIC), public.as_bytes())?;
        write_holders(&disk, folder, &holders)?;
        Self::open(folder)
    }

    /// Reads a folder of keys.
    ///
    /// # Errors
    /// What the system says; [`Error::Mismatch`] and [`Error::Reference`] for what is malformed.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(ROLES_FILE);
        let text = at(&path, fs::read(&path))?;
        let holders: BTreeMap<String, Holders> = serde_json::from_slice(&text).map_err(|e| {
            mismatch(&path.display().to_string(), "roles", &e.to_string(), "what ingle release keys wrote")
        })?;
        let mut keys = BTreeMap::new();
        for entry in at(folder, fs::read_dir(folder))? {
            let name = at(folder, entry)?.file_name().to_string_lossy().into_owned();
            let is_of_role =
                ROLES.iter().any(|role| name.strip_prefix(role).is_some_and(|n| n.starts_with('.')));
            if is_of_role && name.ends_with(".pem") {
                keys.insert(name.clone(), RoleKey::read(&folder.join(&name))?);
            }
        }
        for role in ROLES {
            let is_whole = holders.get(role).is_some_and(|h| h.threshold >= 1 && h.threshold <= h.keys.len());
            if !is_whole {
                return Err(mismatch(
                    &path.display().to_string(),
                    role,
                    "no keys for it",
                    "keys, and how many sign",
                ));
            }
        }
        Ok(Self { folder: folder.to_owned(), holders, keys })
    }

    /// Gives a role new keys in place of those it has.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Error::Reference`] for another role.
    pub fn rotate(self, role: &str) -> Result<Self> {
        let Self { folder, mut holders, keys } = self;
        let Some(holder) = holders.get_mut(role) else {
            let expected = format!("expected one of the roles {}", ROLES.join(", "));
            return Err(Error::Reference { found: role.to_owned(), expected });
        };
        let number =
            |name: &String| name.strip_prefix(role)?.strip_prefix('.')?.strip_suffix(".pem")?.parse().ok();
        let last: usize = keys.keys().filter_map(number).max().unwrap_or(0);
        let disk = Disk::default();
        holder.keys = new_keys(&disk, &folder, role, last + 1, holder.keys.len())?;
        write_holders(&disk, &folder, &holders)?;
        Self::open(&folder)
    }

    /// Who holds a role.
    pub fn holders(&self, role: &str) -> &Holders {
        &self.holders[role]
    }

    /// The ids of a role's keys, sorted.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a key whose file is gone. A folder for signing a role needs all public halves of that role's keys.
    pub fn ids(&self, role: &str) -> Result<Vec<String>> {
        let key = |name: &String| {
            let why = format!("{role} has this key, and its file is not in {}", self.folder.display());
            self.keys.get(name).map(|k| k.id.clone()).ok_or(Error::NotFound { what: name.clone(), why })
        };
        let mut ids = self.holders[role].keys.iter().map(key).collect::<Result<Vec<_>>>()?;
        ids.sort();
        Ok(ids)
    }

    /// The key with an id, where it is here.
    pub fn key(&self, id: &str) -> Option<&RoleKey> {
        self.keys.values().find(|key| key.id == id)
    }

    /// The key that signs models.
    ///
    /// # Errors
    /// What the system says; [`Error::Reference`] for what is no key.
    pub fn publisher(&self) -> Result<PrivateKey> {
        let path = self.folder.join(PUBLISHER);
        PrivateKey::from_pem(&path.display().to_string(), &at(&path, fs::read_to_string(&path))?)
    }
}

/// Writes `n` keys for a role, numbered from `first`; gives the names of their files.
fn new_keys(disk: &Disk, folder: &Path, role: &str, first: usize, n: usize) -> Result<Vec<String>> {
    let ed25519 = KINDS.iter().find(|kind| kind.name == "ed25519").expect("it is on the shelf");
    let name = |number| {
        let name = format!("{role}.{number}.pem");
        disk.write_secret(&folder.join(&name), generate(ed25519)?.as_bytes())?;
        Ok(name)
    };
    (first..first + n).map(name).collect()
}

fn write_holders(disk: &Disk, folder: &Path, holders: &BTreeMap<String, Holders>) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(holders).expect("plain data");
    text.push(b'\n');
    disk.write(&folder.join(ROLES_FILE), &text)
}
