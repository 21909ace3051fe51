//! What rounding a matrix's inputs costs its outputs, with scale moved into its weights and without: whether smoothing did any good.
//!
//! A product of a quantised matrix rounds its input to 8 bits ([`ingle_kernel::acts`]). Of inputs `x` that the matrix had in calibration,
//! a sample is rounded by that very code, once as it is and once divided by the scales that were moved, and what comes out is held
//! against what the source's weights `W` give for `x`:
//!
//! `sum |W (Q(x) - x)|^2` and `sum |W (s Q(x / s) - x)|^2`, both by `sum |W x|^2`.
//!
//! Both errors are in units of the source's outputs, whatever scale the matrix's own rows hand on. Weights are not rounded here: what
//! that loses is in [`crate::report::Loss`]. Cost: three products of the matrix with the sample.

use std::collections::HashMap;

use ingle_kernel::acts::{Act, Acts, Form};
use ingle_kernel::dense::Panels;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use serde::Serialize;

use crate::calibrate::{Site, Stats};
use crate::pipeline::Job;

/// Inputs of a matrix that are tried.
pub const SAMPLE: usize = 512;
/// Rows of a matrix that are multiplied together, and columns whose panels lie in the first caches.
const ROWS: usize = 96;
const STEPS: usize = 256;

/// What rounding inputs costs a matrix, or many: sums of squares over outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RoundedInputs {
    /// Inputs that were tried, of all matrices together.
    pub n_inputs: u64,
    /// Of the outputs for inputs that are not rounded.
    pub energy: f64,
    /// Of what changes when inputs are rounded as they are.
    pub without: f64,
    /// Of what changes when inputs are rounded after scale was moved; the same as without where none was.
    pub with: f64,
}

impl RoundedInputs {
    /// Adds another matrix.
    pub fn add(&mut self, other: Self) {
        self.n_inputs += other.n_inputs;
        self.energy += other.energy;
        self.without += other.without;
        self.with += other.with;
    }

    /// The error of outputs relative to them, without and with scale moved: roots of the quotients of the sums.
    pub fn relative(&self) -> [f64; 2] {
        [self.without, self.with]
            .map(|error| if self.energy > 0.0 { (error / self.energy).sqrt() } else { 0.0 })
    }
}

/// The sample of a site, which goes over into a site of its own.
pub(crate) fn sampled(site: &mut Site) -> Site {
    let sample = std::mem::take(&mut site.stats.sample);
    Site { weights: site.weights.clone(), stats: Stats { sample, ..Stats::new(site.stats.cols(), false) } }
}

/// What rounding costs the inputs of each tensor that takes one of `samples`, `scales` moved.
pub(crate) fn rounded(
    job: &Job<'_>,
    samples: &[Site],
    scales: &HashMap<String, Vec<f32>>,
) -> HashMap<String, RoundedInputs> {
    let mut all = HashMap::new();
    for Site { weights, stats } in samples.iter().filter(|site| !site.stats.sample.is_empty()) {
        let (cols, first) = (stats.cols(), weights.first().cloned().unwrap_or_default());
        let mut tried = Tried::new(&stats.sample, cols, scales.get(&first).map(Vec::as_slice), job.pool);
        for weight in weights {
            // An expert has the number of its matrix behind the tensor's name.
            let tensor = |name: &str| job.file.tensors().iter().position(|t| t.name == name);
            let expert = || {
                let (name, m) = weight.rsplit_once('.')?;
                Some((tensor(name)?, m.parse().ok()?))
            };
            let Some((at, m)) = tensor(weight).map(|at| (at, 0)).or_else(expert) else { continue };
            let (tensor, act) =
                (&job.file.tensors()[at], job.kernels.row_kernel(job.plan.choices[at].format, cols).form.act);
            let n_matrices: usize = tensor.shape.iter().skip(2).product();
            if m >= n_matrices {
                continue;
            }
            let matrix = tensor.slice(m, n_matrices);
            let mut values = vec![0.0; tensor.n_values() / n_matrices];
            (tensor.format.dequantize)(&matrix, &mut values);
            if let Some(found) = tried.of(&values, act, job.kernels, job.pool) {
                all.entry(tensor.name.clone()).or_insert_with(RoundedInputs::default).add(found);
            }
        }
    }
    all
}

