//! What differs between two files, so that the new one can be made of the old.
//!
//! A patch is a head (both hashes, both sizes) and records from front to back: bytes that are as in the old file, which cost 17
//! bytes however many they are; bytes that are the old ones XOR something, compressed; bytes that have no counterpart, compressed. In
//! revisions of one layout most bits of most weights stay, and the XOR shows zstd just those that don't. Blocks are compressed
//! one by one, so that making and applying take the memory of a few.
//!
//! [`apply`] writes the new file from front to back beside its place and gives it out only when its SHA-256 is the head's, which is to be
//! what the caller expects. A patch from elsewhere may say anything: every number is checked, no record asks for more than a block, and
//! no more is written than the new file has.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::Piece;
use crate::error::{Error, Result, at};
use crate::hash::{Digest, Hasher};
use crate::partial::remove_if_there;

/// How a patch begins; the digit is the version.
pub const MAGIC: &[u8; 8] = b"ingleDP1";
/// Bytes of the new file that are compressed together.
const BLOCK_BYTES: usize = 1 << 20;
/// The most that a compressed block may take; zstd's own bound is less.
const PACKED_MAX: usize = BLOCK_BYTES + BLOCK_BYTES / 64;
/// Bytes before the records.
pub const HEAD_BYTES: usize = 8 + 32 + 32 + 8 + 8;
/// How hard zstd tries where nobody says: measured in `docs/delta.md`.
pub const LEVEL: i32 = 12;

const END: u8 = 0;
const SAME: u8 = 1;
const XOR: u8 = 2;
const NEW: u8 = 3;

/// What a patch is between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// SHA-256 of the old file.
    pub old: Digest,
    /// SHA-256 of the new file.
    pub new: Digest,
    /// Bytes of the old file.
    pub old_bytes: u64,
    /// Bytes of the new file.
    pub new_bytes: u64,
}

/// What a patch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Bytes of the patch.
    pub patch_bytes: u64,
    /// Bytes of the new file that are as in the old.
    pub same_bytes: u64,
    /// Bytes that were compressed against the old.
    pub xor_bytes: u64,
    /// Bytes that have no counterpart.
    pub new_bytes: u64,
}

/// Hears of progress in bytes of the new file, and says whether to go on.
pub type Tell<'a> = &'a mut dyn FnMut(u64) -> bool;

/// Writes to `out` the patch that makes the file at `new` of the one at `old`. `layout` says which bytes belong together, see
/// [`super::by_name`] and [`super::same_places`]. It is written from front to back and nothing is synced.
///
/// # Errors
/// What the system says, and [`Error::Interrupted`] when `tell` does not want to go on.
pub fn make(
    old: &Path,
    new: &Path,
    layout: &[Piece],
    level: i32,
    out: &mut impl Write,
    tell: Tell<'_>,
) -> Result<Summary> {
    let mut old_file = Source::open(old)?;
    let head = Head {
        old: hash_of(old, tell)?,
        new: hash_of(new, tell)?,
        old_bytes: old_file.n_bytes,
        new_bytes: Source::open(new)?.n_bytes,
    };
    let mut maker = Maker { out, same: None, summary: Summary::default(), packer: packer(level)? };
    maker.put(&head.to_bytes())?;
    let mut new_file = Source::open(new)?;
    let mut pieces = layout.iter().filter(|piece| piece.new.end <= head.new_bytes).peekable();
    let (mut at_byte, mut block, mut before) = (0, Vec::new(), Vec::new());
    while at_byte < head.new_bytes {
        while pieces.peek().is_some_and(|piece| piece.new.end <= at_byte) {
            pieces.next();
        }
        let next = pieces.peek().copied();
        let piece = next.filter(|piece| piece.new.start <= at_byte);
        let end = match (piece, next) {
            (Some(piece), _) => piece.new.end,
            (None, Some(next)) => next.new.start,
            (None, None) => head.new_bytes,
        };
        let n = (end - at_byte).min(BLOCK_BYTES as u64) as usize;
        new_file.read(at_byte, n, &mut block)?;
        let counterpart = piece.map(|piece| piece.old + (at_byte - piece.new.start));
        match counterpart.filter(|&from| from.checked_add(n as u64).is_some_and(|end| end <= head.old_bytes))
        {
            None => maker.record(NEW, None, &block)?,
            Some(from) => {
                old_file.read(from, n, &mut before)?;
                match block == before {
                    true => maker.same(from, n as u64)?,
                    false => {
                        xor(&mut block, &before);
                        maker.record(XOR, Some(from), &block)?;
                    }
                }
            }
        }
        at_byte += n as u64;
        go_on(tell(n as u64))?;
    }
    maker.flush_same()?;
    maker.put(&[END])?;
    Ok(maker.summary)
}

