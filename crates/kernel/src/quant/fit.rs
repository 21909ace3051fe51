//! The search for scales: how blocks are encoded with little error.
//!
//! Everything minimises `sum(w * (x - decoded)^2)` over a group, `w` being the importance of each value. For given codes
//! `q` the best scale follows in closed form, `d = sum(w x q) / sum(w q q)`, and so does the error it leaves; for a given
//! scale each value's best code is the nearest one. So a search tries some scales, keeps the one whose codes leave the least
//! error at their own best scale, and alternates the two steps from there (Lloyd's iteration).
//! `superblock.rs` repeats this one level up.
//!
//! Sums run in 8 lanes in a fixed order: one result on every tier. What is left out: exhaustive sweeps over all scales at
//! which a code changes. The tests hold the search to within 0.6 % of the squared error those leave, 5 % where importances
//! differ widely. Nor is the importance reshaped by the values, as llama.cpp does: what counts is the caller's to say.

use crate::half::{f16_to_f32, f32_to_f16};

/// The values that codes stand for, in units of the scale.
pub(super) trait Levels: Copy {
    /// The level nearest to `v`.
    fn nearest(self, v: f32) -> f32;
    /// The first and the last level.
    fn ends(self) -> (f32, f32);
}

/// All whole numbers from `.0` to `.1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uniform(pub f32, pub f32);

impl Levels for Uniform {
    #[inline(always)]
    fn nearest(self, v: f32) -> f32 {
        let v = if v > self.0 { v } else { self.0 };
        round(if v < self.1 { v } else { self.1 })
    }

    #[inline(always)]
    fn ends(self) -> (f32, f32) {
        (self.0, self.1)
    }
}

/// 16 whole numbers, found through a table with a step of one half.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    levels: &'static [i8; 16],
    /// Index of the level nearest to the middle of `i / 2 - 128 .. (i + 1) / 2 - 128`.
    nearest: &'static [u8; 512],
}

impl Table {
    /// Which of `levels` is nearest, for every half step; of equals the first. Boundaries between whole numbers are halves.
    pub const fn nearest_of(levels: &[i8; 16]) -> [u8; 512] {
        let mut table = [0; 512];
        let mut i = 0;
        while i < 512 {
            let (mut code, mut best) = (0, i32::MAX);
            while code < 16 {
                let distance = (4 * levels[code] as i32 + 512 - 2 * i as i32 - 1).abs();
                if distance < best {
                    (best, table[i]) = (distance, code as u8);
                }
                code += 1;
            }
            i += 1;
        }
        table
    }

    /// With `nearest` made by [`Table::nearest_of`] from the same levels.
    pub const fn new(levels: &'static [i8; 16], nearest: &'static [u8; 512]) -> Self {
        Self { levels, nearest }
    }

    /// The code of the level nearest to `v`.
    #[inline(always)]
    pub fn code(self, v: f32) -> u8 {
        let v = if v > -127.0 { v } else { -127.0 };
        let v = if v < 127.0 { v } else { 127.0 };
        // Floor, by way of a sum that is never negative.
        self.nearest[(2.0 * v + 256.0) as usize & 511]
    }
}

impl Levels for Table {
    #[inline(always)]
    fn nearest(self, v: f32) -> f32 {
        f32::from(self.levels[usize::from(self.code(v))])
    }

    #[inline(always)]
    fn ends(self) -> (f32, f32) {
        let (mut lo, mut hi) = (0, 0);
        for &level in self.levels {
            (lo, hi) = (lo.min(level), hi.max(level));
        }
        (f32::from(lo), f32::from(hi))
    }
}

/// The nearest whole number (even of two) for |v| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
#[inline(always)]
pub(super) fn round(v: f32) -> f32 {
    (v + 12_582_912.0) - 12_582_912.0
}

/// What an f16 makes of `v`.
#[inline(always)]
pub(super) fn f16_rounded(v: f32) -> f32 {
    f16_to_f32(f32_to_f16(v))
}

