//! The search for scales: how blocks are encoded with little error.
//!
//! Everything minimises `sum(w * (x - decoded)^2)` over a group, `w` being the importance of each value. For given codes
//! `q` the best scale follows in closed form, `d = sum(w x q) / sum(w q q)`, and so does the error it leaves; for a given
//! scale each value's best code is the nearest one. So a search tries some scales, keeps the one whose codes leave the least
//! error at their own best scale, and alternates the two steps from there (Lloyd's iteration). Superblocks repeat this one
//! level up: the scales of groups are themselves values to encode, each as important as `sum(w q q)` says; then codes of
//! scales and minima are tried around the nearest, with the values' codes following, and the scale of scales is solved again.
//!
//! Sums run in 8 lanes in a fixed order: one result on every tier. What is left out: exhaustive sweeps over all breakpoints,
//! whose gain over the candidates here was below a thousandth of the error.

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
fn round(v: f32) -> f32 {
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
fn fold(lanes: &[f32; 8]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `sum(w x q)` and `sum(w q q)` of the levels at the inverse scale `t`.
#[inline(always)]
fn moments<const N: usize>(x: &[f32; N], w: &[f32; N], levels: impl Levels, t: f32) -> (f32, f32) {
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

/// At most so many alternations of codes and scale; most groups settle after two.
const ALTERNATIONS: usize = 3;

/// A scale and an offset for codes from 0: `x` is about `d * q + m`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Affine {
    pub d: f32,
    pub m: f32,
    /// What the codes weigh, `sum(w q q)`.
    weight: f32,
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
/// Tries scales that spread the range of `x` over `top - 1` to `top + 1` steps, with codes counted from its smallest value,
/// solves both parameters for each and alternates from the best.
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
    for tenths in -9..=9 {
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
        return Affine { d, m, weight: sqq, gain: d * sxq + m * sx };
    }
    let d = if sqq > 0.0 { sxq / sqq } else { 0.0 };
    Affine { d: d.max(0.0), m: 0.0, weight: sqq, gain: if d > 0.0 { d * sxq } else { 0.0 } }
}

/// An encoded superblock: 256 codes in `G` groups, their scales, minima and the scales of those.
#[derive(Debug)]
pub(super) struct Encoded<const G: usize> {
    /// f16 bits.
    pub d: u16,
    /// f16 bits; 0 without minima.
    pub dmin: u16,
    pub sc: [i8; G],
    pub m: [i8; G],
    /// Levels.
    pub q: [i8; 256],
}

impl<const G: usize> Encoded<G> {
    /// A block that decodes to NaNs.
    pub const NAN: Self = Self { d: 0x7e00, dmin: 0x7e00, sc: [0; G], m: [0; G], q: [0; 256] };
}

/// Rounds of choosing codes of scales and solving the scale of scales.
const ROUNDS: usize = 3;

/// Encodes a superblock with minima: `G` groups of `N` values with codes 0 to `top`, scales and minima with codes 0 to
/// `s_top`.
#[inline(always)]
pub(super) fn encode_minima<const G: usize, const N: usize>(
    x: &[f32; 256],
    w: &[f32; 256],
    top: f32,
    s_top: f32,
) -> Encoded<G> {
    let groups = || x.as_chunks::<N>().0.iter().zip(w.as_chunks::<N>().0);
    let (mut scales, mut minima, mut weights, mut shares) = ([0.0; G], [0.0; G], [0.0; G], [0.0; G]);
    for (j, (x, w)) in groups().enumerate() {
        let fit = affine(x, w, top, Offset::Negative);
        (scales[j], minima[j], weights[j], shares[j]) = (fit.d, -fit.m, fit.weight, w.iter().sum());
    }
    let codes = Uniform(0.0, s_top);
    let (mut d, _) = scale(&scales, &weights, codes, 0.1 * s_top, 10);
    let (mut dmin, _) = scale(&minima, &shares, codes, 0.1 * s_top, 10);
    // Where no round has a finite error the scales are beyond f16, and stay so.
    let mut best = (f32::INFINITY, [(0.0, 0.0); G], f32::INFINITY, 0.0);
    for _ in 0..ROUNDS {
        (d, dmin) = (f16_rounded(d), f16_rounded(dmin));
        let mut chosen = [(0.0, 0.0); G];
        let mut error = 0.0;
        let mut normal = Normal::default();
        for (j, (x, w)) in groups().enumerate() {
            let near = (scales[j] * inverse(d), minima[j] * inverse(dmin));
            let (e, sc, m) = choose_minima(x, w, top, codes, (d, dmin), near);
            error += e;
            chosen[j] = (sc, m);
            normal.add(x, w, Uniform(0.0, top), (d, dmin), (sc, m));
            // What the next round starts from: this group's scale and minimum as decoded.
            (scales[j], minima[j]) = (d * sc, dmin * m);
        }
        if error < best.0 {
            best = (error, chosen, d, dmin);
        }
        (d, dmin) = normal.solve(d, dmin);
    }
    let (_, chosen, d, dmin) = best;
    let mut out = Encoded {
        d: f32_to_f16(d),
        dmin: f32_to_f16(dmin),
        sc: chosen.map(|c| c.0 as i8),
        m: chosen.map(|c| c.1 as i8),
        q: [0; 256],
    };
    for ((x, q), (sc, m)) in x.as_chunks::<N>().0.iter().zip(out.q.as_chunks_mut::<N>().0).zip(chosen) {
        let (t, min) = (inverse(d * sc), dmin * m);
        *q = x.map(|x| Uniform(0.0, top).nearest((x + min) * t) as i8);
    }
    out
}

/// The codes of scale and minimum with the least error among those around `near`, and that error.
#[inline(always)]
fn choose_minima<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    top: f32,
    codes: Uniform,
    (d, dmin): (f32, f32),
    near: (f32, f32),
) -> (f32, f32, f32) {
    let mut best = (f32::INFINITY, 0.0, 0.0);
    let share: f32 = w.iter().sum();
    let middle = codes.nearest(near.0);
    for sc in [middle - 1.0, middle, middle + 1.0] {
        if codes.nearest(sc) != sc {
            continue;
        }
        // The minimum the group had, then the one that suits the codes it leads to.
        let mut m = codes.nearest(near.1);
        for _ in 0..2 {
            let (error, bias) = residual(x, w, Uniform(0.0, top), d * sc, dmin * m);
            if error < best.0 {
                best = (error, sc, m);
            }
            let next = codes.nearest(m - bias / share * inverse(dmin));
            if next == m {
                break;
            }
            m = next;
        }
    }
    best
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

/// The normal equations of a superblock's `d` and `dmin` for given codes.
#[derive(Debug, Default)]
struct Normal {
    ss: f32,
    sm: f32,
    mm: f32,
    xs: f32,
    xm: f32,
}

impl Normal {
    /// Adds a group with the codes its values have at `(d sc, dmin m)`.
    #[inline(always)]
    fn add<const N: usize>(
        &mut self,
        x: &[f32; N],
        w: &[f32; N],
        levels: impl Levels,
        (d, dmin): (f32, f32),
        (sc, m): (f32, f32),
    ) {
        let (t, min) = (inverse(d * sc), dmin * m);
        let (mut qq, mut q1, mut xq, mut x1, mut w1) = ([0.0; 8], [0.0; 8], [0.0; 8], [0.0; 8], [0.0; 8]);
        for (x, w) in x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0) {
            for i in 0..8 {
                let q = levels.nearest((x[i] + min) * t);
                let wq = w[i] * q;
                qq[i] += wq * q;
                q1[i] += wq;
                xq[i] += wq * x[i];
                x1[i] += w[i] * x[i];
                w1[i] += w[i];
            }
        }
        self.ss += sc * sc * fold(&qq);
        self.sm += sc * m * fold(&q1);
        self.mm += m * m * fold(&w1);
        self.xs += sc * fold(&xq);
        self.xm += m * fold(&x1);
    }

    /// The best `d` and `dmin`, or what they were where the equations don't say.
    fn solve(&self, d: f32, dmin: f32) -> (f32, f32) {
        let determinant = self.ss * self.mm - self.sm * self.sm;
        let solved = (
            (self.xs * self.mm - self.sm * self.xm) / determinant,
            (self.sm * self.xs - self.ss * self.xm) / determinant,
        );
        if determinant > 1e-6 * self.ss * self.mm && solved.0 > 0.0 && solved.1 >= 0.0 {
            solved
        } else if self.ss > 0.0 {
            ((self.xs + dmin * self.sm) / self.ss, dmin)
        } else {
            (d, dmin)
        }
    }
}

/// Encodes a superblock without minima: `G` groups of `N` values, scales with the codes `codes`.
#[inline(always)]
pub(super) fn encode_symmetric<const G: usize, const N: usize>(
    x: &[f32; 256],
    w: &[f32; 256],
    levels: impl Levels,
    codes: Uniform,
    (reach, steps): (f32, i32),
) -> Encoded<G> {
    let groups = || x.as_chunks::<N>().0.iter().zip(w.as_chunks::<N>().0);
    let (mut scales, mut weights) = ([0.0; G], [0.0; G]);
    for (j, (x, w)) in groups().enumerate() {
        (scales[j], weights[j]) = scale(x, w, levels, reach, steps);
    }
    let (mut d, _) = scale(&scales, &weights, codes, 0.1 * codes.1, 10);
    let mut best = (f32::INFINITY, [0.0; G], f32::INFINITY);
    for _ in 0..ROUNDS {
        d = f16_rounded(d);
        let mut chosen = [0.0; G];
        let (mut error, mut xs, mut ss) = (0.0, 0.0, 0.0);
        for (j, (x, w)) in groups().enumerate() {
            let middle = codes.nearest(scales[j] * inverse(d));
            let mut least = f32::INFINITY;
            for sc in [middle, middle - 1.0, middle + 1.0] {
                let (e, _) = residual(x, w, levels, d * sc, 0.0);
                if e < least && codes.nearest(sc) == sc {
                    (least, chosen[j]) = (e, sc);
                }
            }
            error += least;
            let (xq, qq) = moments(x, w, levels, inverse(d * chosen[j]));
            xs += chosen[j] * xq;
            ss += chosen[j] * chosen[j] * qq;
        }
        if error < best.0 {
            best = (error, chosen, d);
        }
        if ss > 0.0 {
            d = xs / ss;
        }
    }
    let (_, chosen, d) = best;
    let mut out = Encoded { d: f32_to_f16(d), dmin: 0, sc: chosen.map(|c| c as i8), m: [0; G], q: [0; 256] };
    for ((x, q), sc) in x.as_chunks::<N>().0.iter().zip(out.q.as_chunks_mut::<N>().0).zip(chosen) {
        let t = inverse(d * sc);
        *q = x.map(|x| levels.nearest(x * t) as i8);
    }
    out
}
