//! Rotary position embedding (arXiv 2104.09864): the angle of each pair at each position.
//!
//! Frequencies are computed once in f64; the angle of a position is `pos * frequency` in f64, so that far positions stay
//! exact. Scaling changes only frequencies and a factor on the rotated vectors. LongRoPE (arXiv 2402.13753) has two sets of
//! frequencies and takes the second when the sequence's context is longer than the original one: by what the context
//! may become, not by what it holds, so that a token's numbers never change while a conversation grows.

use crate::arch::Family;
use crate::decoder::Runtime;
use crate::error::{Error, Result};
use crate::keys::Keys;

/// Which values of a head form a rotated pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `(2i, 2i + 1)`
    Interleaved,
    /// `(i, i + n / 2)`
    Halves,
}

/// A rotation.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Pairing of values.
    pub order: Order,
    /// Radians per position. `(n_rot / 2)`
    pub frequencies: Vec<f64>,
    /// The original context and the frequencies of longer ones.
    pub long: Option<(usize, Vec<f64>)>,
    /// Factor on cosine and sine, 1 without YaRN or LongRoPE.
    pub magnitude: f64,
}

impl Rope {
    /// Without scaling: frequencies `base^(-2 i / n_rot)`.
    pub fn plain(order: Order, base: f64, n_rot: usize) -> Self {
        let frequencies = (0..n_rot / 2).map(|i| base.powf(-2.0 * i as f64 / n_rot as f64)).collect();
        Self { order, frequencies, long: None, magnitude: 1.0 }
    }

    /// Reads base, scaling and divisors from metadata and the small tensors beside it.
    pub fn read(keys: &Keys<'_>, family: &Family, head_dim: usize, ctx_train: usize) -> Result<Self> {
        let n_rot = keys.uint_or("rope.dimension_count", head_dim, 2..=head_dim)?;
        if n_rot % 2 != 0 {
            return Err(Error::malformed(keys.part("rope.dimension_count"), n_rot, "an even number"));
        }
        let base = keys.float_or("rope.freq_base", 10_000.0, 1.0)?;
        let mut rope = Self::plain(family.rope_order, base, n_rot);
        let factor = || keys.float_or("rope.scaling.factor", 1.0, 1e-3);
        let original = keys.uint_or("rope.scaling.original_context_length", ctx_train, 1..=1 << 31)?;
        match keys.str("rope.scaling.type")?.unwrap_or("none") {
            "none" | "longrope" => {}
            "linear" => rope.divide_all(factor()?),
            "yarn" => {
                let turns = |name: &str, default| keys.float_or(name, default, 1e-3);
                let fast = turns("rope.scaling.yarn_beta_fast", 32.0)?;
                let slow = turns("rope.scaling.yarn_beta_slow", 1.0)?;
                let ends = family.yarn_ramp.ends(n_rot, base, original as f64, [fast, slow]);
                yarn(&mut rope.frequencies, factor()?, ends);
                rope.magnitude = 1.0 + 0.1 * factor()?.ln();
            }
            other => {
                return Err(Error::unsupported(
                    keys.part("rope.scaling.type"),
                    format!("{other:?}"),
                    ["none", "linear", "yarn", "longrope"],
                ));
            }
        }
        rope.magnitude *= keys.float_or("rope.scaling.attn_factor", 1.0, 1e-3)?;
        let divisors = |name: &str| keys.small_tensor(name, 1 << 20);
        if let Some(long) = divisors("rope_factors_long.weight")? {
            let mut frequencies = rope.frequencies.clone();
            divide(&mut frequencies, &long, "rope_factors_long.weight")?;
            rope.long = Some((original, frequencies));
        }
        for name in ["rope_freqs.weight", "rope_factors_short.weight"] {
            if let Some(values) = divisors(name)? {
                divide(&mut rope.frequencies, &values, name)?;
            }
        }
        Ok(rope)
    }

    /// Pairs it rotates in each head.
    pub fn n_pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Slows every pair down by `factor`, so that positions count as `pos / factor` (arXiv 2306.15595).
    pub fn divide_all(&mut self, factor: f64) {
        self.frequencies.iter_mut().for_each(|f| *f /= factor);
    }

