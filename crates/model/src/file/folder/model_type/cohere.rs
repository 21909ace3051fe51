//! Command R: rotary pairs are neighbours here too; where `model_max_length` is told, it is the context.

use super::{Field, ModelType, float, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["cohere"],
    family: "command-r",
    fields: FIELDS,
    defaults: DEFAULTS,
    tied: true,
    ..ModelType::BASE
};

/// What Cohere's models share.
pub(super) const FIELDS: &[Field] = &[
    float("layer_norm_eps", "attention.layer_norm_epsilon"),
    float("logit_scale", "logit_scale"),
    uint("model_max_length", "context_length"),
];

/// Likewise.
pub(super) const DEFAULTS: &[(&str, f64)] =
    &[("layer_norm_eps", 1e-5), ("logit_scale", 0.0625), ("sliding_window", 4096.0)];
