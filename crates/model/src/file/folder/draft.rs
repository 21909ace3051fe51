//! Contents in the making: the configuration they are made from, and keys set behind the family's name.
//!
//! Numbers are rounded to f32, as a GGUF file keeps them, so that both ways in give the same bits.

use std::sync::Arc;

use ingle_kernel::quant;

use super::fields::Fields;
use crate::error::{Error, Result};
use crate::file::contents::{Contents, Piece, Tensor};
use crate::file::value::Value;

/// What `layer_types` calls layers that look back over a window.
pub const SLIDING: &str = "sliding_attention";
/// Far above real ones.
const HEAD_DIM_MAX: usize = 1 << 20;

/// Likewise.
const LAYERS_MAX: u64 = 1 << 12;

/// A folder's contents, as far as they are made.
#[derive(Debug)]
pub struct Draft<'a> {
    /// `config.json`, or the object in it that is about text.
    pub config: Fields<'a>,
    /// `general.architecture`.
    pub family: &'static str,
    /// What there is so far.
    pub file: Contents,
}

impl Draft<'_> {
    /// The full key.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.family)
    }

    /// Whether a key is set.
    pub fn has(&self, name: &str) -> bool {
        self.file.value(&self.key(name)).is_some()
    }

    /// Sets an integer.
    pub fn uint(&mut self, name: &str, value: u64) -> Result<()> {
        self.file.set(self.key(name), Value::Uint(value))
    }

    /// Sets one integer for each layer.
    pub fn uints(&mut self, name: &str, values: &[i32]) -> Result<()> {
        self.file.set(self.key(name), Value::ints(values))
    }

    /// Sets one number for each layer.
    pub fn floats(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.file.set(self.key(name), Value::floats(values))
    }

    /// Sets a truth value for each layer.
    pub fn bools(&mut self, name: &str, values: impl Iterator<Item = bool>) -> Result<()> {
        self.file.set(self.key(name), Value::bools(values))
    }

    /// Sets a number.
    pub fn float(&mut self, name: &str, value: f64) -> Result<()> {
        self.file.set(self.key(name), Value::Float(f64::from(value as f32)))
    }

    /// Sets a truth value.
    pub fn bool(&mut self, name: &str, value: bool) -> Result<()> {
        self.file.set(self.key(name), Value::Bool(value))
    }

    /// Sets a text.
    pub fn text(&mut self, name: &str, value: &str) -> Result<()> {
        self.file.set(self.key(name), Value::text(value))
    }

    /// Sets the key heads of each layer: those of the configuration where it attends, else none.
    pub fn attends(&mut self, attends: impl IntoIterator<Item = bool>) -> Result<()> {
        let n = match self.config.uint("num_key_value_heads")? {
            Some(n) => n,
            None => self.config.need_uint("num_attention_heads")?,
        };
        let n = n.min(1 << 30) as i32;
        let heads: Vec<i32> = attends.into_iter().map(|attends| if attends { n } else { 0 }).collect();
        self.uints("attention.head_count_kv", &heads)
    }

    /// [`Self::attends`] for the layers that `layer_types` calls full attention, by either of its names.
    pub fn attends_by_type(&mut self) -> Result<()> {
        let kinds = self.layer_types()?;
        let kinds =
            kinds.ok_or_else(|| Error::missing(self.config.of("layer_types"), "the kind of each layer"))?;
        let attends: Vec<bool> =
            kinds.iter().map(|kind| ["full_attention", "attention"].contains(kind)).collect();
        self.attends(attends)
    }

    /// Layers there are, which a list about each need not be longer than.
    pub fn n_layers(&self) -> Result<u64> {
        Ok(self.config.need_uint("num_hidden_layers")?.min(LAYERS_MAX))
    }

    /// The width of a state space mixer that is so many times the model's.
    pub fn expanded(&self, factor: &str) -> Result<u64> {
        let factor = self.config.uint(factor)?.unwrap_or(2);
        Ok(self.config.need_uint("hidden_size")?.saturating_mul(factor))
    }

    /// What each layer is, by `layer_types`.
    pub fn layer_types(&self) -> Result<Option<Vec<&str>>> {
        let Some(kinds) = self.config.list("layer_types")? else { return Ok(None) };
        let kinds = kinds.iter().map(|kind| kind.as_str()).collect::<Option<Vec<_>>>();
        let malformed = || Error::malformed(self.config.of("layer_types"), "a list of other things", "texts");
        kinds.map(Some).ok_or_else(malformed)
    }

    /// Sets the window of the layers that `layer_types` calls sliding, 0 where the configuration has none.
    pub fn windows(&mut self) -> Result<()> {
        let window = self.config.uint("sliding_window")?.unwrap_or(0);
        let kinds = self.layer_types()?.map(|kinds| kinds.iter().map(|&kind| kind == SLIDING).collect());
        let kinds: Option<Vec<bool>> = kinds;
        // Some say it although no layer looks back over one.
        let any = kinds.as_ref().is_none_or(|kinds| kinds.contains(&true));
        self.uint("attention.sliding_window", if any { window } else { 0 })?;
        let pattern = "attention.sliding_window_pattern";
        match (kinds, self.config.value("sliding_window_pattern")) {
            (Some(kinds), _) => self.bools(pattern, kinds.into_iter()),
            // Every so many layers one sees everything.
            (None, Some(_)) => self.uint(pattern, self.config.need_uint("sliding_window_pattern")?),
            (None, None) => Ok(()),
        }
    }

    /// Adds a tensor of one dimension.
    pub fn vector(&mut self, name: &str, values: &[f32]) -> Result<()> {
        if values.is_empty() {
            return Err(Error::malformed(format!("tensor {name}"), "no values", "some"));
        }
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let piece = Piece::Made(Arc::new(move || bytes.clone()));
        self.file.add(Tensor::new(name.into(), vec![values.len()], &quant::F32, vec![piece]))
    }

    /// Values of a head that are rotated, as far as it is known.
    pub fn rotated_dim(&self) -> Result<usize> {
        match self.file.uint(&self.key("rope.dimension_count"))? {
            Some(n) => usize::try_from(n).ok().filter(|&n| n <= HEAD_DIM_MAX).ok_or_else(|| {
                Error::malformed(format!("metadata {}", self.key("rope.dimension_count")), n, HEAD_DIM_MAX)
            }),
            None => self.head_dim(),
        }
    }

    /// Values of a head, as the configuration says or as it follows from width and heads.
    pub fn head_dim(&self) -> Result<usize> {
        let head_dim = match self.config.uint("head_dim")? {
            Some(n) => n,
            None => {
                self.config.need_uint("hidden_size")? / self.config.need_uint("num_attention_heads")?.max(1)
            }
        };
        usize::try_from(head_dim).ok().filter(|&n| n <= HEAD_DIM_MAX).ok_or_else(|| {
            Error::malformed(self.config.of("head_dim"), head_dim, format!("at most {HEAD_DIM_MAX}"))
        })
    }
}
