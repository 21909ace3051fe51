//! Bamba: Granite's hybrid without its factors; half of each head is rotated.

use super::super::change::Change::AsIs;
use super::super::names::{INTERLEAVED, LAYER, Rule, WHOLE};
use super::ModelType;
use super::granitemoehybrid::{CONV, GROUPS, HEADS, MIXER, STATE, inner};
use super::mamba2::NO_LIMIT;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["bamba"],
    family: "granitehybrid",
    fields: &[CONV, STATE, HEADS, GROUPS],
    defaults: &[
        ("rms_norm_eps", 1e-5),
        ("num_key_value_heads", 8.0),
        ("partial_rotary_factor", 0.5),
        ("mamba_d_conv", 4.0),
        ("mamba_d_state", 256.0),
        ("mamba_n_heads", 128.0),
        ("mamba_n_groups", 1.0),
    ],
    expects: &[("hidden_act", &["\"silu\""]), NO_LIMIT],
    whole: &[NORM, WHOLE],
    layer: &[INTERLEAVED, BLOCKS, MIXER, LAYER],
    adjust: |draft| {
        let attends = draft.config.list("attn_layer_indices")?.map_or(&[][..], |list| list);
        let is_one = |i: u64| attends.iter().any(|v| v.as_u64() == Some(i));
        draft.attends((0..draft.n_layers()?).map(is_one))?;
        inner(draft)
    },
    ..ModelType::BASE
};

const NORM: &[Rule] = &[("model.final_layernorm", "output_norm", AsIs)];

const BLOCKS: &[Rule] = &[
    ("pre_ff_layernorm", "ffn_norm", AsIs),
    ("feed_forward.gate_proj", "ffn_gate", AsIs),
    ("feed_forward.up_proj", "ffn_up", AsIs),
    ("feed_forward.down_proj", "ffn_down", AsIs),
];
