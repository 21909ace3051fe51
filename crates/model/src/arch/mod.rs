//! The shelf of model families: what each one means by its metadata.
//!
//! A family is data: its name in `general.architecture`, the order of its rotary pairs, the tensors it can't do without,
//! and a function that adjusts the configuration read from the common keys. There is one decoder for all of them. To add
//! a family write its file and one line in [`FAMILIES`]; what it needs beyond a config field becomes a mixer or ffn file.

mod llama;
mod qwen2;
mod qwen3;

use crate::config::{Config, Keys};
use crate::error::{Error, Result};
use crate::rope::Order;

/// One model family.
#[derive(Debug)]
pub struct Family {
    /// The value of `general.architecture`.
    pub name: &'static str,
    /// Which published models it covers, for `show` and the docs.
    pub covers: &'static str,
    /// How rotary position embedding pairs the values of a head.
    pub rope_order: Order,
    /// Tensors of every layer, beyond the common ones, whose absence is an error.
    pub needs: &'static [&'static str],
    /// Adjusts what was read from the common keys.
    pub adjust: fn(&Keys<'_>, &mut Config) -> Result<()>,
}

/// Every family this build runs.
pub static FAMILIES: &[&Family] = &[&llama::FAMILY, &qwen2::FAMILY, &qwen3::FAMILY];

/// The family called `name`.
///
/// # Errors
/// [`Error::Unsupported`] with the names there are.
pub fn by_name(name: &str) -> Result<&'static Family> {
    FAMILIES.iter().copied().find(|f| f.name == name).ok_or_else(|| {
        Error::unsupported(
            "metadata general.architecture",
            format!("family {name:?}"),
            FAMILIES.iter().map(|f| f.name),
        )
    })
}
