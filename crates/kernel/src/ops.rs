//! The small operations between the matrices, each over one row.
//!
//! They are plain Rust that the compiler vectorises: a tier compiles the same code with its own instructions, and since
//! Rust neither reorders float additions nor contracts them, every tier gives the same bits. Sums over a row run in 16
//! lanes that are folded by halves, as in [`crate::quant`].

use crate::acts::QuantizeRow;
use crate::scan::{DeltaStep, SelectiveStep, SsmStep};

/// A tier's build of every operation here.
#[derive(Debug, Clone, Copy)]
pub struct Ops {
    /// `(x, weight, eps, out)`: `out = x / sqrt(mean(x^2) + eps) * weight`, all `(dim)`.
    pub rms_norm: fn(&[f32], &[f32], f32, &mut [f32]),
    /// `(x, weight, eps)`: the same, in place.
    pub rms_norm_in_place: fn(&mut [f32], &[f32], f32),
    /// `(x, weight, bias, eps, out)`: `out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias`, all `(dim)`.
    pub layer_norm: fn(&[f32], &[f32], &[f32], f32, &mut [f32]),
    /// `(x, weight, bias, eps)`: the same, in place.
    pub layer_norm_in_place: fn(&mut [f32], &[f32], &[f32], f32),
    /// `(f, gate, up)`: `gate = f(gate) * up`, one of [`Activation`]'s gated units.
    pub glu: fn(Activation, &mut [f32], &[f32]),
    /// `(f, x)`: `x = f(x)`.
    pub activate: fn(Activation, &mut [f32]),
    /// `(x, cap)`: `x = cap * tanh(x / cap)`.
    pub softcap: fn(&mut [f32], f32),
    /// Rotates the pairs `(i, i + n / 2)` of every head.
    pub rope_halves: RopeFn,
    /// Rotates the pairs `(2 i, 2 i + 1)` of every head.
    pub rope_interleaved: RopeFn,
    /// [`crate::acts`]' quantisation.
    pub quantize: QuantizeRow,
    /// [`crate::scan`]'s state space step.
    pub ssm_step: SsmStep,
    /// [`crate::scan`]'s state space step with a decay per channel and row.
    pub selective_step: SelectiveStep,
    /// [`crate::scan`]'s delta rule step.
    pub delta_step: DeltaStep,
}

/// `(row of heads, head_dim, cos, sin)`: rotates every head of the row in place.
pub type RopeFn = fn(&mut [f32], usize, &[f32], &[f32]);

/// Adds 16 lanes up: 8 onto 8, 4 onto 4, 2 onto 2, 1 onto 1.
#[inline(always)]
pub(crate) fn fold(lanes: &[f32; 16]) -> f32 {
    let (mut eight, mut four) = ([0.0; 8], [0.0; 4]);
    for i in 0..8 {
        eight[i] = lanes[i] + lanes[i + 8];
    }
    for i in 0..4 {
        four[i] = eight[i] + eight[i + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}

/// `out = x / sqrt(mean(x^2) + eps) * weight`, all `(dim)`.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = 1.0 / (sum(x, |x| x * x) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * w;
    }
}

/// [`rms_norm`] of `x` over itself, to the same bits.
#[inline(always)]
pub(crate) fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
    let scale = 1.0 / (sum(x, |x| x * x) / x.len() as f32 + eps).sqrt();
    for (x, w) in x.iter_mut().zip(weight) {
        *x = *x * scale * w;
    }
}

/// `out = (x - mean) / sqrt(variance + eps) * weight + bias` (arXiv 1607.06450), all `(dim)`; the mean first, then the
/// variance around it.
#[inline(always)]
pub(crate) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    let scale = 1.0 / (variance + eps).sqrt();
    for (((out, x), w), b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
        *out = (x - mean) * scale * w + b;
    }
}

/// [`layer_norm`] of `x` over itself, to the same bits.
#[inline(always)]
pub(crate) fn layer_norm_in_place(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((x, w), b) in x.iter_mut().zip(weight).zip(bias) {
        *x = (*x - mean) * scale * w + b;
    }
}

