//! Attention over cached keys and values.
//!
//! Positions are taken in fixed blocks of [`BLOCK`], counted from position 0, with the running maximum and sum of online
//! softmax (arXiv 1805.02867) carried from block to block. A token sees the same blocks in the same order whatever shares
//! its step, so its result does not depend on the chunk, on what else the cache holds or on the number of threads.
//!
//! Layout of keys and of values, per layer: `(blocks, n_kv_heads, BLOCK, head_dim)` in any float or 32-value block format,
//! so that a head's block is one contiguous read, decoded to f32 once for all the queries that share it. Block `b` of
//! positions lies in place `b % blocks`: a layer that looks back only over a window keeps only the latest blocks.

use crate::ops::{exp, fold, softcap};
use crate::par::{Disjoint, Pool};
use crate::quant::Format;
use crate::simd::Kernels;

/// Positions per block of the cache and of the reduction.
pub const BLOCK: usize = 64;
/// Query tokens that share one decoding of a block.
const TILE_TOKENS: usize = 8;

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

    /// Floats of scratch that [`attend`] needs per thread.
    pub fn scratch_len(&self) -> usize {
        2 * BLOCK * self.head_dim + TILE_TOKENS * self.group() * (2 * self.head_dim + 2)
    }
}

/// The keys and values of one layer of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Cache<'a> {
    /// Format of both.
    pub format: &'static Format,
    /// `(blocks, n_kv_heads, BLOCK, head_dim)`
    pub k: &'a [u8],
    /// `(blocks, n_kv_heads, BLOCK, head_dim)`
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

/// Attends with every query to the positions up to its own, as far back as the window reaches.
///
/// `out` is `(n_tokens, n_heads * head_dim)`; `scratch` has [`Shape::scratch_len`] floats per thread of the pool.
///
/// # Panics
/// When the cache has fewer blocks than the queries see.
pub fn attend(
    pool: &Pool,
    kernels: &Kernels,
    shape: Shape,
    cache: Cache<'_>,
    Queries { first_pos, q, sinks }: Queries<'_>,
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let (head_dim, group) = (shape.head_dim, shape.group());
    let row = shape.n_heads * head_dim;
    let n_tokens = q.len() / row;
    assert_eq!((q.len(), out.len()), (n_tokens * row, n_tokens * row));
    assert!(scratch.len() >= pool.n_threads() * shape.scratch_len());
    let block_bytes = cache.format.row_bytes(BLOCK * head_dim);
    let n_places = cache.k.len() / (shape.n_kv_heads * block_bytes);
    let n_seen = (first_pos + n_tokens).div_ceil(BLOCK) - shape.first_seen(first_pos) / BLOCK;
    assert!(n_seen <= n_places && cache.v.len() == cache.k.len());

    let n_tiles = n_tokens.div_ceil(TILE_TOKENS);
    let (out, scratch) = (Disjoint::new(out), Disjoint::new(scratch));
    pool.run(n_tiles * shape.n_kv_heads, |task, worker| {
        // The last tokens see the most positions: start them first.
        let (tile, kv_head) = (n_tiles - 1 - task / shape.n_kv_heads, task % shape.n_kv_heads);
        let first = tile * TILE_TOKENS;
        let tokens = first..n_tokens.min(first + TILE_TOKENS);
        let n_rows = tokens.len() * group;
        // SAFETY: a worker number is in use by one thread at a time, and its scratch is its own.
        let scratch = unsafe { scratch.part(worker * shape.scratch_len(), shape.scratch_len()) };
        let (k, rest) = scratch.split_at_mut(BLOCK * head_dim);
        let (v, rest) = rest.split_at_mut(BLOCK * head_dim);
        let (queries, rest) = rest.split_at_mut(n_rows * head_dim);
        let (sums, rest) = rest.split_at_mut(n_rows * head_dim); // (tokens, group, head_dim)
        let (max, rest) = rest.split_at_mut(n_rows);
        let total = &mut rest[..n_rows];
        sums.fill(0.0);
        for (i, (max, total)) in max.iter_mut().zip(&mut *total).enumerate() {
            let sink = sinks.map(|sinks| sinks[kv_head * group + i % group]);
            (*max, *total) = sink.map_or((f32::NEG_INFINITY, 0.0), |sink| (sink, 1.0));
        }
        for (i, query) in queries.chunks_exact_mut(head_dim).enumerate() {
            let head = (first + i / group) * row + (kv_head * group + i % group) * head_dim;
            for (query, q) in query.iter_mut().zip(&q[head..head + head_dim]) {
                *query = q * shape.scale;
            }
        }
        let first_block = shape.first_seen(first_pos + first) / BLOCK;
        for block in first_block..=(first_pos + tokens.end - 1) / BLOCK {
            let at = (block % n_places * shape.n_kv_heads + kv_head) * block_bytes;
            let n_known = BLOCK.min(first_pos + tokens.end - block * BLOCK);
            let known_bytes = cache.format.row_bytes(n_known * head_dim);
            (cache.format.dequantize)(&cache.k[at..at + known_bytes], &mut k[..n_known * head_dim]);
            (cache.format.dequantize)(&cache.v[at..at + known_bytes], &mut v[..n_known * head_dim]);
            for i in 0..n_rows {
                let pos = first_pos + first + i / group;
                let Some(n_visible) = (pos + 1).checked_sub(block * BLOCK).filter(|&n| n > 0) else {
                    continue;
                };
                let from = shape.first_seen(pos).saturating_sub(block * BLOCK);
                if from >= BLOCK {
                    continue;
                }
                let seen = from * head_dim..n_visible.min(BLOCK) * head_dim;
                let query = &queries[i * head_dim..(i + 1) * head_dim];
                let sums = &mut sums[i * head_dim..(i + 1) * head_dim];
                let cap = shape.softcap.unwrap_or(0.0);
                let (k, v) = (&k[seen.clone()], &v[seen]);
                (kernels.ops().attend_block)(query, cap, k, v, sums, &mut max[i], &mut total[i]);
            }
        }
        for (i, sums) in sums.chunks_exact(head_dim).enumerate() {
            let head = (first + i / group) * row + (kv_head * group + i % group) * head_dim;
            // SAFETY: this head of this token belongs to this task alone.
            let out = unsafe { out.part(head, head_dim) };
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum / total[i];
            }
        }
    });
}

