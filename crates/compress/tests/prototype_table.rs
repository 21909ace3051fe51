//! The methods against a prototype of them in another language, on a model of 260 thousand weights.
//!
//! A prototype in numpy and JAX compressed stories260K with a simple quantiser (a float scale and a whole zero point for 32 or 43
//! neighbours), its inputs seen in 24 sequences of 256 tokens that the model had written itself, and measured the mean KL divergence
//! from the full model, and the perplexity, on 32 others. Here the same model, sequences and quantiser meet the crate's own
//! methods, and the numbers must come out alike: within 5 % of the divergence at 4 and 3 bits and for prunings, within 10 % at 2.
//! The forward pass is the test's own and plain, so that nothing but the methods is tested. Model and sequences are reference data
//! in `shared` beside the repository; without them the test says so and ends.

use std::fs;
use std::path::Path;

use ingle_compress::linalg;
use ingle_compress::method::awq;
use ingle_compress::method::error::Measure;
use ingle_compress::method::feedback::{Factor, Order};
use ingle_compress::method::gptq::{self, Grid};
use ingle_compress::method::prune::{self, Sparsity};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::file::{Contents, gguf};

const DIM: usize = 64;
const N_HEADS: usize = 8;
const N_KV_HEADS: usize = 4;
const HEAD_DIM: usize = 8;
const N_LAYERS: usize = 5;
const VOCAB: usize = 512;
/// Tokens of a sequence.
const LENGTH: usize = 256;

// ---- The model ----

/// A matrix, `(rows, cols)`.
#[derive(Clone)]
struct Matrix {
    values: Vec<f32>,
    cols: usize,
}

/// The matrices of a layer and where their inputs are.
const MATRICES: [(&str, Site); 7] = [
    ("attn_q", Site::Attention),
    ("attn_k", Site::Attention),
    ("attn_v", Site::Attention),
    ("attn_output", Site::Output),
    ("ffn_gate", Site::FeedForward),
    ("ffn_up", Site::FeedForward),
    ("ffn_down", Site::Down),
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Site {
    Attention,
    Output,
    FeedForward,
    Down,
}

const SITES: [Site; 4] = [Site::Attention, Site::Output, Site::FeedForward, Site::Down];

#[derive(Clone)]
struct Layer {
    attn_norm: Vec<f32>,
    ffn_norm: Vec<f32>,
    /// In the order of [`MATRICES`].
    matrices: Vec<Matrix>,
}

struct Model {
    embeddings: Matrix,
    norm: Vec<f32>,
    layers: Vec<Layer>,
}

impl Model {
    fn read(file: &Contents) -> Self {
        let matrix = |name: &str| {
            let tensor = file.tensor(&format!("{name}.weight")).unwrap_or_else(|| panic!("{name}"));
            Matrix { values: tensor.values(), cols: tensor.shape[0] }
        };
        let layer = |l: usize| Layer {
            attn_norm: matrix(&format!("blk.{l}.attn_norm")).values,
            ffn_norm: matrix(&format!("blk.{l}.ffn_norm")).values,
            matrices: MATRICES.iter().map(|(name, _)| matrix(&format!("blk.{l}.{name}"))).collect(),
        };
        let embeddings = matrix("token_embd");
        assert_eq!((embeddings.cols, embeddings.values.len()), (DIM, DIM * VOCAB));
        Self { embeddings, norm: matrix("output_norm").values, layers: (0..N_LAYERS).map(layer).collect() }
    }

    /// `(n_tokens, DIM)`
    fn embed(&self, tokens: &[u16]) -> Vec<f32> {
        tokens.iter().flat_map(|&t| &self.embeddings.values[usize::from(t) * DIM..][..DIM]).copied().collect()
    }

    /// Log probabilities, `(n_tokens, VOCAB)`, of the hidden states behind the last layer.
    fn log_probabilities(&self, x: &[f32], pool: &Pool) -> Vec<f32> {
        let mut logits = multiply(&rms_norm(x, &self.norm), &self.embeddings, pool);
        pool.for_rows(&mut logits, VOCAB, |_, row| {
            let most = row.iter().copied().fold(f32::MIN, f32::max);
            let sum: f32 = row.iter().map(|v| (v - most).exp()).sum();
            row.iter_mut().for_each(|v| *v -= most + sum.ln());
        });
        logits
    }
}

fn rms_norm(x: &[f32], gain: &[f32]) -> Vec<f32> {
    let mut out = x.to_vec();
    for row in out.chunks_exact_mut(gain.len()) {
        let square = row.iter().map(|v| v * v).sum::<f32>() / gain.len() as f32;
        let scale = 1.0 / (square + 1e-5).sqrt();
        row.iter_mut().zip(gain).for_each(|(v, g)| *v *= scale * g);
    }
    out
}

/// `x W'`, `(n_tokens, rows)`.
fn multiply(x: &[f32], w: &Matrix, pool: &Pool) -> Vec<f32> {
    let (cols, rows, dense) = (w.cols, w.values.len() / w.cols, Kernels::detect().dense_f32());
    let mut right = dense.right(cols, rows);
    right.fill(pool, |k, first, out| {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = w.values[(first + i) * cols + k]);
    });
    let mut out = vec![0.0; x.len() / cols * rows];
    pool.for_rows(&mut out, LENGTH * rows, |i, out| {
        let x = &x[i * LENGTH * cols..][..LENGTH * cols];
        let mut left = dense.left(cols, LENGTH);
        left.fill(&Pool::new(1), |k, first, out| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = x[(first + i) * cols + k]);
        });
        dense.add(&left.all(), &right.all(), out, rows);
    });
    out
}

