//! Attention over cached keys and values.
//!
//! Positions are taken in fixed blocks of [`BLOCK`], counted from position 0, with the running maximum and sum of online
//! softmax (arXiv 1805.02867) carried from block to block. A token sees the same blocks in the same order whatever shares
//! its step, so its result does not depend on the chunk, on what else the cache holds or on the number of threads.
//!
//! A head of keys and values meets all the queries that share it (arXiv 2305.13245), of several tokens at once where there
//! are several: `block` has the arithmetic, compiled for every tier, `cache` how keys and values lie. Per layer they are
//! `(n_kv_heads, blocks)` of such blocks, so that a head's whole past is one long read. Block `b` of positions lies in place
//! `b % blocks`: a layer that looks back only over a window keeps only the latest.

pub(crate) mod block;
pub(crate) mod cache;

use block::{Block, ROWS_MAX, Running};
pub use cache::FORMATS;
use cache::SHARED;

use crate::par::{Disjoint, Pool};
use crate::quant::Format;
use crate::simd::Kernels;

/// Positions per block of the cache and of the reduction.
pub const BLOCK: usize = 64;
/// The most rows, a query head of a token each, that a task takes at once, unless a group has more heads.
const TILE_ROWS: usize = 64;

/// The arithmetic of attention in one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Values per head.
    pub head_dim: usize,
    /// Factor on the scores, `1 / sqrt(head_dim)` in most models.
    pub scale: f32,
    /// Positions a token sees, its own included; `None` for all before it.
    pub window: Option<usize>,
    /// Smooth bound on the scores, `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
}

impl Shape {
    fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// The first position that a token at `pos` sees.
    pub fn first_seen(&self, pos: usize) -> usize {
        self.window.map_or(0, |window| (pos + 1).saturating_sub(window))
    }

    /// Stretches of `BLOCK` dimensions that a query is cut into.
    fn strips(&self) -> usize {
        self.head_dim.div_ceil(BLOCK)
    }

    /// Tokens that a task takes at once.
    fn tile_tokens(&self) -> usize {
        (TILE_ROWS / self.group()).max(1)
    }

    /// Weights times scales, of as many rows as are multiplied at once.
    fn scaled_len(&self) -> usize {
        self.head_dim / SHARED * ROWS_MAX * BLOCK
    }

    /// Floats of scratch that [`attend`] needs per thread.
    pub fn scratch_len(&self) -> usize {
        let per_row = self.strips() * BLOCK + self.head_dim + BLOCK + 2;
        self.scaled_len() + self.tile_tokens() * self.group() * per_row
    }
}

/// The keys and values of one layer of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Cache<'a> {
    /// Format of both, one of [`FORMATS`].
    pub format: &'static Format,
    /// `(n_kv_heads, blocks)` blocks of `BLOCK * head_dim` values.
    pub k: &'a [u8],
    /// As many of values.
    pub v: &'a [u8],
}

/// The tokens that attend: consecutive positions of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// Position of the first.
    pub first_pos: usize,
    /// `(n_tokens, n_heads * head_dim)`
    pub q: &'a [f32],
    /// A score per head that takes weight and gives nothing: attention sinks (arXiv 2309.17453). `(n_heads)`
    pub sinks: Option<&'a [f32]>,
}

/// What a tier does with caches of one format.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheKernel {
    /// Takes a block into the running results of the queries that see it.
    pub attend: fn(&Block<'_>, &mut Running<'_>),
    /// `(format, slot, [k, v], blocks)`: encodes a head's key and value, `(head_dim)` each, into a slot of its blocks.
    pub store: fn(&Format, usize, [&[f32]; 2], [&mut [u8]; 2]),
}

/// Tokens from which on it pays to wake other threads for encoding them.
const TOKENS_TO_SHARE: usize = 8;