/// `f` of every value, added up in 16 lanes.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (x16, rest) = x.as_chunks::<16>();
    let mut lanes = [0f32; 16];
    for x in x16 {
        for i in 0..16 {
            lanes[i] += f(x[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    fold(&lanes)
}

/// What bends the straight lines of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x * sigmoid(x)` (arXiv 1702.03118), the gate of SwiGLU (arXiv 2002.05202).
    Silu,
    /// GELU by its tanh formula (arXiv 1606.08415): `x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))`.
    GeluTanh,
    /// GELU by the normal distribution itself: `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// `max(x, 0)^2` (arXiv 2109.08668).
    Relu2,
    /// `x * sigmoid(1.702 x)` with `x` at most 7; as a gated unit times `up + 1` with `up` between -7 and 7 (gpt-oss).
    ClampedSwish,
    /// xIELU (arXiv 2411.13010): `alpha_p x^2 + beta x` above 0, `alpha_n (e^min(x, eps) - 1 - x) + beta x` below.
    Xielu {
        /// Bend above 0.
        alpha_p: f32,
        /// Bend below 0.
        alpha_n: f32,
        /// Slope at 0.
        beta: f32,
        /// A little less than 0.
        eps: f32,
    },
    /// `1 / (1 + e^-x)`: gates.
    Sigmoid,
    /// `ln(1 + e^x)`: time steps of recurrent mixers.
    Softplus,
}

impl Activation {
    /// Every one, those with numbers of their own by an example.
    pub const ALL: [Self; 8] = [
        Self::Silu,
        Self::GeluTanh,
        Self::Gelu,
        Self::Relu2,
        Self::ClampedSwish,
        Self::Xielu { alpha_p: 0.75, alpha_n: 1.25, beta: 0.5, eps: -1e-6 },
        Self::Sigmoid,
        Self::Softplus,
    ];
}

/// Picks the loop outside, so that each is vectorised alone.
macro_rules! for_each_activation {
    ($f:expr, $apply:expr) => {
        match $f {
            Activation::Silu => $apply(|x: f32| x / (1.0 + exp(-x))),
            Activation::GeluTanh => $apply(|x: f32| {
                let z = x * (1.0 + 0.044_715 * x * x);
                x / (1.0 + exp(-1.595_769 * z))
            }),
            Activation::Gelu => $apply(|x: f32| 0.5 * x * erfc(-x * std::f32::consts::FRAC_1_SQRT_2)),
            Activation::Relu2 => $apply(|x: f32| if x < 0.0 { 0.0 } else { x * x }),
            Activation::ClampedSwish => $apply(|x: f32| {
                let x = if x > 7.0 { 7.0 } else { x };
                x / (1.0 + exp(-1.702 * x))
            }),
            Activation::Xielu { alpha_p, alpha_n, beta, eps } => $apply(|x: f32| {
                let low = if x > eps { eps } else { x };
                let bend =
                    if x > 0.0 { alpha_p * x * x } else { alpha_n * (exp_beyond_line(low) + (low - x)) };
                bend + beta * x
            }),
            Activation::Sigmoid => $apply(|x: f32| 1.0 / (1.0 + exp(-x))),
            Activation::Softplus => $apply(softplus),
        }
    };
}

/// `e^x - 1 - x` for `x` up to 0, to a few units in the last place: near 0 by its series, where the difference would cancel.
#[inline(always)]
fn exp_beyond_line(x: f32) -> f32 {
    let series = [1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
    let near = x * x * series.iter().fold(1.0 / 362_880.0, |sum, c| sum * x + c);
    if x > -0.5 { near } else { exp(x) - 1.0 - x }
}

/// `gate = f(gate) * up`.
#[inline(always)]
pub(crate) fn glu(f: Activation, gate: &mut [f32], up: &[f32]) {
    #[inline(always)]
    fn apply(gate: &mut [f32], up: &[f32], f: impl Fn(f32) -> f32) {
        for (g, u) in gate.iter_mut().zip(up) {
            *g = f(*g) * u;
        }
    }
    if f == Activation::ClampedSwish {
        for (g, u) in gate.iter_mut().zip(up) {
            let x = if *g > 7.0 { 7.0 } else { *g };
            *g = x / (1.0 + exp(-1.702 * x)) * (u.clamp(-7.0, 7.0) + 1.0);
        }
        return;
    }
    for_each_activation!(f, |f| apply(gate, up, f));
}

/// `x = f(x)`.
#[inline(always)]
pub(crate) fn activate(f: Activation, x: &mut [f32]) {
    #[inline(always)]
    fn apply(x: &mut [f32], f: impl Fn(f32) -> f32) {
        x.iter_mut().for_each(|x| *x = f(*x));
    }
    for_each_activation!(f, |f| apply(x, f));
}

/// `x = cap * tanh(x / cap)`: a smooth bound on scores and logits (arXiv 2408.00118).
#[inline(always)]
pub(crate) fn softcap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * tanh(*x / cap);
    }
}

/// Rotates pairs `(i, i + n/2)` of the first `n = 2 * cos.len()` values of every head (GPT-NeoX order).
#[inline(always)]
pub(crate) fn rope_halves(row: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in row.chunks_exact_mut(head_dim) {
        let (a, b) = head[..2 * half].split_at_mut(half);
        for i in 0..half {
            let (p, q) = (a[i], b[i]);
            a[i] = p * cos[i] - q * sin[i];
            b[i] = q * cos[i] + p * sin[i];
        }
    }
}

/// Rotates pairs `(2i, 2i + 1)` of the first `2 * cos.len()` values of every head (the original Llama order).
#[inline(always)]
pub(crate) fn rope_interleaved(row: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    for head in row.chunks_exact_mut(head_dim) {
        for (pair, (c, s)) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos.iter().zip(sin)) {
            let [p, q] = *pair;
            *pair = [p * c - q * s, q * c + p * s];
        }
    }
}

