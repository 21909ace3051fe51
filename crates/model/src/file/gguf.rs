//! GGUF v1 to v3, read in place.
//!
//! A file is a header (magic, version, counts), metadata (typed key-values), tensor records (name, shape, format,
//! offset) and one aligned data section. `parse` walks the first three once, checks every length against the bytes that
//! are there, and keeps windows into them: strings and arrays are read when asked for, tensors are never copied.
//! Version 1 counts in 32 bits where the later ones count in 64; its arrays of strings and of arrays are copied into the
//! later form.
//! It does not swap bytes (big-endian files are refused) or know what a key means; [`super::gguf_write`] writes.

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant::{self, Format};

use super::contents::{Contents, Piece, Tensor};
use super::value::{Value, ValueType, fixed};
use crate::error::{Error, Result};

/// How a file begins.
pub const MAGIC: [u8; 4] = *b"GGUF";
const ALIGNMENT: &str = "general.alignment";
const ALIGNMENT_DEFAULT: u64 = 32;
/// Real files have under 100 keys and under 10,000 tensors; beyond these a count is a lie or an attack.
const KEYS_MAX: u64 = 65_536;
const TENSORS_MAX: u64 = 65_536;
const NAME_BYTES_MAX: u64 = 65_535;
const DIMS_MAX: u32 = 4;
const ARRAY_DEPTH_MAX: u32 = 4;

/// Parses `bytes`. Reads only the header, metadata and tensor records: cost is proportional to those.
///
/// # Errors
/// [`Error::Malformed`] when a length, count, offset or type does not hold against the bytes that are there;
/// [`Error::Unsupported`] for other versions and for block formats that are not on the shelf.
pub fn parse(bytes: Bytes) -> Result<Contents> {
    let mut c = Cursor { whole: &bytes, bytes: &bytes, at: 0, version: 0, part: "header" };
    if c.take(4)? != MAGIC {
        return Err(Error::malformed("header", format!("magic {:02x?}", &bytes[..4]), "GGUF"));
    }
    c.version = c.u32()?;
    if !(1..=3).contains(&c.version) {
        if (1..=3).contains(&c.version.swap_bytes()) {
            return Err(Error::unsupported("header", "big-endian byte order", ["little-endian"]));
        }
        return Err(Error::unsupported("header", format!("GGUF version {}", c.version), ["1", "2", "3"]));
    }
    let n_tensors = c.count("tensor count", TENSORS_MAX)?;
    let n_keys = c.count("metadata count", KEYS_MAX)?;

    let mut file = Contents::new(format!("GGUF {}", c.version));
    for i in 0..n_keys {
        c.part = "metadata";
        let key = c.name(&format!("metadata key {i}"))?;
        let of = c.value_type(&key)?;
        let value = c.value(&key, of)?;
        file.set_typed(key, value, of)?;
    }
    if let Some(of) = file.value_type(ALIGNMENT).filter(|&of| of != ValueType::U32) {
        return Err(Error::malformed(format!("metadata {ALIGNMENT}"), format!("type {of:?}"), "U32"));
    }
    let alignment = file.uint(ALIGNMENT)?.unwrap_or(ALIGNMENT_DEFAULT);
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(Error::malformed(
            format!("metadata {ALIGNMENT}"),
            alignment,
            "a power of two up to 1048576",
        ));
    }

    let mut records = Vec::new();
    for i in 0..n_tensors {
        c.part = "tensor records";
        let name = c.name(&format!("tensor record {i}"))?;
        records.push(c.tensor_record(name)?);
    }
    // The data section starts at the next aligned byte; without tensors there may be none.
    let data = (c.at as u64).next_multiple_of(alignment);
    let mut spans = Vec::with_capacity(records.len());
    for (i, r) in records.into_iter().enumerate() {
        let (start, end) = r.span(data, alignment, bytes.len())?;
        spans.push((start, end, i));
        let window = bytes.get(start..end).expect("checked against the file's length");
        file.add(Tensor::new(r.name, r.shape, r.format, vec![Piece::InPlace(window)]))?;
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(Error::malformed(
                format!("tensor {}", file.tensors()[pair[1].2].name),
                format!("data that overlaps tensor {}", file.tensors()[pair[0].2].name),
                "data of its own",
            ));
        }
    }
    Ok(file)
}

