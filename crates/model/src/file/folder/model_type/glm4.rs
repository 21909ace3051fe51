//! GLM-4 of April 2025: norms on both sides of each block, gate and up in one matrix; rotary pairs are neighbours here too.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["glm4"],
    family: "glm4",
    defaults: &[("rms_norm_eps", 1.562_5e-7), ("head_dim", 128.0), ("partial_rotary_factor", 0.5)],
    layer: &[BLOCKS, LAYER],
    ..ModelType::BASE
};

const BLOCKS: &[Rule] = &[
    ("post_self_attn_layernorm", "post_attention_norm", AsIs),
    ("post_mlp_layernorm", "post_ffw_norm", AsIs),
    ("mlp.gate_up_proj", "ffn_up", AsIs),
];
