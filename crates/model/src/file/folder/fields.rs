//! A JSON object of a folder, read by name: each value of the type that is asked for, or a sentence.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Far above the few KB of real ones.
const BYTES_MAX: usize = 16 << 20;

/// Parses `bytes` as the object of the file called `name`.
///
/// # Errors
/// [`Error::Malformed`] when it is too large, nested too deep or not an object.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::malformed(name, format!("{} bytes", bytes.len()), format!("at most {BYTES_MAX}")));
    }
    let malformed = |e| Error::malformed(name, e, "an object in JSON");
    match serde_json::from_slice(bytes) {
        Err(_) if bytes.windows(8).any(|window| window == b"Infinity") => {
            serde_json::from_slice(&without_infinities(bytes)).map_err(malformed)
        }
        parsed => parsed.map_err(malformed),
    }
}

/// `bytes` with `null` for `Infinity`, which Python writes and JSON has not, wherever it stands outside a text.
fn without_infinities(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let (mut in_text, mut i) = (false, 0);
    while let Some(&byte) = bytes.get(i) {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                out.push(byte);
                i += 1;
            }
            _ => {}
        }
        if !in_text && bytes[i.min(bytes.len())..].starts_with(b"Infinity") {
            if out.last() == Some(&b'-') {
                out.pop();
            }
            out.extend_from_slice(b"null");
            i += b"Infinity".len();
            continue;
        }
        out.extend(bytes.get(i));
        i += 1;
    }
    out
}

/// The fields of one object; `null` counts as absent.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The file they stand in, for errors: `config.json`.
    pub part: &'a str,
    /// The object in it, where they are not the file's own.
    pub within: Option<&'static str>,
    /// The fields.
    pub map: &'a Map<String, Value>,
    /// Numbers of fields that may be left out.
    pub defaults: &'static [(&'static str, f64)],
    /// Truth values of fields that may be left out.
    pub flags: &'static [(&'static str, bool)],
}

impl<'a> Fields<'a> {
    /// All of a file's, of which none may be left out.
    pub fn of_file(part: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { part, within: None, map, defaults: &[], flags: &[] }
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// `name` as a non-negative integer.
    pub fn uint(&self, name: &str) -> Result<Option<u64>> {
        match self.value(name) {
            None => Ok(self.default(name).map(|v| v as u64)),
            Some(value) => match value.as_u64() {
                Some(v) => Ok(Some(v)),
                None => Err(self.wrong(name, value, "a non-negative integer")),
            },
        }
    }

    /// `name` as a non-negative integer that must be there.
    pub fn need_uint(&self, name: &str) -> Result<u64> {
        self.uint(name)?.ok_or_else(|| Error::missing(self.of(name), "an integer"))
    }

    /// `name` as a number.
    pub fn float(&self, name: &str) -> Result<Option<f64>> {
        match self.value(name) {
            None => Ok(self.default(name)),
            Some(value) => match value.as_f64() {
                Some(v) => Ok(Some(v)),
                None => Err(self.wrong(name, value, "a number")),
            },
        }
    }

    /// `name` as a truth value.
    pub fn bool(&self, name: &str) -> Result<Option<bool>> {
        let default = self.flags.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);
        Ok(self.typed(name, Value::as_bool, "true or false")?.or(default))
    }

    /// `name` as a text.
    pub fn str(&self, name: &str) -> Result<Option<&'a str>> {
        self.typed(name, Value::as_str, "a text")
    }

    /// `name` as a list.
    pub fn list(&self, name: &str) -> Result<Option<&'a Vec<Value>>> {
        self.typed(name, Value::as_array, "a list")
    }

    /// `name` as a list of numbers.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        let number = |v: &Value| v.as_f64().map(|v| v as f32);
        let all = list.iter().map(number).collect::<Option<Vec<_>>>();
        all.map(Some).ok_or_else(|| Error::malformed(self.of(name), "a list of other things", "numbers"))
    }

    /// `name` as an object.
    pub fn object(&self, name: &'static str) -> Result<Option<Fields<'a>>> {
        let map = self.typed(name, Value::as_object, "an object")?;
        Ok(map.map(|map| Fields { within: Some(name), map, defaults: &[], flags: &[], ..*self }))
    }

    /// The field's place, for errors.
    pub fn of(&self, name: &str) -> String {
        match self.within {
            None => format!("{} {name}", self.part),
            Some(object) => format!("{} {object} {name}", self.part),
        }
    }

    /// That `name`, where it is there, has one of `values`, written as JSON.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with those values.
    pub fn expect(&self, name: &str, values: &[&str]) -> Result<()> {
        match self.value(name) {
            Some(value) if !values.contains(&value.to_string().as_str()) => {
                Err(Error::unsupported(self.of(name), brief(value), values.iter().copied()))
            }
            _ => Ok(()),
        }
    }

    fn typed<T>(&self, name: &str, read: fn(&'a Value) -> Option<T>, expected: &str) -> Result<Option<T>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(name, value, expected))
    }

    fn default(&self, name: &str) -> Option<f64> {
        self.defaults.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }

    fn wrong(&self, name: &str, value: &Value, expected: &str) -> Error {
        Error::malformed(self.of(name), brief(value), expected)
    }
}

/// A value in a few words.
fn brief(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_of_python_count_as_nothing() {
        let map =
            parse("f", br#"{"a": [0.0, Infinity], "b": -Infinity, "c": "Infinity \" Infinity", "d": 1}"#)
                .unwrap();
        let fields = Fields::of_file("f", &map);
        assert_eq!(fields.value("a").unwrap().to_string(), "[0.0,null]");
        assert!(fields.value("b").is_none());
        assert_eq!(fields.str("c").unwrap(), Some("Infinity \" Infinity"));
        for bytes in [&b"{\"a\": Infinity"[..], b"{\"a\": \"Infinity\\", b"Infinity"] {
            assert!(parse("f", bytes).is_err());
        }
    }
}
