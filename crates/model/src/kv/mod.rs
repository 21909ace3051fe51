//! What a sequence has been through: keys and values of the layers that attend, the running state of those that recur.
//!
//! Keys and values lie in pages, one for each layer and block of positions, which are taken from a [`Room`] as positions fill up. A
//! room is reserved at once and touched as it is used, so a step allocates nothing and an unused context costs nothing. A
//! layer that looks back over a window keeps only the latest blocks. Sequences can share pages: [`Kv::held`] gives what all
//! layers have of a block, and [`Kv::adopt`] begins a sequence with such blocks.
//!
//! A recurrent state is one position's: going back needs a copy that was made there, so a few copies are kept, made by
//! [`Kv::checkpoint`]; [`Kv::state`] gives one that others can begin with.

mod room;

use std::sync::Arc;

use ingle_kernel::attn::{self, Cache, Page, Table};
pub use ingle_kernel::attn::{BLOCK, FORMATS};
use ingle_kernel::quant::{self, Format};
pub use room::Room;

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

    /// Bytes of a page.
    fn page_bytes(&self, format: &Format) -> usize {
        attn::page_bytes(format, self.n_kv_heads, self.head_dim)
    }

    /// Blocks that a token at `pos` or a later one looks at and that come before it.
    fn looked_at(&self, pos: usize) -> std::ops::Range<usize> {
        let first = self.window.map_or(0, |window| (pos + 1).saturating_sub(window));
        first / BLOCK..pos.div_ceil(BLOCK)
    }
}

/// The state of a sequence in every layer.
#[derive(Debug)]
pub struct Kv {
    format: &'static Format,
    capacity: usize,
    len: usize,
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
    pages: Table,
}

#[derive(Debug)]
struct Recurrent {
    now: Vec<f32>,
    /// `(CHECKPOINTS, now.len())`
    copies: Vec<f32>,
}

/// What layers have of a block of positions: a page for each that attends, unless its window has left it. Clones share them.
#[derive(Debug, Clone)]
pub struct Held {
    pages: Arc<[Option<Page>]>,
}

/// The state of all recurrent layers behind some position. Clones share it.
#[derive(Debug, Clone)]
pub struct State {
    values: Arc<[f32]>,
}

impl Held {
    /// This and, for layers that it lacks, what `other` has of the same block.
    pub fn with(&self, other: &Self) -> Self {
        let pages = self.pages.iter().zip(other.pages.iter());
        Self { pages: pages.map(|(page, other)| page.clone().or_else(|| other.clone())).collect() }
    }

    /// Whether it has pages of as many layers as there are.
    pub fn is_whole(&self) -> bool {
        self.pages.iter().all(Option::is_some)
    }

    /// Bytes of the pages.
    pub fn n_bytes(&self) -> u64 {
        self.pages.iter().flatten().map(|page| page.bytes().len() as u64).sum()
    }
}

impl Held {
    /// The page of each layer that attends.
    pub fn bytes(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.pages.iter().map(|page| page.as_ref().map(Page::bytes))
    }

    /// The pages there are, to be written; none of those that somebody else has.
    pub fn bytes_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let pages = Arc::get_mut(&mut self.pages).unwrap_or_default();
        pages.iter_mut().flatten().filter_map(Page::bytes_mut)
    }
}

impl State {
    /// The state of these values, of all layers one behind the other.
    pub fn new(values: impl Iterator<Item = f32>) -> Self {
        Self { values: values.collect() }
    }

    /// The values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Bytes of it.
    pub fn n_bytes(&self) -> u64 {
        size_of_val(&*self.values) as u64
    }
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
        let kv = kv.map_or(0, |kv| kv.page_bytes(format) as u64 * kv.n_places(capacity) as u64);
        kv + 4 * (1 + CHECKPOINTS) as u64 * recurrent as u64
    };
    config.layers.iter().map(layer).sum()
}

impl Kv {
    /// An empty sequence of up to `capacity` positions, keys and values in `format` (see [`format()`]), with pages of its own. The
    /// caller decides whether [`n_bytes`] fits the machine.
    pub fn new(config: &Config, format: &'static Format, capacity: usize) -> Self {
        Self::within(&Room::new(config, format, capacity, 1, 0), config)
    }

