//! Mamba, and FalconMamba, which norms what the mixer makes of its input without weights.

use super::super::change::Change::{AsIs, Other};
use super::super::change::{neg_exp, squeezed};
use super::super::draft::Draft;
use super::super::names::{Rule, mamba};
use super::{Field, ModelType, float, uint};
use crate::error::Result;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["mamba", "falcon_mamba"],
    family: "mamba",
    fields: &[CONV, STATE, EPS, uint("time_step_rank", "ssm.time_step_rank")],
    defaults: &[("layer_norm_epsilon", 1e-5), ("conv_kernel", 4.0), ("state_size", 16.0)],
    expects: &[("hidden_act", &["\"silu\""]), ("mixer_rms_eps", &["1e-6"])],
    tied: true,
    layers_in: LAYERS_IN,
    whole: &[WHOLE],
    layer: &[LAYER, mamba!("mixer")],
    adjust: |draft| {
        recurs(draft)?;
        let inner = draft.config.uint("intermediate_size")?;
        draft.uint("ssm.inner_size", inner.map_or_else(|| draft.expanded("expand"), Ok)?)?;
        draft.bool("ssm.dt_b_c_rms", draft.config.value("model_type").is_some_and(|t| t == "falcon_mamba"))
    },
    ..ModelType::BASE
};

/// Positions of the convolution.
pub(super) const CONV: Field = uint("conv_kernel", "ssm.conv_kernel");
/// Rows of a state.
pub(super) const STATE: Field = uint("state_size", "ssm.state_size");
/// Epsilon of norms.
pub(super) const EPS: Field = float("layer_norm_epsilon", "attention.layer_norm_rms_epsilon");

/// What stands before a layer's number.
pub(super) const LAYERS_IN: &str = "backbone.layers.";

/// The whole model's tensors.
pub(super) const WHOLE: &[Rule] = &[
    ("backbone.embeddings", "token_embd", AsIs),
    ("backbone.norm_f", "output_norm", AsIs),
    ("lm_head", "output", AsIs),
];

/// What a layer has beside its mixer.
pub(super) const LAYER: &[Rule] = &[("norm", "attn_norm", AsIs)];

/// Nothing but what recurs: no heads, no feed-forward blocks, no end of the context.
pub(super) fn recurs(draft: &mut Draft<'_>) -> Result<()> {
    draft.uint("attention.head_count", 0)?;
    draft.uint("feed_forward_length", 0)?;
    draft.uint("context_length", 1 << 20)
}
