//! The encoding of superblocks: 256 values in groups whose scales and minima are codes themselves.
//!
//! Each group is fitted alone first (`fit.rs`). The scale of the scales is then found by the same search, a group's scale
//! counting as much as its error grows when it is missed. From there rounds repeat: codes of scale and minimum are tried
//! around the nearest, with the values' codes following, and the scales of scales and of minima are solved for all codes
//! at once. The best round is kept, judged by the error with `d` and `dmin` as f16 holds them. A superblock with a value that
//! no scale reaches decodes to NaNs.

use super::fit::{
    Levels, Offset, Uniform, affine, f16_rounded, fold, inverse, moments, representable, residual, scale,
};
use super::grid::Scales;

/// An encoded superblock: 256 codes in `G` groups, their scales, minima and the scales of those.
#[derive(Debug)]
pub(super) struct Encoded<const G: usize> {
    /// A number that f16 has.
    pub d: f32,
    /// A number that f16 has; 0 without minima.
    pub dmin: f32,
    pub sc: [i8; G],
    pub m: [i8; G],
    /// Levels.
    pub q: [i8; 256],
}

impl<const G: usize> Encoded<G> {
    /// A block that decodes to NaNs.
    pub const NAN: Self = Self { d: f32::NAN, dmin: f32::NAN, sc: [0; G], m: [0; G], q: [0; 256] };

    /// Its scales, by groups of 16.
    pub fn scales(&self) -> Scales {
        Scales {
            d: self.d,
            dmin: self.dmin,
            sc: std::array::from_fn(|j| i16::from(self.sc[j * G / 16])),
            m: std::array::from_fn(|j| self.m[j * G / 16] as u8),
        }
    }
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
    if !representable(x) {
        return Encoded::NAN;
    }
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
        let next = normal.solve(d, dmin);
        if (f16_rounded(next.0), f16_rounded(next.1)) == (d, dmin) {
            break;
        }
        (d, dmin) = next;
    }
    let (_, chosen, d, dmin) = best;
    let mut out =
        Encoded { d, dmin, sc: chosen.map(|c| c.0 as i8), m: chosen.map(|c| c.1 as i8), q: [0; 256] };
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
    if !representable(x) {
        return Encoded::NAN;
    }
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
        let next = if ss > 0.0 { xs / ss } else { d };
        if f16_rounded(next) == d {
            break;
        }
        d = next;
    }
    let (_, chosen, d) = best;
    let mut out = Encoded { d, dmin: 0.0, sc: chosen.map(|c| c as i8), m: [0; G], q: [0; 256] };
    for ((x, q), sc) in x.as_chunks::<N>().0.iter().zip(out.q.as_chunks_mut::<N>().0).zip(chosen) {
        let t = inverse(d * sc);
        *q = x.map(|x| levels.nearest(x * t) as i8);
    }
    out
}
