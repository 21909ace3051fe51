//! A model that is served and writes text: its lanes, how it is spoken to, and the name by which requests call it.

use std::sync::Arc;

use ingle_engine::chat::Prompter;
use ingle_engine::embed::Embedder;
use ingle_engine::generate::Overflow;
use ingle_engine::kv_dir::fingerprint::number_of_model;
use ingle_engine::model_file::Loaded;
use ingle_engine::output::Format;
use ingle_engine::run::Engine;

use crate::reader::Reader;
use crate::refusal::Refusal;

/// What is served.
#[derive(Debug)]
pub struct Serving {
    /// The model.
    pub model: Model,
    /// The name by which requests call the model.
    pub name: String,
}

/// A model, by what it does.
#[derive(Debug)]
pub enum Model {
    /// It writes text, in lanes.
    Writer(Engine),
    /// It reads texts, for vectors or scores.
    Reader(Embedder),
}

/// A model that writes, as routes know it.
#[derive(Debug)]
pub struct Served {
    /// Its lanes.
    pub engine: Engine,
    /// The name by which requests call it.
    pub name: String,
    /// How it is spoken to.
    pub prompter: Prompter,
    /// How it writes calls and thoughts.
    pub format: &'static Format,
    /// The special tokens that mean something in that format.
    pub markers: Arc<[u32]>,
    /// The model as one that reads.
    pub reader: Arc<Reader>,
    /// What tells it apart from other models, whatever it is called.
    pub number: u64,
    /// Every answer under way has a clone, so that the model is known to be in use.
    pub pins: Arc<()>,
}

impl Served {
    /// # Errors
    /// When the model has no tokenizer, or its template can't be read.
    pub fn new(name: String, engine: Engine) -> ingle_engine::Result<Self> {
        let loaded = engine.loaded();
        let prompter = Prompter::new(loaded)?;
        let number = number_of_model(loaded);
        let (format, tokenizer) = (prompter.format(), loaded.tokenizer()?);
        let markers = format.markers().filter_map(|marker| tokenizer.id_of(marker)).collect();
        let reader = Arc::new(Reader::new(name.clone(), Embedder::of(loaded.clone())?));
        Ok(Self { prompter, format, markers, reader, pins: Arc::default(), number, engine, name })
    }

    /// Answers and readings under way.
    pub fn n_answers(&self) -> usize {
        Arc::strong_count(&self.pins) + Arc::strong_count(&self.reader) - 2
    }

    /// Makes what answers of a form need, on a thread of its own, so that the first of them does not wait for it; what goes wrong
    /// is told to who asks for one.
    pub fn prepare(&self) {
        let loaded = self.loaded().clone();
        std::thread::spawn(move || _ = loaded.prepare_constraints());
    }

    /// The model with its weights and words.
    pub fn loaded(&self) -> &Arc<Loaded> {
        self.engine.loaded()
    }

    /// Whether it is known to think before it speaks: its template can be told to, or marks thoughts.
    pub fn thinks(&self) -> bool {
        let marks = self.format.reasoning.iter().map(|reasoning| reasoning.open.trim());
        marks.chain(["enable_thinking", "reasoning_effort"]).any(|word| self.prompter.mentions(word))
    }

    /// # Errors
    /// When a prompt of `n` tokens does not fit and nothing may be dropped.
    pub fn check_length(&self, n: usize, overflow: Overflow) -> Result<(), Refusal> {
        let ctx = self.engine.ctx();
        if n > ctx && overflow == Overflow::Error {
            return Err(ingle_engine::Error::PromptTooLong { tokens: n, ctx }.into());
        }
        Ok(())
    }

    /// The ids of a text, with BOS where the model wants it and special tokens in the text read as such.
    pub fn tokens(&self, text: &str, special: bool, parses: bool) -> Result<Vec<u32>, Refusal> {
        self.reader.tokens(text, special, parses)
    }

    /// The text of ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Refusal> {
        self.reader.decode(ids)
    }

    /// A token as text, which need not be whole characters.
    pub fn token_text(&self, id: u32) -> Vec<u8> {
        self.reader.token_text(id)
    }
}
