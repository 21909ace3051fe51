//! The gated delta rule (arXiv 2412.06464): what a key holds is partly replaced.

use super::STRIP;
use crate::ops::exp;
use crate::par::{Disjoint, Pool};
use crate::simd::Kernels;

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
    use super::super::tests::{check, noise};
    use super::*;

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
