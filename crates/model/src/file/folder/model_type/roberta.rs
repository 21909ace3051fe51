//! RoBERTa and XLM-RoBERTa: BERT whose positions begin behind the padding token's number.
//!
//! A text's first token stands at that number plus one; the rows before are left out, as llama.cpp's converter leaves them out.

use super::super::change::Change::{AsIs, Other};
use super::super::change::Part;
use super::super::draft::Draft;
use super::super::fields::Fields;
use super::super::names::Rule;
use super::ModelType;
use super::bert::{self, is_classifier};
use crate::error::{Error, Result};
use crate::pooling::{self, Pooling};

/// Embeddings.
pub static MODEL_TYPE: ModelType = ModelType {
    names: &["roberta", "xlm-roberta", "camembert"],
    defaults: &[("layer_norm_eps", 1e-12), ("pad_token_id", 1.0)],
    prefixes: PREFIXES,
    skips: &[
        "embeddings.position_ids",
        "roberta.embeddings.position_ids",
        "pooler.",
        "roberta.pooler.",
        "lm_head.",
    ],
    whole: &[POSITIONS, bert::EMBEDDINGS],
    adjust: context,
    ..bert::MODEL_TYPE
};

/// Scores of pairs.
pub static CLASSIFIER: ModelType = ModelType {
    when: Some(is_classifier),
    skips: &["roberta.embeddings.position_ids", "roberta.pooler."],
    whole: &[HEAD, POSITIONS, bert::EMBEDDINGS],
    adjust: |draft| {
        context(draft)?;
        draft.uint(pooling::TYPE, Pooling::Rank.number())
    },
    ..MODEL_TYPE
};

const PREFIXES: &[(&str, &str)] = &[("roberta.", "")];

const HEAD: &[Rule] = &[("classifier.dense", "cls", AsIs), ("classifier.out_proj", "cls.output", AsIs)];

const POSITIONS: &[Rule] = &[("embeddings.position_embeddings", "position_embd", Other(text_positions))];

/// The row of a text's first token.
fn first_position(config: &Fields<'_>) -> Result<u64> {
    let padding = config.need_uint("pad_token_id")?;
    let rows = config.need_uint("max_position_embeddings")?;
    if padding >= rows.saturating_sub(1) {
        let expected = format!("less than the {rows} of max_position_embeddings by 2 or more");
        return Err(Error::malformed(config.of("pad_token_id"), padding, expected));
    }
    Ok(padding + 1)
}

fn context(draft: &mut Draft<'_>) -> Result<()> {
    let rows = draft.config.need_uint("max_position_embeddings")?;
    draft.uint("context_length", rows - first_position(&draft.config)?)
}

fn text_positions(part: Part, config: &Fields<'_>) -> Result<Part> {
    let (first, (rows, _)) = (first_position(config)? as usize, part.rows());
    let part = part.expect_dims(2)?.expect_rows(config.need_uint("max_position_embeddings")? as usize)?;
    Ok(part.with_rows(rows - first, move |i| first + i))
}
