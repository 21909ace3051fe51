//! How fast kernels and models are here: what a search weighs formats by, and holds its choice to.
//!
//! Times are the least of several rounds: other programs make them longer and nothing makes them shorter. Matrices of a kernel lie one
//! behind the other in as much memory as the model would take, up to more than caches hold, so small models are timed from
//! caches and large ones from memory, as they will run. Their bytes are written, not zeros that the system has: of those there is
//! one page for all, and it never leaves the caches.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ingle_compress::quantize::PATTERN;
use ingle_compress::search::table::Product;
use ingle_engine::session::Session;
use ingle_kernel::acts::Acts;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::gemm::matmul;
use ingle_kernel::mat::{Mat, Packs};
use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;
use ingle_kernel::simd::{Kernels, WeightOrder};

use crate::exit::Failure;

/// Memory that is more than caches hold.
const MEMORY_BYTES: usize = 64 << 20;
/// How long a kernel is timed, and how often at least.
const KERNEL_TIME: Duration = Duration::from_millis(25);
const PASSES_MIN: usize = 3;
/// Rounds of two models in turn.
const ROUNDS: usize = 9;
/// About how long a round of one model takes.
const ROUND_TIME: Duration = Duration::from_millis(150);

/// Times kernels with one token, each product and format once.
pub struct KernelTimes<'a> {
    pool: &'a Pool,
    kernels: &'a Kernels,
    /// Weights of the whole model.
    n_values: usize,
    known: HashMap<(&'static str, Product), f64>,
}

impl<'a> KernelTimes<'a> {
    pub fn new(pool: &'a Pool, kernels: &'a Kernels, n_values: usize) -> Self {
        Self { pool, kernels, n_values, known: HashMap::new() }
    }

    /// Seconds of `product` with a matrix of `format`.
    pub fn seconds(&mut self, format: &'static Format, product: Product) -> f64 {
        if let Some(&known) = self.known.get(&(format.name, product)) {
            return known;
        }
        let seconds = self.measure(format, product);
        self.known.insert((format.name, product), seconds);
        seconds
    }

    fn measure(&self, format: &'static Format, product: Product) -> f64 {
        let Product { rows, cols, is_head } = product;
        let n = (self.n_values / (rows * cols)).min(MEMORY_BYTES / (rows * format.row_bytes(cols))).max(1);
        // The speed of no kernel depends on what its weights are.
        let bytes = Bytes::new(vec![PATTERN; n * rows * format.row_bytes(cols)]);
        let all = Mat::new(self.kernels, format, n * rows, cols, bytes);
        let mat = |i: usize| {
            let mat = all.rows_view(i * rows..(i + 1) * rows);
            if self.kernels.packs() == WeightOrder::Packed { mat.packable(Packs::After(1)) } else { mat }
        };
        let mats: Vec<Mat> = (0..n).map(mat).collect();
        let x: Vec<f32> = (0..cols).map(|i| (i as f32).sin()).collect();
        // As `ingle_model::linear::project_finely` has it.
        let form = if is_head { all.kernel().form.finer() } else { all.kernel().form };
        let (mut acts, mut out) = (Acts::with_capacity(1, cols), vec![0.0; rows]);
        let mut least = f64::INFINITY;
        let begin = Instant::now();
        // A pass through all of them is a sample, the first warms up; many short ones find a moment that nobody disturbs.
        for pass in 0.. {
            let start = Instant::now();
            for mat in &mats {
                acts.set(self.pool, form, &x, cols, self.kernels.ops().quantize);
                matmul(self.pool, &acts, mat, &mut out);
            }
            if pass > 0 {
                least = least.min(start.elapsed().as_secs_f64() / n as f64);
            }
            if pass >= PASSES_MIN && begin.elapsed() > KERNEL_TIME {
                break;
            }
        }
        std::hint::black_box(&out);
        least
    }
}

/// Seconds of a token of each of `sessions`, which take turns.
pub fn in_turn<const N: usize>(
    sessions: [&mut Session; N],
    cancel: &std::sync::atomic::AtomicBool,
) -> Result<[f64; N], Failure> {
    let (mut least, mut sessions) = ([f64::INFINITY; N], sessions);
    let mut n_tokens = [4usize; N];
    for round in 0..=ROUNDS {
        for (i, session) in sessions.iter_mut().enumerate() {
            session.truncate(0);
            let start = Instant::now();
            let most = n_tokens[i].min(session.ctx() - 1);
            for id in 0..most {
                if !session.feed(&[id as u32 % 256], cancel, |_| ())? {
                    return Err(Failure::interrupted());
                }
            }
            let seconds = start.elapsed().as_secs_f64() / most as f64;
            if round == 0 {
                n_tokens[i] = (ROUND_TIME.as_secs_f64() / seconds).clamp(4.0, 64.0) as usize;
            } else {
                least[i] = least[i].min(seconds);
            }
        }
    }
    Ok(least)
}