/// Rotates neighbours of `heads`, `(n_tokens, n_heads, HEAD_DIM)` of whole sequences.
fn rope(heads: &mut [f32], n_heads: usize) {
    for (t, row) in heads.chunks_exact_mut(n_heads * HEAD_DIM).enumerate() {
        for head in row.chunks_exact_mut(HEAD_DIM) {
            for (i, pair) in head.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let angle = (t % LENGTH) as f32 / 10000f32.powf((2 * i) as f32 / HEAD_DIM as f32);
                let (sin, cos) = angle.sin_cos();
                *pair = [pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos];
            }
        }
    }
}

fn attention(q: &[f32], k: &[f32], v: &[f32], pool: &Pool) -> Vec<f32> {
    const KV: usize = N_KV_HEADS * HEAD_DIM;
    let mut out = vec![0.0; q.len()];
    pool.for_rows(&mut out, LENGTH * DIM, |s, out| {
        let (q, k, v) = (&q[s * LENGTH * DIM..], &k[s * LENGTH * KV..], &v[s * LENGTH * KV..]);
        let mut scores = [0.0f32; LENGTH];
        for head in 0..N_HEADS {
            let kv = head / (N_HEADS / N_KV_HEADS) * HEAD_DIM;
            let row = |of: &[f32], t: usize| *of[t * KV + kv..].first_chunk::<HEAD_DIM>().unwrap();
            for t in 0..LENGTH {
                let at = t * DIM + head * HEAD_DIM;
                let q = *q[at..].first_chunk::<HEAD_DIM>().unwrap();
                let mut most = f32::MIN;
                for (s, score) in scores[..=t].iter_mut().enumerate() {
                    let k = row(k, s);
                    *score = (0..HEAD_DIM).map(|i| q[i] * k[i]).sum::<f32>() / (HEAD_DIM as f32).sqrt();
                    most = most.max(*score);
                }
                let (mut sum, mut mixed) = (0.0, [0.0; HEAD_DIM]);
                for (s, score) in scores[..=t].iter().enumerate() {
                    let (p, v) = ((score - most).exp(), row(v, s));
                    sum += p;
                    (0..HEAD_DIM).for_each(|i| mixed[i] += p * v[i]);
                }
                out[at..at + HEAD_DIM].copy_from_slice(&mixed.map(|m| m / sum));
            }
        }
    });
    out
}

