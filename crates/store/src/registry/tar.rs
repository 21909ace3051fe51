//! Reads tar archives: regular files, one after the other, as they come.
//!
//! Enough of ustar, of GNU's long names and of pax's `path` and `size` for what model packers write. Whatever is no regular file
//! or folder (links, devices) is refused, as is a path that could leave its folder. Nothing is held in memory but a header.

use std::io::{self, Read};

use crate::listing::is_safe_path;

const BLOCK: usize = 512;
/// Bytes of a long name or of pax records that are read.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Entries of one archive.
const ENTRIES_MAX: usize = 20_000;

/// What a file's content is given to: its path, its size, and its bytes.
pub type Take<'a> = &'a mut dyn FnMut(&str, u64, &mut dyn Read) -> io::Result<()>;

/// Reads all of `archive` and gives each file to `take`, which need not read all of it.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] with a sentence for what is no archive or would not stay in its folder; what `take` and `archive` give.
pub fn read(archive: &mut dyn Read, take: Take<'_>) -> io::Result<()> {
    let mut path_said: Option<String> = None;
    let mut size_said: Option<u64> = None;
    for _ in 0..ENTRIES_MAX {
        let mut header = [0; BLOCK];
        if !fill(archive, &mut header)? || header.iter().all(|&b| b == 0) {
            return Ok(());
        }
        check_sum(&header)?;
        let size = size_said.take().map_or_else(|| number(&header[124..136]), Ok)?;
        match header[156] {
            b'L' => path_said = Some(text(archive, size)?.trim_end_matches('\0').to_owned()),
            b'x' => {
                let records = text(archive, size)?;
                path_said = pax(&records, "path").map(str::to_owned).or(path_said);
                size_said = pax(&records, "size").and_then(|n| n.parse().ok());
            }
            b'g' => drop(text(archive, size)?),
            kind @ (b'0' | 0 | b'7' | b'5') => {
                let path = path_said.take().map_or_else(|| path_of(&header), Ok)?;
                let path = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/').to_owned();
                if kind != b'5' {
                    if !is_safe_path(&path) {
                        return Err(wrong(format!(
                            "the path {path:?}, expected one that stays in its folder"
                        )));
                    }
                    let mut content = archive.take(size);
                    take(&path, size, &mut content)?;
                    let left = content.limit();
                    skip(archive, left + padding(size))?;
                }
            }
            kind => {
                let kind = char::from(kind);
                return Err(wrong(format!("an entry of type {kind:?}, expected files and folders")));
            }
        }
    }
    Err(wrong(format!("more than {ENTRIES_MAX} entries")))
}

fn wrong(said: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, said)
}

/// A whole block; `false` at the end of the archive.
fn fill(archive: &mut dyn Read, block: &mut [u8; BLOCK]) -> io::Result<bool> {
    let mut n = 0;
    while n < BLOCK {
        match archive.read(&mut block[n..])? {
            0 if n == 0 => return Ok(false),
            0 => return Err(wrong("a torn header, expected 512 bytes".into())),
            read => n += read,
        }
    }
    Ok(true)
}

/// The sum of the header's bytes, with blanks in place of the sum.
fn check_sum(header: &[u8; BLOCK]) -> io::Result<()> {
    let sum = |range: std::ops::Range<usize>| header[range].iter().map(|&b| u64::from(b)).sum::<u64>();
    let found = sum(0..148) + 8 * u64::from(b' ') + sum(156..BLOCK);
    match number(&header[148..156]) {
        Ok(said) if said == found => Ok(()),
        _ => Err(wrong("a header whose checksum is wrong, expected a tar archive".into())),
    }
}

/// Octal digits, or GNU's binary form for what is too large for them.
fn number(field: &[u8]) -> io::Result<u64> {
    let bad = || wrong("a number that is none".into());
    if field.first().is_some_and(|b| b & 0x80 != 0) {
        // A mark and zeros before the last eight bytes; the checksum's field is too short for that.
        let Some((&[0x80, ref zeros @ ..], tail)) = field.split_last_chunk::<8>() else { return Err(bad()) };
        if zeros.iter().any(|&b| b != 0) {
            return Err(bad());
        }
        return Ok(tail.iter().fold(0, |n, &b| n << 8 | u64::from(b)));
    }
    let digits = std::str::from_utf8(field).map_err(|_| bad())?;
    let digits = digits.trim_matches(['\0', ' ']);
    if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 8).map_err(|_| bad()) }
}

