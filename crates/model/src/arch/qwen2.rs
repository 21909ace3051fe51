//! Qwen2 and Qwen2.5: Llama with biases on q, k and v and rotary pairs by halves.

use super::Family;

pub static FAMILY: Family = Family {
    name: "qwen2",
    covers: "Qwen2, Qwen2.5, DeepSeek-R1 distils of Qwen",
    source: "arXiv 2407.10671",
    needs: &["attn_q.bias", "attn_k.bias", "attn_v.bias"],
    ..Family::BASE
};
