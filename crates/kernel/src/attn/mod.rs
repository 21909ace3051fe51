//! Attention over cached keys and values.
//!
//! Positions are taken in fixed blocks of [`BLOCK`], counted from position 0, with the running maximum and sum of online
//! softmax (arXiv 1805.02867) carried from block to block. Every [`SEGMENT`] positions they begin anew, and what a token
//! finds in its segments is put together in rising order: so segments may be computed by several threads, as they are when
//! there are too few tokens and heads to share out, or one behind the other. A token sees the same blocks and segments in the
//! same order whatever shares its step, so its result does not depend on the chunk, on what else the cache holds or on the
//! number of threads.
//!
//! A head of keys and values meets all the queries that share it (arXiv 2305.13245), of several tokens at once where there
//! are several: `block` has the arithmetic, compiled for every tier, `cache` how keys and values lie, `tile` what a thread
//! does. What a layer has of a block of positions is a page, which several sequences can share (`pages`).

pub(crate) mod block;
pub(crate) mod cache;
mod pages;
mod tile;

use block::{Block, Running};
pub use cache::FORMATS;
pub use pages::{Page, Pages, Table};
use tile::Work;

use crate::par::{Disjoint, Pool};
use crate::quant::Format;
use crate::simd::Kernels;

/// Positions per block of the cache and of the reduction.
pub const BLOCK: usize = 64;
/// Positions of a segment, behind which running results begin anew.
pub const SEGMENT: usize = 8 * BLOCK;
/// Tasks for each thread, below which segments are tasks of their own.
const TASKS_PER_THREAD: usize = 4;
/// Segments of one token that there is room for per thread.
const SEGMENTS_APART: usize = 16;
/// Floats of a line of the cache, at the beginning of which vectors are read fastest.
const LINE: usize = 16;
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

    /// Floats of what rows have found: sums, largest scores, sums of weights.
    fn found_len(&self, n_rows: usize) -> usize {
        (n_rows * (self.strips() * BLOCK + 2)).next_multiple_of(LINE)
    }

    /// Floats that a thread needs for itself: a strip of a block, and of each row the query, weights and twice what it finds.
    fn own_len(&self) -> usize {
        let n_rows = self.tile_tokens() * self.group();
        BLOCK * BLOCK + n_rows * (self.strips() + 1) * BLOCK + 2 * self.found_len(n_rows)
    }

    /// Floats of scratch that [`attend`] needs per thread.
    pub fn scratch_len(&self) -> usize {
        self.own_len() + SEGMENTS_APART * self.n_kv_heads * self.found_len(self.group()) + LINE
    }
}

/// The keys and values of one layer of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Cache<'a> {
    /// Format of both, one of [`FORMATS`].
    pub format: &'static Format,
    /// Where they lie.
    pub pages: &'a Table,
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

/// Bytes of the page of a layer.
pub fn page_bytes(format: &Format, n_kv_heads: usize, head_dim: usize) -> usize {
    2 * n_kv_heads * format.row_bytes(BLOCK * head_dim)
}

/// Encodes rows of keys and of values, `(n_tokens, n_kv_heads * head_dim)` each, as the positions from `pos` on.
///
/// # Panics
/// When `format` is none of [`FORMATS`], pages are smaller than [`page_bytes`], or what comes before `pos` in its block is not there.
pub fn store(
    pool: &Pool,
    kernels: &Kernels,
    format: &'static Format,
    (n_kv_heads, head_dim): (usize, usize),
    pos: usize,
    [k, v]: [&[f32]; 2],
    pages: &mut Table,
) {
    let kernel = kernels.cache_kernel(format);
    let block_bytes = format.row_bytes(BLOCK * head_dim);
    let row = n_kv_heads * head_dim;
    let n_tokens = k.len() / row;
    let mut first = 0;
    while first < n_tokens {
        let (block, slot) = ((pos + first) / BLOCK, (pos + first) % BLOCK);
        let n = (n_tokens - first).min(BLOCK - slot);
        let page = pages.writable(block, slot);
        let page = &mut page[..2 * n_kv_heads * block_bytes];
        let [k, v] = [k, v].map(|rows| &rows[first * row..(first + n) * row]);
        let store_head = |head: usize, both: &mut [u8]| {
            let (k_block, v_block) = both.split_at_mut(block_bytes);
            for (t, (k, v)) in k.chunks_exact(row).zip(v.chunks_exact(row)).enumerate() {
                let [k, v] = [k, v].map(|row| &row[head * head_dim..(head + 1) * head_dim]);
                (kernel.store)(format, slot + t, [k, v], [&mut *k_block, &mut *v_block]);
            }
        };
        if n < TOKENS_TO_SHARE {
            let heads = page.chunks_exact_mut(2 * block_bytes).enumerate();
            heads.for_each(|(head, both)| store_head(head, both));
        } else {
            pool.for_rows(page, 2 * block_bytes, store_head);
        }
        first += n;
    }
}

