//! Where a folder's tensor goes: the name it has there, the name GGUF gives it.
//!
//! A name is the stem that the model's parts give it and an ending, `weight` or `bias`, that both sides share. Stems of layers
//! stand in tables without the layer's number; `{}` is the number of an expert, whose matrices GGUF has in one tensor.

use super::model_type::ModelType;
use super::values::Change;

/// A stem there, ours, and what differs in the values.
pub type Rule = (&'static str, &'static str, Change);

/// Tensors of the whole model by the names most models share.
pub const WHOLE: &[Rule] = &[
    ("model.embed_tokens", "token_embd", Change::None),
    ("model.norm", "output_norm", Change::None),
    ("lm_head", "output", Change::None),
];

/// Tensors of a layer by the names most models share.
pub const LAYER: &[Rule] = &[
    ("input_layernorm", "attn_norm", Change::None),
    ("post_attention_layernorm", "ffn_norm", Change::None),
    ("self_attn.q_proj", "attn_q", Change::None),
    ("self_attn.k_proj", "attn_k", Change::None),
    ("self_attn.v_proj", "attn_v", Change::None),
    ("self_attn.o_proj", "attn_output", Change::None),
    ("self_attn.q_norm", "attn_q_norm", Change::None),
    ("self_attn.k_norm", "attn_k_norm", Change::None),
    ("mlp.gate_proj", "ffn_gate", Change::None),
    ("mlp.up_proj", "ffn_up", Change::None),
    ("mlp.down_proj", "ffn_down", Change::None),
];

/// Tensors of a layer with experts by the names most models share.
pub const EXPERTS: &[Rule] = &[
    ("mlp.gate", "ffn_gate_inp", Change::None),
    ("mlp.experts.{}.gate_proj", "ffn_gate_exps", Change::None),
    ("mlp.experts.{}.up_proj", "ffn_up_exps", Change::None),
    ("mlp.experts.{}.down_proj", "ffn_down_exps", Change::None),
];

/// Rows of q and k as they go to families whose rotary pairs are neighbours.
pub const INTERLEAVED: &[Rule] =
    &[("self_attn.q_proj", "attn_q", Change::QueryRows), ("self_attn.k_proj", "attn_k", Change::KeyRows)];

/// Endings of tensors that nothing reads: tables that the configuration gives, and scales of quantised activations and caches.
const SKIPPED: &[&str] = &["rotary_emb.inv_freq", ".input_scale", ".k_scale", ".v_scale"];
/// Endings of the scales of FP8 weights, behind the weight's own.
const SCALES: &[&str] = &["_scale_inv", "_scale"];

/// Where a tensor goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    Skipped,
    /// With the weights of this name, whose scales it holds.
    ScaleOf(String),
    /// Into a tensor of ours.
    Into {
        /// Its name, without the layer.
        name: String,
        layer: Option<usize>,
        expert: Option<usize>,
        change: Change,
    },
    /// The model type has no such tensor.
    Unknown,
}

/// Looks `name` up in the tables of `model`.
pub fn place(model: &ModelType, name: &str) -> Place {
    if SKIPPED.iter().any(|end| name.ends_with(end)) || model.skips.iter().any(|head| name.starts_with(head))
    {
        return Place::Skipped;
    }
    for end in SCALES {
        if let Some(weights) = name.strip_suffix(end) {
            return Place::ScaleOf(weights.to_owned());
        }
    }
    let renamed = model.prefixes.iter().find_map(|(theirs, plain)| Some((name.strip_prefix(theirs)?, plain)));
    let plain = renamed.map(|(rest, plain)| format!("{plain}{rest}"));
    let name = plain.as_deref().unwrap_or(name);
    let in_layer = name.strip_prefix(model.layers_in).and_then(|rest| rest.split_once('.'));
    let in_layer = in_layer.and_then(|(i, rest)| Some((number(i)?, rest)));
    let (tables, layer, rest) = match in_layer {
        Some((i, rest)) => (model.layer, Some(i), rest),
        None => (model.whole, None, name),
    };
    let (stem, expert) = without_number(rest);
    let find = |stem: &str| tables.iter().flat_map(|table| table.iter()).find(|rule| rule.0 == stem);
    let (name, change) = match (find(&stem), stem.rsplit_once('.')) {
        (Some(rule), _) => (rule.1.to_owned(), rule.2),
        (None, Some((stem, end @ ("weight" | "bias")))) => match find(stem) {
            Some(rule) => (format!("{}.{end}", rule.1), rule.2),
            None => return Place::Unknown,
        },
        _ => return Place::Unknown,
    };
    Place::Into { name, layer, expert, change }
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
