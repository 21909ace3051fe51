//! Quantised folders of other libraries: several tensors of integers, scales and zero points become one of ours.
//!
//! [`METHODS`] is the shelf, by `quant_method` of config.json's `quantization_config`. A method takes the tensors it knows out of
//! the folder's and puts the weights they stand for in their place, as a `grid` that says what they become in memory: a block
//! format of ours that holds the same values bit for bit wherever there is one, else floats. FP8 and MXFP4, which have weights
//! and scales under names of their own, are read where other tensors are (`values`).

mod awq;
mod compressed_tensors;
mod gptq;
mod grid;

use std::collections::BTreeMap;

pub use self::grid::block_format;
use super::fields::Fields;
use crate::error::{Error, Result};
use crate::file::entry::Entry;

/// The tensors of a folder by name.
pub type Entries = BTreeMap<String, Entry>;

/// A way of quantising.
#[derive(Debug)]
pub struct Method {
    /// Its name in configurations.
    pub name: &'static str,
    /// Puts weights in the place of what they are quantised to; gets the object `quantization_config`.
    unpack: fn(&Fields<'_>, &mut Entries) -> Result<()>,
}

/// Every way of quantising whose folders this build reads.
pub static METHODS: &[&Method] = &[
    &Method { name: "fp8", unpack: |_, _| Ok(()) },
    &Method { name: "fbgemm_fp8", unpack: |_, _| Ok(()) },
    &compressed_tensors::METHOD,
    &Method { name: "mxfp4", unpack: |_, _| Ok(()) },
    &gptq::METHOD,
    &awq::METHOD,
];

/// Puts the weights in `entries` in the place of what they are quantised to, as `config` says.
///
/// # Errors
/// [`Error::Unsupported`] for other methods and forms, [`Error::Malformed`] when tensors contradict each other or the configuration.
pub fn unpack(config: &Fields<'_>, entries: &mut Entries) -> Result<()> {
    const FIELD: &str = "quant_method";
    let Some(name) = config.str(FIELD)? else { return Ok(()) };
    let known = METHODS.iter().find(|method| method.name == name);
    let method = known.ok_or_else(|| {
        Error::unsupported(config.of(FIELD), format!("{name:?}"), METHODS.iter().map(|method| method.name))
    })?;
    (method.unpack)(config, entries)
}

/// The stems of the names in `entries` that end in `end`.
fn stems(entries: &Entries, end: &str) -> Vec<String> {
    entries.keys().filter_map(|name| name.strip_suffix(end)).map(str::to_owned).collect()
}

/// Takes the tensor called `stem` and `end`, which must be of `dtypes` and have two dimensions.
fn take_matrix(entries: &mut Entries, stem: &str, end: &str, dtypes: &[&str]) -> Result<(Entry, [usize; 2])> {
    let name = format!("{stem}{end}");
    let entry = entries.remove(&name);
    let entry =
        entry.ok_or_else(|| Error::missing(format!("tensor {name}"), "what the weight needs beside it"))?;
    let &[rows, cols] = &entry.shape[..] else {
        return Err(wrong_shape(&entry, "a matrix"));
    };
    if !dtypes.contains(&entry.dtype.as_str()) {
        let found = format!("type {}", entry.dtype);
        return Err(Error::unsupported(entry.part(), found, dtypes.iter().copied()));
    }
    if rows == 0 || cols == 0 {
        return Err(wrong_shape(&entry, "sizes above zero"));
    }
    Ok((entry, [rows, cols]))
}

fn wrong_shape(entry: &Entry, expected: impl ToString) -> Error {
    Error::malformed(entry.part(), format!("shape {:?}", entry.shape), expected)
}

/// The words of a tensor of I32.
fn words(entry: &Entry) -> Vec<u32> {
    entry.bytes().as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Number `i` of `bits` bits in a stream of words, of which word `j` is `word(j)`.
fn number(word: impl Fn(usize) -> u32, bits: usize, i: usize) -> u32 {
    let (at, shift) = (i * bits / 32, i * bits % 32);
    let mut value = u64::from(word(at));
    if shift + bits > 32 {
        value |= u64::from(word(at + 1)) << 32;
    }
    (value >> shift) as u32 & ((1 << bits) - 1)
}

/// The groups of `cols` columns, `n` of them, each of `size` but perhaps the last; `size` is the configuration's, below zero for
/// one group of all.
fn group_size(cols: usize, n: usize, size: Option<i64>) -> Option<usize> {
    let said = size.map(|size| usize::try_from(size).unwrap_or(cols).clamp(1, cols));
    let even = (n > 0 && cols.is_multiple_of(n)).then(|| cols / n);
    said.into_iter().chain(even).find(|&size| cols.div_ceil(size) == n)
}

/// An integer that may be below zero.
fn int(config: &Fields<'_>, name: &str) -> Result<Option<i64>> {
    let Some(value) = config.value(name) else { return Ok(None) };
    let int = value.as_i64();
    int.map(Some).ok_or_else(|| Error::malformed(config.of(name), value, "an integer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_over_the_ends_of_words() {
        let words = [0b01_110_101_100_011_010_001_000_111_110_101u32, 0b1];
        let three: Vec<u32> = (0..11).map(|i| number(|j| words[j], 3, i)).collect();
        assert_eq!(three, [5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 5]);
        assert_eq!(number(|j| words[j], 8, 0), 0b1111_0101);
    }

    #[test]
    fn groups_are_the_configurations_or_equal() {
        assert_eq!(group_size(96, 3, Some(32)), Some(32));
        assert_eq!(group_size(40, 2, Some(32)), Some(32));
        assert_eq!(group_size(96, 1, Some(-1)), Some(96));
        assert_eq!(group_size(96, 6, Some(32)), Some(16));
        assert_eq!(group_size(96, 1, None), Some(96));
        assert_eq!(group_size(96, 5, Some(32)), None);
        assert_eq!(group_size(96, 0, Some(32)), None);
    }
}
