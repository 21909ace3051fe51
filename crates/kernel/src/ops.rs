//! The small operations between the matrices, each over one row.
//!
//! They are plain Rust that the compiler vectorises: a tier compiles the same code with its own instructions, and since
//! Rust neither reorders float additions nor contracts them, every tier gives the same bits. Sums over a row run in 16
//! lanes that are folded by halves, as in [`crate::quant`].

use crate::acts::QuantizeRow;
use crate::attn::BlockFn;

/// A tier's build of every operation here.
#[derive(Debug, Clone, Copy)]
pub struct Ops {
    /// `(x, weight, eps, out)`: `out = x / sqrt(mean(x^2) + eps) * weight`, all `(dim)`.
    pub rms_norm: fn(&[f32], &[f32], f32, &mut [f32]),
    /// `(gate, up)`: `gate = gate * sigmoid(gate) * up`.
    pub silu_mul: fn(&mut [f32], &[f32]),
    /// Rotates the pairs `(i, i + n / 2)` of every head.
    pub rope_halves: RopeFn,
    /// Rotates the pairs `(2 i, 2 i + 1)` of every head.
    pub rope_interleaved: RopeFn,
    /// [`crate::acts`]' quantisation.
    pub quantize: QuantizeRow,
    /// [`crate::attn`]'s inner block.
    pub attend_block: BlockFn,
}

/// `(row of heads, head_dim, cos, sin)`: rotates every head of the row in place.
pub type RopeFn = fn(&mut [f32], usize, &[f32], &[f32]);

/// Adds 16 lanes up: 8 onto 8, 4 onto 4, 2 onto 2, 1 onto 1.
#[inline(always)]
pub(crate) fn fold(lanes: &mut [f32; 16]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// `out = x / sqrt(mean(x^2) + eps) * weight`, all `(dim)`.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let (x16, rest) = x.as_chunks::<16>();
    let mut lanes = [0f32; 16];
    for x in x16 {
        for i in 0..16 {
            lanes[i] += x[i] * x[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x * x;
    }
    let scale = 1.0 / (fold(&mut lanes) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * w;
    }
}

/// `gate = gate * sigmoid(gate) * up`, the gated unit of SwiGLU (arXiv 2002.05202).
#[inline(always)]
pub(crate) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + exp(-*g)) * u;
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
        let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 77.0;
        for i in 0..77 {
            let exact = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(w[i]);
            assert!((f64::from(out[i]) - exact).abs() < 1e-6 * exact.abs().max(1.0));
        }
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
