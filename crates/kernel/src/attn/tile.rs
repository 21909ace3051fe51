//! What a thread does: some tokens' queries of the heads that share a head of keys and values, segment by segment.
//!
//! A tile goes through its segments one behind the other ([`Work::whole`]), or the segments of all tiles are shared out and
//! put together afterwards ([`Work::some_segments`]). Both compute the same: a segment begins with nothing found (the first
//! that a row sees with the row's sink), and what is found is taken to what was found before it by [`Found::take`].

use std::ops::Range;

use super::block::{Block, Found, Running, Strips};
use super::{BLOCK, Cache, CacheKernel, Queries, SEGMENT, Shape, TASKS_PER_THREAD};
use crate::par::{Disjoint, Pool};

/// What is to be done.
pub(super) struct Work<'a> {
    pub shape: Shape,
    pub cache: Cache<'a>,
    pub kernel: CacheKernel,
    /// Of a head's keys, or values.
    pub block_bytes: usize,
    pub n_tokens: usize,
    pub queries: Queries<'a>,
}

/// Some tokens' queries of the heads that share a head of keys and values: rows are the heads of a token, then of the next.
pub(super) struct Tile {
    /// Among those of the step.
    tokens: Range<usize>,
    kv_head: usize,
    n_rows: usize,
}

/// A thread's scratch for a tile.
struct Room<'a> {
    /// As [`Block`] has them. `(strips, rows)`
    queries: &'a Strips,
    weights: &'a mut Strips,
    floats: &'a mut [[f32; BLOCK]; BLOCK],
}

