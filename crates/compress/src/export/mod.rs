//! A model as a folder of safetensors: floats, or integers as the compressed-tensors library packs them.
//!
//! [`ENCODINGS`] is the shelf: what a folder's matrices become. `model::file::folder::export` says what is called how there; here
//! each tensor is decoded, brought into that order and encoded, one after the other, into files of a limited size, with an index
//! where there are several, the configuration, and the texts of the folder the model came from. The folder comes into being
//! whole or not at all ([`crate::output::write_folder`]).

mod integers;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::quant::{self, Format};
use ingle_model::Error as ModelError;
use ingle_model::file::folder::export::{Export, Out};
use ingle_model::file::folder::weights::SAFETENSORS;
use ingle_model::file::safetensors_write::{self, Record};
use ingle_model::file::{Contents, Tensor};
use serde_json::{Map, Value, json};

use self::integers::Scheme;
use crate::error::{Error, Result};
use crate::role::kept;

/// Bytes of a file of weights, but for one that holds a single larger tensor.
pub const SHARD_BYTES_MAX: u64 = 5_000_000_000;
/// Texts that lie beside a model's configuration and go with it.
pub const TEXTS: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
];

/// What a folder's weights become.
#[derive(Debug)]
pub struct Encoding {
    /// Its name on the command line.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// One sentence.
    pub about: &'static str,
    /// The format of what stays floats: ours, in safetensors files, and in configurations.
    float: (&'static Format, &'static str, &'static str),
    /// What matrices of layers become, if integers.
    scheme: Option<&'static Scheme>,
}

const HALF: (&Format, &str, &str) = (&quant::F16, "F16", "float16");

/// Every encoding of folders.
pub static ENCODINGS: &[&Encoding] = &[
    &Encoding {
        name: "BF16",
        aliases: &[],
        about: "safetensors in bfloat16",
        float: (&quant::BF16, "BF16", "bfloat16"),
        scheme: None,
    },
    &Encoding { name: "F16", aliases: &[], about: "safetensors in binary16", float: HALF, scheme: None },
    &Encoding {
        name: "F32",
        aliases: &[],
        about: "safetensors in f32",
        float: (&quant::F32, "F32", "float32"),
        scheme: None,
    },
    &Encoding {
        name: "W4A16",
        aliases: &["W4A16-G128"],
        about: "compressed-tensors, 4 bits, a scale for 128 weights; the rest in binary16",
        float: HALF,
        scheme: Some(&Scheme { bits: 4, group: Some(128) }),
    },
    &Encoding {
        name: "W4A16-G32",
        aliases: &[],
        about: "compressed-tensors, 4 bits, a scale for 32 weights: those of q4_0 to the bit; the rest in binary16",
        float: HALF,
        scheme: Some(&Scheme { bits: 4, group: Some(32) }),
    },
    &Encoding {
        name: "W8A16",
        aliases: &[],
        about: "compressed-tensors, 8 bits, a scale for a row; the rest in binary16",
        float: HALF,
        scheme: Some(&Scheme { bits: 8, group: None }),
    },
];

impl Encoding {
    /// Whether matrices become integers, so that the folder is one of compressed-tensors.
    pub fn is_compressed(&self) -> bool {
        self.scheme.is_some()
    }
}

/// The encoding called `name`, without regard to case.
///
/// # Errors
/// With the names there are.
pub fn by_name(name: &str) -> Result<&'static Encoding> {
    let is = |encoding: &&&Encoding| {
        let mut names = [encoding.name].into_iter().chain(encoding.aliases.iter().copied());
        names.any(|known| known.eq_ignore_ascii_case(name))
    };
    let known = || ENCODINGS.iter().map(|encoding| encoding.name);
    let found = ENCODINGS.iter().find(is).copied();
    found.ok_or_else(|| ModelError::unsupported("type of a folder", format!("{name:?}"), known()).into())
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Tensors of the folder.
    pub n_tensors: usize,
    /// Those of our matrices that became integers.
    pub n_integers: usize,
    /// Files of weights.
    pub n_files: usize,
    /// Their bytes.
    pub n_bytes: u64,
}

/// A tensor of ours on its way, with what it becomes.
struct Job<'a> {
    out: &'a Out,
    tensor: &'a Tensor,
    records: Vec<Record>,
    scheme: Option<&'static Scheme>,
}

