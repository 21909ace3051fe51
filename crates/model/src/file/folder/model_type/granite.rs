//! Granite 3 and 4 dense: Llama's names and four factors.

use super::super::names::{INTERLEAVED, LAYER};
use super::{Field, ModelType, float};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["granite"],
    family: "granite",
    fields: &[ATTENTION, EMBEDDING, RESIDUAL, LOGITS],
    defaults: &[("rms_norm_eps", 1e-6), ("attention_multiplier", 1.0)],
    layer: &[INTERLEAVED, LAYER],
    ..ModelType::BASE
};

/// The factor on scores.
pub(super) const ATTENTION: Field = float("attention_multiplier", "attention.scale");
/// The factor on embeddings.
pub(super) const EMBEDDING: Field = float("embedding_multiplier", "embedding_scale");
/// The factor on what blocks add.
pub(super) const RESIDUAL: Field = float("residual_multiplier", "residual_scale");
/// What the logits are divided by.
pub(super) const LOGITS: Field = float("logits_scaling", "logit_scale");