/// Inputs of a site, rounded in the ways that its matrices ask for.
#[derive(Debug)]
pub struct Tried<'a> {
    /// `(n, cols)`
    x: &'a [f32],
    cols: usize,
    /// What they were divided by, if they were.
    scales: Option<&'a [f32]>,
    inputs: Panels<f32>,
    rounded: Vec<(Act, [Panels<f32>; 2])>,
}

impl<'a> Tried<'a> {
    /// The inputs `x` `(n, cols)`, divided by `scales` where scale was moved.
    ///
    /// # Panics
    /// When `x` is not whole rows, or there is not a scale for every column.
    pub fn new(x: &'a [f32], cols: usize, scales: Option<&'a [f32]>, pool: &Pool) -> Self {
        assert!(x.len().is_multiple_of(cols) && scales.is_none_or(|s| s.len() == cols), "{cols} columns");
        Self { x, cols, scales, inputs: panels(x, cols, pool), rounded: Vec::new() }
    }

    /// What rounding costs the matrix `weights` `(rows, cols)` of the source, whose kernel will round inputs as `act` says; nothing where
    /// it does not, or no input was seen.
    pub fn of(&mut self, weights: &[f32], act: Act, kernels: &Kernels, pool: &Pool) -> Option<RoundedInputs> {
        let n = self.x.len() / self.cols;
        if act == Act::F32 || n == 0 || !self.cols.is_multiple_of(act.block()) {
            return None;
        }
        if !self.rounded.iter().any(|(known, _)| *known == act) {
            let changes = [None, self.scales].map(|scales| {
                panels(&changed(self.x, self.cols, scales, act, kernels, pool), self.cols, pool)
            });
            self.rounded.push((act, changes));
        }
        let (_, [without, with]) = self.rounded.iter().find(|(known, _)| *known == act)?;
        let squares = |inputs: &Panels<f32>| squares(weights, self.cols, inputs, n, pool);
        let (energy, without) = (squares(&self.inputs), squares(without));
        let with = if self.scales.is_some() { squares(with) } else { without };
        Some(RoundedInputs { n_inputs: n as u64, energy, without, with })
    }
}

/// `s Q(x / s) - x`, row by row.
fn changed(
    x: &[f32],
    cols: usize,
    scales: Option<&[f32]>,
    act: Act,
    kernels: &Kernels,
    pool: &Pool,
) -> Vec<f32> {
    let mut divided = x.to_vec();
    for (row, scales) in divided.chunks_exact_mut(cols).zip(std::iter::repeat(scales)) {
        row.iter_mut().zip(scales.into_iter().flatten()).for_each(|(v, scale)| *v /= scale);
    }
    let mut acts = Acts::with_capacity(x.len() / cols, cols);
    acts.set(pool, Form::rows(act), &divided, cols, kernels.ops().quantize);
    let mut out = vec![0.0; x.len()];
    for (t, (out, x)) in out.chunks_exact_mut(cols).zip(x.chunks_exact(cols)).enumerate() {
        let row = acts.row(t);
        for (j, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out = f32::from(row.q[j]) * row.d[j / act.block()] * scales.map_or(1.0, |s| s[j]) - x;
        }
    }
    out
}

/// `x` `(n, cols)` as the right side of a product: a step per column.
fn panels(x: &[f32], cols: usize, pool: &Pool) -> Panels<f32> {
    let mut panels = Kernels::detect().dense_f32().right(cols, x.len() / cols);
    panels.fill(pool, |j, first, out| {
        out.iter_mut().enumerate().for_each(|(t, out)| *out = x[(first + t) * cols + j]);
    });
    panels
}

