//! What a model is: the numbers its metadata gives, checked once, under the field's own names.

use std::ops::RangeInclusive;

use ingle_kernel::attn::Shape;

use crate::arch::{self, Family};
use crate::error::{Error, Result};
use crate::file::gguf::Gguf;
use crate::rope::Rope;

/// Bounds that no real model reaches and that keep every product of sizes far from overflow.
const DIM_MAX: usize = 1 << 20;
const LAYERS_MAX: usize = 1 << 12;
const HEADS_MAX: usize = 1 << 12;
const VOCAB_MAX: usize = 1 << 24;
const CTX_MAX: usize = 1 << 31;

/// The numbers of a model.
#[derive(Debug, Clone)]
pub struct Config {
    /// The family it belongs to.
    pub family: &'static Family,
    /// Width of the residual stream.
    pub dim: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads, key/value heads, values per head and the factor on scores.
    pub attn: Shape,
    /// Width inside the feed-forward block.
    pub ffn_dim: usize,
    /// Token ids there are.
    pub vocab: usize,
    /// Context length the model was made for.
    pub ctx_train: usize,
    /// Added to the mean square in RMS norms.
    pub norm_eps: f32,
    /// Rotary position embedding.
    pub rope: Rope,
}

impl Config {
    /// Reads the configuration of `file`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an unknown family or scaling, [`Error::Malformed`] for missing or impossible numbers.
    pub fn read(file: &Gguf) -> Result<Self> {
        let name = file.str("general.architecture")?;
        let name = name.ok_or_else(|| missing("metadata general.architecture", "a model family"))?;
        let family = arch::by_name(name)?;
        let keys = Keys { file, family: name };
        let dim = keys.uint("embedding_length", 1..=DIM_MAX)?;
        let n_heads = keys.uint("attention.head_count", 1..=HEADS_MAX)?;
        let n_kv_heads = keys.uint_or("attention.head_count_kv", n_heads, 1..=n_heads)?;
        if n_heads % n_kv_heads != 0 {
            return Err(Error::malformed(
                keys.part("attention.head_count_kv"),
                n_kv_heads,
                format!("a divisor of {n_heads} heads"),
            ));
        }
        let head_dim = keys.uint_or("attention.key_length", dim / n_heads, 1..=DIM_MAX)?;
        let value_dim = keys.uint_or("attention.value_length", head_dim, 1..=DIM_MAX)?;
        if value_dim != head_dim || head_dim > DIM_MAX / n_heads {
            return Err(Error::malformed(
                keys.part("attention.value_length"),
                value_dim,
                format!("the key length {head_dim}, and heads of {DIM_MAX} values in all at most"),
            ));
        }
        let embed = file.tensor("token_embd.weight");
        let embed = embed.ok_or_else(|| missing("tensor token_embd.weight", "the token embedding"))?;
        let vocab = embed.shape.get(1).copied().unwrap_or(0);
        if !(1..=VOCAB_MAX).contains(&vocab) {
            return Err(Error::malformed(
                "tensor token_embd.weight",
                format!("shape {:?}", embed.shape),
                format!("[{dim}, vocab]"),
            ));
        }
        let ctx_train = keys.uint("context_length", 1..=CTX_MAX)?;
        let divisors = match file.tensor("rope_freqs.weight") {
            None => None,
            Some(t) => {
                if t.n_values() > DIM_MAX {
                    return Err(Error::malformed("tensor rope_freqs.weight", t.n_values(), "half a head"));
                }
                let mut values = vec![0.0; t.n_values()];
                (t.format.dequantize)(&t.bytes, &mut values);
                Some(values)
            }
        };
        let mut config = Self {
            family,
            dim,
            n_layers: keys.uint("block_count", 1..=LAYERS_MAX)?,
            attn: Shape { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() },
            ffn_dim: keys.uint("feed_forward_length", 1..=DIM_MAX)?,
            vocab,
            ctx_train,
            norm_eps: keys.float_or("attention.layer_norm_rms_epsilon", 1e-5, 0.0)? as f32,
            rope: Rope::read(&keys, family.rope_order, head_dim, ctx_train, divisors.as_deref())?,
        };
        (family.adjust)(&keys, &mut config)?;
        Ok(config)
    }

    /// Values of all query heads of a token.
    pub fn q_dim(&self) -> usize {
        self.attn.n_heads * self.attn.head_dim
    }

    /// Values of all key (or value) heads of a token.
    pub fn kv_dim(&self) -> usize {
        self.attn.n_kv_heads * self.attn.head_dim
    }
}

/// A family's metadata: keys are looked up behind the family's name, as GGUF has them.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// The file.
    pub file: &'a Gguf,
    /// The prefix.
    pub family: &'a str,
}

impl Keys<'_> {
    /// The full key.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.family)
    }

    /// The full key as the part an error names.
    pub fn part(&self, name: &str) -> String {
        format!("metadata {}.{name}", self.family)
    }

    /// A required integer in `range`.
    pub fn uint(&self, name: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let value = self.file.uint(&self.key(name))?;
        let value = value.ok_or_else(|| missing(&self.part(name), "an integer"))?;
        match usize::try_from(value) {
            Ok(v) if range.contains(&v) => Ok(v),
            _ => {
                Err(Error::malformed(self.part(name), value, format!("{} to {}", range.start(), range.end())))
            }
        }
    }

    /// An integer in `range`, or `default` when the key is absent.
    pub fn uint_or(&self, name: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize> {
        if self.file.value(&self.key(name)).is_none() && range.contains(&default) {
            return Ok(default);
        }
        self.uint(name, range)
    }

    /// A finite number of at least `min`, or `default` when the key is absent.
    pub fn float_or(&self, name: &str, default: f64, min: f64) -> Result<f64> {
        match self.file.float(&self.key(name))? {
            None => Ok(default),
            Some(v) if v.is_finite() && v >= min => Ok(v),
            Some(v) => Err(Error::malformed(self.part(name), v, format!("a number of at least {min}"))),
        }
    }
}

fn missing(part: &str, what: &str) -> Error {
    Error::malformed(part, "nothing", what)
}
