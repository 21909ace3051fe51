//! The file that says where the key is, and holds it where no keystore does.
//!
//! There is one key of a user ([`Key`]), and this file beside their models: JSON that names the key and says who keeps it. A
//! passphrase encrypts the key, not the files, by a key that Argon2id makes of it (RFC 9106): so a new passphrase rewrites this
//! file alone. The parameters are in the file and bounded when it is read, for a file from elsewhere must not ask for all memory. A
//! key that lies here open is for machines without a keystore and nobody who types; the file is then all the secret there is.
//!
//! Left out: asking for passphrases, keystores and randomness, which are the caller's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, Nonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::KEY_BYTES;
use super::{Key, TAG_BYTES, extended};
use crate::error::{Error, Result, at};
use crate::hash::decode;

/// More is no key file.
const FILE_BYTES_MAX: u64 = 16 << 10;
const VERSION: u32 = 1;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
/// Random bytes that a passphrase needs: salt and nonce.
pub const RANDOM_BYTES: usize = SALT_BYTES + NONCE_BYTES;

/// What Argon2id is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effort {
    /// Memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Parts of it that depend on each other only between quarters of a pass.
    pub lanes: u32,
}

impl Effort {
    /// The second choice of RFC 9106, for where memory is short.
    pub const USUAL: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// The most that a file may ask for: 1 GiB, and 4 GiB written in all.
    const MEMORY_KIB_MAX: u32 = 1 << 20;
    const WRITTEN_KIB_MAX: u64 = 4 << 20;
    const LANES_MAX: u32 = 16;

    fn is_bearable(self) -> bool {
        let written = u64::from(self.memory_kib) * u64::from(self.passes);
        (1..=Self::LANES_MAX).contains(&self.lanes)
            && (8 * self.lanes..=Self::MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (1..=Self::WRITTEN_KIB_MAX).contains(&written)
    }

    /// The key that a passphrase makes with this salt.
    fn derive(
        self,
        passphrase: &str,
        salt: &[u8],
    ) -> std::result::Result<Zeroizing<[u8; KEY_BYTES]>, String> {
        if !self.is_bearable() {
            return Err(format!(
                "argon2id: {self:?}, expected at most 1 GiB, 4 GiB in all passes and 16 lanes"
            ));
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_BYTES));
        let params = params.map_err(|e| format!("argon2id: {e}"))?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2
            .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
            .map_err(|e| format!("argon2id: {e}"))?;
        Ok(key)
    }
}

/// Who keeps the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The system's keystore, under the key's name.
    Keystore,
    /// Whoever knows the passphrase.
    Passphrase(Wrapped),
    /// This file, open.
    File(Key),
}

impl Kept {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keystore => "keystore",
            Self::Passphrase(_) => "passphrase",
            Self::File(_) => "file",
        }
    }
}

/// A key under a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// What the passphrase costs to try.
    pub effort: Effort,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    sealed: Vec<u8>,
}

impl Wrapped {
    /// Puts `key` under `passphrase`. `random` must be new.
    ///
    /// # Errors
    /// When `effort` is more than a file may ask for, or memory does not suffice; in a few words.
    pub fn new(
        key: &Key,
        passphrase: &str,
        effort: Effort,
        random: [u8; RANDOM_BYTES],
    ) -> std::result::Result<Self, String> {
        let (salt, nonce) = random.split_at(SALT_BYTES);
        let salt: [u8; SALT_BYTES] = salt.try_into().expect("as many bytes as a salt has");
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().expect("as many bytes as a nonce has");
        let outer = effort.derive(passphrase, &salt)?;
        let mut sealed = key.bytes().to_vec();
        sealed.reserve_exact(TAG_BYTES);
        let about = about(&key.id().to_string(), effort);
        let wrapped = extended(&outer, &nonce[..16]).seal_in_place_append_tag(
            short(&nonce),
            Aad::from(about),
            &mut sealed,
        );
        wrapped.map_err(|_| "the key can't be encrypted".to_owned())?;
        Ok(Self { effort, salt, nonce, sealed })
    }

    /// The key named `id`, if this is the passphrase; `None` if it is not.
    ///
    /// # Errors
    /// When memory does not suffice for the effort; in a few words.
    fn open(&self, id: &str, passphrase: &str) -> std::result::Result<Option<Key>, String> {
        let outer = self.effort.derive(passphrase, &self.salt)?;
        let mut bytes = Zeroizing::new(self.sealed.clone());
        let about = about(id, self.effort);
        let opened = extended(&outer, &self.nonce[..16]).open_in_place(
            short(&self.nonce),
            Aad::from(about),
            &mut bytes,
        );
        let Ok(plain) = opened else { return Ok(None) };
        let plain = <[u8; KEY_BYTES]>::try_from(&*plain).map_err(|_| "a key of another size".to_owned())?;
        Ok(Some(Key::new(Zeroizing::new(plain))))
    }
}

/// What is authenticated with a wrapped key.
fn about(id: &str, effort: Effort) -> Vec<u8> {
    let Effort { memory_kib, passes, lanes } = effort;
    format!("ingle wrapped key {VERSION} {id} {memory_kib} {passes} {lanes}").into_bytes()
}

