//! Qwen3.5 with experts, in tensors of all together or one by one, beside a gated block that every token takes.

use super::super::change::Change::AsIs;
use super::super::names::{EXPERTS, LAYER, Rule, WHOLE};
use super::qwen2_moe::{SHARED, SHARED_DIM};
use super::qwen3_5::{MIXER, PREFIXES, SKIPS, adjust};
use super::qwen3_next::{CONV, DEFAULTS, KEY_DIM, KEY_HEADS, NORMS, VALUE_HEADS};
use super::{ModelType, gemma, qwen3_moe};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen3_5_moe_text", "qwen3_5_moe"],
    family: "qwen35moe",
    text_config: Some("text_config"),
    fields: &[
        CONV,
        KEY_DIM,
        KEY_HEADS,
        VALUE_HEADS,
        SHARED_DIM,
        qwen3_moe::COUNT,
        qwen3_moe::USED,
        qwen3_moe::DIM,
    ],
    defaults: DEFAULTS,
    prefixes: PREFIXES,
    skips: SKIPS,
    whole: &[gemma::NORM, WHOLE],
    layer: &[NORMS, MIXER, TOGETHER, SHARED, EXPERTS, LAYER],
    adjust,
    ..ModelType::BASE
};

const TOGETHER: &[Rule] = &[
    ("mlp.experts.gate_up_proj", "ffn_gate_up_exps.weight", AsIs),
    ("mlp.experts.down_proj", "ffn_down_exps.weight", AsIs),
];
