//! The two hashes that name files on the hub.
//!
//! Large files are named by their SHA-256. Small ones lie in the repository itself and are named as git names them: SHA-1
//! over `blob SIZE\0` and the content. SHA-1 is broken against forgers, so it guards against accidents only; the weights are
//! always under SHA-256.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::error::{Result, at};

/// What a file's content must hash to. Prints as lower-case hex, which is the blob's name in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-256 of the content.
    Sha256([u8; 32]),
    /// SHA-1 of git's blob object.
    GitBlob([u8; 20]),
}

impl Digest {
    /// Reads a SHA-256 in hex.
    pub fn sha256(hex: &str) -> Option<Self> {
        decode(hex).map(Self::Sha256)
    }

    /// Reads a git blob id in hex.
    pub fn git_blob(hex: &str) -> Option<Self> {
        decode(hex).map(Self::GitBlob)
    }

    /// For messages.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::GitBlob(_) => "git blob sha1",
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha256(bytes) => bytes,
            Self::GitBlob(bytes) => bytes,
        };
        bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// `2 * N` hex digits.
pub(crate) fn decode<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = [0; N];
    for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

/// Hashes content as it comes.
#[derive(Clone)]
pub struct Hasher {
    context: Context,
    is_git: bool,
}

impl Hasher {
    /// For content of `size` bytes that should hash to something like `expected`; SHA-256 where nothing is expected.
    pub fn new(expected: Option<&Digest>, size: u64) -> Self {
        let is_git = matches!(expected, Some(Digest::GitBlob(_)));
        let mut context = Context::new(if is_git { &SHA1_FOR_LEGACY_USE_ONLY } else { &SHA256 });
        if is_git {
            context.update(format!("blob {size}\0").as_bytes());
        }
        Self { context, is_git }
    }

    /// More content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The hash of everything so far.
    pub fn finish(self) -> Digest {
        let digest = self.context.finish();
        if self.is_git {
            Digest::GitBlob(digest.as_ref().try_into().expect("SHA-1 has 20 bytes"))
        } else {
            Digest::Sha256(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
        }
    }
}

/// Bytes that are read at a time: few calls, and they fit the caches between memory and core.
const BUFFER_BYTES: usize = 256 << 10;

/// The hash of the file at `path`, of the kind that `expected` is. `tell` hears of every piece; `None` when `stop` says so.
pub fn hash_file(
    path: &Path,
    expected: &Digest,
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(u64),
) -> Result<Option<Digest>> {
    let mut file = at(path, File::open(path))?;
    let size = at(path, file.metadata())?.len();
    let mut hasher = Hasher::new(Some(expected), size);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            _ if stop() => return Ok(None),
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                tell(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return at(path, Err(e)),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("is_git", &self.is_git).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180's "abc", and what `git hash-object` says of a file that holds "hello\n".
    #[test]
    fn known_answers() {
        let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let expected = Digest::sha256(sha).unwrap();
        let mut hasher = Hasher::new(Some(&expected), 3);
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), expected);
        assert_eq!(expected.to_string(), sha);

        let git = Digest::git_blob("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        let mut hasher = Hasher::new(Some(&git), 6);
        hasher.update(b"hello\n");
        assert_eq!(hasher.finish(), git);
    }

    #[test]
    fn anything_but_the_right_number_of_hex_digits_is_refused() {
        for hex in ["", "ba", "../../../../etc/passwd", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert_eq!(Digest::sha256(hex), None, "{hex}");
            assert_eq!(Digest::git_blob(hex), None, "{hex}");
        }
    }
}
