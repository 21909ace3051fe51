//! A publisher's keys: a folder with the private and the public half of each key, and a file that says which of them hold which role.
//!
//! Public halves are enough to say who holds a role, so the private ones may lie elsewhere: whoever refreshes a repository needs
//! those of snapshot and timestamp alone.
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
/// How files of private keys end, and those of their public halves.
const PRIVATE: &str = ".pem";
const PUBLIC: &str = ".pub.pem";
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
    /// Where it is here.
    private: Option<PrivateKey>,
}

impl RoleKey {
    /// The key whose private half is the file `name` of the folder, or would be.
    fn read(folder: &Path, name: &str) -> Result<Self> {
        let read = |path: &Path| at(path, fs::read_to_string(path));
        let (path, beside) = (folder.join(name), folder.join(public_name(name)));
        let shown = path.display().to_string();
        let private = match path.exists() {
            true => Some(PrivateKey::from_pem(&shown, &read(&path)?)?),
            false => None,
        };
        let public = match &private {
            Some(private) => private.public(),
            None => PublicKey::from_pem(&beside.display().to_string(), &read(&beside)?)?,
        };
        // Canonical JSON: keys sorted, nothing between.
        let canonical = format!(
            "{{\"keytype\":\"ed25519\",\"keyval\":{{\"public\":\"{}\"}},\"scheme\":\"ed25519\"}}",
            hex(public.bytes())
        );
        Ok(Self { id: hex(digest(&SHA256, canonical.as_bytes()).as_ref()), public, private })
    }

    /// Signs `bytes`, in hex; `None` where the private half is elsewhere.
    ///
    /// # Errors
    /// [`Error::Random`] when the system has no randomness to give.
    pub fn sign(&self, bytes: &[u8]) -> Result<Option<String>> {
        self.private.as_ref().map(|private| Ok(hex(&private.sign(bytes)?))).transpose()
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
        // Keys alone, too: whoever lost the file that says whose they are has not lost them.
        if let Some(there) = names_in(folder)?.into_iter().find(|name| name == ROLES_FILE || is_key(name)) {
            let found = folder.join(there).display().to_string();
            return Err(wrong(found, "expected a folder without keys; these are in use"));
        }
        if let Some(other) = quorums.keys().find(|role| !ROLES.contains(&role.as_str())) {
            return Err(wrong(other.clone(), "expected one of the roles root, targets, snapshot, timestamp"));
        }
        let quorum = |role| quorums.get(role).copied().unwrap_or(Quorum { threshold: 1, n_keys: 1 });
        for role in ROLES {
            let Quorum { threshold, n_keys } = quorum(role);
            if !(1..=n_keys).contains(&threshold) || n_keys > KEYS_MAX {
                let said = format!("{role}={threshold}/{n_keys}");
                return Err(wrong(said, "expected a threshold that the keys can reach, of at most 16 keys"));
            }
        }
        disk.make_folder(folder)?;
        let mut holders = BTreeMap::new();
        for role in ROLES {
            let Quorum { threshold, n_keys } = quorum(role);
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
        for name in names_in(folder)?.into_iter().filter(|name| is_key(name) && is_of_role(name)) {
            let name = name.strip_suffix(PUBLIC).map_or(name.clone(), |stem| format!("{stem}{PRIVATE}"));
            if !keys.contains_key(&name) {
                keys.insert(name.clone(), RoleKey::read(folder, &name)?);
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
            |name: &String| name.strip_prefix(role)?.strip_prefix('.')?.strip_suffix(PRIVATE)?.parse().ok();
        // Those that lie elsewhere have their names, too.
        let last: usize = keys.keys().chain(&holder.keys).filter_map(number).max().unwrap_or(0);
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
    /// [`Error::NotFound`] for a key of which neither half is here.
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

/// Names of the files in a folder, which need not exist, in order.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let name = |entry: std::io::Result<fs::DirEntry>| -> Result<String> {
        Ok(at(folder, entry)?.file_name().to_string_lossy().into_owned())
    };
    let mut names = at(folder, fs::read_dir(folder))?.map(name).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Whether a file holds one of our keys, or half of one.
fn is_key(name: &str) -> bool {
    name.ends_with(PRIVATE) && (is_of_role(name) || [PUBLISHER, PUBLISHER_PUBLIC].contains(&name))
}

fn is_of_role(name: &str) -> bool {
    ROLES.iter().any(|role| name.strip_prefix(role).is_some_and(|rest| rest.starts_with('.')))
}

/// What the public half of a key is called.
fn public_name(name: &str) -> String {
    format!("{}{PUBLIC}", name.strip_suffix(PRIVATE).unwrap_or(name))
}

/// Writes `n` keys for a role, numbered from `first`; gives the names of the files of their private halves.
fn new_keys(disk: &Disk, folder: &Path, role: &str, first: usize, n: usize) -> Result<Vec<String>> {
    let ed25519 = KINDS.iter().find(|kind| kind.name == "ed25519").expect("it is on the shelf");
    let name = |number| {
        let name = format!("{role}.{number}{PRIVATE}");
        let private = generate(ed25519)?;
        let public = PrivateKey::from_pem(&name, &private)?.public().to_pem();
        disk.write_secret(&folder.join(&name), private.as_bytes())?;
        disk.write(&folder.join(public_name(&name)), public.as_bytes())?;
        Ok(name)
    };
    (first..first + n).map(name).collect()
}

fn write_holders(disk: &Disk, folder: &Path, holders: &BTreeMap<String, Holders>) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(holders).expect("plain data");
    text.push(b'\n');
    disk.write(&folder.join(ROLES_FILE), &text)
}
