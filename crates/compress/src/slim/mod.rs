//! A narrower and shallower model, before its weights are encoded: whole layers, channels of feed-forward blocks and heads go.
//!
//! First [`depth`]: layers, by what the model says without them. Then [`width`]: channels and groups of heads, by how much comes out of
//! them in the layers that are left. What goes is a [`cut::Cut`], and the result is a model like any other, whose tensors are made from the
//! source's when they are read. Every number of what stays is the source's: nothing here trains, so what was lost is for healing to win back.
//!
//! Left out: experts, whose number could be cut too; layers that only draft; other numbers of channels in every layer.

pub mod cut;
pub mod depth;
pub mod width;

use std::fmt;

use ingle_model::Error as ModelError;
use ingle_model::config::Config;
use ingle_model::decoder::Runtime;
use ingle_model::file::Contents;
use ingle_model::walk;
use ingle_model::weights::Layer;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pipeline::{LARGE_LAYER, as_q8_0};
use crate::role::layer_of;
use cut::Cut;
use depth::Depth;
use width::{Width, Widths};

/// Which parts of a model go, each from 0 to below 1: `slim = { layers = 0.25 }`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slim {
    /// Of the layers, to the nearest number, at least one where this is not 0.
    pub layers: f64,
    /// Of the channels of feed-forward blocks, in steps of 256 where a step is not more than is to go, else of 32.
    pub ffn: f64,
    /// Of the key and value heads, each with the query heads that read it, down to a whole number.
    pub heads: f64,
}

impl Slim {
    /// Whether the parts are parts and something goes.
    ///
    /// # Errors
    /// With what was expected.
    pub fn check(self) -> std::result::Result<(), String> {
        let parts = [self.layers, self.ffn, self.heads];
        if !parts.iter().all(|part| (0.0..1.0).contains(part)) || parts.iter().all(|&part| part == 0.0) {
            return Err("slim: expected layers, ffn and heads from 0 to below 1, one of them above 0".into());
        }
        Ok(())
    }
}

/// A slimmer model.
#[derive(Debug)]
pub struct Slimmed {
    /// Its metadata and tensors, which are made from the source's.
    pub contents: Contents,
    /// Its numbers.
    pub config: Config,
    /// What went, and why that.
    pub report: Report,
}

/// What went, and why that.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Layers of the source.
    pub n_layers: usize,
    /// What was found about layers, where some went.
    pub depth: Option<Depth>,
    /// Widths before and after, where they are others.
    pub width: Option<Width>,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// The n-th of so many layers is looked for, this share of that is done.
    Layers(usize, usize, f64),
    /// Inputs are measured in this layer of so many.
    Widths(usize, usize),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Layers(i, n, share) => {
                write!(f, "layer to leave out, {} of {n}: {:.0} % tried", i + 1, 100.0 * share)
            }
            Self::Widths(i, n) => {
                write!(f, "layer {} of {n}: what comes out of its channels and heads", i + 1)
            }
        }
    }
}

impl fmt::Display for Report {
    /// A line for each kind of thing that went.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        if let Some(Depth { rounds, .. }) = &self.depth {
            let gone: Vec<String> =
                rounds.iter().map(|r| format!("{} (KLD {:.4})", r.layer, r.kld)).collect();
            let left = self.n_layers - rounds.len();
            lines.push(format!("layers     {left} of {}, without {}", self.n_layers, gone.join(", ")));
        }
        let width = self.width.unwrap_or_default();
        lines.extend(width.ffn.map(|[from, to]| format!("channels   {to} of {from} in each layer")));
        lines.extend(width.kv_heads.map(|[from, to]| format!("kv heads   {to} of {from} in each layer")));
        f.write_str(&lines.join("\n"))
    }
}

/// Who is told, and says whether to go on.
pub type Watch<'w> = &'w mut dyn FnMut(Progress) -> bool;

