//! Qwen3 with experts in every layer.

use super::super::names::{EXPERTS, LAYER};
use super::{Field, ModelType, bool, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen3_moe"],
    family: "qwen3moe",
    fields: &[COUNT, uint("num_local_experts", "expert_count"), USED, DIM, NORM],
    flags: &[("norm_topk_prob", false)],
    expects: EXPECTS,
    layer: &[EXPERTS, LAYER],
    ..ModelType::BASE
};

/// Experts there are.
pub(super) const COUNT: Field = uint("num_experts", "expert_count");
/// Experts a token takes.
pub(super) const USED: Field = uint("num_experts_per_tok", "expert_used_count");
/// How wide each is.
pub(super) const DIM: Field = uint("moe_intermediate_size", "expert_feed_forward_length");
/// Whether the weights of those taken add up to 1.
pub(super) const NORM: Field = bool("norm_topk_prob", "expert_weights_norm");

/// No windows, and experts in every layer.
pub(super) const EXPECTS: &[(&str, &[&str])] = &[
    ("hidden_act", &["\"silu\""]),
    ("use_sliding_window", &["false"]),
    ("mlp_only_layers", &["[]"]),
    ("decoder_sparse_step", &["1"]),
];
