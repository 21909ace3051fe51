//! The table: what each tensor would cost in each format it may get.
//!
//! One walk through the source, calibration sequences and all (`pipeline::look`), says what each matrix is given; then the recipe's
//! own encoder encodes it in every candidate format, and the error is `tr(D H D')` of what came out. Of large matrices a sample of
//! rows is encoded: rows do not know of each other. Seconds are the caller's, who measures its kernels: nothing here has a
//! clock. Errors of different tensors can't be compared yet; that takes their gains ([`super::probe`]).
//!
//! Left out: that inputs change with what layers before have become. It shows in the verification, as all that does not add up.

use ingle_kernel::quant::Format;
use ingle_model::decoder::Runtime;
use ingle_model::file::Tensor;
use ingle_model::weights::Layer;

use crate::calibrate::Site;
use crate::error::{Error, Result};
use crate::method::error::Measure;
use crate::method::feedback::Order;
use crate::method::rounding::encode_by_importance;
use crate::method::{Known, Needs, Task, Zeros};
use crate::mixture::named;
use crate::pipeline::{HEAD, Job, Progress, Sites, Watch, head_site};
use crate::plan::{Choice, Plan, Why, fitting};
use crate::role::{kept, kind_of, layer_of};
use crate::rows;
use crate::walks::{Walks, look};

/// Formats that tensors may get, beside the one they have.
pub static CANDIDATES: [&str; 8] = ["q2_K", "q3_K", "iq4_xs", "q4_K", "q4_0", "q5_K", "q6_K", "q8_0"];

/// The format that gains are probed with: coarse enough to show, not so coarse that nothing of the model is left.
pub const PROBED: &str = "q3_K";

/// Rows of a matrix, and matrices of a stack of experts, that are encoded for their error.
const SAMPLE_ROWS: usize = 256;
const SAMPLE_MATRICES: usize = 4;

/// Tensors of a file begin at multiples of so many bytes.
const ALIGNMENT: usize = 32;

/// Parts of the model's depth that have gains of their own.
const DEPTHS: usize = 3;

/// A tensor that may get another format.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number in the file.
    pub at: usize,
    /// Its name.
    pub name: String,
    /// What its gain is shared with: its kind, and the part of the depth it is in.
    pub group: String,
    /// What it may get, from few bytes to many; the last is what it has.
    pub candidates: Vec<Candidate>,
    /// The error in [`PROBED`] by nearest codes without anything known, as the probe encodes it.
    pub probed: f64,
    /// Divergence by unit of error.
    pub gain: f64,
}

/// A format that a tensor may get.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The format.
    pub format: &'static Format,
    /// `tr(D H D')` of the encoded tensor; of a table that is only looked up, the square of its change.
    pub error: f64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Of its product with one token.
    pub seconds: f64,
}

/// A product with one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Product {
    /// Rows of the matrix.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Whether it makes logits, whose input has finer scales where others are coarse.
    pub is_head: bool,
}

