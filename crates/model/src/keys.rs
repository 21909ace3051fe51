//! A family's metadata, looked up behind the family's name as GGUF has it, each value checked against its range.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::file::{Contents, Value};

/// The keys of one family in one file.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// The file.
    pub file: &'a Contents,
    /// The prefix.
    pub family: &'a str,
}

impl<'a> Keys<'a> {
    /// The full key.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.family)
    }

    /// The full key as the part an error names.
    pub fn part(&self, name: &str) -> String {
        format!("metadata {}.{name}", self.family)
    }

    /// Whether the file has the key.
    pub fn has(&self, name: &str) -> bool {
        self.file.value(&self.key(name)).is_some()
    }

    /// A required integer in `range`.
    pub fn uint(&self, name: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let value = self.file.uint(&self.key(name))?;
        let value = value.ok_or_else(|| Error::missing(self.part(name), "an integer"))?;
        self.in_range(name, value, &range)
    }

    /// An integer in `range`, or `default` when the key is absent.
    pub fn uint_or(&self, name: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize> {
        if !self.has(name) && range.contains(&default) {
            return Ok(default);
        }
        self.uint(name, range)
    }

    /// An integer per layer, all in `range`: the key holds one for all or a list of `n_layers`. `None` when it is absent.
    pub fn uints(
        &self,
        name: &str,
        n_layers: usize,
        range: RangeInclusive<usize>,
    ) -> Result<Option<Vec<usize>>> {
        match self.file.value(&self.key(name)) {
            None => Ok(None),
            Some(Value::Array { .. }) => {
                let values = self.file.ints(&self.key(name))?.unwrap_or_default();
                if values.len() < n_layers {
                    return Err(Error::malformed(
                        self.part(name),
                        format!("{} values", values.len()),
                        format!("one for each of {n_layers} layers"),
                    ));
                }
                let check = |&v: &i64| self.in_range(name, u64::try_from(v).unwrap_or(u64::MAX), &range);
                values[..n_layers].iter().map(check).collect::<Result<_>>().map(Some)
            }
            Some(_) => Ok(Some(vec![self.uint(name, range)?; n_layers])),
        }
    }

    /// How far layers with a window look back; `default` when the key is absent, `None` for 0.
    pub fn window(&self, default: usize) -> Result<Option<usize>> {
        let window = self.uint_or("attention.sliding_window", default, 0..=1 << 31)?;
        Ok(Some(window).filter(|&n| n > 0))
    }

    /// Which layers look back over a window only: `attention.sliding_window_pattern` lists them, or gives a period whose
    /// last layer sees everything; `period` when the key is absent.
    pub fn windowed(&self, n_layers: usize, period: usize) -> Result<Vec<bool>> {
        let name = "attention.sliding_window_pattern";
        if let Some(Value::Array { .. }) = self.file.value(&self.key(name)) {
            let listed = self.uints(name, n_layers, 0..=1)?.unwrap_or_default();
            return Ok(listed.into_iter().map(|windowed| windowed == 1).collect());
        }
        let period = self.uint_or(name, period, 1..=1 << 12)?;
        Ok((0..n_layers).map(|i| (i + 1) % period != 0).collect())
    }

    /// A finite number of at least `min`, or `default` when the key is absent.
    pub fn float_or(&self, name: &str, default: f64, min: f64) -> Result<f64> {
        match self.file.float(&self.key(name))? {
            None => Ok(default),
            Some(v) if v.is_finite() && v >= min => Ok(v),
            Some(v) => Err(Error::malformed(self.part(name), v, format!("a number of at least {min}"))),
        }
    }

    /// A positive number, `None` when the key is absent or 0, which files use for "none".
    pub fn positive(&self, name: &str) -> Result<Option<f32>> {
        Ok(Some(self.float_or(name, 0.0, 0.0)? as f32).filter(|&v| v > 0.0))
    }

    /// A text.
    pub fn str(&self, name: &str) -> Result<Option<&'a str>> {
        self.file.str(&self.key(name))
    }

    /// The values of a small tensor of the whole model, such as RoPE's divisors; `None` when the file has none.
    pub fn small_tensor(&self, name: &str, n_max: usize) -> Result<Option<Vec<f32>>> {
        let Some(t) = self.file.tensor(name) else { return Ok(None) };
        if t.n_values() > n_max {
            return Err(Error::malformed(
                format!("tensor {name}"),
                format!("{} values", t.n_values()),
                format!("at most {n_max}"),
            ));
        }
        Ok(Some(t.values()))
    }

    fn in_range(&self, name: &str, value: u64, range: &RangeInclusive<usize>) -> Result<usize> {
        usize::try_from(value).ok().filter(|v| range.contains(v)).ok_or_else(|| {
            Error::malformed(self.part(name), value, format!("{} to {}", range.start(), range.end()))
        })
    }
}