fn path_of(header: &[u8; BLOCK]) -> io::Result<String> {
    let field = |range: std::ops::Range<usize>| {
        let bytes = &header[range];
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).map_err(|_| wrong("a path that is not UTF-8".into()))
    };
    let name = field(0..100)?;
    let prefix = if &header[257..262] == b"ustar" && header[262] == 0 { field(345..500)? } else { "" };
    Ok(if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") })
}

/// An entry's content as a text.
fn text(archive: &mut dyn Read, size: u64) -> io::Result<String> {
    if size > TEXT_BYTES_MAX {
        return Err(wrong(format!("a name of {size} bytes, expected at most {TEXT_BYTES_MAX}")));
    }
    let mut bytes = Vec::new();
    archive.take(size).read_to_end(&mut bytes)?;
    skip(archive, padding(size))?;
    String::from_utf8(bytes).map_err(|_| wrong("a name that is not UTF-8".into()))
}

/// The value of `key` in records `LENGTH KEY=VALUE\n`, the last one that is there.
fn pax<'a>(records: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = records;
    let mut found = None;
    while let Some((length, _)) = rest.split_once(' ') {
        let n: usize = length.parse().ok()?;
        let record = rest.get(length.len() + 1..n)?.trim_end_matches('\n');
        if let Some((k, value)) = record.split_once('=')
            && k == key
        {
            found = Some(value);
        }
        rest = rest.get(n..)?;
    }
    found
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn skip(archive: &mut dyn Read, n: u64) -> io::Result<()> {
    let skipped = io::copy(&mut archive.take(n), &mut io::sink())?;
    if skipped == n { Ok(()) } else { Err(wrong("an archive that ends too early".into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str, size: usize, kind: u8) -> Vec<u8> {
        let mut h = vec![0; BLOCK];
        h[..path.len()].copy_from_slice(path.as_bytes());
        h[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        h[156] = kind;
        h[257..263].copy_from_slice(b"ustar\0");
        h[148..156].fill(b' ');
        let sum: u64 = h.iter().map(|&b| u64::from(b)).sum();
        h[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        h
    }

    fn entry(path: &str, content: &[u8], kind: u8) -> Vec<u8> {
        let mut all = header(path, content.len(), kind);
        all.extend(content);
        all.resize(all.len().next_multiple_of(BLOCK), 0);
        all
    }

    fn files(archive: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut all = Vec::new();
        read(&mut &archive[..], &mut |path, size, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            assert_eq!(bytes.len() as u64, size);
            all.push((path.to_owned(), bytes));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn files_come_with_paths_and_content() {
        let long = format!("{}/x.gguf", "d".repeat(150));
        let record = format!("{} path={long}\n", long.len() + 10);
        let archive = [
            entry("./d/", b"", b'5'),
            entry("./d/config.json", b"{}", b'0'),
            entry("pax", record.as_bytes(), b'x'),
            entry("short", &[7; 1000], b'0'),
            entry("././@LongLink", long.as_bytes(), b'L'),
            entry("short", b"abc", b'0'),
            vec![0; 2 * BLOCK],
        ];
        let found = files(&archive.concat()).unwrap();
        assert_eq!(found[0], ("d/config.json".to_owned(), b"{}".to_vec()));
        assert_eq!(found[1], (long.clone(), vec![7; 1000]));
        assert_eq!(found[2], (long, b"abc".to_vec()));
    }

    #[test]
    fn hostile_archives_are_refused() {
        let torn = &entry("a", &[1; 600], b'0')[..BLOCK + 100];
        let mut spoiled = entry("a", b"x", b'0');
        spoiled[0] ^= 1;
        // Found by fuzzing: a checksum in the form of large numbers, for which its field is too short.
        let mut binary_sum = entry("a", b"x", b'0');
        binary_sum[148..156].fill(0xff);
        for (archive, word) in [
            (entry("../a", b"x", b'0'), "stays in its folder"),
            (entry("/a", b"x", b'0'), "stays in its folder"),
            (entry("a", b"x", b'2'), "type '2'"),
            (entry("a", b"x", b'1'), "type '1'"),
            (spoiled, "checksum"),
            (binary_sum, "checksum"),
            (header("x", 1 << 30, b'L'), "at most"),
            (b"GGUF".to_vec(), "torn header"),
        ] {
            let said = files(&archive).unwrap_err().to_string();
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
        let mut n = 0;
        let ends = read(&mut &torn[..], &mut |_, _, content| {
            n += io::copy(content, &mut io::sink())?;
            Ok(())
        });
        assert!(ends.is_err() && n == 100);
    }
}
