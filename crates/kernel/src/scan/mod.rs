//! Recurrent mixers: heads that remember a matrix and change it with every token.
//!
//! A head's state is `(rows, columns)`, and a column never meets another one: a vector lane is a column, sums over the rows
//! run in rising order, and tokens are taken one after the other. So neither the CPU tier nor the number of threads nor
//! the chunk shows in a single bit. Threads share the heads; a head takes all tokens of a step in turn while its state is
//! in cache. To add one write its file, and its step's line in [`crate::ops::Ops`] and the tiers.
//!
//! There is no chunked form that turns the scan into matrix products: its sums would depend on where chunks begin.

mod delta;
mod selective;
mod ssm;

pub(crate) use delta::delta_step;
pub use delta::{Delta, DeltaShape, DeltaStep, KeyHeads, delta};
pub(crate) use selective::selective_step;
pub use selective::{Selective, SelectiveShape, SelectiveStep, selective};
pub(crate) use ssm::ssm_step;
pub use ssm::{Ssm, SsmShape, SsmStep, ssm};

/// Columns that run side by side in registers; others run alone, to the same bits.
const STRIP: usize = 32;

#[cfg(test)]
mod tests {
    use crate::par::Pool;
    use crate::simd::Kernels;

    pub(super) fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// Runs `scan(pool, kernels, tokens, state, out)` in every tier, for several threads and chunks, and compares the bits.
    pub(super) fn check(
        n_tokens: usize,
        (state_len, inner): (usize, usize),
        expected: &[f64],
        scan: impl Fn(&Pool, &Kernels, std::ops::Range<usize>, &mut [f32], &mut [f32]),
    ) {
        let mut first: Option<Vec<f32>> = None;
        for name in Kernels::names() {
            let kernels = Kernels::named(name).unwrap();
            for (n_threads, chunk) in [(1, n_tokens), (1, 1), (3, 7)] {
                let pool = Pool::new(n_threads);
                let (mut state, mut out) = (vec![0.0; state_len], vec![f32::NAN; n_tokens * inner]);
                for (i, out) in out.chunks_mut(chunk * inner).enumerate() {
                    let tokens = i * chunk..i * chunk + out.len() / inner;
                    scan(&pool, &kernels, tokens, &mut state, out);
                }
                for (a, b) in out.iter().zip(expected) {
                    assert!((f64::from(*a) - b).abs() < 3e-6 * b.abs().max(1.0), "{name}: {a} {b}");
                }
                out.extend(state);
                assert!(*first.get_or_insert_with(|| out.clone()) == out, "{name}, {n_threads}, {chunk}");
            }
        }
    }
}
