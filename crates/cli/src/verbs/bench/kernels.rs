//! `ingle bench --kernels`: every format's matrix kernel on every tier this CPU has, beside the limits.
//!
//! A kernel multiplies matrices that lie one behind the other in more memory than the caches hold, as the layers of a model
//! do: so a single token shows how fast weights stream, many tokens how fast they are multiplied. Activations are quantised
//! before, outside the time. All of a format and tier, and both limits, are sampled in turn, several times over, and a share
//! is of the limit sampled in the same round. Weights are one value throughout; no kernel's speed depends on them.

use std::io::Write;
use std::time::{Duration, Instant};

use ingle_kernel::acts::Acts;
use ingle_kernel::gemm::matmul;
use ingle_kernel::mat::{Mat, Packs};
use ingle_kernel::par::Pool;
use ingle_kernel::quant::{self, Format};
use ingle_kernel::simd::{Kernels, WeightOrder};
use serde::Serialize;

use super::floors::Floors;
use super::limits::{self, Memory};
use super::table::{self, Column, figure, maybe, percent};
use crate::env::{Env, Progress};
use crate::exit::{Exit, Failure};
use crate::median::median;
use crate::verbs::print_json;

/// Columns of a matrix, those of a model of a billion weights.
const COLS: usize = 2048;
/// Tokens of a product, and rows of its matrices: fewer where a product takes longer.
const SHAPES: [(usize, usize); 4] = [(1, 8192), (8, 8192), (32, 4096), (128, 2048)];
/// Rounds of samples.
const ROUNDS: usize = 5;
/// Where a round takes longer, it is the last.
const ROUND_TIME: Duration = Duration::from_millis(300);
/// The least time of a sample; it ends with a product.
const SAMPLE_TIME: Duration = Duration::from_millis(4);

/// A format on a tier for some tokens; what could not be measured is absent.
#[derive(Debug, Serialize)]
struct Row {
    format: &'static str,
    tier: &'static str,
    n_threads: usize,
    n_tokens: usize,
    /// Of one product.
    us: f64,
    weight_gb_per_s: f64,
    gop_per_s: f64,
    read_limit_gb_per_s: f64,
    share_of_read: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_limit_gop_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_instruction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_peak: Option<f64>,
}

/// Measures `formats` on `threads` and writes what came out; fails where the tier a model would get falls below `floors`.
pub fn run(
    env: &Env,
    threads: &[usize],
    formats: &[&str],
    floors: &Floors,
    json: bool,
) -> Result<Exit, Failure> {
    let chosen = env.settings.text("tier");
    let tiers: Vec<&str> = chosen.map_or_else(|| Kernels::names().collect(), |tier| vec![tier]);
    let mut progress = Progress::new(env);
    let mut rows = Vec::new();
    for &n_threads in threads {
        let pool = Pool::new(n_threads);
        let no_room = || Failure::failed("no memory for matrices larger than the caches");
        let memory = Memory::new(&pool).ok_or_else(no_room)?;
        for format in formats.iter().filter_map(|name| quant::by_name(name)) {
            for tier in &tiers {
                progress.show(format_args!("{} {tier}, {n_threads} threads", format.name));
                let kernels = Kernels::named(tier).expect("listed by this CPU");
                let kernels = match env.settings.text("pack") {
                    Some("off") => kernels,
                    _ => kernels.packing(WeightOrder::Packed),
                };
                rows.extend(measure(&pool, &memory, &kernels, format));
            }
        }
    }
    progress.clear();
    if json {
        print_json(&rows)?;
    } else {
        print_table(&rows)?;
    }
    let used = chosen.unwrap_or(Kernels::detect().name());
    let of = |n_tokens: usize| rows.iter().filter(move |r| r.tier == used && r.n_tokens == n_tokens);
    let name = |r: &Row| format!("{} {}", r.format, r.tier);
    floors.check(
        of(SHAPES[0].0).map(|r| (name(r), Some(r.share_of_read))),
        of(SHAPES[3].0).map(|r| (name(r), r.share_of_peak)),
    )?;
    Ok(Exit::OK)
}

/// Products of one number of tokens, each with the next of the matrices.
struct Cell {
    acts: Acts,
    out: Vec<f32>,
    mats: Vec<Mat>,
    next: usize,
    /// Per round: seconds of a product, bytes read per second, operations per second at the peak.
    rounds: Vec<(f64, f64, Option<f64>)>,
}

impl Cell {
    fn new(pool: &Pool, kernels: &Kernels, all: &Mat, n_tokens: usize, rows: usize) -> Self {
        let mats = (0..all.rows() / rows).map(|i| {
            let mat = all.rows_view(i * rows..(i + 1) * rows);
            if kernels.packs() == WeightOrder::Packed { mat.packable(Packs::After(1)) } else { mat }
        });
        let mats: Vec<Mat> = mats.collect();
        let x: Vec<f32> = (0..n_tokens * COLS).map(|i| (i as f32).sin()).collect();
        let mut acts = Acts::with_capacity(n_tokens, COLS);
        acts.set(pool, all.kernel().form, &x, COLS, kernels.ops().quantize);
        Self { acts, out: vec![0.0; n_tokens * rows], mats, next: 0, rounds: Vec::new() }
    }

