//! Carries a plan out: every tensor read, decoded, encoded, measured and written, one after the other.
//!
//! A tensor is cut into runs of rows of some 64 thousand values; the threads of a pool take runs, each into buffers of its
//! own, and the finished ones are written in order. So memory stays at a few megabytes per thread whatever the size of the
//! model, and the file is the same for any number of threads. The error is measured by decoding what was just encoded.
//! Weights that are NaN or infinite, or that the format can't reach, are refused unless the caller allows them: a model that
//! has them answers nonsense. Tensors that keep their format are copied and not looked at.

use std::io::Write;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_model::file::{Contents, Tensor};

use crate::error::{Error, Result};
use crate::imatrix::Imatrix;
use crate::mixture::Mixture;
use crate::plan::{Choice, Plan, TensorInfo};
use crate::report::{Loss, Report};
use crate::rows;

/// The bytes of weights that are not looked at: as floats of any kind, and as scales, small numbers that are neither 0 nor subnormal.
pub const PATTERN: u8 = 0x11;
/// Bytes of them that are written together.
const HOLLOW_RUN: usize = 1 << 20;

/// Values of a run of rows; a row that is longer is a run.
const RUN_VALUES: usize = 1 << 16;
/// Runs in flight per thread.
const RUNS_PER_THREAD: usize = 4;
/// Version of the block formats, `general.quantization_version`.
const QUANTIZATION_VERSION: u32 = 2;

/// What to do about values that are not finite once encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFinite {
    /// Stop with the tensor's name.
    Refuse,
    /// Encode them, count them, and leave them out of the measured error.
    Allow,
}

/// Everything the work needs beside the file.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What each tensor becomes, one choice per tensor in the file's order.
    pub plan: &'a Plan,
    /// Which columns matter.
    pub imatrix: Option<&'a Imatrix>,
    /// What to do about NaN and infinity.
    pub not_finite: NotFinite,
}

/// What the plan must know of a file's tensors, as they will be written.
pub fn infos(file: &Contents) -> Vec<TensorInfo> {
    let info =
        |t: &Tensor| TensorInfo { name: t.name.clone(), shape: rows::shape(file, t), format: t.format };
    file.tensors().iter().map(info).collect()
}

/// The metadata of `file` as a file of `mixture` has it: with the type of the file, and no longer part of a split. With
/// importances, given as their file's name and themselves, it says so.
pub fn header(file: &Contents, mixture: &Mixture, imatrix: Option<(&str, &Imatrix)>) -> Result<Header> {
    let mut header = Header::like(file);
    // Set anew at the end, as llama.cpp does.
    for key in [
        "general.quantization_version",
        "general.file_type",
        "split.no",
        "split.count",
        "split.tensors.count",
    ] {
        header.remove(key);
    }
    header.set("general.quantization_version", QUANTIZATION_VERSION)?;
    header.set("general.file_type", mixture.file_type)?;
    if let Some((name, imatrix)) = imatrix {
        header.set("quantize.imatrix.file", name)?;
        if let Some(dataset) = imatrix.datasets.first() {
            header.set("quantize.imatrix.dataset", dataset.as_str())?;
        }
        header.set("quantize.imatrix.entries_count", imatrix.len() as u32)?;
        if imatrix.n_chunks > 0 {
            header.set("quantize.imatrix.chunks_count", imatrix.n_chunks.min(u32::MAX.into()) as u32)?;
        }
    }
    Ok(header)
}

/// The size a plan leads to, without encoding: errors and importances stay open.
pub fn estimate(file: &Contents, header: Header, plan: &Plan) -> Result<Report> {
    let header = with_tensors(header, file, plan)?;
    let mut report = Report { n_file_bytes: header.n_file_bytes(), ..Report::default() };
    for (tensor, choice) in file.tensors().iter().zip(&plan.choices) {
        add(&mut report, file, tensor, choice, None);
    }
    Ok(report)
}

