//! Norms over the channels of a token or the values of a head.

use crate::decoder::Runtime;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Divides by the root of the mean square (arXiv 1910.07467).
    Rms,
    /// Subtracts the mean, divides by the standard deviation (arXiv 1607.06450).
    Layer,
}

/// A norm and its weights.
#[derive(Debug, Clone)]
pub struct Norm {
    kind: NormKind,
    /// Added to the mean square or variance.
    eps: f32,
    /// Values it looks at together.
    width: usize,
    /// `(n_sets, width)`: one set for all, or one for each head.
    weight: Vec<f32>,
    /// `(n_sets, width)`, zeros for [`NormKind::Rms`].
    bias: Vec<f32>,
}

impl Norm {
    /// A norm over `weight.len()` values; a bias is for [`NormKind::Layer`] only.
    pub fn new(kind: NormKind, eps: f32, weight: Vec<f32>, bias: Option<Vec<f32>>) -> Self {
        let bias = bias.unwrap_or_else(|| vec![0.0; weight.len()]);
        assert_eq!(weight.len(), bias.len());
        Self { kind, eps, width: weight.len(), weight, bias }
    }

    /// The same weights as norms over `width` values each, taken in turn by the parts of a row.
    pub fn in_turn(self, width: usize) -> Self {
        assert!(width > 0 && self.weight.len().is_multiple_of(width));
        Self { width, ..self }
    }

    /// `out = norm(x)`, both `(width)`, by the first set.
    pub fn apply(&self, run: &Runtime<'_>, x: &[f32], out: &mut [f32]) {
        let ops = run.kernels.ops();
        match self.kind {
            NormKind::Rms => (ops.rms_norm)(x, &self.weight, self.eps, out),
            NormKind::Layer => (ops.layer_norm)(x, &self.weight, &self.bias, self.eps, out),
        }
    }

    /// Norms every `width` values of `row` in place.
    pub fn apply_in_place(&self, run: &Runtime<'_>, row: &mut [f32]) {
        let ops = run.kernels.ops();
        let sets = self.weight.chunks_exact(self.width).zip(self.bias.chunks_exact(self.width)).cycle();
        for (part, (weight, bias)) in row.chunks_exact_mut(self.width).zip(sets) {
            match self.kind {
                NormKind::Rms => (ops.rms_norm_in_place)(part, weight, self.eps),
                NormKind::Layer => (ops.layer_norm_in_place)(part, weight, bias, self.eps),
            }
        }
    }
}
