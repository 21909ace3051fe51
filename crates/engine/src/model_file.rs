//! From a path (or the built-in bytes) to a model's contents, and from there to a model ready to run.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::{Pool, Turn};
use ingle_kernel::simd::{Kernels, WeightOrder};
use ingle_model::adapter::{Active, Adapter};
use ingle_model::decoder::{Model, Runtime};
use ingle_model::file::Contents;
use ingle_model::file::folder::peft;
use ingle_model::prompt::ChatTemplate;
use ingle_model::token::{Tokenizer, Written};

use crate::constrain::{Constraint, Grammar, Otherwise, Vocabulary};
use crate::container::{self, Opened, Texts};
use crate::error::{Error, Result};
use crate::memory;
use crate::mmap::Mapped;
use crate::output::{self, Calls, Format, Tool};
use crate::packed::{self, PackedDir, Packer};

/// A model's file, or the files of one model, parsed. Cheap: nothing but their metadata has been looked at.
#[derive(Debug)]
pub struct ModelFile {
    name: String,
    contents: Contents,
    n_bytes: u64,
    files: Vec<Mapped>,
    texts: Option<Texts>,
    /// What came beside it.
    template: Option<String>,
    /// Where weights are kept packed.
    packed_dir: Option<PackedDir>,
}

impl ModelFile {
    /// Maps and parses what is at `path`: a file, the first part of several, or a folder.
    pub fn open(path: &Path) -> Result<Self> {
        container::open(path).map(|opened| Self::of(path, opened))
    }

    /// Maps and parses the adapter at `path`, made for the model of this file: a GGUF file, or a folder of the peft library.
    pub fn open_adapter(&self, path: &Path) -> Result<Self> {
        container::open_adapter(path, &self.contents).map(|opened| Self::of(path, opened))
    }

    /// The same of such a folder's two files in memory, under the name that errors will use.
    pub fn adapter_from_parts(&self, name: &str, config: &[u8], weights: Bytes) -> Result<Self> {
        let contents = peft::import(config, &weights, &self.contents)
            .map_err(|source| Error::Model { file: name.to_owned(), source })?;
        let (name, n_bytes, files) = (name.to_owned(), weights.len() as u64, Vec::new());
        Ok(Self { name, contents, n_bytes, files, texts: None, template: None, packed_dir: None })
    }

    fn of(path: &Path, Opened { contents, files, texts }: Opened) -> Self {
        let n_bytes = files.iter().map(|file| file.bytes().len() as u64).sum();
        Self {
            name: path.display().to_string(),
            contents,
            n_bytes,
            files,
            texts,
            template: None,
            packed_dir: None,
        }
    }

    /// Parses bytes that are already in memory, under the name that errors will use.
    pub fn from_bytes(name: &str, bytes: Bytes) -> Result<Self> {
        let contents = container::parse(name, &bytes)?;
        let n_bytes = bytes.len() as u64;
        let (name, files) = (name.to_owned(), Vec::new());
        Ok(Self { name, contents, n_bytes, files, texts: None, template: None, packed_dir: None })
    }

    /// The path as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path as it was given and those of all files of weights: what is made of the model takes none of these places.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [self.name()].into_iter().chain(self.files.iter().map(Mapped::name)).map(Path::new)
    }

    /// The mapped files.
    pub(crate) fn files(&self) -> &[Mapped] {
        &self.files
    }

    /// Metadata and tensors.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Size of the file, or of the files of weights together.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The text side alone; also works for files that hold only a vocabulary.
    ///
    /// # Errors
    /// When the model has no vocabulary, or one that can't be read.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        self.read_tokenizer().map_err(|source| self.model_error(source))
    }

    pub(crate) fn read_tokenizer(&self) -> ingle_model::Result<Tokenizer> {
        match &self.texts {
            None => Tokenizer::from_gguf(&self.contents),
            Some(texts) => texts.tokenizer(),
        }
    }

    /// The vocabulary of a folder as GGUF's keys, for a file that is written from it; `None` where the contents have theirs.
    ///
    /// # Errors
    /// When the folder has no vocabulary, or one that GGUF has no name for.
    pub fn vocabulary_for_gguf(&self) -> Option<Result<Written>> {
        let rows = self.contents.tensor("token_embd.weight").and_then(|t| t.shape.get(1).copied());
        let written = self.texts.as_ref()?.gguf_keys(rows.unwrap_or(0));
        Some(written.map_err(|source| self.model_error(source)))
    }

    /// Source of the chat template: what [`Self::set_template`] was given, else what the file carries, if any.
    pub fn template_source(&self) -> Result<Option<&str>> {
        let own = || self.contents.str("tokenizer.chat_template").map_err(|e| self.model_error(e));
        self.template.as_deref().map_or_else(own, |source| Ok(Some(source)))
    }

    /// Has it speak by another chat template, which came beside the file.
    ///
    /// # Errors
    /// When the template does not compile.
    pub fn set_template(&mut self, source: String) -> Result<()> {
        ChatTemplate::parse(&source).map_err(|e| self.model_error(e))?;
        self.template = Some(source);
        Ok(())
    }

    /// Has its weights looked for in `dir`, packed, when it is loaded.
    pub fn set_packed_dir(&mut self, dir: PackedDir) {
        self.packed_dir = Some(dir);
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

    /// Has the weights leave the process; they stay mapped and come back when touched.
    pub fn drop_pages(&self) {
        self.files.iter().for_each(Mapped::drop_pages);
    }

    /// Brings the weights into the process, with the threads of `pool`: where files have them packed, those.
    pub fn prefault(&self, pool: &Pool) {
        for file in self.files.iter().map(|file| file.packed().map().unwrap_or(file)) {
            let n_parts = file.bytes().len().div_ceil(PREFAULT_BYTES);
            let _turn = pool.turn();
            pool.run(n_parts, |i, _| file.prefault(i * PREFAULT_BYTES..(i + 1) * PREFAULT_BYTES));
        }
    }

    /// An error when a file's size is no longer what it was; built-in bytes never change.
    pub fn check_unchanged(&self) -> Result<()> {
        self.files.iter().try_for_each(Mapped::check_unchanged)
    }
}

