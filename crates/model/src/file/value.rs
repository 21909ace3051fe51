//! Metadata values: GGUF's types, and arrays read in place.

use ingle_kernel::bytes::Bytes;

use crate::error::Error;

/// A metadata value. Strings and arrays are windows, read on demand.
#[derive(Debug, Clone)]
pub enum Value {
    /// Any unsigned integer type.
    Uint(u64),
    /// Any signed integer type.
    Int(i64),
    /// f32 or f64.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text, perhaps not in UTF-8.
    String(Bytes),
    /// Elements of one type, one behind the other, little-endian; strings each behind its length as a u64.
    Array {
        /// Type of every element.
        of: ValueType,
        /// Number of elements.
        len: usize,
        /// The elements.
        bytes: Bytes,
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
    /// The type with GGUF's number `id`.
    pub fn from_id(id: u32) -> Option<Self> {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64].get(id as usize).copied()
    }

    /// GGUF's number of the type.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Bytes per element, or `None` for strings and arrays.
    pub fn fixed_bytes(self) -> Option<usize> {
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

impl Value {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::String(Bytes::new(text.as_bytes().to_vec()))
    }

    /// An array of floats.
    pub fn floats(values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        Self::Array { of: ValueType::F32, len: values.len(), bytes: Bytes::new(bytes) }
    }

    /// An array of integers.
    pub fn ints(values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        Self::Array { of: ValueType::I32, len: values.len(), bytes: Bytes::new(bytes) }
    }

    /// An array of bytes.
    pub fn bytes(values: Vec<u8>) -> Self {
        Self::Array { of: ValueType::U8, len: values.len(), bytes: Bytes::new(values) }
    }

    /// An array of truth values.
    pub fn bools(values: impl Iterator<Item = bool>) -> Self {
        let bytes = values.map(u8::from).collect::<Vec<_>>();
        Self::Array { of: ValueType::Bool, len: bytes.len(), bytes: Bytes::new(bytes) }
    }

    /// The texts of an array of texts, read in place.
    pub fn as_strings(&self) -> Option<Strings<'_>> {
        match self {
            Self::Array { of: ValueType::String, len, bytes } => Some(Strings { bytes, left: *len }),
            _ => None,
        }
    }

    /// An array of texts.
    pub fn strings<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut bytes, mut len) = (Vec::new(), 0);
        for text in texts {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
            len += 1;
        }
        Self::Array { of: ValueType::String, len, bytes: Bytes::new(bytes) }
    }

    /// The type in which GGUF files usually hold such a value: 32 bits where they do.
    pub fn usual_type(&self) -> ValueType {
        match self {
            Self::Uint(v) if u32::try_from(*v).is_ok() => ValueType::U32,
            Self::Uint(_) => ValueType::U64,
            Self::Int(v) if i32::try_from(*v).is_ok() => ValueType::I32,
            Self::Int(_) => ValueType::I64,
            Self::Float(v) if f64::from(*v as f32) == *v => ValueType::F32,
            Self::Float(_) => ValueType::F64,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array { .. } => ValueType::Array,
        }
    }
}

/// The strings of an array, read in place. They may not be UTF-8. Their lengths were checked when the file was parsed; in a
/// file that has changed since they end early.
#[derive(Debug, Clone)]
pub struct Strings<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl Strings<'_> {
    /// Bytes that the texts left have together, at most.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(8 * self.left)
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (&head, rest) = self.bytes.split_first_chunk::<8>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(head)).ok()?)?;
        self.bytes = rest;
        Some(text)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

/// The array a slice was cut for.
pub(super) fn fixed<const N: usize>(b: &[u8]) -> [u8; N] {
    b.try_into().expect("the caller cut the slice to size")
}

/// The error for a value of another type.
pub(super) fn wrong_type(key: &str, value: &Value, expected: &str) -> Error {
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