/// `(query, cap, k, v, sums, max, total)`: takes one block of keys and values into a query's running result.
pub type BlockFn = fn(&[f32], f32, &[f32], &[f32], &mut [f32], &mut f32, &mut f32);

/// One block for one query: `cap` bounds the scores unless it is 0, `k` and `v` are `(n, head_dim)` with `n <= BLOCK`,
/// `sums` is the weighted sum of values so far `(head_dim)`, `max` the largest score, `total` the sum of weights.
#[inline(always)]
pub(crate) fn block(
    query: &[f32],
    cap: f32,
    k: &[f32],
    v: &[f32],
    sums: &mut [f32],
    max: &mut f32,
    total: &mut f32,
) {
    let head_dim = query.len();
    let n = k.len() / head_dim;
    let mut weights = [0f32; BLOCK];
    let mut quads = k.chunks_exact(4 * head_dim);
    for (quad, out) in quads.by_ref().zip(weights.as_chunks_mut::<4>().0) {
        *out = scores::<4>(query, quad);
    }
    for (i, key) in quads.remainder().chunks_exact(head_dim).enumerate() {
        [weights[n / 4 * 4 + i]] = scores::<1>(query, key);
    }
    if cap > 0.0 {
        softcap(&mut weights[..n], cap);
    }
    let largest = weights[..n].iter().fold(*max, |a, &b| a.max(b));
    let carry = exp(*max - largest);
    for w in &mut weights[..n] {
        *w = exp(*w - largest);
    }
    let mut lanes = [0f32; 16];
    for w in weights.as_chunks::<16>().0 {
        for i in 0..16 {
            lanes[i] += w[i];
        }
    }
    (*max, *total) = (largest, *total * carry + fold(&mut lanes));

    const WIDTH: usize = 32;
    let (wide, narrow) = sums.as_chunks_mut::<WIDTH>();
    for (i, sums) in wide.iter_mut().enumerate() {
        let mut acc = sums.map(|s| s * carry);
        for (w, value) in weights.iter().zip(v.chunks_exact(head_dim)) {
            let value: &[f32; WIDTH] = value[i * WIDTH..].first_chunk().expect("inside the head");
            for (acc, value) in acc.iter_mut().zip(value) {
                *acc += w * value;
            }
        }
        *sums = acc;
    }
    let first = head_dim - narrow.len();
    for (i, sum) in narrow.iter_mut().enumerate() {
        *sum *= carry;
        for (w, value) in weights.iter().zip(v.chunks_exact(head_dim)) {
            *sum += w * value[first + i];
        }
    }
}

