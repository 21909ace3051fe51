//! StarCoder2: layer norms and biases everywhere. A folder without a window has none, whatever the family's usual one is.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::{ModelType, float, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["starcoder2"],
    family: "starcoder2",
    fields: &[
        float("norm_epsilon", "attention.layer_norm_epsilon"),
        uint("sliding_window", "attention.sliding_window"),
    ],
    defaults: &[("norm_epsilon", 1e-5), ("sliding_window", 0.0)],
    expects: &[("hidden_act", &["\"gelu_pytorch_tanh\""])],
    tied: true,
    layer: &[BLOCKS, LAYER],
    ..ModelType::BASE
};

const BLOCKS: &[Rule] = &[("mlp.c_fc", "ffn_up", AsIs), ("mlp.c_proj", "ffn_down", AsIs)];
