//! Seed-OSS: Qwen2's names; the norm before the feed-forward block is called after the attention in GGUF too.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["seed_oss"],
    family: "seed_oss",
    defaults: &[("rms_norm_eps", 1e-6), ("head_dim", 128.0)],
    layer: &[NORM, LAYER],
    ..ModelType::BASE
};

const NORM: &[Rule] = &[("post_attention_layernorm", "post_attention_norm", AsIs)];