/// Bytes that one thread brings into the process at once: a multiple of all page sizes.
const PREFAULT_BYTES: usize = 8 << 20;

/// How to load a model.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions<'a> {
    /// A tier by name, or `exact`; `None` for the fastest this CPU has.
    pub tier: Option<&'a str>,
    /// Threads that compute.
    pub n_threads: usize,
    /// Whether weights are packed.
    pub pack: Pack,
}

impl LoadOptions<'_> {
    /// The tier's kernels for a model of `n_bytes`.
    ///
    /// # Errors
    /// [`Error::Tier`] when this CPU has none of that name.
    pub(crate) fn kernels(&self, n_bytes: u64) -> Result<Kernels> {
        let kernels = match self.tier {
            None => Kernels::detect(),
            Some(name) => Kernels::named(name).ok_or_else(|| Error::Tier {
                name: name.to_owned(),
                available: Kernels::names().collect::<Vec<_>>().join(", "),
            })?,
        };
        Ok(kernels.packing(self.pack.order(n_bytes)))
    }
}

/// Whether a model keeps its weights packed in memory of its own, which makes single tokens faster: instead of the file's
/// pages, which the system could take back and read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    /// Where the model takes half of the memory that is free or less, or the system does not say; else as [`Self::Kept`].
    Auto,
    /// Always.
    On,
    /// Where a file has them packed, which is mapped as the model's own: see [`crate::packed`].
    Kept,
    /// Never.
    Off,
}

impl Pack {
    fn order(self, n_bytes: u64) -> WeightOrder {
        let has_room = || memory::available_bytes().is_none_or(|available| n_bytes <= available / 2);
        match self {
            Self::Off => WeightOrder::AsInFile,
            Self::Auto if !has_room() => WeightOrder::PackedWhereKept,
            Self::Kept => WeightOrder::PackedWhereKept,
            Self::Auto | Self::On => WeightOrder::Packed,
        }
    }
}

/// A model ready to run, with its tokenizer, its threads and its kernels. Sessions share it.
///
/// A model without a vocabulary runs too, on ids.
#[derive(Debug)]
pub struct Loaded {
    /// The file it came from.
    pub file: ModelFile,
    /// Configuration and weights.
    pub model: Model,
    tokenizer: ingle_model::Result<Tokenizer>,
    /// Made when first needed, or why it can't be made.
    vocabulary: OnceLock<std::result::Result<Arc<Vocabulary>, String>>,
    pool: Arc<Pool>,
    kernels: Kernels,
    /// Whether single tokens come to find weights packed in memory of our own.
    has_copies: bool,
}

impl Loaded {
    /// Reads the model of `file`. Weights stay where they lie.
    pub fn load(file: ModelFile, options: &LoadOptions<'_>) -> Result<Self> {
        Self::load_on(Arc::new(Pool::new(options.n_threads)), file, options)
    }

    /// The same for a model that shares its threads with others, which take turns.
    pub fn load_on(pool: Arc<Pool>, file: ModelFile, options: &LoadOptions<'_>) -> Result<Self> {
        let kernels = options.kernels(file.n_bytes)?;
        if let (Some(dir), true) = (&file.packed_dir, kernels.packs() != WeightOrder::AsInFile) {
            for part in &file.files {
                // What has no key is packed as if there were no files of that.
                if let Ok(key) = packed::key(part, kernels.name()) {
                    part.packed().find(dir, &key, part.bytes().len(), Some(&pool));
                }
            }
        }
        let model = Model::read(&file.contents, &kernels).map_err(|source| file.model_error(source))?;
        let tokenizer = file.read_tokenizer();
        let is_copied = |part: &Mapped| part.packed().map().is_none() && !part.packed().wanted().is_empty();
        let has_copies = kernels.packs() == WeightOrder::Packed
            && (file.files.is_empty() || file.files.iter().any(is_copied));
        Ok(Self { file, model, tokenizer, vocabulary: OnceLock::new(), pool, kernels, has_copies })
    }

