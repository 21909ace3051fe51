//! What a tensor is for, as far as its name tells: the roles that mixtures speak of, and the tensors that stay as they are.
//!
//! The names are GGUF's and the lists llama.cpp's (`src/llama-quant.cpp`), so that the same tensors are quantised. Left out
//! are its exceptions for single families that no mixture of ours is for (glm5-next, bailingmoe3).

/// The part a tensor plays in a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The table of token embeddings, of one layer's own too.
    TokenEmbedding,
    /// The matrix to the logits.
    Output,
    /// Queries.
    AttnQ,
    /// Keys.
    AttnK,
    /// Values, and what holds values among others: fused projections and latent ones. The most sensitive matrices.
    AttnV,
    /// From the heads back to the stream.
    AttnOutput,
    /// Into the feed-forward layer, of experts too.
    FfnUp,
    /// Its gate.
    FfnGate,
    /// Out of it.
    FfnDown,
    /// All else.
    Other,
}

impl Role {
    /// The role of the tensor called `name`; the first part of a name that fits counts.
    pub fn of(name: &str) -> Self {
        const PARTS: [(&str, Role); 9] = [
            ("attn_qkv.weight", Role::AttnV),
            ("attn_kv_b.weight", Role::AttnV),
            ("attn_v.weight", Role::AttnV),
            ("attn_k.weight", Role::AttnK),
            ("attn_q.weight", Role::AttnQ),
            ("attn_output.weight", Role::AttnOutput),
            ("ffn_up", Role::FfnUp),
            ("ffn_gate", Role::FfnGate),
            ("ffn_down", Role::FfnDown),
        ];
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Self::TokenEmbedding,
            _ => PARTS.iter().find(|(part, _)| name.contains(part)).map_or(Self::Other, |&(_, role)| role),
        }
    }
}

/// The layer of the tensor called `name`: 3 for `blk.3.attn_q.weight`.
pub fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// The tensor's name without its layer and `.weight`: `attn_q` for `blk.3.attn_q.weight`.
pub fn kind_of(name: &str) -> &str {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let in_layer = layer_of(name).and_then(|_| name.splitn(3, '.').nth(2));
    in_layer.unwrap_or(name)
}

/// Why the tensor `name` of `shape` (innermost size first) is never quantised; `None` when it may be.
pub fn kept(name: &str, shape: &[usize]) -> Option<&'static str> {
    if shape.iter().skip(1).all(|&size| size == 1) {
        return Some("one row");
    }
    if !name.ends_with("weight") {
        return Some("not a weight");
    }
    if matches!(name, "position_embd.weight" | "token_types.weight") {
        return Some("positions or token kinds");
    }
    KEPT.iter().find(|(part, _)| name.contains(part)).map(|&(_, why)| why)
}

/// Parts of names that keep a tensor as it is: small ones whose error would cost more than their bytes.
static KEPT: &[(&str, &str)] = &[
    ("_norm.weight", "a norm"),
    ("ffn_gate_inp.weight", "a router of experts"),
    ("ffn_gate_tid2eid.weight", "a router of experts"),
    ("altup", "small"),
    ("laurel", "small"),
    ("per_layer_model_proj", "small"),
    ("ssm_conv1d", "a convolution"),
    ("shortconv.conv.weight", "a convolution"),
    ("indexer.k_proj.weight", "small"),
    ("indexer.q_proj.weight", "small"),
    ("time_mix_first.weight", "small"),
    ("time_mix_w0.weight", "small"),
    ("time_mix_w1.weight", "small"),
    ("time_mix_w2.weight", "small"),
    ("time_mix_v0.weight", "small"),
    ("time_mix_v1.weight", "small"),
    ("time_mix_v2.weight", "small"),
    ("time_mix_a0.weight", "small"),
    ("time_mix_a1.weight", "small"),
    ("time_mix_a2.weight", "small"),
    ("time_mix_g1.weight", "small"),
    ("time_mix_g2.weight", "small"),
    ("time_mix_decay_w1.weight", "small"),
    ("time_mix_decay_w2.weight", "small"),
    ("time_mix_lerp_fused.weight", "small"),
    ("attn_rel_b.weight", "positions"),
    (".position_embd", "positions"),
    ("sam.pos_embd", "positions"),
    (".rel_pos", "positions"),
    ("sam.neck.", "of an image encoder"),
    ("sam.net_", "of an image encoder"),
    (".patch_embd", "of an image encoder"),
    (".patch_merger", "of an image encoder"),
    ("a.rvq.codebook", "an audio codebook"),
    ("mm.a.code_embd", "an audio codebook"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_roles_layers_and_kinds() {
        for (name, role, layer, kind) in [
            ("token_embd.weight", Role::TokenEmbedding, None, "token_embd"),
            ("output.weight", Role::Output, None, "output"),
            ("per_layer_token_embd.weight", Role::TokenEmbedding, None, "per_layer_token_embd"),
            ("output_norm.weight", Role::Other, None, "output_norm"),
            ("blk.0.attn_v.weight", Role::AttnV, Some(0), "attn_v"),
            ("blk.11.attn_qkv.weight", Role::AttnV, Some(11), "attn_qkv"),
            ("blk.3.ffn_down_exps.weight", Role::FfnDown, Some(3), "ffn_down_exps"),
            ("blk.3.ffn_gate_up_exps.weight", Role::FfnGate, Some(3), "ffn_gate_up_exps"),
            ("blk.x.attn_q.weight", Role::AttnQ, None, "blk.x.attn_q"),
        ] {
            assert_eq!((Role::of(name), layer_of(name), kind_of(name)), (role, layer, kind), "{name}");
        }
    }

    #[test]
    fn small_and_odd_tensors_are_kept() {
        let square = &[32, 32][..];
        assert_eq!(kept("blk.0.attn_q.weight", square), None);
        assert_eq!(kept("blk.0.ffn_down_exps.weight", &[32, 32, 4]), None);
        assert_eq!(kept("blk.0.attn_q.weight", &[32]), Some("one row"));
        assert_eq!(kept("blk.0.attn_q.weight", &[32, 1]), Some("one row"));
        assert_eq!(kept("blk.0.attn_q.bias", square), Some("not a weight"));
        for name in [
            "blk.0.attn_norm.weight",
            "blk.0.ffn_gate_inp.weight",
            "blk.0.shortconv.conv.weight",
            "position_embd.weight",
            "altup_proj.weight",
            "blk.0.altup_predict_coef.weight",
            "blk.0.laurel_l.weight",
            "per_layer_model_proj.weight",
        ] {
            assert!(kept(name, square).is_some(), "{name}");
        }
    }
}