impl Work<'_> {
    /// How many tiles there are.
    pub fn n_tiles(&self) -> usize {
        self.n_tokens.div_ceil(self.shape.tile_tokens()) * self.shape.n_kv_heads
    }

    /// The `i`th of them. The last tokens see the most positions, so they come first.
    pub fn tile(&self, i: usize) -> Tile {
        let last = self.n_tiles() / self.shape.n_kv_heads - 1;
        let first = (last - i / self.shape.n_kv_heads) * self.shape.tile_tokens();
        let tokens = first..self.n_tokens.min(first + self.shape.tile_tokens());
        Tile { n_rows: tokens.len() * self.shape.group(), tokens, kv_head: i % self.shape.n_kv_heads }
    }

    /// Floats of what the largest tile finds.
    pub fn found_len(&self) -> usize {
        self.shape.found_len(self.n_tokens.min(self.shape.tile_tokens()) * self.shape.group())
    }

    /// Segments that some of the tokens see.
    pub fn segments(&self, tokens: Range<usize>) -> Range<usize> {
        let first = self.shape.first_seen(self.queries.first_pos + tokens.start) / SEGMENT;
        first..(self.queries.first_pos + tokens.end - 1) / SEGMENT + 1
    }

    /// Segments that a row sees.
    fn seen(&self, tile: &Tile, row: usize) -> Range<usize> {
        let token = tile.tokens.start + row / self.shape.group();
        self.segments(token..token + 1)
    }

    /// The query head of a row.
    fn head(&self, tile: &Tile, row: usize) -> usize {
        tile.kv_head * self.shape.group() + row % self.shape.group()
    }

    /// Where a row begins in queries and results.
    fn at(&self, tile: &Tile, row: usize) -> usize {
        let token = tile.tokens.start + row / self.shape.group();
        (token * self.shape.n_heads + self.head(tile, row)) * self.shape.head_dim
    }

    /// Cuts a thread's scratch and puts the tile's queries there; the rest is twice what its rows find.
    fn prepare<'a>(&self, tile: &Tile, scratch: &'a mut [f32]) -> (Room<'a>, &'a mut [f32]) {
        let (shape, n_rows) = (self.shape, tile.n_rows);
        let (floats, rest) = scratch.split_at_mut(BLOCK * BLOCK);
        let (queries, rest) = rest.split_at_mut(n_rows * shape.strips() * BLOCK);
        let (weights, rest) = rest.split_at_mut(n_rows * BLOCK);
        let queries = queries.as_chunks_mut::<BLOCK>().0;
        for i in 0..n_rows {
            let strips = self.queries.q[self.at(tile, i)..][..shape.head_dim].chunks(BLOCK);
            for (query, q) in queries[i..].iter_mut().step_by(n_rows).zip(strips) {
                for (query, q) in query.iter_mut().zip(q) {
                    *query = q * shape.scale;
                }
            }
        }
        let floats = floats.as_chunks_mut().0.as_mut_array().expect("a strip of a block");
        (Room { queries, weights: weights.as_chunks_mut().0, floats }, rest)
    }

    /// A head's keys and values of a block.
    fn keys_and_values(&self, kv_head: usize, block: usize) -> &[u8] {
        let page = self.cache.pages.page(block).expect("a block that was stored");
        &page.bytes()[2 * kv_head * self.block_bytes..][..2 * self.block_bytes]
    }

    /// What the tile finds in a segment.
    fn attend(&self, tile: &Tile, segment: usize, found: &mut [f32], room: &mut Room<'_>) {
        let found = Found::cut(found, tile.n_rows, self.shape);
        found.sums.as_flattened_mut().fill(0.0);
        for (i, (max, total)) in found.max.iter_mut().zip(&mut *found.total).enumerate() {
            let sinks = self.queries.sinks.filter(|_| segment == self.seen(tile, i).start);
            let sink = sinks.map(|sinks| sinks[self.head(tile, i)]);
            (*max, *total) = sink.map_or((f32::NEG_INFINITY, 0.0), |sink| (sink, 1.0));
        }
        let mut running = Running { found, weights: room.weights, floats: room.floats };
        let first_pos = self.queries.first_pos + tile.tokens.start;
        let seen = self.shape.first_seen(first_pos)..first_pos + tile.tokens.len();
        let first = (segment * SEGMENT).max(seen.start) / BLOCK;
        for block in first..((segment + 1) * SEGMENT).min(seen.end).div_ceil(BLOCK) {
            let both = self.keys_and_values(tile.kv_head, block);
            // Behind the last comes the next head's first.
            let next = if (block + 1) * BLOCK < seen.end {
                self.keys_and_values(tile.kv_head, block + 1)
            } else {
                self.keys_and_values((tile.kv_head + 1) % self.shape.n_kv_heads, seen.start / BLOCK)
            };
            let (k, v) = both.split_at(self.block_bytes);
            let block = Block {
                shape: self.shape,
                start: block * BLOCK,
                k,
                v,
                ahead: next.as_ptr().addr().wrapping_sub(both.as_ptr().addr()),
                first_pos,
                queries: room.queries,
            };
            (self.kernel.attend)(&block, &mut running);
        }
    }

    /// Takes what the tile found in a segment to what it found in those before.
    fn put_together(&self, tile: &Tile, segment: usize, before: &mut [f32], found: &mut [f32]) {
        let mut before = Found::cut(before, tile.n_rows, self.shape);
        let found = Found::cut(found, tile.n_rows, self.shape);
        for row in 0..tile.n_rows {
            let seen = self.seen(tile, row);
            if segment == seen.start {
                before.begin(row, &found);
            } else if seen.contains(&segment) {
                before.take(row, &found);
            }
        }
    }

    /// Divides what a tile found by its weights.
    pub fn give(&self, tile: &Tile, found: &mut [f32], out: &Disjoint<'_, f32>) {
        let found = Found::cut(found, tile.n_rows, self.shape);
        for (row, total) in found.total.iter().enumerate() {
            // SAFETY: this head of this token belongs to this tile alone.
            let out = unsafe { out.part(self.at(tile, row), self.shape.head_dim) };
            let factor = 1.0 / total;
            for (out, sums) in out.chunks_mut(BLOCK).zip(found.sums[row..].iter().step_by(tile.n_rows)) {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum * factor;
                }
            }
        }
    }

    /// All of a tile, one segment behind the other.
    pub fn whole(&self, tile: &Tile, scratch: &mut [f32], out: &Disjoint<'_, f32>) {
        let (mut room, rest) = self.prepare(tile, scratch);
        let (found, rest) = rest.split_at_mut(self.shape.found_len(tile.n_rows));
        let before = &mut rest[..found.len()];
        let segments = self.segments(tile.tokens.clone());
        let alone = segments.len() == 1;
        for segment in segments {
            self.attend(tile, segment, found, &mut room);
            if !alone {
                self.put_together(tile, segment, before, found);
            }
        }
        self.give(tile, if alone { found } else { before }, out);
    }

    /// What all tiles find in some segments, on all threads, taken to what they found `before`: `(n_tiles, found_len)`. `apart`
    /// has room for each of the segments, `own` is a worker's scratch.
    pub fn some_segments<'s>(
        &self,
        pool: &Pool,
        segments: Range<usize>,
        own: &(impl Fn(usize) -> &'s mut [f32] + Sync),
        before: &mut [f32],
        apart: &mut [f32],
    ) {
        let (n, found_len) = (self.n_tiles() * segments.len(), self.found_len());
        let of = |i: usize| (i / segments.len(), segments.start + i % segments.len());
        let founds = Disjoint::new(&mut *apart);
        // Parts of neighbouring segments, so that what is asked for ahead is mostly what comes next.
        let n_parts = n.min(TASKS_PER_THREAD * pool.n_threads());
        pool.run(n_parts, |part, worker| {
            for i in part * n / n_parts..(part + 1) * n / n_parts {
                let (tile, segment) = (self.tile(of(i).0), of(i).1);
                // SAFETY: this segment of this tile belongs to this part alone.
                let found = unsafe { founds.part(i * found_len, found_len) };
                self.attend(&tile, segment, found, &mut self.prepare(&tile, own(worker)).0);
            }
        });
        for (i, found) in apart.chunks_exact_mut(found_len).take(n).enumerate() {
            let before = &mut before[of(i).0 * found_len..][..found_len];
            self.put_together(&self.tile(of(i).0), of(i).1, before, found);
        }
    }
}