/// Attends with every query to the positions up to its own, as far back as the window reaches.
///
/// `out` is `(n_tokens, n_heads * head_dim)`; `scratch` has [`Shape::scratch_len`] floats per thread of the pool.
///
/// # Panics
/// When a block that the queries see is not there, or for a format that is none of [`FORMATS`].
pub fn attend(
    pool: &Pool,
    kernels: &Kernels,
    shape: Shape,
    cache: Cache<'_>,
    queries: Queries<'_>,
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let row = shape.n_heads * shape.head_dim;
    let n_tokens = queries.q.len() / row;
    if n_tokens == 0 {
        return;
    }
    assert_eq!((queries.q.len(), out.len()), (n_tokens * row, n_tokens * row));
    assert!(scratch.len() >= pool.n_threads() * shape.scratch_len());
    let block_bytes = cache.format.row_bytes(BLOCK * shape.head_dim);
    let kernel = kernels.cache_kernel(cache.format);
    let work = Work { shape, cache, kernel, block_bytes, n_tokens, queries };

    let unaligned = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
    let scratch = &mut scratch[unaligned..];
    let (own, apart) = scratch.split_at_mut(pool.n_threads() * shape.own_len());
    let (out, own) = (Disjoint::new(out), Disjoint::new(own));
    // SAFETY: a worker number is in use by one thread at a time, and its scratch is its own.
    let own = |worker: usize| unsafe { own.part(worker * shape.own_len(), shape.own_len()) };
    let n_tasks = work.n_tiles();
    let few = pool.n_threads() > 1 && n_tasks < TASKS_PER_THREAD * pool.n_threads();
    // Beside those of some segments, what was found before them.
    let n_apart = (apart.len() / (n_tasks * work.found_len())).saturating_sub(1);
    if !few || n_apart < 2 || work.segments(0..n_tokens).len() < 2 {
        pool.run(n_tasks, |task, worker| work.whole(&work.tile(task), own(worker), &out));
        return;
    }
    let (before, apart) = apart.split_at_mut(n_tasks * work.found_len());
    for first in work.segments(0..n_tokens).step_by(n_apart) {
        let segments = first..work.segments(0..n_tokens).end.min(first + n_apart);
        work.some_segments(pool, segments, &own, before, apart);
    }
    for (task, before) in before.chunks_exact_mut(work.found_len()).enumerate() {
        work.give(&work.tile(task), before, &out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant;

    /// Softmax attention in f64, straight from the definition, of the tokens from `first` on.
    fn reference(
        first: usize,
        shape: Shape,
        sinks: Option<&[f32]>,
        k: &[f32],
        v: &[f32],
        q: &[f32],
    ) -> Vec<f64> {
        let row = shape.n_heads * shape.head_dim;
        let at = |pos: usize, head: usize| (pos * shape.n_kv_heads + head) * shape.head_dim;
        let mut out = vec![0.0; q.len()];
        let heads = q.chunks(shape.head_dim).zip(out.chunks_mut(shape.head_dim)).enumerate();
        for (i, (q, out)) in heads.skip(first * shape.n_heads) {
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

    /// An empty one, whose pages look like NaNs where they were never written, and don't lie one behind the other.
    fn table(format: &Format, shape: Shape, n_places: usize) -> Table {
        let pages = Pages::new(n_places, page_bytes(format, shape.n_kv_heads, shape.head_dim));
        let mut all: Vec<Page> = (0..n_places).filter_map(|_| pages.take()).collect();
        all.iter_mut().for_each(|page| page.bytes_mut().unwrap().fill(0xff));
        all.sort_by_key(|page| page.bytes().as_ptr().addr() % 7);
        drop(all);
        Table::new(pages, n_places)
    }

    /// Keys and values of `first` tokens and then steps of `chunk`, each storing its own just before it attends, in a cache of
    /// `n_places` blocks.
    fn run_behind(
        first: usize,
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
        let mut table = table(format, shape, n_places);
        let n_pos = q.len() / row;
        let mut pos = 0;
        while pos < n_pos {
            let end = n_pos.min(if pos < first { first } else { pos + chunk });
            let rows = [&k[pos * kv_row..end * kv_row], &v[pos * kv_row..end * kv_row]];
            let heads = (shape.n_kv_heads, shape.head_dim);
            store(&pool, &kernels, format, heads, pos, rows, &mut table);
            if pos >= first {
                let cache = Cache { format, pages: &table };
                let queries = Queries { first_pos: pos, q: &q[pos * row..end * row], sinks };
                attend(&pool, &kernels, shape, cache, queries, &mut scratch, &mut out[pos * row..end * row]);
            }
            pos = end;
        }
        out
    }

    /// Steps of `chunk` tokens.
    fn run(
        shape: Shape,
        sinks: Option<&[f32]>,
        given: [&[f32]; 3],
        cache: (&str, usize),
        by: (&str, usize, usize),
    ) -> Vec<f32> {
        run_behind(0, shape, sinks, given, cache, by)
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
                let exact = reference(0, shape, sinks, &kept(&k), &kept(&v), &q);
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
    fn segments_give_the_same_on_one_thread_and_on_many() {
        // From before the end of a segment to behind it, and from before a window's to behind it.
        let (first, n_pos) = (2 * SEGMENT - 40, 2 * SEGMENT + 60);
        let windowed = Shape { window: Some(SEGMENT + 40), softcap: Some(2.0), ..shape(3, 3, 32) };
        for (shape, has_sinks) in [(shape(4, 1, 32), false), (shape(2, 1, 32), true), (windowed, true)] {
            let (row, kv_row) = (shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim);
            let (k, v, q) = (noise(n_pos * kv_row, 1), noise(n_pos * kv_row, 2), noise(n_pos * row, 3));
            let sinks = noise(shape.n_heads, 4);
            let sinks = has_sinks.then_some(&sinks[..]);
            let (given, places) = ([&k[..], &v, &q], n_pos.div_ceil(BLOCK));
            for format in ["f16", "q8_0"] {
                let kept = |x: &[f32]| kept(format, x, shape.head_dim);
                let exact = reference(first, shape, sinks, &kept(&k), &kept(&v), &q);
                for tier in Kernels::names() {
                    let whole = run_behind(first, shape, sinks, given, (format, places), (tier, 1, n_pos));
                    for (a, b) in whole.iter().zip(&exact) {
                        assert!((f64::from(*a) - b).abs() < 2e-6, "{tier} {format} {shape:?}: {a} {b}");
                    }
                    for (n_threads, chunk) in [(1, 1), (2, 1), (3, 5), (2, 40), (5, 3)] {
                        let by = (tier, n_threads, chunk);
                        let split = run_behind(first, shape, sinks, given, (format, places), by);
                        assert!(split == whole, "{tier} {format} {shape:?} chunks of {chunk} on {n_threads}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_token_does_not_see_cannot_reach_it() {
        for (format, n_pos) in [("f16", 80), ("q8_0", 80), ("q8_0", SEGMENT + 80), ("f16", 2 * SEGMENT + 10)]
        {
            let (shape, seen) = (shape(2, 1, 32), n_pos - 9);
            let (k, mut v, q) = (noise(n_pos * 32, 1), noise(n_pos * 32, 2), noise(n_pos * 64, 3));
            v[seen * 32..].fill(f32::INFINITY);
            let places = n_pos.div_ceil(BLOCK);
            for tier in Kernels::names() {
                for (n_threads, chunk) in [(1, n_pos), (2, 25), (3, 4)] {
                    let by = (tier, n_threads, chunk);
                    let out = run_behind(n_pos - 30, shape, None, [&k, &v, &q], (format, places), by);
                    assert!(out[..seen * 64].iter().all(|v| v.is_finite()), "{tier} {format}");
                    assert!(out[seen * 64..].iter().all(|v| !v.is_finite()), "{tier} {format}");
                }
            }
        }
    }

    #[test]
    fn an_infinity_in_a_segment_reaches_all_that_see_it() {
        let (n_pos, at) = (2 * SEGMENT + 10, SEGMENT + 3);
        let shape = Shape { window: Some(SEGMENT), ..shape(2, 1, 32) };
        let (k, mut v, q) = (noise(n_pos * 32, 1), noise(n_pos * 32, 2), noise(n_pos * 64, 3));
        v[at * 32..(at + 1) * 32].fill(f32::INFINITY);
        for tier in Kernels::names() {
            for (n_threads, chunk) in [(1, n_pos), (2, 9), (2, 4)] {
                let cache = ("f16", n_pos.div_ceil(BLOCK));
                let first = at + SEGMENT - 5;
                let out = run_behind(first, shape, None, [&k, &v, &q], cache, (tier, n_threads, chunk));
                for (pos, out) in out.chunks(64).enumerate().skip(first) {
                    let sees = (at..at + SEGMENT).contains(&pos);
                    assert!(out.iter().all(|v| v.is_finite() != sees), "{tier} {pos}");
                }
            }
        }
    }
}
