//! What an image has beside its weights that shapes answers: its template, its system message and its settings.
//!
//! A template in Jinja comes before the one that the weights carry: whoever made the image chose it. One in Go's language, as Ollama's images
//! have it, is not run: a model answers with the template that its weights carry, and where they carry none with that of the family whose
//! markers the image's template has, or with none, and either is said. System message and settings are what flag,
//! environment and config file leave open. The settings of Ollama's images are those that the program has too; others are named to whoever
//! runs the model.

use std::path::Path;

use ingle_engine::model_file::ModelFile;
use ingle_model::prompt::known;
use ingle_store::library::Meaning;
use ingle_store::registry::images::MANIFEST;
use ingle_store::registry::media::{GO_TEMPLATE, PARAMS, SYSTEM, TEMPLATE};
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
    let params = text(PARAMS).map_or_else(Beside::default, |text| parse(&text));
    for name in &params.unknown {
        say(format_args!("{reference}: its setting {name} is not one of ours and does nothing"));
    }
    Ok(Beside { system: text(SYSTEM).filter(|s| !s.trim().is_empty()), ..params })
}

/// Gives the model at `path`, which `reference` names, the template of the image that it is in; other models are as they were.
pub fn with_template(mut file: ModelFile, path: &Path, reference: &str) -> Result<ModelFile, Failure> {
    if path.is_dir() || !path.with_file_name(MANIFEST).is_file() {
        return Ok(file);
    }
    if let Some(source) = read(&path.with_file_name(TEMPLATE)) {
        file.set_template(source)?;
    } else if let Some(template) = read(&path.with_file_name(GO_TEMPLATE))
        && file.template_source()?.is_none()
    {
        match known::of_go(&template) {
            Some(family) => {
                say(format_args!(
                    "{reference}: its template is in Go's language, which is not run; by its markers it is {}'s, which is used",
                    family.name
                ));
                file.set_template(family.source.to_owned())?;
            }
            None => say(format_args!(
                "{reference}: its template is in Go's language, which is not run, and its markers are of no family that is known; prompts go in as they are"
            )),
        }
    }
    Ok(file)
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
