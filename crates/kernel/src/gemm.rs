//! Matrix products: activations of n tokens times one or several weight matrices.
//!
//! Work is split over tiles of rows, never over the inner dimension, so threads meet only at the end and no sum depends on
//! their number. A tile of weights is read once from memory and used for all tokens of the step: first from memory, then
//! from cache. The tile itself is one call of the tier's kernel.

use crate::acts::Acts;
use crate::mat::Mat;
use crate::par::{Disjoint, Pool};
use crate::simd::parts;

/// Rows of a tile are a multiple of this, but for the last rows of a matrix.
pub const TILE_ROWS: usize = 32;
/// The most tokens of a kernel call.
pub const TILE_TOKENS: usize = 128;
/// The most results of a kernel call: they fit a small buffer on the stack.
const TILE_SUMS: usize = TILE_ROWS * TILE_TOKENS;
/// The most rows of a kernel call. Fewer tokens take more rows, so that what begins with a call is soon forgotten.
const TILE_ROWS_MAX: usize = 256;

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
    let tile_rows = (TILE_SUMS / n_tokens.clamp(1, TILE_TOKENS)).min(TILE_ROWS_MAX) / TILE_ROWS * TILE_ROWS;
    let mut tiles_before = [0; N];
    let mut n_tiles = 0;
    let shared: [(&Mat, Disjoint<'_, f32>); N] = {
        let mut i = 0;
        products.each_mut().map(|p| {
            assert_eq!(acts.dim(), p.mat.cols(), "activations of {} for {} inputs", acts.dim(), p.mat.cols());
            assert_eq!(acts.form(), p.mat.kernel().form, "activations in the form the matrix takes");
            assert_eq!(p.out.len(), n_tokens * p.mat.rows());
            p.mat.get_ready(pool, n_tokens);
            tiles_before[i] = n_tiles;
            n_tiles += p.mat.rows().div_ceil(tile_rows);
            i += 1;
            (p.mat, Disjoint::new(&mut *p.out))
        })
    };
    pool.run(n_tiles, |tile, _| {
        let which = tiles_before.iter().rposition(|&before| before <= tile).expect("the first starts at 0");
        let (mat, out) = &shared[which];
        let first = (tile - tiles_before[which]) * tile_rows;
        let n_rows = tile_rows.min(mat.rows() - first);
        let (multiply, weights) = mat.tile(first..first + n_rows);
        if n_tokens == 1 {
            // SAFETY: rows `first..first + n_rows` belong to this tile alone.
            let out = unsafe { out.part(first, n_rows) };
            multiply(mat.format(), weights, n_rows, acts, 0..1, out);
            return;
        }
        let mut sums = [0f32; TILE_SUMS];
        for (group, n) in parts(acts.n_groups(), TILE_TOKENS / acts.form().group) {
            let tokens = acts.tokens(group..group + n);
            let sums = &mut sums[..tokens.len() * n_rows];
            multiply(mat.format(), weights, n_rows, acts, group..group + n, sums);
            for (t, sums) in tokens.zip(sums.chunks_exact(n_rows)) {
                // SAFETY: rows `first..first + n_rows` of token `t` belong to this tile alone.
                unsafe { out.part(t * mat.rows() + first, n_rows) }.copy_from_slice(sums);
            }
        }
    });
    products.map(|p| p.out)
}
