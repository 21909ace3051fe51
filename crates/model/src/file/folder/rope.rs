//! Rotary positions of a folder's configuration as GGUF has them.
//!
//! Configurations come in two generations: `rope_theta` beside an optional `rope_scaling`, and all in `rope_parameters`,
//! perhaps one such object for each kind of layer. Llama 3's scaling becomes a tensor of divisors, `rope_freqs`; LongRoPE's
//! factors become two. Sources: the transformers library, `modeling_rope_utils`; arXiv 2309.00071 (YaRN), 2402.13753 (LongRoPE).

use super::draft::{Draft, SLIDING};
use super::fields::Fields;
use crate::arch;
use crate::error::{Error, Result};
use crate::rope::Ramp;

const FULL: &str = "full_attention";
/// Gemma 4's: the first part of a head's pairs turns as if all did.
const PROPORTIONAL: &str = "proportional";

/// The object about layers that see everything, or about all.
pub fn params<'a>(config: &Fields<'a>) -> Result<Option<Fields<'a>>> {
    let Some(whole) = config.object("rope_parameters")? else { return config.object("rope_scaling") };
    Ok(whole.object(FULL)?.or(Some(whole)))
}

/// A number of that object, or of the configuration.
pub fn number(config: &Fields<'_>, name: &str) -> Result<Option<f64>> {
    match params(config)? {
        Some(params) if params.value(name).is_some() => params.float(name),
        _ => config.float(name),
    }
}

/// The part of each head that is rotated, where it is not the whole.
pub fn rotated_part(config: &Fields<'_>) -> Result<Option<f64>> {
    match number(config, "partial_rotary_factor")? {
        Some(part) if !(0.0..=1.0).contains(&part) => {
            Err(Error::malformed(config.of("partial_rotary_factor"), part, "a number from 0 to 1"))
        }
        part => Ok(part.filter(|&part| part != 1.0)),
    }
}

/// Writes the keys and tensors of `draft`'s rotations, but for those that the model type has written.
pub fn write(draft: &mut Draft<'_>) -> Result<()> {
    let config = draft.config;
    if let (false, Some(base)) = (draft.has("rope.freq_base"), number(&config, "rope_theta")?) {
        draft.float("rope.freq_base", base)?;
    }
    let local = config.object("rope_parameters")?.map_or(Ok(None), |whole| whole.object(SLIDING))?;
    let local =
        local.map_or_else(|| config.float("rope_local_base_freq"), |local| local.float("rope_theta"))?;
    if let Some(base) = local {
        draft.float("rope.freq_base_swa", base)?;
    }
    let params = params(&config)?;
    let kind = match params {
        Some(params) => params.str("rope_type")?.or(params.str("type")?),
        None => None,
    };
    let part = rotated_part(&config)?;
    let settled = kind == Some(PROPORTIONAL) || draft.has("rope.dimension_count");
    if let (false, Some(part)) = (settled, part) {
        draft.uint("rope.dimension_count", (draft.head_dim()? as f64 * part) as u64)?;
    }
    let Some(params) = params else { return Ok(()) };
    match kind.unwrap_or("default") {
        // Dynamic scaling begins beyond the context the model was made for.
        "default" | "dynamic" => Ok(()),
        PROPORTIONAL => proportional(draft, part.unwrap_or(1.0)),
        "linear" => {
            draft.text("rope.scaling.type", "linear")?;
            draft.float("rope.scaling.factor", factor(&params)?)
        }
        "yarn" => yarn(draft, &params),
        "llama3" => llama3(draft, &params),
        "longrope" | "su" => long(draft, &params),
        other => Err(Error::unsupported(
            params.of("rope_type"),
            format!("{other:?}"),
            ["default", "dynamic", "linear", "yarn", "llama3", "longrope"],
        )),
    }
}

/// The other pairs stand still: their frequencies are divided by what leaves nothing of them.
fn proportional(draft: &mut Draft<'_>, part: f64) -> Result<()> {
    let n_rot = draft.rotated_dim()?;
    let n_turning = (n_rot as f64 * part) as usize / 2;
    let divisors: Vec<f32> = (0..n_rot / 2).map(|i| if i < n_turning { 1.0 } else { 1e30 }).collect();
    draft.vector("rope_freqs.weight", &divisors)
}

