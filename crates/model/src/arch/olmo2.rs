//! OLMo 2: norms only behind the blocks, and on q and k over all heads together.

use super::Family;
use super::Norms;

pub static FAMILY: Family = Family {
    name: "olmo2",
    covers: "OLMo 2 1B, 7B, 13B, 32B",
    source: "arXiv 2501.00656",
    norms: Norms::After,
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    ..Family::BASE
};
