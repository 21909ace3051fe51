//! Which channels and heads a layer misses least, by how much comes out of them (Minitron, arXiv 2407.14679).
//!
//! A channel of a feed-forward block counts as much as the mean size of what it gives to `ffn_down`. A key and value head goes with all the
//! query heads that read it, and counts as much as the root mean square of what these give to `attn_output`. Of each layer as many go: files
//! have one number for all. One pass over the sequences, through the layers that are left, measures all of them as they are.

use ingle_model::Error;
use ingle_model::config::Config;
use ingle_model::decoder::Runtime;
use ingle_model::ffn::FfnPlan;
use ingle_model::file::Contents;
use ingle_model::mixer::MixerPlan;
use ingle_model::walk::Walk;
use serde::Serialize;

use super::cut::Cut;
use super::{Progress, Slim, Watch, layer, unless_stopped};
use crate::calibrate::{Collector, Stats};
use crate::error::Result;
use crate::role::layer_of;

/// Steps in which channels go: whole blocks of k-quants, else of all other block formats.
const STEPS: [usize; 2] = [256, 32];

/// Widths before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Width {
    /// Channels of a feed-forward block, where some go.
    pub ffn: Option<[usize; 2]>,
    /// Key and value heads of a layer, where some go.
    pub kv_heads: Option<[usize; 2]>,
}

/// What widths are to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Widths {
    /// Before and after.
    pub width: Width,
    /// Values of all query heads that read one key and value head.
    group_dim: usize,
}

impl Widths {
    /// For `parts` of a model.
    ///
    /// # Errors
    /// When its layers are not all alike and plain there, or nothing would go.
    pub fn plan(config: &Config, parts: Slim) -> std::result::Result<Self, Error> {
        let mut widths = Self::default();
        if parts.ffn > 0.0 {
            let n = ffn_dim(config)?;
            let wanted = parts.ffn * n as f64;
            let step = STEPS.into_iter().find(|&step| wanted >= step as f64);
            let step = step.ok_or_else(|| {
                let steps = STEPS[1];
                Error::Input(format!("slim: {wanted:.0} of {n} channels, expected {steps} to go at least"))
            })?;
            widths.width.ffn = Some([n, n - wanted as usize / step * step]);
        }
        if parts.heads > 0.0 {
            let (n, group_dim) = kv_heads(config)?;
            let wanted = (parts.heads * n as f64) as usize;
            if wanted == 0 {
                let part = parts.heads;
                return Err(Error::Input(format!(
                    "slim: {part} of {n} key and value heads, expected one to go"
                )));
            }
            (widths.width.kv_heads, widths.group_dim) = (Some([n, n - wanted]), group_dim);
        }
        Ok(widths)
    }

    /// Whether any is another.
    pub fn is_change(&self) -> bool {
        self.width != Width::default()
    }

    /// The first channels and heads of `n_layers` layers, as many as stay.
    pub(super) fn first(&self, n_layers: usize, cut: &mut Cut) {
        let first = |width: Option<[usize; 2]>| width.map(|[_, n]| vec![(0..n).collect(); n_layers]);
        (cut.channels, cut.kv_heads) = (first(self.width.ffn), first(self.width.kv_heads));
    }
}

/// Channels of every layer's feed-forward block.
fn ffn_dim(config: &Config) -> std::result::Result<usize, Error> {
    let dense = |plan: &FfnPlan| match plan {
        FfnPlan::Dense(plan) if plan.keep_above.is_none() => Some(plan.dim),
        _ => None,
    };
    let mut dims = config.layers.iter().map(|layer| dense(&layer.ffn));
    let first = dims.next().flatten();
    first.filter(|_| dims.all(|dim| dim == first)).ok_or_else(|| {
        let found = format!("family {} with layers of another kind or width", config.family.name);
        Error::unsupported(
            "slim: ffn",
            found,
            ["models whose layers all have one dense block of the same width"],
        )
    })
}

/// Key and value heads of every layer, and values of the query heads that read one.
fn kv_heads(config: &Config) -> std::result::Result<(usize, usize), Error> {
    let heads = |mixer: &MixerPlan| match mixer {
        MixerPlan::Attention(plan) if plan.kv_from.is_none() && !plan.kv_lent => {
            Some((plan.shape.n_kv_heads, plan.q_dim() / plan.shape.n_kv_heads))
        }
        _ => None,
    };
    let mut all = config.layers.iter().map(|layer| heads(&layer.mixer));
    let first = all.next().flatten();
    first.filter(|_| all.all(|heads| heads == first)).ok_or_else(|| {
        let found = format!("family {} with layers of another kind or with other heads", config.family.name);
        Error::unsupported("slim: heads", found, ["models whose layers all attend with the same heads"])
    })
}

/// Chooses the channels and heads of the layers of `cut` that stay, and puts them there.
///
/// # Errors
/// When the family can't be gone through layer by layer, or `watch` stops the work.
pub fn choose(
    file: &Contents,
    config: &Config,
    widths: &Widths,
    cut: &mut Cut,
    sequences: &[Vec<u32>],
    run: &Runtime<'_>,
    watch: Watch<'_>,
) -> Result<()> {
    let Width { ffn, kv_heads } = widths.width;
    let mut walk = Walk::begin(file, config, sequences, run)?;
    let (mut channels, mut heads) = (Vec::new(), Vec::new());
    for (at, &i) in cut.layers.iter().enumerate() {
        let weights = layer(file, config, i, run)?;
        let collector = Collector::new(run.pool, []);
        let looking = Runtime { probe: Some(&collector), ..Runtime::new(run.pool, run.kernels) };
        let n_layers = cut.layers.len();
        unless_stopped(walk.through(&weights, i, true, &looking, |_| watch(Progress::Widths(at, n_layers))))?;
        let sites = collector.into_sites();
        let stats = |part: &str| {
            let name = format!("blk.{i}.{part}.weight");
            let site = sites.iter().find(|site| site.weights.contains(&name));
            site.map(|site| &site.stats).ok_or_else(|| Error::missing(format!("tensor {name}"), "a matrix"))
        };
        if let Some([_, n]) = ffn {
            channels.push(largest(&stats("ffn_down")?.sum_abs, n));
        }
        if let Some([_, n]) = kv_heads {
            heads.push(largest(&by_group(stats("attn_output")?, widths.group_dim), n));
        }
        file.tensors().iter().filter(|t| layer_of(&t.name) == Some(i)).for_each(|t| t.release());
    }
    cut.channels = ffn.map(|_| channels);
    cut.kv_heads = kv_heads.map(|_| heads);
    Ok(())
}

/// Sums of squares of each `group_dim` columns.
fn by_group(stats: &Stats, group_dim: usize) -> Vec<f64> {
    stats.sum_squares.chunks_exact(group_dim).map(|group| group.iter().sum()).collect()
}

/// Where the `n` largest of `values` are, in rising order; of equals the first.
fn largest(values: &[f64], n: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    places.truncate(n);
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_stay_in_their_order() {
        assert_eq!(largest(&[1.0, 5.0, 2.0, 5.0, 4.0], 3), [1, 3, 4]);
        assert_eq!(largest(&[1.0, 1.0, 1.0], 2), [0, 1]);
    }
}
