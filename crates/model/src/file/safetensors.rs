//! Safetensors files, read in place.
//!
//! A file is the length of its header (u64, little-endian), the header (JSON: for each tensor its type, shape and the range
//! of its bytes) and the bytes. `parse` holds the header against the bytes as the format's own library does: ranges
//! follow each other without gap or overlap to the last byte, and each is as long as type and shape say. It knows no
//! more of a tensor than its name. Source: the format's description in the safetensors library's README.

use std::borrow::Cow;
use std::fmt;

use ingle_kernel::bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::contents::Piece;
use super::entry::{DIMS_MAX, DTYPES, Entry};
use crate::error::{Error, Result};

/// The format's own limit.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// The largest published models have under 200,000 tensors.
const TENSORS_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The header as it stands: a map would hide a name that comes twice.
struct Header<'a>(Vec<(Cow<'a, str>, Record<'a>)>);

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Records;
        impl<'de> Visitor<'de> for Records {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header<'de>, A::Error> {
                let mut records = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        records.push((name, map.next_value()?));
                    }
                }
                Ok(Header(records))
            }
        }
        deserializer.deserialize_map(Records)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Parses the file called `name` in errors. Cost is proportional to the header.
///
/// # Errors
/// [`Error::Malformed`] when the header breaks the format or does not hold against the bytes that are there;
/// [`Error::Unsupported`] for types that are not in the format's list.
pub fn parse(name: &str, bytes: &Bytes) -> Result<Vec<Entry>> {
    let part = || format!("{name} header");
    let Some(head) = bytes.first_chunk::<8>() else {
        return Err(Error::malformed(part(), format!("{} bytes", bytes.len()), "at least 8"));
    };
    let len = u64::from_le_bytes(*head);
    let left = bytes.len() as u64 - 8;
    if len > HEADER_BYTES_MAX.min(left) {
        let expected = format!("at most {} (is the file truncated?)", HEADER_BYTES_MAX.min(left));
        return Err(Error::malformed(part(), format!("a length of {len} bytes"), expected));
    }
    let data = 8 + len as usize;
    let text = std::str::from_utf8(&bytes[8..data])
        .map_err(|_| Error::malformed(part(), "invalid UTF-8", "JSON in UTF-8"))?;
    let header: Header<'_> = serde_json::from_str(text)
        .map_err(|e| Error::malformed(part(), e, "an object of tensors in JSON"))?;
    let mut records = header.0;
    if records.len() > TENSORS_MAX {
        return Err(Error::malformed(
            part(),
            format!("{} tensors", records.len()),
            format!("at most {TENSORS_MAX}"),
        ));
    }
    records.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
    let mut end = 0;
    let mut entries = Vec::with_capacity(records.len());
    for (tensor, record) in records {
        let part = || format!("{name} tensor {tensor}");
        let [start, stop] = record.data_offsets;
        if start != end || stop < start || stop > bytes.len() - data {
            return Err(Error::malformed(
                part(),
                format!("bytes {start} to {stop} of {}", bytes.len() - data),
                format!("a range that begins at {end}, where the one before ends"),
            ));
        }
        end = stop;
        let n_bytes = n_bytes(&record, &part)?;
        if n_bytes != stop - start {
            return Err(Error::malformed(
                part(),
                format!("{} bytes", stop - start),
                format!("{n_bytes} for {} of shape {:?}", record.dtype, record.shape),
            ));
        }
        let bytes = bytes.get(data + start..data + stop).expect("checked against the file's length");
        let (name, dtype) = (tensor.into_owned(), record.dtype.into_owned());
        entries.push(Entry { name, dtype, shape: record.shape, piece: Piece::InPlace(bytes) });
    }
    if end != bytes.len() - data {
        return Err(Error::malformed(
            name,
            format!("{} bytes behind the last tensor", bytes.len() - data - end),
            "none",
        ));
    }
    unique(name, &mut entries)?;
    Ok(entries)
}

fn n_bytes(record: &Record<'_>, part: &dyn Fn() -> String) -> Result<usize> {
    let bits = DTYPES.iter().find(|(name, _)| *name == record.dtype).map(|(_, bits)| *bits);
    let bits = bits.ok_or_else(|| {
        Error::unsupported(part(), format!("type {:?}", record.dtype), DTYPES.iter().map(|(name, _)| *name))
    })?;
    let n_values = record.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let n_bits = n_values.filter(|_| record.shape.len() <= DIMS_MAX).and_then(|n| n.checked_mul(bits));
    n_bits.map(|n| n / 8).ok_or_else(|| {
        let shape = record.shape.iter().take(DIMS_MAX + 1).collect::<Vec<_>>();
        Error::malformed(part(), format!("shape {shape:?}"), "a shape that fits a file")
    })
}

/// Sorts by name, which must all differ.
fn unique(file: &str, entries: &mut [Entry]) -> Result<()> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    match entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        None => Ok(()),
        Some(pair) => {
            let part = format!("{file} tensor {}", pair[0].name);
            Err(Error::malformed(part, "a second record", "each tensor once"))
        }
    }
}
