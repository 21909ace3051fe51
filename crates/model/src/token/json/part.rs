//! The settings of one component of a tokenizer.json, read by name and type.
//!
//! Every error says which setting of which component it is about. A setting that is null counts as absent.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::token::pattern::Pattern;
use crate::token::pretoken::{Behaviour, Prepend};

/// A component's settings, under a name for errors.
pub struct Part<'a> {
    pub name: String,
    map: &'a Map<String, Value>,
}

impl<'a> Part<'a> {
    /// The settings that `value`, which errors call `name`, holds.
    pub fn new(name: &str, value: &'a Value) -> Result<Self> {
        let map = value.as_object().ok_or_else(|| Error::malformed(name, value, "a component"))?;
        Ok(Self { name: name.to_owned(), map })
    }

    /// What errors call the setting `key`.
    pub fn of(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// A setting; one that is null is not there.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn required(&self, key: &str, expected: &str) -> Result<&'a Value> {
        self.get(key).ok_or_else(|| Error::missing(self.of(key), expected))
    }

    /// A setting that must be a text.
    pub fn text(&self, key: &str) -> Result<&'a str> {
        let value = self.required(key, "a text")?;
        value.as_str().ok_or_else(|| Error::malformed(self.of(key), value, "a text"))
    }

    /// A setting that must be one character.
    pub fn char(&self, key: &str) -> Result<char> {
        let text = self.text(key)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(c),
            _ => Err(Error::malformed(self.of(key), format!("{text:?}"), "one character")),
        }
    }

    /// A setting that must hold others.
    pub fn object(&self, key: &str) -> Result<&'a Map<String, Value>> {
        let value = self.required(key, "an object")?;
        value.as_object().ok_or_else(|| Error::malformed(self.of(key), value, "an object"))
    }

    /// A setting that is true or false, and `default` where it is not there.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| Error::malformed(self.of(key), value, "true or false"))
    }

    /// A setting that is a number, and `default` where it is not there.
    pub fn count(&self, key: &str, default: usize) -> Result<usize> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let count = value.as_u64().and_then(|n| u32::try_from(n).ok());
        count.map(|n| n as usize).ok_or_else(|| Error::malformed(self.of(key), value, "a count"))
    }

    /// `[text, id]`.
    pub fn pair(&self, key: &str) -> Result<Option<u32>> {
        let value = self.required(key, "a token and its id")?;
        let id = value.get(1).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.map(Some).ok_or_else(|| Error::malformed(self.of(key), value, "a token and its id"))
    }

    /// What `pattern` looks for: a text or a regular expression.
    pub fn pattern(&self) -> Result<Pattern> {
        let pattern = self.object("pattern")?;
        let text = |key: &str| pattern.get(key).and_then(Value::as_str);
        match (text("String"), text("Regex")) {
            (Some(text), _) => Ok(Pattern::Text(text.to_owned())),
            (None, Some(source)) => Pattern::regex(&self.of("pattern"), source),
            (None, None) => Err(Error::malformed(self.of("pattern"), "neither", "String or Regex")),
        }
    }

    /// What becomes of delimiters; without a `default` it must be said.
    pub fn behaviour(&self, key: &str, default: Option<Behaviour>) -> Result<Behaviour> {
        if let (None, Some(default)) = (self.get(key), default) {
            return Ok(default);
        }
        Ok(match self.text(key)? {
            "Removed" => Behaviour::Removed,
            "Isolated" => Behaviour::Isolated,
            "MergedWithPrevious" => Behaviour::MergedWithPrevious,
            "MergedWithNext" => Behaviour::MergedWithNext,
            "Contiguous" => Behaviour::Contiguous,
            other => return Err(Error::malformed(self.of(key), format!("{other:?}"), "a known behaviour")),
        })
    }

    /// Where a space is put before a text; older files say it with `add_prefix_space`.
    pub fn prepend(&self) -> Result<Prepend> {
        if !self.flag("add_prefix_space", true)? {
            return Ok(Prepend::Never);
        }
        match self.get("prepend_scheme").and_then(Value::as_str) {
            None | Some("always") => Ok(Prepend::Always),
            Some("first") => Ok(Prepend::First),
            Some("never") => Ok(Prepend::Never),
            Some(other) => Err(Error::malformed(
                self.of("prepend_scheme"),
                format!("{other:?}"),
                "always, first or never",
            )),
        }
    }
}
