//! Gemma 4: scores without a factor, norms on values too. Layers with windows have narrower heads and a rotation of their
//! own; in the others only the first part of a head rotates, which files say by the divisors of its frequencies, and
//! values may be the keys before norm and rotation. The last layers may read the keys and values of earlier ones, every
//! layer may have an embedding of its own ([`crate::ffn::per_layer`]) and a factor behind it, and experts stand beside
//! the dense block ([`crate::ffn::beside`]).

use super::Family;
use super::{Norms, gemma};
use crate::config::{Config, DIM_MAX, Keys, LayerPlan};
use crate::error::{Error, Result};
use crate::ffn::{FfnPlan, beside, experts};
use crate::rope::Rope;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "gemma4",
    covers: "Gemma 4 E2B, E4B, 26B-A4B, 31B (text)",
    source: "the transformers library, models/gemma4",
    norms: Norms::Both,
    needs: &["attn_q_norm.weight"],
    adjust,
    ..Family::BASE
};

fn adjust(keys: &Keys<'_>, config: &mut Config) -> Result<()> {
    gemma::adjust(config);
    config.logit_softcap = keys.positive("final_logit_softcapping")?;
    config.per_layer_dim = keys.uint_or("embedding_length_per_layer_input", 0, 0..=DIM_MAX)?;

    if keys.uint_or("expert_count", 0, 0..=DIM_MAX)? > 0 {
        let mut experts = experts::Plan::read(keys)?;
        experts.expert.activation = Activation::GeluTanh;
        for layer in &mut config.layers {
            if let FfnPlan::Dense(dense) = layer.ffn {
                layer.ffn = FfnPlan::Beside(beside::Plan { dense, experts });
            }
        }
    }

    let windowed = keys.windowed(config.layers.len(), 6)?;
    let window = keys.window(512)?;
    let head_dim = keys.uint("attention.key_length_swa", 2..=DIM_MAX)?;
    let n_rot = keys.uint_or("rope.dimension_count_swa", head_dim, 2..=head_dim)?;
    let base = keys.float_or("rope.freq_base_swa", 10_000.0, 1.0)?;
    config.ropes.push(Rope::plain(FAMILY.rope_order, base, n_rot));
    config.each_attention(|i, plan| {
        plan.shape.scale = 1.0;
        plan.norm_values = true;
        plan.values_are_keys = keys.file.tensor(&format!("blk.{i}.attn_v.weight")).is_none();
        if windowed[i] {
            (plan.shape.head_dim, plan.shape.window, plan.rope) = (head_dim, window, Some(1));
        }
    });
    share(keys, config, &windowed, 0)
}

/// The last `attention.shared_kv_layers` layers, `default` where the file does not say, read the keys and values of the
/// last earlier layer of their kind.
pub(super) fn share(keys: &Keys<'_>, config: &mut Config, windowed: &[bool], default: usize) -> Result<()> {
    let n_layers = config.layers.len();
    let n_shared = keys.uint_or("attention.shared_kv_layers", default, 0..=n_layers - 1)?;
    let n_own = n_layers - n_shared;
    let lender = |i: usize| {
        let found = (0..n_own).rev().find(|&j| windowed[j] == windowed[i]);
        found.ok_or_else(|| {
            let part = keys.part("attention.shared_kv_layers");
            Error::malformed(part, n_shared, "an earlier layer of each kind that is shared")
        })
    };
    let lenders = (n_own..n_layers).map(lender).collect::<Result<Vec<usize>>>()?;
    let n_kv_heads = |layer: &LayerPlan| layer.attention().map_or(0, |plan| plan.shape.n_kv_heads);
    let heads: Vec<usize> = config.layers.iter().map(n_kv_heads).collect();
    config.each_attention(|i, plan| {
        plan.kv_lent = lenders.contains(&i);
        plan.kv_from = i.checked_sub(n_own).map(|i| lenders[i]);
        plan.shape.n_kv_heads = heads[plan.kv_from.unwrap_or(i)];
    });
    Ok(())
}
