//! Qwen 1.5 and 2 with experts in every layer, beside a gated block that every token takes.

use super::super::change::Change::AsIs;
use super::super::names::{EXPERTS, LAYER, Rule};
use super::{Field, ModelType, qwen3_moe, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen2_moe"],
    family: "qwen2moe",
    fields: &[SHARED_DIM, qwen3_moe::COUNT, qwen3_moe::USED, qwen3_moe::DIM, qwen3_moe::NORM],
    flags: &[("norm_topk_prob", false)],
    expects: qwen3_moe::EXPECTS,
    layer: &[SHARED, EXPERTS, LAYER],
    ..ModelType::BASE
};

/// The width of the block that every token takes.
pub(super) const SHARED_DIM: Field =
    uint("shared_expert_intermediate_size", "expert_shared_feed_forward_length");

/// The block that every token takes, and its gate.
pub(super) const SHARED: &[Rule] = &[
    ("mlp.shared_expert_gate", "ffn_gate_inp_shexp", AsIs),
    ("mlp.shared_expert.gate_proj", "ffn_gate_shexp", AsIs),
    ("mlp.shared_expert.up_proj", "ffn_up_shexp", AsIs),
    ("mlp.shared_expert.down_proj", "ffn_down_shexp", AsIs),
];
