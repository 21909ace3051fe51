//! DistilBERT: BERT without types of segments, under names of its own.

use super::super::change::Change::AsIs;
use super::super::names::Rule;
use super::{ModelType, bert, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["distilbert"],
    when: None,
    fields: &[
        uint("dim", "embedding_length"),
        uint("n_layers", "block_count"),
        uint("n_heads", "attention.head_count"),
        uint("hidden_dim", "feed_forward_length"),
    ],
    expects: &[("activation", &["\"gelu\""])],
    layers_in: "transformer.layer.",
    prefixes: &[("distilbert.", "")],
    skips: &[
        "embeddings.position_ids",
        "distilbert.embeddings.position_ids",
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
    ],
    whole: &[bert::EMBEDDINGS],
    layer: &[LAYER],
    // The library's own, which no file changes.
    adjust: |draft| draft.float("attention.layer_norm_epsilon", 1e-12),
    ..bert::MODEL_TYPE
};

const LAYER: &[Rule] = &[
    ("attention.q_lin", "attn_q", AsIs),
    ("attention.k_lin", "attn_k", AsIs),
    ("attention.v_lin", "attn_v", AsIs),
    ("attention.out_lin", "attn_output", AsIs),
    ("sa_layer_norm", "attn_output_norm", AsIs),
    ("ffn.lin1", "ffn_up", AsIs),
    ("ffn.lin2", "ffn_down", AsIs),
    ("output_layer_norm", "layer_output_norm", AsIs),
];
