//! Falcon-H1: its factors on activations are multiplied into the weights before them, as converters do.
//!
//! The products are rounded to the weights' own type, so that they take no more room: half a unit in the last place more
//! than the library's, which multiplies activations.

use super::super::change::Change::{AsIs, Other};
use super::super::change::{Part, column, neg_exp_column, squeezed};
use super::super::fields::Fields;
use super::super::names::{LAYER, Rule, WHOLE, mamba2};
use super::granitemoehybrid::{CONV, GROUPS, HEADS, STATE};
use super::mamba2::NO_LIMIT;
use super::{ModelType, uint};
use crate::error::{Error, Result};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["falcon_h1"],
    family: "falcon-h1",
    fields: &[CONV, STATE, HEADS, GROUPS, uint("mamba_d_ssm", "ssm.inner_size")],
    defaults: &[
        ("rms_norm_eps", 1e-5),
        ("mamba_d_conv", 4.0),
        ("mamba_d_state", 256.0),
        ("mamba_n_heads", 128.0),
        ("mamba_n_groups", 1.0),
    ],
    expects: &[
        ("hidden_act", &["\"silu\""]),
        ("mamba_norm_before_gate", &["false"]),
        // The head's factor is another than the embedding's.
        ("tie_word_embeddings", &["false"]),
        NO_LIMIT,
    ],
    whole: &[AROUND, WHOLE],
    layer: &[SCALED, MIXER, BLOCKS, LAYER],
    adjust: |draft| match draft.config.uint("mamba_d_ssm")? {
        Some(_) => Ok(()),
        None => draft.uint("ssm.inner_size", draft.expanded("mamba_expand")?),
    },
    ..ModelType::BASE
};

const MIXER: &[Rule] = mamba2!("mamba", "mamba_n_groups");

const AROUND: &[Rule] = &[
    ("model.embed_tokens", "token_embd", Other(|p, c| by(p, c, &["embedding_multiplier"]))),
    ("lm_head", "output", Other(|p, c| by(p, c, &["lm_head_multiplier"]))),
    ("model.final_layernorm", "output_norm", AsIs),
];

const SCALED: &[Rule] = &[
    ("mamba.in_proj", "ssm_in", Other(in_proj)),
    ("mamba.out_proj", "ssm_out", Other(|p, c| by(p, c, &["ssm_out_multiplier"]))),
    ("self_attn.q_proj", "attn_q", Other(|p, c| by(p, c, &["attention_in_multiplier"]))),
    ("self_attn.k_proj", "attn_k", Other(|p, c| by(p, c, &["attention_in_multiplier", "key_multiplier"]))),
    ("self_attn.v_proj", "attn_v", Other(|p, c| by(p, c, &["attention_in_multiplier"]))),
    ("self_attn.o_proj", "attn_output", Other(|p, c| by(p, c, &["attention_out_multiplier"]))),
    ("feed_forward.gate_proj", "ffn_gate", Other(|p, c| by_listed(p, c, 0))),
    ("feed_forward.down_proj", "ffn_down", Other(|p, c| by_listed(p, c, 1))),
];

const BLOCKS: &[Rule] = &[
    // GGUF has this one without an ending.
    ("pre_ff_layernorm.weight", "ffn_norm", AsIs),
    ("feed_forward.up_proj", "ffn_up", AsIs),
];

/// Times the factors of these fields, 1 where they are left out.
fn by(part: Part, config: &Fields<'_>, fields: &[&str]) -> Result<Part> {
    let mut factor = 1.0;
    for field in fields {
        factor *= config.float(field)?.unwrap_or(1.0) as f32;
    }
    Ok(scaled(part, factor))
}

/// Times one of the factors of the feed-forward block.
fn by_listed(part: Part, config: &Fields<'_>, i: usize) -> Result<Part> {
    let factors = list(config, "mlp_multipliers", 2)?;
    Ok(scaled(part, factors[i]))
}

fn scaled(part: Part, factor: f32) -> Part {
    if factor == 1.0 { part } else { part.times(move |_| factor) }
}

/// Rows that give the gate, the input, what goes into the state, what comes out of it and the time steps have factors of
/// their own.
fn in_proj(part: Part, config: &Fields<'_>) -> Result<Part> {
    let all = config.float("ssm_in_multiplier")?.unwrap_or(1.0) as f32;
    let factors = list(config, "ssm_multipliers", 5)?;
    let count = |name: &str| Ok::<_, Error>(config.uint(name)?.unwrap_or(0).min(1 << 30) as usize);
    let n_heads = count("mamba_n_heads")?;
    let state = count("mamba_n_groups")? * count("mamba_d_state")?;
    let (rows, _) = part.rows();
    let inner = rows.saturating_sub(2 * state + n_heads) / 2;
    let part = part.expect_rows(2 * inner + 2 * state + n_heads)?;
    let ends = [inner, 2 * inner, 2 * inner + state, 2 * (inner + state), rows];
    Ok(part.times(move |row| {
        let section = ends.iter().position(|&end| row < end).expect("a row of the matrix");
        all * factors[section]
    }))
}

/// `n` factors, 1 where they are left out.
fn list(config: &Fields<'_>, name: &str, n: usize) -> Result<Vec<f32>> {
    match config.floats(name)? {
        None => Ok(vec![1.0; n]),
        Some(factors) if factors.len() == n => Ok(factors),
        Some(factors) => Err(Error::malformed(config.of(name), format!("{} numbers", factors.len()), n)),
    }
}