/// Dot products of a query with `N` keys, each in 16 lanes; `N` only changes how much runs side by side.
#[inline(always)]
fn scores<const N: usize>(query: &[f32], keys: &[f32]) -> [f32; N] {
    let head_dim = query.len();
    let mut lanes = [[0f32; 16]; N];
    let (wide, narrow) = query.as_chunks::<16>();
    for (c, q) in wide.iter().enumerate() {
        for (n, lanes) in lanes.iter_mut().enumerate() {
            let key: &[f32; 16] = keys[n * head_dim + c * 16..].first_chunk().expect("inside the key");
            for i in 0..16 {
                lanes[i] += q[i] * key[i];
            }
        }
    }
    for (n, lanes) in lanes.iter_mut().enumerate() {
        let key = &keys[(n + 1) * head_dim - narrow.len()..][..narrow.len()];
        for (lane, (q, k)) in lanes.iter_mut().zip(narrow.iter().zip(key)) {
            *lane += q * k;
        }
    }
    lanes.map(|mut lanes| fold(&mut lanes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant;

    /// Softmax attention in f64, straight from the definition.
    fn reference(shape: Shape, sinks: Option<&[f32]>, k: &[f32], v: &[f32], q: &[f32]) -> Vec<f64> {
        let row = shape.n_heads * shape.head_dim;
        let at = |pos: usize, head: usize| {
            ((pos / BLOCK * shape.n_kv_heads + head) * BLOCK + pos % BLOCK) * shape.head_dim
        };
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
        n_places: usize,
        (tier, n_threads, chunk): (&str, usize, usize),
    ) -> Vec<f32> {
        let kernels = Kernels::named(tier).unwrap();
        let pool = Pool::new(n_threads);
        let row = shape.n_heads * shape.head_dim;
        let mut scratch = vec![f32::NAN; n_threads * shape.scratch_len()];
        let mut out = vec![0.0; q.len()];
        let block = 4 * shape.n_kv_heads * BLOCK * shape.head_dim;
        let bytes = |x: &[f32]| x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let (all_k, all_v) = (bytes(k), bytes(v));
        let (mut k, mut v) = (vec![0xff; n_places * block], vec![0xff; n_places * block]);
        for (i, (q, out)) in q.chunks(chunk * row).zip(out.chunks_mut(chunk * row)).enumerate() {
            let last = (i * chunk + q.len() / row).div_ceil(BLOCK);
            for b in last.saturating_sub(n_places)..last {
                k[b % n_places * block..][..block].copy_from_slice(&all_k[b * block..][..block]);
                v[b % n_places * block..][..block].copy_from_slice(&all_v[b * block..][..block]);
            }
            let cache = Cache { format: quant::by_name("f32").unwrap(), k: &k, v: &v };
            let queries = Queries { first_pos: i * chunk, q, sinks };
            attend(&pool, &kernels, shape, cache, queries, &mut scratch, out);
        }
        out
    }

    #[test]
    fn agrees_with_the_definition_and_with_itself_for_any_split() {
        let n_pos = 300;
        let plain = [shape(4, 2, 64), shape(3, 1, 40), shape(2, 2, 8)];
        let window = |window| Shape { window: Some(window), ..shape(4, 2, 16) };
        let capped = Shape { softcap: Some(0.7), ..window(70) };
        let cases = plain.map(|shape| (shape, 5, false));
        let bent = [(window(1), 2, true), (window(65), 3, false), (capped, 3, true), (plain[1], 5, true)];
        for (shape, n_places, has_sinks) in cases.into_iter().chain(bent) {
            let row = shape.n_heads * shape.head_dim;
            let cache_len = 5 * shape.n_kv_heads * BLOCK * shape.head_dim;
            let (k, v, q) = (noise(cache_len, 1), noise(cache_len, 2), noise(n_pos * row, 3));
            let sinks = noise(shape.n_heads, 4);
            let sinks = has_sinks.then_some(&sinks[..]);
            let given = [&k[..], &v, &q];
            let scalar = run(shape, sinks, given, 5, ("scalar", 1, n_pos));
            for (a, b) in scalar.iter().zip(reference(shape, sinks, &k, &v, &q)) {
                assert!((f64::from(*a) - b).abs() < 2e-6, "{shape:?}: {a} {b}");
            }
            for name in Kernels::names() {
                for (n_threads, chunk) in [(1, 1), (2, 7), (3, 64), (2, n_pos)] {
                    let places = if chunk <= 64 { n_places } else { 5 };
                    assert!(run(shape, sinks, given, places, (name, n_threads, chunk)) == scalar);
                }
            }
        }
    }
}