/// `x += y`.
pub fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len());
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// `x += factor * y`.
pub fn add_scaled(x: &mut [f32], y: &[f32], factor: f32) {
    assert_eq!(x.len(), y.len());
    for (x, y) in x.iter_mut().zip(y) {
        *x += factor * y;
    }
}

/// `x *= y`.
pub fn multiply(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len());
    for (x, y) in x.iter_mut().zip(y) {
        *x *= y;
    }
}

/// The mean of the squares of a row.
pub fn mean_square(x: &[f32]) -> f32 {
    sum(x, |x| x * x) / x.len() as f32
}

/// `x = max(x - c, 0)` with `c = mean(x) + factor * deviation(x)`: of values that are spread as by a normal distribution, the
/// part above its quantile `factor` (statistical top-k, arXiv 2506.06644). The mean first, then the variance around it.
pub fn keep_above(x: &mut [f32], factor: f32) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    let least = mean + factor * variance.sqrt();
    for x in x {
        let above = *x - least;
        *x = if above < 0.0 { 0.0 } else { above };
    }
}

/// `x += y * z`, value by value.
pub fn add_product(x: &mut [f32], y: &[f32], z: &[f32]) {
    assert!(x.len() == y.len() && x.len() == z.len());
    for (x, (y, z)) in x.iter_mut().zip(y.iter().zip(z)) {
        *x += y * z;
    }
}

/// e^x to about one unit in the last place; 0 below -87.3, infinity above 88.7, NaN for NaN.
///
/// x = n ln2 + r with |r| <= ln2 / 2, a polynomial in r (Cephes' coefficients), and n added to the exponent.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let clamped = x.clamp(-87.3, 88.8);
    let n = clamped * std::f32::consts::LOG2_E + MAGIC;
    let whole = n - MAGIC;
    let r = clamped - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let mut p = 1.987_569_2e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + c;
    }
    let y = p * r * r + r + 1.0;
    // 2^n in two factors, so that n = 128 overflows to infinity instead of wrapping.
    let half = (n.to_bits() as i32 - 0x4b40_0000) >> 1;
    let rest = (n.to_bits() as i32 - 0x4b40_0000) - half;
    let pow2 = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let y = y * pow2(half) * pow2(rest);
    if x < -87.3 { 0.0 } else { y }
}

