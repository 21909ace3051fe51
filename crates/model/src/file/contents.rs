//! What a model's files hold, whatever their format: metadata under GGUF's keys and tensors under GGUF's names.
//!
//! This is the canonical form that all readers of this folder meet in and that the rest of the crate reads. Values and
//! tensors are windows into the files' bytes where those can be used as they are. Where they can't, a tensor holds how its
//! bytes are made, and makes them when the weights are read: looking at a model costs nothing of its size.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant::Format;

use super::value::{Strings, Value, ValueType, fixed, wrong_type};
use crate::error::{Error, Result};

/// Metadata and tensors.
#[derive(Debug, Default)]
pub struct Contents {
    /// Where they come from, in a word or two: `GGUF 3`, `safetensors`, `llama2.c`.
    pub container: String,
    keys: Vec<Key>,
    key_index: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    tensor_index: HashMap<String, usize>,
}

#[derive(Debug)]
struct Key {
    name: String,
    value: Value,
    /// The type it has in the file.
    of: ValueType,
}

/// One tensor: its name, shape (GGUF's order: the innermost, contiguous dimension first), format and values.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// GGUF name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Sizes, innermost first: a matrix of `rows` rows of `cols` values is `[cols, rows]`.
    pub shape: Vec<usize>,
    /// Block format of the data.
    pub format: &'static Format,
    /// All values, or one piece for each index of the last dimension.
    pieces: Vec<Piece>,
}

/// Bytes of a tensor or of an equal part of it.
#[derive(Clone)]
pub enum Piece {
    /// Used where they lie.
    InPlace(Bytes),
    /// Made from what lies in the file, which has other bytes.
    Made(Arc<dyn Fn() -> Vec<u8> + Send + Sync>),
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPlace(bytes) => bytes.fmt(f),
            Self::Made(_) => f.write_str("Made"),
        }
    }
}

impl Piece {
    /// The bytes: a window into the file, or made now.
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::InPlace(bytes) => bytes.clone(),
            Self::Made(make) => Bytes::new(make()),
        }
    }
}

impl Tensor {
    /// A tensor in one piece, or in as many as its last dimension has indices: then they need not be neighbours.
    ///
    /// # Panics
    /// When the rows are not whole blocks, or a piece in place has not its share of the bytes: readers check first.
    pub fn new(name: String, shape: Vec<usize>, format: &'static Format, pieces: Vec<Piece>) -> Self {
        let tensor = Self { name, shape, format, pieces };
        let n = tensor.pieces.len();
        assert!(n == 1 || Some(&n) == tensor.shape.last(), "{n} pieces for {:?}", tensor.shape);
        for piece in &tensor.pieces {
            if let Piece::InPlace(bytes) = piece {
                assert_eq!(bytes.len() * n, tensor.n_bytes(), "{}", tensor.name);
            }
        }
        tensor
    }

    /// Number of values.
    pub fn n_values(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of bytes.
    pub fn n_bytes(&self) -> usize {
        self.format.row_bytes(self.n_values())
    }

    /// Number of bytes that [`Self::bytes`] makes; the others lie in the file.
    pub fn n_made_bytes(&self) -> usize {
        let made = self.pieces.iter().filter(|piece| matches!(piece, Piece::Made(_))).count();
        self.n_bytes() / self.pieces.len() * made
    }

    /// All values in `format`: a window into the file, or made now.
    pub fn bytes(&self) -> Bytes {
        match &*self.pieces {
            [piece] => piece.bytes(),
            pieces => Bytes::new(pieces.iter().flat_map(|piece| piece.bytes().to_vec()).collect::<Vec<_>>()),
        }
    }

    /// The values in `n` equal parts, in order, each as [`Self::bytes`]; `n` is the size of the last dimension.
    pub fn slices(&self, n: usize) -> Vec<Bytes> {
        if self.pieces.len() == n {
            return self.pieces.iter().map(Piece::bytes).collect();
        }
        let (bytes, part) = (self.bytes(), self.n_bytes() / n);
        (0..n).map(|i| bytes.get(i * part..(i + 1) * part).expect("n parts of the whole")).collect()
    }

    /// Part `i` of [`Self::slices`], the others left alone where they lie apart.
    ///
    /// # Panics
    /// When there is no such part.
    pub fn slice(&self, i: usize, n: usize) -> Bytes {
        if self.pieces.len() == n {
            return self.pieces[i].bytes();
        }
        let part = self.n_bytes() / n;
        self.bytes().get(i * part..(i + 1) * part).expect("one of n parts of the whole")
    }

    /// Gives back the memory of what lies in a mapped file; what is looked at again is read again.
    pub fn release(&self) {
        for piece in &self.pieces {
            if let Piece::InPlace(bytes) = piece {
                bytes.release();
            }
        }
    }

    /// All values, decoded.
    pub fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.n_values()];
        (self.format.dequantize)(&self.bytes(), &mut values);
        values
    }
}

