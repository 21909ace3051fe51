//! A model that is served: its lanes, how it is spoken to, and the name by which requests call it.

use std::sync::Arc;

use ingle_engine::chat::Prompter;
use ingle_engine::generate::Overflow;
use ingle_engine::model_file::Loaded;
use ingle_engine::output::Format;
use ingle_engine::run::Engine;
use ingle_model::token::{Detokenizer, Parse, Place, Render};

use crate::refusal::Refusal;

/// What is served.
#[derive(Debug)]
pub struct Serving {
    /// The model's lanes.
    pub engine: Engine,
    /// The name by which requests call the model.
    pub name: String,
}

/// A model, as routes know it.
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
}

impl Served {
    /// # Errors
    /// When the model has no tokenizer, or its template can't be read.
    pub fn new(serving: Serving) -> ingle_engine::Result<Self> {
        let loaded = serving.engine.loaded();
        let prompter = Prompter::new(loaded)?;
        let (format, tokenizer) = (prompter.format(), loaded.tokenizer()?);
        let markers = format.markers().filter_map(|marker| tokenizer.id_of(marker)).collect();
        Ok(Self { prompter, format, markers, engine: serving.engine, name: serving.name })
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

    /// The ids of a text, with BOS and EOS where the model wants them and special tokens in the text read as such.
    pub fn tokens(&self, text: &str, special: bool, parses: bool) -> Result<Vec<u32>, Refusal> {
        let loaded = self.loaded();
        let tokenizer = loaded.tokenizer()?;
        let mut ids = Vec::new();
        if special {
            ids.extend(tokenizer.before());
        }
        let parse = if parses { Parse::Special } else { Parse::Text };
        tokenizer.encode(text, parse, &mut ids).map_err(|e| loaded.file.model_error(e))?;
        Ok(ids)
    }

    /// The text of ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Refusal> {
        let (tokenizer, vocab) = (self.loaded().tokenizer()?, self.loaded().model.config.vocab);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(Refusal::request(format!("token id {id}: this model's ids end at {}", vocab - 1)));
        }
        let mut text = String::new();
        let mut detokenizer = Detokenizer::new(Render::Special, Place::Start);
        ids.iter().for_each(|&id| detokenizer.push(tokenizer, id, &mut text));
        detokenizer.flush(&mut text);
        Ok(text)
    }

    /// A token as text, which need not be whole characters.
    pub fn token_text(&self, id: u32) -> Vec<u8> {
        let tokenizer = self.loaded().tokenizer().ok();
        tokenizer.and_then(|t| t.token_name(id)).unwrap_or_default().to_vec()
    }
}
