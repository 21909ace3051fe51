//! Gains: what a unit of a tensor's error adds to the divergence.
//!
//! There are no gradients here, so one group of tensors at a time (a kind of tensor in a part of the depth) is made coarse, all else
//! being the source, and the divergence from the source is measured: the gain is divergence by error. Groups are few, so probes
//! are; each costs one pass through some windows. The reference is a compact base of the source, 0.6 KB a token.

use ingle_kernel::bytes::Bytes;
use ingle_model::decoder::Runtime;
use ingle_model::file::contents::Piece;
use ingle_model::file::{Contents, Tensor};
use ingle_model::walk::Walk;
use ingle_model::weights::Layer;

use super::table::{Entry, PROBED};
use crate::error::{Error, Result};
use crate::evaluate::compact::{CompactBase, N_BEST, N_DRAWN, Writer};
use crate::evaluate::protocol::{CTX_MIN, Text, WHOLE};
use crate::method::rounding::encode_by_importance;
use crate::mixture::named;
use crate::pipeline::{Job, LARGE_LAYER, as_q8_0};
use crate::plan::fitting;
use crate::role::layer_of;

/// Tokens of the windows that probes read.
const TOKENS: usize = 4096;
/// Tokens of a window.
const CTX: usize = 256;
/// No gain is less than this part of the largest: a probe that shows nothing is no promise.
const LEAST: f64 = 1e-6;

/// Measures the gain of every entry. `watch` hears the share that is done.
///
/// # Errors
/// As a walk, and [`Error::Interrupted`] when `watch` gives `false`.
pub fn gains(job: &Job<'_>, entries: &mut [Entry], watch: &mut dyn FnMut(f64) -> bool) -> Result<()> {
    let mut groups: Vec<String> = entries.iter().map(|entry| entry.group.clone()).collect();
    groups.sort();
    groups.dedup();
    let n = (groups.len() + 1) as f64;
    let mut reference = Reference::new(job)?;
    for (i, group) in groups.iter().enumerate() {
        if !watch((i + 1) as f64 / n) {
            return Err(Error::Interrupted);
        }
        let is_in = |entry: &&mut Entry| entry.group == *group;
        let changed: Vec<usize> = entries.iter_mut().filter(is_in).map(|entry| entry.at).collect();
        let divergence = reference.divergence(job, &changed)?;
        let error: f64 = entries.iter_mut().filter(is_in).map(|entry| entry.probed).sum();
        let gain = if error > 0.0 { divergence.max(0.0) / error } else { 0.0 };
        entries.iter_mut().filter(is_in).for_each(|entry| entry.gain = gain);
    }
    let most = entries.iter().map(|entry| entry.gain * entry.probed).fold(0.0, f64::max);
    for entry in entries.iter_mut().filter(|entry| entry.probed > 0.0) {
        entry.gain = entry.gain.max(LEAST * most / entry.probed);
    }
    Ok(())
}

/// The source on some windows.
struct Reference {
    text: Text,
    sequences: Vec<Vec<u32>>,
    base: Option<CompactBase>,
}

impl Reference {
    fn new(job: &Job<'_>) -> Result<Self> {
        let tokens: Vec<u32> = job.sequences.iter().flatten().copied().collect();
        let ctx = CTX.min(job.sequences.iter().map(Vec::len).max().unwrap_or(0)).max(CTX_MIN);
        let text = Text::new(&WHOLE, ctx, tokens, (TOKENS / ctx).max(1));
        if text.n_windows() == 0 {
            let said = format!("calibration has fewer than {ctx} tokens, expected a window to probe with");
            return Err(ingle_model::Error::Input(said).into());
        }
        let sequences = (0..text.n_windows()).map(|i| text.fed(i, None)).collect();
        let mut reference = Self { text, sequences, base: None };
        let mut writer = Writer::new(&reference.text, job.config.vocab, "the source", N_BEST, N_DRAWN);
        reference.read(job, &[], &mut |logits, id| {
            writer.push(logits, id);
            Ok(())
        })?;
        reference.base = Some(CompactBase::parse(Bytes::new(writer.finish()))?);
        Ok(reference)
    }

    /// Mean divergence of the source with the tensors numbered `changed` made coarse.
    fn divergence(&mut self, job: &Job<'_>, changed: &[usize]) -> Result<f64> {
        let base = self.base.take().expect("was made with the reference");
        let (mut reader, mut sum, mut n) = (base.reader(), 0.0, 0);
        self.read(job, changed, &mut |logits, id| {
            sum += reader.compare(logits, id)?.kld;
            n += 1;
            Ok(())
        })?;
        drop(reader);
        self.base = Some(base);
        Ok(sum / f64::from(n.max(1)))
    }

    /// Reads the windows, and hands each position's logits with its true token to `row`.
    fn read(
        &self,
        job: &Job<'_>,
        changed: &[usize],
        row: &mut dyn FnMut(&[f32], u32) -> Result<()>,
    ) -> Result<()> {
        let run = Runtime::new(job.pool, job.kernels);
        let ends = part(job, None, changed)?;
        let mut walk = Walk::begin(&ends, job.config, &self.sequences, &run)?;
        for i in 0..job.config.layers.len() {
            let layer = Layer::of(&part(job, Some(i), changed)?, job.config, i, job.kernels)?;
            walk.through(&layer, i, true, &run, |_| true);
        }
        let (per, vocab) = (self.text.per_window(), job.config.vocab);
        let mut outcome = Ok(());
        walk.logits(&ends, &run, |first, logits| {
            let rows = logits.chunks_exact(vocab).enumerate();
            outcome = rows.into_iter().try_for_each(|(i, logits)| {
                let at = first + i;
                row(logits, self.text.scored(at / per)[at % per])
            });
            outcome.is_ok()
        })?;
        outcome
    }
}

/// The tensors of a layer, or those of none, with those numbered `changed` made coarse.
fn part(job: &Job<'_>, layer: Option<usize>, changed: &[usize]) -> Result<Contents> {
    let n_layers = job.config.layers.len();
    let of_layer = |t: &Tensor| layer_of(&t.name).filter(|&i| i < n_layers) == layer;
    let n_values: usize = job.file.tensors().iter().filter(|t| of_layer(t)).map(Tensor::n_values).sum();
    let is_large = layer.is_some() && n_values >= LARGE_LAYER;
    let mut file = Contents::new(job.file.container.clone());
    for (at, tensor) in job.file.tensors().iter().enumerate().filter(|(_, t)| of_layer(t)) {
        file.add(match (changed.contains(&at), is_large) {
            (true, _) => coarse(job, tensor),
            (false, true) => as_q8_0(tensor, job.pool),
            (false, false) => tensor.clone(),
        })?;
    }
    Ok(file)
}

/// `tensor` by nearest codes of [`PROBED`].
fn coarse(job: &Job<'_>, tensor: &Tensor) -> Tensor {
    let cols = tensor.shape[0];
    let format = fitting(named(PROBED), cols);
    let bytes = encode_by_importance(&tensor.values(), cols, format, None, job.pool);
    Tensor::new(tensor.name.clone(), tensor.shape.clone(), format, vec![Piece::InPlace(Bytes::new(bytes))])
}
