//! Recurrent mixers: heads that remember a matrix and change it with every token.
//!
//! Three of them: the state space models of Mamba (arXiv 2312.00752) and Mamba-2 (arXiv 2405.21060) and the gated delta
//! rule (arXiv 2412.06464). A head's
//! state is `(rows, columns)`, and a column never meets another one: a vector lane is a column, sums over the rows run in
//! rising order, and tokens are taken one after the other. So neither the CPU tier nor the number of threads nor the chunk
//! shows in a single bit. Threads share the heads; a head takes all tokens of a step in turn while its state is in cache.
//!
//! There is no chunked form that turns the scan into matrix products: its sums would depend on where chunks begin.

use crate::ops::exp;
use crate::par::{Disjoint, Pool};
use crate::simd::Kernels;

/// Columns that run side by side in registers; others run alone, to the same bits.
const STRIP: usize = 32;

/// The heads of a state space mixer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SsmShape {
    /// Heads.
    pub n_heads: usize,
    /// Values of a head: columns of its state.
    pub head_dim: usize,
    /// Groups of consecutive heads that share what writes and reads their states.
    pub n_groups: usize,
    /// Rows of a head's state.
    pub d_state: usize,
}

impl SsmShape {
    /// Values of all heads of a token.
    pub fn inner(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Values of a token's row of [`Ssm::xbc`].
    pub fn row(&self) -> usize {
        self.inner() + 2 * self.n_groups * self.d_state
    }

    /// Floats of the state of all heads.
    pub fn state_len(&self) -> usize {
        self.inner() * self.d_state
    }
}

/// What a state space mixer takes.
#[derive(Debug, Clone, Copy)]
pub struct Ssm<'a> {
    /// `x` of every head, then `b` of every group, then `c` of every group. `(n_tokens, SsmShape::row)`
    pub xbc: &'a [f32],
    /// Time steps. `(n_tokens, n_heads)`
    pub dt: &'a [f32],
    /// Decay per unit of time, not positive. `(n_heads)`
    pub a: &'a [f32],
    /// Factor on what goes past the state. `(n_heads)`
    pub d: &'a [f32],
}

/// Takes every token into the state and reads it: `state = exp(dt a) state + dt b x`, `out = c state + d x`, head by head.
///
/// `state` is `(n_heads, d_state, head_dim)`, `out` `(n_tokens, n_heads * head_dim)`.
pub fn ssm(
    pool: &Pool,
    kernels: &Kernels,
    shape: SsmShape,
    Ssm { xbc, dt, a, d }: Ssm<'_>,
    state: &mut [f32],
    out: &mut [f32],
) {
    let SsmShape { n_heads, head_dim, n_groups, d_state } = shape;
    let n_tokens = dt.len() / n_heads;
    assert!(n_heads.is_multiple_of(n_groups) && dt.len() == n_tokens * n_heads);
    assert_eq!((xbc.len(), out.len()), (n_tokens * shape.row(), n_tokens * shape.inner()));
    assert_eq!((state.len(), a.len(), d.len()), (shape.state_len(), n_heads, n_heads));
    let step = kernels.ops().ssm_step;
    let (state, out) = (Disjoint::new(state), Disjoint::new(out));
    pool.run(n_heads, |head, _| {
        let len = d_state * head_dim;
        // SAFETY: every head's state belongs to its task alone.
        let state = unsafe { state.part(head * len, len) };
        let b = shape.inner() + head / (n_heads / n_groups) * d_state;
        let c = b + n_groups * d_state;
        for (t, row) in xbc.chunks_exact(shape.row()).enumerate() {
            // SAFETY: this head of this token belongs to this task alone.
            let out = unsafe { out.part(t * shape.inner() + head * head_dim, head_dim) };
            let dt = dt[t * n_heads + head];
            let x = &row[head * head_dim..(head + 1) * head_dim];
            step(state, x, &row[b..b + d_state], &row[c..c + d_state], [dt, dt * a[head], d[head]], out);
        }
    });
}

/// `(state, x, b, c, [dt, log of the decay, d], out)`: one token of one head.
pub type SsmStep = fn(&mut [f32], &[f32], &[f32], &[f32], [f32; 3], &mut [f32]);

