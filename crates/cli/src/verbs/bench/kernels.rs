//! `ingle bench --kernels`: every format's matrix kernel on every tier this CPU has.

use std::io::Write;
use std::time::{Duration, Instant};

use ingle_engine::sample::Rng;
use ingle_kernel::acts::Acts;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::gemm::matmul;
use ingle_kernel::mat::Mat;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::{FORMATS, Format};
use ingle_kernel::simd::Kernels;
use serde::Serialize;

use crate::env::{Env, Progress};
use crate::exit::{Exit, Failure};
use crate::verbs::print_json;

/// Weights of the matrix: 2048 rows of 2048 are what a layer of a one-billion model has, and more than L2 holds.
const N: usize = 2048;
const TOKENS: [usize; 2] = [1, 64];
const LEAST_TIME: Duration = Duration::from_millis(60);

#[derive(Serialize)]
struct Row {
    format: &'static str,
    tier: &'static str,
    n_tokens: usize,
    n_threads: usize,
    us: f64,
    weight_gb_per_s: f64,
    gflops: f64,
}

pub fn run(env: &Env, json: bool) -> Result<Exit, Failure> {
    let pool = Pool::new(env.n_threads());
    let mut rng = Rng::new(1);
    let mut values =
        |n: usize| -> Vec<f32> { (0..n).map(|_| rng.below(2001) as f32 / 1000.0 - 1.0).collect() };
    let (weights, x) = (values(N * N), values(N * TOKENS[1]));
    let names: Vec<&str> = match env.settings.text("tier") {
        Some(tier) => vec![tier],
        None => Kernels::names().collect(),
    };
    let mut progress = Progress::new(env);
    let mut rows = Vec::new();
    for format in FORMATS {
        let Some(bytes) = encoded(format, &weights) else { continue };
        for name in &names {
            let kernels = Kernels::named(name).expect("listed by this CPU");
            let mat = Mat::new(&kernels, format, N, N, bytes.clone());
            for n_tokens in TOKENS {
                progress.show(format_args!("{} {name} {n_tokens}", format.name));
                rows.push(measure(&pool, &kernels, &mat, &x[..n_tokens * N]));
            }
        }
    }
    progress.clear();
    if json {
        print_json(&rows)?;
        return Ok(Exit::OK);
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:8} {:10} {:>6} {:>10} {:>12} {:>10}",
        "format", "tier", "tokens", "us", "weights GB/s", "GFLOP/s"
    )?;
    for r in &rows {
        writeln!(
            out,
            "{:8} {:10} {:>6} {:>10.1} {:>12.2} {:>10.2}",
            r.format, r.tier, r.n_tokens, r.us, r.weight_gb_per_s, r.gflops
        )?;
    }
    Ok(Exit::OK)
}

/// The matrix in `format`; `None` where we can't encode it.
fn encoded(format: &Format, weights: &[f32]) -> Option<Bytes> {
    let mut bytes = vec![0; weights.len() / format.block * format.bytes];
    (format.quantize?)(weights, None, &mut bytes);
    Some(Bytes::new(bytes))
}

/// The best time of several products, the quantisation of the activations included.
fn measure(pool: &Pool, kernels: &Kernels, mat: &Mat, x: &[f32]) -> Row {
    let n_tokens = x.len() / N;
    let mut acts = Acts::with_capacity(n_tokens, N);
    let mut out = vec![0.0; n_tokens * N];
    let mut best = f64::INFINITY;
    let start = Instant::now();
    while start.elapsed() < LEAST_TIME {
        let one = Instant::now();
        acts.set(&pool, mat.kernel().form, x, N, kernels.ops().quantize);
        matmul(pool, &acts, mat, &mut out);
        best = best.min(one.elapsed().as_secs_f64());
    }
    std::hint::black_box(&out);
    Row {
        format: mat.format().name,
        tier: kernels.name(),
        n_tokens,
        n_threads: pool.n_threads(),
        us: best * 1e6,
        weight_gb_per_s: mat.n_bytes() as f64 / best / 1e9,
        gflops: 2.0 * (N * N * n_tokens) as f64 / best / 1e9,
    }
}
