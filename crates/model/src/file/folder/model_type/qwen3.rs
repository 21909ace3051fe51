//! Qwen3, dense.

use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen3"],
    family: "qwen3",
    defaults: &[("rms_norm_eps", 1e-6), ("head_dim", 128.0)],
    expects: &[("hidden_act", &["\"silu\""]), ("use_sliding_window", &["false"])],
    ..ModelType::BASE
};
