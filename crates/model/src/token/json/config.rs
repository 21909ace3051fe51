//! tokenizer_config.json: which tokens are special for what. The chat template in it is [`crate::file::folder`]'s to read.

use serde_json::Value;

use crate::error::{Error, Result};

/// What a tokenizer takes from it.
#[derive(Debug, Default)]
pub struct Config {
    /// GGUF's name of a role, and the token.
    tokens: Vec<(&'static str, String)>,
    /// Whether BOS comes first, for tokenizers whose post-processor doesn't say.
    pub add_bos_token: bool,
    /// Whether EOS comes last, likewise.
    pub add_eos_token: bool,
}

/// GGUF's names of roles and the keys here.
static KEYS: [(&str, &str); 7] = [
    ("bos", "bos_token"),
    ("eos", "eos_token"),
    ("unknown", "unk_token"),
    ("padding", "pad_token"),
    ("seperator", "sep_token"),
    ("cls", "cls_token"),
    ("mask", "mask_token"),
];

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|e| Error::malformed("tokenizer_config.json", e, "a JSON object"))?;
        // A token stands there as a text or as an object with its settings.
        let token = |key: &str| {
            let value = value.get(key)?;
            value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
        };
        let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            tokens: KEYS.iter().filter_map(|&(role, key)| Some((role, token(key)?))).collect(),
            add_bos_token: flag("add_bos_token"),
            add_eos_token: flag("add_eos_token"),
        })
    }

    /// The token of a role, by GGUF's name of it.
    pub fn token(&self, role: &str) -> Option<&str> {
        self.tokens.iter().find(|(name, _)| *name == role).map(|(_, token)| token.as_str())
    }
}