/// `1 / d`, or 0 where that is no number to multiply with.
#[inline(always)]
pub(super) fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Whether all of `x` are numbers that a block's scales can reach; no f16 scale of any format reaches 2^40.
#[inline(always)]
pub(super) fn representable(x: &[f32]) -> bool {
    x.iter().all(|v| v.abs() < 2f32.powi(40))
}

/// Runs `encode` over whole blocks of `N` values in `B` bytes, each with its weights: the importance, scaled so that the
/// largest is 1, or ones.
#[inline(always)]
pub(super) fn each_block<const N: usize, const B: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
    encode: impl Fn(&[f32; N], &[f32; N], &mut [u8; B]),
) {
    assert!(importance.is_none_or(|w| w.len() == x.len()), "an importance per value");
    for (i, (x, block)) in x.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<B>().0).enumerate() {
        let mut weights = [1.0; N];
        if let Some(importance) = importance {
            let importance = &importance.as_chunks::<N>().0[i];
            // Not-a-number, infinite and negative importances count as none, and where none is left all count alike.
            let valid = |w: f32| if w > 0.0 && w < f32::INFINITY { w } else { 0.0 };
            let largest = importance.iter().fold(0.0, |m: f32, &w| m.max(valid(w)));
            if largest > 0.0 {
                weights = importance.map(|w| valid(w) / largest);
            }
        }
        encode(x, &weights, block);
    }
}

/// Eight lanes folded by halves.
#[inline(always)]
pub(super) fn fold(lanes: &[f32; 8]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `sum(w x q)` and `sum(w q q)` of the levels at the inverse scale `t`.
#[inline(always)]
pub(super) fn moments<const N: usize>(x: &[f32; N], w: &[f32; N], levels: impl Levels, t: f32) -> (f32, f32) {
    let (mut xq, mut qq) = ([0.0; 8], [0.0; 8]);
    for (x, w) in x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0) {
        for i in 0..8 {
            let q = levels.nearest(x[i] * t);
            xq[i] += w[i] * q * x[i];
            qq[i] += w[i] * q * q;
        }
    }
    (fold(&xq), fold(&qq))
}

/// The best scale so far.
#[derive(Debug, Default)]
struct Best {
    /// By how much it lowers the error against all codes 0.
    gain: f32,
    d: f32,
    /// `sum(w q q)` of its codes.
    weight: f32,
}

impl Best {
    /// Takes the scale that is best for codes with these moments, if it is better than the best.
    #[inline(always)]
    fn take(&mut self, (xq, qq): (f32, f32)) -> bool {
        // The error at the best scale xq / qq is sum(w x x) - xq^2 / qq.
        let better = xq * xq > self.gain * qq;
        if better {
            *self = Self { gain: xq * xq / qq, d: xq / qq, weight: qq };
        }
        better
    }
}

/// A scale for `x` and what its codes weigh, `sum(w q q)`.
///
/// Tries the inverse scales that put the value of largest magnitude within `reach` of either end of the levels, `2 * steps +
/// 1` each, then alternates. Zeros have scale 0.
#[inline(always)]
pub(super) fn scale<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    levels: impl Levels,
    reach: f32,
    steps: i32,
) -> (f32, f32) {
    let per_largest = inverse(super::largest(x));
    let mut best = Best::default();
    let (lo, hi) = levels.ends();
    for end in [lo, hi].into_iter().filter(|&end| end != 0.0) {
        for step in -steps..=steps {
            let t = (end + reach * step as f32 / steps as f32) * per_largest;
            best.take(moments(x, w, levels, t));
        }
    }
    for _ in 0..ALTERNATIONS {
        if !best.take(moments(x, w, levels, inverse(best.d))) {
            break;
        }
    }
    (best.d, best.weight)
}