struct Record {
    name: String,
    shape: Vec<usize>,
    format: &'static Format,
    offset: u64,
    n_bytes: u64,
}

impl Record {
    /// Where the values lie in a file of `len` bytes whose data section begins at `data`.
    fn span(&self, data: u64, alignment: u64, len: usize) -> Result<(usize, usize)> {
        let part = || format!("tensor {}", self.name);
        let Self { offset, n_bytes, .. } = *self;
        if offset % alignment != 0 {
            return Err(Error::malformed(
                part(),
                format!("offset {offset}"),
                format!("a multiple of {alignment}"),
            ));
        }
        let end = data.checked_add(offset).and_then(|start| start.checked_add(n_bytes));
        let Some(end) = end.filter(|&end| end <= len as u64) else {
            return Err(Error::malformed(
                part(),
                format!("{n_bytes} bytes at offset {offset} of a file of {len} bytes"),
                "data inside the file (is it truncated?)",
            ));
        };
        Ok(((end - n_bytes) as usize, end as usize))
    }
}

/// A bounds-checked reader of the front of the file.
struct Cursor<'a> {
    whole: &'a Bytes,
    /// The same, taken from its owner once: a vocabulary has a million lengths and texts to step over.
    bytes: &'a [u8],
    at: usize,
    version: u32,
    part: &'static str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: u64) -> Result<&'a [u8]> {
        let left = (self.bytes.len() - self.at) as u64;
        if n > left {
            return Err(Error::malformed(
                self.part,
                format!("{left} bytes left at byte {}", self.at),
                format!("{n} more (is the file truncated?)"),
            ));
        }
        let start = self.at;
        self.at += n as usize;
        Ok(&self.bytes[start..self.at])
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(fixed(self.take(4)?)))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(fixed(self.take(8)?)))
    }

    /// A count or length: 32 bits wide in version 1.
    fn length(&mut self) -> Result<u64> {
        if self.version == 1 { self.u32().map(u64::from) } else { self.u64() }
    }

    /// The bytes from `start` to here.
    fn since(&self, start: usize) -> Bytes {
        self.whole.get(start..self.at).expect("taken before")
    }

    fn count(&mut self, what: &str, max: u64) -> Result<u64> {
        let n = self.length()?;
        if n > max {
            return Err(Error::malformed("header", format!("{what} {n}"), format!("at most {max}")));
        }
        Ok(n)
    }

    /// A key or tensor name: short and UTF-8.
    fn name(&mut self, part: &str) -> Result<String> {
        let n = self.length()?;
        if n > NAME_BYTES_MAX {
            return Err(Error::malformed(
                part,
                format!("a name of {n} bytes"),
                format!("at most {NAME_BYTES_MAX}"),
            ));
        }
        let text = std::str::from_utf8(self.take(n)?)
            .map_err(|_| Error::malformed(part, "a name in invalid UTF-8", "UTF-8"))?;
        Ok(text.to_owned())
    }

    fn value_type(&mut self, key: &str) -> Result<ValueType> {
        let id = self.u32()?;
        ValueType::from_id(id)
            .ok_or_else(|| Error::malformed(format!("metadata {key}"), format!("value type {id}"), "0 to 12"))
    }

    fn value(&mut self, key: &str, of: ValueType) -> Result<Value> {
        use ValueType::*;
        Ok(match of {
            U8 => Value::Uint(self.take(1)?[0].into()),
            I8 => Value::Int((self.take(1)?[0] as i8).into()),
            U16 => Value::Uint(u16::from_le_bytes(fixed(self.take(2)?)).into()),
            I16 => Value::Int(i16::from_le_bytes(fixed(self.take(2)?)).into()),
            U32 => Value::Uint(self.u32()?.into()),
            I32 => Value::Int((self.u32()? as i32).into()),
            F32 => Value::Float(f32::from_le_bytes(fixed(self.take(4)?)).into()),
            Bool => Value::Bool(match self.take(1)?[0] {
                0 => false,
                1 => true,
                other => return Err(Error::malformed(format!("metadata {key}"), other, "0 or 1 (a Bool)")),
            }),
            String => {
                let n = self.length()?;
                let start = self.at;
                self.take(n)?;
                Value::String(self.since(start))
            }
            Array => {
                let (of, len, bytes) = self.array(key, 0)?;
                Value::Array { of, len, bytes }
            }
            U64 => Value::Uint(self.u64()?),
            I64 => Value::Int(self.u64()? as i64),
            F64 => Value::Float(f64::from_le_bytes(fixed(self.take(8)?))),
        })
    }

    /// Walks an array so that every length in it is known to hold; the loop is bounded by the bytes that are there. Its
    /// elements' type, their number and the elements, as the later versions have them.
    fn array(&mut self, key: &str, depth: u32) -> Result<(ValueType, usize, Bytes)> {
        if depth == ARRAY_DEPTH_MAX {
            return Err(Error::malformed(
                format!("metadata {key}"),
                "arrays nested deeper",
                format!("at most {ARRAY_DEPTH_MAX}"),
            ));
        }
        let of = self.value_type(key)?;
        let len = self.length()?;
        let start = self.at;
        if let Some(size) = of.fixed_bytes() {
            let n = len.checked_mul(size as u64).ok_or_else(|| {
                Error::malformed(format!("metadata {key}"), format!("{len} elements"), "fewer")
            })?;
            self.take(n)?;
            return Ok((of, len as usize, self.since(start)));
        }
        // Version 1's elements with lengths of 64 bits.
        let mut wide = Vec::new();
        for _ in 0..len {
            if of == ValueType::String {
                let n = self.length()?;
                let text = self.take(n)?;
                if self.version == 1 {
                    wide.extend(n.to_le_bytes());
                    wide.extend_from_slice(text);
                }
            } else {
                let (of, len, elements) = self.array(key, depth + 1)?;
                if self.version == 1 {
                    wide.extend(of.id().to_le_bytes());
                    wide.extend((len as u64).to_le_bytes());
                    wide.extend_from_slice(&elements);
                }
            }
        }
        let elements = if self.version == 1 { Bytes::new(wide) } else { self.since(start) };
        Ok((of, len as usize, elements))
    }

    fn tensor_record(&mut self, name: String) -> Result<Record> {
        let part = format!("tensor {name}");
        let n_dims = self.u32()?;
        if n_dims == 0 || n_dims > DIMS_MAX {
            return Err(Error::malformed(part, format!("{n_dims} dimensions"), format!("1 to {DIMS_MAX}")));
        }
        let mut shape = Vec::new();
        let mut n_values = 1u64;
        for _ in 0..n_dims {
            let size = self.length()?;
            n_values = n_values.checked_mul(size).filter(|&n| n > 0 && n < 1 << 48).ok_or_else(|| {
                Error::malformed(&part, format!("a dimension of {size}"), "sizes above zero that fit a file")
            })?;
            shape.push(size as usize);
        }
        let id = self.u32()?;
        let format = quant::by_ggml_id(id)
            .ok_or_else(|| Error::unsupported(&part, format!("block format {id}"), quant::names()))?;
        if shape[0] % format.block != 0 {
            return Err(Error::malformed(
                part,
                format!("rows of {} values", shape[0]),
                format!("a multiple of {} for {}", format.block, format.name),
            ));
        }
        let n_bytes = n_values / format.block as u64 * format.bytes as u64;
        Ok(Record { name, shape, format, offset: self.u64()?, n_bytes })
    }
}