    /// Text to ids and back.
    ///
    /// # Errors
    /// When the model has no vocabulary, or one that can't be read.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().map_err(|source| self.file.model_error(source.clone()))
    }

    /// Compiles the form of an answer for this model. The first call makes what that needs of the vocabulary, if
    /// [`Self::prepare_constraints`] has not.
    ///
    /// # Errors
    /// Those of [`Self::tokenizer`] and of [`Vocabulary::compile`].
    pub fn constraint(&self, grammar: &Grammar) -> Result<Constraint> {
        self.vocabulary()?.compile(grammar)
    }

    /// Compiles what an answer of `format` must be that calls `tools`, so many times, or is what `or` says.
    ///
    /// # Errors
    /// Those of [`Self::tokenizer`] and of [`Vocabulary::compile_calls`].
    pub fn call_constraint(
        &self,
        format: &Format,
        tools: &[Tool],
        calls: Calls,
        or: Otherwise<'_>,
    ) -> Result<Constraint> {
        let template = self.file.template_source()?.unwrap_or_default();
        self.vocabulary()?.compile_calls(format, tools, calls, template, or)
    }

    /// Makes what constraints need of the vocabulary, and of the way the model writes thoughts, so that the first of them does not
    /// wait for it: some hundred milliseconds on one thread for 150,000 tokens. Whoever comes meanwhile waits for the same.
    ///
    /// # Errors
    /// Those of [`Self::tokenizer`], [`Self::format`] and of [`Vocabulary::new`].
    pub fn prepare_constraints(&self) -> Result<()> {
        let format = self.format()?;
        self.vocabulary().map(|vocabulary| vocabulary.prepare_thoughts(format))
    }

    fn vocabulary(&self) -> Result<&Arc<Vocabulary>> {
        let tokenizer = self.tokenizer()?;
        let made = self
            .vocabulary
            .get_or_init(|| Vocabulary::new(tokenizer).map(Arc::new).map_err(|e| e.to_string()));
        made.as_ref().map_err(|reason| Error::Constraint(reason.clone()))
    }

    /// How this model writes calls and thoughts, by its chat template. One that knows no tools is told of them as Hermes
    /// models are ([`crate::chat::Prompter::text`]).
    ///
    /// # Errors
    /// When the template can't be read.
    pub fn format(&self) -> Result<&'static Format> {
        let template = self.file.template_source()?.unwrap_or_default();
        Ok(if template.contains("tools") { output::detect(template) } else { output::TEXT_FORMAT })
    }

    /// The threads and kernels to run it with, and the adapters to add.
    pub fn runtime<'a>(&'a self, adapters: &'a [Active]) -> Runtime<'a> {
        Runtime { adapters, ..Runtime::new(&self.pool, &self.kernels) }
    }

    /// The threads, for another model to share.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Waits for a turn on the threads, where others use them too.
    pub fn turn(&self) -> Turn<'_> {
        self.pool.turn()
    }

    /// The same for a turn that lets others go first at every layer.
    pub fn patient_turn(&self) -> Turn<'_> {
        self.pool.patient_turn()
    }

    /// Opens the adapter at `path`, a GGUF file or a folder of the peft library, for this model. It takes effect in the
    /// sessions it is given to.
    pub fn adapter(&self, path: &Path) -> Result<Adapter> {
        self.adapter_of(&self.file.open_adapter(path)?)
    }

    /// The same for an adapter that was opened, or is in memory alone.
    pub fn adapter_of(&self, file: &ModelFile) -> Result<Adapter> {
        let adapter = Adapter::read(&file.contents, &self.file.contents, &self.model, &self.kernels);
        adapter.map_err(|source| file.model_error(source))
    }

    /// Brings the weights into the process, but for those that are packed in memory and lie there already.
    pub fn prefault(&self) {
        if !self.has_copies {
            self.file.prefault(&self.pool);
        }
    }

    /// Bytes of weights that may come to lie packed in memory of our own.
    pub fn packed_bytes(&self) -> u64 {
        if self.has_copies { self.file.n_bytes } else { 0 }
    }

    /// Bytes of weights that lie packed in mapped files.
    pub fn kept_bytes(&self) -> u64 {
        let kept = self.file.files.iter().filter_map(|part| part.packed().map());
        kept.map(|map| map.bytes().len() as u64).sum()
    }

    /// What packs the weights into files, for the next time; where they are not packed in memory, for this time too. `None` where they
    /// are there, or nothing is to be kept.
    ///
    /// # Errors
    /// When a file of the model can't be looked at.
    pub fn packer(&self) -> Result<Option<Packer>> {
        let Some(dir) = &self.file.packed_dir else { return Ok(None) };
        let mut packer = Packer::new(dir.clone());
        for part in &self.file.files {
            let failed = |source| Error::Io { file: part.name().to_owned(), source };
            let key = packed::key(part, self.tier()).map_err(failed)?;
            packer.add(part, part.packed(), key, !self.has_copies)?;
        }
        Ok(Some(packer).filter(|packer| !packer.is_done()))
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
