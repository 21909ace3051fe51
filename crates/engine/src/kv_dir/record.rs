//! What a file of [`super`] holds: what it is about, the bytes, a hash of everything.
//!
//! A magic text, the hash of all before the block, the block's tokens, what kind of thing it is, the sizes of its parts (0 for one that
//! is missing), the parts, and the SHA-256 of all of that. A reader knows what to expect of each field and how large the file must
//! be then; what differs is refused before a byte of the parts is looked at, and the parts are nobody's until the hash was right.

use std::io::{self, Read, Write};

use ingle_model::kv::BLOCK;
use sha2::{Digest, Sha256};

use super::Key;
use crate::prefix::Tokens;

/// Changes with what is written.
const MAGIC: &[u8; 8] = b"ingleKV1";
const HASH_BYTES: usize = 32;
/// Bytes before the sizes.
const FIXED_BYTES: usize = MAGIC.len() + HASH_BYTES + 4 * BLOCK + 4 + 4;

/// What a file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// Of all that comes before the block, the model included.
    pub parent: &'a Key,
    /// The block.
    pub tokens: &'a Tokens,
    /// Whether it is what stands behind the block instead of the block's pages.
    pub is_state: bool,
}

/// What comes before the parts.
fn head(about: &About<'_>, sizes: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
    let mut head = Vec::with_capacity(FIXED_BYTES + 8 * sizes.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(about.parent);
    head.extend(about.tokens.iter().flat_map(|token| token.to_le_bytes()));
    head.extend_from_slice(&u32::from(about.is_state).to_le_bytes());
    head.extend_from_slice(&(sizes.len() as u32).to_le_bytes());
    head.extend(sizes.flat_map(|size| (size as u64).to_le_bytes()));
    head
}

/// Writes a file of `parts`; how many bytes it has.
pub fn write(out: &mut impl Write, about: &About<'_>, parts: &[Option<&[u8]>]) -> io::Result<u64> {
    let head = head(about, parts.iter().map(|part| part.map_or(0, <[u8]>::len)));
    let mut hash = Sha256::new();
    let mut n_bytes = HASH_BYTES as u64;
    for part in std::iter::once(&head[..]).chain(parts.iter().copied().flatten()) {
        hash.update(part);
        out.write_all(part)?;
        n_bytes += part.len() as u64;
    }
    out.write_all(&hash.finalize())?;
    Ok(n_bytes)
}

/// A file whose head was as expected, up to its parts.
#[derive(Debug)]
pub struct Opened<R> {
    from: R,
    hash: Sha256,
    /// Which parts it has.
    pub has: Vec<bool>,
}

/// Reads what comes before the parts of a file of `n_bytes`, which is to be about `about` and have parts of `sizes`, some of which may
/// be missing.
///
/// # Errors
/// Why it is not such a file, in a few words.
pub fn open<R: Read>(
    mut from: R,
    n_bytes: u64,
    about: &About<'_>,
    sizes: &[usize],
) -> Result<Opened<R>, String> {
    let expected = head(about, sizes.iter().copied());
    let mut found = vec![0; expected.len()];
    from.read_exact(&mut found).map_err(|e| format!("its head can't be read: {e}"))?;
    if found[..FIXED_BYTES] != expected[..FIXED_BYTES] {
        return Err("its head is that of something else".into());
    }
    let mut hash = Sha256::new();
    hash.update(&found);
    let (mut has, mut rest) = (Vec::with_capacity(sizes.len()), (expected.len() + HASH_BYTES) as u64);
    for (size, found) in sizes.iter().zip(found[FIXED_BYTES..].as_chunks::<8>().0) {
        match u64::from_le_bytes(*found) {
            0 => has.push(false),
            n if n == *size as u64 => has.push(true),
            n => return Err(format!("a part of {n} bytes, expected {size}")),
        }
        rest += if has.last() == Some(&true) { *size as u64 } else { 0 };
    }
    if n_bytes != rest {
        return Err(format!("{n_bytes} bytes, expected {rest}"));
    }
    Ok(Opened { from, hash, has })
}

impl<R: Read> Opened<R> {
    /// Reads the parts that there are, one behind the other. What was read is worth nothing unless this says so.
    ///
    /// # Errors
    /// Why they are not what was written, in a few words.
    pub fn read<'p>(mut self, parts: impl Iterator<Item = &'p mut [u8]>) -> Result<(), String> {
        let unread = |e| format!("it can't be read: {e}");
        for part in parts {
            // While it is in the CPU's cache.
            for part in part.chunks_mut(1 << 16) {
                self.from.read_exact(part).map_err(unread)?;
                self.hash.update(part);
            }
        }
        let mut hash = [0; HASH_BYTES];
        self.from.read_exact(&mut hash).map_err(unread)?;
        if self.hash.finalize()[..] != hash {
            Err("its hash is not that of what it holds".into())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 3] = [16, 5, 30];

    fn read(file: &[u8], about: &About<'_>, sizes: &[usize]) -> Result<Vec<Vec<u8>>, String> {
        let opened = open(file, file.len() as u64, about, sizes)?;
        let mut parts: Vec<Vec<u8>> = vec![];
        parts.extend(opened.has.iter().zip(sizes).filter(|(has, _)| **has).map(|(_, size)| vec![0; *size]));
        opened.read(parts.iter_mut().map(|part| &mut part[..]))?;
        Ok(parts)
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let (parent, tokens) = ([7; 32], std::array::from_fn(|i| i as u32));
        let about = About { parent: &parent, tokens: &tokens, is_state: false };
        let parts = [Some(&[1; 16][..]), None, Some(&[3; 30])];
        let mut file = Vec::new();
        let n_bytes = write(&mut file, &about, &parts).unwrap();
        assert_eq!(n_bytes, file.len() as u64);
        assert_eq!(read(&file, &about, &SIZES).unwrap(), [vec![1; 16], vec![3; 30]]);

        let mut others = [tokens; 2];
        others[0][63] = 0;
        let refused = [
            About { tokens: &others[0], ..about },
            About { parent: &[8; 32], ..about },
            About { is_state: true, ..about },
        ];
        assert!(refused.iter().all(|about| read(&file, about, &SIZES).is_err()));
        assert!(read(&file, &about, &[16, 5, 31]).is_err() && read(&file, &about, &[16, 5]).is_err());
        for len in 0..file.len() {
            assert!(read(&file[..len], &about, &SIZES).is_err(), "cut at {len}");
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut file = file.clone();
                file[at] ^= 1 << bit;
                assert!(read(&file, &about, &SIZES).is_err(), "bit {bit} of byte {at}");
            }
        }
        file.push(0);
        assert!(read(&file, &about, &SIZES).is_err());
    }
}