/// The [`scale`] of a block as an f16 holds it, in its bytes, and the inverse of that. A block that no scale reaches has NaN.
#[inline(always)]
pub(super) fn stored_scale<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    levels: impl Levels,
    (reach, steps): (f32, i32),
) -> ([u8; 2], f32) {
    let d = f32_to_f16(if representable(x) { scale(x, w, levels, reach, steps).0 } else { f32::NAN });
    (d.to_le_bytes(), inverse(f16_to_f32(d)))
}

/// At most so many alternations of codes and scale; they end with the first that doesn't help.
const ALTERNATIONS: usize = 6;

/// A scale and an offset for codes from 0: `x` is about `d * q + m`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Affine {
    pub d: f32,
    pub m: f32,
    /// How fast the error grows with the square of a change of `d`, the offset following: what the codes weigh about their
    /// mean.
    pub weight: f32,
    gain: f32,
}

/// Whether an offset may have either sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offset {
    Free,
    /// As in k-quants, where it is a minimum that is subtracted.
    Negative,
}

/// A scale and an offset for `x` in codes 0 to `top`.
///
/// Tries scales that spread the range of `x` over `top - 1.2` to `top + 0.8` steps, with codes counted from its smallest
/// value, solves both parameters for each and alternates from the best.
#[inline(always)]
pub(super) fn affine<const N: usize>(x: &[f32; N], w: &[f32; N], top: f32, offset: Offset) -> Affine {
    let (mut lo, mut hi) = if offset == Offset::Free { (x[0], x[0]) } else { (0.0, 0.0) };
    for &v in x {
        lo = if v < lo { v } else { lo };
        hi = if v > hi { v } else { hi };
    }
    let (mut sw, mut sx) = ([0.0; 8], [0.0; 8]);
    for (x, w) in x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0) {
        for i in 0..8 {
            sw[i] += w[i];
            sx[i] += w[i] * x[i];
        }
    }
    let (sw, sx) = (fold(&sw), fold(&sx));
    // Without any spread: a level at the mean.
    let m = if offset == Offset::Free { sx / sw } else { (sx / sw).min(0.0) };
    let mut best = Affine { d: 0.0, m, weight: 0.0, gain: m * sx };
    let attempt = |best: &mut Affine, t: f32, m: f32| {
        let solved = solve_affine(x, w, top, (t, m), (sw, sx), offset);
        let better = solved.gain > best.gain;
        if better {
            *best = solved;
        }
        better
    };
    for tenths in (-12..=8).step_by(4) {
        attempt(&mut best, (top + 0.1 * tenths as f32) * inverse(hi - lo), lo);
    }
    for _ in 0..ALTERNATIONS {
        let (t, m) = (inverse(best.d), best.m);
        if !attempt(&mut best, t, m) {
            break;
        }
    }
    best
}

/// The best scale and offset for the codes that `x` has at the inverse scale `t` and offset `m`.
#[inline(always)]
fn solve_affine<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    top: f32,
    (t, m): (f32, f32),
    (sw, sx): (f32, f32),
    offset: Offset,
) -> Affine {
    let levels = Uniform(0.0, top);
    let (mut sq, mut sqq, mut sxq) = ([0.0; 8], [0.0; 8], [0.0; 8]);
    for (x, w) in x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0) {
        for i in 0..8 {
            let q = levels.nearest((x[i] - m) * t);
            let wq = w[i] * q;
            sq[i] += wq;
            sqq[i] += wq * q;
            sxq[i] += wq * x[i];
        }
    }
    let (sq, sqq, sxq) = (fold(&sq), fold(&sqq), fold(&sxq));
    let determinant = sw * sqq - sq * sq;
    let (d, m) = ((sw * sxq - sx * sq) / determinant, (sqq * sx - sq * sxq) / determinant);
    if determinant > 0.0 && d > 0.0 && (offset == Offset::Free || m <= 0.0) {
        return Affine { d, m, weight: determinant / sw, gain: d * sxq + m * sx };
    }
    let d = if sqq > 0.0 { sxq / sqq } else { 0.0 };
    Affine { d: d.max(0.0), m: 0.0, weight: sqq, gain: if d > 0.0 { d * sxq } else { 0.0 } }
}

