//! GGUF v3, written as it is made.
//!
//! A [`Header`] holds all that stands before the data: metadata, and the name, shape and format of each tensor, from which
//! every offset follows. [`Writer`] writes it first and then takes the tensors' bytes in the order of their records, in
//! pieces of any size, so a file of any size needs no more memory than the piece at hand. Metadata keeps the type it has, so
//! a file that was parsed and is written again is the same to the byte, provided that its data lies in the order of its
//! records, each aligned and padded: that is how other writers leave it.
//! It opens no file (the caller gives an `impl Write`) and writes no split, big-endian or older files.

use std::collections::HashMap;
use std::io::{Result as IoResult, Write};

use ingle_kernel::quant::Format;

use super::value::ValueType;
use super::{Contents, Value};
use crate::error::{Error, Result};

const ALIGNMENT: &str = "general.alignment";
const ALIGNMENT_DEFAULT: u32 = 32;
const ALIGNMENT_MAX: u32 = 1 << 20;
const NAME_BYTES_MAX: usize = 65_535;
const DIMS_MAX: usize = 4;

/// A metadata value as it stands in a file: a type and its bytes. Made with `into()` from numbers, truth values and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    of: ValueType,
    bytes: Vec<u8>,
}

macro_rules! meta_from_number {
    ($($number:ty => $of:ident),*) => {$(
        impl From<$number> for Meta {
            fn from(v: $number) -> Self {
                Self { of: ValueType::$of, bytes: v.to_le_bytes().into() }
            }
        }
    )*};
}
meta_from_number!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, u64 => U64, i64 => I64, f64 => F64);

impl From<bool> for Meta {
    fn from(v: bool) -> Self {
        Self { of: ValueType::Bool, bytes: vec![v.into()] }
    }
}

impl From<&str> for Meta {
    fn from(text: &str) -> Self {
        Self::text(text.as_bytes())
    }
}

impl Meta {
    /// A text; GGUF's are UTF-8, but tokens need not be.
    pub fn text(text: &[u8]) -> Self {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text);
        Self { of: ValueType::String, bytes }
    }

    /// An array of values of the type `of`; arrays may nest.
    ///
    /// # Panics
    /// When an element has another type.
    pub fn array(of: ValueType, elements: impl IntoIterator<Item = Self>) -> Self {
        let mut bytes = of.id().to_le_bytes().to_vec();
        bytes.extend([0; 8]);
        let mut len = 0u64;
        for element in elements {
            assert_eq!(element.of, of, "an array holds one type");
            bytes.extend(element.bytes);
            len += 1;
        }
        bytes[4..12].copy_from_slice(&len.to_le_bytes());
        Self { of: ValueType::Array, bytes }
    }

    /// The value of `key` in `file`, with its type; `None` when absent.
    pub fn read(file: &Contents, key: &str) -> Option<Self> {
        use ValueType::*;
        let of = file.value_type(key)?;
        Some(match *file.value(key)? {
            Value::Uint(v) => match of {
                U8 => (v as u8).into(),
                U16 => (v as u16).into(),
                U32 => (v as u32).into(),
                _ => v.into(),
            },
            Value::Int(v) => match of {
                I8 => (v as i8).into(),
                I16 => (v as i16).into(),
                I32 => (v as i32).into(),
                _ => v.into(),
            },
            Value::Float(v) if of == F32 => (v as f32).into(),
            Value::Float(v) => v.into(),
            Value::Bool(v) => v.into(),
            Value::String(ref bytes) => Self::text(bytes),
            Value::Array { of: element, len, bytes: ref elements } => {
                let mut bytes = element.id().to_le_bytes().to_vec();
                bytes.extend((len as u64).to_le_bytes());
                bytes.extend(&**elements);
                Self { of: Array, bytes }
            }
        })
    }
}

/// What stands before the data.
#[derive(Debug, Clone, Default)]
pub struct Header {
    keys: Vec<(String, Meta)>,
    tensors: Vec<Record>,
    /// Place of each tensor in `tensors`.
    index: HashMap<String, usize>,
}

