//! Phi-1 to Phi-2: layer norms and biases everywhere, on the head too; half of each head is rotated where files don't say.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule, WHOLE};
use super::{ModelType, float};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["phi"],
    family: "phi2",
    fields: &[float("layer_norm_eps", "attention.layer_norm_epsilon")],
    defaults: &[("layer_norm_eps", 1e-5), ("partial_rotary_factor", 0.5)],
    expects: &[("hidden_act", &["\"gelu_new\""]), ("qk_layernorm", &["false"])],
    whole: &[NORM, WHOLE],
    layer: &[BLOCKS, LAYER],
    ..ModelType::BASE
};

const NORM: &[Rule] = &[("model.final_layernorm", "output_norm", AsIs)];

const BLOCKS: &[Rule] =
    &[("self_attn.dense", "attn_output", AsIs), ("mlp.fc1", "ffn_up", AsIs), ("mlp.fc2", "ffn_down", AsIs)];
