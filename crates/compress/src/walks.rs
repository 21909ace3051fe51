//! The sequences on their way through a model whose layers change behind them: what each layer is given, and where they go on.
//!
//! A layer is looked at as it is, with the inputs that it will have ([`look`]); then the sequences go through what it has become
//! ([`Walks::go_on`]). Under asymmetric calibration the same sequences go through the unchanged layers beside that, part by part, so
//! that the inputs of both are held for one part at a time. The journal keeps both streams, and they are taken up together or not
//! at all: an unchanged stream fits any formats, so it alone says nothing about how far a run is.

use ingle_model::decoder::Runtime;
use ingle_model::walk::Walk;
use ingle_model::weights::Layer;

use crate::balance::Balance;
use crate::calibrate::{Collector, Recorder, Site};
use crate::error::{Error, Result};
use crate::inputs::SAMPLE;
use crate::method::Needs;
use crate::pipeline::{Job, Progress, Watch};
use crate::role::layer_of;

/// The sequences on their way.
pub struct Walks<'a> {
    /// Through what the layers have become.
    pub changed: Walk<'a>,
    /// Through the layers as they were, where that is compared.
    pub unchanged: Option<Walk<'a>>,
}

impl<'a> Walks<'a> {
    /// Before the first layer.
    pub fn begin(job: &Job<'a>) -> Result<Self> {
        let run = Runtime::new(job.pool, job.kernels);
        let begin = || Walk::begin(job.file, job.config, job.sequences, &run);
        Ok(Self { changed: begin()?, unchanged: job.asymmetric.then(begin).transpose()? })
    }

    /// Takes up the streams behind the layers before `end`, if the journal has them: all of them or none.
    pub fn take_up(&mut self, job: &Job<'_>, end: usize) -> bool {
        let n = self.changed.states().len();
        let Some(changed) = job.journal.stream(&job.until(end), n) else { return false };
        if let Some(walk) = &mut self.unchanged {
            let Some(unchanged) = job.journal.stream(&unchanged_until(end), n) else { return false };
            walk.states_mut().copy_from_slice(&unchanged);
        }
        self.changed.states_mut().copy_from_slice(&changed);
        true
    }

    /// Sends the sequences through what layer `i` has become, and notes where they are.
    pub fn go_on(&mut self, job: &Job<'_>, layer: &Layer, i: usize, watch: Watch<'_>) -> Result<()> {
        let n_tokens = self.changed.states().len() / job.config.dim;
        let mut tell = |n| watch(Progress::GoingOn(i, n as f64 / n_tokens as f64));
        let run = Runtime::new(job.pool, job.kernels);
        if !self.changed.through(layer, i, true, &run, &mut tell) {
            return Err(Error::Interrupted);
        }
        if let Some(unchanged) = &self.unchanged {
            // The one behind the layer before has to stay until both streams are here.
            let last = unchanged_until(i.saturating_sub(1));
            job.journal.keep_stream(&unchanged_until(i + 1), unchanged.states(), &last)?;
        }
        job.journal.keep_stream(&job.until(i + 1), self.changed.states(), &job.until(i))
    }

    /// Sends the sequences through layer `i` as it was, where that is compared.
    pub fn pass_unchanged(&mut self, job: &Job<'_>, i: usize, watch: Watch<'_>) -> Result<()> {
        let Some(walk) = &mut self.unchanged else { return Ok(()) };
        let n_tokens = walk.states().len() / job.config.dim;
        let mut tell = |n| watch(Progress::Looking(i, n as f64 / n_tokens as f64));
        let run = Runtime::new(job.pool, job.kernels);
        let goes_on = walk.through(&job.unchanged_layer(i)?, i, true, &run, &mut tell);
        goes_on.then_some(()).ok_or(Error::Interrupted)
    }
}

/// The name of the stream of the unchanged model before layer `end`.
fn unchanged_until(end: usize) -> String {
    format!("unchanged-{end:04}")
}

/// What the matrices of layer `i` are given.
pub fn look(job: &Job<'_>, walks: &mut Walks<'_>, i: usize, watch: Watch<'_>) -> Result<Vec<Site>> {
    let layer = job.unchanged_layer(i)?;
    let names: Vec<&str> = match job.needs() {
        Needs::Products => job.encoded().filter(|name| layer_of(name) == Some(i)).collect(),
        _ => Vec::new(),
    };
    let Walks { changed, unchanged } = walks;
    let (recorder, collector) = (Recorder::default(), Collector::new(job.pool, names));
    let collector = if unchanged.is_some() { collector.beside(&recorder) } else { collector };
    let plain = Runtime::new(job.pool, job.kernels);
    let n_tokens = changed.states().len() / job.config.dim;
    let tries = matches!(job.balance, Some(Balance::Smooth(_)));
    let collector = if tries { collector.sampling(SAMPLE, n_tokens) } else { collector };
    let mut n_done = 0;
    for part in 0..changed.n_parts() {
        if let Some(unchanged) = unchanged {
            recorder.begin(unchanged.n_tokens(part));
            unchanged.part_through(part, &layer, i, true, &Runtime { probe: Some(&recorder), ..plain });
        }
        n_done += changed.n_tokens(part);
        changed.part_through(part, &layer, i, false, &Runtime { probe: Some(&collector), ..plain });
        if !watch(Progress::Looking(i, n_done as f64 / n_tokens as f64)) {
            return Err(Error::Interrupted);
        }
    }
    Ok(collector.into_sites())
}
