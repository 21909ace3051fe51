//! Gemma 3n: four residual streams, of which a layer's blocks see one ([`crate::streams`]), a short cut of low rank beside
//! attention ([`crate::ffn::laurel`]), an embedding of each layer's own ([`crate::ffn::per_layer`]), and gates of which the
//! first layers keep only those that stand out. Scores without a factor, windows, two rotations and shared keys and values
//! are as in Gemma 4.
//!
//! What files may leave out has the value that llama.cpp has for it. Its deviation of the gates divides by one less than
//! their number; the original's, which is taken here, by their number.

use super::Family;
use super::{Norms, gemma, gemma4};
use crate::config::{Config, DIM_MAX, Keys};
use crate::error::{Error, Result};
use crate::ffn::FfnPlan;
use crate::rope::Rope;
use crate::streams::{self, STREAMS_MAX};

pub static FAMILY: Family = Family {
    name: "gemma3n",
    covers: "Gemma 3n E2B, E4B (text)",
    source: "the transformers library, models/gemma3n; arXiv 2301.13310, 2411.07501, 2506.06644",
    norms: Norms::Both,
    needs: &["attn_q_norm.weight"],
    adjust,
    ..Family::BASE
};

/// Layers with keys and values of their own, where a file does not say.
const N_OWN: usize = 20;
/// Layers whose gates are sparse, where a file does not say, and the quantile of 95 %.
const SPARSE: (usize, f32) = (10, 1.644_853_6);

fn adjust(keys: &Keys<'_>, config: &mut Config) -> Result<()> {
    gemma::adjust(config);
    let softcap = keys.float_or("final_logit_softcapping", 30.0, 0.0)? as f32;
    config.logit_softcap = Some(softcap).filter(|&cap| cap > 0.0);
    config.per_layer_dim = keys.uint("embedding_length_per_layer_input", 1..=DIM_MAX)?;
    config.laurel_rank = laurel_rank(keys)?;
    let n = keys.uint_or("altup.num_inputs", 4, 2..=STREAMS_MAX)?;
    config.streams = Some(streams::Plan { n, active: keys.uint_or("altup.active_idx", 0, 0..=n - 1)? });

    let sparsity = sparsity(keys, config.layers.len())?;
    for (layer, keep_above) in config.layers.iter_mut().zip(sparsity) {
        if let FfnPlan::Dense(plan) = &mut layer.ffn {
            plan.keep_above = keep_above;
        }
    }

    let windowed = keys.windowed(config.layers.len(), 5)?;
    let window = keys.window(512)?;
    let base = keys.float_or("rope.freq_base_swa", 10_000.0, 1.0)?;
    let global = &config.ropes[0];
    let local = Rope::plain(global.order, base, 2 * global.n_pairs());
    config.ropes.push(local);
    config.each_attention(|i, plan| {
        plan.shape.scale = 1.0;
        plan.norm_values = true;
        if windowed[i] {
            (plan.shape.window, plan.rope) = (window, Some(1));
        }
    });
    let n_shared = config.layers.len().saturating_sub(N_OWN);
    gemma4::share(keys, config, &windowed, n_shared)
}

/// The rank of the short cuts, which no key says.
fn laurel_rank(keys: &Keys<'_>) -> Result<usize> {
    let (name, part) = ("blk.0.laurel_l.weight", "tensor blk.0.laurel_l.weight");
    let left = keys.file.tensor(name).ok_or_else(|| Error::missing(part, "the first layer's short cut"))?;
    let rank = left.shape.get(1).copied().unwrap_or(1);
    if !(1..=DIM_MAX).contains(&rank) {
        return Err(Error::malformed(part, format!("rank {rank}"), format!("1 to {DIM_MAX}")));
    }
    Ok(rank)
}

/// By layer, how many deviations above the mean a gate must be; files write negative infinity for none.
fn sparsity(keys: &Keys<'_>, n_layers: usize) -> Result<Vec<Option<f32>>> {
    let name = "activation_sparsity_scale";
    let Some(listed) = keys.file.floats(&keys.key(name))? else {
        let (n_sparse, factor) = SPARSE;
        return Ok((0..n_layers).map(|i| Some(factor).filter(|_| i < n_sparse)).collect());
    };
    let right = |v: &f32| v.is_finite() || *v == f32::NEG_INFINITY;
    if listed.len() < n_layers || !listed.iter().all(right) {
        let found = format!("{} values", listed.len());
        let expected = format!("for each of {n_layers} layers a finite one or negative infinity");
        return Err(Error::malformed(keys.part(name), found, expected));
    }
    Ok(listed.into_iter().map(|v| Some(v).filter(|v| v.is_finite())).collect())
}