/// Seconds of a product in a format.
pub type Seconds<'s> = &'s mut dyn FnMut(&'static Format, Product) -> f64;

/// The plan that a job has while the table is made: every tensor that may have another format gets [`PROBED`], or what it
/// falls back to.
pub fn plan_of_probes(file: &ingle_model::file::Contents) -> Plan {
    let choice = |t: &Tensor| {
        let shape = rows::shape(file, t);
        match kept(&t.name, &shape) {
            Some(why) => Choice { format: t.format, why: Why::Kept(why), instead_of: None },
            None => Choice { format: fitting(named(PROBED), shape[0]), why: Why::Asked, instead_of: None },
        }
    };
    Plan { choices: file.tensors().iter().map(choice).collect(), unused: Vec::new() }
}

/// Makes the table of the job's model; the job has [`plan_of_probes`]. Gains are 0 yet.
///
/// # Errors
/// When the family can't be gone through layer by layer, a weight is not finite, or `watch` asks to stop.
pub fn measure(job: &Job<'_>, seconds: Seconds<'_>, watch: Watch<'_>) -> Result<Vec<Entry>> {
    let run = Runtime::new(job.pool, job.kernels);
    let mut walks = Walks::begin(job)?;
    let (n_layers, mut entries) = (job.config.layers.len(), Vec::new());
    for i in 0..n_layers {
        let sites = look(job, &mut walks, i, watch)?;
        let inputs = Inputs { sites: &sites, known: Sites::new(sites.clone(), Order::Descending, job.pool) };
        for (at, tensor) in free(job).filter(|(_, t)| layer_of(&t.name) == Some(i)) {
            if !watch(Progress::Encoding(i, &tensor.name)) {
                return Err(Error::Interrupted);
            }
            entries.push(entry(job, at, tensor, &inputs, seconds)?);
        }
        let layer = Layer::of(job.file, job.config, i, job.kernels)?;
        let walk = &mut walks.changed;
        let n_tokens = walk.states().len() / job.config.dim;
        let mut tell = |n| watch(Progress::GoingOn(i, n as f64 / n_tokens as f64));
        if !walk.through(&layer, i, true, &run, &mut tell) {
            return Err(Error::Interrupted);
        }
        job.file.tensors().iter().filter(|t| layer_of(&t.name) == Some(i)).for_each(Tensor::release);
    }
    let site = head_site(job, &mut walks.changed, job.encoder.needs == Needs::Products)?;
    let inputs = Inputs { known: Sites::new([site.clone()], Order::Descending, job.pool), sites: &[site] };
    for (at, tensor) in free(job).filter(|(_, t)| layer_of(&t.name).is_none_or(|i| i >= n_layers)) {
        if !watch(Progress::Ends(&tensor.name)) {
            return Err(Error::Interrupted);
        }
        entries.push(entry(job, at, tensor, &inputs, seconds)?);
        tensor.release();
    }
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

/// The tensors that may get another format, with their numbers.
fn free<'a>(job: &'a Job<'_>) -> impl Iterator<Item = (usize, &'a Tensor)> {
    let tensors = job.file.tensors().iter().enumerate();
    tensors.filter(|(_, t)| kept(&t.name, &t.shape).is_none())
}

/// What is known of inputs, and what was seen.
struct Inputs<'a> {
    sites: &'a [Site],
    known: Sites,
}

impl Inputs<'_> {
    /// `H` of the input of the weight, or of its expert `m`.
    fn hessian(&self, weight: &str, m: usize) -> Option<Vec<f64>> {
        let expert = format!("{weight}.{m}");
        let is_taker = |site: &&Site| site.weights.iter().any(|w| w == weight || *w == expert);
        self.sites.iter().find(is_taker).filter(|site| site.stats.n_tokens > 0)?.stats.hessian()
    }

    fn known(&self, weight: &str, m: usize) -> Option<&Known> {
        self.known.of(weight).or_else(|| self.known.of(&format!("{weight}.{m}")))
    }
}

/// What `tensor` may get, from few bytes to many: what it has is the last, and nothing is larger.
fn formats(tensor: &Tensor) -> Vec<&'static Format> {
    let cols = tensor.shape[0];
    let mut formats: Vec<&'static Format> =
        CANDIDATES.iter().map(|name| fitting(named(name), cols)).collect();
    formats.retain(|f| f.row_bytes(cols) < tensor.format.row_bytes(cols));
    formats.sort_by_key(|f| (f.row_bytes(cols), f.name));
    formats.dedup_by_key(|f| f.name);
    formats.push(tensor.format);
    formats
}

