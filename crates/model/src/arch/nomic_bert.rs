//! Nomic's BERT: positions by rotation, gated feed-forward blocks, no biases; norms stand behind every sum as in BERT.

use super::Family;

pub static FAMILY: Family = Family {
    name: "nomic-bert",
    covers: "Nomic Embed Text v1 and v1.5, as GGUF files",
    source: "arXiv 2402.01613; the transformers library, models/nomic_bert",
    adjust: |keys, config| config.use_layer_norm(keys),
    ..Family::BASE
};
