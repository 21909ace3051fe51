//! Every block format: its size, how well it is encoded beside ggml's own encoder, and how fast.
//!
//! `cargo run --release -p ingle-kernel --example formats [NAME...]`
//!
//! Errors are root mean squares relative to the values', on the reference data beside the repository if it is there and on
//! the tests' own otherwise (ggml's blocks come with that data), and on many normally distributed values. Speeds are millions
//! of those a second on one thread.

use std::fs;
use std::path::Path;
use std::time::Instant;

use ingle_kernel::quant::{FORMATS, Format};

/// Values per speed measurement.
const N: usize = 1 << 18;

fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = [root.join("../../../shared/golden/quant"), root.join("tests/data")];
    let data = data.iter().find(|dir| dir.is_dir()).expect("the tests have data");
    let source = floats(&data.join("source.f32")).expect("the data has a source");
    let normal = normal();
    println!("{} values of {}", source.len(), data.display());
    println!(
        "{:8} {:>6} {:>9} {:>9} {:>7} {:>9} {:>8} {:>8}",
        "format", "bits", "ours", "ggml's", "ratio", "normal", "enc M/s", "dec M/s"
    );
    for format in FORMATS {
        if !only.is_empty() && !only.iter().any(|name| name == format.name) {
            continue;
        }
        let bits = format.bytes as f64 * 8.0 / format.block as f64;
        print!("{:8} {bits:>6.3}", format.name);
        let ggml = floats(&data.join(format!("{}.f32", format.name))).map(|v| relative_rmse(&source, &v));
        match encoded(format, &source) {
            Some(bytes) => print!(" {:>9.5}", relative_rmse(&source, &decoded(format, &bytes))),
            None => print!(" {:>9}", "-"),
        }
        match ggml {
            Some(ggml) => print!(" {ggml:>9.5}"),
            None => print!(" {:>9}", "-"),
        }
        match (encoded(format, &source), ggml) {
            (Some(bytes), Some(ggml)) => {
                print!(" {:>7.4}", relative_rmse(&source, &decoded(format, &bytes)) / ggml);
            }
            _ => print!(" {:>7}", "-"),
        }
        let bytes = match encoded(format, &normal) {
            Some(bytes) => {
                print!(" {:>9.5}", relative_rmse(&normal, &decoded(format, &bytes)));
                print!(" {:>8.1}", speed(|| drop(encoded(format, &normal))));
                bytes
            }
            None => {
                print!(" {:>9} {:>8}", "-", "-");
                vec![0x55; format.row_bytes(N)]
            }
        };
        println!(" {:>8.0}", speed(|| drop(decoded(format, &bytes))));
    }
}

fn floats(path: &Path) -> Option<Vec<f32>> {
    let bytes = fs::read(path).ok()?;
    Some(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

fn encoded(format: &Format, x: &[f32]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; format.row_bytes(x.len())];
    (format.quantize?)(x, None, &mut bytes);
    Some(bytes)
}

fn decoded(format: &Format, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / format.bytes * format.block];
    (format.dequantize)(bytes, &mut out);
    out
}

fn relative_rmse(truth: &[f32], other: &[f32]) -> f64 {
    let error: f64 = truth.iter().zip(other).map(|(&t, &o)| (f64::from(t) - f64::from(o)).powi(2)).sum();
    let power: f64 = truth.iter().map(|&t| f64::from(t).powi(2)).sum();
    (error / power).sqrt()
}

/// The best of several runs, in millions of values a second.
fn speed(run: impl Fn()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed().as_secs_f64() < 0.2 {
        let one = Instant::now();
        run();
        best = best.min(one.elapsed().as_secs_f64());
    }
    N as f64 / best / 1e6
}

/// Close to a normal distribution: sums of 12 uniform numbers, by a linear congruential generator.
fn normal() -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..N).map(|_| 0.02 * ((0..12).map(|_| uniform()).sum::<f32>() - 6.0)).collect()
}
