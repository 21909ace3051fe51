//! Granite 4.0 H, dense and with experts: Granite's factors; gate and up of a block lie in one matrix, here taken apart where
//! they lie.

use super::super::change::Change::{AsIs, FirstHalf, Other, SecondHalf};
use super::super::change::{column, neg_exp_column, squeezed};
use super::super::draft::Draft;
use super::super::names::{INTERLEAVED, LAYER, Rule, mamba2};
use super::mamba2::NO_LIMIT;
use super::{Field, ModelType, granite, uint};
use crate::error::Result;

/// Every layer has one block that every token takes.
pub static DENSE: ModelType = ModelType {
    fields: &[
        granite::ATTENTION,
        granite::EMBEDDING,
        granite::RESIDUAL,
        granite::LOGITS,
        CONV,
        STATE,
        HEADS,
        GROUPS,
        uint("shared_intermediate_size", "feed_forward_length"),
    ],
    when: Some(|config| matches!(config.uint("num_local_experts"), Ok(Some(0)))),
    layer: &[INTERLEAVED, DENSE_BLOCKS, MIXER, LAYER],
    ..EXPERTS
};

/// Every layer has experts beside that block.
pub static EXPERTS: ModelType = ModelType {
    names: &["granitemoehybrid"],
    when: Some(|config| !matches!(config.uint("num_local_experts"), Ok(Some(0)))),
    family: "granitehybrid",
    fields: &[
        granite::ATTENTION,
        granite::EMBEDDING,
        granite::RESIDUAL,
        granite::LOGITS,
        CONV,
        STATE,
        HEADS,
        GROUPS,
        uint("shared_intermediate_size", "expert_shared_feed_forward_length"),
        uint("num_local_experts", "expert_count"),
        uint("num_experts_per_tok", "expert_used_count"),
    ],
    defaults: &[
        ("rms_norm_eps", 1e-6),
        ("attention_multiplier", 1.0),
        ("num_local_experts", 8.0),
        ("num_experts_per_tok", 2.0),
        ("mamba_d_conv", 4.0),
        ("mamba_d_state", 256.0),
        ("mamba_n_heads", 128.0),
        ("mamba_n_groups", 1.0),
    ],
    expects: &[("hidden_act", &["\"silu\""]), NO_LIMIT],
    layer: &[INTERLEAVED, BLOCKS, MIXER, LAYER],
    adjust: |draft| {
        let rotates = draft.config.str("position_embedding_type")? == Some("rope");
        draft.bool("rope.scaling.finetuned", rotates)?;
        draft.attends_by_type()?;
        inner(draft)
    },
    ..ModelType::BASE
};

/// Positions of the convolution.
pub(super) const CONV: Field = uint("mamba_d_conv", "ssm.conv_kernel");
/// Rows of a state.
pub(super) const STATE: Field = uint("mamba_d_state", "ssm.state_size");
/// Heads of the state space.
pub(super) const HEADS: Field = uint("mamba_n_heads", "ssm.time_step_rank");
/// Groups of them.
pub(super) const GROUPS: Field = uint("mamba_n_groups", "ssm.group_count");

/// Mamba-2's.
pub(super) const MIXER: &[Rule] = mamba2!("mamba", "mamba_n_groups");

const DENSE_BLOCKS: &[Rule] = &[
    ("shared_mlp.input_linear", "ffn_gate", FirstHalf),
    ("shared_mlp.input_linear", "ffn_up", SecondHalf),
    ("shared_mlp.output_linear", "ffn_down", AsIs),
];

const BLOCKS: &[Rule] = &[
    ("shared_mlp.input_linear", "ffn_gate_shexp", FirstHalf),
    ("shared_mlp.input_linear", "ffn_up_shexp", SecondHalf),
    ("shared_mlp.output_linear", "ffn_down_shexp", AsIs),
    ("block_sparse_moe.router.layer", "ffn_gate_inp", AsIs),
    ("block_sparse_moe.input_linear", "ffn_gate_exps", FirstHalf),
    ("block_sparse_moe.input_linear", "ffn_up_exps", SecondHalf),
    ("block_sparse_moe.output_linear", "ffn_down_exps", AsIs),
];

/// The width of the state space mixers.
pub(super) fn inner(draft: &mut Draft<'_>) -> Result<()> {
    draft.uint("ssm.inner_size", draft.expanded("mamba_expand")?)
}
