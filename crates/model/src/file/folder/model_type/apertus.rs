//! Apertus: the numbers of its activation, xIELU, are tensors of one value in every layer, and lists in GGUF.

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["apertus"],
    family: "apertus",
    defaults: &[("rms_norm_eps", 1e-5), ("rope_theta", 12_000_000.0)],
    expects: &[("hidden_act", &["\"xielu\""])],
    layer: &[NORMS, LAYER],
    listed: &[
        ("mlp.act_fn.alpha_p", "xielu.alpha_p"),
        ("mlp.act_fn.alpha_n", "xielu.alpha_n"),
        ("mlp.act_fn.beta", "xielu.beta"),
        ("mlp.act_fn.eps", "xielu.eps"),
    ],
    ..ModelType::BASE
};

const NORMS: &[Rule] =
    &[("attention_layernorm", "attn_norm", AsIs), ("feedforward_layernorm", "ffn_norm", AsIs)];
