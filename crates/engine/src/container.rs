//! From a path to contents: which files belong together, opened, mapped and handed to the reader of their format.
//!
//! A `.gguf` file may be the first of several parts. A `.bin` file is llama2.c's, with its vocabulary beside it, or PyTorch's,
//! which stands for the folder it lies in. A folder has a configuration, one or many files of weights, and texts, which are
//! read: the vocabulary, the chat template and what ends an answer. An adapter is a `.gguf` file too, or a folder of two files that the peft library wrote. Everything
//! large is mapped. A file that another one names and that is not there is a fault of the one that names it.

use std::path::Path;

use ingle_kernel::bytes::Bytes;
use ingle_model::Error as ModelError;
use ingle_model::file::folder::sentence::{self, Sentence};
use ingle_model::file::folder::weights::{PYTORCH, WEIGHT_FILES, WeightFiles};
use ingle_model::file::folder::{self, Folder, peft};
use ingle_model::file::{Contents, gguf, llama2c, pytorch, split};
use ingle_model::token::{Tokenizer, Written};

use crate::error::{Error, Result};
use crate::mmap::Mapped;

/// Far above any configuration or template.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Contents and the files they are views of.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) contents: Contents,
    pub(crate) files: Vec<Mapped>,
    /// What a folder's vocabulary is made from; other containers have theirs among the contents.
    pub(crate) texts: Option<Texts>,
}

/// The text side of a folder, read and not yet looked into.
#[derive(Debug)]
pub(crate) struct Texts {
    /// `tokenizer.json`
    tokenizer: Option<Vec<u8>>,
    /// `tokenizer_config.json`
    config: Option<Vec<u8>>,
    /// Ids that end an answer, besides those the two say.
    ending: Vec<u32>,
}

impl Texts {
    pub(crate) fn tokenizer(&self) -> ingle_model::Result<Tokenizer> {
        let mut tokenizer = Tokenizer::from_json(self.json()?, self.config.as_deref())?;
        tokenizer.end_with(&self.ending);
        Ok(tokenizer)
    }

    /// The vocabulary as GGUF has it, for an embedding of `n_rows`.
    pub(crate) fn gguf_keys(&self, n_rows: usize) -> ingle_model::Result<Written> {
        Tokenizer::gguf_keys(self.json()?, self.config.as_deref(), &self.ending, n_rows)
    }

    fn json(&self) -> ingle_model::Result<&[u8]> {
        let json = self.tokenizer.as_deref();
        json.ok_or_else(|| ModelError::missing("tokenizer.json", "the model's vocabulary"))
    }
}

/// Opens the model at `path`, whatever it is.
pub(crate) fn open(path: &Path) -> Result<Opened> {
    if path.is_dir() { open_folder(path, None) } else { open_file(path) }
}

/// Opens the adapter at `path` for the model of `base`: a GGUF file, or a folder of the peft library or its file of weights.
pub(crate) fn open_adapter(path: &Path, base: &Contents) -> Result<Opened> {
    let is_weights = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    let (config, weights) = if path.is_dir() {
        (path.join(peft::CONFIG), path.join(peft::WEIGHTS))
    } else if is_weights {
        (path.with_file_name(peft::CONFIG), path.to_owned())
    } else {
        return open_file(path);
    };
    let config = read(&config)?.ok_or_else(|| Error::NotFound { file: config.display().to_string() })?;
    let file = Mapped::open(&weights)?;
    let contents = peft::import(&config, file.bytes(), base);
    let contents = contents.map_err(|source| Error::Model { file: path.display().to_string(), source })?;
    Ok(Opened { contents, files: vec![file], texts: None })
}

/// Parses bytes of a file called `name`: by how they begin, and where a format has no beginning of its own, by the name.
pub(crate) fn parse(name: &str, bytes: &Bytes) -> Result<Contents> {
    let model_error = |source| Error::Model { file: name.to_owned(), source };
    let ending = Path::new(name).extension().unwrap_or_default();
    if ending.eq_ignore_ascii_case("safetensors") || pytorch::is_one(bytes) {
        let part = "a file of weights alone";
        return Err(model_error(ModelError::unsupported(
            part,
            "no configuration",
            ["the folder it lies in"],
        )));
    }
    let is_bin = ending.eq_ignore_ascii_case("bin") && !bytes.starts_with(&gguf::MAGIC);
    let parsed = match is_bin || bytes.starts_with(&llama2c::MAGIC) {
        true => llama2c::parse(bytes.clone()),
        false => gguf::parse(bytes.clone()),
    };
    parsed.map_err(model_error)
}