#[derive(Debug, Clone)]
struct Record {
    name: String,
    shape: Vec<usize>,
    format: &'static Format,
    n_bytes: u64,
}

impl Header {
    /// The metadata of `file`, all of it and in its order; no tensors.
    pub fn like(file: &Contents) -> Self {
        let keys = file.keys().filter_map(|(key, _)| Some((key.to_owned(), Meta::read(file, key)?)));
        Self { keys: keys.collect(), ..Self::default() }
    }

    /// Sets `key`; a new one is put at the end, an old one keeps its place.
    ///
    /// # Errors
    /// When the name is too long, or an alignment is no power of two up to 2^20 in a u32.
    pub fn set(&mut self, key: &str, value: impl Into<Meta>) -> Result<()> {
        let value = value.into();
        if key.len() > NAME_BYTES_MAX {
            return Err(Error::Input(format!(
                "a metadata key of {} bytes, expected at most 65535",
                key.len()
            )));
        }
        if key == ALIGNMENT && alignment_of(&value).is_none() {
            return Err(Error::Input(format!(
                "{ALIGNMENT}: expected a u32, a power of two up to {ALIGNMENT_MAX}"
            )));
        }
        match self.keys.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key.to_owned(), value)),
        }
        Ok(())
    }

    /// Removes `key`, if it is there.
    pub fn remove(&mut self, key: &str) {
        self.keys.retain(|(k, _)| k != key);
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Meta> {
        self.keys.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Adds a tensor: its sizes innermost first, as in [`super::Tensor::shape`].
    ///
    /// # Errors
    /// When its name is taken or too long, a size is zero, there are not 1 to 4 of them, or rows don't hold whole blocks.
    pub fn add(&mut self, name: &str, shape: &[usize], format: &'static Format) -> Result<()> {
        let part = || format!("tensor {name}");
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::malformed("tensor name", format!("{} bytes", name.len()), "at most 65535"));
        }
        if shape.is_empty() || shape.len() > DIMS_MAX || shape.contains(&0) {
            return Err(Error::malformed(part(), format!("shape {shape:?}"), "1 to 4 sizes above zero"));
        }
        if !shape[0].is_multiple_of(format.block) {
            return Err(Error::malformed(
                part(),
                format!("rows of {} values", shape[0]),
                format!("a multiple of {} for {}", format.block, format.name),
            ));
        }
        let n_values =
            shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size as u64).filter(|&n| n < 1 << 48));
        let Some(n_values) = n_values else {
            return Err(Error::malformed(part(), format!("shape {shape:?}"), "sizes that fit a file"));
        };
        if self.index.insert(name.to_owned(), self.tensors.len()).is_some() {
            return Err(Error::malformed(part(), "a second record", "each tensor once"));
        }
        let n_bytes = n_values / format.block as u64 * format.bytes as u64;
        self.tensors.push(Record { name: name.to_owned(), shape: shape.into(), format, n_bytes });
        Ok(())
    }

    /// Bytes of the whole file.
    pub fn n_file_bytes(&self) -> u64 {
        self.encoded().len() as u64 + self.tensors.iter().map(|t| self.padded(t.n_bytes)).sum::<u64>()
    }

    fn alignment(&self) -> u64 {
        self.get(ALIGNMENT).and_then(alignment_of).unwrap_or(ALIGNMENT_DEFAULT).into()
    }

    fn padded(&self, n_bytes: u64) -> u64 {
        n_bytes.next_multiple_of(self.alignment())
    }

    /// All bytes before the data, padding included.
    fn encoded(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            out.extend(Meta::from(key.as_str()).bytes);
            out.extend(value.of.id().to_le_bytes());
            out.extend(&value.bytes);
        }
        let mut offset = 0u64;
        for t in &self.tensors {
            out.extend(Meta::from(t.name.as_str()).bytes);
            out.extend((t.shape.len() as u32).to_le_bytes());
            out.extend(t.shape.iter().flat_map(|&size| (size as u64).to_le_bytes()));
            out.extend(t.format.ggml_id.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += self.padded(t.n_bytes);
        }
        out.resize(self.padded(out.len() as u64) as usize, 0);
        out
    }
}

