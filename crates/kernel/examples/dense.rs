//! The rate of dense products of every tier, beside its fused product instruction in a loop on registers.
//!
//! `cargo run --release -p ingle-kernel --example dense`

use std::hint::black_box;
use std::time::Instant;

use ingle_kernel::dense::{Dense, Float};
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;

/// Steps, and columns of both operands: packed, they lie in the second-level cache.
const SIZE: (usize, usize) = (256, 192);
/// Measurements, of which the fastest counts.
const ROUNDS: usize = 200;

/// Billions of multiplications and additions per second.
fn rate<T: Float + From<f32>>(dense: Dense<T>) -> f64 {
    let (n_steps, n) = SIZE;
    let (mut left, mut right) = (dense.left(n_steps, n), dense.right(n_steps, n));
    let values = |k: usize, first: usize, out: &mut [T]| out.fill(((k + first) as f32).sin().into());
    left.fill(&Pool::new(1), values);
    right.fill(&Pool::new(1), values);
    let mut out = vec![T::default(); n * n];
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        dense.add(&left.all(), &right.all(), black_box(&mut out), n);
        least = least.min(start.elapsed().as_secs_f64());
    }
    (2 * n_steps * n * n) as f64 / least / 1e9
}

fn main() {
    println!("tier      f32      f64  (GFLOP/s, one thread)");
    for name in Kernels::names().filter(|&name| name != "exact") {
        let kernels = Kernels::named(name).expect("its own name");
        println!("{name:8} {:5.1}    {:5.1}", rate(kernels.dense_f32()), rate(kernels.dense_f64()));
    }
}