/// The hidden states behind a layer; `seen` is shown the input of every site.
fn layer(x: &[f32], w: &Layer, pool: &Pool, mut seen: impl FnMut(Site, &[f32])) -> Vec<f32> {
    let m = |i: usize| &w.matrices[i];
    let h = rms_norm(x, &w.attn_norm);
    seen(Site::Attention, &h);
    let [mut q, mut k, v] = [0, 1, 2].map(|i| multiply(&h, m(i), pool));
    rope(&mut q, N_HEADS);
    rope(&mut k, N_KV_HEADS);
    let o = attention(&q, &k, &v, pool);
    seen(Site::Output, &o);
    let mut x = x.to_vec();
    x.iter_mut().zip(multiply(&o, m(3), pool)).for_each(|(x, y)| *x += y);
    let h = rms_norm(&x, &w.ffn_norm);
    seen(Site::FeedForward, &h);
    let mut a = multiply(&h, m(4), pool);
    let up = multiply(&h, m(5), pool);
    a.iter_mut().zip(up).for_each(|(a, u)| *a = *a / (1.0 + (-*a).exp()) * u);
    seen(Site::Down, &a);
    x.iter_mut().zip(multiply(&a, m(6), pool)).for_each(|(x, y)| *x += y);
    x
}

// ---- What is seen of inputs ----

struct Seen {
    /// `2 X X' / T`, the upper half.
    h: Vec<f64>,
    /// Its diagonal.
    diagonal: Vec<f32>,
    mean_abs: Vec<f32>,
    /// `h` of every seventh token.
    h_of_some: Vec<f64>,
}

impl Seen {
    fn of(x: &[f32], cols: usize, pool: &Pool) -> Self {
        let n_tokens = x.len() / cols;
        let products = |x: &[f32]| {
            let mut h = vec![0.0; cols * cols];
            linalg::gram(&mut h, x, cols, pool);
            h.iter_mut().for_each(|v| *v *= 2.0 / (x.len() / cols) as f64);
            h
        };
        let some: Vec<f32> = x.chunks_exact(cols).step_by(7).flatten().copied().collect();
        let (h, h_of_some, mut sums) = (products(x), products(&some), vec![0.0; cols]);
        for row in x.chunks_exact(cols) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(v.abs()));
        }
        let mean_abs = sums.iter().map(|sum| (sum / n_tokens as f64) as f32).collect();
        let diagonal = (0..cols).map(|j| h[j * cols + j] as f32).collect();
        Self { h, diagonal, mean_abs, h_of_some }
    }

    fn factor(&self, order: Order, pool: &Pool) -> Factor {
        Factor::new(&self.h, self.diagonal.len(), order, pool).expect("finite inputs")
    }
}

fn sites(x: &[f32], w: &Layer, pool: &Pool) -> Vec<Seen> {
    let mut all = Vec::new();
    layer(x, w, pool, |site, input| {
        assert_eq!(site, SITES[all.len()]);
        all.push(Seen::of(input, input.len() / (x.len() / DIM), pool));
    });
    all
}

// ---- The prototype's quantiser ----

/// Neighbours that share a scale.
fn group(cols: usize) -> usize {
    if cols.is_multiple_of(32) { 32 } else { 43 }
}

/// Scale and zero point of a group: a value is `(q - zero) * scale` with `q` from 0 to `top`.
#[derive(Clone, Copy)]
struct Step {
    scale: f64,
    zero: f64,
    top: f64,
}

impl Step {
    fn nearest(self, v: f64) -> f64 {
        ((v / self.scale).round_ties_even() + self.zero).clamp(0.0, self.top)
    }

    fn value(self, v: f64) -> f64 {
        (self.nearest(v) - self.zero) * self.scale
    }

