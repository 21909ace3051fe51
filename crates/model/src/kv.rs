//! The KV cache of one sequence: keys and values of every layer, in the format the user chose.
//!
//! Memory is reserved for the whole context at once and touched page by page as positions fill up, so a step allocates
//! nothing and an unused context costs nothing. The layout of a layer is [`ingle_kernel::attn`]'s.

use ingle_kernel::attn::{BLOCK, Cache};
use ingle_kernel::quant::{self, Format};

use crate::config::Config;
use crate::error::{Error, Result};

/// Formats a cache can be kept in, by name.
pub const FORMATS: &[&str] = &["f32", "f16", "q8_0", "q4_0"];

/// Keys and values of the positions a sequence has been through.
#[derive(Debug)]
pub struct Kv {
    format: &'static Format,
    n_kv_heads: usize,
    head_dim: usize,
    capacity: usize,
    len: usize,
    /// `(n_layers, blocks, n_kv_heads, BLOCK, head_dim)`, encoded.
    k: Vec<u8>,
    /// `(n_layers, blocks, n_kv_heads, BLOCK, head_dim)`, encoded.
    v: Vec<u8>,
}

/// The format called `name`, if a cache of `config` can be kept in it.
pub fn format(config: &Config, name: &str) -> Result<&'static Format> {
    let format = FORMATS.iter().find(|f| f.eq_ignore_ascii_case(name)).and_then(|f| quant::by_name(f));
    let format = format
        .ok_or_else(|| Error::unsupported("KV cache", format!("format {name:?}"), FORMATS.iter().copied()))?;
    if !config.attn.head_dim.is_multiple_of(format.block) {
        return Err(Error::Input(format!(
            "KV cache: format {} needs heads in multiples of {} values, this model's have {}",
            format.name, format.block, config.attn.head_dim
        )));
    }
    Ok(format)
}

/// Bytes of a cache for `capacity` positions.
pub fn n_bytes(config: &Config, format: &Format, capacity: usize) -> u64 {
    let values = config.kv_dim() as u64 * (capacity.div_ceil(BLOCK) * BLOCK) as u64;
    2 * config.n_layers as u64 * values / format.block as u64 * format.bytes as u64
}

impl Kv {
    /// An empty cache for `capacity` positions in `format` (see [`format()`]). The caller decides whether
    /// [`n_bytes`] fits the machine.
    pub fn new(config: &Config, format: &'static Format, capacity: usize) -> Self {
        let half = (n_bytes(config, format, capacity) / 2) as usize;
        Self {
            format,
            n_kv_heads: config.attn.n_kv_heads,
            head_dim: config.attn.head_dim,
            capacity,
            len: 0,
            k: vec![0; half],
            v: vec![0; half],
        }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Format of keys and values.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// Forgets every position from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Counts `n` stored positions as held.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
        assert!(self.len <= self.capacity);
    }

    /// The keys and values of a layer.
    pub(crate) fn layer(&self, layer: usize) -> Cache<'_> {
        let n = self.layer_bytes();
        Cache { format: self.format, k: &self.k[layer * n..][..n], v: &self.v[layer * n..][..n] }
    }

    /// Stores rows `(n, n_kv_heads * head_dim)` at positions `pos..pos + n` of a layer.
    pub(crate) fn store(&mut self, layer: usize, pos: usize, k: &[f32], v: &[f32]) {
        let row = self.n_kv_heads * self.head_dim;
        assert!(pos + k.len() / row <= self.capacity);
        let encode = self.format.quantize.expect("cache formats can be encoded");
        let head_bytes = self.format.row_bytes(self.head_dim);
        let base = layer * self.layer_bytes();
        for (i, (k, v)) in k.chunks_exact(row).zip(v.chunks_exact(row)).enumerate() {
            let (block, slot) = ((pos + i) / BLOCK, (pos + i) % BLOCK);
            for head in 0..self.n_kv_heads {
                let at = base + ((block * self.n_kv_heads + head) * BLOCK + slot) * head_bytes;
                let values = head * self.head_dim..(head + 1) * self.head_dim;
                encode(&k[values.clone()], None, &mut self.k[at..at + head_bytes]);
                encode(&v[values], None, &mut self.v[at..at + head_bytes]);
            }
        }
    }

    fn layer_bytes(&self) -> usize {
        self.capacity.div_ceil(BLOCK) * self.n_kv_heads * self.format.row_bytes(BLOCK * self.head_dim)
    }
}