/// Encodes rows of keys and of values, `(n_tokens, n_kv_heads * head_dim)` each, as the positions from `pos` on of a cache that
/// lies as [`Cache`] has it.
///
/// # Panics
/// When `format` is none of [`FORMATS`] or the cache has no whole block for each head.
pub fn store(
    pool: &Pool,
    kernels: &Kernels,
    format: &'static Format,
    (n_kv_heads, head_dim): (usize, usize),
    pos: usize,
    [k, v]: [&[f32]; 2],
    [cache_k, cache_v]: [&mut [u8]; 2],
) {
    let kernel = kernels.cache_kernel(format);
    let block_bytes = format.row_bytes(BLOCK * head_dim);
    let n_places = cache_k.len() / (n_kv_heads * block_bytes);
    let row = n_kv_heads * head_dim;
    let n_tokens = k.len() / row;
    let (cache_k, cache_v) = (Disjoint::new(cache_k), Disjoint::new(cache_v));
    let store_head = |head: usize| {
        for (t, (k, v)) in k.chunks_exact(row).zip(v.chunks_exact(row)).enumerate() {
            let (place, slot) = ((pos + t) / BLOCK % n_places, (pos + t) % BLOCK);
            let at = (head * n_places + place) * block_bytes;
            let values = head * head_dim..(head + 1) * head_dim;
            // SAFETY: a head's blocks belong to one task alone.
            let k_block = unsafe { cache_k.part(at, block_bytes) };
            // SAFETY: the same.
            let v_block = unsafe { cache_v.part(at, block_bytes) };
            (kernel.store)(format, slot, [&k[values.clone()], &v[values]], [k_block, v_block]);
        }
    };
    if n_tokens < TOKENS_TO_SHARE {
        (0..n_kv_heads).for_each(store_head);
    } else {
        pool.run(n_kv_heads, |head, _| store_head(head));
    }
}

