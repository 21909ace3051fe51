//! GGUF v2 and v3, read in place.
//!
//! A file is a header (magic, version, counts), metadata (typed key-values), tensor records (name, shape, format,
//! offset) and one aligned data section. `parse` walks the first three once, checks every length against the bytes that
//! are there, and keeps windows into them: strings and arrays are read when asked for, tensors are never copied.
//! It does not swap bytes (big-endian files are refused) or know what a key means; [`super::gguf_write`] writes.

use std::collections::HashMap;
use std::ops::Range;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant::{self, Format};

use crate::error::{Error, Result};

const MAGIC: [u8; 4] = *b"GGUF";
const ALIGNMENT_DEFAULT: u64 = 32;
/// Real files have under 100 keys and under 10,000 tensors; beyond these a count is a lie or an attack.
const KEYS_MAX: u64 = 65_536;
const TENSORS_MAX: u64 = 65_536;
const NAME_BYTES_MAX: u64 = 65_535;
const DIMS_MAX: u32 = 4;
const ARRAY_DEPTH_MAX: u32 = 4;

/// A parsed file: metadata and tensors as windows into the bytes it was parsed from.
#[derive(Debug)]
pub struct Gguf {
    /// 2 or 3.
    pub version: u32,
    bytes: Bytes,
    keys: Vec<(String, Value)>,
    /// The type each value has in the file, in the order of `keys`.
    key_types: Vec<ValueType>,
    key_index: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    tensor_index: HashMap<String, usize>,
}

/// One tensor: its name, shape (GGUF's order: the innermost, contiguous dimension first), format and bytes.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// GGUF name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Sizes, innermost first: a matrix of `rows` rows of `cols` values is `[cols, rows]`.
    pub shape: Vec<usize>,
    /// Block format of the data.
    pub format: &'static Format,
    /// The data, `shape` product values long in `format`.
    pub bytes: Bytes,
}

impl Tensor {
    /// Number of values.
    pub fn n_values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A metadata value. Strings and arrays are byte ranges of the file, read on demand.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer type.
    Uint(u64),
    /// Any signed integer type.
    Int(i64),
    /// f32 or f64.
    Float(f64),
    /// A byte that is 0 or 1.
    Bool(bool),
    /// Range of the string's bytes in the file.
    String(Range<usize>),
    /// Element type, number of elements and range of their bytes.
    Array {
        /// Type of every element.
        of: ValueType,
        /// Number of elements.
        len: usize,
        /// Where they lie.
        range: Range<usize>,
    },
}

/// GGUF's value types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    fn from_id(id: u32) -> Option<Self> {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64].get(id as usize).copied()
    }

    /// GGUF's number of the type.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Bytes per element, or `None` for strings and arrays.
    fn fixed_bytes(self) -> Option<usize> {
        use ValueType::*;
        match self {
            U8 | I8 | Bool => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 => Some(4),
            U64 | I64 | F64 => Some(8),
            String | Array => None,
        }
    }
}

impl Gguf {
    /// Parses `bytes`. Reads only the header, metadata and tensor records: cost is proportional to those.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a length, count, offset or type does not hold against the bytes that are there;
    /// [`Error::Unsupported`] for other versions and for block formats that are not on the shelf.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        let mut c = Cursor { bytes: &bytes, at: 0, part: "header" };
        if c.take(4)? != MAGIC {
            return Err(Error::malformed("header", format!("magic {:02x?}", &bytes[..4]), "GGUF"));
        }
        let version = c.u32()?;
        if !(2..=3).contains(&version) {
            if (2..=3).contains(&version.swap_bytes()) {
                return Err(Error::unsupported("header", "big-endian byte order", ["little-endian"]));
            }
            return Err(Error::unsupported("header", format!("GGUF version {version}"), ["2", "3"]));
        }
        let n_tensors = c.count("tensor count", TENSORS_MAX)?;
        let n_keys = c.count("metadata count", KEYS_MAX)?;

        let mut keys = Vec::new();
        let mut key_types = Vec::new();
        let mut key_index = HashMap::new();
        for i in 0..n_keys {
            c.part = "metadata";
            let key = c.name(&format!("metadata key {i}"))?;
            let start = c.at;
            let value = c.value(&key)?;
            key_types.push(Cursor { bytes: &bytes, at: start, part: c.part }.value_type(&key)?);
            if key_index.insert(key.clone(), keys.len()).is_some() {
                return Err(Error::malformed(format!("metadata {key}"), "a second value", "each key once"));
            }
            keys.push((key, value));
        }
        let mut file = Self {
            version,
            bytes: bytes.clone(),
            keys,
            key_types,
            key_index,
            tensors: Vec::new(),
            tensor_index: HashMap::new(),
        };

