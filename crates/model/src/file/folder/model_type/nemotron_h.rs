//! Nemotron-H, dense and with experts: every layer is one block, of a kind that a list or a text says. Layers that draft are
//! left out.

use super::super::change::Change::{AsIs, Other};
use super::super::change::{column, neg_exp_column, squeezed};
use super::super::draft::Draft;
use super::super::fields::Fields;
use super::super::names::{Rule, mamba2};
use super::mamba::{CONV, EPS, LAYER, LAYERS_IN, WHOLE};
use super::mamba2::NO_LIMIT;
use super::{Field, ModelType, bool, float, uint};
use crate::error::{Error, Result};

/// Some layers are feed-forward blocks.
pub static DENSE: ModelType = ModelType {
    names: &["nemotron_h"],
    when: Some(|config| !has_experts(config)),
    family: "nemotron_h",
    fields: FIELDS,
    defaults: &[
        ("layer_norm_epsilon", 1e-5),
        ("head_dim", 128.0),
        ("num_key_value_heads", 8.0),
        ("conv_kernel", 4.0),
        ("ssm_state_size", 128.0),
        ("mamba_num_heads", 128.0),
        ("mamba_head_dim", 64.0),
        ("n_groups", 8.0),
    ],
    expects: &[("mlp_hidden_act", &["\"relu2\""]), ("mamba_hidden_act", &["\"silu\""]), NO_LIMIT],
    layers_in: LAYERS_IN,
    skips: &["mtp."],
    whole: &[WHOLE],
    layer: &[LAYER, MIXER, BLOCKS],
    adjust: |draft| blocks(draft, Block::Dense, "intermediate_size"),
    ..ModelType::BASE
};

/// Some layers are experts.
pub static EXPERTS: ModelType = ModelType {
    when: Some(has_experts),
    family: "nemotron_h_moe",
    fields: &[
        HEADS,
        STATE,
        GROUPS,
        CONV,
        EPS,
        uint("n_routed_experts", "expert_count"),
        uint("num_experts_per_tok", "expert_used_count"),
        uint("moe_intermediate_size", "expert_feed_forward_length"),
        uint("n_shared_experts", "expert_shared_count"),
        uint("moe_shared_expert_intermediate_size", "expert_shared_feed_forward_length"),
        bool("norm_topk_prob", "expert_weights_norm"),
        float("routed_scaling_factor", "expert_weights_scale"),
        uint("n_group", "expert_group_count"),
    ],
    flags: &[("norm_topk_prob", true)],
    expects: &[
        ("mlp_hidden_act", &["\"relu2\""]),
        ("mamba_hidden_act", &["\"silu\""]),
        NO_LIMIT,
        ("n_group", &["1"]),
        ("n_shared_experts", &["1"]),
        ("moe_latent_size", &["null"]),
    ],
    adjust: |draft| blocks(draft, Block::Experts, "moe_intermediate_size"),
    ..DENSE
};

const HEADS: Field = uint("mamba_num_heads", "ssm.time_step_rank");
const STATE: Field = uint("ssm_state_size", "ssm.state_size");
const GROUPS: Field = uint("n_groups", "ssm.group_count");
const FIELDS: &[Field] = &[HEADS, STATE, GROUPS, CONV, EPS];

const MIXER: &[Rule] = mamba2!("mixer", "n_groups");

const BLOCKS: &[Rule] = &[
    ("mixer.q_proj", "attn_q", AsIs),
    ("mixer.k_proj", "attn_k", AsIs),
    ("mixer.v_proj", "attn_v", AsIs),
    ("mixer.o_proj", "attn_output", AsIs),
    ("mixer.up_proj", "ffn_up", AsIs),
    ("mixer.down_proj", "ffn_down", AsIs),
    ("mixer.gate", "ffn_gate_inp", AsIs),
    ("mixer.gate.e_score_correction_bias", "exp_probs_b.bias", AsIs),
    ("mixer.experts.{}.up_proj", "ffn_up_exps", AsIs),
    ("mixer.experts.{}.down_proj", "ffn_down_exps", AsIs),
    ("mixer.shared_experts.up_proj", "ffn_up_shexp", AsIs),
    ("mixer.shared_experts.down_proj", "ffn_down_shexp", AsIs),
];

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Mamba,
    Attention,
    Dense,
    Experts,
}

/// The kind of each layer: a list of words, or a text of one letter for each.
fn kinds(config: &Fields<'_>) -> Result<Vec<Block>> {
    let (list, text) = ("layers_block_type", "hybrid_override_pattern");
    let unknown = |name: &str, found: String| {
        Err(Error::unsupported(config.of(name), found, ["mamba", "attention", "mlp", "moe"]))
    };
    if let Some(kinds) = config.list(list)? {
        let kind = |kind: &serde_json::Value| match kind.as_str() {
            Some("linear_attention" | "mamba") => Ok(Block::Mamba),
            Some("full_attention" | "attention") => Ok(Block::Attention),
            Some("mlp") => Ok(Block::Dense),
            Some("moe") => Ok(Block::Experts),
            _ => unknown(list, kind.to_string()),
        };
        return kinds.iter().map(kind).collect();
    }
    let kind = |letter: char| match letter {
        'M' => Ok(Block::Mamba),
        '*' => Ok(Block::Attention),
        '-' => Ok(Block::Dense),
        'E' => Ok(Block::Experts),
        other => unknown(text, format!("{other:?}")),
    };
    match config.str(text)? {
        Some(letters) => letters.chars().map(kind).collect(),
        None => Err(Error::missing(config.of(list), "the kind of each layer")),
    }
}

fn has_experts(config: &Fields<'_>) -> bool {
    kinds(config).is_ok_and(|kinds| kinds.contains(&Block::Experts))
}

/// Widths of the feed-forward blocks, which are of kind `block`, and heads of the layers that attend.
fn blocks(draft: &mut Draft<'_>, block: Block, width: &str) -> Result<()> {
    let config = draft.config;
    let kinds = kinds(&config)?;
    let width = config.need_uint(width)?.min(1 << 30) as i32;
    let widths: Vec<i32> = kinds.iter().map(|&kind| if kind == block { width } else { 0 }).collect();
    draft.uint("block_count", kinds.len() as u64)?;
    draft.uints("feed_forward_length", &widths)?;
    draft.attends(kinds.iter().map(|&kind| kind == Block::Attention))?;
    let heads = config.need_uint("mamba_num_heads")?;
    draft.uint("ssm.inner_size", heads.saturating_mul(config.need_uint("mamba_head_dim")?))
}
