//! Rotary position embedding (arXiv 2104.09864): the angle of each pair at each position.
//!
//! Frequencies are computed once in f64; the angle of a position is `pos * frequency` in f64, so that far positions stay
//! exact. Scaling changes only frequencies and a factor on the rotated vectors.

use crate::config::Keys;
use crate::error::{Error, Result};

/// Which values of a head form a rotated pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `(2i, 2i + 1)`
    Interleaved,
    /// `(i, i + n / 2)`
    Halves,
}

/// The rotation of a model.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Pairing of values.
    pub order: Order,
    /// Radians per position. `(n_rot / 2)`
    pub frequencies: Vec<f64>,
    /// Factor on cosine and sine, 1 without YaRN.
    pub magnitude: f64,
}

impl Rope {
    /// Reads base, scaling and (Llama 3) the divisors in `rope_freqs.weight`.
    pub fn read(
        keys: &Keys<'_>,
        order: Order,
        head_dim: usize,
        ctx_train: usize,
        divisors: Option<&[f32]>,
    ) -> Result<Self> {
        let n_rot = keys.uint_or("rope.dimension_count", head_dim, 2..=head_dim)?;
        if n_rot % 2 != 0 {
            return Err(Error::malformed(keys.part("rope.dimension_count"), n_rot, "an even number"));
        }
        let base = keys.float_or("rope.freq_base", 10_000.0, 1.0)?;
        let mut frequencies: Vec<f64> =
            (0..n_rot / 2).map(|i| base.powf(-2.0 * i as f64 / n_rot as f64)).collect();
        let mut magnitude = 1.0;
        let kind = keys.file.str(&keys.key("rope.scaling.type"))?.unwrap_or("none");
        match kind {
            "none" => {}
            "linear" => {
                let factor = keys.float_or("rope.scaling.factor", 1.0, 1e-3)?;
                frequencies.iter_mut().for_each(|f| *f /= factor);
            }
            "yarn" => {
                let factor = keys.float_or("rope.scaling.factor", 1.0, 1e-3)?;
                let original =
                    keys.uint_or("rope.scaling.original_context_length", ctx_train, 1..=1 << 31)?;
                yarn(&mut frequencies, n_rot, base, factor, original as f64);
                magnitude = keys.float_or("rope.scaling.attn_factor", 1.0, 1e-3)? * (1.0 + 0.1 * factor.ln());
            }
            other => {
                return Err(Error::unsupported(
                    keys.part("rope.scaling.type"),
                    format!("{other:?}"),
                    ["none", "linear", "yarn"],
                ));
            }
        }
        if let Some(divisors) = divisors {
            if divisors.len() != frequencies.len() {
                return Err(Error::malformed(
                    "tensor rope_freqs.weight",
                    format!("{} values", divisors.len()),
                    frequencies.len(),
                ));
            }
            frequencies.iter_mut().zip(divisors).for_each(|(f, &d)| *f /= f64::from(d));
        }
        Ok(Self { order, frequencies, magnitude })
    }

    /// Cosines and sines of `pos`, each `(n_rot / 2)`.
    pub fn angles(&self, pos: usize, cos: &mut [f32], sin: &mut [f32]) {
        for ((f, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let (s, c) = (pos as f64 * f).sin_cos();
            (*cos, *sin) = ((c * self.magnitude) as f32, (s * self.magnitude) as f32);
        }
    }
}

/// YaRN (arXiv 2309.00071), with its usual bounds of 32 and 1 rotations over the original context: pairs that turn often
/// keep their frequency, pairs that turn less than once are interpolated, a ramp joins them.
fn yarn(frequencies: &mut [f64], n_rot: usize, base: f64, factor: f64, original: f64) {
    let pair_that_turns =
        |times: f64| n_rot as f64 * (original / (times * std::f64::consts::TAU)).ln() / (2.0 * base.ln());
    let low = pair_that_turns(32.0).floor().max(0.0);
    let high = pair_that_turns(1.0).ceil().min(n_rot as f64 - 1.0);
    for (i, f) in frequencies.iter_mut().enumerate() {
        let interpolated = ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
        *f = *f / factor * interpolated + *f * (1.0 - interpolated);
    }
}