/// Writes `file` with the formats of the plan to `out`. `watch` is told the number of each tensor before it is begun;
/// when it gives `false` the work stops with [`Error::Interrupted`].
///
/// # Errors
/// When a weight is refused, importances don't suit a tensor, or `out` takes no more.
pub fn quantize(
    file: &Contents,
    header: Header,
    request: &Request<'_>,
    pool: &Pool,
    out: impl Write,
    mut watch: impl FnMut(usize) -> bool,
) -> Result<Report> {
    let header = with_tensors(header, file, request.plan)?;
    let mut report = Report { n_file_bytes: header.n_file_bytes(), ..Report::default() };
    let mut writer = Writer::begin(out, &header)?;
    let mut runs: Vec<Run> = (0..pool.n_threads() * RUNS_PER_THREAD).map(|_| Run::default()).collect();
    for (i, (tensor, choice)) in file.tensors().iter().zip(&request.plan.choices).enumerate() {
        if !watch(i) {
            return Err(Error::Interrupted);
        }
        let n_repeats = rows::n_repeats(file, tensor);
        if choice.format == tensor.format {
            rows::copy(file, tensor, &mut writer)?;
            add(&mut report, file, tensor, choice, None);
            continue;
        }
        let importance = request.imatrix.map(|im| im.of(tensor)).transpose()?.flatten();
        if request.imatrix.is_some() && importance.is_none() {
            report.without_importance.push(tensor.name.clone());
        }
        let job = Job {
            tensor,
            bytes: tensor.bytes(),
            to: choice.format,
            importance: importance.as_deref(),
            not_finite: request.not_finite,
        };
        let loss = job.run(pool, &mut runs, &mut writer, || watch(i))?;
        if n_repeats > 0 {
            job.encode(0, 1, &mut runs[0]);
        }
        for _ in 0..n_repeats {
            writer.write(&runs[0].encoded)?;
        }
        add(&mut report, file, tensor, choice, Some(loss));
    }
    writer.finish()?;
    Ok(report)
}

/// Writes a file by the plan in which weights that get another format are a pattern of bytes: it is as fast as the real one, which no
/// weight's value changes, and made in the time that writing takes.
///
/// # Errors
/// When `out` takes no more.
pub fn hollow(file: &Contents, header: Header, plan: &Plan, out: impl Write) -> Result<()> {
    let header = with_tensors(header, file, plan)?;
    let mut writer = Writer::begin(out, &header)?;
    let pattern = vec![PATTERN; HOLLOW_RUN];
    for (tensor, choice) in file.tensors().iter().zip(&plan.choices) {
        if choice.format == tensor.format {
            rows::copy(file, tensor, &mut writer)?;
            continue;
        }
        let n_values: usize = rows::shape(file, tensor).iter().product();
        let mut left = choice.format.row_bytes(n_values);
        while left > 0 {
            let n = left.min(pattern.len());
            writer.write(&pattern[..n])?;
            left -= n;
        }
    }
    writer.finish()?;
    Ok(())
}

/// The header with a record for each tensor.
pub(crate) fn with_tensors(mut header: Header, file: &Contents, plan: &Plan) -> Result<Header> {
    assert_eq!(file.tensors().len(), plan.choices.len(), "a choice per tensor");
    for (tensor, choice) in file.tensors().iter().zip(&plan.choices) {
        header.add(&tensor.name, &rows::shape(file, tensor), choice.format)?;
    }
    Ok(header)
}

/// Adds a tensor to the report.
pub(crate) fn add(
    report: &mut Report,
    file: &Contents,
    tensor: &Tensor,
    choice: &Choice,
    loss: Option<Loss>,
) {
    let n_values: usize = rows::shape(file, tensor).iter().product();
    let after = choice.format.row_bytes(n_values) as u64;
    report.add(&tensor.name, choice.format.name, n_values as u64, (tensor.n_bytes() as u64, after), loss);
}

