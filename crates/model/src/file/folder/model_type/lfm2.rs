//! LFM2: layers of attention are those with key and value heads; the width of feed-forward blocks is rounded.

use super::super::change::Change::{AsIs, Other};
use super::super::change::squeezed;
use super::super::draft::Draft;
use super::super::names::Rule;
use super::{Field, ModelType, float, uint};
use crate::error::{Error, Result};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["lfm2"],
    family: "lfm2",
    fields: &[EPS, CONV, THETA],
    defaults: &[("norm_eps", 1e-5), ("conv_L_cache", 3.0)],
    expects: &[("conv_bias", &["false"])],
    tied: true,
    whole: &[WHOLE],
    layer: &[LAYER],
    adjust: |draft| {
        ffn_dim(draft)?;
        kv_heads(draft)
    },
    ..ModelType::BASE
};

/// Epsilon of norms.
pub(super) const EPS: Field = float("norm_eps", "attention.layer_norm_rms_epsilon");
/// Positions of a convolution.
pub(super) const CONV: Field = uint("conv_L_cache", "shortconv.l_cache");
/// Where the file has not `rope_theta`.
pub(super) const THETA: Field = float("theta", "rope.freq_base");

/// The whole model's tensors.
pub(super) const WHOLE: &[Rule] = &[
    ("model.embed_tokens", "token_embd", AsIs),
    ("model.embedding_norm", "token_embd_norm", AsIs),
    ("lm_head", "output", AsIs),
];

/// A layer's.
pub(super) const LAYER: &[Rule] = &[
    ("operator_norm", "attn_norm", AsIs),
    ("ffn_norm", "ffn_norm", AsIs),
    ("feed_forward.w1", "ffn_gate", AsIs),
    ("feed_forward.w2", "ffn_down", AsIs),
    ("feed_forward.w3", "ffn_up", AsIs),
    ("self_attn.q_proj", "attn_q", AsIs),
    ("self_attn.k_proj", "attn_k", AsIs),
    ("self_attn.v_proj", "attn_v", AsIs),
    ("self_attn.out_proj", "attn_output", AsIs),
    ("self_attn.q_layernorm", "attn_q_norm", AsIs),
    ("self_attn.k_layernorm", "attn_k_norm", AsIs),
    ("conv.in_proj", "shortconv.in_proj", AsIs),
    ("conv.out_proj", "shortconv.out_proj", AsIs),
    ("conv.conv", "shortconv.conv", Other(squeezed)),
];

fn ffn_dim(draft: &mut Draft<'_>) -> Result<()> {
    let config = draft.config;
    let dim = match config.uint("block_ff_dim")? {
        Some(dim) => dim,
        None => config.need_uint("intermediate_size")?,
    };
    if !config.bool("block_auto_adjust_ff_dim")?.unwrap_or(true) {
        return draft.uint("feed_forward_length", dim);
    }
    let factor = config.float("block_ffn_dim_multiplier")?.unwrap_or(1.0);
    let multiple = config.uint("block_multiple_of")?.unwrap_or(256).clamp(1, 1 << 20);
    let dim = ((dim.min(1 << 30) * 2 / 3) as f64 * factor).clamp(0.0, 1e9) as u64;
    draft.uint("feed_forward_length", dim.next_multiple_of(multiple))
}

/// Which layers attend.
pub(super) fn kv_heads(draft: &mut Draft<'_>) -> Result<()> {
    let config = draft.config;
    if config.value("layer_types").is_some() {
        return draft.attends_by_type();
    }
    let attends = config
        .list("full_attn_idxs")?
        .ok_or_else(|| Error::missing(config.of("layer_types"), "the kind of each layer"))?;
    let is_one = |i: u64| attends.iter().any(|v| v.as_u64() == Some(i));
    draft.attends((0..draft.n_layers()?).map(is_one))
}