    /// From smallest to largest; with importances the best of 20 parts of that.
    fn of(w: &[f32], bits: u32, importance: Option<&[f32]>) -> Self {
        let top = f64::from((1u32 << bits) - 1);
        let hi = w.iter().fold(0.0, |m: f64, &v| m.max(v.into()));
        let lo = w.iter().fold(0.0, |m: f64, &v| m.min(v.into()));
        let mut best = (f64::INFINITY, Self { scale: 0.0, zero: 0.0, top });
        for i in 0..if importance.is_some() { 20 } else { 1 } {
            let part = 1.0 - 0.8 * f64::from(i) / 20.0;
            let scale = ((hi - lo) * part / top).max(1e-8);
            let step = Self { scale, zero: (-lo * part / scale).round_ties_even(), top };
            let mut error = 0.0;
            for (j, &w) in w.iter().enumerate() {
                let importance = importance.map_or(1.0, |h| f64::from(h[j]));
                error += importance * (step.value(w.into()) - f64::from(w)).powi(2);
            }
            if error < best.0 {
                best = (error, step);
            }
        }
        best.1
    }
}

/// The grid of a matrix. `(rows, cols / group)`
struct Steps {
    steps: Vec<Step>,
    cols: usize,
}

impl Steps {
    fn of(w: &[f32], cols: usize, bits: u32, importance: Option<&[f32]>) -> Self {
        let group = group(cols);
        let of_group = |(i, w): (usize, &[f32])| {
            let first = i * group % cols;
            Step::of(w, bits, importance.map(|h| &h[first..first + group]))
        };
        Self { steps: w.chunks_exact(group).enumerate().map(of_group).collect(), cols }
    }
}

impl Grid for Steps {
    fn nearest(&self, row: usize, col: usize, value: f64) -> f32 {
        let group = group(self.cols);
        self.steps[row * (self.cols / group) + col / group].value(value) as f32
    }
}

fn rounded(w: &[f32], cols: usize, bits: u32, importance: Option<&[f32]>) -> Vec<f32> {
    let steps = Steps::of(w, cols, bits, importance);
    w.iter().enumerate().map(|(i, &w)| steps.nearest(i / cols, i % cols, w.into())).collect()
}

// ---- The table ----

/// What happens to a matrix, given its input.
type Method = fn(&mut Matrix, &Seen, u32, &Pool);

/// Compresses layer by layer; inputs are those that the layers compressed so far give.
fn compress(model: &Model, x: &[f32], bits: u32, method: Method, pool: &Pool) -> Vec<Layer> {
    let mut x = x.to_vec();
    let one = |of: &Layer| {
        let mut of = of.clone();
        let seen = sites(&x, &of, pool);
        for (matrix, (_, site)) in of.matrices.iter_mut().zip(MATRICES) {
            let seen = &seen[SITES.iter().position(|s| *s == site).unwrap()];
            method(matrix, seen, bits, pool);
        }
        x = layer(&x, &of, pool, |_, _| ());
        of
    };
    model.layers.iter().map(one).collect()
}

/// The same with scales searched by AWQ: site by site, in the prototype's order, each seeing what the ones
/// before became, and scales judged, as there, by every seventh token.
fn compress_awq(model: &Model, x: &[f32], bits: u32, pool: &Pool) -> Vec<Layer> {
    let mut x = x.to_vec();
    let one = |of: &Layer| {
        let mut of = of.clone();
        for site in [Site::Attention, Site::FeedForward, Site::Down, Site::Output] {
            let seen = sites(&x, &of, pool).swap_remove(SITES.iter().position(|s| *s == site).unwrap());
            let cols = seen.diagonal.len();
            let members: Vec<usize> = (0..7).filter(|&i| MATRICES[i].1 == site).collect();
            let group: Vec<&[f32]> = members.iter().map(|&i| &of.matrices[i].values[..]).collect();
            let measure = Measure::new(&seen.h_of_some, cols, pool);
            let found = awq::search(
                &group,
                &seen.mean_abs,
                &measure,
                usize::MAX,
                |_, w| rounded(w, cols, bits, None),
                pool,
            );
            let importance: Vec<f32> =
                seen.diagonal.iter().zip(&found.by_col).map(|(h, s)| h / (s * s)).collect();
            let inverse: Vec<f32> = found.by_col.iter().map(|s| 1.0 / s).collect();
            for i in members {
                let w = &mut of.matrices[i].values;
                awq::scale_columns(w, &found.by_col);
                *w = rounded(w, cols, bits, Some(&importance));
                awq::scale_columns(w, &inverse);
            }
        }
        x = layer(&x, &of, pool, |_, _| ());
        of
    };
    model.layers.iter().map(one).collect()
}

