//! A request's body, taken apart field by field.
//!
//! Each field is taken by name with the type it must have; what nobody took is refused by name at the end. So no field is
//! ever ignored, and a field that this server can't honour is known as such.

use serde_json::{Map, Value as Json};

use crate::refusal::Refusal;

/// The most values of a body, of some 100 bytes each once they are read: the ids of a long context, several times over.
const VALUES_MAX: usize = 1 << 20;

/// What is left of a JSON object.
#[derive(Debug)]
pub struct Fields(Map<String, Json>);

impl Fields {
    /// The fields of `body`.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if n_values_at_most(body) > VALUES_MAX {
            return Err(Refusal::request(format!(
                "the body has more than {VALUES_MAX} values, which is the most"
            )));
        }
        match serde_json::from_slice(body) {
            Ok(Json::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(Refusal::request("the body is JSON but no object, expected one")),
            Err(e) => Err(Refusal::request(format!("the body is no JSON: {e}"))),
        }
    }

    /// The fields of an object that is a field itself.
    pub fn of(name: &str, value: Json) -> Result<Self, Refusal> {
        match value {
            Json::Object(map) => Ok(Self(map)),
            _ => Err(Refusal::field(name, format!("{name}: expected an object"))),
        }
    }

    /// No fields.
    pub fn none() -> Self {
        Self(Map::new())
    }

    /// Takes a field; `null` counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Gives a field another name, and perhaps another value.
    pub fn turn(&mut self, name: &str, into: &str, value: impl FnOnce(Json) -> Json) {
        if let Some(old) = self.take(name) {
            self.0.insert(into.to_owned(), value(old));
        }
    }

    /// A field, as it stands; `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Puts a field back, or under another name.
    pub fn put(&mut self, name: &str, value: Json) {
        self.0.insert(name.to_owned(), value);
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        self.typed(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// Takes `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        self.typed(name, "true or false", Json::as_bool)
    }

    /// Takes a whole number from 0 to `max`.
    pub fn count(&mut self, name: &str, max: usize) -> Result<Option<usize>, Refusal> {
        let fits = |n: &usize| *n <= max;
        self.typed(name, &format!("a whole number from 0 to {max}"), |value| {
            value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(fits)
        })
    }

    /// Takes a text or an array of texts.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        let found = self.typed(name, "a text or an array of texts", |value| match value {
            Json::String(text) => Some(vec![text.clone()]),
            Json::Array(texts) => texts.iter().map(|t| t.as_str().map(str::to_owned)).collect(),
            _ => None,
        });
        Ok(found?.unwrap_or_default())
    }

    /// Takes fields that may be given and change nothing.
    pub fn harmless(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    /// Refuses a field that this server does not honour, unless it says what happens anyway.
    pub fn unsupported(&mut self, name: &str, fine: &[Json]) -> Result<(), Refusal> {
        match self.take(name) {
            Some(value) if !fine.contains(&value) => {
                Err(Refusal::field(name, format!("{name}: this server does not support it")))
            }
            _ => Ok(()),
        }
    }

    /// The names of what is left.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Refuses what nobody took.
    pub fn end(self) -> Result<(), Refusal> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Refusal::field(name, format!("{name}: no such field is known here"))),
        }
    }

    fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&Json) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let wrong = || Refusal::field(name, format!("{name}: expected {expected}"));
        read(&value).map(Some).ok_or_else(wrong)
    }
}

/// A bound of the values that `json` has, without reading them: what comes before, between and behind them.
fn n_values_at_most(json: &[u8]) -> usize {
    let (mut n, mut in_text, mut escaped) = (1, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b':' | b'[' | b'{' if !in_text => n += 1,
            _ => {}
        }
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_types_and_none_is_ignored() {
        let mut fields = Fields::parse(br#"{"a": "x", "b": 3, "c": null, "d": ["y"], "e": 1}"#).unwrap();
        assert_eq!(fields.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.count("b", 2).unwrap_err().to_string(), "b: expected a whole number from 0 to 2");
        assert_eq!(fields.text("c").unwrap(), None);
        assert_eq!(fields.texts("d").unwrap(), ["y"]);
        assert_eq!(fields.end().unwrap_err().to_string(), "e: no such field is known here");
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        assert!(Fields::parse(b"[1]").unwrap_err().to_string().contains("no object"));
        assert!(Fields::parse(b"{\"a\": \xff}").unwrap_err().to_string().contains("no JSON"));
        let many = format!("[{}0]", "0,".repeat(VALUES_MAX));
        assert!(Fields::parse(many.as_bytes()).unwrap_err().to_string().contains("values"));
        let text = format!("{{\"a\": \"\\\"{}\"}}", ",".repeat(VALUES_MAX));
        assert!(Fields::parse(text.as_bytes()).is_ok(), "a text is one value");
        let deep = [b'['; 100_000];
        assert!(Fields::parse(&deep).unwrap_err().to_string().contains("recursion"));
    }
}
