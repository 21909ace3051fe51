//! Files that `torch.save` wrote: a dictionary of tensors, read without running anything, in place.
//!
//! Such a file is a zip archive ([`super::zip`]) with a pickle ([`super::pickle`]), which names each tensor's storage, its first
//! value there, sizes and strides, and a member for each storage. The names a pickle may have are a shelf, [`GLOBALS`]; a call
//! of one that makes a tensor is held against the storage here. Tensors whose values lie one behind the other stay where they
//! are; others are gathered when they are read, and have no more values than their storage. A dictionary of tensors may be the
//! `state_dict` or `model` of a larger one. Older files (a pickle without an archive), TorchScript's programs, sparse and
//! quantised tensors are refused.
//! Source: the library's `torch/serialization.py`, `_weights_only_unpickler.py` and `_utils.py`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ingle_kernel::bytes::Bytes;

use super::contents::Piece;
use super::entry::{DIMS_MAX, DTYPES, Entry};
use super::pickle::{self, Global, Makes, Object, Pickle, Value};
use super::zip;
use crate::error::{Error, Result};

/// How the library wrote files before its version 1.6: a number pickled.
const OLD_MAGIC: [u8; 14] = *b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";
/// The archive's member with the dictionary, behind the folder that all are in.
const PICKLE: &str = "/data.pkl";
/// Dictionaries that hold the one of tensors, by its key.
const WITHIN: &[&str] = &["state_dict", "model"];

const ORDERED: Global = Global { module: "collections", name: "OrderedDict", makes: Makes::Dict };
const TENSOR: &str = "_rebuild_tensor_v2";
const TENSOR_OF_TYPE: &str = "_rebuild_tensor_v3";
const PARAMETER: &str = "_rebuild_parameter";

const fn call(name: &'static str) -> Global {
    Global { module: "torch._utils", name, makes: Makes::Call }
}

const fn word(name: &'static str) -> Global {
    Global { module: "torch", name, makes: Makes::Word }
}

/// Every name that a pickle may have.
pub static GLOBALS: &[Global] = &[
    ORDERED,
    call(TENSOR),
    call(TENSOR_OF_TYPE),
    call(PARAMETER),
    word("FloatStorage"),
    word("HalfStorage"),
    word("BFloat16Storage"),
    word("DoubleStorage"),
    word("LongStorage"),
    word("IntStorage"),
    word("ShortStorage"),
    word("CharStorage"),
    word("ByteStorage"),
    word("BoolStorage"),
    Global { module: "torch.storage", name: UNTYPED, makes: Makes::Word },
    word("float8_e4m3fn"),
    word("float8_e5m2"),
    word("float8_e8m0fnu"),
    word("uint16"),
    word("uint32"),
    word("uint64"),
];

/// A storage of bytes.
const UNTYPED: &str = "UntypedStorage";
/// What storages and types are called there and in safetensors files.
const TYPES: &[(&str, &str)] = &[
    ("FloatStorage", "F32"),
    ("HalfStorage", "F16"),
    ("BFloat16Storage", "BF16"),
    ("DoubleStorage", "F64"),
    ("LongStorage", "I64"),
    ("IntStorage", "I32"),
    ("ShortStorage", "I16"),
    ("CharStorage", "I8"),
    ("ByteStorage", "U8"),
    ("BoolStorage", "BOOL"),
    ("float8_e4m3fn", "F8_E4M3"),
    ("float8_e5m2", "F8_E5M2"),
    ("float8_e8m0fnu", "F8_E8M0"),
    ("uint16", "U16"),
    ("uint32", "U32"),
    ("uint64", "U64"),
];

/// Whether a file that begins so is one of the library's, old or new.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&zip::MAGIC) || bytes.starts_with(&OLD_MAGIC)
}

