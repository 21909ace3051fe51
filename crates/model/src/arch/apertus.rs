//! Apertus: norms on the heads of q and k, an ungated feed-forward block whose activation, xIELU, has learned numbers of
//! its own in every layer.
//!
//! Files give these numbers without the family's name in the key, and as trained: alpha is their softplus.

use super::Family;
use crate::config::{Config, Keys};
use crate::error::{Error, Result};
use crate::ffn::FfnPlan;
use crate::file::Value;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "apertus",
    covers: "Apertus 8B, 70B",
    source: "arXiv 2509.14233, 2411.13010; the transformers library, models/apertus",
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    adjust,
    ..Family::BASE
};

fn adjust(keys: &Keys<'_>, config: &mut Config) -> Result<()> {
    let n_layers = config.layers.len();
    let [alpha_p, alpha_n, beta, eps] =
        ["alpha_p", "alpha_n", "beta", "eps"].map(|name| per_layer(keys, &format!("xielu.{name}"), n_layers));
    let (alpha_p, alpha_n, beta, eps) = (alpha_p?, alpha_n?, beta?, eps?);
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    for (i, layer) in config.layers.iter_mut().enumerate() {
        if let FfnPlan::Dense(plan) = &mut layer.ffn {
            plan.gated = false;
            plan.activation = Activation::Xielu {
                alpha_p: softplus(alpha_p[i]) as f32,
                alpha_n: (beta[i] + softplus(alpha_n[i])) as f32,
                beta: beta[i] as f32,
                eps: eps[i] as f32,
            };
        }
    }
    Ok(())
}

/// A finite number for each layer: the key holds one for all or a list.
fn per_layer(keys: &Keys<'_>, key: &str, n_layers: usize) -> Result<Vec<f64>> {
    let part = format!("metadata {key}");
    let values = match keys.file.value(key) {
        Some(Value::Array { .. }) => keys.file.floats(key)?.unwrap_or_default(),
        _ => {
            let one =
                keys.file.float(key)?.ok_or_else(|| Error::missing(&part, "a number for each layer"))?;
            vec![one as f32; n_layers]
        }
    };
    if values.len() < n_layers || values.iter().any(|v| !v.is_finite()) {
        let found = format!("{} values", values.len());
        return Err(Error::malformed(part, found, format!("a finite one for each of {n_layers} layers")));
    }
    Ok(values.into_iter().map(f64::from).collect())
}
