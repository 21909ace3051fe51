//! Scale moved from inputs to weights, within a layer, before it is encoded.
//!
//! `y = (W s) (x / s)` for any scales `s` by column. The `1 / s` goes into what makes the input (its maker): the gain of the norm before
//! it, or the rows of the matrix before it where nothing but a product lies between (values before attention's output, of as many
//! heads as queries have; up before down, where a gate's activation does not touch it). So the model computes the same, and its weights
//! or inputs lose less when they are rounded. How scales are found: [`Balance`].
//!
//! A place where that does not hold to the letter is left alone: layers with experts, with mixers other than attention, whose halves
//! share an input, or whose input is not normed.

use std::collections::HashMap;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::{F32, Format};
use ingle_model::config::Config;
use ingle_model::ffn::FfnPlan;
use ingle_model::file::contents::Piece;
use ingle_model::file::{Contents, Tensor};
use ingle_model::mixer::MixerPlan;
use serde::{Deserialize, Serialize};

use crate::calibrate::Site;
use crate::method::error::Measure;
use crate::method::rounding::encode_by_importance;
use crate::method::{awq, smooth};

/// How scales are found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Balance {
    /// For the least error of rounded weights: [`awq`].
    Awq,
    /// From inputs to weights so far, 0 to 1: [`smooth`].
    Smooth(f32),
}

/// What makes an input.
#[derive(Debug, Clone, Copy)]
enum Maker {
    /// The norm of this name, gain and bias.
    Norm(&'static str),
    /// The rows of this matrix, and its bias.
    Rows(&'static str),
}

/// Inputs that can be scaled, by the first weight that takes them. A layer's first fold that fits a site counts.
static FOLDS: &[(&str, Maker)] = &[
    ("attn_q", Maker::Norm("attn_norm")),
    ("attn_qkv", Maker::Norm("attn_norm")),
    ("attn_output", Maker::Rows("attn_v")),
    ("ffn_gate", Maker::Norm("ffn_norm")),
    ("ffn_up", Maker::Norm("ffn_norm")),
    ("ffn_down", Maker::Rows("ffn_up")),
];

/// What has become of a layer.
#[derive(Debug, Default)]
pub struct Balanced {
    /// The tensors that change, in f32, by name.
    pub changed: HashMap<String, Tensor>,
    /// What inputs are divided by, by the name of the first weight that takes them.
    pub scales: HashMap<String, Vec<f32>>,
}

/// Rows of a matrix that scales are tried on.
const ROWS_TRIED: usize = 192;

/// The balancing of one layer.
pub struct Balancing<'a> {
    /// The model.
    pub file: &'a Contents,
    /// Its numbers.
    pub config: &'a Config,
    /// Which layer.
    pub layer: usize,
    /// The format that the tensor of a name will have; `None` where it stays as it is.
    pub format_of: &'a dyn Fn(&str) -> Option<&'static Format>,
    /// Threads.
    pub pool: &'a Pool,
}

impl Balancing<'_> {
    /// Moves scales wherever it can be done, and tells `sites` of it.
    pub fn balance(&self, how: Balance, sites: &mut [Site]) -> Balanced {
        let mut balanced = Balanced::default();
        if !self.is_plain() {
            return balanced;
        }
        let changed = &mut balanced.changed;
        for &(taker, maker) in FOLDS {
            let first = self.name(taker, "weight");
            let Some(site) = sites.iter_mut().find(|site| site.weights.first() == Some(&first)) else {
                continue;
            };
            if !self.is_made_by(site, taker, maker) {
                continue;
            }
            let weights: Vec<(&String, Vec<f32>)> =
                site.weights.iter().map(|name| (name, self.values(name, changed))).collect();
            let scales = match how {
                Balance::Smooth(strength) => {
                    let group: Vec<&[f32]> = weights.iter().map(|(_, w)| &w[..]).collect();
                    smooth::scales(&group, &site.stats.max_abs, strength)
                }
                Balance::Awq => match self.awq(site, &weights) {
                    Some(scales) => scales,
                    None => continue,
                },
            };
            let scaled: Vec<(String, Vec<f32>)> = weights
                .into_iter()
                .map(|(name, mut w)| {
                    awq::scale_columns(&mut w, &scales);
                    (name.clone(), w)
                })
                .collect();
            for (name, w) in scaled {
                self.put(&name, &w, changed);
            }
            self.unscale(maker, &scales, changed);
            site.stats.divide(&scales);
            balanced.scales.insert(first, scales);
        }
        balanced
    }

