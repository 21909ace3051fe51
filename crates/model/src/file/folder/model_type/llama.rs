//! Llama and Mistral.

use super::super::names::{INTERLEAVED, LAYER};
use super::{ModelType, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["llama", "mistral"],
    family: "llama",
    fields: &[uint("sliding_window", "attention.sliding_window")],
    layer: &[INTERLEAVED, LAYER],
    ..ModelType::BASE
};
