//! Speed of every tile kernel: `cargo run --release -p ingle-kernel --example kernels [tier] [format] [threads]`.
//!
//! One token shows the rate at which weights are read, from memory, as the matrices exceed the caches, or with `cached` from
//! the second-level cache; more tokens show the rate of multiplications. With `packed` weights are packed for few tokens, and with
//! `one` they are multiplied with one token only; `fine` ones take a scale per 32 values where the format's is for 256.

use std::time::Instant;

use ingle_kernel::acts::Acts;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::gemm::matmul;
use ingle_kernel::mat::{Mat, Packs};
use ingle_kernel::par::Pool;
use ingle_kernel::quant::FORMATS;
use ingle_kernel::simd::Kernels;

const COLS: usize = 2048;
const IN_MEMORY: usize = 512 << 20;
const IN_CACHE: usize = 512 << 10;
const TOKENS: [usize; 8] = [1, 2, 4, 8, 16, 32, 128, 512];

fn main() {
    let (how, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|w| ["packed", "cached", "fine", "one"].contains(&w.as_str()));
    let (n_threads, wanted): (Vec<String>, Vec<String>) =
        wanted.into_iter().partition(|w| w.parse::<usize>().is_ok());
    let is = |what: &str| how.iter().any(|w| w == what);
    let n_bytes = if is("cached") { IN_CACHE } else { IN_MEMORY };
    let chosen = |name: &str, other: bool| wanted.iter().all(|w| w == name || other);
    let pool = Pool::new(n_threads.first().map_or(1, |n| n.parse().expect("parsed before")));
    println!(
        "{:8} {:6} {:>8} {}",
        "tier",
        "format",
        "GB/s @1",
        TOKENS.map(|n| format!("{:>9}", format!("GMAC/s @{n}"))).join(" ")
    );
    for tier in Kernels::names() {
        let kernels = Kernels::named(tier).expect("listed");
        for &format in FORMATS {
            let is_tier = |w: &str| Kernels::names().any(|n| n == w);
            let skip = wanted
                .iter()
                .any(|w| if is_tier(w) { w != tier } else { !w.eq_ignore_ascii_case(format.name) });
            if skip || !chosen(tier, true) {
                continue;
            }
            let rows = n_bytes / format.row_bytes(COLS) / 16 * 16;
            // Any bytes do, as long as the scales are finite: 0x11 makes small numbers in every format.
            let mat = Mat::new(
                &kernels,
                format,
                rows,
                COLS,
                Bytes::new(vec![0x11u8; rows * format.row_bytes(COLS)]),
            );
            print!("{tier:8} {:6}", format.name);
            let n_widths = if is("one") { 1 } else { TOKENS.len() };
            for (i, n) in TOKENS.into_iter().take(n_widths).enumerate() {
                let rows = if n <= 16 { rows } else { (rows / 32).next_multiple_of(64).min(rows) };
                let part = mat.rows_view(0..rows);
                let part = if is("packed") { part.packable(Packs::After(1)) } else { part };
                let mut acts = Acts::with_capacity(n, COLS);
                let x: Vec<f32> = (0..n * COLS).map(|i| (i as f32).sin()).collect();
                let form = if is("fine") { mat.kernel().form.finer() } else { mat.kernel().form };
                acts.set(&pool, form, &x, COLS, kernels.ops().quantize);
                let mut out = vec![0.0; n * part.rows()];
                // The first finds the weights as they are, the second packs them.
                (0..2).for_each(|_| matmul(&pool, &acts, &part, &mut out));
                let (begin, mut seconds) = (Instant::now(), f64::INFINITY);
                while begin.elapsed().as_secs_f64() < 0.3 {
                    let start = Instant::now();
                    matmul(&pool, &acts, &part, &mut out);
                    seconds = seconds.min(start.elapsed().as_secs_f64());
                }
                if i == 0 {
                    print!(" {:8.1}", part.n_bytes() as f64 / seconds / 1e9);
                }
                print!(" {:9.1} ", (n * part.rows() * COLS) as f64 / seconds / 1e9);
            }
            println!();
        }
    }
}