/// ln(1 + e^x) to about two units in the last place, everywhere: the larger of x and 0, and ln(1 + t) with t = e^-|x|, which
/// is 2 artanh(s) with s = t / (2 + t) at most 1/3, by its Taylor series.
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let t = exp(-x.abs());
    let s = t / (2.0 + t);
    let z = s * s;
    let mut p = 1.0 / 15.0;
    for n in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p * z + 1.0 / n;
    }
    x.max(0.0) + 2.0 * s * p
}

/// tanh to about two units in the last place: a polynomial near 0 (Cephes' coefficients), `1 - 2 / (e^2x + 1)` beyond.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    for c in [2.063_908_8e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8] {
        p = p * z + c;
    }
    let near = p * z * x + x;
    let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x.abs() < 0.625 { near } else { far.copysign(x) }
}

/// The complementary error function to 1.2e-7 of its value (the Chebyshev fit of Numerical Recipes, section 6.2).
#[inline(always)]
pub(crate) fn erfc(x: f32) -> f32 {
    let z = x.abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = 0.170_872_77;
    for c in [
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ] {
        p = p * t + c;
    }
    let tail = t * exp(-z * z + p);
    if x >= 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere_and_honest_at_the_edges() {
        let mut worst = 0f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 1.5e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(89.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn rms_norm_matches_f64() {
        let x: Vec<f32> = (0..77).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let w: Vec<f32> = (0..77).map(|i| 1.0 + i as f32 * 0.01).collect();
        let mut out = vec![0.0; 77];
        rms_norm(&x, &w, 1e-5, &mut out);
        let mut in_place = x.clone();
        rms_norm_in_place(&mut in_place, &w, 1e-5);
        assert_eq!(in_place, out);
        let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 77.0;
        for i in 0..77 {
            let exact = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(w[i]);
            assert!((f64::from(out[i]) - exact).abs() < 1e-6 * exact.abs().max(1.0));
        }
    }

    #[test]
    fn layer_norm_matches_f64() {
        let x: Vec<f32> = (0..77).map(|i| (i as f32 * 0.7).sin() * 3.0 + 1.0).collect();
        let w: Vec<f32> = (0..77).map(|i| 1.0 + i as f32 * 0.01).collect();
        let b: Vec<f32> = (0..77).map(|i| i as f32 * 0.1).collect();
        let mut out = vec![0.0; 77];
        layer_norm(&x, &w, &b, 1e-5, &mut out);
        let mut in_place = x.clone();
        layer_norm_in_place(&mut in_place, &w, &b, 1e-5);
        assert_eq!(in_place, out);
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / 77.0;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 77.0;
        for i in 0..77 {
            let exact =
                (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(w[i]) + f64::from(b[i]);
            assert!((f64::from(out[i]) - exact).abs() < 2e-6, "{} {exact}", out[i]);
        }
    }

    #[test]
    fn what_stands_out_is_kept_as_in_f64() {
        let x: Vec<f32> = (0..77).map(|i| (i as f32 * 0.7).sin() * 3.0 + 1.0).collect();
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / 77.0;
        let deviation = (x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 77.0).sqrt();
        for factor in [-0.5f32, 0.0, 1.25] {
            let mut kept = x.clone();
            keep_above(&mut kept, factor);
            for (&kept, &x) in kept.iter().zip(&x) {
                let exact = (f64::from(x) - mean - f64::from(factor) * deviation).max(0.0);
                assert!((f64::from(kept) - exact).abs() < 1e-6, "{kept} {exact}");
            }
            assert!(kept.contains(&0.0) && kept.iter().any(|&v| v > 0.0));
        }
        let mut bad = [1.0, f32::NAN, 2.0];
        keep_above(&mut bad, 1.0);
        assert!(bad.iter().all(|v| v.is_nan()));
    }

    #[test]
    fn activations_match_f64() {
        // erf by its Taylor series, exact enough in f64 up to 4.
        let erf = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..120 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        for i in -4_000..4_000 {
            let x = i as f32 * 1e-3;
            let d = f64::from(x);
            let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
            let cubic = (2.0 / std::f64::consts::PI).sqrt() * (d + 0.044715 * d.powi(3));
            let xielu = |x: f64| {
                let eps = f64::from(-1e-6f32);
                let bend = if x > 0.0 { 0.75 * x * x } else { 1.25 * (x.min(eps).exp_m1() - x) };
                bend + 0.5 * x
            };
            for (f, exact) in [
                (Activation::Silu, d * sigmoid(d)),
                (Activation::GeluTanh, 0.5 * d * (1.0 + cubic.tanh())),
                (Activation::Gelu, 0.5 * d * (1.0 + erf(d / 2f64.sqrt()))),
                (Activation::Relu2, d.max(0.0).powi(2)),
                (Activation::ClampedSwish, d * sigmoid(1.702 * d)),
                (Activation::ALL[5], xielu(d)),
                (Activation::Sigmoid, sigmoid(d)),
                (Activation::Softplus, d.exp().ln_1p()),
            ] {
                let mut y = [x];
                activate(f, &mut y);
                assert!(
                    (f64::from(y[0]) - exact).abs() < 3e-7 * exact.abs().max(1.0),
                    "{f:?} {x}: {y:?} {exact}"
                );
                let (mut gate, plus) = ([x], if f == Activation::ClampedSwish { 1.0 } else { 0.0 });
                glu(f, &mut gate, &[0.5]);
                assert!((f64::from(gate[0]) - exact * (0.5 + plus)).abs() < 5e-7 * exact.abs().max(1.0));
            }
            let mut y = [x * 10.0];
            softcap(&mut y, 5.0);
            let exact = 5.0 * (d * 2.0).tanh();
            assert!((f64::from(y[0]) - exact).abs() <= 4e-7 * exact.abs(), "{x}: {y:?} {exact}");
        }
        let mut far = [20.0, -20.0, f32::INFINITY, f32::NEG_INFINITY];
        glu(Activation::ClampedSwish, &mut far, &[9.0, -9.0, 0.0, 0.0]);
        assert!((far[0] - 7.0 / (1.0 + (-11.914f32).exp()) * 8.0).abs() < 1e-4 && far[1].abs() < 1e-8);
        assert_eq!([tanh(100.0), tanh(-100.0), erfc(10.0), erfc(-10.0)], [1.0, -1.0, 0.0, 2.0]);
        assert!(tanh(f32::NAN).is_nan() && erfc(f32::NAN).is_nan());
    }

    #[test]
    fn softplus_is_exact_from_the_smallest_to_the_largest() {
        for i in -860..10_000 {
            let x = i as f32 * 0.1;
            let exact = f64::from(x).max(0.0) + (-f64::from(x).abs()).exp().ln_1p();
            assert!((f64::from(softplus(x)) - exact).abs() <= 4e-7 * exact, "{x}: {} {exact}", softplus(x));
        }
        assert_eq!([softplus(f32::INFINITY), softplus(f32::NEG_INFINITY)], [f32::INFINITY, 0.0]);
        assert!(softplus(f32::NAN).is_nan());
    }

    #[test]
    fn the_two_rotations_differ_only_in_order() {
        let (cos, sin) = ([0.5f32, -0.25], [0.75f32, 0.125]);
        let mut halves = [1.0, 2.0, 3.0, 4.0, 9.0];
        let mut pairs = [1.0, 3.0, 2.0, 4.0, 9.0];
        rope_halves(&mut halves, 5, &cos, &sin);
        rope_interleaved(&mut pairs, 5, &cos, &sin);
        assert_eq!([halves[0], halves[2], halves[1], halves[3], halves[4]], pairs);
        assert_eq!(halves[4], 9.0);
    }
}
