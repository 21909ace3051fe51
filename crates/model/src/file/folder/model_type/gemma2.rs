//! Gemma 2.

use super::super::change::Change::Other;
use super::super::change::plus_one;
use super::super::names::{LAYER, Rule, WHOLE};
use super::{ModelType, float, gemma, scale_by, uint};
use crate::error::Error;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["gemma2"],
    family: "gemma2",
    fields: &[
        uint("sliding_window", "attention.sliding_window"),
        float("attn_logit_softcapping", "attn_logit_softcapping"),
        float("final_logit_softcapping", "final_logit_softcapping"),
    ],
    defaults: &[("rms_norm_eps", 1e-6), ("head_dim", 256.0), ("query_pre_attn_scalar", 256.0)],
    expects: &[
        ("hidden_activation", &["\"gelu_pytorch_tanh\""]),
        ("use_bidirectional_attention", &["false"]),
    ],
    tied: true,
    whole: &[gemma::NORM, WHOLE],
    layer: &[NORMS, LAYER],
    adjust: |draft| {
        let kinds = draft.config.list("layer_types")?.map_or(&[][..], |kinds| kinds);
        let kind = |i| if i % 2 == 0 { "sliding_attention" } else { "full_attention" };
        if let Some(i) = (0..kinds.len()).find(|&i| kinds[i] != kind(i)) {
            let found = format!("layer {i} of kind {}", kinds[i]);
            return Err(Error::unsupported(
                draft.config.of("layer_types"),
                found,
                ["sliding and full in turn"],
            ));
        }
        scale_by(draft, "query_pre_attn_scalar")
    },
    ..ModelType::BASE
};

/// Norms on both sides of each block.
pub(super) const NORMS: &[Rule] = &[
    ("input_layernorm", "attn_norm", Other(plus_one)),
    ("post_attention_layernorm", "post_attention_norm", Other(plus_one)),
    ("pre_feedforward_layernorm", "ffn_norm", Other(plus_one)),
    ("post_feedforward_layernorm", "post_ffw_norm", Other(plus_one)),
];
