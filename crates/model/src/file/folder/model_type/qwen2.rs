//! Qwen2 and Qwen2.5.

use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen2"],
    family: "qwen2",
    expects: &[("hidden_act", &["\"silu\""]), ("use_sliding_window", &["false"])],
    ..ModelType::BASE
};
