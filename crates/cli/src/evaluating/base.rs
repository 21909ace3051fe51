//! References in files: llama.cpp's full form, and the compact one.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use ingle_compress::evaluate::compact::{self, CompactBase};
use ingle_compress::evaluate::divergence::Position;
use ingle_compress::evaluate::full;
use ingle_compress::evaluate::protocol::{HALF, Text};
use ingle_compress::output::{self, Begun, Existing};
use ingle_engine::model_file::ModelFile;
use ingle_kernel::bytes::Bytes;

use crate::exit::Failure;

/// A compact base is read whole. One of a million tokens has 0.6 GB.
const COMPACT_BYTES_MAX: u64 = 4 << 30;

/// A reference, opened.
pub struct Base {
    path: String,
    form: Form,
}

enum Form {
    Full(full::Reader<BufReader<File>>),
    Compact(CompactBase),
}

impl Base {
    /// Opens either form, for a model with a vocabulary of `n_vocab`.
    pub fn open(path: &str, n_vocab: usize) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::file(path, &e);
        let mut file = File::open(path).map_err(failed)?;
        let mut magic = [0; compact::MAGIC.len()];
        file.read_exact(&mut magic).map_err(|e| cut_short(path, &e))?;
        let form = if &magic == compact::MAGIC {
            Form::Compact(read_compact(path, file, magic)?)
        } else {
            let input = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
            let reader = full::Reader::begin(input).map_err(|e| cut_short(path, &e))?;
            Form::Full(reader.map_err(|said| Failure::invalid(format!("{path}: {said}")))?)
        };
        let base = Self { path: path.to_owned(), form };
        let of_base = match &base.form {
            Form::Full(reader) => reader.n_vocab(),
            Form::Compact(compact) => compact.n_vocab(),
        };
        if of_base != n_vocab {
            let said = format!("{path}: made with a vocabulary of {of_base}, this model has {n_vocab}");
            return Err(Failure::failed(said));
        }
        Ok(base)
    }

    /// Which tokens were scored.
    pub fn text(&self) -> &Text {
        match &self.form {
            Form::Full(reader) => &reader.text,
            Form::Compact(compact) => &compact.text,
        }
    }

    /// What the reference is called: as the file says, or the file.
    pub fn name(&self) -> &str {
        match &self.form {
            Form::Compact(compact) if !compact.name.is_empty() => &compact.name,
            _ => &self.path,
        }
    }

    /// Compares with it, from its first position on.
    pub fn reader(&mut self) -> Reader<'_> {
        let rows = match &mut self.form {
            Form::Full(reader) => Rows::Full(reader),
            Form::Compact(compact) => Rows::Compact(compact.reader()),
        };
        Reader { path: &self.path, rows }
    }
}

fn read_compact(path: &str, file: File, magic: [u8; 8]) -> Result<CompactBase, Failure> {
    let mut bytes = magic.to_vec();
    file.take(COMPACT_BYTES_MAX).read_to_end(&mut bytes).map_err(|e| Failure::file(path, &e))?;
    CompactBase::parse(Bytes::new(bytes)).map_err(|e| Failure::invalid(format!("{path}: {e}")))
}

/// Goes through a reference.
pub struct Reader<'a> {
    path: &'a str,
    rows: Rows<'a>,
}

enum Rows<'a> {
    Full(&'a mut full::Reader<BufReader<File>>),
    Compact(compact::Reader<'a>),
}

impl Reader<'_> {
    /// Compares `logits` with the next position, whose true token is `id`.
    pub fn compare(&mut self, logits: &[f32], id: u32) -> Result<Position, Failure> {
        match &mut self.rows {
            Rows::Full(reader) => reader.compare(logits, id).map_err(|e| cut_short(self.path, &e)),
            Rows::Compact(reader) => {
                let said = reader.compare(logits, id);
                said.map_err(|e| Failure::invalid(format!("{}: {e}", self.path)))
            }
        }
    }
}

fn cut_short(path: &str, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            Failure::invalid(format!("{path}: the file ends early, expected more rows (is it truncated?)"))
        }
        _ => Failure::file(path, error),
    }
}

/// A reference in the making, there whole or not at all.
pub enum Save {
    /// Streamed, as it is long.
    Full(Begun, full::Writer<BufWriter<File>>),
    /// Held until it is whole.
    Compact { target: PathBuf, inputs: Vec<PathBuf>, writer: compact::Writer },
}

impl Save {
    /// Begins the file `path`, which is none of the model's, for what `model` says of `text`.
    pub fn begin(
        path: &str,
        is_compact: bool,
        text: &Text,
        n_vocab: usize,
        model: &ModelFile,
    ) -> Result<Self, Failure> {
        let target = PathBuf::from(path);
        if is_compact {
            output::check(&target, model.paths(), Existing::Replace).map_err(Failure::failed)?;
            // A base may be given away; where its model lay is nobody's business.
            let name = Path::new(model.name()).file_name().unwrap_or_default().to_string_lossy();
            let writer = compact::Writer::new(text, n_vocab, &name, compact::N_BEST, compact::N_DRAWN);
            let inputs = model.paths().map(Path::to_owned).collect();
            return Ok(Self::Compact { target, inputs, writer });
        }
        if text.protocol != &HALF {
            return Err(Failure::usage(format!(
                "--save-base {path}: llama.cpp's format knows the protocol half only; --compact knows {}",
                text.protocol
            )));
        }
        let begun = Begun::new(&target, model.paths(), Existing::Replace);
        let (begun, out) = begun.map_err(Failure::failed)?;
        let writer = full::Writer::begin(text, n_vocab, out).map_err(|e| Failure::file(path, &e))?;
        Ok(Self::Full(begun, writer))
    }

    /// Adds the next position, whose true token is `id`.
    pub fn push(&mut self, logits: &[f32], id: u32) -> Result<(), Failure> {
        match self {
            Self::Full(begun, writer) => {
                writer.push(logits, id).map_err(|e| Failure::failed(begun.failed(e)))
            }
            Self::Compact { writer, .. } => {
                writer.push(logits, id);
                Ok(())
            }
        }
    }

    /// Ends the file.
    pub fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Full(begun, writer) => {
                let out = writer.finish().map_err(|e| Failure::failed(begun.failed(e)))?;
                begun.finish(out).map_err(Failure::failed)
            }
            Self::Compact { target, inputs, writer } => {
                let bytes = writer.finish();
                let fill = |out: &mut BufWriter<File>| Ok(out.write_all(&bytes)?);
                let inputs = inputs.iter().map(PathBuf::as_path);
                output::write(&target, inputs, Existing::Replace, fill).map_err(Failure::failed)
            }
        }
    }
}