/// Parses the file called `name` in errors. Cost is proportional to the pickle and the number of tensors.
///
/// # Errors
/// [`Error::Malformed`] when archive, pickle and storages don't hold together; [`Error::Unsupported`] for what is not a dictionary
/// of plain tensors, and any name that is not on the shelf.
pub fn parse(name: &str, bytes: &Bytes) -> Result<Vec<Entry>> {
    if bytes.starts_with(&OLD_MAGIC) {
        let part = format!("{name} header");
        let known = ["the archive that torch.save writes since its version 1.6"];
        return Err(Error::unsupported(part, "PyTorch's format of before its version 1.6", known));
    }
    let archive = Archive::read(name, zip::parse(name, bytes)?)?;
    let part = format!("{name} data.pkl");
    let pickle = pickle::read(&part, &archive.pickle, GLOBALS)?;
    let reader = Reader { name, pickle: &pickle, archive: &archive };
    let (mut entries, mut keys) = (Vec::new(), HashSet::new());
    for &(key, value) in reader.tensors()? {
        let Value::Text(key) = key else {
            return Err(Error::malformed(part, "a key that is no text", "names of tensors"));
        };
        if matches!(pickle.object(value), None | Some(Object::Kept(_))) {
            // A number or a flag beside the weights.
            continue;
        }
        // Before it is copied: a pickle repeats a long key in two bytes.
        if !keys.insert(key) {
            return Err(Error::malformed(
                format!("{name} tensor {key}"),
                "a second value",
                "each tensor once",
            ));
        }
        entries.push(reader.tensor(key, value)?);
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The archive's members that count.
struct Archive {
    pickle: Bytes,
    /// By key.
    storages: HashMap<String, Bytes>,
}

impl Archive {
    fn read(name: &str, members: Vec<zip::Member>) -> Result<Self> {
        let folders: Vec<&str> =
            members.iter().filter_map(|member| member.name.strip_suffix(PICKLE)).collect();
        let &[folder] = &folders[..] else {
            let found = format!("{} members called data.pkl", folders.len());
            return Err(Error::malformed(name, found, "one (is this a file of torch.save?)"));
        };
        let folder = format!("{folder}/");
        let (mut pickle, mut storages) = (None, HashMap::new());
        for member in &members {
            let Some(rest) = member.name.strip_prefix(&folder) else { continue };
            match rest.strip_prefix("data/") {
                Some(key) => drop(storages.insert(key.to_owned(), member.bytes.clone())),
                None if rest == "data.pkl" => pickle = Some(member.bytes.clone()),
                None if rest == "byteorder" && *member.bytes != *b"little" => {
                    let part = format!("{name} byteorder");
                    let found =
                        format!("{:?}", String::from_utf8_lossy(&member.bytes[..member.bytes.len().min(16)]));
                    return Err(Error::unsupported(part, found, ["little"]));
                }
                None => {}
            }
        }
        Ok(Self { pickle: pickle.expect("the member the folder was found by"), storages })
    }
}

struct Reader<'a, 'p> {
    name: &'a str,
    pickle: &'p Pickle<'p>,
    archive: &'a Archive,
}

/// A storage and the type of its values.
struct Storage<'p> {
    of: &'p str,
    bytes: Bytes,
    n: i64,
}

impl<'p> Reader<'_, 'p> {
    /// The dictionary of tensors.
    fn tensors(&self) -> Result<&'p [(Value<'p>, Value<'p>)]> {
        let root = self.pickle.dict(self.pickle.root).ok_or_else(|| {
            let part = format!("{} data.pkl", self.name);
            Error::unsupported(part, "something that is no dictionary", ["dictionaries of tensors"])
        })?;
        let within = root.iter().find_map(|&(key, value)| match key {
            Value::Text(key) if WITHIN.contains(&key) => self.pickle.dict(value),
            _ => None,
        });
        Ok(within.unwrap_or(root))
    }

    /// The tensor called `key` that `value` calls for.
    fn tensor(&self, key: &str, value: Value<'p>) -> Result<Entry> {
        let part = || format!("{} tensor {key}", self.name);
        let wrong = |found: &str| Error::malformed(part(), found, "a tensor as torch.save writes it");
        let Some(Object::Call(global, arguments)) = self.pickle.object(value) else {
            return Err(Error::unsupported(part(), "something that is no tensor", ["tensors"]));
        };
        let arguments = self.pickle.tuple(*arguments).ok_or_else(|| wrong("a call without arguments"))?;
        if global.name == PARAMETER {
            // A parameter is a tensor and two flags; one within another is no parameter.
            return match arguments.first().map(|&inner| (inner, self.pickle.object(inner))) {
                Some((inner, Some(Object::Call(global, _)))) if global.name != PARAMETER => {
                    self.tensor(key, inner)
                }
                _ => Err(wrong("a parameter of something else")),
            };
        }
        let &[storage, Value::Int(offset), size, stride, _, _, ref rest @ ..] = arguments else {
            return Err(wrong("a call with other arguments"));
        };
        let storage = self.storage(storage).ok_or_else(|| wrong("a tensor without a storage"))?;
        let storage = storage.map_err(|found| wrong(&found))?;
        let of = match rest.first() {
            Some(Value::Global(of)) if global.name == TENSOR_OF_TYPE => of.name,
            _ if global.name == TENSOR => storage.of,
            _ => return Err(wrong("a tensor without a type")),
        };
        let dtype = TYPES.iter().find(|(theirs, _)| *theirs == of).map(|(_, dtype)| *dtype);
        let bits = dtype.and_then(|dtype| DTYPES.iter().find(|(name, _)| *name == dtype));
        let &(dtype, bits) = bits.ok_or_else(|| wrong("a tensor of bytes without a type"))?;
        // A storage of bytes counts bytes.
        let unit = if storage.of == UNTYPED { 1 } else { bits / 8 };
        if usize::try_from(storage.n).ok().and_then(|n| n.checked_mul(unit)) != Some(storage.bytes.len()) {
            let found = format!("a storage of {} bytes for {} values", storage.bytes.len(), storage.n);
            return Err(Error::malformed(part(), found, format!("{unit} bytes for each")));
        }
        let layout = Layout {
            offset: usize::try_from(offset).map_err(|_| wrong("a place before its storage"))?,
            shape: self.sizes(size).ok_or_else(|| wrong("sizes that are none"))?,
            strides: self.sizes(stride).ok_or_else(|| wrong("strides that are none"))?,
            value: bits / 8,
        };
        let n = storage.bytes.len() / layout.value;
        let piece = layout.piece(&storage.bytes).ok_or_else(|| {
            let found = format!("shape {:?} with strides {:?} at {offset}", layout.shape, layout.strides);
            Error::malformed(part(), found, format!("values within the {n} of its storage"))
        })?;
        Ok(Entry { name: key.to_owned(), dtype: dtype.to_owned(), shape: layout.shape, piece })
    }

    /// What a kept value is if it is a storage, or what is wrong with it.
    fn storage(&self, value: Value<'p>) -> Option<std::result::Result<Storage<'p>, String>> {
        let Some(Object::Kept(name)) = self.pickle.object(value) else { return None };
        let &[Value::Text("storage"), Value::Global(of), Value::Text(key), _, Value::Int(n)] =
            self.pickle.tuple(*name)?
        else {
            return None;
        };
        let bytes = self.archive.storages.get(key).cloned();
        Some(
            bytes
                .map(|bytes| Storage { of: of.name, bytes, n })
                .ok_or_else(|| format!("storage {key:?}, which is not there")),
        )
    }

    fn sizes(&self, value: Value<'p>) -> Option<Vec<usize>> {
        let size = |value: &Value<'p>| match value {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        let values = self.pickle.tuple(value).filter(|values| values.len() <= DIMS_MAX)?;
        values.iter().map(size).collect()
    }
}

