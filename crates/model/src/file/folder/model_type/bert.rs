//! BERT: learned positions, layer norms behind every sum; with a classifier of one label it is a cross-encoder.
//!
//! The pooler belongs to the classifier and goes with it; embeddings are made without it.

use super::super::change::Change::AsIs;
use super::super::fields::Fields;
use super::super::names::Rule;
use super::{Field, ModelType, float};
use crate::pooling::{self, Pooling};

/// Embeddings.
pub static MODEL_TYPE: ModelType = ModelType {
    names: &["bert"],
    when: Some(|config| !is_classifier(config)),
    family: "bert",
    fields: FIELDS,
    defaults: DEFAULTS,
    expects: EXPECTS,
    layers_in: "encoder.layer.",
    prefixes: PREFIXES,
    skips: &["embeddings.position_ids", "bert.embeddings.position_ids", "pooler.", "bert.pooler.", "cls."],
    whole: &[EMBEDDINGS],
    layer: &[LAYER],
    ..ModelType::BASE
};

/// Scores of pairs.
pub static CLASSIFIER: ModelType = ModelType {
    when: Some(is_classifier),
    skips: &["bert.embeddings.position_ids"],
    whole: &[HEAD, EMBEDDINGS],
    adjust: |draft| draft.uint(pooling::TYPE, Pooling::Rank.number()),
    ..MODEL_TYPE
};

/// Whether the folder's model classifies sequences.
pub(super) fn is_classifier(config: &Fields<'_>) -> bool {
    let names = config.value("architectures").and_then(|names| names.as_array());
    let classifies = |name: &serde_json::Value| {
        name.as_str().is_some_and(|name| name.ends_with("ForSequenceClassification"))
    };
    names.is_some_and(|names| names.iter().any(classifies))
}

pub(super) const FIELDS: &[Field] = &[float("layer_norm_eps", "attention.layer_norm_epsilon")];

pub(super) const DEFAULTS: &[(&str, f64)] = &[("layer_norm_eps", 1e-12)];

pub(super) const EXPECTS: &[(&str, &[&str])] = &[
    ("hidden_act", &["\"gelu\""]),
    ("position_embedding_type", &["\"absolute\""]),
    ("is_decoder", &["false"]),
    ("add_cross_attention", &["false"]),
];

const PREFIXES: &[(&str, &str)] = &[("bert.", "")];

const HEAD: &[Rule] = &[("pooler.dense", "cls", AsIs), ("classifier", "cls.output", AsIs)];

/// Older files call a norm's weights gamma and beta.
pub(super) const EMBEDDINGS: &[Rule] = &[
    ("embeddings.word_embeddings", "token_embd", AsIs),
    ("embeddings.position_embeddings", "position_embd", AsIs),
    ("embeddings.token_type_embeddings", "token_types", AsIs),
    ("embeddings.LayerNorm", "token_embd_norm", AsIs),
    ("embeddings.LayerNorm.gamma", "token_embd_norm.weight", AsIs),
    ("embeddings.LayerNorm.beta", "token_embd_norm.bias", AsIs),
];

pub(super) const LAYER: &[Rule] = &[
    ("attention.self.query", "attn_q", AsIs),
    ("attention.self.key", "attn_k", AsIs),
    ("attention.self.value", "attn_v", AsIs),
    ("attention.output.dense", "attn_output", AsIs),
    ("attention.output.LayerNorm", "attn_output_norm", AsIs),
    ("attention.output.LayerNorm.gamma", "attn_output_norm.weight", AsIs),
    ("attention.output.LayerNorm.beta", "attn_output_norm.bias", AsIs),
    ("intermediate.dense", "ffn_up", AsIs),
    ("output.dense", "ffn_down", AsIs),
    ("output.LayerNorm", "layer_output_norm", AsIs),
    ("output.LayerNorm.gamma", "layer_output_norm.weight", AsIs),
    ("output.LayerNorm.beta", "layer_output_norm.bias", AsIs),
];
