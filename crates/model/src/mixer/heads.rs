//! Heads that remember a matrix each, as files tell of them: in the words of state space models, whatever the mixer.

use crate::config::{DIM_MAX, Keys};
use crate::error::{Error, Result};

/// Heads of a layer that no real model reaches.
const HEADS_MAX: usize = 1 << 12;
/// Rows of a head's state that no real model reaches.
pub(super) const ROWS_MAX: usize = 1 << 10;
/// Positions of a convolution that no real model reaches.
pub(super) const WIDTH_MAX: usize = 64;

/// What a file says of a layer's heads.
pub(super) struct Heads {
    /// Heads, each with a state of its own.
    pub n: usize,
    /// Groups of heads that share something, a divisor of `n`.
    pub n_groups: usize,
    /// Columns of a head's state.
    pub dim: usize,
    /// Rows of a head's state.
    pub rows: usize,
    /// Positions the convolution before the heads looks at.
    pub width: usize,
}

impl Heads {
    /// Reads it; where the file does not say how many groups there are, they are `n_groups`, or must be said.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a number is missing, out of range or no divisor of what it shares out.
    pub(super) fn read(keys: &Keys<'_>, n_groups: Option<usize>) -> Result<Self> {
        let (heads, groups) = ("ssm.time_step_rank", "ssm.group_count");
        let inner = keys.uint("ssm.inner_size", 1..=DIM_MAX)?;
        let n = keys.uint(heads, 1..=HEADS_MAX)?;
        let n_groups = match n_groups {
            Some(n_groups) => keys.uint_or(groups, n_groups, 1..=HEADS_MAX)?,
            None => keys.uint(groups, 1..=HEADS_MAX)?,
        };
        for (name, all, parts) in [(heads, inner, n), (groups, n, n_groups)] {
            if all % parts != 0 {
                return Err(Error::malformed(keys.part(name), parts, format!("a divisor of {all}")));
            }
        }
        let rows = keys.uint("ssm.state_size", 1..=ROWS_MAX)?;
        let width = keys.uint("ssm.conv_kernel", 1..=WIDTH_MAX)?;
        Ok(Self { n, n_groups, dim: inner / n, rows, width })
    }
}