/// The end of an extended nonce, as the short nonce of the key that its beginning derives.
fn short(nonce: &[u8; NONCE_BYTES]) -> Nonce {
    let mut short = [0; 12];
    short[4..].copy_from_slice(&nonce[16..]);
    Nonce::assume_unique_for_key(short)
}

/// The key file of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// The key's name.
    pub id: String,
    /// Who keeps it.
    pub kept: Kept,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    id: String,
    kept: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    argon2id: Option<Effort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Zeroizing<String>>,
}

impl KeyFile {
    /// Reads the file at `path`; `None` where there is none.
    ///
    /// # Errors
    /// What the system says; [`Error::Mismatch`] where it is no key file, or holds an open key that others may read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => at(path, file)?,
        };
        let mut text = Zeroizing::new(Vec::new());
        at(path, (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut text))?;
        let wrong = |found: String| mismatch(path, found, "what ingle key wrote");
        let read = Self::parse(&text).map_err(wrong)?;
        if matches!(read.kept, Kept::File(_)) && is_open_to_others(&at(path, file.metadata())?) {
            return Err(mismatch(path, "others may read it".into(), "a file for its owner alone (mode 600)"));
        }
        Ok(Some(read))
    }

    /// Reads what such a file holds.
    ///
    /// # Errors
    /// Why it is none, in a few words.
    pub fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("more than {FILE_BYTES_MAX} bytes"));
        }
        // What serde says may quote the file, so that is not repeated.
        let content: Content = serde_json::from_slice(text)
            .map_err(|e| format!("no JSON of a key file (line {}, column {})", e.line(), e.column()))?;
        let Content { version, id, kept, argon2id, salt, nonce, key } = content;
        if version != VERSION || decode::<{ super::key::ID_BYTES }>(&id).is_none() {
            return Err(format!("version {version} or a name that is none"));
        }
        let kept = match (&*kept, argon2id, salt, nonce, key) {
            ("keystore", None, None, None, None) => Kept::Keystore,
            ("file", None, None, None, Some(hex)) => {
                let key = decode(&hex).map(|bytes| Key::new(Zeroizing::new(bytes)));
                Kept::File(key.filter(|key| key.id().to_string() == id).ok_or("a key of another name")?)
            }
            ("passphrase", Some(effort), Some(salt), Some(nonce), Some(sealed)) if effort.is_bearable() => {
                let sealed = decode::<{ KEY_BYTES + TAG_BYTES }>(&sealed);
                let (Some(salt), Some(nonce), Some(sealed)) = (decode(&salt), decode(&nonce), sealed) else {
                    return Err("salt, nonce or key are not as long as they are".into());
                };
                Kept::Passphrase(Wrapped { effort, salt, nonce, sealed: sealed.to_vec() })
            }
            _ => return Err("keeps the key in no way that is known".into()),
        };
        Ok(Self { id, kept })
    }

    /// Writes the file at `path`, for its owner alone, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        at(folder, std::fs::create_dir_all(folder))?;
        let part = path.with_added_extension("part");
        let _ = std::fs::remove_file(&part);
        let written = self.write_to(&part).and_then(|()| std::fs::rename(&part, path));
        // The new name, too, must be there after a power cut.
        let written = written.and_then(|()| if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) });
        at(path, written.inspect_err(|_| drop(std::fs::remove_file(&part))))
    }

    fn write_to(&self, part: &PathBuf) -> io::Result<()> {
        let mut content = Content {
            version: VERSION,
            id: self.id.clone(),
            kept: self.kept.name().into(),
            argon2id: None,
            salt: None,
            nonce: None,
            key: None,
        };
        match &self.kept {
            Kept::Keystore => {}
            Kept::File(key) => content.key = Some(Zeroizing::new(hex(key.bytes()))),
            Kept::Passphrase(wrapped) => {
                content.argon2id = Some(wrapped.effort);
                content.salt = Some(hex(&wrapped.salt));
                content.nonce = Some(hex(&wrapped.nonce));
                content.key = Some(Zeroizing::new(hex(&wrapped.sealed)));
            }
        }
        let mut text = Zeroizing::new(serde_json::to_vec_pretty(&content)?);
        text.push(b'\n');
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(part)?;
        file.write_all(&text)?;
        file.sync_all()
    }

    /// The key under a passphrase. `None` where it is another passphrase.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where no passphrase keeps it, or memory does not suffice to try one.
    pub fn open(&self, path: &Path, passphrase: &str) -> Result<Option<Key>> {
        let Kept::Passphrase(wrapped) = &self.kept else {
            let found = format!("the key is kept by the {}", self.kept.name());
            return Err(mismatch(path, found, "a passphrase"));
        };
        let opened = wrapped
            .open(&self.id, passphrase)
            .map_err(|why| mismatch(path, why, "a key under a passphrase"))?;
        Ok(opened.filter(|key| key.id().to_string() == self.id))
    }
}

fn mismatch(path: &Path, found: String, expected: &str) -> Error {
    let (file, expected) = (path.display().to_string(), expected.to_owned());
    Error::Mismatch { file, part: "key".into(), found, expected }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o077 != 0
}

/// Elsewhere a user's folders are theirs by the system's own rules.
#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests;