fn rtn(w: &mut Matrix, _: &Seen, bits: u32, _: &Pool) {
    w.values = rounded(&w.values, w.cols, bits, None);
}

fn imatrix(w: &mut Matrix, seen: &Seen, bits: u32, _: &Pool) {
    w.values = rounded(&w.values, w.cols, bits, Some(&seen.diagonal));
}

fn gptq(w: &mut Matrix, seen: &Seen, bits: u32, pool: &Pool) {
    let steps = Steps::of(&w.values, w.cols, bits, None);
    gptq::round_to(&mut w.values, &seen.factor(Order::Descending, pool), &steps, pool);
}

fn gptq_clip(w: &mut Matrix, seen: &Seen, bits: u32, pool: &Pool) {
    let steps = Steps::of(&w.values, w.cols, bits, Some(&seen.diagonal));
    gptq::round_to(&mut w.values, &seen.factor(Order::Descending, pool), &steps, pool);
}

/// By the number of bits: 0 for two of four, otherwise a half.
fn sparsity(bits: u32) -> Sparsity {
    if bits == 0 { Sparsity::TwoOfFour } else { Sparsity::Part(0.5) }
}

fn magnitude(w: &mut Matrix, _: &Seen, bits: u32, _: &Pool) {
    prune::magnitude(&mut w.values, w.cols, sparsity(bits));
}

fn wanda(w: &mut Matrix, seen: &Seen, bits: u32, pool: &Pool) {
    prune::wanda(&mut w.values, &seen.diagonal, sparsity(bits), pool);
}

fn sparse_gpt(w: &mut Matrix, seen: &Seen, bits: u32, pool: &Pool) {
    let factor = seen.factor(Order::Natural, pool);
    match sparsity(bits) {
        Sparsity::TwoOfFour => prune::sparse_gpt(&mut w.values, &factor, Sparsity::TwoOfFour, pool),
        part => prune::sparse_gpt_from_start(&mut w.values, &factor, part, pool),
    }
}

struct Bench {
    model: Model,
    calibration: Vec<f32>,
    evaluation: Vec<u16>,
    /// Of the full model.
    log_p: Vec<f32>,
    pool: Pool,
}

struct Outcome {
    kld: f64,
    perplexity: f64,
}

impl Bench {
    fn open() -> Option<Self> {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        let (model, samples) =
            (shared.join("models/stories260K.gguf"), shared.join("data/stories260k_samples_u16.bin"));
        let (Ok(model), Ok(samples)) = (fs::read(&model), fs::read(&samples)) else {
            eprintln!("skipped: no reference data at {} and {}", model.display(), samples.display());
            return None;
        };
        let pool = Pool::new(std::thread::available_parallelism().map_or(1, usize::from));
        let model = Model::read(&gguf::parse(Bytes::new(model)).unwrap());
        let tokens: Vec<u16> = samples.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
        let calibration = model.embed(&tokens[..24 * LENGTH]);
        let evaluation = tokens[256 * LENGTH..288 * LENGTH].to_vec();
        let mut bench = Self { model, calibration, evaluation, log_p: Vec::new(), pool };
        bench.log_p = bench.log_probabilities(&bench.model.layers);
        Some(bench)
    }

    fn log_probabilities(&self, layers: &[Layer]) -> Vec<f32> {
        let mut x = self.model.embed(&self.evaluation);
        for w in layers {
            x = layer(&x, w, &self.pool, |_, _| ());
        }
        self.model.log_probabilities(&x, &self.pool)
    }

