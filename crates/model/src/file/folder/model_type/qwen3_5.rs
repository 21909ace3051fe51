//! Qwen3.5, dense: the text model alone, or out of one that also sees. Value heads come key head by key head here; in GGUF
//! they take turns at the key heads.

use super::super::change::Change::{AsIs, Other};
use super::super::change::{Part, count, neg_exp, squeezed};
use super::super::draft::Draft;
use super::super::fields::Fields;
use super::super::names::{LAYER, Rule, WHOLE};
use super::super::rope;
use super::qwen3_next::{CONV, DEFAULTS, KEY_DIM, KEY_HEADS, NORMS, VALUE_HEADS, mixers};
use super::{ModelType, gemma};
use crate::error::{Error, Result};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["qwen3_5_text", "qwen3_5"],
    family: "qwen35",
    text_config: Some("text_config"),
    fields: &[CONV, KEY_DIM, KEY_HEADS, VALUE_HEADS],
    defaults: DEFAULTS,
    prefixes: PREFIXES,
    skips: SKIPS,
    whole: &[gemma::NORM, WHOLE],
    layer: &[NORMS, MIXER, LAYER],
    adjust,
    ..ModelType::BASE
};

/// The text model's names in one that also sees.
pub(super) const PREFIXES: &[(&str, &str)] = &[("model.language_model.", "model.")];
/// The eyes, and layers that draft.
pub(super) const SKIPS: &[&str] = &["model.visual.", "mtp."];

/// The delta net's tensors.
pub(super) const MIXER: &[Rule] = &[
    ("linear_attn.in_proj_qkv", "attn_qkv", Other(|p, c| turns(p, c, true, Some("linear_value_head_dim")))),
    ("linear_attn.in_proj_z", "attn_gate", Other(|p, c| turns(p, c, false, Some("linear_value_head_dim")))),
    ("linear_attn.in_proj_b", "ssm_beta", Other(|p, c| turns(p, c, false, None))),
    ("linear_attn.in_proj_a", "ssm_alpha", Other(|p, c| turns(p, c, false, None))),
    (
        "linear_attn.conv1d",
        "ssm_conv1d",
        Other(|p, c| turns(squeezed(p, c)?, c, true, Some("linear_value_head_dim"))),
    ),
    ("linear_attn.dt_bias", "ssm_dt.bias", Other(|p, c| turns(p, c, false, None))),
    ("linear_attn.A_log", "ssm_a", Other(|p, c| turns(neg_exp(p, c)?, c, false, None))),
    ("linear_attn.norm", "ssm_norm", AsIs),
    ("linear_attn.out_proj", "ssm_out", Other(out_proj)),
];

/// The mixers, and the parts of the rotation that images use.
pub(super) fn adjust(draft: &mut Draft<'_>) -> Result<()> {
    mixers(draft)?;
    let Some(params) = rope::params(&draft.config)? else { return Ok(()) };
    let Some(sections) = params.floats("mrope_section")? else { return Ok(()) };
    let sections: Vec<i32> = sections.into_iter().map(|n| n as i32).chain([0]).collect();
    draft.uints("rope.dimension_sections", &sections)
}

/// Key heads, and value heads of each.
fn heads(config: &Fields<'_>) -> Result<[usize; 2]> {
    let [keys, values] = ["linear_num_key_heads", "linear_num_value_heads"].map(|name| count(config, name));
    let [keys, values] = [keys?.unwrap_or(1), values?.unwrap_or(1)];
    if values % keys != 0 {
        let part = config.of("linear_num_value_heads");
        return Err(Error::malformed(part, values, format!("a multiple of the {keys} key heads")));
    }
    Ok([keys, values / keys])
}

/// The `j`-th value head of key head `k` comes after the `j`-th ones of key heads before: which is theirs at our place `i`.
fn theirs(i: usize, [keys, each]: [usize; 2]) -> usize {
    i % keys * each + i / keys
}

/// Rows of value heads in turns, each of as many as the field says, or of one; rows of queries and keys may stand before them.
fn turns(part: Part, config: &Fields<'_>, behind_keys: bool, width: Option<&str>) -> Result<Part> {
    let size = |name: &str| Ok::<_, Error>(config.need_uint(name)?.min(1 << 20) as usize);
    let [keys, each] = heads(config)?;
    let width = width.map_or(Ok(1), size)?;
    let before = if behind_keys { 2 * keys * size("linear_key_head_dim")? } else { 0 };
    let rows = before + keys * each * width;
    let part = part.expect_rows(rows)?;
    Ok(part.with_rows(rows, move |row| match row.checked_sub(before) {
        None => row,
        Some(i) => before + theirs(i / width, [keys, each]) * width + i % width,
    }))
}

/// Columns of value heads in turns.
fn out_proj(part: Part, config: &Fields<'_>) -> Result<Part> {
    let heads = heads(config)?;
    let part = part.expect_dims(2)?;
    let (_, cols) = part.rows();
    let n = heads[0] * heads[1];
    if cols % n != 0 {
        return Err(Error::malformed(part.part(), format!("{cols} columns"), format!("a multiple of {n}")));
    }
    part.with_runs(cols / n, move |i| theirs(i, heads))
}