    /// Rotates the heads of a token's row by its angles.
    pub fn rotate(&self, run: &Runtime<'_>, row: &mut [f32], head_dim: usize, [cos, sin]: [&[f32]; 2]) {
        let rotate = match self.order {
            Order::Halves => run.kernels.ops().rope_halves,
            Order::Interleaved => run.kernels.ops().rope_interleaved,
        };
        rotate(row, head_dim, cos, sin);
    }

    /// Cosines and sines of `pos` in a sequence whose context is `ctx`, each `(n_pairs)`.
    pub fn angles(&self, pos: usize, ctx: usize, cos: &mut [f32], sin: &mut [f32]) {
        let frequencies = match &self.long {
            Some((original, long)) if ctx > *original => long,
            _ => &self.frequencies,
        };
        for ((f, cos), sin) in frequencies.iter().zip(cos).zip(sin) {
            let (s, c) = (pos as f64 * f).sin_cos();
            (*cos, *sin) = ((c * self.magnitude) as f32, (s * self.magnitude) as f32);
        }
    }
}

/// The angles of every token of a step, for every rotation of the model.
#[derive(Debug)]
pub struct Angles {
    /// Of each rotation: its pairs, cosines and sines, both `(n_tokens, n_pairs)`.
    ropes: Vec<(usize, Vec<f32>, Vec<f32>)>,
}

impl Angles {
    pub(crate) fn new(ropes: &[Rope], tokens_max: usize) -> Self {
        let zeros = |n: usize| vec![0.0; tokens_max * n];
        Self { ropes: ropes.iter().map(Rope::n_pairs).map(|n| (n, zeros(n), zeros(n))).collect() }
    }

    /// Computes those of token `t` of the step, at `pos` of a sequence whose context is `ctx`.
    pub(crate) fn set(&mut self, ropes: &[Rope], t: usize, pos: usize, ctx: usize) {
        for (rope, (n, cos, sin)) in ropes.iter().zip(&mut self.ropes) {
            let at = t * *n..(t + 1) * *n;
            rope.angles(pos, ctx, &mut cos[at.clone()], &mut sin[at]);
        }
    }

    /// Cosines and sines of token `t` by rotation `rope`.
    pub(crate) fn of(&self, rope: usize, t: usize) -> [&[f32]; 2] {
        let (n, cos, sin) = &self.ropes[rope];
        [&cos[t * n..(t + 1) * n], &sin[t * n..(t + 1) * n]]
    }
}

fn divide(frequencies: &mut [f64], divisors: &[f32], tensor: &str) -> Result<()> {
    if divisors.len() != frequencies.len() {
        return Err(Error::malformed(
            format!("tensor {tensor}"),
            format!("{} values", divisors.len()),
            frequencies.len(),
        ));
    }
    frequencies.iter_mut().zip(divisors).for_each(|(f, &d)| *f /= f64::from(d));
    Ok(())
}

/// Where YaRN's ramp between kept and interpolated pairs begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ramp {
    /// At whole pairs, rounded outwards, as the paper's code does.
    WholePairs,
    /// Where the numbers of turns fall (gpt-oss).
    Exact,
}

impl Ramp {
    /// Between the pairs that turn `fast` and `slow` times over the original context.
    fn ends(self, n_rot: usize, base: f64, original: f64, turns: [f64; 2]) -> [f64; 2] {
        let [low, high] = turns.map(|times| {
            n_rot as f64 * (original / (times * std::f64::consts::TAU)).ln() / (2.0 * base.ln())
        });
        let [low, high] = match self {
            Self::WholePairs => [low.floor(), high.ceil()],
            Self::Exact => [low, high],
        };
        [low.max(0.0), high.min(n_rot as f64 - 1.0)]
    }
}

/// YaRN (arXiv 2309.00071): pairs that turn often over the original context keep their frequency, pairs that turn seldom are
/// interpolated, a ramp joins them.
fn yarn(frequencies: &mut [f64], factor: f64, [low, high]: [f64; 2]) {
    for (i, f) in frequencies.iter_mut().enumerate() {
        let interpolated = ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
        *f = *f / factor * interpolated + *f * (1.0 - interpolated);
    }
}
