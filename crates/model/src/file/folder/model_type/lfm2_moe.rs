//! LFM2 with experts in all layers but the first few.

use super::super::change::Change::AsIs;
use super::super::names::Rule;
use super::lfm2::{LAYER, WHOLE, kv_heads};
use super::{ModelType, float, lfm2, qwen3_moe, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["lfm2_moe"],
    family: "lfm2moe",
    fields: &[
        lfm2::EPS,
        lfm2::CONV,
        lfm2::THETA,
        qwen3_moe::COUNT,
        qwen3_moe::USED,
        qwen3_moe::DIM,
        qwen3_moe::NORM,
        uint("num_dense_layers", "leading_dense_block_count"),
        float("routed_scaling_factor", "expert_weights_scale"),
    ],
    defaults: &[
        ("norm_eps", 1e-5),
        ("conv_L_cache", 3.0),
        ("num_dense_layers", 2.0),
        ("num_experts_per_tok", 4.0),
    ],
    flags: &[("norm_topk_prob", true)],
    expects: &[("conv_bias", &["false"])],
    tied: true,
    whole: &[WHOLE],
    layer: &[EXPERTS, LAYER],
    adjust: |draft| {
        // The sigmoid.
        draft.uint("expert_gating_func", 2)?;
        kv_heads(draft)
    },
    ..ModelType::BASE
};

const EXPERTS: &[Rule] = &[
    ("feed_forward.gate", "ffn_gate_inp", AsIs),
    ("feed_forward.expert_bias", "exp_probs_b.bias", AsIs),
    ("feed_forward.experts.{}.w1", "ffn_gate_exps", AsIs),
    ("feed_forward.experts.{}.w2", "ffn_down_exps", AsIs),
    ("feed_forward.experts.{}.w3", "ffn_up_exps", AsIs),
];
