//! The state space model of Mamba-2 (arXiv 2405.21060): one decay per head.

use super::STRIP;
use crate::ops::exp;
use crate::par::{Disjoint, Pool};
use crate::simd::Kernels;

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

#[cfg(test)]
mod tests {
    use super::super::tests::{check, noise};
    use super::*;

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
}
