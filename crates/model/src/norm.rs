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
    /// `(n)`
    weight: Vec<f32>,
    /// `(n)`, zeros for [`NormKind::Rms`].
    bias: Vec<f32>,
}

impl Norm {
    /// A norm over `weight.len()` values; a bias is for [`NormKind::Layer`] only.
    pub fn new(kind: NormKind, eps: f32, weight: Vec<f32>, bias: Option<Vec<f32>>) -> Self {
        let bias = bias.unwrap_or_else(|| vec![0.0; weight.len()]);
        assert_eq!(weight.len(), bias.len());
        Self { kind, eps, weight, bias }
    }

    /// Values it looks at together.
    pub fn width(&self) -> usize {
        self.weight.len()
    }

    /// `out = norm(x)`, both `(width)`.
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
        for part in row.chunks_exact_mut(self.width()) {
            match self.kind {
                NormKind::Rms => (ops.rms_norm_in_place)(part, &self.weight, self.eps),
                NormKind::Layer => (ops.layer_norm_in_place)(part, &self.weight, &self.bias, self.eps),
            }
        }
    }
}
