//! Seed-OSS: Qwen 2 with heads wider than the model's share of them. The norm before the feed-forward block is called
//! after the attention it follows.

use super::Family;

pub static FAMILY: Family = Family {
    name: "seed_oss",
    covers: "Seed-OSS 36B",
    source: "the transformers library, models/seed_oss",
    aliases: &[("ffn_norm", "post_attention_norm")],
    ..Family::BASE
};
