//! Contents in the making: the configuration they are made from, and keys set behind the family's name.
//!
//! Numbers are rounded to f32, as a GGUF file keeps them, so that both ways in give the same bits.

use std::sync::Arc;

use ingle_kernel::quant;

use super::fields::Fields;
use crate::error::{Error, Result};
use crate::file::contents::{Contents, Piece, Tensor};
use crate::file::value::Value;

/// See the file's head.
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

    /// Adds a tensor of one dimension.
    pub fn vector(&mut self, name: &str, values: &[f32]) -> Result<()> {
        if values.is_empty() {
            return Err(Error::malformed(format!("tensor {name}"), "no values", "some"));
        }
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let f32 = quant::by_name("f32").expect("on the shelf");
        let piece = Piece::Made(Arc::new(move || bytes.clone()));
        self.file.add(Tensor::new(name.into(), vec![values.len()], f32, vec![piece]))
    }

    /// Values of a head, as the configuration says or as it follows from width and heads.
    pub fn head_dim(&self) -> Result<usize> {
        let head_dim = match self.config.uint("head_dim")? {
            Some(n) => n,
            None => {
                self.config.need_uint("hidden_size")? / self.config.need_uint("num_attention_heads")?.max(1)
            }
        };
        usize::try_from(head_dim)
            .ok()
            .filter(|&n| n <= 1 << 20)
            .ok_or_else(|| Error::malformed(self.config.of("head_dim"), head_dim, "at most 1048576"))
    }
}
