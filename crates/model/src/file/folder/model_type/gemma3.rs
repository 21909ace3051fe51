//! Gemma 3: the text model alone, or out of one that also sees.

use super::super::change::Change::Other;
use super::super::change::plus_one;
use super::super::draft::Draft;
use super::super::names::{LAYER, Rule, WHOLE};
use super::{ModelType, float, gemma, gemma2, scale_by, uint};
use crate::error::{Error, Result};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["gemma3_text", "gemma3"],
    family: "gemma3",
    text_config: Some("text_config"),
    fields: &[
        uint("sliding_window", "attention.sliding_window"),
        float("final_logit_softcapping", "final_logit_softcapping"),
    ],
    // Those of the library: files of models that see give little more than what differs.
    defaults: &[
        ("rms_norm_eps", 1e-6),
        ("head_dim", 256.0),
        ("num_attention_heads", 8.0),
        ("num_key_value_heads", 4.0),
        ("max_position_embeddings", 131_072.0),
        ("query_pre_attn_scalar", 256.0),
        ("rope_theta", 1e6),
        ("sliding_window", 4096.0),
        ("sliding_window_pattern", 6.0),
    ],
    expects: &[
        ("hidden_activation", &["\"gelu_pytorch_tanh\""]),
        ("use_bidirectional_attention", &["false"]),
        ("attn_logit_softcapping", &["null"]),
    ],
    tied: true,
    prefixes: PREFIXES,
    skips: &[
        "vision_tower.",
        "multi_modal_projector.",
        "model.vision_tower.",
        "model.multi_modal_projector.",
    ],
    whole: &[gemma::NORM, WHOLE],
    layer: &[gemma2::NORMS, HEAD_NORMS, LAYER],
    adjust: |draft| {
        let period = period(draft)?;
        draft.uint("attention.sliding_window_pattern", period)?;
        scale_by(draft, "query_pre_attn_scalar")
    },
    ..ModelType::BASE
};

/// The text model's names in one that also sees, of two generations.
pub(super) const PREFIXES: &[(&str, &str)] = &[
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head", "lm_head"),
];

const HEAD_NORMS: &[Rule] = &[
    ("self_attn.q_norm", "attn_q_norm", Other(plus_one)),
    ("self_attn.k_norm", "attn_k_norm", Other(plus_one)),
];

/// Every layer of this period looks back over everything: a number in older files, a list of all layers in newer ones.
fn period(draft: &Draft<'_>) -> Result<u64> {
    let config = &draft.config;
    let Some(kinds) = config.list("layer_types")? else {
        let period = config.uint("_sliding_window_pattern")?;
        return Ok(period.or(config.uint("sliding_window_pattern")?).unwrap_or(6));
    };
    let is_full = |i: usize| kinds[i] == "full_attention";
    let period = (0..kinds.len()).find(|&i| is_full(i)).unwrap_or(kinds.len()) + 1;
    match (0..kinds.len()).find(|&i| is_full(i) != ((i + 1) % period == 0)) {
        None => Ok(period as u64),
        Some(i) => Err(Error::unsupported(
            config.of("layer_types"),
            format!("layer {i} of kind {}", kinds[i]),
            ["a full layer behind every so many sliding ones"],
        )),
    }
}
