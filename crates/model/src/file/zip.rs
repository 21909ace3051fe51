//! Zip archives whose members are stored as they are, read in place.
//!
//! An archive ends with a record that says where its directory is, in 32 bits or, with a second record, in 64; the directory
//! says for each member its name, size and place; before a member's bytes stands a header that repeats that. `parse` believes
//! the directory alone, holds every range against the bytes that are there, and refuses members that share bytes or a name.
//! Compressed, encrypted or split archives are refused: nothing could be used where it lies. Checksums are not looked at, which
//! would read the whole file; the headers before members are, as far as their length goes. Source: PKWARE's APPNOTE.TXT 6.3.10.

use ingle_kernel::bytes::Bytes;

use super::value::fixed;
use crate::error::{Error, Result};

/// How an archive that is not empty begins.
pub const MAGIC: [u8; 4] = *b"PK\x03\x04";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const RECORD: [u8; 4] = *b"PK\x01\x02";
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_64_BYTES: usize = 20;
const RECORD_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// What the last record may be followed by.
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;
/// Flags of members that are encrypted, and of directories that are.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// The extra field with sizes and places in 64 bits.
const EXTRA_64: u16 = 1;
/// More than any file of weights has tensors.
const MEMBERS_MAX: u64 = 1 << 20;

/// One member.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name, folders and all.
    pub name: String,
    /// Its content.
    pub bytes: Bytes,
}

/// Parses the archive called `name` in errors; the members come in the order of the directory. Cost is proportional to the
/// directory.
///
/// # Errors
/// [`Error::Malformed`] when the directory breaks the format or does not hold against the bytes that are there;
/// [`Error::Unsupported`] for members that are compressed or encrypted.
pub fn parse(name: &str, bytes: &Bytes) -> Result<Vec<Member>> {
    let directory = Directory::find(name, bytes)?;
    let part = || format!("{name} directory");
    let mut rest = directory.records;
    let mut ranges = Vec::new();
    let mut members = Vec::new();
    for i in 0..directory.n_members {
        let record = Record::read(&mut rest).ok_or_else(|| {
            Error::malformed(part(), format!("{i} whole records"), format!("{} records", directory.n_members))
        })?;
        let member = String::from_utf8(record.name.to_vec()).map_err(|_| {
            Error::malformed(part(), format!("record {i} in invalid UTF-8"), "a name in UTF-8")
        })?;
        let range = record.range(bytes, directory.start).map_err(|(found, expected)| {
            let part = format!("{name} member {member}");
            if record.method == 0 && record.flags & ENCRYPTED == 0 {
                Error::malformed(part, found, expected)
            } else {
                Error::unsupported(part, found, [expected.as_str()])
            }
        })?;
        ranges.push((range.start, range.end, members.len()));
        members.push(Member { name: member, bytes: bytes.get(range).expect("held against the archive") });
    }
    if !rest.is_empty() {
        return Err(Error::malformed(part(), format!("{} bytes behind its last record", rest.len()), "none"));
    }
    ranges.sort_unstable();
    if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        let [first, second] = [pair[0].2, pair[1].2].map(|i| &members[i].name);
        let found = format!("bytes of member {first}");
        return Err(Error::malformed(format!("{name} member {second}"), found, "bytes of its own"));
    }
    let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let part = format!("{name} member {}", pair[0]);
        return Err(Error::malformed(part, "a second record", "each member once"));
    }
    Ok(members)
}

/// Where the records are, and how many.
struct Directory<'a> {
    records: &'a [u8],
    start: usize,
    n_members: u64,
}

