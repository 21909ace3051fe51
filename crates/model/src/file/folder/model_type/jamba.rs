//! Jamba: every so many layers one attends, every so many have experts; the others are Mamba's, with norms in the mixer.

use super::super::change::Change::{AsIs, Other};
use super::super::change::{neg_exp, squeezed};
use super::super::names::{LAYER, Rule, WHOLE, mamba};
use super::{ModelType, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["jamba"],
    family: "jamba",
    fields: &[
        uint("mamba_d_conv", "ssm.conv_kernel"),
        uint("mamba_d_state", "ssm.state_size"),
        uint("mamba_dt_rank", "ssm.time_step_rank"),
        uint("num_experts", "expert_count"),
        uint("num_experts_per_tok", "expert_used_count"),
    ],
    defaults: &[
        ("rms_norm_eps", 1e-6),
        ("num_key_value_heads", 8.0),
        ("attn_layer_period", 8.0),
        ("attn_layer_offset", 4.0),
        ("mamba_d_conv", 4.0),
        ("mamba_d_state", 16.0),
        ("num_experts", 16.0),
        ("num_experts_per_tok", 2.0),
    ],
    whole: &[NORM, WHOLE],
    layer: &[MIXER, BLOCKS, LAYER],
    adjust: |draft| {
        let config = draft.config;
        if config.value("mamba_dt_rank").is_some_and(|rank| rank == "auto") {
            let rank = config.need_uint("hidden_size")?.div_ceil(16);
            draft.uint("ssm.time_step_rank", rank)?;
        }
        draft.uint("ssm.inner_size", draft.expanded("mamba_expand")?)?;
        let period = config.need_uint("attn_layer_period")?.max(1);
        let offset = config.need_uint("attn_layer_offset")?;
        draft.attends((0..draft.n_layers()?).map(|i| i % period == offset))
    },
    ..ModelType::BASE
};

const NORM: &[Rule] = &[("model.final_layernorm", "output_norm", AsIs)];

const MIXER: &[Rule] = mamba!("mamba");

const BLOCKS: &[Rule] = &[
    ("mamba.dt_layernorm", "ssm_dt_norm", AsIs),
    ("mamba.b_layernorm", "ssm_b_norm", AsIs),
    ("mamba.c_layernorm", "ssm_c_norm", AsIs),
    ("pre_ff_layernorm", "ffn_norm", AsIs),
    ("feed_forward.gate_proj", "ffn_gate", AsIs),
    ("feed_forward.up_proj", "ffn_up", AsIs),
    ("feed_forward.down_proj", "ffn_down", AsIs),
    ("feed_forward.router", "ffn_gate_inp", AsIs),
    ("feed_forward.experts.{}.gate_proj", "ffn_gate_exps", AsIs),
    ("feed_forward.experts.{}.up_proj", "ffn_up_exps", AsIs),
    ("feed_forward.experts.{}.down_proj", "ffn_down_exps", AsIs),
];