/// A tensor to encode.
struct Job<'a> {
    tensor: &'a Tensor,
    /// Its values, where they lie or made for the job.
    bytes: Bytes,
    to: &'static Format,
    /// `(n_matrices, cols)`
    importance: Option<&'a [f32]>,
    not_finite: NotFinite,
}

/// Some rows on their way, with the buffers they need.
#[derive(Default)]
struct Run {
    /// `(n_rows, cols)`
    values: Vec<f32>,
    decoded: Vec<f32>,
    encoded: Vec<u8>,
    loss: Loss,
    /// The first value that can't be, and its row.
    refused: Option<(usize, f32)>,
}

impl Job<'_> {
    fn run(
        &self,
        pool: &Pool,
        runs: &mut [Run],
        writer: &mut Writer<impl Write>,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Loss> {
        let cols = self.tensor.shape[0];
        let n_rows = self.tensor.n_values() / cols;
        let rows_per_run = (RUN_VALUES / cols).max(1);
        let mut loss = Loss::default();
        for first in (0..n_rows).step_by(rows_per_run * runs.len()) {
            if !go_on() {
                return Err(Error::Interrupted);
            }
            let n_runs = (n_rows - first).div_ceil(rows_per_run).min(runs.len());
            pool.for_rows(&mut runs[..n_runs], 1, |i, run| {
                let start = first + i * rows_per_run;
                self.encode(start, n_rows.min(start + rows_per_run), &mut run[0]);
            });
            for run in &runs[..n_runs] {
                if let Some((row, value)) = run.refused.filter(|_| self.not_finite == NotFinite::Refuse) {
                    return Err(self.refusal(row, value));
                }
                loss.add(run.loss);
                writer.write(&run.encoded)?;
            }
        }
        Ok(loss)
    }

    /// Decodes, encodes and measures the rows `start..end`.
    fn encode(&self, start: usize, end: usize, run: &mut Run) {
        let (from, to, cols) = (self.tensor.format, self.to, self.tensor.shape[0]);
        let rows_per_matrix = self.tensor.shape.get(1).copied().unwrap_or(1);
        let (row_from, row_to, n) = (from.row_bytes(cols), to.row_bytes(cols), end - start);
        run.values.resize(n * cols, 0.0);
        run.decoded.resize(n * cols, 0.0);
        run.encoded.resize(n * row_to, 0);
        (from.dequantize)(&self.bytes[start * row_from..end * row_from], &mut run.values);
        let encode = to.quantize.expect("plans choose formats that can be written");
        let rows = run.values.chunks_exact(cols).zip(run.encoded.chunks_exact_mut(row_to));
        for (i, (values, out)) in rows.enumerate() {
            let matrix = (start + i) / rows_per_matrix;
            encode(values, self.importance.map(|all| &all[matrix * cols..(matrix + 1) * cols]), out);
        }
        (to.dequantize)(&run.encoded, &mut run.decoded);
        run.loss = Loss::default();
        run.refused = None;
        for (i, (&value, &decoded)) in run.values.iter().zip(&run.decoded).enumerate() {
            if value.is_finite() && decoded.is_finite() {
                let error = f64::from(decoded) - f64::from(value);
                run.loss.error += error * error;
                run.loss.energy += f64::from(value) * f64::from(value);
            } else {
                run.loss.n_not_finite += 1;
                // Of a block that is spoilt, the value that spoilt it: a later one that is not finite itself counts more.
                if run.refused.is_none_or(|(_, v)| v.is_finite() && !value.is_finite()) {
                    run.refused = Some((start + i / cols, value));
                }
            }
        }
    }

    fn refusal(&self, row: usize, value: f32) -> Error {
        let expected = if value.is_finite() {
            format!("a number that {} can hold", self.to.name)
        } else {
            "a finite number (--allow-nan encodes it all the same)".into()
        };
        Error::Value { tensor: self.tensor.name.clone(), value, row, expected }
    }
}
