//! Granite 3 and 4 dense: Llama's names and four factors.

use super::super::names::{INTERLEAVED, LAYER};
use super::{ModelType, float};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["granite"],
    family: "granite",
    fields: &[
        float("attention_multiplier", "attention.scale"),
        float("embedding_multiplier", "embedding_scale"),
        float("residual_multiplier", "residual_scale"),
        float("logits_scaling", "logit_scale"),
    ],
    defaults: &[("rms_norm_eps", 1e-6), ("attention_multiplier", 1.0)],
    layer: &[INTERLEAVED, LAYER],
    ..ModelType::BASE
};
