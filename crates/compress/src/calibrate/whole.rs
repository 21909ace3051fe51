//! One walk through a model as it is: what all its matrices are given.
//!
//! Unlike a run of the [`crate::pipeline`], which changes each layer before it goes on, this only looks. Float weights of larger
//! layers are read as q8_0, here for the stream too: what is measured are mean squares.

use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::config::Config;
use ingle_model::decoder::Runtime;
use ingle_model::file::{Contents, Tensor};
use ingle_model::walk::Walk;
use ingle_model::weights::Layer;

use super::{Collector, Site, Stats};
use crate::error::{Error, Result};
use crate::pipeline::{HEAD, LARGE_LAYER, as_q8_0};
use crate::role::layer_of;

/// The moments of every matrix input of the model `file` while it reads `sequences`. `watch` is told the layer and the share of it
/// that is done; when it gives `false`, the walk stops with [`Error::Interrupted`].
///
/// # Errors
/// When the family can't be gone through layer by layer.
pub fn whole(
    file: &Contents,
    config: &Config,
    sequences: &[Vec<u32>],
    pool: &Pool,
    kernels: &Kernels,
    watch: &mut dyn FnMut(usize, f64) -> bool,
) -> Result<Vec<Site>> {
    let plain = Runtime::new(pool, kernels);
    let mut walk = Walk::begin(file, config, sequences, &plain)?;
    let n_tokens = walk.states().len() / config.dim;
    let collector = Collector::new(pool, []);
    for i in 0..config.layers.len() {
        let tensors = || file.tensors().iter().filter(|t| layer_of(&t.name) == Some(i));
        let is_large = tensors().map(Tensor::n_values).sum::<usize>() >= LARGE_LAYER;
        let mut alone = Contents::new(file.container.clone());
        for tensor in tensors() {
            alone.add(if is_large { as_q8_0(tensor, pool) } else { tensor.clone() })?;
        }
        let layer = Layer::of(&alone, config, i, kernels)?;
        let run = Runtime { probe: Some(&collector), ..Runtime::new(pool, kernels) };
        if !walk.through(&layer, i, true, &run, &mut |n| watch(i, n as f64 / n_tokens as f64)) {
            return Err(Error::Interrupted);
        }
        tensors().for_each(Tensor::release);
    }
    let mut stats = Stats::new(config.dim, false);
    walk.normed(file, &plain, |rows| stats.add(rows, pool))?;
    let mut sites = collector.into_sites();
    sites.push(Site { weights: vec![HEAD.into()], stats });
    Ok(sites)
}
