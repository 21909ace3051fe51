//! Matrix products: activations of n tokens times one or several weight matrices.
//!
//! Work is split over rows, never over the inner dimension, so threads meet only at the end and no sum depends on their
//! number. A tile of rows is read once from memory and used for all tokens of the step: first from memory, then from cache. The
//! tile itself is one call of the tier's kernel, which writes its results where they belong.
//!
//! Few tokens are bound by memory, which is read fastest in long stretches; so threads begin with large tiles, of which half of
//! the rows are made, and end with small ones, so that they end together.

use std::ops::Range;

use crate::acts::Acts;
use crate::mat::Mat;
use crate::par::{Disjoint, Pool};
use crate::simd::parts;

/// Rows of a tile are a multiple of this, but for the last rows of a matrix.
pub const TILE_ROWS: usize = 32;
/// The most tokens of a kernel call.
pub const TILE_TOKENS: usize = 512;
/// Rows of a tile of many tokens, and of the last tiles of few.
const SMALL_TILE: usize = 2 * TILE_ROWS;
/// The most tokens that are bound by memory.
const FEW_TOKENS: usize = 16;

/// One product of a step: `out` `(n_tokens, mat.rows())` = activations `(n_tokens, mat.cols())` x `mat` transposed.
#[derive(Debug)]
pub struct Product<'a> {
    /// The weights.
    pub mat: &'a Mat,
    /// Where the results go. `(n_tokens, rows)`
    pub out: &'a mut [f32],
}

/// Multiplies `acts` with one matrix.
pub fn matmul(pool: &Pool, acts: &Acts, mat: &Mat, out: &mut [f32]) {
    matmul_all(pool, acts, [Product { mat, out }]);
}

/// Multiplies `acts` with several matrices that share it (q, k, v; gate, up) in one parallel loop and hands
/// their results back.
///
/// # Panics
/// When a shape does not fit, or when a matrix takes another form of activations than `acts` holds.
pub fn matmul_all<'a, const N: usize>(
    pool: &Pool,
    acts: &Acts,
    mut products: [Product<'a>; N],
) -> [&'a mut [f32]; N] {
    let n_tokens = acts.n_tokens();
    let mut n_rows = 0;
    let shared: [(Range<usize>, &Mat, Disjoint<'_, f32>); N] = products.each_mut().map(|p| {
        assert_eq!(acts.dim(), p.mat.cols(), "activations of {} for {} inputs", acts.dim(), p.mat.cols());
        assert!(p.mat.kernel().takes(acts.form()), "activations in a form the matrix takes");
        assert_eq!(p.out.len(), n_tokens * p.mat.rows());
        p.mat.get_ready(pool, n_tokens);
        let first = n_rows;
        n_rows += p.mat.rows().next_multiple_of(TILE_ROWS);
        (first..first + p.mat.rows(), p.mat, Disjoint::new(&mut *p.out))
    });
    let is_few = n_tokens == 1 || (n_tokens <= FEW_TOKENS && acts.form().group > 1);
    let tiles = if is_few { Tiles::few_tokens(n_rows, pool.n_threads()) } else { Tiles::small(n_rows) };
    pool.run(tiles.len(), |i, _| {
        let tile = tiles.rows(i);
        for (rows, mat, out) in &shared {
            let (first, end) = (tile.start.max(rows.start), tile.end.min(rows.end));
            if first >= end {
                continue;
            }
            let (first, n) = (first - rows.start, end - first);
            let (multiply, weights) = mat.tile(first..first + n);
            for (group, n_groups) in parts(acts.n_groups(), TILE_TOKENS / acts.group_max()) {
                let groups = group..group + n_groups;
                // SAFETY: rows of weights, which are columns of results, belong to one tile alone, and groups follow each other.
                let mut out = unsafe { out.columns(acts.tokens(groups.clone()), mat.rows(), first, n) };
                multiply(mat.format(), weights, acts, groups, &mut out);
            }
        }
    });
    products.map(|p| p.out)
}

/// Rows in tiles, in the order in which threads take them: one for each thread of a half of all, one of a quarter, then small
/// ones.
#[derive(Debug, Clone, Copy)]
struct Tiles {
    n_rows: usize,
    n_threads: usize,
    large: [usize; 2],
}

impl Tiles {
    fn small(n_rows: usize) -> Self {
        Self { n_rows, n_threads: 1, large: [0; 2] }
    }

    fn few_tokens(n_rows: usize, n_threads: usize) -> Self {
        if n_threads == 1 {
            return Self { n_rows, n_threads, large: [n_rows, 0] };
        }
        let large = [2, 4].map(|part| n_rows / (part * n_threads) / TILE_ROWS * TILE_ROWS);
        Self { n_rows, n_threads, large: large.map(|rows| if rows > SMALL_TILE { rows } else { 0 }) }
    }

    fn n_large(self) -> [usize; 2] {
        self.large.map(|rows| if rows > 0 { self.n_threads } else { 0 })
    }

    fn in_large(self) -> usize {
        self.large.iter().sum::<usize>() * self.n_threads
    }

    fn len(self) -> usize {
        self.n_large().iter().sum::<usize>() + (self.n_rows - self.in_large()).div_ceil(SMALL_TILE)
    }

    fn rows(self, i: usize) -> Range<usize> {
        let [n_first, n_second] = self.n_large();
        let (first, n) = if i < n_first {
            (i * self.large[0], self.large[0])
        } else if i < n_first + n_second {
            (n_first * self.large[0] + (i - n_first) * self.large[1], self.large[1])
        } else {
            (self.in_large() + (i - n_first - n_second) * SMALL_TILE, SMALL_TILE)
        };
        first..self.n_rows.min(first + n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_row_once_and_begin_with_a_strip() {
        for n_threads in [1, 2, 3, 8, 100] {
            for n_rows in [1, 31, 64, 100, 1024, 3000, 151_936] {
                for tiles in [Tiles::small(n_rows), Tiles::few_tokens(n_rows, n_threads)] {
                    let ends = (0..tiles.len()).fold(0, |end, i| {
                        let rows = tiles.rows(i);
                        assert!(rows.start == end && rows.end > end && rows.start.is_multiple_of(TILE_ROWS));
                        rows.end
                    });
                    assert_eq!(ends, n_rows, "{n_threads} threads: {tiles:?}");
                }
            }
        }
    }
}
