//! The chat template of a folder: a file of its own, or a field of the tokenizer's configuration.
//!
//! Here alone it is read; what renders it finds it among the contents, under GGUF's key.

use super::fields;
use crate::error::{Error, Result};

/// The file of its own.
pub const FILE: &str = "chat_template.jinja";

/// The template in `file`, chat_template.jinja, or else in `config`, tokenizer_config.json: one text, or several under names,
/// of which the one called `default` or the first counts.
///
/// # Errors
/// [`Error::Malformed`] when the one is no text in UTF-8, or the other no object.
pub fn chat_template(file: Option<&[u8]>, config: Option<&[u8]>) -> Result<Option<String>> {
    if let Some(bytes) = file {
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|_| Error::malformed(FILE, "invalid UTF-8", "a text in UTF-8"))?;
        return Ok(Some(text.to_owned()));
    }
    let Some(bytes) = config else { return Ok(None) };
    let config = fields::parse("tokenizer_config.json", bytes)?;
    let Some(value) = config.get("chat_template") else { return Ok(None) };
    let named =
        value.as_array().and_then(|all| all.iter().find(|one| one["name"] == "default").or(all.first()));
    Ok(named.map_or(value, |one| &one["template"]).as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_first_then_the_default_then_the_first() {
        let read = |file: Option<&str>, config: &str| {
            chat_template(file.map(str::as_bytes), Some(config.as_bytes())).unwrap()
        };
        let named =
            r#"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(read(Some("f"), named).as_deref(), Some("f"));
        assert_eq!(read(None, named).as_deref(), Some("d"));
        assert_eq!(read(None, &named.replace("default", "tools")).as_deref(), Some("r"));
        assert_eq!(read(None, r#"{"chat_template": "one"}"#).as_deref(), Some("one"));
        for none in
            ["{}", r#"{"chat_template": []}"#, r#"{"chat_template": [7]}"#, r#"{"chat_template": null}"#]
        {
            assert_eq!(read(None, none), None, "{none}");
        }
        assert_eq!(chat_template(None, None).unwrap(), None);
        assert!(chat_template(Some(b"\xff"), None).is_err());
        assert!(chat_template(None, Some(b"[")).is_err());
    }
}