    /// An empty sequence whose pages are taken from `room`, which was made for `config`.
    pub fn within(room: &Room, config: &Config) -> Self {
        let layer = |plan: &LayerPlan| {
            let StateShape { kv, recurrent } = plan.mixer.state();
            let kv = kv.map(|shape| {
                let pages = room.pages(shape.page_bytes(room.format()));
                KeysAndValues { shape, pages: Table::new(pages.clone(), shape.n_places(room.capacity())) }
            });
            let copies = vec![0.0; CHECKPOINTS * recurrent];
            LayerState { kv, recurrent: Recurrent { now: vec![0.0; recurrent], copies } }
        };
        Self {
            format: room.format(),
            capacity: room.capacity(),
            len: 0,
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
            self.len = self.reachable(len);
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

    /// The largest position up to `len` from which every layer can go on: where [`Kv::truncate`] would go.
    pub fn reachable(&self, len: usize) -> usize {
        if len >= self.len {
            return self.len;
        }
        let len = if self.recurs() {
            self.checkpoints.iter().copied().filter(|&at| at <= len).max().unwrap_or(0)
        } else {
            len
        };
        // Places hold what was written last, which may be a future that is gone.
        let held = |kv: &KeysAndValues| kv.shape.looked_at(len).all(|block| kv.pages.page(block).is_some());
        if self.attending().all(held) { len } else { 0 }
    }

    /// What all layers have of `block`, all of whose positions are held.
    pub fn held(&self, block: usize) -> Held {
        assert!((block + 1) * BLOCK <= self.len);
        Held { pages: self.attending().map(|kv| kv.pages.page(block).cloned()).collect() }
    }

    /// Takes the pages of `held`, which has the same tokens, in place of its own.
    pub fn share(&mut self, block: usize, held: &Held) {
        let layers = self.layers.iter_mut().filter_map(|layer| layer.kv.as_mut());
        for (kv, page) in layers.zip(held.pages.iter()) {
            if let Some(page) = page.as_ref().filter(|_| kv.pages.page(block).is_some()) {
                kv.pages.put(block, page.clone());
            }
        }
    }

    /// Tokens after which all the blocks that they filled are still there in every layer.
    pub fn step_max(&self) -> usize {
        let max = |kv: &KeysAndValues| match kv.pages.n_places() {
            n if n * BLOCK >= self.capacity => self.capacity,
            n => n.saturating_sub(2) * BLOCK,
        };
        self.attending().map(max).min().unwrap_or(self.capacity).max(1)
    }

    /// The state of recurrent layers where the sequence is now; `None` where no layer recurs.
    pub fn state(&self) -> Option<State> {
        let values = self.layers.iter().flat_map(|layer| layer.recurrent.now.iter().copied());
        self.recurs().then(|| State { values: values.collect() })
    }

    /// Whether a sequence can go on from `len` positions, the last of whose blocks are `blocks`, from the latest back, as far as is
    /// asked for.
    pub fn suffices<'h>(&self, len: usize, blocks: impl IntoIterator<Item = &'h Held>) -> bool {
        let end = len.div_ceil(BLOCK);
        let mut open = self.attending().map(|kv| kv.shape.looked_at(len).start).min().unwrap_or(end)..end;
        blocks.into_iter().all(|held| {
            let Some(block) = open.next_back() else { return true };
            let mut layers = self.attending().zip(held.pages.iter());
            layers.all(|(kv, page)| page.is_some() || !kv.shape.looked_at(len).contains(&block))
        }) && open.is_empty()
    }

    /// Begins anew with `len` positions: `blocks` are all there are of them, the last perhaps with more, and `state` the recurrent
    /// one behind them, both of a sequence of the same room. They must suffice ([`Kv::suffices`]), and a model that recurs needs the state.
    pub fn adopt<'h>(
        &mut self,
        len: usize,
        blocks: impl IntoIterator<Item = &'h Held>,
        state: Option<&State>,
    ) {
        self.forget();
        let mut n_blocks = 0;
        for (block, held) in blocks.into_iter().enumerate() {
            let layers = self.layers.iter_mut().filter_map(|layer| layer.kv.as_mut());
            for (kv, page) in layers.zip(held.pages.iter()) {
                if let Some(page) = page {
                    kv.pages.put(block, page.clone());
                }
            }
            n_blocks += 1;
        }
        assert!(len.div_ceil(BLOCK) == n_blocks && len <= self.capacity);
        assert_eq!(state.is_some(), self.recurs() && len > 0);
        self.len = len;
        let mut values = state.map_or(&[][..], |state| &state.values);
        for now in self.layers.iter_mut().map(|layer| &mut layer.recurrent.now) {
            if let Some((these, rest)) = values.split_at_checked(now.len()) {
                now.copy_from_slice(these);
                values = rest;
            }
        }
        self.checkpoint();
    }

    /// Begins anew, whatever state a step left that broke off, and gives all pages back.
    pub fn forget(&mut self) {
        self.len = 0;
        self.return_recurrent();
        self.layers.iter_mut().filter_map(|layer| layer.kv.as_mut()).for_each(|kv| kv.pages.clear());
    }

    /// Values of [`Kv::state`].
    pub fn state_len(&self) -> usize {
        self.layers.iter().map(|layer| layer.recurrent.now.len()).sum()
    }

    fn attending(&self) -> impl Iterator<Item = &KeysAndValues> {
        self.layers.iter().filter_map(|layer| layer.kv.as_ref())
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

    /// Whether some layers recur: then a sequence can begin only where a state was kept.
    pub fn recurs(&self) -> bool {
        self.layers.iter().any(|layer| !layer.recurrent.now.is_empty())
    }

    /// Counts `n` stored positions as held.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
        assert!(self.len <= self.capacity);
    }

    /// The recurrent state of a layer, to be read and replaced.
    pub(crate) fn recurrent(&mut self, layer: usize) -> &mut [f32] {
        &mut self.layers[layer].recurrent.now
    }

    /// The keys and values of a layer.
    pub(crate) fn layer(&self, layer: usize) -> Cache<'_> {
        let kv = self.layers[layer].kv.as_ref().expect("a layer that attends");
        Cache { format: self.format, pages: &kv.pages }
    }

    /// Positions that a layer takes before it must have attended with them.
    pub(crate) fn slice(&self, layer: usize) -> usize {
        let kv = self.layers[layer].kv.as_ref().expect("a layer that attends");
        if kv.pages.n_places() * BLOCK >= self.capacity { self.capacity } else { SLACK }
    }

    /// Stores rows `(n, n_kv_heads * head_dim)` at positions `pos..pos + n` of a layer.
    pub(crate) fn store(&mut self, run: &Runtime<'_>, layer: usize, pos: usize, k: &[f32], v: &[f32]) {
        let kv = self.layers[layer].kv.as_mut().expect("a layer that attends");
        let heads = (kv.shape.n_kv_heads, kv.shape.head_dim);
        assert!(pos + k.len() / (heads.0 * heads.1) <= self.capacity);
        attn::store(run.pool, run.kernels, self.format, heads, pos, [k, v], &mut kv.pages);
    }
}