/// One token of one head of [`ssm`].
#[inline(always)]
pub(crate) fn ssm_step(
    state: &mut [f32],
    x: &[f32],
    b: &[f32],
    c: &[f32],
    [dt, log_decay, d]: [f32; 3],
    out: &mut [f32],
) {
    #[inline(always)]
    fn strip<const N: usize>(
        (state, width, first): (&mut [f32], usize, usize),
        [b, c]: [&[f32]; 2],
        [dt, decay, d]: [f32; 3],
        x: &[f32; N],
        out: &mut [f32; N],
    ) {
        let written = x.map(|x| dt * x);
        let mut sums = [0f32; N];
        for (row, (b, c)) in state.chunks_exact_mut(width).zip(b.iter().zip(c)) {
            let row: &mut [f32; N] = row[first..].first_chunk_mut().expect("inside the state");
            for i in 0..N {
                row[i] = row[i] * decay + written[i] * b;
                sums[i] += row[i] * c;
            }
        }
        for i in 0..N {
            out[i] = sums[i] + d * x[i];
        }
    }
    let (width, numbers) = (x.len(), [dt, exp(log_decay), d]);
    let (x_wide, x_narrow) = x.as_chunks::<STRIP>();
    let (out_wide, out_narrow) = out.as_chunks_mut::<STRIP>();
    for (i, (x, out)) in x_wide.iter().zip(out_wide).enumerate() {
        strip((&mut *state, width, i * STRIP), [b, c], numbers, x, out);
    }
    let narrow = x_narrow.as_chunks::<1>().0.iter().zip(out_narrow.as_chunks_mut::<1>().0);
    for (i, (x, out)) in narrow.enumerate() {
        strip((&mut *state, width, width - x_narrow.len() + i), [b, c], numbers, x, out);
    }
}

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

/// Which key head a value head takes, where there are fewer of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHeads {
    /// Consecutive value heads share one.
    Grouped,
    /// They take turns: value head `h` has key head `h` modulo their number.
    Tiled,
}

/// The heads of a delta net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaShape {
    /// Value heads, each with a state of its own.
    pub n_heads: usize,
    /// Query and key heads.
    pub n_key_heads: usize,
    /// Who has which.
    pub key_heads: KeyHeads,
    /// Values of a query or key head: rows of a state.
    pub key_dim: usize,
    /// Values of a value head: columns of a state.
    pub value_dim: usize,
}

impl DeltaShape {
    /// Values of all value heads of a token.
    pub fn inner(&self) -> usize {
        self.n_heads * self.value_dim
    }

    /// Values of all key heads of a token.
    pub fn keys(&self) -> usize {
        self.n_key_heads * self.key_dim
    }

    /// Values of a token's row of [`Delta::qkv`].
    pub fn row(&self) -> usize {
        2 * self.keys() + self.inner()
    }

    /// Floats of the state of all heads.
    pub fn state_len(&self) -> usize {
        self.inner() * self.key_dim
    }
}

/// What a delta net takes.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    /// Queries, then keys, then values of all heads; queries and keys normed. `(n_tokens, DeltaShape::row)`
    pub qkv: &'a [f32],
    /// Time steps. `(n_tokens, n_heads)`
    pub dt: &'a [f32],
    /// How much of the difference is written, 0 to 1. `(n_tokens, n_heads)`
    pub beta: &'a [f32],
    /// Decay per unit of time, not positive. `(n_heads)`
    pub a: &'a [f32],
}

/// Takes every token into the state and reads it: with `state = exp(dt a) state`, `state += k beta (v - k state)` and
/// `out = q state`, head by head.
///
/// `state` is `(n_heads, key_dim, value_dim)`, `out` `(n_tokens, n_heads * value_dim)`.
pub fn delta(
    pool: &Pool,
    kernels: &Kernels,
    shape: DeltaShape,
    Delta { qkv, dt, beta, a }: Delta<'_>,
    state: &mut [f32],
    out: &mut [f32],
) {
    let DeltaShape { n_heads, n_key_heads, key_heads, key_dim, value_dim } = shape;
    let n_tokens = dt.len() / n_heads;
    assert!(n_heads.is_multiple_of(n_key_heads) && dt.len() == n_tokens * n_heads);
    assert_eq!((qkv.len(), out.len()), (n_tokens * shape.row(), n_tokens * shape.inner()));
    assert_eq!((state.len(), beta.len(), a.len()), (shape.state_len(), dt.len(), n_heads));
    let step = kernels.ops().delta_step;
    let (state, out) = (Disjoint::new(state), Disjoint::new(out));
    pool.run(n_heads, |head, _| {
        let len = key_dim * value_dim;
        // SAFETY: every head's state belongs to its task alone.
        let state = unsafe { state.part(head * len, len) };
        let key_head = match key_heads {
            KeyHeads::Grouped => head / (n_heads / n_key_heads),
            KeyHeads::Tiled => head % n_key_heads,
        };
        for (t, row) in qkv.chunks_exact(shape.row()).enumerate() {
            let (q, rest) = row.split_at(shape.keys());
            let (k, v) = rest.split_at(shape.keys());
            let key = key_head * key_dim..(key_head + 1) * key_dim;
            let v = &v[head * value_dim..(head + 1) * value_dim];
            // SAFETY: this head of this token belongs to this task alone.
            let out = unsafe { out.part(t * shape.inner() + head * value_dim, value_dim) };
            let at = t * n_heads + head;
            step(state, &q[key.clone()], &k[key], v, [dt[at] * a[head], beta[at]], out);
        }
    });
}

