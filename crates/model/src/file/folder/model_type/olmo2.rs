//! OLMo 2: norms behind the blocks.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["olmo2"],
    family: "olmo2",
    defaults: &[("rms_norm_eps", 1e-5)],
    layer: &[NORMS, LAYER],
    ..ModelType::BASE
};

/// Norms behind the blocks.
pub(super) const NORMS: &[Rule] = &[
    ("post_attention_layernorm", "post_attention_norm", AsIs),
    ("post_feedforward_layernorm", "post_ffw_norm", AsIs),
];