/// Writes `file` into the empty folder `to`, in files of at most `shard_bytes_max`; texts are copied from the folder `from`.
/// `watch` is told the number of each tensor and of how many before it is begun; when it gives `false` the work stops.
///
/// # Errors
/// When a value is not finite there, rows don't suit the encoding, or the system says so.
pub fn write(
    file: &Contents,
    export: &Export,
    encoding: &Encoding,
    from: Option<&Path>,
    to: &Path,
    shard_bytes_max: u64,
    mut watch: impl FnMut(usize, usize) -> bool,
) -> Result<Written> {
    let mut jobs = Vec::new();
    for out in &export.tensors {
        jobs.push(Job::new(file, out, encoding)?);
    }
    let shards = shards(&jobs, shard_bytes_max);
    let n_files = shards.len();
    let (mut weight_map, mut n_bytes, mut n_done) = (Map::new(), 0, 0);
    for (i, shard) in shards.iter().enumerate() {
        let name = match n_files {
            1 => SAFETENSORS.one.to_owned(),
            _ => format!("model-{:05}-of-{n_files:05}.safetensors", i + 1),
        };
        let records: Vec<Record> = shard.iter().flat_map(|job| job.records.clone()).collect();
        let mut file = Create::new(&to.join(&name))?;
        file.write(&safetensors_write::front(&records))?;
        for job in *shard {
            if !watch(n_done, jobs.len()) {
                return Err(Error::Interrupted);
            }
            job.write(encoding, &mut file)?;
            n_done += 1;
        }
        file.finish()?;
        n_bytes += records.iter().map(|record| record.n_bytes as u64).sum::<u64>();
        weight_map.extend(records.into_iter().map(|record| (record.name, Value::from(name.clone()))));
    }
    let n_tensors = weight_map.len();
    if n_files > 1 {
        let index = json!({"metadata": {"total_size": n_bytes}, "weight_map": weight_map});
        text(to, SAFETENSORS.index, &index)?;
    }
    text(to, "config.json", &config(export, encoding, &jobs))?;
    for name in TEXTS {
        let Some(source) = from.map(|from| from.join(name)).filter(|source| source.is_file()) else {
            continue;
        };
        let target = to.join(name);
        fs::copy(&source, &target).map_err(|source| failed(&target, source))?;
    }
    let n_integers = jobs.iter().filter(|job| job.scheme.is_some()).count();
    Ok(Written { n_tensors, n_integers, n_files, n_bytes })
}

impl<'a> Job<'a> {
    fn new(file: &'a Contents, out: &'a Out, encoding: &Encoding) -> Result<Self> {
        let tensor = &file.tensors()[out.tensor];
        // What is kept in GGUF files is kept here too: routers of experts, gates of one row.
        let scheme = encoding.scheme.filter(|_| out.is_linear && kept(&tensor.name, &tensor.shape).is_none());
        let records = match scheme {
            Some(scheme) => scheme.records(out)?,
            None => {
                let n_bytes = encoding.float.0.row_bytes(out.shape.iter().product());
                let (name, shape) = (out.name.clone(), out.shape.clone());
                vec![Record { name, dtype: encoding.float.1, shape, n_bytes }]
            }
        };
        Ok(Self { out, tensor, records, scheme })
    }

    fn write(&self, encoding: &Encoding, to: &mut Create) -> Result<()> {
        let (at, n) = self.out.part;
        let rows = Source { bytes: self.tensor.slice(at, n), job: self };
        match self.scheme {
            Some(scheme) => {
                let (codes, scales) = scheme.encode(&rows)?;
                let shape: Vec<u8> = self.out.shape.iter().flat_map(|&n| (n as i64).to_le_bytes()).collect();
                [codes, scales, shape].iter().try_for_each(|bytes| to.write(bytes))
            }
            None => {
                let encode = encoding.float.0.quantize.expect("float formats can be written");
                let mut encoded = vec![0; encoding.float.0.row_bytes(rows.cols())];
                let mut values = vec![0.0; rows.cols()];
                for i in 0..rows.n() {
                    rows.read(i, &mut values)?;
                    encode(&values, None, &mut encoded);
                    if let Some(value) = rows.lost(&encoded, encoding.float.0, &values) {
                        let expected = format!("a number that {} can hold", encoding.float.0.name);
                        return Err(rows.refused(i, value, expected));
                    }
                    to.write(&encoded)?;
                }
                Ok(())
            }
        }
    }
}