/// `(state, q, k, v, [log of the decay, beta], out)`: one token of one head.
pub type DeltaStep = fn(&mut [f32], &[f32], &[f32], &[f32], [f32; 2], &mut [f32]);

/// One token of one head of [`delta`].
#[inline(always)]
pub(crate) fn delta_step(
    state: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    [log_decay, beta]: [f32; 2],
    out: &mut [f32],
) {
    #[inline(always)]
    fn strip<const N: usize>(
        (state, width, first): (&mut [f32], usize, usize),
        [q, k]: [&[f32]; 2],
        [decay, beta]: [f32; 2],
        v: &[f32; N],
        out: &mut [f32; N],
    ) {
        let mut held = [0f32; N];
        for (row, k) in state.chunks_exact(width).zip(k) {
            let row: &[f32; N] = row[first..].first_chunk().expect("inside the state");
            for i in 0..N {
                held[i] += row[i] * k;
            }
        }
        let mut written = [0f32; N];
        for i in 0..N {
            written[i] = (v[i] - held[i] * decay) * beta;
        }
        let mut sums = [0f32; N];
        for (row, (q, k)) in state.chunks_exact_mut(width).zip(q.iter().zip(k)) {
            let row: &mut [f32; N] = row[first..].first_chunk_mut().expect("inside the state");
            for i in 0..N {
                row[i] = row[i] * decay + written[i] * k;
                sums[i] += row[i] * q;
            }
        }
        *out = sums;
    }
    let (width, numbers) = (v.len(), [exp(log_decay), beta]);
    let (v_wide, v_narrow) = v.as_chunks::<STRIP>();
    let (out_wide, out_narrow) = out.as_chunks_mut::<STRIP>();
    for (i, (v, out)) in v_wide.iter().zip(out_wide).enumerate() {
        strip((&mut *state, width, i * STRIP), [q, k], numbers, v, out);
    }
    let narrow = v_narrow.as_chunks::<1>().0.iter().zip(out_narrow.as_chunks_mut::<1>().0);
    for (i, (v, out)) in narrow.enumerate() {
        strip((&mut *state, width, width - v_narrow.len() + i), [q, k], numbers, v, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// Runs `scan(pool, kernels, tokens, state, out)` in every tier, for several threads and chunks, and compares the bits.
    fn check(
        n_tokens: usize,
        (state_len, inner): (usize, usize),
        expected: &[f64],
        scan: impl Fn(&Pool, &Kernels, std::ops::Range<usize>, &mut [f32], &mut [f32]),
    ) {
        let mut first: Option<Vec<f32>> = None;
        for name in Kernels::names() {
            let kernels = Kernels::named(name).unwrap();
            for (n_threads, chunk) in [(1, n_tokens), (1, 1), (3, 7)] {
                let pool = Pool::new(n_threads);
                let (mut state, mut out) = (vec![0.0; state_len], vec![f32::NAN; n_tokens * inner]);
                for (i, out) in out.chunks_mut(chunk * inner).enumerate() {
                    let tokens = i * chunk..i * chunk + out.len() / inner;
                    scan(&pool, &kernels, tokens, &mut state, out);
                }
                for (a, b) in out.iter().zip(expected) {
                    assert!((f64::from(*a) - b).abs() < 3e-6 * b.abs().max(1.0), "{name}: {a} {b}");
                }
                out.extend(state);
                assert!(*first.get_or_insert_with(|| out.clone()) == out, "{name}, {n_threads}, {chunk}");
            }
        }
    }

    #[test]
    fn the_state_space_scan_is_its_definition() {
        let n_tokens = 20;
        for (head_dim, d_state) in [(64, 16), (37, 5), (3, 40)] {
            let shape = SsmShape { n_heads: 4, head_dim, n_groups: 2, d_state };
            let xbc = noise(n_tokens * shape.row(), 1);
            let dt: Vec<f32> = noise(n_tokens * 4, 2).iter().map(|v| v.abs()).collect();
            let (a, d) = ([-0.1, -1.0, -4.0, 0.0], noise(4, 3));
            let mut expected = vec![0f64; n_tokens * shape.inner()];
            for (column, head) in (0..shape.inner()).map(|i| (i, i / head_dim)) {
                let mut state = vec![0f64; d_state];
                for t in 0..n_tokens {
                    let row = &xbc[t * shape.row()..][..shape.row()];
                    let (dt, x) = (f64::from(dt[t * 4 + head]), f64::from(row[column]));
                    let b = &row[shape.inner() + head / 2 * d_state..];
                    let mut y = f64::from(d[head]) * x;
                    for (r, state) in state.iter_mut().enumerate() {
                        *state = *state * (dt * f64::from(a[head])).exp() + dt * x * f64::from(b[r]);
                        y += *state * f64::from(b[2 * d_state + r]);
                    }
                    expected[t * shape.inner() + column] = y;
                }
            }
            check(
                n_tokens,
                (shape.state_len(), shape.inner()),
                &expected,
                |pool, kernels, at, state, out| {
                    let part = |values: &'_ [f32], n: usize| values[at.start * n..at.end * n].to_vec();
                    let given = Ssm { xbc: &part(&xbc, shape.row()), dt: &part(&dt, 4), a: &a, d: &d };
                    ssm(pool, kernels, shape, given, state, out);
                },
            );
        }
    }

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

    #[test]
    fn the_delta_rule_is_its_definition() {
        let n_tokens = 20;
        for (key_dim, value_dim) in [(16, 64), (5, 37), (40, 3)] {
            for key_heads in [KeyHeads::Grouped, KeyHeads::Tiled] {
                let shape = DeltaShape { n_heads: 4, n_key_heads: 2, key_heads, key_dim, value_dim };
                let qkv: Vec<f32> =
                    noise(n_tokens * shape.row(), 1).iter().map(|v| v / (key_dim as f32).sqrt()).collect();
                let unit = |seed| noise(n_tokens * 4, seed).iter().map(|v| v.abs()).collect::<Vec<f32>>();
                let (dt, beta, a) = (unit(2), unit(3), [-0.1, -1.0, -4.0, 0.0]);
                let mut expected = vec![0f64; n_tokens * shape.inner()];
                for (column, head) in (0..shape.inner()).map(|i| (i, i / value_dim)) {
                    let key_head = if key_heads == KeyHeads::Grouped { head / 2 } else { head % 2 };
                    let mut state = vec![0f64; key_dim];
                    for t in 0..n_tokens {
                        let row = &qkv[t * shape.row()..][..shape.row()];
                        let q = |r: usize| f64::from(row[key_head * key_dim + r]);
                        let k = |r: usize| f64::from(row[(2 + key_head) * key_dim + r]);
                        let v = f64::from(row[4 * key_dim + column]);
                        let decay = (f64::from(dt[t * 4 + head]) * f64::from(a[head])).exp();
                        state.iter_mut().for_each(|s| *s *= decay);
                        let held: f64 = state.iter().enumerate().map(|(r, s)| s * k(r)).sum();
                        let written = (v - held) * f64::from(beta[t * 4 + head]);
                        state.iter_mut().enumerate().for_each(|(r, s)| *s += k(r) * written);
                        expected[t * shape.inner() + column] =
                            state.iter().enumerate().map(|(r, s)| s * q(r)).sum();
                    }
                }
                check(
                    n_tokens,
                    (shape.state_len(), shape.inner()),
                    &expected,
                    |pool, kernels, at, state, out| {
                        let part = |values: &'_ [f32], n: usize| values[at.start * n..at.end * n].to_vec();
                        let (qkv, dt, beta) = (part(&qkv, shape.row()), part(&dt, 4), part(&beta, 4));
                        delta(
                            pool,
                            kernels,
                            shape,
                            Delta { qkv: &qkv, dt: &dt, beta: &beta, a: &a },
                            state,
                            out,
                        );
                    },
                );
            }
        }
    }
}