/// Makes the file at `part` of the one at `old` by `patch`, and syncs it; it has the hash and the bytes that are `expected` then. The
/// caller renames it.
///
/// # Errors
/// [`Error::Mismatch`] where the patch is none, is not of this file or makes another one, and what the system says; nothing is left at
/// `part` then.
pub fn apply(
    old: &Path,
    patch: impl Read,
    expected: (&Digest, u64),
    part: &Path,
    tell: Tell<'_>,
) -> Result<Head> {
    remove_if_there(part)?;
    let applied = apply_to(old, patch, expected, part, tell);
    if applied.is_err() {
        let _ = std::fs::remove_file(part);
    }
    applied
}

fn apply_to(
    old: &Path,
    patch: impl Read,
    (digest, n_bytes): (&Digest, u64),
    part: &Path,
    tell: Tell<'_>,
) -> Result<Head> {
    let wrong = |what: &str, found: String, expected: String| Error::Mismatch {
        file: part.display().to_string(),
        part: what.to_owned(),
        found,
        expected,
    };
    let broken = |why: &str| wrong("patch", why.to_owned(), "records that ingle wrote".into());
    let mut patch = BufReader::with_capacity(1 << 16, patch);
    let head = Head::read(&mut patch).map_err(|why| broken(&why))?;
    if head.new != *digest {
        return Err(wrong("patch", format!("it makes {}", head.new), digest.to_string()));
    }
    if head.new_bytes != n_bytes {
        let found = format!("it makes {} bytes", head.new_bytes);
        return Err(wrong("patch", found, n_bytes.to_string()));
    }
    let mut source = Source::open(old)?;
    if source.n_bytes != head.old_bytes {
        let found = format!("{} of {} bytes", old.display(), source.n_bytes);
        return Err(wrong("patch", found, format!("a file of {} bytes", head.old_bytes)));
    }
    let options = OpenOptions::new().write(true).create_new(true).open(part);
    let mut out = BufWriter::with_capacity(1 << 18, at(part, options)?);
    let mut hasher = Hasher::new(Some(&head.new), head.new_bytes);
    let (mut done, mut block, mut before, mut packed) = (0, Vec::new(), Vec::new(), Vec::new());
    let mut unpacker = zstd::bulk::Decompressor::new().map_err(|e| broken(&e.to_string()))?;
    loop {
        let cut = |e: io::Error| broken(&format!("it can't be read to its end: {e}"));
        let tag = number::<1>(&mut patch).map_err(cut)?;
        if tag == u64::from(END) {
            break;
        }
        let from = match tag as u8 {
            SAME | XOR => number::<8>(&mut patch).map_err(cut)?,
            NEW => 0,
            _ => return Err(broken("a record of no kind")),
        };
        let left = head.new_bytes - done;
        let n = if tag as u8 == SAME { number::<8>(&mut patch) } else { number::<4>(&mut patch) };
        let n = n.map_err(cut)?;
        let reaches = from.checked_add(n).is_some_and(|end| end <= head.old_bytes) || tag as u8 == NEW;
        if n == 0 || n > left || !reaches {
            return Err(broken("a record that reaches beyond a file"));
        }
        if tag as u8 == SAME {
            let mut copied = 0;
            while copied < n {
                let size = (n - copied).min(BLOCK_BYTES as u64) as usize;
                source.read(from + copied, size, &mut block)?;
                hasher.update(&block);
                at(part, out.write_all(&block))?;
                copied += size as u64;
                go_on(tell(size as u64))?;
            }
        } else {
            let n_packed = number::<4>(&mut patch).map_err(cut)? as usize;
            if n > BLOCK_BYTES as u64 || n_packed > PACKED_MAX {
                return Err(broken("a record larger than any that is written"));
            }
            packed.resize(n_packed, 0);
            patch.read_exact(&mut packed).map_err(cut)?;
            block.clear();
            block.reserve_exact(n as usize);
            // As much as there is room for, and no more.
            let unpacked = unpacker.decompress_to_buffer(&packed, &mut block);
            if unpacked.ok() != Some(n as usize) {
                return Err(broken("a record that does not unpack to its size"));
            }
            if tag as u8 == XOR {
                source.read(from, n as usize, &mut before)?;
                xor(&mut block, &before);
            }
            hasher.update(&block);
            at(part, out.write_all(&block))?;
            go_on(tell(n))?;
        }
        done += n;
    }
    if done != head.new_bytes {
        return Err(broken(&format!("it makes {done} bytes of {}", head.new_bytes)));
    }
    let found = hasher.finish();
    if found != head.new {
        return Err(wrong(found.algorithm(), found.to_string(), head.new.to_string()));
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error);
    at(part, file.and_then(|file| file.sync_all()))?;
    Ok(head)
}

