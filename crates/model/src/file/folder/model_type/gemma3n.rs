//! Gemma 3n: the text model alone, or out of one that also sees and hears. How sparse the gates of a layer are is the part
//! that is dropped in a folder, and its quantile of the normal distribution in GGUF.

use super::super::change::Change::AsIs;
use super::super::draft::{Draft, SLIDING};
use super::super::names::{LAYER, Rule, WHOLE};
use super::{ModelType, float, gemma3, gemma4, uint};
use crate::error::{Error, Result};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["gemma3n_text", "gemma3n"],
    family: "gemma3n",
    text_config: Some("text_config"),
    fields: &[
        float("final_logit_softcapping", "final_logit_softcapping"),
        uint("sliding_window", "attention.sliding_window"),
        uint("num_kv_shared_layers", "attention.shared_kv_layers"),
        uint("hidden_size_per_layer_input", "embedding_length_per_layer_input"),
        uint("altup_num_inputs", "altup.num_inputs"),
        uint("altup_active_idx", "altup.active_idx"),
    ],
    defaults: &[
        ("vocab_size", 262_400.0),
        ("hidden_size", 2048.0),
        ("intermediate_size", 16_384.0),
        ("num_hidden_layers", 35.0),
        ("num_attention_heads", 8.0),
        ("num_key_value_heads", 2.0),
        ("head_dim", 256.0),
        ("max_position_embeddings", 32_768.0),
        ("rms_norm_eps", 1e-6),
        ("rope_theta", 1e6),
        ("rope_local_base_freq", 1e4),
        ("sliding_window", 512.0),
        ("final_logit_softcapping", 30.0),
        ("num_kv_shared_layers", 15.0),
        ("hidden_size_per_layer_input", 256.0),
        ("altup_num_inputs", 4.0),
    ],
    expects: &[("hidden_activation", &["\"gelu_pytorch_tanh\""]), ("altup_correct_scale", &["true"])],
    tied: true,
    prefixes: gemma3::PREFIXES,
    skips: gemma4::SKIPS,
    whole: &[gemma4::PER_LAYER, STREAMS, WHOLE],
    layer: &[gemma4::NORMS, MIX, gemma4::BLOCKS, LAYER],
    adjust,
    ..ModelType::BASE
};

const STREAMS: &[Rule] = &[
    ("model.altup_projections.{}", "altup_proj", AsIs),
    ("model.altup_unembed_projections.{}", "altup_unembd_proj", AsIs),
];

const MIX: &[Rule] = &[
    ("altup.router_norm", "altup_router_norm", AsIs),
    ("altup.modality_router", "altup_router", AsIs),
    ("altup.prediction_coefs", "altup_predict_coef", AsIs),
    ("altup.correction_coefs", "altup_correct_coef", AsIs),
    ("altup.correct_output_scale", "altup_correct_scale.weight", AsIs),
    ("laurel.linear_left", "laurel_l", AsIs),
    ("laurel.linear_right", "laurel_r", AsIs),
    ("laurel.post_laurel_norm", "laurel_post_norm", AsIs),
];

fn adjust(draft: &mut Draft<'_>) -> Result<()> {
    let n_layers = draft.n_layers()? as usize;
    let slides: Vec<bool> = match draft.layer_types()? {
        Some(kinds) => kinds.iter().map(|&kind| kind == SLIDING).collect(),
        None => (0..n_layers).map(|i| (i + 1) % 5 != 0).collect(),
    };
    draft.bools("attention.sliding_window_pattern", slides.into_iter())?;
    if let Some(widths) = draft.config.value("intermediate_size").filter(|value| value.is_array()) {
        let width = |value: &serde_json::Value| value.as_u64().and_then(|n| i32::try_from(n).ok());
        let widths = widths.as_array().into_iter().flatten().map(width).collect::<Option<Vec<i32>>>();
        let part = draft.config.of("intermediate_size");
        let widths = widths.ok_or_else(|| Error::malformed(part, "a list of other things", "widths"))?;
        draft.uints("feed_forward_length", &widths)?;
    }
    let factors = sparsity(draft, n_layers)?;
    draft.floats("activation_sparsity_scale", &factors)
}

/// By layer, how many standard deviations above the mean a gate must be.
fn sparsity(draft: &Draft<'_>, n_layers: usize) -> Result<Vec<f32>> {
    let name = "activation_sparsity_pattern";
    let Some(dropped) = draft.config.list(name)? else {
        let n_sparse = if n_layers > 10 { 10 } else { 0 };
        return Ok((0..n_layers).map(|i| quantile(if i < n_sparse { 0.95 } else { 0.0 })).collect());
    };
    let factor = |value: &serde_json::Value| {
        let part = value.as_f64().filter(|part| (0.0..1.0).contains(part));
        part.map(quantile).ok_or_else(|| {
            Error::malformed(draft.config.of(name), value, "a number from 0 to less than 1 for each layer")
        })
    };
    dropped.iter().map(factor).collect()
}

/// Below which value the part `p` of a normal distribution lies; negative infinity for 0.
///
/// Newton's steps on the distribution's series (Marsaglia 2004, doi 10.18637/jss.v011.i04), which rise to the root from the
/// middle. Beyond 8 deviations f64 does not tell the part from 1.
fn quantile(p: f64) -> f32 {
    const DEVIATIONS_MAX: f64 = 8.0;
    if p == 0.0 {
        return f32::NEG_INFINITY;
    }
    let (above, mut x) = ((p - 0.5).abs(), 0.0f64);
    for _ in 0..200 {
        let density = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while term > sum * f64::EPSILON {
            n += 2.0;
            term *= x * x / n;
            sum += term;
        }
        let step = (above - sum * density) / density;
        x = (x + step).min(DEVIATIONS_MAX);
        if step.abs() < 1e-15 {
            break;
        }
    }
    (x.copysign(p - 0.5)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let table = [
            (0.5, 0.0),
            (0.75, 0.674_489_750_196_081_7),
            (0.95, 1.644_853_626_951_472_2),
            (0.999, 3.090_232_306_167_813_5),
            (0.975, 1.959_963_984_540_054),
            (1.0 - 1e-9, 5.997_807_015_007_7),
        ];
        for (p, x) in table {
            assert!((f64::from(quantile(p)) - x).abs() <= 1e-6 * x, "{p}: {}", quantile(p));
            assert!((f64::from(quantile(1.0 - p)) + x).abs() <= 1e-6 * x.max(1e-9), "1 - {p}");
        }
        assert_eq!(quantile(0.0), f32::NEG_INFINITY);
        assert!(quantile(f64::MIN_POSITIVE) >= -8.0 && quantile(1.0 - f64::EPSILON / 2.0) <= 8.0);
    }
}
