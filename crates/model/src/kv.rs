//! What a sequence has been through: keys and values of the layers that attend, the running state of those that recur.
//!
//! Memory is reserved for the whole context at once and touched page by page as positions fill up, so a step allocates
//! nothing and an unused context costs nothing. Keys and values lie as [`ingle_kernel::attn`] wants them; a layer that
//! looks back over a window keeps only the latest blocks. A recurrent state is one position's: going back needs a copy
//! that was made there, so a few copies are kept, made by [`Kv::checkpoint`].

pub use ingle_kernel::attn::FORMATS;
use ingle_kernel::attn::{self, BLOCK, Cache};
use ingle_kernel::quant::{self, Format};

use crate::config::{Config, LayerPlan};
use crate::decoder::Runtime;
use crate::error::{Error, Result};

/// Positions a windowed layer keeps beyond its window: how far a sequence can go back without computing anew, and how
/// many tokens it takes at once.
const SLACK: usize = 256;
/// Copies kept of recurrent states.
const CHECKPOINTS: usize = 3;

/// What a mixer remembers of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateShape {
    /// Keys and values.
    pub kv: Option<KvShape>,
    /// Floats that each token replaces, 0 at the start.
    pub recurrent: usize,
}

/// The keys and values of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Heads.
    pub n_kv_heads: usize,
    /// Values per head.
    pub head_dim: usize,
    /// Positions that are looked back to, the token's own included.
    pub window: Option<usize>,
}

impl KvShape {
    /// Blocks kept of a context of `capacity` positions.
    fn n_places(&self, capacity: usize) -> usize {
        let all = capacity.div_ceil(BLOCK);
        // A window touches one block more than it fills.
        self.window.map_or(all, |window| all.min(window.saturating_add(SLACK).div_ceil(BLOCK) + 1))
    }

    /// Values of a block of keys, or of values.
    fn block_values(&self) -> usize {
        self.n_kv_heads * BLOCK * self.head_dim
    }
}

/// The state of a sequence in every layer.
#[derive(Debug)]
pub struct Kv {
    format: &'static Format,
    capacity: usize,
    len: usize,
    /// The most positions there have been since the sequence was empty: what the windows' places were written up to.
    reached: usize,
    layers: Vec<LayerState>,
    /// Positions of the copies in [`Recurrent::copies`], `usize::MAX` where there is none.
    checkpoints: [usize; CHECKPOINTS],
    /// The copy that is overwritten next.
    next_checkpoint: usize,
}

#[derive(Debug)]
struct LayerState {
    kv: Option<KeysAndValues>,
    recurrent: Recurrent,
}

#[derive(Debug)]
struct KeysAndValues {
    shape: KvShape,
    n_places: usize,
    /// `(n_kv_heads, n_places)` blocks, encoded.
    k: Vec<u8>,
    /// The same of values.
    v: Vec<u8>,
}

#[derive(Debug)]
struct Recurrent {
    now: Vec<f32>,
    /// `(CHECKPOINTS, now.len())`
    copies: Vec<f32>,
}

/// The format called `name`, if a cache of `config` can be kept in it.
pub fn format(config: &Config, name: &str) -> Result<&'static Format> {
    let format = FORMATS.iter().find(|f| f.eq_ignore_ascii_case(name)).and_then(|f| quant::by_name(f));
    let format = format
        .ok_or_else(|| Error::unsupported("KV cache", format!("format {name:?}"), FORMATS.iter().copied()))?;
    let dims = config.layers.iter().filter_map(|layer| layer.mixer.state().kv).map(|kv| kv.head_dim);
    for head_dim in dims {
        if !head_dim.is_multiple_of(format.block) {
            return Err(Error::Input(format!(
                "KV cache: format {} needs heads in multiples of {} values, this model's have {head_dim}",
                format.name, format.block
            )));
        }
    }
    Ok(format)
}

/// Bytes of the state of a sequence of `capacity` positions.
pub fn n_bytes(config: &Config, format: &Format, capacity: usize) -> u64 {
    let layer = |plan: &LayerPlan| {
        let StateShape { kv, recurrent } = plan.mixer.state();
        let kv = kv.map_or(0, |kv| {
            let values = kv.block_values() as u64 * kv.n_places(capacity) as u64;
            2 * values / format.block as u64 * format.bytes as u64
        });
        kv + 4 * (1 + CHECKPOINTS) as u64 * recurrent as u64
    };
    config.layers.iter().map(layer).sum()
}