        let alignment = file.uint("general.alignment")?.unwrap_or(ALIGNMENT_DEFAULT);
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(Error::malformed(
                "metadata general.alignment",
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
        for r in records {
            let part = || format!("tensor {}", r.name);
            if r.offset % alignment != 0 {
                return Err(Error::malformed(
                    part(),
                    format!("offset {}", r.offset),
                    format!("a multiple of {alignment}"),
                ));
            }
            let end = data.checked_add(r.offset).and_then(|start| start.checked_add(r.n_bytes));
            let Some(end) = end.filter(|&end| end <= bytes.len() as u64) else {
                return Err(Error::malformed(
                    part(),
                    format!("{} bytes at offset {} of a file of {} bytes", r.n_bytes, r.offset, bytes.len()),
                    "data inside the file (is it truncated?)",
                ));
            };
            let start = (end - r.n_bytes) as usize;
            let window = bytes.get(start..end as usize).expect("checked against the file's length");
            if file.tensor_index.insert(r.name.clone(), file.tensors.len()).is_some() {
                return Err(Error::malformed(part(), "a second record", "each tensor once"));
            }
            spans.push((start, end as usize, file.tensors.len()));
            file.tensors.push(Tensor { name: r.name, shape: r.shape, format: r.format, bytes: window });
        }
        spans.sort_unstable();
        for pair in spans.windows(2) {
            if pair[1].0 < pair[0].1 {
                return Err(Error::malformed(
                    format!("tensor {}", file.tensors[pair[1].2].name),
                    format!("data that overlaps tensor {}", file.tensors[pair[0].2].name),
                    "data of its own",
                ));
            }
        }
        Ok(file)
    }

    /// Every key and value, in file order.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.keys.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// The type that `key` has in the file.
    pub fn value_type(&self, key: &str) -> Option<ValueType> {
        self.key_index.get(key).map(|&i| self.key_types[i])
    }

    /// The bytes of a text or of an array's elements, a range that a [`Value`] of this file gave.
    pub fn value_bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Every tensor, in file order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensor_index.get(name).map(|&i| &self.tensors[i])
    }

    /// The raw value of `key`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.key_index.get(key).map(|&i| &self.keys[i].1)
    }

    /// `key` as a non-negative integer; `None` when absent, an error when it is something else.
    pub fn uint(&self, key: &str) -> Result<Option<u64>> {
        match self.value(key) {
            None => Ok(None),
            Some(&Value::Uint(v)) => Ok(Some(v)),
            Some(&Value::Int(v)) if v >= 0 => Ok(Some(v as u64)),
            Some(other) => Err(wrong_type(key, other, "a non-negative integer")),
        }
    }

    /// `key` as a number; `None` when absent, an error when it is something else.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        match self.value(key) {
            None => Ok(None),
            Some(&Value::Float(v)) => Ok(Some(v)),
            Some(&Value::Uint(v)) => Ok(Some(v as f64)),
            Some(&Value::Int(v)) => Ok(Some(v as f64)),
            Some(other) => Err(wrong_type(key, other, "a number")),
        }
    }

    /// `key` as a truth value; `None` when absent, an error when it is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.value(key) {
            None => Ok(None),
            Some(&Value::Bool(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_type(key, other, "true or false")),
        }
    }

    /// `key` as text; `None` when absent, an error when it is something else or not UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(range)) => std::str::from_utf8(&self.bytes[range.clone()])
                .map(Some)
                .map_err(|_| Error::malformed(format!("metadata {key}"), "invalid UTF-8", "a text in UTF-8")),
            Some(other) => Err(wrong_type(key, other, "a text")),
        }
    }

    /// `key` as an array of byte strings, read in place; `None` when absent, an error when it is something else.
    pub fn strings(&self, key: &str) -> Result<Option<Strings<'_>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array { of: ValueType::String, len, range }) => {
                Ok(Some(Strings { bytes: &self.bytes[range.clone()], left: *len }))
            }
            Some(other) => Err(wrong_type(key, other, "an array of texts")),
        }
    }

    /// `key` as an array of floats; `None` when absent, an error when it is something else.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array { of: ValueType::F32, range, .. }) => {
                let (fours, _) = self.bytes[range.clone()].as_chunks::<4>();
                Ok(Some(fours.iter().map(|&b| f32::from_le_bytes(b)).collect()))
            }
            Some(other) => Err(wrong_type(key, other, "an array of f32")),
        }
    }

    /// `key` as an array of integers; `None` when absent, an error when it is something else.
    pub fn ints(&self, key: &str) -> Result<Option<Vec<i64>>> {
        use ValueType::*;
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::Array { of, range, .. } = value else {
            return Err(wrong_type(key, value, "an array of integers"));
        };
        let bytes = &self.bytes[range.clone()];
        let read: fn(&[u8]) -> i64 = match of {
            U8 | Bool => |b| i64::from(b[0]),
            I8 => |b| i64::from(b[0] as i8),
            U16 => |b| i64::from(u16::from_le_bytes(fixed(b))),
            I16 => |b| i64::from(i16::from_le_bytes(fixed(b))),
            U32 => |b| i64::from(u32::from_le_bytes(fixed(b))),
            I32 => |b| i64::from(i32::from_le_bytes(fixed(b))),
            U64 => |b| i64::try_from(u64::from_le_bytes(fixed(b))).unwrap_or(i64::MAX),
            I64 => |b| i64::from_le_bytes(fixed(b)),
            F32 | F64 | String | Array => return Err(wrong_type(key, value, "an array of integers")),
        };
        let size = of.fixed_bytes().expect("integers have a fixed size");
        Ok(Some(bytes.chunks_exact(size).map(read).collect()))
    }
}

