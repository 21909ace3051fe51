//! The shelf of model families: what each one means by its metadata.
//!
//! A family is data: its name in `general.architecture`, the order of its rotary pairs, where its norms stand, the tensors
//! it can't do without, and a function that adjusts the configuration read from the common keys. There is one decoder for
//! all of them. To add a family write its file and one line in [`FAMILIES`]; what it needs beyond a plan's field becomes
//! a mixer or ffn file. [`ENCODERS`] are families of another forward pass, [`crate::encoder`]'s.

mod apertus;
mod bert;
mod cohere2;
mod command_r;
mod ernie4_5;
mod exaone4;
mod falcon_h1;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma3n;
mod gemma4;
mod glm4;
mod gpt_oss;
mod granite;
mod granitehybrid;
mod hunyuan_dense;
mod jamba;
mod lfm2;
mod lfm2moe;
mod llama;
mod mamba;
mod mamba2;
mod minicpm;
mod nemotron;
mod nemotron_h;
mod nemotron_h_moe;
mod nomic_bert;
mod olmo2;
mod phi2;
mod phi3;
mod qwen2;
mod qwen2moe;
mod qwen3;
mod qwen35;
mod qwen35moe;
mod qwen3moe;
mod qwen3next;
mod seed_oss;
mod smollm3;
mod stablelm;
mod starcoder2;

use crate::config::{Config, Keys};
use crate::error::{Error, Result};
use crate::rope::{Order, Ramp};

/// One model family.
#[derive(Debug)]
pub struct Family {
    /// The value of `general.architecture`.
    pub name: &'static str,
    /// Which published models it covers, for `show` and the docs.
    pub covers: &'static str,
    /// Whose arithmetic this is: the paper or the original implementation.
    pub source: &'static str,
    /// How rotary position embedding pairs the values of a head.
    pub rope_order: Order,
    /// Where YaRN's ramp, in files that scale by it, begins and ends.
    pub yarn_ramp: Ramp,
    /// Where norms stand.
    pub norms: Norms,
    /// Tensors of every layer, beyond the common ones, whose absence is an error.
    pub needs: &'static [&'static str],
    /// Tensors whose name in this family's files is not ours: `(ours, theirs)`, without layer and ending.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Adjusts what was read from the common keys.
    pub adjust: fn(&Keys<'_>, &mut Config) -> Result<()>,
}

impl Family {
    /// What most families share, to be completed.
    const BASE: Self = Self {
        name: "",
        covers: "",
        source: "",
        rope_order: Order::Halves,
        yarn_ramp: Ramp::WholePairs,
        norms: Norms::Before,
        needs: &[],
        aliases: &[],
        adjust: |_, _| Ok(()),
    };
}

/// Where the norms of a layer's two blocks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// On what a block reads.
    Before,
    /// On what a block gives.
    After,
    /// On both.
    Both,
}

/// Every family this build runs.
pub static FAMILIES: &[&Family] = &[
    &llama::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &qwen3moe::FAMILY,
    &gemma::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &gemma3n::FAMILY,
    &gemma4::FAMILY,
    &phi3::FAMILY,
    &smollm3::FAMILY,
    &granite::FAMILY,
    &olmo2::FAMILY,
    &lfm2::FAMILY,
    &phi2::FAMILY,
    &starcoder2::FAMILY,
    &stablelm::FAMILY,
    &gpt_oss::FAMILY,
    &exaone4::FAMILY,
    &hunyuan_dense::FAMILY,
    &ernie4_5::FAMILY,
    &nemotron::FAMILY,
    &minicpm::FAMILY,
    &glm4::FAMILY,
    &command_r::FAMILY,
    &cohere2::FAMILY,
    &qwen2moe::FAMILY,
    &seed_oss::FAMILY,
    &apertus::FAMILY,
    &lfm2moe::FAMILY,
    &mamba::FAMILY,
    &mamba2::FAMILY,
    &jamba::FAMILY,
    &granitehybrid::FAMILY,
    &falcon_h1::FAMILY,
    &qwen3next::FAMILY,
    &qwen35::FAMILY,
    &qwen35moe::FAMILY,
    &nemotron_h::FAMILY,
    &nemotron_h_moe::FAMILY,
];

/// Every family of encoders this build runs.
pub static ENCODERS: &[&Family] = &[&bert::FAMILY, &nomic_bert::FAMILY];

/// Whether the family called `name` is one of encoders.
pub fn is_encoder(name: &str) -> bool {
    ENCODERS.iter().any(|f| f.name == name)
}

/// The family called `name` among those of `shelf`.
///
/// # Errors
/// [`Error::Unsupported`] with the names there are.
pub fn by_name(shelf: &[&'static Family], name: &str) -> Result<&'static Family> {
    shelf.iter().copied().find(|f| f.name == name).ok_or_else(|| {
        let kind = if is_encoder(name) { ", an encoder, which gives embeddings and no text," } else { "" };
        Error::unsupported(
            "metadata general.architecture",
            format!("family {name:?}{kind}"),
            shelf.iter().map(|f| f.name),
        )
    })
}
