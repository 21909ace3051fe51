//! Gemma 4: the text model alone, or out of one that also sees and hears. Layers that see everything have heads, and perhaps
//! key heads, of their own number; older and newer files say so in different places.

use super::super::change::Change::AsIs;
use super::super::draft::{Draft, SLIDING};
use super::super::names::{LAYER, Rule, WHOLE};
use super::{ModelType, float, gemma3, uint};
use crate::error::{Error, Result};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["gemma4_text", "gemma4"],
    family: "gemma4",
    text_config: Some("text_config"),
    fields: &[
        float("final_logit_softcapping", "final_logit_softcapping"),
        uint("num_kv_shared_layers", "attention.shared_kv_layers"),
        uint("hidden_size_per_layer_input", "embedding_length_per_layer_input"),
        uint("num_experts", "expert_count"),
        uint("top_k_experts", "expert_used_count"),
        uint("moe_intermediate_size", "expert_feed_forward_length"),
        uint("head_dim", "attention.key_length_swa"),
        uint("head_dim", "attention.value_length_swa"),
        uint("head_dim", "rope.dimension_count_swa"),
    ],
    defaults: &[
        ("rms_norm_eps", 1e-6),
        ("num_hidden_layers", 30.0),
        ("num_attention_heads", 8.0),
        ("num_key_value_heads", 4.0),
        ("head_dim", 256.0),
        ("global_head_dim", 512.0),
        ("max_position_embeddings", 131_072.0),
        ("sliding_window", 512.0),
        ("hidden_size_per_layer_input", 256.0),
        ("intermediate_size", 9216.0),
        ("hidden_size", 2304.0),
        ("vocab_size", 262_144.0),
    ],
    flags: &[("attention_k_eq_v", false), ("use_double_wide_mlp", false)],
    expects: &[
        ("hidden_activation", &["\"gelu_pytorch_tanh\""]),
        ("use_bidirectional_attention", &["false", "\"vision\""]),
    ],
    tied: true,
    prefixes: gemma3::PREFIXES,
    skips: SKIPS,
    whole: &[PER_LAYER, WHOLE],
    layer: &[NORMS, EXPERTS, BLOCKS, LAYER],
    adjust,
    ..ModelType::BASE
};

/// What sees and hears.
pub(super) const SKIPS: &[&str] =
    &["model.vision_tower.", "model.embed_vision.", "model.audio_tower.", "model.embed_audio."];

pub(super) const PER_LAYER: &[Rule] = &[
    ("model.embed_tokens_per_layer", "per_layer_token_embd", AsIs),
    ("model.per_layer_model_projection", "per_layer_model_proj", AsIs),
    ("model.per_layer_projection_norm", "per_layer_proj_norm", AsIs),
];

pub(super) const NORMS: &[Rule] = &[
    ("post_attention_layernorm", "post_attention_norm", AsIs),
    ("pre_feedforward_layernorm", "ffn_norm", AsIs),
    ("post_feedforward_layernorm", "post_ffw_norm", AsIs),
];

const EXPERTS: &[Rule] = &[
    ("post_feedforward_layernorm_1", "post_ffw_norm_1", AsIs),
    ("pre_feedforward_layernorm_2", "pre_ffw_norm_2", AsIs),
    ("post_feedforward_layernorm_2", "post_ffw_norm_2", AsIs),
    ("router.proj", "ffn_gate_inp", AsIs),
    ("router.scale", "ffn_gate_inp.scale", AsIs),
    ("router.per_expert_scale", "ffn_down_exps.scale", AsIs),
    ("experts.gate_up_proj", "ffn_gate_up_exps.weight", AsIs),
    ("experts.down_proj", "ffn_down_exps.weight", AsIs),
];

pub(super) const BLOCKS: &[Rule] = &[
    ("layer_scalar", "layer_output_scale.weight", AsIs),
    ("per_layer_input_gate", "inp_gate", AsIs),
    ("per_layer_projection", "proj", AsIs),
    ("post_per_layer_input_norm", "post_norm", AsIs),
];

fn adjust(draft: &mut Draft<'_>) -> Result<()> {
    let config = draft.config;
    let n_layers = draft.n_layers()? as usize;
    let slides: Vec<bool> = match draft.layer_types()? {
        Some(kinds) => kinds.iter().map(|&kind| kind == SLIDING).collect(),
        None => (0..n_layers).map(|i| (i + 1) % 6 != 0).collect(),
    };
    if slides.len() != n_layers {
        let expected = format!("one for each of {n_layers} layers");
        return Err(Error::malformed(config.of("layer_types"), format!("{} kinds", slides.len()), expected));
    }
    let head_dim = match slides.iter().position(|slides| !slides) {
        Some(i) => of_layer(draft, i, "head_dim", "global_head_dim")?,
        None => config.need_uint("head_dim")?,
    };
    for key in ["attention.key_length", "attention.value_length", "rope.dimension_count"] {
        draft.uint(key, head_dim)?;
    }
    let fewer = config.bool("attention_k_eq_v")?.unwrap_or(false);
    let global = if fewer { "num_global_key_value_heads" } else { "num_key_value_heads" };
    let kv_heads = |(i, &slides): (usize, &bool)| match slides {
        true => config.need_uint("num_key_value_heads"),
        false => of_layer(draft, i, "num_key_value_heads", global),
    };
    let kv_heads = slides.iter().enumerate().map(kv_heads).collect::<Result<Vec<u64>>>()?;
    let kv_heads: Vec<i32> = kv_heads.into_iter().map(|n| n.min(1 << 30) as i32).collect();
    draft.uints("attention.head_count_kv", &kv_heads)?;

    // The blocks of layers that read earlier ones' keys are wider in some models.
    let n_shared = config.uint("num_kv_shared_layers")?.unwrap_or(0) as usize;
    let n_wide = if config.bool("use_double_wide_mlp")?.unwrap_or(false) { n_shared } else { 0 };
    let width = config.need_uint("intermediate_size")?.min(1 << 29) as i32;
    let is_wide = |i: usize| i >= n_layers.saturating_sub(n_wide);
    let widths: Vec<i32> = (0..n_layers).map(|i| if is_wide(i) { 2 * width } else { width }).collect();
    draft.uints("feed_forward_length", &widths)?;

    draft.uint("attention.sliding_window", config.need_uint("sliding_window")?)?;
    draft.bools("attention.sliding_window_pattern", slides.into_iter())
}

/// A number of layer `i`, which sees everything: of `per_layer_config`, or of a field for all of those, or of all layers.
fn of_layer(draft: &Draft<'_>, i: usize, name: &str, global: &str) -> Result<u64> {
    let config = draft.config;
    let Some(layers) = config.object("per_layer_config")? else {
        return config.uint(global)?.map_or_else(|| config.need_uint(name), Ok);
    };
    let own = layers.map.get(&i.to_string()).and_then(|layer| layer.get(name));
    match own {
        None => config.need_uint(name),
        Some(value) => value.as_u64().ok_or_else(|| {
            Error::malformed(layers.of(&format!("{i} {name}")), value, "a non-negative integer")
        }),
    }
}