/// The strings of an array, read in place. Their lengths were checked when the file was parsed; they may not be UTF-8.
#[derive(Debug, Clone)]
pub struct Strings<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let (head, rest) = self.bytes.split_at(8);
        let (text, rest) = rest.split_at(u64::from_le_bytes(fixed(head)) as usize);
        self.bytes = rest;
        Some(text)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

fn fixed<const N: usize>(b: &[u8]) -> [u8; N] {
    b.try_into().expect("the caller cut the slice to size")
}

fn wrong_type(key: &str, value: &Value, expected: &str) -> Error {
    let found = match value {
        Value::Uint(v) => format!("the integer {v}"),
        Value::Int(v) => format!("the integer {v}"),
        Value::Float(v) => format!("the number {v}"),
        Value::Bool(v) => format!("{v}"),
        Value::String(_) => "a text".into(),
        Value::Array { of, len, .. } => format!("an array of {len} {of:?}"),
    };
    Error::malformed(format!("metadata {key}"), found, expected)
}

struct Record {
    name: String,
    shape: Vec<usize>,
    format: &'static Format,
    offset: u64,
    n_bytes: u64,
}

/// A bounds-checked reader of the front of the file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
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

    fn count(&mut self, what: &str, max: u64) -> Result<u64> {
        let n = self.u64()?;
        if n > max {
            return Err(Error::malformed("header", format!("{what} {n}"), format!("at most {max}")));
        }
        Ok(n)
    }

    /// A key or tensor name: short and UTF-8.
    fn name(&mut self, part: &str) -> Result<String> {
        let n = self.u64()?;
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

    fn value(&mut self, key: &str) -> Result<Value> {
        use ValueType::*;
        let of = self.value_type(key)?;
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
                let n = self.u64()?;
                self.take(n)?;
                Value::String(self.at - n as usize..self.at)
            }
            Array => self.array(key, 0)?,
            U64 => Value::Uint(self.u64()?),
            I64 => Value::Int(self.u64()? as i64),
            F64 => Value::Float(f64::from_le_bytes(fixed(self.take(8)?))),
        })
    }

    /// Walks an array so that every length in it is known to hold; the loop is bounded by the bytes that are there.
    fn array(&mut self, key: &str, depth: u32) -> Result<Value> {
        if depth == ARRAY_DEPTH_MAX {
            return Err(Error::malformed(
                format!("metadata {key}"),
                "arrays nested deeper",
                format!("at most {ARRAY_DEPTH_MAX}"),
            ));
        }
        let of = self.value_type(key)?;
        let len = self.u64()?;
        let start = self.at;
        match of.fixed_bytes() {
            Some(size) => {
                let n = len.checked_mul(size as u64).ok_or_else(|| {
                    Error::malformed(format!("metadata {key}"), format!("{len} elements"), "fewer")
                })?;
                self.take(n)?;
            }
            None => {
                for _ in 0..len {
                    if of == ValueType::String {
                        let n = self.u64()?;
                        self.take(n)?;
                    } else {
                        self.array(key, depth + 1)?;
                    }
                }
            }
        }
        Ok(Value::Array { of, len: len as usize, range: start..self.at })
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
            let size = self.u64()?;
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
