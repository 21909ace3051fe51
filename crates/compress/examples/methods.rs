//! How long the parts of compression take for a matrix of N by N weights, 3072 unless another number is given.
//!
//! `cargo run --release -p ingle-compress --example methods [N] [THREADS]`

use std::time::Instant;

use ingle_compress::linalg;
use ingle_compress::method::error::Measure;
use ingle_compress::method::feedback::{Factor, Order};
use ingle_compress::method::{Zeros, gptq, rounding};
use ingle_kernel::par::Pool;
use ingle_kernel::quant::FORMATS;

fn noise(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// What `f` gives; its time is printed, and its rate where it is known how many additions and multiplications it takes.
fn timed<T>(what: &str, ops: f64, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = f();
    let seconds = start.elapsed().as_secs_f64();
    let rate = if ops > 0.0 { format!("{:8.1} GFLOP/s", ops / seconds / 1e9) } else { String::new() };
    println!("{what:32} {seconds:8.3} s {rate}");
    out
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let (n, n_threads) = (args.next().unwrap_or(3072), args.next().unwrap_or(2));
    let (pool, n_tokens, mut state) = (Pool::new(n_threads), 2 * n, 1);
    println!("{n} x {n} weights, {n_tokens} tokens, {n_threads} threads");
    let x: Vec<f32> = (0..n_tokens * n).map(|_| noise(&mut state)).collect();
    let weights: Vec<f32> = (0..n * n).map(|_| noise(&mut state) + noise(&mut state)).collect();
    let (size, mut h) = (n as f64, vec![0.0; n * n]);
    timed("X'X", n_tokens as f64 * size * size, || linalg::gram(&mut h, &x, n, &pool));
    h.iter_mut().for_each(|v| *v *= 2.0 / n_tokens as f64);
    let importance: Vec<f32> = (0..n).map(|j| h[j * n + j] as f32).collect();
    let mut r = h.clone();
    (0..n).for_each(|j| r[j * n + j] *= 1.01);
    timed("H = R R'", size.powi(3) / 3.0, || assert!(linalg::factor(&mut r, n, &pool)));
    drop(r);
    let factor = timed("factor for feedback", 0.0, || Factor::new(&h, n, Order::Descending, &pool));
    let factor = factor.expect("products of finite numbers");
    let measure = timed("H to measure with", 0.0, || Measure::new(&h, n, &pool));
    for format in FORMATS.iter().filter(|f| f.grid.is_some() && n.is_multiple_of(f.block)) {
        println!("{}", format.name);
        let mut bytes = timed("  scales by importance", 0.0, || {
            rounding::encode_by_importance(&weights, n, format, Some(&importance), &pool)
        });
        let error = |bytes: &[u8]| {
            let mut decoded = vec![0.0; weights.len()];
            (format.dequantize)(bytes, &mut decoded);
            measure.of(&weights, &decoded, &pool)
        };
        let before = timed("  measuring", size.powi(3), || error(&bytes));
        timed("  codes by feedback", size.powi(3), || {
            gptq::choose_codes(&weights, format, &factor, Zeros::Change, &mut bytes, &pool);
        });
        println!("  error {:.3} of what it was", error(&bytes) / before);
    }
}
