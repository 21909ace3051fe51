//! Hunyuan dense: norms on the heads of q and k; `alpha` stretches the rotary base, NTK-aware (arXiv 2306.15595, appendix).

use super::super::change::Change::AsIs;
use super::super::names::{LAYER, Rule};
use super::super::rope;
use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["hunyuan_v1_dense"],
    family: "hunyuan-dense",
    defaults: &[("rms_norm_eps", 1e-5), ("rope_theta", 10_000.0)],
    layer: &[HEAD_NORMS, LAYER],
    adjust: |draft| {
        let params = rope::params(&draft.config)?;
        let alpha = params.map_or(Ok(None), |params| params.float("alpha"))?;
        let base = rope::number(&draft.config, "rope_theta")?;
        match (alpha, base, draft.head_dim()? as f64) {
            (Some(alpha), Some(base), n) if alpha > 0.0 && n > 2.0 => {
                draft.float("rope.freq_base", base * alpha.powf(n / (n - 2.0)))
            }
            _ => Ok(()),
        }
    },
    ..ModelType::BASE
};

const HEAD_NORMS: &[Rule] =
    &[("self_attn.query_layernorm", "attn_q_norm", AsIs), ("self_attn.key_layernorm", "attn_k_norm", AsIs)];