impl Kv {
    /// An empty sequence of up to `capacity` positions, keys and values in `format` (see [`format()`]). The caller decides
    /// whether [`n_bytes`] fits the machine.
    pub fn new(config: &Config, format: &'static Format, capacity: usize) -> Self {
        let layer = |plan: &LayerPlan| {
            let StateShape { kv, recurrent } = plan.mixer.state();
            let kv = kv.map(|shape| {
                let n_places = shape.n_places(capacity);
                let n = n_places * format.row_bytes(shape.block_values());
                KeysAndValues { shape, n_places, k: vec![0; n], v: vec![0; n] }
            });
            let copies = vec![0.0; CHECKPOINTS * recurrent];
            LayerState { kv, recurrent: Recurrent { now: vec![0.0; recurrent], copies } }
        };
        Self {
            format,
            capacity,
            len: 0,
            reached: 0,
            layers: config.layers.iter().map(layer).collect(),
            checkpoints: [usize::MAX; CHECKPOINTS],
            next_checkpoint: 0,
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

    /// Goes back to `len` positions, or to the nearest position before that from which the sequence can go on, and returns
    /// it: windows forget, and recurrent layers return only to checkpoints. A cache of plain attention goes anywhere.
    pub fn truncate(&mut self, len: usize) -> usize {
        if len < self.len {
            self.len = self.nearest(len);
            if self.len == 0 {
                self.reached = 0;
            }
            self.return_recurrent();
        }
        self.len
    }

    /// Copies the state of recurrent layers, so that the sequence can come back to where it is now. The oldest copy goes.
    pub fn checkpoint(&mut self) {
        if self.len == 0 || !self.recurs() || self.checkpoints.contains(&self.len) {
            return;
        }
        let free = self.checkpoints.iter().position(|&at| at == usize::MAX);
        let place = free.unwrap_or(self.next_checkpoint);
        self.checkpoints[place] = self.len;
        self.next_checkpoint = (place + 1) % CHECKPOINTS;
        for Recurrent { now, copies } in self.layers.iter_mut().map(|layer| &mut layer.recurrent) {
            copies[place * now.len()..][..now.len()].copy_from_slice(now);
        }
    }

    /// The largest position up to `len` from which every layer can go on.
    fn nearest(&self, len: usize) -> usize {
        let len = if self.recurs() {
            self.checkpoints.iter().copied().filter(|&at| at <= len).max().unwrap_or(0)
        } else {
            len
        };
        // A token at `len` looks back to `len + 1 - window`; places hold what was reached last.
        let end = self.reached.next_multiple_of(BLOCK);
        let held = |kv: &KeysAndValues| {
            let oldest = end.saturating_sub(kv.n_places * BLOCK);
            kv.shape.window.map_or(0, |window| (len + 1).saturating_sub(window)) >= oldest
        };
        if self.layers.iter().filter_map(|layer| layer.kv.as_ref()).all(held) { len } else { 0 }
    }

    /// Brings recurrent layers to `self.len`, which is 0 or a checkpoint; later checkpoints are of a future that is gone.
    fn return_recurrent(&mut self) {
        let place = self.checkpoints.iter().position(|&at| at == self.len);
        for Recurrent { now, copies } in self.layers.iter_mut().map(|layer| &mut layer.recurrent) {
            let n = now.len();
            match place {
                Some(place) => now.copy_from_slice(&copies[place * n..][..n]),
                None => now.fill(0.0),
            }
        }
        for at in self.checkpoints.iter_mut().filter(|at| **at > self.len) {
            *at = usize::MAX;
        }
    }

    fn recurs(&self) -> bool {
        self.layers.iter().any(|layer| !layer.recurrent.now.is_empty())
    }

    /// Counts `n` stored positions as held.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
        self.reached = self.reached.max(self.len);
        assert!(self.len <= self.capacity);
    }

    /// The recurrent state of a layer, to be read and replaced.
    pub(crate) fn recurrent(&mut self, layer: usize) -> &mut [f32] {
        &mut self.layers[layer].recurrent.now
    }

    /// The keys and values of a layer.
    pub(crate) fn layer(&self, layer: usize) -> Cache<'_> {
        let kv = self.layers[layer].kv.as_ref().expect("a layer that attends");
        Cache { format: self.format, k: &kv.k, v: &kv.v }
    }

    /// Positions that a layer takes before it must have attended with them.
    pub(crate) fn slice(&self, layer: usize) -> usize {
        let kv = self.layers[layer].kv.as_ref().expect("a layer that attends");
        if kv.n_places * BLOCK >= self.capacity { self.capacity } else { SLACK }
    }

    /// Stores rows `(n, n_kv_heads * head_dim)` at positions `pos..pos + n` of a layer.
    pub(crate) fn store(&mut self, run: &Runtime<'_>, layer: usize, pos: usize, k: &[f32], v: &[f32]) {
        let kv = self.layers[layer].kv.as_mut().expect("a layer that attends");
        let heads = (kv.shape.n_kv_heads, kv.shape.head_dim);
        assert!(pos + k.len() / (heads.0 * heads.1) <= self.capacity);
        attn::store(run.pool, run.kernels, self.format, heads, pos, [k, v], [&mut kv.k, &mut kv.v]);
    }
}
