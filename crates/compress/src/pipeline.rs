//! Carries a recipe out, layer by layer, in the memory of two layers.
//!
//! All calibration sequences go through the model together, one layer at a time ([`ingle_model::walk`]). A layer is first looked at as it
//! is, which tells what its matrices are given; then its weights are encoded; then the sequences go through what they have become, so
//! that the next layer sees the inputs it will have, errors of all layers before it included (true-sequential, as GPTQ has it).
//! Asymmetric calibration sends the sequences through the unchanged model beside that, to see how far inputs have drifted.
//! What is done goes to a [`Journal`], from which a later run goes on; at the end the file is put together from it.
//!
//! Inputs are those of the real kernels, rounded activations included. Float weights of larger layers are read as q8_0 while they
//! are looked at: that is ten times as fast, and an input changes by less than what the methods' damping covers.

use std::collections::HashMap;
use std::io::Write;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::{self, Format};
use ingle_kernel::simd::Kernels;
use ingle_model::config::Config;
use ingle_model::decoder::Runtime;
use ingle_model::file::contents::Piece;
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_model::file::{Contents, Tensor};
use ingle_model::walk::Walk;
use ingle_model::weights::Layer;
use sha2::{Digest, Sha256};

use crate::balance::{Balance, Balancing};
use crate::calibrate::{Site, Stats};
use crate::error::{Error, Result};
use crate::inputs;
use crate::journal::{Done, Journal};
use crate::method::feedback::Order;
use crate::method::{Encoder, Known, Needs, Task, Zeros};
use crate::plan::{Choice, Plan};
use crate::prune::Prune;
use crate::quantize::{self, with_tensors};
use crate::recipe::Recipe;
use crate::report::{Loss, Report};
use crate::role::{kept, layer_of};
use crate::rows;
use crate::walks::{Walks, look};

/// Weights of a layer from which on float matrices are read as q8_0 while they are looked at.
pub(crate) const LARGE_LAYER: usize = 1 << 22;

/// The output matrix.
pub(crate) const HEAD: &str = "output.weight";
/// Values of the rows of a matrix that are encoded together: rows do not know of each other.
const RUN_VALUES: usize = 1 << 23;

/// What is to be done.
#[derive(Debug)]
pub struct Job<'a> {
    /// The model.
    pub file: &'a Contents,
    /// Its numbers.
    pub config: &'a Config,
    /// A format for each tensor, in the file's order.
    pub plan: &'a Plan,
    /// How scale is moved from inputs to weights first.
    pub balance: Option<Balance>,
    /// Which weights of layers become 0.
    pub prune: Option<Prune>,
    /// How weights become codes.
    pub encoder: &'static Encoder,
    /// Whether codes are to give the outputs of the unchanged model ([`crate::method::asymmetric`]).
    pub asymmetric: bool,
    /// What the model reads.
    pub sequences: &'a [Vec<u32>],
    /// Threads.
    pub pool: &'a Pool,
    /// Kernels of the walk.
    pub kernels: &'a Kernels,
    /// Where what is done is noted.
    pub journal: &'a Journal,
}

impl<'a> Job<'a> {
    /// What must be known of inputs.
    pub fn needs(&self) -> Needs {
        let for_balance = match self.balance {
            None => Needs::Nothing,
            Some(Balance::Smooth(_)) => Needs::Moments,
            Some(Balance::Awq) => Needs::Products,
        };
        let for_prune = self.prune.map_or(Needs::Nothing, |prune| prune.method.needs());
        self.encoder.needs.max(for_balance).max(for_prune)
    }

    /// The order in which the columns of layers' matrices are decided.
    fn order(&self) -> Order {
        self.prune.map_or(Order::Descending, |prune| prune.order())
    }

