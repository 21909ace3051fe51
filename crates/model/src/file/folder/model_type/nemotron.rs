//! Nemotron and Minitron: layer norms, whose weights are stored less one and whose biases are not.

use super::super::change::Change::{AsIs, Other};
use super::super::change::plus_one;
use super::super::names::{LAYER, Rule, WHOLE};
use super::{ModelType, float};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["nemotron"],
    family: "nemotron",
    fields: &[float("norm_eps", "attention.layer_norm_epsilon")],
    defaults: &[("norm_eps", 1e-5), ("partial_rotary_factor", 0.5)],
    expects: &[("hidden_act", &["\"relu2\""])],
    whole: &[NORM, WHOLE],
    layer: &[NORMS, LAYER],
    ..ModelType::BASE
};

const NORM: &[Rule] = &[
    ("model.norm.weight", "output_norm.weight", Other(plus_one)),
    ("model.norm.bias", "output_norm.bias", AsIs),
];

const NORMS: &[Rule] = &[
    ("input_layernorm.weight", "attn_norm.weight", Other(plus_one)),
    ("input_layernorm.bias", "attn_norm.bias", AsIs),
    ("post_attention_layernorm.weight", "ffn_norm.weight", Other(plus_one)),
    ("post_attention_layernorm.bias", "ffn_norm.bias", AsIs),
];
