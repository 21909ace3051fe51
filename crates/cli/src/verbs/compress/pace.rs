//! How fast kernels and models are here: what a search weighs formats by, and holds its choice to.
//!
//! A machine's speed changes by the minute, so a model takes turns with another, in several sittings between which it is loaded
//! anew, as some of its speed is where its pages came to lie; the median of what the two are to each other counts. Of kernels the least
//! time counts: other programs make it longer and nothing makes it shorter. Matrices of a kernel lie one behind the other in a file that
//! is mapped as a model's is, so that they are packed and paged as those, with as many bytes as the model would have, up to more than
//! caches hold: small models are timed from caches and large ones from memory, as they will run.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ingle_compress::quantize::PATTERN;
use ingle_compress::search::table::Product;
use ingle_engine::mmap::Mapped;
use ingle_engine::session::Session;
use ingle_kernel::acts::Acts;
use ingle_kernel::gemm::matmul;
use ingle_kernel::mat::{Mat, Packs};
use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;
use ingle_kernel::simd::{Kernels, WeightOrder};

use crate::exit::Failure;
use crate::median::median;

/// Memory that is more than caches hold.
const MEMORY_BYTES: usize = 64 << 20;
/// How long a kernel is timed, and how often at least.
const KERNEL_TIME: Duration = Duration::from_millis(60);
const PASSES_MIN: usize = 9;
/// Passes that warm up and pack.
const PASSES_FIRST: usize = 2;
/// Sittings in which a model is timed.
const SITTINGS: usize = 7;
/// Rounds of a sitting.
const ROUNDS: usize = 7;
/// About how long a round of one model takes.
const ROUND_TIME: Duration = Duration::from_millis(50);

/// Times kernels with one token, each product and format once.
pub struct KernelTimes<'a> {
    pool: &'a Pool,
    kernels: &'a Kernels,
    /// Weights of the whole model.
    n_values: usize,
    /// Where a file may be for a while.
    path: PathBuf,
    known: HashMap<(&'static str, Product), f64>,
}

impl<'a> KernelTimes<'a> {
    pub fn new(pool: &'a Pool, kernels: &'a Kernels, n_values: usize, path: PathBuf) -> Self {
        Self { pool, kernels, n_values, path, known: HashMap::new() }
    }

    /// Seconds of `product` with a matrix of `format`.
    pub fn seconds(&mut self, format: &'static Format, product: Product) -> Result<f64, Failure> {
        if let Some(&known) = self.known.get(&(format.name, product)) {
            return Ok(known);
        }
        let Product { rows, cols, .. } = product;
        let n = (self.n_values / (rows * cols)).min(MEMORY_BYTES / (rows * format.row_bytes(cols))).max(1);
        // The speed of no kernel depends on what its weights are.
        let bytes = vec![PATTERN; n * rows * format.row_bytes(cols)];
        fs::write(&self.path, bytes).map_err(|e| Failure::file(&self.path, &e))?;
        let seconds = self.measure(format, product, n, &Mapped::open(&self.path)?);
        fs::remove_file(&self.path).map_err(|e| Failure::file(&self.path, &e))?;
        self.known.insert((format.name, product), seconds);
        Ok(seconds)
    }

    /// Seconds of one of the `n` matrices that `file` has.
    fn measure(&self, format: &'static Format, product: Product, n: usize, file: &Mapped) -> f64 {
        let Product { rows, cols, is_head } = product;
        let all = Mat::new(self.kernels, format, n * rows, cols, file.bytes().clone());
        let mat = |i: usize| {
            let mat = all.rows_view(i * rows..(i + 1) * rows);
            if self.kernels.packs() == WeightOrder::Packed { mat.packable(Packs::After(1)) } else { mat }
        };
        let mats: Vec<Mat> = (0..n).map(mat).collect();
        let x: Vec<f32> = (0..cols).map(|i| (i as f32).sin()).collect();
        // As `ingle_model::linear::project_finely` has it.
        let form = if is_head { all.kernel().form.finer() } else { all.kernel().form };
        let (mut acts, mut out) = (Acts::with_capacity(1, cols), vec![0.0; rows]);
        let mut pass = || {
            let start = Instant::now();
            for mat in &mats {
                acts.set(self.pool, form, &x, cols, self.kernels.ops().quantize);
                matmul(self.pool, &acts, mat, &mut out);
            }
            start.elapsed().as_secs_f64() / n as f64
        };
        (0..PASSES_FIRST).for_each(|_| _ = pass());
        let (begin, mut least) = (Instant::now(), f64::INFINITY);
        for i in 0.. {
            if i >= PASSES_MIN && begin.elapsed() > KERNEL_TIME {
                break;
            }
            least = least.min(pass());
        }
        std::hint::black_box(&out);
        least
    }
}

/// Seconds of a token of `session`.
pub fn seconds(session: &mut Session, cancel: &AtomicBool) -> Result<f64, Failure> {
    Ok(median(in_turn([session], cancel)?.into_iter().map(|[seconds]| seconds)))
}

/// How many times as fast as `base` what `load` loads is.
pub fn speed(
    base: &mut Session,
    load: impl Fn() -> Result<Session, Failure>,
    cancel: &AtomicBool,
) -> Result<f64, Failure> {
    let sitting = |_| {
        let rounds = in_turn([base, &mut load()?], cancel)?;
        Ok(median(rounds.into_iter().map(|[base, own]| base / own)))
    };
    let sittings: Vec<f64> = (0..SITTINGS).map(sitting).collect::<Result<_, Failure>>()?;
    Ok(median(sittings))
}

/// Seconds of a token of each of `sessions`, which take turns, by round.
fn in_turn<const N: usize>(
    mut sessions: [&mut Session; N],
    cancel: &AtomicBool,
) -> Result<Vec<[f64; N]>, Failure> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    let mut n_tokens = [4usize; N];
    for round in 0..=ROUNDS {
        let mut seconds = [0.0; N];
        for (i, session) in sessions.iter_mut().enumerate() {
            session.truncate(0);
            let start = Instant::now();
            let most = n_tokens[i].min(session.ctx() - 1);
            for id in 0..most {
                if !session.feed(&[id as u32 % 256], cancel, |_| ())? {
                    return Err(Failure::interrupted());
                }
            }
            seconds[i] = start.elapsed().as_secs_f64() / most as f64;
        }
        // The first says how many tokens a round has.
        if round == 0 {
            n_tokens = seconds.map(|s| (ROUND_TIME.as_secs_f64() / s).clamp(4.0, 64.0) as usize);
        } else {
            rounds.push(seconds);
        }
    }
    Ok(rounds)
}
