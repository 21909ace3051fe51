//! BERT and what descends from it: layer norms behind every sum, learned positions, biases everywhere, an ungated block.
//!
//! RoBERTa's and XLM-RoBERTa's files have their positions cut so that the first text position is row 0; DistilBERT's have no
//! types of segments. llama.cpp takes GELU from a table of its tanh formula; we take the original's error function.

use super::Family;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "bert",
    covers: "BERT, DistilBERT, RoBERTa, XLM-RoBERTa: MiniLM, BGE, E5, GTE, Arctic Embed, and cross-encoders of these",
    source: "arXiv 1810.04805, 1907.11692, 1910.01108, 1911.02116",
    adjust: |keys, config| {
        config.use_layer_norm(keys)?;
        config.use_no_rope();
        config.each_dense(|plan| (plan.activation, plan.gated) = (Activation::Gelu, false));
        Ok(())
    },
    ..Family::BASE
};