    /// The name of what the formats of all layers before `end` lead to: the stream behind them.
    pub(crate) fn until(&self, end: usize) -> String {
        let tensors = self.file.tensors().iter().zip(&self.plan.choices);
        let before = tensors.filter(|(t, _)| layer_of(&t.name).is_some_and(|i| i < end));
        let mut hash = Sha256::new();
        before.for_each(|(t, choice)| hash.update(format!("{} {}\n", t.name, choice.format.name)));
        let digest = hash.finalize();
        format!("{end:04}-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
    }

    /// The part of the journal with the tensors of layer `i`, which depend on the formats of the layers before it too.
    fn layer_part(&self, i: usize) -> String {
        format!("layer-{}", self.until(i + 1))
    }

    /// The part of the journal with the file's tensor number `at`, which belongs to no layer; the output matrix depends on all of them.
    fn end_part(&self, at: usize) -> String {
        let (name, layers) = (self.plan.choices[at].format.name, self.until(self.config.layers.len()));
        if self.file.tensors()[at].name == HEAD {
            format!("tensor-{at:05}-{name}-{layers}")
        } else {
            format!("tensor-{at:05}-{name}")
        }
    }

    /// Layer `i` as it is looked at.
    pub(crate) fn unchanged_layer(&self, i: usize) -> Result<Layer> {
        let in_layer = self.file.tensors().iter().filter(|t| layer_of(&t.name) == Some(i));
        let is_large = in_layer.map(Tensor::n_values).sum::<usize>() >= LARGE_LAYER;
        let lightly = |t: &Tensor| if is_large { as_q8_0(t, self.pool) } else { t.clone() };
        Ok(Layer::of(&layer_file(self, i, None, lightly)?, self.config, i, self.kernels)?)
    }

    /// Names of the tensors that get another format, or lose weights.
    pub(crate) fn encoded(&self) -> impl Iterator<Item = &'a str> {
        let prunes = self.prune.is_some();
        let tensors = self.file.tensors().iter().zip(&self.plan.choices);
        let changes = move |(t, choice): &(&Tensor, &Choice)| {
            t.format != choice.format || (prunes && kept(&t.name, &t.shape).is_none())
        };
        tensors.filter(changes).map(|(t, _)| t.name.as_str())
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress<'a> {
    /// What a layer's matrices are given is looked at, this share of it.
    Looking(usize, f64),
    /// A tensor of a layer is encoded.
    Encoding(usize, &'a str),
    /// The sequences go through what a layer has become, this share of them.
    GoingOn(usize, f64),
    /// A tensor that belongs to no layer is encoded.
    Ends(&'a str),
}

/// Who is told, and says whether to go on.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(Progress<'_>) -> bool;

/// Raised when the same recipe makes other bytes, so that a journal of the old ones is not gone on with.
const BYTES_OF: u32 = 2;

/// What a journal is of: everything that the bytes of the result depend on but formats, which its parts are named by. Of the weights
/// samples are taken.
pub fn key(
    file: &Contents,
    recipe: &Recipe,
    sequences: &[Vec<u32>],
    judged_on: &[u32],
    tier: &str,
) -> String {
    let mut hash = Sha256::new();
    hash.update(fingerprint(file));
    for sequence in sequences {
        hash.update((sequence.len() as u64).to_le_bytes());
        sequence.iter().for_each(|id| hash.update(id.to_le_bytes()));
    }
    judged_on.iter().for_each(|id| hash.update(id.to_le_bytes()));
    format!(
        "{} {BYTES_OF} {tier} {} {}",
        env!("CARGO_PKG_VERSION"),
        recipe.without_formats().hash(),
        hex(hash)
    )
}

/// What a model's tensors are known by, in hexadecimal: a hash of names, shapes, formats and samples of the bytes.
pub fn fingerprint(file: &Contents) -> String {
    let mut hash = Sha256::new();
    for tensor in file.tensors() {
        hash.update(format!("{} {:?} {}\n", tensor.name, tensor.shape, tensor.format.name));
        tensor.bytes().chunks(1 << 20).for_each(|part| hash.update(&part[..part.len().min(256)]));
        tensor.release();
    }
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Encodes every tensor into the journal. `watch` is told how far the run is; when it gives `false`, the run stops with
/// [`Error::Interrupted`], and the next one with this journal goes on there.
///
/// # Errors
/// When the family can't be gone through layer by layer, a weight is not finite, or the journal can't be written.
pub fn run(job: &Job<'_>, watch: Watch<'_>) -> Result<()> {
    let n_layers = job.config.layers.len();
    let (mut walks, mut reached) = (None, 0);
    if job.needs() > Needs::Nothing {
        let mut begun = Walks::begin(job)?;
        // A stream behind a layer that is not there any more is of no use: that layer needs what comes before it.
        let is_whole = |&i: &usize| job.journal.tensors(&job.layer_part(i)).is_some();
        let n_whole = (0..n_layers).take_while(is_whole).count();
        reached = (1..=n_whole).rev().find(|&i| begun.take_up(job, i)).unwrap_or(0);
        walks = Some(begun);
    }
    for i in reached..n_layers {
        let part = job.layer_part(i);
        let mut done = job.journal.tensors(&part);
        match (&mut walks, done.is_some()) {
            (None, true) => continue,
            (Some(walks), true) => walks.pass_unchanged(job, i, watch)?,
            (walks, false) => {
                let sites = walks.as_mut().map(|walks| look(job, walks, i, watch)).transpose()?;
                let encoded = encode_layer(job, i, sites.unwrap_or_default(), watch)?;
                job.journal.put(&part, &encoded)?;
                done = Some(encoded);
            }
        }
        if let (Some(walks), Some(done)) = (&mut walks, done) {
            let layer =
                Layer::of(&layer_file(job, i, Some(done), |t| t.clone())?, job.config, i, job.kernels)?;
            walks.go_on(job, &layer, i, watch)?;
        }
        job.file.tensors().iter().filter(|t| layer_of(&t.name) == Some(i)).for_each(Tensor::release);
    }
    ends(job, walks.map(|walks| walks.changed), watch)
}

/// Encodes what belongs to no layer.
fn ends(job: &Job<'_>, mut walk: Option<Walk<'_>>, watch: Watch<'_>) -> Result<()> {
    let n_layers = job.config.layers.len();
    let is_end = |name: &str| layer_of(name).is_none_or(|i| i >= n_layers);
    let ends = job.file.tensors().iter().enumerate().filter(|(_, t)| is_end(&t.name));
    let mut sites = None;
    for (at, tensor) in ends {
        let part = job.end_part(at);
        if job.journal.tensors(&part).is_some() {
            continue;
        }
        // What the output matrix is given, once it is known that somebody asks.
        if sites.is_none() {
            sites = Some(walk.as_mut().map(|walk| head_sites(job, walk)).transpose()?.unwrap_or_default());
        }
        let encoded = encode_tensor(job, at, None, sites.as_ref().expect("was just set"), watch)?;
        job.journal.put(&part, &[encoded])?;
        tensor.release();
    }
    Ok(())
}

/// What is known of the inputs of some weights.
#[derive(Default)]
pub(crate) struct Sites {
    known: Vec<Option<Known>>,
    by_weight: HashMap<String, usize>,
}

impl Sites {
    /// Takes what was seen apart, site by site, so that sums and factor of one alone lie beside each other. Columns are to be decided in
    /// `order`.
    pub(crate) fn new(sites: impl IntoIterator<Item = Site>, order: Order, pool: &Pool) -> Self {
        let mut all = Self::default();
        for Site { weights, stats } in sites {
            all.by_weight.extend(weights.into_iter().map(|weight| (weight, all.known.len())));
            all.known.push(Known::new(stats, order, pool));
        }
        all
    }

    /// Of the input of the weight, or of an expert of it.
    pub(crate) fn of(&self, weight: &str) -> Option<&Known> {
        self.known[*self.by_weight.get(weight)?].as_ref()
    }
}

/// What the output matrix is given.
fn head_sites(job: &Job<'_>, walk: &mut Walk<'_>) -> Result<Sites> {
    let with_products = job.encoder.needs == Needs::Products && job.encoded().any(|name| name == HEAD);
    Ok(Sites::new([head_site(job, walk, with_products)?], Order::Descending, job.pool))
}

/// What the output matrix is given, as it was seen.
pub(crate) fn head_site(job: &Job<'_>, walk: &mut Walk<'_>, with_products: bool) -> Result<Site> {
    let mut stats = Stats::new(job.config.dim, with_products);
    walk.normed(job.file, &Runtime::new(job.pool, job.kernels), |rows| stats.add(rows, job.pool))?;
    Ok(Site { weights: vec![HEAD.into()], stats })
}

fn encode_layer(job: &Job<'_>, i: usize, mut sites: Vec<Site>, watch: Watch<'_>) -> Result<Vec<Done>> {
    let format_of = |name: &str| {
        let at = job.file.tensors().iter().position(|t| t.name == name)?;
        Some(job.plan.choices[at].format).filter(|format| format.quantize.is_some())
    };
    let (file, config, pool) = (job.file, job.config, job.pool);
    let layer = Balancing { file, config, layer: i, format_of: &format_of, pool };
    let samples: Vec<Site> = sites.iter_mut().map(inputs::sampled).collect();
    let balanced = job.balance.map(|how| layer.balance(how, &mut sites)).unwrap_or_default();
    let rounded = inputs::rounded(job, &samples, &balanced.scales);
    let known = Sites::new(sites, job.order(), job.pool);
    let tensors = job.file.tensors().iter().enumerate().filter(|(_, t)| layer_of(&t.name) == Some(i));
    let encode = |(at, tensor): (usize, &Tensor)| {
        let changed = balanced.changed.get(&tensor.name);
        let done = encode_tensor(job, at, changed, &known, watch)?;
        Ok(Done { inputs: rounded.get(&tensor.name).copied(), ..done })
    };
    tensors.map(encode).collect()
}

/// Encodes the file's tensor number `at`, or what has changed of it, matrix by matrix.
fn encode_tensor(
    job: &Job<'_>,
    at: usize,
    changed: Option<&Tensor>,
    sites: &Sites,
    watch: Watch<'_>,
) -> Result<Done> {
    let (source, format) = (&job.file.tensors()[at], job.plan.choices[at].format);
    let tensor = changed.unwrap_or(source);
    let name = tensor.name.clone();
    let layer = layer_of(&name).filter(|&i| i < job.config.layers.len());
    if !watch(layer.map_or(Progress::Ends(&name), |i| Progress::Encoding(i, &name))) {
        return Err(Error::Interrupted);
    }
    let prune = job.prune.filter(|_| layer.is_some() && kept(&name, &tensor.shape).is_none());
    if format == tensor.format && prune.is_none() {
        // A norm that took scale stays in floats, but it is not the source's.
        let bytes = changed.map_or_else(Vec::new, |tensor| tensor.bytes().to_vec());
        return Ok(Done { name, format, loss: changed.map(|_| Loss::default()), inputs: None, bytes });
    }
    let (cols, rows) = (tensor.shape[0], tensor.shape.get(1).copied().unwrap_or(1));
    let n_matrices = tensor.n_values() / (cols * rows);
    // Rows are encoded without knowing of each other, but they may be pruned together.
    let (run_rows, zeros) = match prune {
        Some(_) => (rows, Zeros::Stay),
        None => ((RUN_VALUES / cols).max(1), Zeros::Change),
    };
    let (mut bytes, mut loss) = (Vec::with_capacity(format.row_bytes(tensor.n_values())), Loss::default());
    for (m, matrix) in tensor.slices(n_matrices).into_iter().enumerate() {
        let known = sites.of(&name).or_else(|| sites.of(&format!("{name}.{m}")));
        for (r, run) in matrix.chunks(run_rows * tensor.format.row_bytes(cols)).enumerate() {
            let mut values = vec![0.0; run.len() / tensor.format.row_bytes(cols) * cols];
            (tensor.format.dequantize)(run, &mut values);
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                let (value, row) = (values[at], m * rows + r * run_rows + at / cols);
                return Err(Error::Value { tensor: name, value, row, expected: "a finite number".into() });
            }
            let mut wanted = values.clone();
            if let Some(correction) = known.and_then(|known| known.correction.as_ref()) {
                correction.apply(&mut wanted, job.pool);
            }
            if let Some(prune) = prune {
                prune.apply(&mut wanted, cols, known, job.pool);
            }
            let task = Task { values: &wanted, cols, format, known, zeros };
            let encoded = (job.encoder.encode)(&task, job.pool);
            loss.add(loss_of(&values, &encoded, format, cols, job.pool));
            bytes.extend(encoded);
        }
    }
    for _ in 0..rows::n_repeats(job.file, source) {
        bytes.extend_from_within(..format.row_bytes(cols));
    }
    Ok(Done { name, format, loss: Some(loss), inputs: None, bytes })
}

/// What `values` lost in `encoded`, summed row by row.
fn loss_of(values: &[f32], encoded: &[u8], format: &'static Format, cols: usize, pool: &Pool) -> Loss {
    let row_bytes = format.row_bytes(cols);
    let mut by_row = vec![Loss::default(); values.len() / cols];
    pool.for_rows(&mut by_row, 1, |i, loss| {
        let mut decoded = vec![0.0; cols];
        (format.dequantize)(&encoded[i * row_bytes..(i + 1) * row_bytes], &mut decoded);
        for (&value, &decoded) in values[i * cols..].iter().zip(&decoded) {
            let error = f64::from(decoded) - f64::from(value);
            loss[0].error += error * error;
            loss[0].energy += f64::from(value) * f64::from(value);
        }
    });
    let mut sum = Loss::default();
    by_row.into_iter().for_each(|loss| sum.add(loss));
    sum
}

/// A file with the tensors of layer `i` alone: those of `done`, or the model's as `read` gives them.
fn layer_file(
    job: &Job<'_>,
    i: usize,
    done: Option<Vec<Done>>,
    read: impl Fn(&Tensor) -> Tensor,
) -> Result<Contents> {
    let mut done: HashMap<String, Done> = done.into_iter().flatten().map(|d| (d.name.clone(), d)).collect();
    let mut file = Contents::new(job.file.container.clone());
    for tensor in job.file.tensors().iter().filter(|t| layer_of(&t.name) == Some(i)) {
        file.add(match done.remove(&tensor.name).filter(|done| done.loss.is_some()) {
            Some(Done { name, format, bytes, .. }) => {
                Tensor::new(name, tensor.shape.clone(), format, vec![Piece::InPlace(Bytes::new(bytes))])
            }
            None => read(tensor),
        })?;
    }
    Ok(file)
}

/// `tensor` as q8_0 where it is a large matrix of floats that it can hold.
pub(crate) fn as_q8_0(tensor: &Tensor, pool: &Pool) -> Tensor {
    let q8_0 = quant::by_name("q8_0").expect("on the shelf");
    let rows = tensor.shape.get(1).copied().unwrap_or(1);
    if tensor.format.block > 1 || rows == 1 || !tensor.shape[0].is_multiple_of(q8_0.block) {
        return tensor.clone();
    }
    let task = Task {
        values: &tensor.values(),
        cols: tensor.shape[0],
        format: q8_0,
        known: None,
        zeros: Zeros::Change,
    };
    let bytes = (crate::method::rounding::RTN.encode)(&task, pool);
    Tensor::new(tensor.name.clone(), tensor.shape.clone(), q8_0, vec![Piece::InPlace(Bytes::new(bytes))])
}

/// Writes the file that the journal holds the tensors of; those that `as_source` names stay as they are in the source.
///
/// # Errors
/// When a part is missing, or `out` takes no more.
pub fn assemble(
    job: &Job<'_>,
    header: Header,
    as_source: &dyn Fn(&str) -> bool,
    out: impl Write,
) -> Result<Report> {
    let n_layers = job.config.layers.len();
    let mut plan = job.plan.clone();
    for (tensor, choice) in job.file.tensors().iter().zip(&mut plan.choices) {
        if as_source(&tensor.name) {
            choice.format = tensor.format;
        }
    }
    let header = with_tensors(header, job.file, &plan)?;
    let mut report = Report { n_file_bytes: header.n_file_bytes(), ..Report::default() };
    let mut writer = Writer::begin(out, &header)?;
    // Those of the last part: the tensors of a layer lie together.
    let (mut held, mut tensors): (String, HashMap<String, Done>) = Default::default();
    for (at, (tensor, choice)) in job.file.tensors().iter().zip(&plan.choices).enumerate() {
        if as_source(&tensor.name) {
            rows::copy(job.file, tensor, &mut writer)?;
            quantize::add(&mut report, job.file, tensor, choice, None);
            continue;
        }
        let layer = layer_of(&tensor.name).filter(|&i| i < n_layers);
        let part = layer.map_or_else(|| job.end_part(at), |i| job.layer_part(i));
        if part != held {
            let all = job.journal.tensors(&part).ok_or_else(|| Error::Unfinished(part.clone()))?;
            tensors = all.into_iter().map(|done| (done.name.clone(), done)).collect();
            held = part;
        }
        let done = tensors.remove(&tensor.name).ok_or_else(|| Error::Unfinished(held.clone()))?;
        match done.loss {
            Some(_) => writer.write(&done.bytes)?,
            None => rows::copy(job.file, tensor, &mut writer)?,
        }
        quantize::add(&mut report, job.file, tensor, choice, done.loss);
        report.set_inputs(done.inputs);
    }
    writer.finish()?;
    Ok(report)
}
