//! A request's body, taken apart field by field.
//!
//! Each field is taken by name with the type it must have; what nobody took is refused by name at the end. So no field is
//! ever ignored, and a field that this server can't honour is known as such. Objects within the body know where they are, so that
//! a refusal names the place: `messages[2].content[0].colour`.

use std::fmt::Display;

use serde_json::{Map, Value as Json};

use crate::refusal::Refusal;

/// The most values of a body, of some 100 bytes each once they are read: the ids of a long context, several times over.
const VALUES_MAX: usize = 1 << 20;

/// What is left of a JSON object.
#[derive(Debug)]
pub struct Fields {
    /// Where the object is in the body: nothing for the body itself, or as `messages[2].content[0]`.
    at: String,
    left: Map<String, Json>,
}

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
            Ok(Json::Object(left)) => Ok(Self { at: String::new(), left }),
            Ok(_) => Err(Refusal::request("the body is JSON but no object, expected one")),
            Err(e) => Err(Refusal::request(format!("the body is no JSON: {e}"))),
        }
    }

    /// The fields of the object at this place of the body.
    pub fn of(at: &str, value: Json) -> Result<Self, Refusal> {
        match value {
            Json::Object(left) => Ok(Self { at: at.to_owned(), left }),
            _ => Err(Refusal::field(at, format!("{at}: expected an object"))),
        }
    }

    /// No fields.
    pub fn none() -> Self {
        Self { at: String::new(), left: Map::new() }
    }

    /// The place of a field in the body; of the object itself where no name is given.
    pub fn path(&self, name: &str) -> String {
        match (self.at.as_str(), name) {
            ("", name) => name.to_owned(),
            (at, "") => at.to_owned(),
            (at, name) => format!("{at}.{name}"),
        }
    }

    /// The refusal of a field, or of the object itself where no name is given.
    pub fn refused(&self, name: &str, why: impl Display) -> Refusal {
        let path = self.path(name);
        Refusal::field(&path, format!("{path}: {why}"))
    }

    /// Takes a field; `null` counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        self.left.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Gives a field another name.
    pub fn rename(&mut self, name: &str, into: &str) {
        if let Some(value) = self.take(name) {
            self.left.insert(into.to_owned(), value);
        }
    }

    /// A field, as it stands; `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.left.get(name).filter(|value| !value.is_null())
    }

    /// Puts a field back, or under another name.
    pub fn put(&mut self, name: &str, value: Json) {
        self.left.insert(name.to_owned(), value);
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        self.typed(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// Takes a text that has to be there.
    pub fn needed_text(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| self.refused(name, "none given, expected a text"))
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

    /// Takes an object, to be taken apart in its turn.
    pub fn object(&mut self, name: &str) -> Result<Option<Self>, Refusal> {
        let path = self.path(name);
        self.take(name).map(|value| Self::of(&path, value)).transpose()
    }

    /// Takes an array of objects.
    pub fn objects(&mut self, name: &str) -> Result<Option<Vec<Self>>, Refusal> {
        let path = self.path(name);
        match self.take(name) {
            None => Ok(None),
            Some(Json::Array(items)) => {
                let of = |(i, item)| Self::of(&format!("{path}[{i}]"), item);
                items.into_iter().enumerate().map(of).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(self.refused(name, "expected an array of objects")),
        }
    }

    /// Takes fields that may be given and change nothing, which the documentation says of each.
    pub fn harmless(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    /// Refuses a field that this server does not honour, unless it says what happens anyway.
    pub fn unsupported(&mut self, name: &str, fine: &[Json]) -> Result<(), Refusal> {
        match self.take(name) {
            Some(value) if !fine.contains(&value) => {
                Err(self.refused(name, "this server does not support it"))
            }
            _ => Ok(()),
        }
    }

    /// The names of what is left.
    pub fn names(&self) -> Vec<String> {
        self.left.keys().cloned().collect()
    }

    /// Refuses what nobody took.
    pub fn end(self) -> Result<(), Refusal> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.refused(name, "no such field is known here")),
        }
    }

    fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&Json) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| self.refused(name, format_args!("expected {expected}")))
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
    fn what_is_within_is_refused_with_its_place() {
        let mut fields = Fields::parse(br#"{"a": [{"b": {"c": 1}}, {"d": 2}], "e": [1], "f": 3}"#).unwrap();
        let mut items = fields.objects("a").unwrap().unwrap();
        let error = items.remove(1).end().unwrap_err();
        assert_eq!(error.to_string(), "a[1].d: no such field is known here");
        assert!(matches!(error, Refusal::Invalid { param: Some(param), .. } if param == "a[1].d"));
        let mut inner = items[0].object("b").unwrap().unwrap();
        assert_eq!(inner.text("c").unwrap_err().to_string(), "a[0].b.c: expected a text");
        assert_eq!(inner.refused("", "no").to_string(), "a[0].b: no");
        assert_eq!(fields.objects("e").unwrap_err().to_string(), "e[0]: expected an object");
        assert_eq!(fields.objects("f").unwrap_err().to_string(), "f: expected an array of objects");
        let missing = Fields::none().needed_text("x").unwrap_err().to_string();
        assert_eq!(missing, "x: none given, expected a text");
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