    fn evaluate(&self, layers: &[Layer]) -> Outcome {
        let log_q = self.log_probabilities(layers);
        let (mut kld, mut loss, mut n) = (0.0, 0.0, 0.0);
        let rows = self.log_p.chunks_exact(VOCAB).zip(log_q.chunks_exact(VOCAB));
        for (t, (p, q)) in rows.enumerate().filter(|(t, _)| (t + 1) % LENGTH != 0) {
            let term = |(p, q): (&f32, &f32)| f64::from(p.exp()) * f64::from(p - q);
            kld += p.iter().zip(q).map(term).sum::<f64>();
            loss -= f64::from(q[usize::from(self.evaluation[t + 1])]);
            n += 1.0;
        }
        Outcome { kld: kld / n, perplexity: f64::exp(loss / n) }
    }

    /// Whether the divergence is within `tolerance` of the prototype's.
    fn agrees(&self, name: &str, layers: &[Layer], expected: f64, tolerance: f64) -> bool {
        let found = self.evaluate(layers);
        let off = found.kld / expected - 1.0;
        eprintln!(
            "{name:24} KLD {:7.4}  prototype {expected:7.4}  {:+5.1} %   perplexity {:.3}",
            found.kld,
            100.0 * off,
            found.perplexity
        );
        off.abs() <= tolerance
    }

    fn quantisers(&self, bits: u32, expected: [f64; 5], tolerance: f64) -> bool {
        let (x, pool) = (&self.calibration, &self.pool);
        let methods: [(&str, Method); 4] = [
            ("rounding", rtn),
            ("importances", imatrix),
            ("GPTQ", gptq),
            ("GPTQ and importances", gptq_clip),
        ];
        let of_methods = methods.map(|(name, method)| (name, compress(&self.model, x, bits, method, pool)));
        let [rounding, importances, gptq, both] = of_methods;
        let awq = ("AWQ and importances", compress_awq(&self.model, x, bits, pool));
        let mut all = true;
        for ((name, layers), expected) in [rounding, importances, awq, gptq, both].into_iter().zip(expected) {
            all &= self.agrees(&format!("{bits} bits, {name}"), &layers, expected, tolerance);
        }
        all
    }

    fn prunings(&self, bits: u32, name: &str, expected: [f64; 3], tolerance: f64) -> bool {
        let methods: [(&str, Method); 3] =
            [("magnitude", magnitude), ("Wanda", wanda), ("SparseGPT", sparse_gpt)];
        let mut all = true;
        for ((method_name, method), expected) in methods.into_iter().zip(expected) {
            let layers = compress(&self.model, &self.calibration, bits, method, &self.pool);
            all &= self.agrees(&format!("{name}, {method_name}"), &layers, expected, tolerance);
        }
        all
    }
}

#[test]
fn the_full_model_is_the_prototypes_and_four_bits_agree() {
    let Some(bench) = Bench::open() else { return };
    let full = bench.evaluate(&bench.model.layers);
    assert!(full.kld.abs() < 1e-6 && (full.perplexity - 3.728).abs() < 0.0006, "{}", full.perplexity);
    assert!(bench.quantisers(4, [0.0952, 0.0841, 0.0742, 0.0591, 0.0559], 0.05));
}

#[test]
fn three_and_two_bits_agree() {
    let Some(bench) = Bench::open() else { return };
    assert!(bench.quantisers(3, [0.578, 0.494, 0.420, 0.341, 0.297], 0.05));
    assert!(bench.quantisers(2, [4.47, 2.75, 2.94, 3.13, 1.93], 0.1));
}

#[test]
fn prunings_agree() {
    let Some(bench) = Bench::open() else { return };
    assert!(bench.prunings(1, "50 %", [2.32, 1.56, 1.49], 0.05));
    assert!(bench.prunings(0, "2 of 4", [3.44, 2.84, 2.06], 0.05));
}
