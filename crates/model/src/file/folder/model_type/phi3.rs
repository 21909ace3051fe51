//! Phi-3 to Phi-4-mini: q, k and v in one matrix, gate and up in another.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::{ModelType, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["phi3"],
    family: "phi3",
    fields: &[uint("sliding_window", "attention.sliding_window")],
    defaults: &[("rms_norm_eps", 1e-5)],
    layer: &[FUSED, LAYER],
    ..ModelType::BASE
};

const FUSED: &[Rule] = &[("self_attn.qkv_proj", "attn_qkv", AsIs), ("mlp.gate_up_proj", "ffn_up", AsIs)];