/// The sum of squares of `W X'` for `weights` `(rows, cols)` and `n` inputs.
fn squares(weights: &[f32], cols: usize, inputs: &Panels<f32>, n: usize, pool: &Pool) -> f64 {
    let dense = Kernels::detect().dense_f32();
    let mut tiles = vec![0.0; (weights.len() / cols).div_ceil(ROWS)];
    pool.for_rows(&mut tiles, 1, |i, sum| {
        let rows = &weights[i * ROWS * cols..weights.len().min((i + 1) * ROWS * cols)];
        let n_rows = rows.len() / cols;
        let (mut out, mut column) = (vec![0.0; n_rows * n], vec![0.0; n_rows]);
        for first in (0..cols).step_by(STEPS) {
            let steps = first..cols.min(first + STEPS);
            let mut left = dense.left(steps.len(), n_rows);
            for (step, j) in steps.clone().enumerate() {
                column.iter_mut().zip(rows.chunks_exact(cols)).for_each(|(v, row)| *v = row[j]);
                left.set(step, &column);
            }
            dense.add(&left.all(), &inputs.part(steps, 0..n), &mut out, n);
        }
        sum[0] = out.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    });
    // In rising order, whatever thread had which.
    tiles.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::noise;

    /// The definition, in f64: errors without and with `scales`, by the outputs.
    fn defined(w: &[f32], x: &[f32], cols: usize, scales: &[f32]) -> [f64; 2] {
        let product = |x: &[f64]| -> f64 {
            let of_row = |w: &[f32]| w.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>().powi(2);
            w.chunks_exact(cols).map(of_row).sum()
        };
        let (mut energy, mut errors) = (0.0, [0.0; 2]);
        for x in x.chunks_exact(cols) {
            energy += product(&x.iter().map(|&v| v.into()).collect::<Vec<_>>());
            for (error, scaled) in errors.iter_mut().zip([false, true]) {
                let scale = |j: usize| if scaled { scales[j] } else { 1.0 };
                let divided: Vec<f32> = x.iter().enumerate().map(|(j, v)| v / scale(j)).collect();
                let change = |(j, x): (usize, &f32)| {
                    let block = &divided[j / 32 * 32..][..32];
                    let step = f64::from(block.iter().fold(0.0f32, |m, v| m.max(v.abs()))) / 127.0;
                    (f64::from(divided[j]) / step).round() * step * f64::from(scale(j)) - f64::from(*x)
                };
                *error += product(&x.iter().enumerate().map(change).collect::<Vec<_>>());
            }
        }
        errors.map(|error| (error / energy).sqrt())
    }

    #[test]
    fn the_errors_are_those_of_the_definition_and_smoothing_helps_where_columns_differ() {
        const COLS: usize = 320;
        let (pool, kernels, mut state) = (Pool::new(2), Kernels::detect(), 3);
        let mut x: Vec<f32> = (0..37 * COLS).map(|_| noise(&mut state)).collect();
        // In every block one column is much larger.
        x.iter_mut().step_by(32).for_each(|v| *v *= 60.0);
        let w: Vec<f32> = (0..110 * COLS).map(|_| noise(&mut state)).collect();
        let scales: Vec<f32> = (0..COLS).map(|j| if j % 32 == 0 { 50.0 } else { 0.9 }).collect();
        let mut tried = Tried::new(&x, COLS, Some(&scales), &pool);
        let found = tried.of(&w, Act::Q8x32, &kernels, &pool).unwrap();
        assert_eq!(found.n_inputs, 37);
        let (found, defined) = (found.relative(), defined(&w, &x, COLS, &scales));
        for (found, defined) in found.into_iter().zip(defined) {
            assert!((found / defined - 1.0).abs() < 1e-3, "{found} {defined}");
        }
        assert!(found[1] < 0.5 * found[0], "{found:?}");
        // What is not rounded has no error.
        assert!(tried.of(&w, Act::F32, &kernels, &pool).is_none());
        assert!(tried.of(&w, Act::Q8x256, &kernels, &pool).is_none(), "320 columns are no whole blocks");
        let mut alone = Tried::new(&x, COLS, None, &pool);
        let left = alone.of(&w, Act::Q8x32, &kernels, &pool).unwrap();
        assert!(left.with == left.without && (left.relative()[0] / found[0] - 1.0).abs() < 1e-6);
        assert!(Tried::new(&[], COLS, None, &pool).of(&w, Act::Q8x32, &kernels, &pool).is_none());
    }
}