/// Where a tensor's values lie in its storage, in values of so many bytes.
struct Layout {
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    value: usize,
}

impl Layout {
    /// The values out of `storage`, `None` where they are not all there.
    fn piece(&self, storage: &Bytes) -> Option<Piece> {
        if self.shape.len() != self.strides.len() {
            return None;
        }
        let n_stored = storage.len() / self.value;
        let n = self.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size))?;
        if n == 0 {
            return storage.get(0..0).map(Piece::InPlace);
        }
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((size - 1).checked_mul(stride)?)?;
        }
        if last >= n_stored || n > n_stored {
            return None;
        }
        if self.is_contiguous() {
            let range = self.offset * self.value..(self.offset + n) * self.value;
            return storage.get(range).map(Piece::InPlace);
        }
        let (storage, offset, value) = (storage.clone(), self.offset, self.value);
        let (shape, strides) = (self.shape.clone(), self.strides.clone());
        Some(Piece::Made(Arc::new(move || {
            let mut to = Vec::with_capacity(n * value);
            let mut at = vec![0; shape.len()];
            for _ in 0..n {
                let i = offset + at.iter().zip(&strides).map(|(at, stride)| at * stride).sum::<usize>();
                to.extend_from_slice(&storage[i * value..(i + 1) * value]);
                for (at, size) in at.iter_mut().zip(&shape).rev() {
                    *at += 1;
                    if at != size {
                        break;
                    }
                    *at = 0;
                }
            }
            to
        })))
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let follows = size == 1 || stride == expected;
            expected *= size;
            follows
        })
    }
}
