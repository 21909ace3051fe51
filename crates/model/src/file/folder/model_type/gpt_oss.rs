//! gpt-oss: sinks, biases, and experts in tensors of all together: in MXFP4 as published, or as floats with rows for
//! columns. Rows of gates and of what they gate take turns in both.

use super::super::change::Change::{AsIs, EvenRows, OddRows, Other};
use super::super::change::transposed;
use super::super::names::{LAYER, Rule};
use super::{ModelType, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["gpt_oss"],
    family: "gpt-oss",
    fields: &[
        uint("num_local_experts", "expert_count"),
        uint("num_experts_per_tok", "expert_used_count"),
        uint("intermediate_size", "expert_feed_forward_length"),
    ],
    defaults: &[
        ("rms_norm_eps", 1e-5),
        ("head_dim", 64.0),
        ("rope_theta", 150_000.0),
        ("sliding_window", 128.0),
    ],
    expects: &[("hidden_act", &["\"silu\""]), ("swiglu_limit", &["7.0"]), ("swiglu_alpha", &["1.702"])],
    layer: &[BLOCKS, LAYER],
    adjust: |draft| draft.windows(),
    ..ModelType::BASE
};

const BLOCKS: &[Rule] = &[
    ("post_attention_layernorm", "post_attention_norm", AsIs),
    ("self_attn.sinks", "attn_sinks.weight", AsIs),
    ("mlp.router", "ffn_gate_inp", AsIs),
    ("mlp.experts.gate_up_proj_blocks", "ffn_gate_exps.weight", EvenRows),
    ("mlp.experts.gate_up_proj_blocks", "ffn_up_exps.weight", OddRows),
    ("mlp.experts.gate_up_proj", "ffn_gate_exps.weight", Other(|p, c| EvenRows.apply(transposed(p, c)?, c))),
    ("mlp.experts.gate_up_proj", "ffn_up_exps.weight", Other(|p, c| OddRows.apply(transposed(p, c)?, c))),
    ("mlp.experts.gate_up_proj_bias", "ffn_gate_exps.bias", Other(|p, _| p.every_second(0))),
    ("mlp.experts.gate_up_proj_bias", "ffn_up_exps.bias", Other(|p, _| p.every_second(1))),
    ("mlp.experts.down_proj_blocks", "ffn_down_exps.weight", AsIs),
    ("mlp.experts.down_proj", "ffn_down_exps.weight", Other(transposed)),
    ("mlp.experts.down_proj_bias", "ffn_down_exps.bias", AsIs),
];
