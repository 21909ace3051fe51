//! Qwen3 with experts in every layer.

use super::super::names::{EXPERTS, LAYER};
use super::{ModelType, bool, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen3_moe"],
    family: "qwen3moe",
    fields: &[
        uint("num_experts", "expert_count"),
        uint("num_local_experts", "expert_count"),
        uint("num_experts_per_tok", "expert_used_count"),
        uint("moe_intermediate_size", "expert_feed_forward_length"),
        bool("norm_topk_prob", "expert_weights_norm"),
    ],
    defaults: &[("rms_norm_eps", 1e-6)],
    expects: &[
        ("hidden_act", &["\"silu\""]),
        ("use_sliding_window", &["false"]),
        ("mlp_only_layers", &["[]"]),
        ("decoder_sparse_step", &["1"]),
    ],
    layer: &[EXPERTS, LAYER],
    adjust: |draft| match draft.config.value("norm_topk_prob") {
        None => draft.bool("expert_weights_norm", false),
        Some(_) => Ok(()),
    },
    ..ModelType::BASE
};