fn open_file(path: &Path) -> Result<Opened> {
    let first = Mapped::open(path)?;
    if pytorch::is_one(first.bytes()) {
        return open_folder(path.parent().unwrap_or(Path::new("")), Some(first));
    }
    let mut contents = parse(first.name(), first.bytes())?;
    let model_error = |source| Error::Model { file: first.name().to_owned(), source };
    if contents.container.starts_with(llama2c::NAME)
        && let Some(bytes) = read(&path.with_file_name(llama2c::VOCABULARY))?
    {
        llama2c::add_vocabulary(&mut contents, &bytes).map_err(model_error)?;
    }
    let Some(part) = split::Part::of(&contents).map_err(model_error)? else {
        return Ok(Opened { contents, files: vec![first], texts: None });
    };
    let names = part.names(&file_name(path)).map_err(model_error)?;
    part.expect_first(&names).map_err(model_error)?;
    let mut parts = vec![contents];
    let mut others = Vec::new();
    for name in &names[1..] {
        let file = match Mapped::open(&path.with_file_name(name)) {
            Err(Error::NotFound { .. }) => return Err(model_error(split::missing(name))),
            opened => opened?,
        };
        parts.push(parse(file.name(), file.bytes())?);
        others.push(file);
    }
    let contents = split::join(parts).map_err(model_error)?;
    let files = std::iter::once(first).chain(others).collect();
    Ok(Opened { contents, files, texts: None })
}

/// Opens the folder at `path` with its own files of weights, or with `weights`.
fn open_folder(path: &Path, weights: Option<Mapped>) -> Result<Opened> {
    let model_error = |source| Error::Model { file: path.display().to_string(), source };
    let needed = |name: &str| {
        read(&path.join(name))?.ok_or_else(|| Error::NotFound { file: path.join(name).display().to_string() })
    };
    let optional = |name: &str| read(&path.join(name));
    let mut folder = Folder {
        config: needed(folder::CONFIG)?,
        tokenizer_config: optional("tokenizer_config.json")?,
        chat_template: optional("chat_template.jinja")?,
        sentence: Sentence {
            modules: optional(sentence::MODULES)?,
            pooling: None,
            limits: optional(sentence::LIMITS)?,
        },
        ..Folder::default()
    };
    if let Some(modules) = &folder.sentence.modules
        && let Some(beside) = sentence::pooling_folder(modules).map_err(model_error)?
    {
        folder.sentence.pooling = read(&path.join(beside).join(sentence::MODULE_CONFIG))?;
    }
    let files = match weights {
        Some(file) => {
            folder.weights = &PYTORCH;
            folder.shards.push((file_name(Path::new(file.name())), file.bytes().clone()));
            vec![file]
        }
        None => open_weights(path, &mut folder)?,
    };
    let contents = folder::import(&folder).map_err(model_error)?;
    let generation = optional(folder::GENERATION)?;
    let texts = Texts {
        tokenizer: optional("tokenizer.json")?,
        ending: folder::ending(&folder.config, generation.as_deref()).map_err(model_error)?,
        config: folder.tokenizer_config,
    };
    Ok(Opened { contents, files, texts: Some(texts) })
}

/// Maps the files of weights at `path`: those of the first container of which there is an index or a file.
fn open_weights(path: &Path, folder: &mut Folder) -> Result<Vec<Mapped>> {
    let model_error = |source| Error::Model { file: path.display().to_string(), source };
    let is_there = |of: &&&WeightFiles| [of.index, of.one].iter().any(|name| path.join(name).exists());
    folder.weights = WEIGHT_FILES.iter().find(is_there).copied().unwrap_or_default();
    let WeightFiles { one, index, .. } = folder.weights;
    folder.index = read(&path.join(index))?;
    let names = match &folder.index {
        Some(index) => folder.weights.shards(index).map_err(model_error)?,
        None => vec![(*one).to_owned()],
    };
    let mut files = Vec::new();
    for name in names {
        let file = match Mapped::open(&path.join(&name)) {
            Err(Error::NotFound { .. }) if folder.index.is_some() => {
                let found = format!("{name}, which is not there");
                let source = ModelError::malformed(index, found, "files that are there");
                return Err(model_error(source));
            }
            opened => opened?,
        };
        folder.shards.push((name, file.bytes().clone()));
        files.push(file);
    }
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A text of the folder, `None` when there is none of that name.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let io = |source| Error::Io { file: path.display().to_string(), source };
    let meta = match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        meta => meta.map_err(io)?,
    };
    if !meta.is_file() || meta.len() > TEXT_BYTES_MAX {
        let found =
            if meta.is_file() { format!("{} bytes", meta.len()) } else { "not a regular file".into() };
        let source =
            ModelError::malformed("file", found, format!("a text of at most {TEXT_BYTES_MAX} bytes"));
        return Err(Error::Model { file: path.display().to_string(), source });
    }
    std::fs::read(path).map(Some).map_err(io)
}