/// Attends with every query to the positions up to its own, as far back as the window reaches.
///
/// `out` is `(n_tokens, n_heads * head_dim)`; `scratch` has [`Shape::scratch_len`] floats per thread of the pool.
///
/// # Panics
/// When the cache has fewer blocks than the queries see, or a format that is none of [`FORMATS`].
pub fn attend(
    pool: &Pool,
    kernels: &Kernels,
    shape: Shape,
    cache: Cache<'_>,
    Queries { first_pos, q, sinks }: Queries<'_>,
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let (head_dim, group, tile_tokens) = (shape.head_dim, shape.group(), shape.tile_tokens());
    let row = shape.n_heads * head_dim;
    let n_tokens = q.len() / row;
    assert_eq!((q.len(), out.len()), (n_tokens * row, n_tokens * row));
    assert!(scratch.len() >= pool.n_threads() * shape.scratch_len());
    let block_bytes = cache.format.row_bytes(BLOCK * head_dim);
    let n_places = cache.k.len() / (shape.n_kv_heads * block_bytes);
    let n_seen = (first_pos + n_tokens).div_ceil(BLOCK) - shape.first_seen(first_pos) / BLOCK;
    assert!(n_seen <= n_places && cache.v.len() == cache.k.len());
    let kernel = kernels.cache_kernel(cache.format);

    let n_tiles = n_tokens.div_ceil(tile_tokens);
    let (out, scratch) = (Disjoint::new(out), Disjoint::new(scratch));
    pool.run(n_tiles * shape.n_kv_heads, |task, worker| {
        // The last tokens see the most positions: start them first.
        let (tile, kv_head) = (n_tiles - 1 - task / shape.n_kv_heads, task % shape.n_kv_heads);
        let first = tile * tile_tokens;
        let tokens = first..n_tokens.min(first + tile_tokens);
        let n_rows = tokens.len() * group;
        // SAFETY: a worker number is in use by one thread at a time, and its scratch is its own.
        let scratch = unsafe { scratch.part(worker * shape.scratch_len(), shape.scratch_len()) };
        let (scaled, rest) = scratch.split_at_mut(shape.scaled_len());
        let (queries, rest) = rest.split_at_mut(n_rows * shape.strips() * BLOCK);
        let queries = queries.as_chunks_mut::<BLOCK>().0;
        let (sums, rest) = rest.split_at_mut(n_rows * head_dim);
        let (weights, rest) = rest.split_at_mut(n_rows * BLOCK);
        let (max, rest) = rest.split_at_mut(n_rows);
        let total = &mut rest[..n_rows];
        sums.fill(0.0);
        for (i, (max, total)) in max.iter_mut().zip(&mut *total).enumerate() {
            let sink = sinks.map(|sinks| sinks[kv_head * group + i % group]);
            (*max, *total) = sink.map_or((f32::NEG_INFINITY, 0.0), |sink| (sink, 1.0));
        }
        let head = |i: usize| (first + i / group) * row + (kv_head * group + i % group) * head_dim;
        for i in 0..n_rows {
            let strips = q[head(i)..][..head_dim].chunks(BLOCK);
            for (query, q) in queries[i..].iter_mut().step_by(n_rows).zip(strips) {
                for (query, q) in query.iter_mut().zip(q) {
                    *query = q * shape.scale;
                }
            }
        }
        let mut running = Running { sums, max, total, weights, scaled };
        let first_pos = first_pos + first;
        for block in shape.first_seen(first_pos) / BLOCK..=(first_pos + tokens.len() - 1) / BLOCK {
            let at = (kv_head * n_places + block % n_places) * block_bytes;
            let (k, v) = (&cache.k[at..at + block_bytes], &cache.v[at..at + block_bytes]);
            let block = Block { shape, start: block * BLOCK, k, v, first_pos, queries };
            (kernel.attend)(&block, &mut running);
        }
        for (i, sums) in running.sums.chunks_exact(head_dim).enumerate() {
            // SAFETY: this head of this token belongs to this task alone.
            let out = unsafe { out.part(head(i), head_dim) };
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum / running.total[i];
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant;

    /// Softmax attention in f64, straight from the definition.
    fn reference(shape: Shape, sinks: Option<&[f32]>, k: &[f32], v: &[f32], q: &[f32]) -> Vec<f64> {
        let row = shape.n_heads * shape.head_dim;
        let at = |pos: usize, head: usize| (pos * shape.n_kv_heads + head) * shape.head_dim;
        let mut out = vec![0.0; q.len()];
        for (i, (q, out)) in q.chunks(shape.head_dim).zip(out.chunks_mut(shape.head_dim)).enumerate() {
            let (pos, head) = (i * shape.head_dim / row, i % shape.n_heads / shape.group());
            let dot = |p: usize| -> f64 {
                let k = &k[at(p, head)..];
                let dot = q.iter().zip(k).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
                let score = dot * f64::from(shape.scale);
                shape.softcap.map(f64::from).map_or(score, |cap| cap * (score / cap).tanh())
            };
            let first = shape.window.map_or(0, |window| (pos + 1).saturating_sub(window));
            let weights: Vec<f64> = (first..=pos).map(|p| dot(p).exp()).collect();
            let sink = sinks.map_or(0.0, |sinks| f64::from(sinks[i % shape.n_heads]).exp());
            let total: f64 = weights.iter().sum::<f64>() + sink;
            for (p, w) in (first..).zip(&weights) {
                for (out, &v) in out.iter_mut().zip(&v[at(p, head)..]) {
                    *out += w / total * f64::from(v);
                }
            }
        }
        out
    }

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn shape(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Shape {
        Shape { n_heads, n_kv_heads, head_dim, scale: 0.3, window: None, softcap: None }
    }

    /// Steps of `chunk` tokens, each storing its keys and values just before it attends, in a cache of `n_places` blocks.
    fn run(
        shape: Shape,
        sinks: Option<&[f32]>,
        [k, v, q]: [&[f32]; 3],
        (format, n_places): (&str, usize),
        (tier, n_threads, chunk): (&str, usize, usize),
    ) -> Vec<f32> {
        let kernels = Kernels::named(tier).unwrap();
        let pool = Pool::new(n_threads);
        let format = quant::by_name(format).unwrap();
        let (row, kv_row) = (shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim);
        let mut scratch = vec![f32::NAN; n_threads * shape.scratch_len()];
        let mut out = vec![0.0; q.len()];
        // What was never written may look like a NaN.
        let n = n_places * format.row_bytes(BLOCK * kv_row);
        let (mut cache_k, mut cache_v) = (vec![0xff; n], vec![0xff; n]);
        for (i, (q, out)) in q.chunks(chunk * row).zip(out.chunks_mut(chunk * row)).enumerate() {
            let first_pos = i * chunk;
            let new = first_pos * kv_row..(first_pos + q.len() / row) * kv_row;
            let rows = [&k[new.clone()], &v[new]];
            let heads = (shape.n_kv_heads, shape.head_dim);
            store(&pool, &kernels, format, heads, first_pos, rows, [&mut cache_k, &mut cache_v]);
            let cache = Cache { format, k: &cache_k, v: &cache_v };
            attend(&pool, &kernels, shape, cache, Queries { first_pos, q, sinks }, &mut scratch, out);
        }
        out
    }

    /// What a cache in `format` gives back of rows of `head_dim` values.
    fn kept(format: &str, x: &[f32], head_dim: usize) -> Vec<f32> {
        let format = quant::by_name(format).unwrap();
        let mut bytes = vec![0; format.row_bytes(x.len())];
        let mut out = vec![0.0; x.len()];
        let rows = x.chunks(head_dim).zip(bytes.chunks_mut(format.row_bytes(head_dim)));
        rows.for_each(|(x, bytes)| format.quantize.unwrap()(x, None, bytes));
        (format.dequantize)(&bytes, &mut out);
        out
    }

    #[test]
    fn agrees_with_the_definition_and_with_itself_for_any_split() {
        let n_pos = 300;
        let plain = [shape(4, 2, 64), shape(3, 1, 40), shape(2, 2, 8), shape(14, 1, 32)];
        let window = |window| Shape { window: Some(window), ..shape(4, 2, 16) };
        let capped = Shape { softcap: Some(0.7), ..window(70) };
        let cases = plain.map(|shape| (shape, 5, false));
        let bent = [(window(1), 2, true), (window(65), 3, false), (capped, 3, true), (plain[1], 5, true)];
        for (shape, n_places, has_sinks) in cases.into_iter().chain(bent) {
            let (row, kv_row) = (shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim);
            let (k, v, q) = (noise(n_pos * kv_row, 1), noise(n_pos * kv_row, 2), noise(n_pos * row, 3));
            let sinks = noise(shape.n_heads, 4);
            let sinks = has_sinks.then_some(&sinks[..]);
            for &format in FORMATS {
                if !shape.head_dim.is_multiple_of(quant::by_name(format).unwrap().block) {
                    continue;
                }
                let kept = |x: &[f32]| kept(format, x, shape.head_dim);
                let exact = reference(shape, sinks, &kept(&k), &kept(&v), &q);
                let given = [&k[..], &v, &q];
                for tier in Kernels::names() {
                    let whole = run(shape, sinks, given, (format, 5), (tier, 1, n_pos));
                    for (a, b) in whole.iter().zip(&exact) {
                        assert!((f64::from(*a) - b).abs() < 2e-6, "{tier} {format} {shape:?}: {a} {b}");
                    }
                    for (n_threads, chunk) in [(1, 1), (2, 7), (3, 64), (2, n_pos)] {
                        let places = if chunk <= 64 { n_places } else { 5 };
                        let split = run(shape, sinks, given, (format, places), (tier, n_threads, chunk));
                        assert!(split == whole, "{tier} {format} {shape:?} chunks of {chunk}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_token_does_not_see_cannot_reach_it() {
        let shape = shape(2, 1, 16);
        let (k, mut v, q) = (noise(80 * 16, 1), noise(80 * 16, 2), noise(80 * 32, 3));
        v[70 * 16..].fill(f32::INFINITY);
        for tier in Kernels::names() {
            let whole = run(shape, None, [&k, &v, &q], ("f16", 2), (tier, 1, 80));
            assert!(whole[..70 * 32].iter().all(|v| v.is_finite()), "{tier}");
            assert!(whole[70 * 32..].iter().all(|v| !v.is_finite()), "{tier}");
        }
    }
}