fn factor(params: &Fields<'_>) -> Result<f64> {
    positive(params, "factor")?.ok_or_else(|| Error::missing(params.of("factor"), "a number"))
}

fn positive(params: &Fields<'_>, name: &str) -> Result<Option<f64>> {
    match params.float(name)? {
        Some(v) if !(v > 0.0 && v.is_finite()) => {
            Err(Error::malformed(params.of(name), v, "a number above zero"))
        }
        v => Ok(v),
    }
}

/// The context before scaling: of the object, or of the model.
fn original(draft: &Draft<'_>, params: &Fields<'_>) -> Result<Option<f64>> {
    const NAME: &str = "original_max_position_embeddings";
    Ok(positive(params, NAME)?.or(positive(&draft.config, NAME)?))
}

fn yarn(draft: &mut Draft<'_>, params: &Fields<'_>) -> Result<()> {
    // Whether the ramp is rounded to whole pairs.
    let truncates = params.bool("truncate")?.unwrap_or(true);
    let expected = arch::by_name(arch::FAMILIES, draft.family)?.yarn_ramp == Ramp::WholePairs;
    if truncates != expected {
        return Err(Error::unsupported(params.of("truncate"), truncates, [expected.to_string().as_str()]));
    }
    let factor = factor(params)?;
    draft.text("rope.scaling.type", "yarn")?;
    draft.float("rope.scaling.factor", factor)?;
    if let Some(n) = original(draft, params)? {
        draft.uint("rope.scaling.original_context_length", n as u64)?;
    }
    for (name, key) in
        [("beta_fast", "rope.scaling.yarn_beta_fast"), ("beta_slow", "rope.scaling.yarn_beta_slow")]
    {
        if let Some(v) = params.float(name)? {
            draft.float(key, v)?;
        }
    }
    // GGUF's factor is on top of YaRN's own.
    let own = 1.0 + 0.1 * factor.max(1.0).ln();
    match positive(params, "attention_factor")? {
        Some(v) => draft.float("rope.scaling.attn_factor", v / own),
        None => Ok(()),
    }
}

/// Llama 3.1: pairs that turn often keep their frequency, pairs that turn seldom are slowed down by `factor`, those between
/// by something between.
fn llama3(draft: &mut Draft<'_>, params: &Fields<'_>) -> Result<()> {
    let factor = factor(params)?;
    let low = positive(params, "low_freq_factor")?.unwrap_or(1.0);
    let high = positive(params, "high_freq_factor")?.unwrap_or(4.0);
    let original = original(draft, params)?.unwrap_or(8192.0);
    if high <= low {
        let expected = format!("more than the {low} of low_freq_factor");
        return Err(Error::malformed(params.of("high_freq_factor"), high, expected));
    }
    let base = draft.file.float(&draft.key("rope.freq_base"))?.unwrap_or(10_000.0);
    let n_rot = draft.rotated_dim()?;
    let divisor = |i: usize| {
        let wavelength = std::f64::consts::TAU * base.powf(2.0 * i as f64 / n_rot as f64);
        let turns = original / wavelength;
        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        1.0 / ((1.0 - kept) / factor + kept)
    };
    let divisors: Vec<f32> = (0..n_rot / 2).map(|i| divisor(i) as f32).collect();
    draft.vector("rope_freqs.weight", &divisors)
}

fn long(draft: &mut Draft<'_>, params: &Fields<'_>) -> Result<()> {
    draft.text("rope.scaling.type", "longrope")?;
    let ctx = draft.config.need_uint("max_position_embeddings")? as f64;
    let original = original(draft, params)?;
    let scale = match original {
        Some(original) => ctx / original,
        None => factor(params)?,
    };
    let original = original.unwrap_or(ctx);
    draft.uint("rope.scaling.original_context_length", original as u64)?;
    let attention = match positive(params, "attention_factor")? {
        Some(v) => v,
        None if scale <= 1.0 => 1.0,
        None => (1.0 + scale.ln() / original.ln()).sqrt(),
    };
    draft.float("rope.scaling.attn_factor", attention)?;
    for (name, tensor) in
        [("long_factor", "rope_factors_long.weight"), ("short_factor", "rope_factors_short.weight")]
    {
        let factors = params.floats(name)?;
        let factors = factors.ok_or_else(|| Error::missing(params.of(name), "a list of numbers"))?;
        draft.vector(tensor, &factors)?;
    }
    Ok(())
}
