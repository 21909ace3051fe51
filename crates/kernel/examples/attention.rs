//! Speed of attention: `cargo run --release -p ingle-kernel --example attention [tier] [format] [threads=1] [positions=2048]`.
//!
//! One token at the end of a long context shows the rate at which keys and values are read (from memory: the caches of the
//! layers exceed the CPU's), a prompt the rate of multiplications.

use std::time::Instant;

use ingle_kernel::attn::{BLOCK, Cache, FORMATS, Pages, Queries, Shape, Table, attend, page_bytes};
use ingle_kernel::par::Pool;
use ingle_kernel::quant;
use ingle_kernel::simd::Kernels;

/// Caches taken in turn, as by the layers of a model.
const LAYERS: usize = 8;
/// Query heads, heads of keys and values, values per head.
const SHAPES: [(usize, usize, usize); 3] = [(16, 8, 128), (32, 8, 64), (8, 1, 256)];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_tier = |w: &str| Kernels::names().any(|n| n == w);
    let chosen = |name: &str, tiers: bool| {
        let mut of_kind = wanted.iter().filter(|w| !w.contains('=') && is_tier(w) == tiers).peekable();
        of_kind.peek().is_none() || of_kind.any(|w| w == name)
    };
    let number = |name: &str, default: usize| {
        let value = wanted.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
        value.map_or(default, |value| value.parse().expect("a number"))
    };
    let (pool, n_pos) = (Pool::new(number("threads", 1)), number("positions", 2048).max(256));
    println!("{:8} {:6} {:>14} {:>8} {:>11}", "tier", "format", "heads", "GB/s @1", "GMAC/s @256");
    for tier in Kernels::names().filter(|t| *t != "exact" && chosen(t, true)) {
        let kernels = Kernels::named(tier).expect("listed");
        for format in FORMATS.iter().filter(|f| chosen(f, false)).filter_map(|f| quant::by_name(f)) {
            for (n_heads, n_kv_heads, head_dim) in SHAPES {
                let scale = 0.1;
                let shape = Shape { n_heads, n_kv_heads, head_dim, scale, window: None, softcap: None };
                let (n_blocks, page) = (n_pos.div_ceil(BLOCK), page_bytes(format, n_kv_heads, head_dim));
                let pages = Pages::new(LAYERS * n_blocks, page);
                let mut caches: Vec<_> = (0..LAYERS).map(|_| Table::new(pages.clone(), n_blocks)).collect();
                // Block for block, as a model fills them.
                for (block, table) in (0..n_blocks).flat_map(|block| (0..LAYERS).map(move |i| (block, i))) {
                    let mut page = pages.take().expect("room for all");
                    // Any bytes do, as long as they are finite: 0x11 makes small numbers in every format.
                    page.bytes_mut().expect("a page of its own").fill(0x11);
                    caches[table].put(block, page);
                }
                let mut scratch = vec![0.0; pool.n_threads() * shape.scratch_len()];
                let mut time = |n_tokens: usize| {
                    let q = vec![0.1; n_tokens * n_heads * head_dim];
                    let mut out = vec![0.0; q.len()];
                    let (begin, mut seconds) = (Instant::now(), f64::INFINITY);
                    while begin.elapsed().as_secs_f64() < 0.3 {
                        let start = Instant::now();
                        for pages in &caches {
                            let cache = Cache { format, pages };
                            let queries = Queries { first_pos: n_pos - n_tokens, q: &q, sinks: None };
                            attend(&pool, &kernels, shape, cache, queries, &mut scratch, &mut out);
                        }
                        seconds = seconds.min(start.elapsed().as_secs_f64() / LAYERS as f64);
                    }
                    seconds
                };
                let (one, many) = (time(1), time(256));
                let macs = 2 * n_heads * head_dim * 256 * (n_pos - 128);
                println!(
                    "{tier:8} {:6} {n_heads:3} / {n_kv_heads} of {head_dim:3} {:8.1} {:11.1}",
                    format.name,
                    (n_blocks * page) as f64 / one / 1e9,
                    macs as f64 / many / 1e9
                );
            }
        }
    }
}