fn entry(
    job: &Job<'_>,
    at: usize,
    tensor: &Tensor,
    inputs: &Inputs<'_>,
    seconds: Seconds<'_>,
) -> Result<Entry> {
    let (cols, rows) = (tensor.shape[0], tensor.shape.get(1).copied().unwrap_or(1));
    let n_matrices = tensor.n_values() / (cols * rows);
    let formats = formats(tensor);
    let mut errors = vec![0.0; formats.len()];
    let mut probed = 0.0;
    let has_head = job.file.tensor(HEAD).is_some();
    // Only a table that is the output matrix too takes part in products.
    let is_table =
        tensor.name.ends_with("token_embd.weight") && (has_head || tensor.name != "token_embd.weight");
    let step = n_matrices.div_ceil(SAMPLE_MATRICES);
    for m in (0..n_matrices).step_by(step) {
        let (values, share) = sample(tensor, m, rows, cols)?;
        // A table that is the output matrix too is encoded without regard to that, as `pipeline` does it.
        let is_tied = tensor.name == "token_embd.weight" && !has_head;
        let hessian = inputs.hessian(if is_tied { HEAD } else { &tensor.name }, m);
        let measure = hessian.map(|h| Measure::new(&h, cols, job.pool));
        let known = inputs.known(&tensor.name, m);
        let error = |format: &Format, bytes: &[u8]| {
            let mut decoded = vec![0.0; values.len()];
            (format.dequantize)(bytes, &mut decoded);
            let error = match &measure {
                Some(measure) => measure.of(&values, &decoded, job.pool),
                None => weighted(&values, &decoded, known.map(|known| &known.squares[..])),
            };
            error.max(0.0) * share * n_matrices as f64 / n_matrices.div_ceil(step) as f64
        };
        for (&format, sum) in formats.iter().zip(&mut errors).take(formats.len() - 1) {
            let task = Task { values: &values, cols, format, known, zeros: Zeros::Change };
            *sum += error(format, &(job.encoder.encode)(&task, job.pool));
        }
        let coarse = fitting(named(PROBED), cols);
        probed += error(coarse, &encode_by_importance(&values, cols, coarse, None, job.pool));
    }
    let n_rows = tensor.n_values() / cols + rows::n_repeats(job.file, tensor);
    let is_head = tensor.name == HEAD || (tensor.name == "token_embd.weight" && !has_head);
    let product = Product { rows, cols, is_head };
    // Of a stack of experts a token meets some; the share is the family's, and the same for all formats.
    let candidates = formats.iter().zip(errors).map(|(&format, error)| Candidate {
        format,
        error,
        bytes: (format.row_bytes(cols) * n_rows).next_multiple_of(ALIGNMENT) as u64,
        seconds: if is_table { 0.0 } else { seconds(format, product) },
    });
    let group = match layer_of(&tensor.name) {
        Some(i) => format!("{} {}", kind_of(&tensor.name), i * DEPTHS / job.config.layers.len().max(i + 1)),
        None => kind_of(&tensor.name).to_owned(),
    };
    let candidates = candidates.collect();
    Ok(Entry { at, name: tensor.name.clone(), group, candidates, probed, gain: 0.0 })
}

/// Some rows of matrix `m`, evenly spread, and how many times as many there are.
fn sample(tensor: &Tensor, m: usize, rows: usize, cols: usize) -> Result<(Vec<f32>, f64)> {
    let (row_bytes, n) = (tensor.format.row_bytes(cols), rows.min(SAMPLE_ROWS));
    let matrix = tensor.slice(m, tensor.n_values() / (cols * rows));
    let mut values = vec![0.0; n * cols];
    for (i, values) in values.chunks_exact_mut(cols).enumerate() {
        let row = i * rows / n;
        (tensor.format.dequantize)(&matrix[row * row_bytes..(row + 1) * row_bytes], values);
        if let Some(&value) = values.iter().find(|v| !v.is_finite()) {
            let (tensor, row) = (tensor.name.clone(), m * rows + row);
            return Err(Error::Value { tensor, value, row, expected: "a finite number".into() });
        }
    }
    Ok((values, rows as f64 / n as f64))
}

/// The square of a change, columns weighed where something is known of them.
fn weighted(before: &[f32], after: &[f32], squares: Option<&[f32]>) -> f64 {
    let weight = |i: usize| squares.map_or(1.0, |squares| f64::from(squares[i % squares.len()]));
    let square = |(i, (b, a)): (usize, (&f32, &f32))| weight(i) * f64::from(b - a) * f64::from(b - a);
    before.iter().zip(after).enumerate().map(square).sum()
}