impl<'a> Directory<'a> {
    fn find(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let part = || format!("{name} end");
        let from = bytes.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
        let last = bytes[from..].windows(END_BYTES).rposition(|window| window.starts_with(&END));
        let Some(end) = last.map(|i| from + i) else {
            return Err(Error::malformed(part(), "no record of a zip's end", "one (is the file truncated?)"));
        };
        let record = &bytes[end..];
        let mut n_members = u64::from(u16_at(record, 10));
        let (mut len, mut start) = (u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
        let mut stop = end;
        let mut disks = [u16_at(record, 4), u16_at(record, 6)].map(u32::from);
        let locator = end.checked_sub(LOCATOR_64_BYTES).map(|at| &bytes[at..end]);
        if let Some(locator) = locator.filter(|locator| locator.starts_with(&LOCATOR_64)) {
            let at = usize::try_from(u64_at(locator, 8)).unwrap_or(usize::MAX);
            let wide = bytes.get(at..).and_then(|rest| rest.get(..END_64_BYTES));
            let wide = wide.filter(|wide| wide.starts_with(&END_64) && at < end).ok_or_else(|| {
                Error::malformed(part(), format!("a record in 64 bits at byte {at}"), "one that is there")
            })?;
            n_members = u64_at(wide, 32);
            (len, start) = (u64_at(wide, 40), u64_at(wide, 48));
            disks = [u32_at(wide, 16), u32_at(wide, 20)];
            stop = at;
        }
        if disks != [0, 0] {
            return Err(Error::unsupported(part(), "an archive in several parts", ["archives of one file"]));
        }
        if n_members > MEMBERS_MAX {
            let expected = format!("at most {MEMBERS_MAX}");
            return Err(Error::malformed(part(), format!("{n_members} members"), expected));
        }
        let range = start.checked_add(len).filter(|&end| end <= stop as u64);
        range.ok_or_else(|| {
            let found = format!("a directory of {len} bytes at byte {start}");
            Error::malformed(part(), found, format!("one within the {stop} bytes before it"))
        })?;
        let start = start as usize;
        Ok(Self { records: &bytes[start..start + len as usize], start, n_members })
    }
}

/// A record of the directory.
struct Record<'a> {
    flags: u16,
    method: u16,
    packed: u64,
    size: u64,
    local: u64,
    name: &'a [u8],
}

impl<'a> Record<'a> {
    /// The next of `rest`; `None` where there is no whole one.
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let (head, tail) =
            rest.split_at_checked(RECORD_BYTES).filter(|(head, _)| head.starts_with(&RECORD))?;
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(head, at)));
        let (name, tail) = tail.split_at_checked(name)?;
        let (extra, tail) = tail.split_at_checked(extra)?;
        *rest = tail.get(comment..)?;
        let mut sizes = [24, 20, 42].map(|at| u64::from(u32_at(head, at)));
        let mut wide = wide(extra);
        for size in sizes.iter_mut().filter(|size| **size == u64::from(u32::MAX)) {
            let (value, more) = wide.split_at_checked(8)?;
            (*size, wide) = (u64_at(value, 0), more);
        }
        let [size, packed, local] = sizes;
        Some(Self { flags: u16_at(head, 8), method: u16_at(head, 10), packed, size, local, name })
    }

    /// Where its bytes are: before the directory, which begins at `end`. What is wrong, and what was expected.
    fn range(
        &self,
        bytes: &[u8],
        end: usize,
    ) -> std::result::Result<std::ops::Range<usize>, (String, String)> {
        if self.flags & ENCRYPTED != 0 {
            return Err(("encryption".into(), "members that are stored".into()));
        }
        if self.method != 0 {
            return Err((format!("compression method {}", self.method), "members that are stored".into()));
        }
        if self.packed != self.size {
            return Err((format!("{} stored bytes of {}", self.packed, self.size), "the same number".into()));
        }
        let local = usize::try_from(self.local).ok().and_then(|at| Some((at, bytes[..end].get(at..)?)));
        let local = local.and_then(|(at, rest)| Some((at, rest.get(..LOCAL_BYTES)?)));
        let Some((at, head)) = local.filter(|(_, head)| head.starts_with(&MAGIC)) else {
            return Err((format!("a place at byte {}", self.local), "the member's header there".into()));
        };
        let start = at + LOCAL_BYTES + usize::from(u16_at(head, 26)) + usize::from(u16_at(head, 28));
        let stop = usize::try_from(self.size).ok().and_then(|size| start.checked_add(size));
        stop.filter(|&stop| stop <= end).map(|stop| start..stop).ok_or_else(|| {
            let found = format!("{} bytes at byte {start}", self.size);
            (found, format!("bytes within the {end} before the directory"))
        })
    }
}

/// The values in 64 bits among a record's extra fields.
fn wide(mut extra: &[u8]) -> &[u8] {
    while let Some((head, tail)) = extra.split_at_checked(4) {
        let (field, tail) = tail.split_at(usize::from(u16_at(head, 2)).min(tail.len()));
        if u16_at(head, 0) == EXTRA_64 {
            return field;
        }
        extra = tail;
    }
    &[]
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(fixed(&bytes[at..at + 2]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(fixed(&bytes[at..at + 4]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(fixed(&bytes[at..at + 8]))
}
