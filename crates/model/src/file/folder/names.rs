//! Where a folder's tensor goes: the name it has there, the name GGUF gives it.
//!
//! A name is the stem that the model's parts give it and an ending, `weight` or `bias`, that both sides share. Stems of layers
//! stand in tables without the layer's number; `{}` is the number of an expert, whose matrices GGUF has in one tensor.

use super::change::Change::{self, AsIs, KeyRows, QueryRows};
use super::model_type::ModelType;

/// A stem there, ours, and what differs in the values. One that becomes several has several rules, one after the other.
pub type Rule = (&'static str, &'static str, Change);

/// Tensors of the whole model by the names most models share.
pub const WHOLE: &[Rule] = &[
    ("model.embed_tokens", "token_embd", AsIs),
    ("model.norm", "output_norm", AsIs),
    ("lm_head", "output", AsIs),
];

/// Tensors of a layer by the names most models share.
pub const LAYER: &[Rule] = &[
    ("input_layernorm", "attn_norm", AsIs),
    ("post_attention_layernorm", "ffn_norm", AsIs),
    ("self_attn.q_proj", "attn_q", AsIs),
    ("self_attn.k_proj", "attn_k", AsIs),
    ("self_attn.v_proj", "attn_v", AsIs),
    ("self_attn.o_proj", "attn_output", AsIs),
    ("self_attn.q_norm", "attn_q_norm", AsIs),
    ("self_attn.k_norm", "attn_k_norm", AsIs),
    ("mlp.gate_proj", "ffn_gate", AsIs),
    ("mlp.up_proj", "ffn_up", AsIs),
    ("mlp.down_proj", "ffn_down", AsIs),
];

/// Tensors of a layer with experts by the names most models share.
pub const EXPERTS: &[Rule] = &[
    ("mlp.gate", "ffn_gate_inp", AsIs),
    ("mlp.experts.{}.gate_proj", "ffn_gate_exps", AsIs),
    ("mlp.experts.{}.up_proj", "ffn_up_exps", AsIs),
    ("mlp.experts.{}.down_proj", "ffn_down_exps", AsIs),
];

/// Tensors of a mixer of Mamba, behind the name the mixer has.
macro_rules! mamba {
    ($at:literal) => {
        &[
            (concat!($at, ".in_proj"), "ssm_in", AsIs),
            (concat!($at, ".x_proj"), "ssm_x", AsIs),
            (concat!($at, ".dt_proj"), "ssm_dt", AsIs),
            (concat!($at, ".out_proj"), "ssm_out", AsIs),
            (concat!($at, ".conv1d.weight"), "ssm_conv1d.weight", Other(squeezed)),
            (concat!($at, ".conv1d.bias"), "ssm_conv1d.bias", AsIs),
            (concat!($at, ".A_log"), "ssm_a", Other(neg_exp)),
            (concat!($at, ".D"), "ssm_d", AsIs),
        ]
    };
}
pub(super) use mamba;

/// Tensors of a mixer of Mamba-2, behind the name the mixer has; a field counts the groups of its norm.
macro_rules! mamba2 {
    ($at:literal, $groups:literal) => {
        &[
            (concat!($at, ".in_proj"), "ssm_in", AsIs),
            (concat!($at, ".out_proj"), "ssm_out", AsIs),
            (concat!($at, ".conv1d.weight"), "ssm_conv1d.weight", Other(squeezed)),
            (concat!($at, ".conv1d.bias"), "ssm_conv1d.bias", AsIs),
            (concat!($at, ".dt_bias"), "ssm_dt.bias", AsIs),
            (concat!($at, ".A_log"), "ssm_a", Other(neg_exp_column)),
            (concat!($at, ".D"), "ssm_d", Other(column)),
            (
                concat!($at, ".norm.weight"),
                "ssm_norm.weight",
                Other(|part, config| part.grouped(config, $groups)),
            ),
        ]
    };
}
pub(super) use mamba2;

/// Rows of q and k as they go to families whose rotary pairs are neighbours.
pub const INTERLEAVED: &[Rule] =
    &[("self_attn.q_proj", "attn_q", QueryRows), ("self_attn.k_proj", "attn_k", KeyRows)];