/// The rows of a tensor as they stand in the folder.
struct Source<'a> {
    bytes: Bytes,
    job: &'a Job<'a>,
}

impl Source<'_> {
    fn cols(&self) -> usize {
        // The order of a vector's values is that of rows.
        match self.job.out.shape[..] {
            [_] | [] => 1,
            [.., cols] => cols,
        }
    }

    fn n(&self) -> usize {
        self.job.out.shape.iter().product::<usize>() / self.cols()
    }

    /// The bytes of row `i`.
    fn row(&self, i: usize) -> &[u8] {
        let n_bytes = self.job.tensor.format.row_bytes(self.cols());
        &self.bytes[self.job.out.rows.ours(i) * n_bytes..][..n_bytes]
    }

    /// Decodes row `i`.
    fn read(&self, i: usize, values: &mut [f32]) -> Result<()> {
        (self.job.tensor.format.dequantize)(self.row(i), values);
        match values.iter().find(|value| !value.is_finite()) {
            Some(&value) => Err(self.refused(i, value, "a finite number".into())),
            None => Ok(()),
        }
    }

    /// A value that `format` has no finite number for.
    fn lost(&self, encoded: &[u8], format: &Format, values: &[f32]) -> Option<f32> {
        let mut back = vec![0.0; values.len()];
        (format.dequantize)(encoded, &mut back);
        values.iter().zip(back).find(|(_, back)| !back.is_finite()).map(|(value, _)| *value)
    }

    fn refused(&self, row: usize, value: f32, expected: String) -> Error {
        Error::Value { tensor: self.job.tensor.name.clone(), value, row, expected }
    }
}

/// The tensors dealt out to files, in order; one that is larger than a file has a file.
fn shards<'j, 'a>(jobs: &'j [Job<'a>], bytes_max: u64) -> Vec<&'j [Job<'a>]> {
    let (mut shards, mut from, mut n_bytes) = (Vec::new(), 0, 0);
    for (i, job) in jobs.iter().enumerate() {
        let more = job.records.iter().map(|record| record.n_bytes as u64).sum::<u64>();
        if n_bytes + more > bytes_max && i > from {
            shards.push(&jobs[from..i]);
            (from, n_bytes) = (i, 0);
        }
        n_bytes += more;
    }
    shards.push(&jobs[from..]);
    shards
}

fn config(export: &Export, encoding: &Encoding, jobs: &[Job<'_>]) -> Value {
    let mut config = export.config.clone();
    // The older name and the newer one.
    let field = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    config.insert(field.into(), encoding.float.2.into());
    if let Some(scheme) = encoding.scheme {
        let is_left = |job: &&Job<'_>| {
            job.scheme.is_none() && job.out.shape.len() == 2 && job.out.name.ends_with(".weight")
        };
        let left = jobs.iter().filter(is_left).map(|job| job.out.name.trim_end_matches(".weight"));
        let left: Vec<&str> = left.filter(|name| !name.contains("embed")).collect();
        let left = if left.is_empty() { vec!["lm_head"] } else { left };
        config.insert("quantization_config".into(), scheme.config(&left));
    }
    Value::Object(config)
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Write { file: path.display().to_string(), source }
}

fn text(to: &Path, name: &str, value: &Value) -> Result<()> {
    let mut file = Create::new(&to.join(name))?;
    let text = serde_json::to_string_pretty(value).expect("plain values");
    file.write(text.as_bytes())?;
    file.write(b"\n")?;
    file.finish()
}

/// A file of the folder being written.
struct Create {
    path: std::path::PathBuf,
    out: BufWriter<File>,
}

impl Create {
    fn new(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(|source| failed(path, source))?;
        Ok(Self { path: path.to_owned(), out: BufWriter::with_capacity(1 << 20, file) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|source| failed(&self.path, source))
    }

    fn finish(mut self) -> Result<()> {
        self.out.flush().map_err(|source| failed(&self.path, source))?;
        self.out.get_ref().sync_all().map_err(|source| failed(&self.path, source))
    }
}