    /// Seconds of a product, the mean of as many as take [`SAMPLE_TIME`].
    fn sample(&mut self, pool: &Pool) -> f64 {
        let (start, mut n) = (Instant::now(), 0);
        while n == 0 || start.elapsed() < SAMPLE_TIME {
            matmul(pool, &self.acts, &self.mats[self.next], &mut self.out);
            self.next = (self.next + 1) % self.mats.len();
            n += 1;
        }
        std::hint::black_box(&self.out);
        start.elapsed().as_secs_f64() / f64::from(n)
    }
}

/// All shapes of a format on a tier, sampled in turn with the limits.
fn measure(pool: &Pool, memory: &Memory, kernels: &Kernels, format: &'static Format) -> Vec<Row> {
    let n_rows = limits::MEMORY_BYTES / format.row_bytes(COLS);
    let bytes = memory.bytes().get(0..n_rows * format.row_bytes(COLS)).expect("so many rows fit");
    let all = Mat::new(kernels, format, n_rows, COLS, bytes);
    let mut cells = SHAPES.map(|(n_tokens, rows)| Cell::new(pool, kernels, &all, n_tokens, rows));
    let peak = kernels.peak(all.kernel().form.act);
    for round in 0..=ROUNDS {
        let start = Instant::now();
        let read = memory.read(pool);
        let most = peak.map(|peak| limits::multiplied(pool, peak));
        for cell in &mut cells {
            let seconds = cell.sample(pool);
            cell.rounds.push((seconds, read, most));
        }
        let is_slow = start.elapsed() > ROUND_TIME;
        // The first round warms up, and counts only where it is the last.
        if round == 0 && !is_slow {
            cells.iter_mut().for_each(|cell| cell.rounds.clear());
        }
        if is_slow {
            break;
        }
    }
    let row = |(cell, (n_tokens, rows)): (&Cell, (usize, usize))| {
        let n_bytes = cell.mats[0].n_bytes() as f64;
        let ops = 2.0 * (rows * COLS * n_tokens) as f64;
        let median_of = |of: &dyn Fn(&(f64, f64, Option<f64>)) -> f64| median(cell.rounds.iter().map(of));
        let seconds = median_of(&|r| r.0);
        let of_peak = |of: &dyn Fn(f64, f64) -> f64| {
            peak.map(|_| median_of(&|&(seconds, _, most)| of(seconds, most.unwrap_or(f64::NAN))))
        };
        Row {
            format: format.name,
            tier: kernels.name(),
            n_threads: pool.n_threads(),
            n_tokens,
            us: seconds * 1e6,
            weight_gb_per_s: n_bytes / seconds / 1e9,
            gop_per_s: ops / seconds / 1e9,
            read_limit_gb_per_s: median_of(&|r| r.1) / 1e9,
            share_of_read: median_of(&|r| n_bytes / r.0 / r.1),
            peak_limit_gop_per_s: of_peak(&|_, most| most / 1e9),
            peak_instruction: peak.map(|peak| peak.instruction),
            share_of_peak: of_peak(&|seconds, most| ops / seconds / most),
        }
    };
    cells.iter().zip(SHAPES).map(row).collect()
}

fn print_table(rows: &[Row]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    // A line for all shapes of a format on a tier.
    let lines: Vec<&[Row]> = rows.chunks(SHAPES.len()).collect();
    let columns: [Column<&[Row]>; 10] = [
        Column { head: "format", cell: |r| r[0].format.to_owned() },
        Column { head: "tier", cell: |r| r[0].tier.to_owned() },
        Column { head: "thr", cell: |r| r[0].n_threads.to_string() },
        Column { head: "GB/s @1", cell: |r| figure(r[0].weight_gb_per_s) },
        Column { head: "read", cell: |r| percent(Some(r[0].share_of_read)) },
        Column { head: "GOP/s @8", cell: |r| figure(r[1].gop_per_s) },
        Column { head: "@32", cell: |r| figure(r[2].gop_per_s) },
        Column { head: "@128", cell: |r| figure(r[3].gop_per_s) },
        Column { head: "peak", cell: |r| percent(r[3].share_of_peak) },
        Column { head: "limit", cell: |r| maybe(r[3].peak_limit_gop_per_s) },
    ];
    table::write(&mut out, &columns, &lines)?;
    let reads = || rows.iter().map(|r| r.read_limit_gb_per_s);
    let (least, most) = (reads().fold(f64::INFINITY, f64::min), reads().fold(0.0, f64::max));
    writeln!(out, "read: share of the read bandwidth, {} to {} GB/s, @1", figure(least), figure(most))?;
    writeln!(out, "peak: share of the limit, in GOP/s, @128")?;
    Ok(())
}
