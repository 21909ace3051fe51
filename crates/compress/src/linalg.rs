//! placeholder
use ingle_kernel::par::Pool;
/// Adds X'X.
pub fn gram(sums: &mut [f64], x: &[f32], cols: usize, pool: &Pool) {
    pool.for_rows(sums, cols, |i, row| {
        for x in x.chunks_exact(cols) {
            for j in i..cols {
                row[j] += f64::from(x[i]) * f64::from(x[j]);
            }
        }
    });
}
