//! GGUF files in several parts, `NAME-00001-of-00003.gguf` and so on.
//!
//! The first part has the model's metadata. Every part says which it is (`split.no`, from 0), of how many (`split.count`),
//! and how many tensors all have together (`split.tensors.count`). Parts are parsed each as a file of its own
//! ([`super::gguf`]); this joins them and says what they are called. It does not open them.

use super::contents::Contents;
use crate::error::{Error, Result};

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";
/// As many digits as names have.
const PARTS_MAX: u64 = 99_999;

/// Which part of how many a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub no: u64,
    /// More than 1.
    pub count: u64,
}

impl Part {
    /// What `file` says of itself; `None` when it is whole.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the numbers contradict each other.
    pub fn of(file: &Contents) -> Result<Option<Self>> {
        let count = file.uint(COUNT)?.unwrap_or(1);
        let no = file.uint(NO)?.unwrap_or(0);
        if count > PARTS_MAX {
            return Err(Error::malformed(format!("metadata {COUNT}"), count, format!("at most {PARTS_MAX}")));
        }
        if no >= count.max(1) {
            return Err(Error::malformed(
                format!("metadata {NO}"),
                no,
                format!("less than the {count} of {COUNT}"),
            ));
        }
        Ok((count > 1).then_some(Self { no, count }))
    }

    /// The file names of all parts, this one's being `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when `name` is not made as those of parts are.
    pub fn names(self, name: &str) -> Result<Vec<String>> {
        let file_name = |no: u64| format!("-{:05}-of-{:05}.gguf", no + 1, self.count);
        let stem = name.strip_suffix(&file_name(self.no)).ok_or_else(|| {
            let expected =
                format!("a name that ends in {}, as its parts find each other", file_name(self.no));
            Error::malformed(format!("part {} of {}", self.no + 1, self.count), format!("{name:?}"), expected)
        })?;
        Ok((0..self.count).map(|no| format!("{stem}{}", file_name(no))).collect())
    }

    /// That this is the part to begin with.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the name of the first part.
    pub fn expect_first(self, names: &[String]) -> Result<()> {
        if self.no == 0 {
            return Ok(());
        }
        let found = format!("part {} of {}", self.no + 1, self.count);
        let first = names.first().map_or("the first", String::as_str);
        Err(Error::malformed(format!("metadata {NO}"), found, format!("the first part: open {first}")))
    }
}

/// The error for a part called `name` that is not there.
pub fn missing(name: &str) -> Error {
    Error::malformed(
        format!("metadata {COUNT}"),
        format!("{name} is not there"),
        "all parts beside the first",
    )
}

/// What all parts hold together: the metadata of the first, the tensors of all, in order.
///
/// # Errors
/// [`Error::Malformed`] when a part says it is another, of another number of parts or holds tensors that others hold, and
/// when the tensors are not as many as the first part says.
pub fn join(parts: Vec<Contents>) -> Result<Contents> {
    let n_parts = parts.len();
    let mut whole = Contents::new("");
    let mut n_tensors = None;
    for (no, part) in parts.into_iter().enumerate() {
        let expected = Part { no: no as u64, count: n_parts as u64 };
        let found = Part::of(&part)?.unwrap_or(Part { no: 0, count: 1 });
        if found != expected {
            return Err(Error::malformed(
                format!("part {} of {n_parts}", no + 1),
                format!("a file that says it is part {} of {}", found.no + 1, found.count),
                "the part its name says",
            ));
        }
        if no == 0 {
            n_tensors = part.uint(TENSORS)?;
            whole.container = format!("{} in {n_parts} parts", part.container);
            for (key, value) in part.keys().filter(|(key, _)| !key.starts_with("split.")) {
                let of = part.value_type(key).unwrap_or_else(|| value.usual_type());
                whole.set_typed(key, value.clone(), of)?;
            }
        }
        for tensor in part.into_tensors() {
            whole.add(tensor)?;
        }
    }
    match n_tensors {
        Some(n) if n != whole.tensors().len() as u64 => Err(Error::malformed(
            format!("metadata {TENSORS}"),
            format!("{n} where the parts have {}", whole.tensors().len()),
            "the number of tensors of all parts",
        )),
        _ => Ok(whole),
    }
}