    /// Whether the layer is a normed attention and a normed feed-forward block, one behind the other.
    fn is_plain(&self) -> bool {
        let plan = &self.config.layers[self.layer];
        let plain_values = |name| self.file.tensor(&self.name(name, "weight")).is_none();
        !plan.parallel
            && self.config.family.norms != ingle_model::arch::Norms::After
            && matches!(plan.ffn, FfnPlan::Dense(_))
            && matches!(plan.mixer, MixerPlan::Attention(_))
            && plain_values("attn_v_norm")
    }

    /// Whether what `site` takes is what `maker` makes, and nobody else takes it.
    fn is_made_by(&self, site: &Site, taker: &str, maker: Maker) -> bool {
        let cols = site.stats.cols();
        match maker {
            Maker::Norm(name) => {
                let norm = self.file.tensor(&self.name(name, "weight"));
                // With a gate both share the input; without one `ffn_up` takes it alone.
                let whole = match taker {
                    "attn_q" => site.weights.len() == 3,
                    "ffn_gate" => site.weights.len() == 2,
                    _ => site.weights.len() == 1,
                };
                whole && norm.is_some_and(|t| t.n_values() == cols)
            }
            Maker::Rows(name) => {
                let plan = &self.config.layers[self.layer];
                let linear = match (&plan.ffn, plan.attention()) {
                    (_, Some(attention)) if name == "attn_v" => {
                        !attention.norm_values && !attention.values_are_keys
                    }
                    (FfnPlan::Dense(dense), _) => {
                        dense.gated && self.file.tensor(&self.name("ffn_gate", "weight")).is_some()
                    }
                    _ => false,
                };
                let maker = self.file.tensor(&self.name(name, "weight"));
                linear && maker.is_some_and(|t| t.shape.get(1) == Some(&cols))
            }
        }
    }

    /// The scales that AWQ finds; `None` where none are better, or products were not kept.
    fn awq(&self, site: &Site, weights: &[(&String, Vec<f32>)]) -> Option<Vec<f32>> {
        let cols = site.stats.cols();
        let h = site.stats.hessian()?;
        let measure = Measure::new(&h, cols, self.pool);
        let squares = site.stats.mean_squares();
        let formats: Vec<Option<&Format>> = weights.iter().map(|(name, _)| (self.format_of)(name)).collect();
        let rounded = |i: usize, w: &[f32]| {
            let Some(format) = formats[i] else { return w.to_vec() };
            let bytes = encode_by_importance(w, cols, format, Some(&squares), self.pool);
            let mut values = vec![0.0; w.len()];
            (format.dequantize)(&bytes, &mut values);
            values
        };
        let group: Vec<&[f32]> = weights.iter().map(|(_, w)| &w[..]).collect();
        let found = awq::search(&group, &site.stats.mean_abs(), &measure, ROWS_TRIED, rounded, self.pool);
        (found.exponent > 0.0).then_some(found.by_col)
    }

    /// Divides what `maker` makes.
    fn unscale(&self, maker: Maker, scales: &[f32], changed: &mut HashMap<String, Tensor>) {
        let (name, is_matrix) = match maker {
            Maker::Norm(name) => (name, false),
            Maker::Rows(name) => (name, true),
        };
        for end in ["weight", "bias"] {
            let name = self.name(name, end);
            if self.file.tensor(&name).is_none() {
                continue;
            }
            let mut values = self.values(&name, changed);
            let width = if is_matrix && end == "weight" { values.len() / scales.len() } else { 1 };
            for (row, scale) in values.chunks_exact_mut(width).zip(scales) {
                row.iter_mut().for_each(|v| *v /= scale);
            }
            self.put(&name, &values, changed);
        }
    }

    fn name(&self, part: &str, end: &str) -> String {
        format!("blk.{}.{part}.{end}", self.layer)
    }

    /// The values that the tensor has by now.
    fn values(&self, name: &str, changed: &HashMap<String, Tensor>) -> Vec<f32> {
        let tensor = changed.get(name).or_else(|| self.file.tensor(name));
        tensor.map(Tensor::values).unwrap_or_default()
    }

    fn put(&self, name: &str, values: &[f32], changed: &mut HashMap<String, Tensor>) {
        let Some(tensor) = self.file.tensor(name) else { return };
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let piece = Piece::InPlace(Bytes::new(bytes));
        changed
            .insert(name.to_owned(), Tensor::new(name.to_owned(), tensor.shape.clone(), &F32, vec![piece]));
    }
}