impl Contents {
    /// Nothing yet, of a container called so.
    pub fn new(container: impl Into<String>) -> Self {
        Self { container: container.into(), ..Self::default() }
    }

    /// Adds a key, of the type that GGUF files usually give such a value.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there is one of that name.
    pub fn set(&mut self, key: impl Into<String>, value: Value) -> Result<()> {
        let of = value.usual_type();
        self.set_typed(key, value, of)
    }

    /// Adds a key with the type it has in its file.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there is one of that name.
    pub fn set_typed(&mut self, key: impl Into<String>, value: Value, of: ValueType) -> Result<()> {
        let name = key.into();
        if self.key_index.insert(name.clone(), self.keys.len()).is_some() {
            return Err(Error::malformed(format!("metadata {name}"), "a second value", "each key once"));
        }
        self.keys.push(Key { name, value, of });
        Ok(())
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there is one of that name.
    pub fn add(&mut self, tensor: Tensor) -> Result<()> {
        if self.tensor_index.insert(tensor.name.clone(), self.tensors.len()).is_some() {
            let part = format!("tensor {}", tensor.name);
            return Err(Error::malformed(part, "a second record", "each tensor once"));
        }
        self.tensors.push(tensor);
        Ok(())
    }

    /// Takes the tensors out, for contents that are put together anew.
    pub fn into_tensors(self) -> Vec<Tensor> {
        self.tensors
    }

    /// Every key and value, in file order.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.keys.iter().map(|key| (key.name.as_str(), &key.value))
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
        self.key_index.get(key).map(|&i| &self.keys[i].value)
    }

    /// The type that `key` has in the file.
    pub fn value_type(&self, key: &str) -> Option<ValueType> {
        self.key_index.get(key).map(|&i| self.keys[i].of)
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
            Some(Value::String(bytes)) => std::str::from_utf8(bytes)
                .map(Some)
                .map_err(|_| Error::malformed(format!("metadata {key}"), "invalid UTF-8", "a text in UTF-8")),
            Some(other) => Err(wrong_type(key, other, "a text")),
        }
    }

    /// `key` as an array of byte strings, read in place; `None` when absent, an error when it is something else.
    pub fn strings(&self, key: &str) -> Result<Option<Strings<'_>>> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_strings() {
                Some(texts) => Ok(Some(texts)),
                None => Err(wrong_type(key, value, "an array of texts")),
            },
        }
    }

    /// `key` as an array of floats; `None` when absent, an error when it is something else.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array { of: ValueType::F32, bytes, .. }) => {
                let (fours, _) = bytes.as_chunks::<4>();
                Ok(Some(fours.iter().map(|&b| f32::from_le_bytes(b)).collect()))
            }
            Some(other) => Err(wrong_type(key, other, "an array of f32")),
        }
    }

    /// `key` as an array of integers; `None` when absent, an error when it is something else.
    pub fn ints(&self, key: &str) -> Result<Option<Vec<i64>>> {
        use ValueType::*;
        let Some(value) = self.value(key) else { return Ok(None) };
        let Value::Array { of, bytes, .. } = value else {
            return Err(wrong_type(key, value, "an array of integers"));
        };
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use ingle_kernel::quant::F32;

    use super::*;

    #[test]
    fn one_part_is_made_without_the_others() {
        let n_made = Arc::new(AtomicUsize::new(0));
        let made = |i: u8| {
            let n_made = n_made.clone();
            Piece::Made(Arc::new(move || {
                n_made.fetch_add(1, Relaxed);
                vec![i; 8]
            }))
        };
        let tensor = Tensor::new("w".into(), vec![2, 1, 3], &F32, (0..3).map(made).collect());
        assert_eq!((tensor.slice(1, 3).to_vec(), n_made.load(Relaxed)), (vec![1; 8], 1));
        let whole = vec![Piece::InPlace(tensor.bytes())];
        let together = Tensor::new("w".into(), vec![2, 1, 3], &F32, whole);
        for i in 0..3 {
            assert_eq!(together.slice(i, 3).to_vec(), together.slices(3)[i].to_vec());
            assert_eq!(together.slice(i, 3).to_vec(), tensor.slice(i, 3).to_vec());
        }
    }
}