impl Head {
    fn to_bytes(&self) -> Vec<u8> {
        let sha = |digest: &Digest| match digest {
            Digest::Sha256(bytes) => *bytes,
            Digest::GitBlob(_) => unreachable!("heads are made of SHA-256"),
        };
        let sizes = [self.old_bytes, self.new_bytes].map(u64::to_le_bytes);
        [&MAGIC[..], &sha(&self.old), &sha(&self.new), &sizes[0], &sizes[1]].concat()
    }

    /// Reads what a patch is between.
    ///
    /// # Errors
    /// Why it is no patch, in a few words.
    pub fn read(from: &mut impl Read) -> std::result::Result<Self, String> {
        let mut magic = [0; MAGIC.len()];
        let mut hashes = [[0; 32]; 2];
        let cut = |e: io::Error| format!("its head can't be read: {e}");
        from.read_exact(&mut magic).map_err(cut)?;
        if magic != *MAGIC {
            return Err("it does not begin as a patch of this version".into());
        }
        for hash in &mut hashes {
            from.read_exact(hash).map_err(cut)?;
        }
        let [old, new] = hashes.map(Digest::Sha256);
        let (old_bytes, new_bytes) = (number::<8>(from).map_err(cut)?, number::<8>(from).map_err(cut)?);
        Ok(Self { old, new, old_bytes, new_bytes })
    }
}

/// Writes records, those of unchanged bytes as one.
struct Maker<'w, W> {
    out: &'w mut W,
    same: Option<(u64, u64)>,
    summary: Summary,
    packer: zstd::bulk::Compressor<'static>,
}

impl<W: Write> Maker<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.summary.patch_bytes += bytes.len() as u64;
        at(Path::new("the patch"), self.out.write_all(bytes))
    }

    fn same(&mut self, from: u64, n: u64) -> Result<()> {
        self.summary.same_bytes += n;
        match &mut self.same {
            Some((start, len)) if *start + *len == from => *len += n,
            _ => {
                self.flush_same()?;
                self.same = Some((from, n));
            }
        }
        Ok(())
    }

    fn flush_same(&mut self) -> Result<()> {
        if let Some((from, n)) = self.same.take() {
            self.put(&[&[SAME][..], &from.to_le_bytes(), &n.to_le_bytes()].concat())?;
        }
        Ok(())
    }

    fn record(&mut self, tag: u8, from: Option<u64>, block: &[u8]) -> Result<()> {
        self.flush_same()?;
        let packed = at(Path::new("the patch"), self.packer.compress(block))?;
        let sizes = [block.len() as u32, packed.len() as u32].map(u32::to_le_bytes);
        self.put(&[tag])?;
        if let Some(from) = from {
            self.put(&from.to_le_bytes())?;
            self.summary.xor_bytes += block.len() as u64;
        } else {
            self.summary.new_bytes += block.len() as u64;
        }
        self.put(&sizes.concat())?;
        self.put(&packed)
    }
}

fn packer(level: i32) -> Result<zstd::bulk::Compressor<'static>> {
    at(Path::new("the patch"), zstd::bulk::Compressor::new(level))
}

/// A file that is read in places.
struct Source<'a> {
    path: &'a Path,
    file: File,
    n_bytes: u64,
    /// Where the next byte is read without seeking.
    at: u64,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = at(path, File::open(path))?;
        let n_bytes = at(path, file.metadata())?.len();
        Ok(Self { path, file, n_bytes, at: 0 })
    }

    /// The `n` bytes from `from` on, into `out`.
    fn read(&mut self, from: u64, n: usize, out: &mut Vec<u8>) -> Result<()> {
        out.resize(n, 0);
        if self.at != from {
            at(self.path, self.file.seek(SeekFrom::Start(from)))?;
        }
        at(self.path, self.file.read_exact(out))?;
        self.at = from + n as u64;
        Ok(())
    }
}

fn xor(block: &mut [u8], before: &[u8]) {
    block.iter_mut().zip(before).for_each(|(byte, before)| *byte ^= before);
}

fn hash_of(path: &Path, tell: Tell<'_>) -> Result<Digest> {
    let wish = std::cell::Cell::new(true);
    let mut told = |n| wish.set(wish.get() & tell(n));
    let hashed = crate::hash::hash_file(path, &Digest::Sha256([0; 32]), &|| !wish.get(), &mut told)?;
    hashed.ok_or_else(|| Error::Interrupted("stopped; there is no patch".into()))
}

fn go_on(wish: bool) -> Result<()> {
    if wish { Ok(()) } else { Err(Error::Interrupted("stopped; the old file is as it was".into())) }
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes[..N])?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;
