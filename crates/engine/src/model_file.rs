//! From a path (or the built-in bytes) to a parsed file, and from there to a model ready to run.

use std::path::Path;

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::adapter::{Active, Adapter};
use ingle_model::decoder::{Model, Runtime};
use ingle_model::file::gguf::Gguf;
use ingle_model::prompt::ChatTemplate;
use ingle_model::token::Tokenizer;

use crate::error::{Error, Result};
use crate::mmap::Mapped;

/// A parsed model file. Cheap: nothing but its metadata has been looked at.
#[derive(Debug)]
pub struct ModelFile {
    name: String,
    gguf: Gguf,
    n_bytes: u64,
    mapped: Option<Mapped>,
}

impl ModelFile {
    /// Maps and parses the file at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let mapped = Mapped::open(path)?;
        let bytes = mapped.bytes().clone();
        Self::parse(mapped.name().to_owned(), bytes, Some(mapped))
    }

    /// Parses bytes that are already in memory, under the name that errors will use.
    pub fn from_bytes(name: &str, bytes: Bytes) -> Result<Self> {
        Self::parse(name.to_owned(), bytes, None)
    }

    fn parse(name: String, bytes: Bytes, mapped: Option<Mapped>) -> Result<Self> {
        let n_bytes = bytes.len() as u64;
        let gguf = Gguf::parse(bytes).map_err(|source| Error::Model { file: name.clone(), source })?;
        Ok(Self { name, gguf, n_bytes, mapped })
    }

    /// The path as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Metadata and tensors.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Size of the file.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The text side alone; also works for files that hold only a vocabulary.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_gguf(&self.gguf).map_err(|source| self.model_error(source))
    }

    /// Source of the chat template the file carries, if any.
    pub fn template_source(&self) -> Result<Option<&str>> {
        self.gguf.str("tokenizer.chat_template").map_err(|e| self.model_error(e))
    }

    /// The chat template the file carries, if any.
    pub fn template(&self) -> Result<Option<ChatTemplate>> {
        let source = self.template_source()?;
        source.map(ChatTemplate::parse).transpose().map_err(|e| self.model_error(e))
    }

    /// An error of the model crate, with this file's name in front.
    pub fn model_error(&self, source: ingle_model::Error) -> Error {
        Error::Model { file: self.name.clone(), source }
    }

    /// An error when the file's size is no longer what it was; built-in bytes never change.
    pub fn check_unchanged(&self) -> Result<()> {
        self.mapped.as_ref().map_or(Ok(()), Mapped::check_unchanged)
    }
}

/// How to load a model.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions<'a> {
    /// A tier by name, or `exact`; `None` for the fastest this CPU has.
    pub tier: Option<&'a str>,
    /// Threads that compute.
    pub n_threads: usize,
}

/// A model ready to run, with its tokenizer, its threads and its kernels. Sessions share it.
#[derive(Debug)]
pub struct Loaded {
    /// The file it came from.
    pub file: ModelFile,
    /// Configuration and weights.
    pub model: Model,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    pool: Pool,
    kernels: Kernels,
}

impl Loaded {
    /// Reads the model of `file`. Weights stay where they lie.
    pub fn load(file: ModelFile, options: &LoadOptions<'_>) -> Result<Self> {
        let kernels = match options.tier {
            None => Kernels::detect(),
            Some(name) => Kernels::named(name).ok_or_else(|| Error::Tier {
                name: name.to_owned(),
                available: Kernels::names().collect::<Vec<_>>().join(", "),
            })?,
        };
        let model = Model::read(&file.gguf, &kernels).map_err(|source| file.model_error(source))?;
        let tokenizer = file.tokenizer()?;
        Ok(Self { file, model, tokenizer, pool: Pool::new(options.n_threads), kernels })
    }

    /// The threads and kernels to run it with, and the adapters to add.
    pub fn runtime<'a>(&'a self, adapters: &'a [Active]) -> Runtime<'a> {
        Runtime { pool: &self.pool, kernels: &self.kernels, adapters }
    }

    /// Opens the adapter at `path` for this model. It takes effect in the sessions it is given to.
    pub fn adapter(&self, path: &Path) -> Result<Adapter> {
        let file = ModelFile::open(path)?;
        let adapter = Adapter::read(&file.gguf, &self.file.gguf, &self.model, &self.kernels);
        adapter.map_err(|source| file.model_error(source))
    }

    /// Name of the tier in use.
    pub fn tier(&self) -> &'static str {
        self.kernels.name()
    }

    /// Threads that compute.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }
}
