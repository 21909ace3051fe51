//! The state space model of Mamba (arXiv 2312.00752): a decay per channel and row.

use super::STRIP;
use crate::ops::exp;
use crate::par::{Disjoint, Pool};
use crate::simd::Kernels;

/// The channels of a Mamba mixer: each decays in its own way in every row of its state. They are kept in blocks, in place
/// of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectiveShape {
    /// Channels.
    pub channels: usize,
    /// Rows of a channel's state.
    pub d_state: usize,
}

impl SelectiveShape {
    /// Channels of a block; the last block may have fewer.
    const BLOCK: usize = 64;

    /// Floats of the state of all channels.
    pub fn state_len(&self) -> usize {
        self.channels * self.d_state
    }

    /// Brings `(channels, d_state)` values into the order of the state: block by block `(d_state, channels of the block)`.
    pub fn pack(&self, by_channel: &[f32]) -> Vec<f32> {
        assert_eq!(by_channel.len(), self.state_len());
        let mut packed = Vec::with_capacity(by_channel.len());
        for block in by_channel.chunks(Self::BLOCK * self.d_state) {
            for row in 0..self.d_state {
                packed.extend(block.iter().skip(row).step_by(self.d_state));
            }
        }
        packed
    }
}

/// What a Mamba mixer takes.
#[derive(Debug, Clone, Copy)]
pub struct Selective<'a> {
    /// `(n_tokens, channels)`
    pub x: &'a [f32],
    /// Time steps. `(n_tokens, channels)`
    pub dt: &'a [f32],
    /// What writes the states. `(n_tokens, d_state)`
    pub b: &'a [f32],
    /// What reads them. `(n_tokens, d_state)`
    pub c: &'a [f32],
    /// Decay per unit of time, not positive, as [`SelectiveShape::pack`] orders it.
    pub a: &'a [f32],
    /// Factor on what goes past the state. `(channels)`
    pub d: &'a [f32],
}

/// Takes every token into the state and reads it: `state = exp(dt a) state + dt b x`, `out = c state + d x`, with `a` per
/// channel and row.
///
/// `state` is ordered like `a`, `out` is `(n_tokens, channels)`.
pub fn selective(
    pool: &Pool,
    kernels: &Kernels,
    shape: SelectiveShape,
    Selective { x, dt, b, c, a, d }: Selective<'_>,
    state: &mut [f32],
    out: &mut [f32],
) {
    let SelectiveShape { channels, d_state } = shape;
    let n_tokens = x.len() / channels;
    assert_eq!((x.len(), dt.len(), out.len()), (n_tokens * channels, x.len(), x.len()));
    assert_eq!((b.len(), c.len()), (n_tokens * d_state, b.len()));
    assert_eq!((state.len(), a.len(), d.len()), (shape.state_len(), state.len(), channels));
    let step = kernels.ops().selective_step;
    let (state, out) = (Disjoint::new(state), Disjoint::new(out));
    pool.run(channels.div_ceil(SelectiveShape::BLOCK), |block, _| {
        let first = block * SelectiveShape::BLOCK;
        let n = SelectiveShape::BLOCK.min(channels - first);
        let a = &a[first * d_state..(first + n) * d_state];
        // SAFETY: every block's state belongs to its task alone.
        let state = unsafe { state.part(first * d_state, n * d_state) };
        for t in 0..n_tokens {
            let at = t * channels + first..t * channels + first + n;
            let rows = t * d_state..(t + 1) * d_state;
            // SAFETY: this block of this token belongs to this task alone.
            let out = unsafe { out.part(at.start, n) };
            step(
                state,
                a,
                [&x[at.clone()], &dt[at], &d[first..first + n]],
                [&b[rows.clone()], &c[rows]],
                out,
            );
        }
    });
}

/// `(state, a, [x, dt, d], [b, c], out)`: one token of one block of channels.
pub type SelectiveStep = fn(&mut [f32], &[f32], [&[f32]; 3], [&[f32]; 2], &mut [f32]);

/// One token of one block of [`selective`].
#[inline(always)]
pub(crate) fn selective_step(
    state: &mut [f32],
    a: &[f32],
    [x, dt, d]: [&[f32]; 3],
    [b, c]: [&[f32]; 2],
    out: &mut [f32],
) {
    #[inline(always)]
    fn strip<const N: usize>(
        (state, a, width, first): (&mut [f32], &[f32], usize, usize),
        [b, c]: [&[f32]; 2],
        [x, dt, d]: [&[f32]; 3],
        out: &mut [f32],
    ) {
        let of = |values: &[f32]| -> [f32; N] { *values[first..].first_chunk().expect("inside the block") };
        let (x, dt, d) = (of(x), of(dt), of(d));
        let mut written = [0f32; N];
        for i in 0..N {
            written[i] = dt[i] * x[i];
        }
        let mut sums = [0f32; N];
        let rows = state.chunks_exact_mut(width).zip(a.chunks_exact(width));
        for ((row, a), (b, c)) in rows.zip(b.iter().zip(c)) {
            let row: &mut [f32; N] = row[first..].first_chunk_mut().expect("inside the state");
            let a = of(a);
            for i in 0..N {
                row[i] = row[i] * exp(dt[i] * a[i]) + written[i] * b;
                sums[i] += row[i] * c;
            }
        }
        for (i, out) in out[first..first + N].iter_mut().enumerate() {
            *out = sums[i] + d[i] * x[i];
        }
    }
    let width = x.len();
    for i in 0..width / STRIP {
        strip::<STRIP>((&mut *state, a, width, i * STRIP), [b, c], [x, dt, d], out);
    }
    for i in width / STRIP * STRIP..width {
        strip::<1>((&mut *state, a, width, i), [b, c], [x, dt, d], out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, noise};
    use super::*;

    #[test]
    fn the_selective_scan_is_its_definition() {
        let n_tokens = 20;
        for (channels, d_state) in [(133, 16), (64, 5), (3, 40)] {
            let shape = SelectiveShape { channels, d_state };
            let of = |n: usize, seed| noise(n_tokens * n, seed);
            let (x, b, c, d) = (of(channels, 1), of(d_state, 2), of(d_state, 3), noise(channels, 4));
            let dt: Vec<f32> = of(channels, 5).iter().map(|v| v.abs()).collect();
            let a: Vec<f32> = noise(channels * d_state, 6).iter().map(|v| -4.0 * v.abs()).collect();
            let mut expected = vec![0f64; n_tokens * channels];
            for channel in 0..channels {
                let mut state = vec![0f64; d_state];
                for t in 0..n_tokens {
                    let at = t * channels + channel;
                    let (x, dt) = (f64::from(x[at]), f64::from(dt[at]));
                    let mut y = f64::from(d[channel]) * x;
                    for (r, state) in state.iter_mut().enumerate() {
                        let decay = (dt * f64::from(a[channel * d_state + r])).exp();
                        *state = *state * decay + dt * x * f64::from(b[t * d_state + r]);
                        y += *state * f64::from(c[t * d_state + r]);
                    }
                    expected[at] = y;
                }
            }
            let a = shape.pack(&a);
            check(n_tokens, (shape.state_len(), channels), &expected, |pool, kernels, at, state, out| {
                let wide = at.start * channels..at.end * channels;
                let narrow = at.start * d_state..at.end * d_state;
                let (b, c) = (&b[narrow.clone()], &c[narrow]);
                let given = Selective { x: &x[wide.clone()], dt: &dt[wide], b, c, a: &a, d: &d };
                selective(pool, kernels, shape, given, state, out);
            });
        }
    }
}
