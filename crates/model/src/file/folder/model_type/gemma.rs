//! Gemma: norms are stored less one, heads are wider than the model's width by their number.

use super::super::change::Change::Other;
use super::super::change::plus_one;
use super::super::names::{LAYER, Rule, WHOLE};
use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["gemma"],
    family: "gemma",
    defaults: &[("rms_norm_eps", 1e-6), ("head_dim", 256.0)],
    expects: &[
        ("hidden_activation", &["\"gelu_pytorch_tanh\""]),
        ("use_bidirectional_attention", &["false"]),
    ],
    tied: true,
    whole: &[NORM, WHOLE],
    layer: &[NORMS, LAYER],
    ..ModelType::BASE
};

/// The last norm of every Gemma.
pub(super) const NORM: &[Rule] = &[("model.norm", "output_norm", Other(plus_one))];

const NORMS: &[Rule] = &[
    ("input_layernorm", "attn_norm", Other(plus_one)),
    ("post_attention_layernorm", "ffn_norm", Other(plus_one)),
];