/// Endings of tensors that nothing reads: tables that the configuration gives, and scales of quantised activations and caches.
const SKIPPED: &[&str] = &["rotary_emb.inv_freq", ".input_scale", ".k_scale", ".v_scale"];
/// Endings of scales, and what the name of their weights has instead: FP8's behind the weight's own, and MXFP4's.
const SCALES: &[(&str, &str)] = &[("_scale_inv", ""), ("_scale", ""), ("_scales", "_blocks")];

/// Where a tensor goes.
#[derive(Debug)]
pub enum Place {
    /// Nowhere.
    Skipped,
    /// With the weights of this name, whose scales it holds.
    ScaleOf(String),
    /// Into tensors of ours.
    Into {
        layer: Option<usize>,
        expert: Option<usize>,
        /// Their names, without the layer, and how they differ.
        to: Vec<(String, Change)>,
    },
    /// Into a list of one number for each layer, under this key.
    Listed { layer: usize, key: &'static str },
    /// The model type has no such tensor.
    Unknown,
}

/// What models are called by in names of tensors, and not by in folders of embeddings, which have no head beside them.
const MODEL: &str = "model.";

/// Looks the tensor called `full` up in the tables of `model`.
pub fn place(model: &ModelType, full: &str) -> Place {
    match look_up(model, full) {
        Place::Unknown if !full.starts_with(MODEL) => look_up(model, &format!("{MODEL}{full}")),
        found => found,
    }
}

fn look_up(model: &ModelType, full: &str) -> Place {
    if SKIPPED.iter().any(|end| full.ends_with(end)) || model.skips.iter().any(|head| full.starts_with(head))
    {
        return Place::Skipped;
    }
    let renamed = model.prefixes.iter().find_map(|(theirs, plain)| Some((full.strip_prefix(theirs)?, plain)));
    let plain = renamed.map(|(rest, plain)| format!("{plain}{rest}"));
    let name = plain.as_deref().unwrap_or(full);
    let in_layer = name.strip_prefix(model.layers_in).and_then(|rest| rest.split_once('.'));
    let in_layer = in_layer.and_then(|(i, rest)| Some((number(i)?, rest)));
    let (tables, layer, rest) = match in_layer {
        Some((i, rest)) => (model.layer, Some(i), rest),
        None => (model.whole, None, name),
    };
    if let (Some(layer), Some((_, key))) = (layer, model.listed.iter().find(|(theirs, _)| *theirs == rest)) {
        return Place::Listed { layer, key };
    }
    let (stem, expert) = without_number(rest);
    let find = |stem: &str, end: &str| -> Vec<(String, Change)> {
        let rules = |table: &&'static [Rule]| table.iter().filter(|rule| rule.0 == stem).collect::<Vec<_>>();
        let found = tables.iter().map(rules).find(|rules| !rules.is_empty()).unwrap_or_default();
        found.into_iter().map(|rule| (format!("{}{end}", rule.1), rule.2)).collect()
    };
    let mut to = find(&stem, "");
    if let (true, Some((stem, end @ ("weight" | "bias")))) = (to.is_empty(), stem.rsplit_once('.')) {
        to = find(stem, &format!(".{end}"));
    }
    if !to.is_empty() {
        return Place::Into { layer, expert, to };
    }
    let scaled = SCALES.iter().find_map(|(end, weights)| Some((full.strip_suffix(end)?, weights)));
    scaled.map_or(Place::Unknown, |(stem, weights)| Place::ScaleOf(format!("{stem}{weights}")))
}

/// A number as names have it, so that no two names say the same.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n: &usize| n.to_string() == text)
}

/// The first part of a stem that is a number, and the stem with `{}` instead.
fn without_number(rest: &str) -> (String, Option<usize>) {
    let mut found = None;
    let parts = rest.split('.').map(|part| match number(part) {
        Some(n) if found.is_none() => {
            found = Some(n);
            "{}"
        }
        _ => part,
    });
    let stem = parts.collect::<Vec<_>>().join(".");
    (stem, found)
}