/// The error `sum(w r r)`, and `sum(w r)`, of the residuals `r = x + min - s q` with the nearest codes.
#[inline(always)]
pub(super) fn residual<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    levels: impl Levels,
    s: f32,
    min: f32,
) -> (f32, f32) {
    let t = inverse(s);
    let (mut square, mut sum) = ([0.0; 8], [0.0; 8]);
    for (x, w) in x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0) {
        for i in 0..8 {
            let v = x[i] + min;
            let r = v - s * levels.nearest(v * t);
            square[i] += w[i] * r * r;
            sum[i] += w[i] * r;
        }
    }
    (fold(&square), fold(&sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Close to normally distributed; a linear congruential generator.
    fn values<const N: usize>(state: &mut u64) -> [f32; N] {
        let mut uniform = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 40) as f32 / (1 << 24) as f32
        };
        [(); N].map(|()| (0..6).map(|_| uniform()).sum::<f32>() - 3.0)
    }

    /// The least error any scale leaves: codes change only where a value crosses the middle of two levels.
    fn exhaustive<const N: usize>(x: &[f32; N], w: &[f32; N], (lo, hi): (i32, i32)) -> f32 {
        let mut crossings: Vec<f32> = Vec::new();
        for &x in x {
            crossings.extend((lo..hi).map(|level| (level as f32 + 0.5) / x));
        }
        crossings.sort_unstable_by(f32::total_cmp);
        let levels = Uniform(lo as f32, hi as f32);
        let mut best = Best::default();
        for pair in crossings.windows(2) {
            best.take(moments(x, w, levels, 0.5 * (pair[0] + pair[1])));
        }
        residual(x, w, levels, best.d, 0.0).0
    }

    /// By how much the error of 300 groups exceeds the least there is, with equal weights and with widely differing ones.
    fn excess<const N: usize>(ends: (i32, i32), reach: f32, steps: i32) -> [f32; 2] {
        [0, 1].map(|power| {
            let (mut found, mut least, mut state) = (0.0, 0.0, 1);
            for _ in 0..300 {
                let (x, w) = (values(&mut state), values::<N>(&mut state).map(|v| (v * v).powi(power)));
                let levels = Uniform(ends.0 as f32, ends.1 as f32);
                found += residual(&x, &w, levels, scale(&x, &w, levels, reach, steps).0, 0.0).0;
                least += exhaustive::<N>(&x, &w, ends);
            }
            found / least - 1.0
        })
    }

    #[test]
    fn the_search_comes_close_to_the_best_scale_there_is() {
        // As q2_0, q3_K, q4_0, q5_0 and q6_K search.
        let all = [
            excess::<64>((-1, 2), 2.4, 6),
            excess::<16>((-4, 3), 1.8, 4),
            excess::<32>((-8, 7), 1.8, 4),
            excess::<32>((-16, 15), 3.6, 8),
            excess::<16>((-32, 31), 5.0, 8),
        ];
        assert!(all.iter().all(|e| e[0] < 0.006 && e[1] < 0.05), "{all:?}");
    }

    #[test]
    fn the_nearest_level_of_a_table_is_the_nearest() {
        static LEVELS: [i8; 16] = [-127, -100, -50, -20, -10, -5, -3, -1, 0, 1, 2, 4, 9, 30, 77, 120];
        static NEAREST: [u8; 512] = Table::nearest_of(&LEVELS);
        let table = Table::new(&LEVELS, &NEAREST);
        for i in -13_001..13_000 {
            let v = i as f32 * 0.01 + 0.001;
            let least = LEVELS.iter().map(|&l| (f32::from(l) - v).abs()).fold(f32::INFINITY, f32::min);
            assert!((table.nearest(v) - v).abs() <= least, "{v}");
        }
    }
}
