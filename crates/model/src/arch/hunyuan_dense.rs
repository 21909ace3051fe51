//! Hunyuan dense: Llama with norms on the heads of q and k, behind the rotation. The NTK-aware stretch of the rotary base
//! is in the base that files give.

use super::Family;

pub static FAMILY: Family = Family {
    name: "hunyuan-dense",
    covers: "Hunyuan 0.5B, 1.8B, 4B, 7B; Hunyuan-MT 7B",
    source: "the transformers library, models/hunyuan_v1_dense",
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    adjust: |_, config| {
        config.each_attention(|_, plan| plan.norm_after_rope = true);
        Ok(())
    },
    ..Family::BASE
};
