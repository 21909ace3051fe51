//! Qwen3-Next: gated delta nets whose projections lie in one matrix by key heads, which the family reads as it is; norms are
//! stored less one but for those of the delta nets. Layers that draft are left out.

use super::super::change::Change::{AsIs, Other};
use super::super::change::{neg_exp, plus_one, squeezed};
use super::super::draft::Draft;
use super::super::names::{EXPERTS, LAYER, Rule, WHOLE};
use super::qwen2_moe::{SHARED, SHARED_DIM};
use super::{Field, ModelType, gemma, qwen3_moe, uint};
use crate::error::Result;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen3_next"],
    family: "qwen3next",
    fields: &[
        CONV,
        KEY_DIM,
        KEY_HEADS,
        VALUE_HEADS,
        SHARED_DIM,
        qwen3_moe::COUNT,
        qwen3_moe::USED,
        qwen3_moe::DIM,
        qwen3_moe::NORM,
    ],
    defaults: DEFAULTS,
    flags: &[("norm_topk_prob", true)],
    expects: qwen3_moe::EXPECTS,
    skips: &["mtp."],
    whole: &[gemma::NORM, WHOLE],
    layer: &[NORMS, MIXER, SHARED, EXPERTS, LAYER],
    adjust: mixers,
    ..ModelType::BASE
};

/// Positions of the convolution.
pub(super) const CONV: Field = uint("linear_conv_kernel_dim", "ssm.conv_kernel");
/// Values of a key head.
pub(super) const KEY_DIM: Field = uint("linear_key_head_dim", "ssm.state_size");
/// Key heads.
pub(super) const KEY_HEADS: Field = uint("linear_num_key_heads", "ssm.group_count");
/// Value heads.
pub(super) const VALUE_HEADS: Field = uint("linear_num_value_heads", "ssm.time_step_rank");

/// The library's.
pub(super) const DEFAULTS: &[(&str, f64)] = &[
    ("rms_norm_eps", 1e-6),
    ("head_dim", 256.0),
    ("partial_rotary_factor", 0.25),
    ("full_attention_interval", 4.0),
    ("linear_conv_kernel_dim", 4.0),
    ("linear_key_head_dim", 128.0),
    ("linear_value_head_dim", 128.0),
    ("linear_num_key_heads", 16.0),
    ("linear_num_value_heads", 32.0),
];

/// Norms of the residual stream and of heads.
pub(super) const NORMS: &[Rule] = &[
    ("input_layernorm", "attn_norm", Other(plus_one)),
    ("post_attention_layernorm", "post_attention_norm", Other(plus_one)),
    ("self_attn.q_norm", "attn_q_norm", Other(plus_one)),
    ("self_attn.k_norm", "attn_k_norm", Other(plus_one)),
];

const MIXER: &[Rule] = &[
    ("linear_attn.in_proj_qkvz", "ssm_in", AsIs),
    ("linear_attn.in_proj_ba", "ssm_ba", AsIs),
    ("linear_attn.conv1d", "ssm_conv1d", Other(squeezed)),
    ("linear_attn.dt_bias", "ssm_dt.bias", AsIs),
    ("linear_attn.A_log", "ssm_a", Other(neg_exp)),
    ("linear_attn.norm", "ssm_norm", AsIs),
    ("linear_attn.out_proj", "ssm_out", AsIs),
];

/// Which layers are delta nets, and how wide these are.
pub(super) fn mixers(draft: &mut Draft<'_>) -> Result<()> {
    let config = draft.config;
    let value_dim = config.need_uint("linear_value_head_dim")?;
    let n_heads = config.need_uint("linear_num_value_heads")?;
    draft.uint("ssm.inner_size", value_dim.saturating_mul(n_heads))?;
    draft.uint("full_attention_interval", config.need_uint("full_attention_interval")?)?;
    let Some(kinds) = draft.layer_types()? else { return Ok(()) };
    let recurs: Vec<bool> = kinds.iter().map(|&kind| kind == "linear_attention").collect();
    draft.bools("attention.recurrent_layers", recurs.into_iter())
}