fn alignment_of(value: &Meta) -> Option<u32> {
    let n = u32::from_le_bytes(value.bytes.as_slice().try_into().ok()?);
    (value.of == ValueType::U32 && n.is_power_of_two() && n <= ALIGNMENT_MAX).then_some(n)
}

/// A file in the making.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Bytes of each tensor.
    sizes: Vec<u64>,
    alignment: u64,
    /// The tensor whose data is being written, and how much of it is.
    tensor: usize,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header; the tensors' data follows.
    pub fn begin(mut out: W, header: &Header) -> IoResult<Self> {
        out.write_all(&header.encoded())?;
        let sizes = header.tensors.iter().map(|t| t.n_bytes).collect();
        Ok(Self { out, sizes, alignment: header.alignment(), tensor: 0, written: 0 })
    }

    /// Writes the next bytes of the tensor at hand; once it is whole, its padding, and the next tensor is at hand.
    ///
    /// # Panics
    /// When there are more bytes than the tensor at hand still lacks.
    pub fn write(&mut self, bytes: &[u8]) -> IoResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let size = self.sizes[self.tensor];
        assert!(bytes.len() as u64 <= size - self.written, "more data than tensor {} has", self.tensor);
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        if self.written == size {
            std::io::copy(
                &mut std::io::Read::take(std::io::repeat(0), size.next_multiple_of(self.alignment) - size),
                &mut self.out,
            )?;
            self.tensor += 1;
            self.written = 0;
        }
        Ok(())
    }

    /// Gives the stream back, flushed.
    ///
    /// # Panics
    /// When data is missing.
    pub fn finish(mut self) -> IoResult<W> {
        assert!(self.tensor == self.sizes.len(), "the data of tensor {} is missing", self.tensor);
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use ingle_kernel::bytes::Bytes;
    use ingle_kernel::quant;

    use super::super::gguf;
    use super::*;

    fn format(name: &str) -> &'static Format {
        quant::by_name(name).unwrap()
    }

    fn written(header: &Header, tensors: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), header).unwrap();
        tensors.iter().for_each(|bytes| writer.write(bytes).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn every_type_is_read_back_as_it_was_written() {
        let mut header = Header::default();
        let mut values: Vec<(&str, Meta)> = vec![
            ("u8", 200u8.into()),
            ("i8", (-100i8).into()),
            ("u16", 60_000u16.into()),
            ("i16", (-30_000i16).into()),
            ("u32", u32::MAX.into()),
            ("i32", i32::MIN.into()),
            ("f32", 1.5f32.into()),
            ("bool", true.into()),
            ("text", "läuft".into()),
            ("u64", u64::MAX.into()),
            ("i64", i64::MIN.into()),
            ("f64", (-0.1f64).into()),
            ("empty", Meta::array(ValueType::F32, [])),
            ("texts", Meta::array(ValueType::String, [Meta::text(b"\xff"), "".into()])),
        ];
        let row = |v: &[i32]| Meta::array(ValueType::I32, v.iter().map(|&v| v.into()));
        values.push(("nested", Meta::array(ValueType::Array, [row(&[1, 2]), row(&[]), row(&[-3])])));
        for (key, value) in &values {
            header.set(key, value.clone()).unwrap();
        }
        let bytes = written(&header, &[]);
        let file = gguf::parse(Bytes::new(bytes.clone())).unwrap();
        for (key, value) in &values {
            assert_eq!(Meta::read(&file, key).as_ref(), Some(value), "{key}");
        }
        assert_eq!(file.uint("u64").unwrap(), Some(u64::MAX));
        assert_eq!(file.strings("texts").unwrap().unwrap().collect::<Vec<_>>(), [&b"\xff"[..], b""]);
        assert_eq!(written(&Header::like(&file), &[]), bytes);
    }

    /// A file of version 1, whose lengths have 32 bits, with one key.
    fn version_1(key: &str, of: ValueType, value: &[u8]) -> Bytes {
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let key = [&words(&[key.len() as u32]), key.as_bytes(), &words(&[of.id()]), value].concat();
        Bytes::new([b"GGUF", &words(&[1, 0, 1])[..], &key].concat())
    }

    #[test]
    fn arrays_of_version_1_are_written_as_version_3_has_them() {
        let (array, text) = (ValueType::Array.id(), ValueType::String.id());
        let words = [array, 2, text, 1, 1].into_iter().flat_map(u32::to_le_bytes);
        let rest = [ValueType::U8.id(), 3].into_iter().flat_map(u32::to_le_bytes);
        let value: Vec<u8> = words.chain(*b"a").chain(rest).chain([7, 8, 9]).collect();
        let file = gguf::parse(version_1("nested", ValueType::Array, &value)).unwrap();
        let numbers = Meta::array(ValueType::U8, [7u8, 8, 9].map(Meta::from));
        let expected = Meta::array(ValueType::Array, [Meta::array(ValueType::String, ["a".into()]), numbers]);
        assert_eq!(Meta::read(&file, "nested"), Some(expected.clone()));
        let again = gguf::parse(Bytes::new(written(&Header::like(&file), &[]))).unwrap();
        assert_eq!(Meta::read(&again, "nested"), Some(expected));
    }

    #[test]
    fn an_alignment_that_cannot_be_written_is_not_read() {
        let error = gguf::parse(version_1(ALIGNMENT, ValueType::U8, &[64])).unwrap_err().to_string();
        assert_eq!(error, "metadata general.alignment: type U8, expected U32");
    }

    #[test]
    fn tensors_are_aligned_as_asked_and_may_come_in_pieces() {
        for alignment in [None, Some(64u32)] {
            let mut header = Header::default();
            if let Some(n) = alignment {
                header.set(ALIGNMENT, n).unwrap();
            }
            header.add("a", &[3], format("f32")).unwrap();
            header.add("b", &[32, 2], format("q8_0")).unwrap();
            let (a, b) = (vec![1u8; 12], vec![2u8; 68]);
            let bytes = written(&header, &[&a, &b[..5], &[], &b[5..]]);
            assert_eq!(bytes.len() as u64, header.n_file_bytes());
            let file = gguf::parse(Bytes::new(bytes)).unwrap();
            assert_eq!(&*file.tensor("a").unwrap().bytes(), a);
            assert_eq!(&*file.tensor("b").unwrap().bytes(), b);
            assert_eq!(file.tensor("b").unwrap().shape, [32, 2]);
        }
    }

    #[test]
    fn keys_keep_their_place_and_tensors_that_no_file_can_hold_are_refused() {
        let mut header = Header::default();
        header.set("a", 1u32).unwrap();
        header.set("b", 2u32).unwrap();
        header.set("a", 3u64).unwrap();
        assert_eq!(header.get("a"), Some(&3u64.into()));
        header.remove("b");
        assert_eq!(header.keys.len(), 1);
        assert!(header.set(ALIGNMENT, 24u32).is_err());
        assert!(header.set(ALIGNMENT, 32u64).is_err());
        header.add("t", &[32], format("q8_0")).unwrap();
        for (name, shape, said) in [
            ("t", &[32][..], "a second record"),
            ("u", &[33], "rows of 33"),
            ("u", &[32, 0], "shape [32, 0]"),
            ("u", &[], "1 to 4 sizes"),
            ("u", &[32, 1, 1, 1, 1], "1 to 4 sizes"),
            ("u", &[1 << 40, 1 << 40], "that fit a file"),
        ] {
            let error = header.add(name, shape, format("q8_0")).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
