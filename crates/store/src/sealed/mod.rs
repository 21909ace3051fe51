//! Private files at rest: what was said, learned or computed from it lies on disk encrypted.
//!
//! A sealed file is a head and frames. The head says the version, whose key it is, how large frames are, and 19 random bytes. A
//! frame is XChaCha20-Poly1305 of so many bytes; its nonce is those 19 bytes, the frame's number and whether it is the
//! last (the STREAM construction, ia.cr/2015/189), and the head and a label of what the file is for are authenticated with each.
//! So a file that was cut, put together from others, reordered or taken for something else is refused at the first frame where that shows,
//! and reading or writing takes the memory of a frame. The extended nonce's key is derived once for a file (`chacha20`), its frames are `ring`'s.
//!
//! [`Writer`] and [`Reader`] are the streams, [`Key`] the secret, [`key_file`] how a passphrase or the system's keystore keeps it.
//!
//! Left out: reading from the middle; hiding sizes, names and times; a passphrase's parameters in each file (they are
//! in the key file alone, so that a new passphrase rewrites one small file); randomness, which the caller brings. Public weights are not
//! sealed: what is encrypted can't be mapped (`docs/at-rest.md`).

pub mod key;
pub mod key_file;
mod reader;
mod writer;

use std::io;

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

pub use key::{Key, KeyId};
pub use reader::Reader;
pub use writer::Writer;

/// How a sealed file begins; the digit is the version.
pub const MAGIC: &[u8; 8] = b"ingleSF1";
/// Random bytes in a head. They must be new for each file.
pub const PREFIX_BYTES: usize = 19;
/// Bytes before the first frame: the magic text, the key's id, the bytes of a frame as a `u32`, the random bytes, a 0.
pub const HEAD_BYTES: usize = MAGIC.len() + key::ID_BYTES + 4 + PREFIX_BYTES + 1;
/// What a frame's authentication adds to it.
pub const TAG_BYTES: usize = 16;
/// Bytes of a frame that [`Writer`] writes: small enough for a core's own cache.
pub const FRAME_BYTES: usize = 64 << 10;
/// Bytes that a frame may have: less is wasteful, and more would be memory that a file from outside asks for.
const FRAME_BYTES_READ: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 20;

/// Whether a file that begins so is a sealed one, of any version.
pub fn is_sealed(beginning: &[u8]) -> bool {
    beginning.starts_with(&MAGIC[..MAGIC.len() - 1])
}

/// Bytes of a file that holds `n` sealed bytes.
pub fn sealed_bytes(n: u64) -> u64 {
    let n_frames = n.div_ceil(FRAME_BYTES as u64).max(1);
    HEAD_BYTES as u64 + n + n_frames * TAG_BYTES as u64
}

/// What stands before the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    key: KeyId,
    frame_bytes: usize,
    prefix: [u8; PREFIX_BYTES],
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let frame_bytes = (self.frame_bytes as u32).to_le_bytes();
        let parts: [&[u8]; 5] = [MAGIC, &self.key.0, &frame_bytes, &self.prefix, &[0]];
        parts.concat().try_into().expect("the parts are as many bytes as HEAD_BYTES counts")
    }

    /// Reads a head, as far as that goes without a key.
    fn parse(bytes: &[u8; HEAD_BYTES]) -> io::Result<Self> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(refused(match is_sealed(magic) {
                true => "it is sealed in a way that this version does not know, expected version 1",
                false => "it is not sealed, expected a file that begins with ingleSF1",
            }));
        }
        let (id, rest) = rest.split_at(key::ID_BYTES);
        let (size, rest) = rest.split_at(4);
        let (prefix, end) = rest.split_at(PREFIX_BYTES);
        let frame_bytes = u32::from_le_bytes(size.try_into().expect("four bytes")) as usize;
        if !FRAME_BYTES_READ.contains(&frame_bytes) || !frame_bytes.is_power_of_two() || end != [0] {
            return Err(refused("its head asks for frames that no version writes"));
        }
        let key = KeyId(id.try_into().expect("as many bytes as an id has"));
        Ok(Self { key, frame_bytes, prefix: prefix.try_into().expect("as many bytes as a prefix has") })
    }
}

/// Seals or opens the frames of one file.
struct Frames {
    key: LessSafeKey,
    /// The end of the random bytes, which the nonce of every frame has.
    nonce_head: [u8; 3],
    /// What is authenticated with every frame: the head, and what the file is for.
    about: Vec<u8>,
}

impl Frames {
    fn new(key: &Key, head: &Head, label: &str) -> Self {
        let (derive, nonce_head) = head.prefix.split_at(16);
        let about = [&head.to_bytes(), label.as_bytes()].concat();
        Self {
            key: extended(key.bytes(), derive),
            nonce_head: nonce_head.try_into().expect("19 less 16"),
            about,
        }
    }

    /// Four zeros are what the extended nonce's own first 16 bytes leave of the short one; then 3 random bytes, the number, whether it
    /// is the last.
    fn nonce(&self, idx: u32, is_last: bool) -> Nonce {
        let [a, b, c] = self.nonce_head;
        let [d, e, f, g] = idx.to_be_bytes();
        Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, u8::from(is_last)])
    }

    /// Encrypts `frame` where it is and adds its tag.
    fn seal(&self, idx: u32, is_last: bool, frame: &mut Vec<u8>) -> io::Result<()> {
        let sealed =
            self.key.seal_in_place_append_tag(self.nonce(idx, is_last), Aad::from(&self.about), frame);
        sealed.map_err(|_| refused("a frame that can't be sealed"))
    }

    /// Decrypts `frame`, tag included, where it is; how many bytes it holds.
    fn open(&self, idx: u32, is_last: bool, frame: &mut [u8]) -> io::Result<usize> {
        let opened = self.key.open_in_place(self.nonce(idx, is_last), Aad::from(&self.about), frame);
        opened.map(|plain| plain.len()).map_err(|_| {
            refused(&format!(
                "frame {idx} is not what was sealed there: the file was changed, cut or put together"
            ))
        })
    }
}

/// The key that XChaCha20-Poly1305 uses for nonces that begin with these 16 bytes.
fn extended(key: &[u8; 32], nonce: &[u8]) -> LessSafeKey {
    let nonce: [u8; 16] = nonce.try_into().expect("callers give 16 bytes");
    let derived = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>(&(*key).into(), &nonce.into())));
    let key = UnboundKey::new(&CHACHA20_POLY1305, &derived[..]).expect("a key of ChaCha20 has 32 bytes");
    LessSafeKey::new(key)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
