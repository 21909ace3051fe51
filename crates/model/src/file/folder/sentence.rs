//! What the sentence-transformers library writes into a folder, as keys: how a text's vectors become one.
//!
//! `modules.json` lists what a text goes through: the model, a pooling with a configuration of its own in a folder beside it
//! (`1_Pooling/config.json`), and perhaps the division by length. `sentence_bert_config.json` says how long texts may be. Other
//! modules, poolings by mean weights or maxima and prompts are left out: the first two are refused by name.

use serde::Deserialize;

use super::draft::Draft;
use super::fields::{self, Fields};
use crate::error::{Error, Result};
use crate::pooling::{self, Pooling};

/// The list of modules.
pub const MODULES: &str = "modules.json";
/// A module's configuration, in the module's folder.
pub const MODULE_CONFIG: &str = "config.json";
/// The file that says how long texts may be.
pub const LIMITS: &str = "sentence_bert_config.json";

/// Far above the few hundred of real ones.
const BYTES_MAX: usize = 1 << 20;
const MODULES_MAX: usize = 16;

/// The files, read.
#[derive(Debug, Default)]
pub struct Sentence {
    /// [`MODULES`]
    pub modules: Option<Vec<u8>>,
    /// [`MODULE_CONFIG`] in the folder that [`pooling_folder`] names.
    pub pooling: Option<Vec<u8>>,
    /// [`LIMITS`]
    pub limits: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    r#type: String,
}

impl Module {
    /// The last part of its type: `Pooling`.
    fn kind(&self) -> &str {
        self.r#type.rsplit('.').next().unwrap_or_default()
    }
}

fn modules(bytes: &[u8]) -> Result<Vec<Module>> {
    if bytes.len() > BYTES_MAX {
        let found = format!("{} bytes", bytes.len());
        return Err(Error::malformed(MODULES, found, format!("at most {BYTES_MAX}")));
    }
    let list: Vec<Module> = serde_json::from_slice(bytes)
        .map_err(|e| Error::malformed(MODULES, e, "a list of modules with path and type"))?;
    if list.len() > MODULES_MAX {
        let found = format!("{} modules", list.len());
        return Err(Error::malformed(MODULES, found, format!("at most {MODULES_MAX}")));
    }
    Ok(list)
}

/// The folder of the pooling's configuration that `modules`, [`MODULES`], names.
///
/// # Errors
/// [`Error::Malformed`] when it is no such list, or names anything but a folder beside it.
pub fn pooling_folder(bytes: &[u8]) -> Result<Option<String>> {
    let Some(module) = modules(bytes)?.into_iter().find(|module| module.kind() == "Pooling") else {
        return Ok(None);
    };
    let is_beside = !module.path.is_empty()
        && !module.path.starts_with('.')
        && !module.path.contains(['/', '\\', ':', '\0']);
    if !is_beside {
        let found = format!("path {:?}", module.path);
        return Err(Error::malformed(MODULES, found, "the name of a folder beside it"));
    }
    Ok(Some(module.path))
}

/// Writes the keys that `files` say.
pub fn write(draft: &mut Draft<'_>, files: &Sentence) -> Result<()> {
    if let Some(bytes) = &files.modules {
        let list = modules(bytes)?;
        let known = ["Transformer", "Pooling", "Normalize"];
        if let Some(other) = list.iter().find(|module| !known.contains(&module.kind())) {
            return Err(Error::unsupported(MODULES, format!("module {:?}", other.r#type), known));
        }
        let normalises = list.iter().any(|module| module.kind() == "Normalize");
        draft.bool(pooling::NORMALISED, normalises)?;
    }
    if let Some(bytes) = &files.pooling {
        let map = fields::parse("the pooling's config.json", bytes)?;
        let pooling = pooling(&Fields::of_file("the pooling's config.json", &map))?;
        if !draft.has(pooling::TYPE) {
            draft.uint(pooling::TYPE, pooling.number())?;
        }
    }
    if let Some(bytes) = &files.limits {
        let map = fields::parse(LIMITS, bytes)?;
        if let Some(n) = Fields::of_file(LIMITS, &map).uint("max_seq_length")? {
            draft.uint(pooling::TOKENS_MAX, n)?;
        }
    }
    Ok(())
}

/// The pooling, in either of two ways that files say it: by name, or by a field for each.
fn pooling(config: &Fields<'_>) -> Result<Pooling> {
    const NAMES: [(&str, Pooling); 3] =
        [("mean", Pooling::Mean), ("cls", Pooling::Cls), ("lasttoken", Pooling::Last)];
    let name = match config.str("pooling_mode")? {
        Some(name) => name.to_owned(),
        None => {
            let on = config.map.iter().filter(|(_, value)| **value == true);
            let modes: Vec<&str> = on.filter_map(|(name, _)| name.strip_prefix("pooling_mode_")).collect();
            // Fields end in what is pooled: cls_token, mean_tokens; but lasttoken.
            modes
                .iter()
                .map(|mode| mode.trim_end_matches("_tokens").trim_end_matches("_token"))
                .collect::<Vec<_>>()
                .join(" and ")
        }
    };
    let known = NAMES.iter().find(|(mode, _)| *mode == name);
    known.map(|(_, pooling)| *pooling).ok_or_else(|| {
        let part = config.of("pooling_mode");
        Error::unsupported(part, format!("{name:?}"), NAMES.map(|(mode, _)| mode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(json: &str) -> Result<Pooling> {
        let map = fields::parse("f", json.as_bytes())?;
        pooling(&Fields::of_file("f", &map))
    }

    #[test]
    fn poolings_of_old_and_new_files_are_read_and_others_refused() {
        let old = r#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#;
        assert_eq!(mode(old), Ok(Pooling::Mean));
        assert_eq!(mode(r#"{"pooling_mode_cls_token": true}"#), Ok(Pooling::Cls));
        assert_eq!(mode(r#"{"pooling_mode_lasttoken": true}"#), Ok(Pooling::Last));
        assert_eq!(mode(r#"{"pooling_mode": "cls", "include_prompt": true}"#), Ok(Pooling::Cls));
        for other in [
            r#"{"pooling_mode": "max"}"#,
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
            r#"{"pooling_mode_weightedmean_tokens": true}"#,
            r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#,
            r"{}",
            r#"{"pooling_mode": 3}"#,
        ] {
            assert!(mode(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_folder_is_named_beside_the_list_or_refused() {
        let named = |path: &str| {
            let transformer = r#"{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}"#;
            let json = format!(
                r#"[{transformer}, {{"path": {path:?}, "type": "sentence_transformers.models.Pooling"}}]"#
            );
            pooling_folder(json.as_bytes())
        };
        assert_eq!(named("1_Pooling"), Ok(Some("1_Pooling".into())));
        for path in ["", ".", "..", "../1_Pooling", "/etc", "a\\b", "c:", "a/b"] {
            assert!(named(path).is_err(), "{path}");
        }
        assert_eq!(pooling_folder(b"[]"), Ok(None));
        let many = format!("[{}]", vec![r#"{"type": "Pooling"}"#; MODULES_MAX + 1].join(","));
        for bytes in [&b"{}"[..], b"[{}]", b"[", many.as_bytes()] {
            assert!(pooling_folder(bytes).is_err());
        }
    }
}
