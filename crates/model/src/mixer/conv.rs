//! The causal convolution in front of recurrent mixers: each channel alone, over the last few positions.
//!
//! A sequence remembers the last `width - 1` rows of the input. A token's sum runs from the oldest position to its own.

use ingle_kernel::ops;

use crate::decoder::Runtime;
use crate::error::Result;
use crate::source::Source;

/// Weights of the convolution.
#[derive(Debug)]
pub struct Conv {
    channels: usize,
    /// Positions it looks at, the token's own included.
    width: usize,
    /// `(width, channels)`
    weight: Vec<f32>,
    /// `(channels)`
    bias: Option<Vec<f32>>,
}

impl Conv {
    /// Takes `NAME.weight` `(channels, width)` and, where there is one, `NAME.bias`.
    pub fn read(source: &mut Source<'_>, name: &str, channels: usize, width: usize) -> Result<Self> {
        let by_channel = source.matrix_values(&format!("{name}.weight"), channels, width)?;
        let weight = (0..width * channels).map(|i| by_channel[i % channels * width + i / channels]);
        let bias = source.vector_if(&format!("{name}.bias"), channels)?;
        Ok(Self { channels, width, weight: weight.collect(), bias })
    }

    /// `out = conv(x)`, both `(n_tokens, channels)`, after the rows in `state` `(width - 1, channels)`, which becomes the
    /// last rows of both.
    pub fn apply(&self, run: &Runtime<'_>, state: &mut [f32], x: &[f32], out: &mut [f32]) {
        let (channels, back) = (self.channels, self.width - 1);
        let before = &*state;
        run.pool.for_rows(out, channels, |t, out| {
            match &self.bias {
                Some(bias) => out.copy_from_slice(bias),
                None => out.fill(0.0),
            }
            for (i, weight) in self.weight.chunks_exact(channels).enumerate() {
                let row = match (t + i).checked_sub(back) {
                    Some(at) => &x[at * channels..(at + 1) * channels],
                    None => &before[(t + i) * channels..(t + i + 1) * channels],
                };
                ops::add_product(out, row, weight);
            }
        });
        match x.len().checked_sub(state.len()) {
            Some(first) => state.copy_from_slice(&x[first..]),
            None => {
                state.copy_within(x.len().., 0);
                let first = state.len() - x.len();
                state[first..].copy_from_slice(x);
            }
        }
    }
}
