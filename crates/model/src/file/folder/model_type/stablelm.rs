//! StableLM: layer norms; those of the heads of q and k, which the 12B model has, lie one by one and are stacked.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::{ModelType, bool, float};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["stablelm"],
    family: "stablelm",
    fields: &[
        float("layer_norm_eps", "attention.layer_norm_epsilon"),
        bool("use_parallel_residual", "use_parallel_residual"),
    ],
    defaults: &[("layer_norm_eps", 1e-5), ("partial_rotary_factor", 0.25)],
    layer: &[HEAD_NORMS, LAYER],
    ..ModelType::BASE
};

const HEAD_NORMS: &[Rule] = &[
    ("self_attn.q_layernorm.norms.{}", "attn_q_norm", AsIs),
    ("self_attn.k_layernorm.norms.{}", "attn_k_norm", AsIs),
];