/// Takes the parts `parts` of the model `file` away that `sequences` miss least. What goes is the same for any number of threads.
///
/// # Errors
/// When the parts are none, the family's arithmetic would not stay what it is, or `watch` stops the work.
pub fn slim(
    file: &Contents,
    config: &Config,
    parts: Slim,
    sequences: &[Vec<u32>],
    run: &Runtime<'_>,
    watch: Watch<'_>,
) -> Result<Slimmed> {
    parts.check().map_err(ModelError::Input)?;
    if sequences.iter().all(Vec::is_empty) {
        return Err(ModelError::Input("slim: no tokens, expected a text to measure on".into()).into());
    }
    let n_layers = config.layers.len();
    let mut cut = Cut::nothing(n_layers);
    let mut report = Report { n_layers, ..Report::default() };
    // What can't be done is told before anything is measured.
    walk::supported(config)?;
    let widths = Widths::plan(config, parts)?;
    let n_removed = n_removed(parts.layers, n_layers)?;
    cut::try_out(file, config, n_removed > 0, &widths)?;
    if n_removed > 0 {
        let depth = depth::choose(file, config, n_removed, sequences, run, watch)?;
        cut.layers.retain(|i| !depth.rounds.iter().any(|round| round.layer == *i));
        report.depth = Some(depth);
    }
    if widths.is_change() {
        width::choose(file, config, &widths, &mut cut, sequences, run, watch)?;
        report.width = Some(widths.width);
    }
    let (contents, config) = cut.apply(file, config)?;
    Ok(Slimmed { contents, config, report })
}

/// Layers that go.
fn n_removed(part: f64, n_layers: usize) -> Result<usize> {
    if part == 0.0 {
        return Ok(0);
    }
    if n_layers < 2 {
        return Err(ModelError::Input("slim: a model of one layer, expected one that can go".into()).into());
    }
    Ok(((part * n_layers as f64).round() as usize).clamp(1, n_layers - 1))
}

/// Layer `i` of `file` to be looked at: large ones with matrices in q8_0.
fn layer(file: &Contents, config: &Config, i: usize, run: &Runtime<'_>) -> Result<Layer> {
    let part = lightly(file, run, |name| layer_of(name) == Some(i))?;
    Ok(Layer::of(&part, config, i, run.kernels)?)
}

/// The tensors of `file` that `wanted` names, with matrices in q8_0 where there is much of them.
fn lightly(file: &Contents, run: &Runtime<'_>, wanted: impl Fn(&str) -> bool) -> Result<Contents> {
    let tensors = || file.tensors().iter().filter(|t| wanted(&t.name));
    let is_large = tensors().map(|t| t.n_values()).sum::<usize>() >= LARGE_LAYER;
    let mut part = Contents::new(file.container.clone());
    for tensor in tensors() {
        part.add(if is_large { as_q8_0(tensor, run.pool) } else { tensor.clone() })?;
    }
    Ok(part)
}

/// [`Error::Interrupted`] unless the work goes on.
fn unless_stopped(goes_on: bool) -> Result<()> {
    if goes_on { Ok(()) } else { Err(Error::Interrupted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_from_0_to_below_1_and_not_all_0() {
        for (layers, ffn, heads, holds) in [
            (0.25, 0.0, 0.0, true),
            (0.0, 0.1, 0.99, true),
            (0.0, 0.0, 0.0, false),
            (1.0, 0.0, 0.0, false),
            (0.5, -0.1, 0.0, false),
            (0.5, 0.0, f64::NAN, false),
        ] {
            assert_eq!(Slim { layers, ffn, heads }.check().is_ok(), holds, "{layers} {ffn} {heads}");
        }
    }

    #[test]
    fn layers_go_by_the_nearest_number_and_one_stays() {
        let of = |part, n| n_removed(part, n).unwrap();
        assert_eq!([of(0.0, 1), of(0.25, 4), of(0.25, 30), of(0.01, 30), of(0.99, 4)], [0, 1, 8, 1, 3]);
        assert!(n_removed(0.5, 1).is_err());
    }
}
