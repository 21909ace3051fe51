//! What an image has beside its weights that shapes answers: its system message and its settings.
//!
//! They are what flag, environment and config file leave open. The settings of Ollama's images are those that the program
//! has too; others are named to whoever runs the model. A template in Ollama's own language is not read: a model answers with the
//! template that its weights carry, and where they carry none that is said.

use std::path::Path;

use ingle_engine::model_file::ModelFile;
use ingle_store::library::Meaning;
use ingle_store::registry::images::MANIFEST;
use ingle_store::registry::media::{GO_TEMPLATE, PARAMS, SYSTEM};
use serde_json::Value;

use crate::env::{Env, say};
use crate::exit::Failure;
use crate::model_ref;

/// Far above any system message.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Ollama's names of settings, and ours.
const NAMES: &[(&str, &str)] = &[
    ("temperature", "temperature"),
    ("top_k", "top-k"),
    ("top_p", "top-p"),
    ("min_p", "min-p"),
    ("typical_p", "typical-p"),
    ("repeat_penalty", "repeat-penalty"),
    ("repeat_last_n", "repeat-last-n"),
    ("presence_penalty", "presence-penalty"),
    ("frequency_penalty", "frequency-penalty"),
    ("seed", "seed"),
    ("num_ctx", "ctx"),
    ("num_predict", "max-tokens"),
];

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The system message.
    pub system: Option<String>,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// Settings by our names.
    pub settings: Vec<(&'static str, String)>,
    /// Settings that we have no name for.
    pub unknown: Vec<String>,
}

/// What the image called `reference` has beside its weights; nothing for models of other kinds.
pub fn of(reference: &str, env: &Env) -> Result<Beside, Failure> {
    if model_ref::is_on_disk(reference) {
        return Ok(Beside::default());
    }
    let Meaning::Here(path) = model_ref::meaning(reference, env)? else { return Ok(Beside::default()) };
    let text = |name: &str| read(&path.with_file_name(name));
    if !path.with_file_name(MANIFEST).is_file() {
        return Ok(Beside::default());
    }
    let has_own =
        || ModelFile::open(&path).ok().and_then(|f| f.template_source().ok()?.map(|_| ())).is_some();
    if path.with_file_name(GO_TEMPLATE).is_file() && !has_own() {
        say(format_args!(
            "{reference}: its template is in Ollama's language, which is not read, and its weights carry none; prompts go in as they are"
        ));
    }
    let params = text(PARAMS).map_or_else(Beside::default, |text| parse(&text));
    for name in &params.unknown {
        say(format_args!("{reference}: its setting {name} is not one of ours and does nothing"));
    }
    Ok(Beside { system: text(SYSTEM).filter(|s| !s.trim().is_empty()), ..params })
}

fn read(path: &Path) -> Option<String> {
    let is_small = std::fs::metadata(path).is_ok_and(|m| m.len() <= TEXT_BYTES_MAX);
    is_small.then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// Reads the JSON of settings.
fn parse(text: &str) -> Beside {
    let mut found = Beside::default();
    let Ok(Value::Object(params)) = serde_json::from_str(text) else {
        found.unknown.push("(no JSON object)".to_owned());
        return found;
    };
    for (name, value) in params {
        match (NAMES.iter().find(|(theirs, _)| *theirs == name), &value) {
            (_, Value::Array(texts)) if name == "stop" => {
                found.stop.extend(
                    texts.iter().filter_map(|t| t.as_str().filter(|t| !t.is_empty()).map(str::to_owned)),
                );
            }
            // Below zero: until the model ends it, which is ours too.
            (Some((_, "max-tokens")), Value::Number(n)) if n.as_i64().is_some_and(|n| n < 1) => {}
            (Some((_, ours)), Value::Number(n)) => found.settings.push((ours, n.to_string())),
            _ => found.unknown.push(name),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_get_our_names_and_others_are_told() {
        let found = parse(
            r#"{"temperature": 0.6, "stop": ["<|a|>", ""], "num_ctx": 4096, "num_predict": -1, "mirostat_x": 1}"#,
        );
        assert_eq!(found.settings, [("temperature", "0.6".to_owned()), ("ctx", "4096".to_owned())]);
        assert_eq!((found.stop, found.unknown), (vec!["<|a|>".to_owned()], vec!["mirostat_x".to_owned()]));
        assert_eq!(parse("[]").unknown.len(), 1);
    }

    #[test]
    fn every_name_of_ours_is_a_setting() {
        for (_, ours) in NAMES {
            assert!(crate::settings::SETTINGS.iter().any(|s| s.name == *ours), "{ours}");
        }
    }
}
