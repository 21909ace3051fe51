//! The shelf of settings: values that a flag, an `INGLE_*` variable or the config file may give, in that order.
//!
//! A setting listed in [`SETTINGS`] is at once a flag of the verbs that name it, a variable, a key of `config.toml` and a
//! line of `ingle config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use ingle_kernel::simd::Kernels;
use ingle_model::kv;

use crate::exit::Failure;
use crate::near::nearest;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes; the config key is the same, the variable `INGLE_` and the name in capitals with `_`.
    pub name: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// The default, or `None` where the program chooses (and `about` says how).
    pub default: Option<&'static str>,
    /// One line.
    pub about: &'static str,
}

/// What may be written for a setting.
#[derive(Debug)]
pub enum Kind {
    /// A whole number in `min..=max`.
    Uint(u64, u64),
    /// A number in `min..=max`.
    Float(f64, f64),
    /// One of some words.
    Choice(fn() -> Vec<&'static str>),
    /// On or off; the flag alone means on.
    Switch,
}

const fn setting(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    about: &'static str,
) -> Setting {
    Setting { name, kind, default, about }
}

const TOKENS_MAX: u64 = 1 << 31;

/// Every setting.
pub static SETTINGS: &[Setting] = &[
    setting(
        "temperature",
        Kind::Float(0.0, 100.0),
        Some("0.8"),
        "How freely to choose; 0 takes the best token, always",
    ),
    setting("top-k", Kind::Uint(0, TOKENS_MAX), Some("40"), "Choose among the K best tokens; 0: all"),
    setting(
        "top-p",
        Kind::Float(1e-9, 1.0),
        Some("0.95"),
        "Choose among the best tokens that together have probability P; 1: all",
    ),
    setting(
        "min-p",
        Kind::Float(0.0, 1.0),
        Some("0.05"),
        "Choose among tokens at least P times as probable as the best; 0: all",
    ),
    setting(
        "repeat-penalty",
        Kind::Float(1e-3, 100.0),
        Some("1"),
        "Divide the logits of recent tokens (multiply negative ones); 1: off",
    ),
    setting(
        "presence-penalty",
        Kind::Float(-100.0, 100.0),
        Some("0"),
        "Subtract from the logit of each recent token; 0: off",
    ),
    setting(
        "frequency-penalty",
        Kind::Float(-100.0, 100.0),
        Some("0"),
        "Subtract from a recent token's logit for each time it occurs; 0: off",
    ),
    setting(
        "repeat-last-n",
        Kind::Uint(0, TOKENS_MAX),
        Some("64"),
        "How many of the last tokens, the prompt's included, are recent",
    ),
    setting("seed", Kind::Uint(0, u64::MAX), None, "Seed of the choices; default: another one each time"),
    setting(
        "max-tokens",
        Kind::Uint(1, TOKENS_MAX),
        None,
        "End an answer after N tokens; default: when the model or the context ends it",
    ),
    setting(
        "ctx",
        Kind::Uint(1, TOKENS_MAX),
        None,
        "Context in tokens; default: the model's, 8192 at most, less if memory is short",
    ),
    setting(
        "overflow",
        Kind::Choice(|| vec!["error", "drop-oldest"]),
        Some("error"),
        "What to do when the text does not fit the context",
    ),
    setting("kv", Kind::Choice(|| kv::FORMATS.to_vec()), Some("f16"), "Format of the KV cache"),
    setting("threads", Kind::Uint(1, 1024), None, "Threads that compute; default: one per core"),
    setting(
        "tier",
        Kind::Choice(|| Kernels::names().collect()),
        None,
        "Kernels to use; exact: f32 arithmetic on dequantised weights; default: the fastest here",
    ),
    setting(
        "chunk",
        Kind::Uint(1, 1 << 16),
        None,
        "Prompt tokens per step; default: what fits a modest buffer. Changes speed and memory only",
    ),
    setting(
        "offline",
        Kind::Switch,
        Some("false"),
        "Open no connection; what would need one fails. HF_HUB_OFFLINE does the same",
    ),
];

/// Flags that every verb takes.
pub const EVERYWHERE: &[&str] = &["offline"];
/// Flags that shape an answer.
pub const SAMPLING: &[&str] = &[
    "temperature",
    "top-k",
    "top-p",
    "min-p",
    "repeat-penalty",
    "presence-penalty",
    "frequency-penalty",
    "repeat-last-n",
    "seed",
];
/// Flags that shape the computation.
pub const COMPUTE: &[&str] = &["kv", "threads", "tier", "chunk"];

impl Setting {
    /// The variable that may hold it.
    pub fn variable(&self) -> String {
        format!("INGLE_{}", self.name.to_uppercase().replace('-', "_"))
    }

    fn arg(&'static self) -> Arg {
        let value_name = match self.kind {
            Kind::Uint(..) => "N",
            Kind::Float(..) => "X",
            Kind::Choice(_) => "NAME",
            Kind::Switch => "BOOL",
        };
        let mut about = self.about.to_owned();
        if let Some(default) = self.default {
            about.push_str(&format!(" [default: {default}]"));
        }
        let arg = Arg::new(self.name).long(self.name).value_name(value_name).help(about);
        let arg = arg.allow_hyphen_values(matches!(self.kind, Kind::Float(..)));
        match self.kind {
            Kind::Choice(words) => arg.value_parser(clap::builder::PossibleValuesParser::new(words())),
            Kind::Switch => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(|text: &str| self.check(text)),
            _ => arg.value_parser(|text: &str| self.check(text)),
        }
    }

    /// The value as it is kept, or what was expected.
    fn check(&self, text: &str) -> Result<String, String> {
        match &self.kind {
            Kind::Uint(min, max) => match text.parse::<u64>() {
                Ok(n) if (min..=max).contains(&&n) => Ok(n.to_string()),
                _ => Err(format!("expected a whole number from {min} to {max}")),
            },
            Kind::Float(min, max) => match text.parse::<f64>() {
                Ok(x) if (min..=max).contains(&&x) => Ok(text.to_owned()),
                _ => Err(format!("expected a number from {min} to {max}")),
            },
            Kind::Switch => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok("true".to_owned()),
                "false" | "no" | "off" | "0" => Ok("false".to_owned()),
                _ => Err("expected true or false".to_owned()),
            },
            Kind::Choice(words) => match words().into_iter().find(|w| w.eq_ignore_ascii_case(text)) {
                Some(word) => Ok(word.to_owned()),
                None => Err(format!("expected one of {}", words().join(", "))),
            },
        }
    }
}

/// Adds the flags of the settings called `names`.
pub fn args(command: Command, names: &[&str]) -> Command {
    names.iter().fold(command, |command, name| {
        let setting = SETTINGS.iter().find(|s| s.name == *name).expect("only listed settings are named");
        command.arg(setting.arg())
    })
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Variable(String),
    /// This config file.
    File(PathBuf),
    /// Nobody gave one.
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The values of all settings for one command.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Settings {
    /// Layers the command line over the environment over the file over the defaults.
    ///
    /// # Errors
    /// A usage failure that names the variable, or the file and key, whose value is wrong.
    pub fn layer(
        matches: &ArgMatches,
        var: impl Fn(&str) -> Option<String>,
        path: &Path,
    ) -> Result<Self, Failure> {
        let file = read_file(path)?;
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let flag = matches.try_get_one::<String>(setting.name).ok().flatten();
            let variable = setting.variable();
            let found = if let Some(value) = flag {
                Some((value.clone(), Source::Flag))
            } else if let Some(value) = var(&variable).filter(|v| !v.is_empty()) {
                let value = setting.check(&value).map_err(|expected| {
                    Failure::usage(format!("environment variable {variable}: {value:?}, {expected}"))
                })?;
                Some((value, Source::Variable(variable)))
            } else if let Some(value) = file.get(setting.name) {
                let checked = setting.check(value).map_err(|expected| {
                    Failure::usage(format!("{}: {} = {value:?}, {expected}", path.display(), setting.name))
                })?;
                Some((checked, Source::File(path.to_owned())))
            } else {
                setting.default.map(|value| (value.to_owned(), Source::Default))
            };
            values.extend(found.map(|found| (setting.name, found)));
        }
        Ok(Self { values })
    }

    /// The value and its source; `None` where nobody gave one and the program chooses.
    pub fn get(&self, name: &str) -> Option<(&str, &Source)> {
        self.values.get(name).map(|(value, source)| (value.as_str(), source))
    }

    /// The text of a setting.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|(value, _)| value)
    }

    /// The number of a [`Kind::Uint`].
    pub fn uint(&self, name: &str) -> Option<u64> {
        self.text(name).map(|value| value.parse().expect("checked when it was read"))
    }

    /// The same for counts.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.uint(name).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// The state of a [`Kind::Switch`].
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The number of a [`Kind::Float`] with a default.
    pub fn float(&self, name: &str) -> f32 {
        self.text(name).expect("it has a default").parse().expect("checked when it was read")
    }
}

/// The config file as texts by key; empty when there is none.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Failure::file(path, &e)),
    };
    parse_file(&text).map_err(|said| Failure::usage(format!("{}: {said}", path.display())))
}

fn parse_file(text: &str) -> Result<BTreeMap<String, String>, String> {
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| e.to_string().trim_end().to_owned())?;
    table
        .into_iter()
        .map(|(key, value)| {
            // Both spellings, as TOML users expect `top_k` and flag users `top-k`.
            let name = key.replace('_', "-");
            if !SETTINGS.iter().any(|s| s.name == name) {
                let hint = nearest(&name, SETTINGS.iter().map(|s| s.name));
                let hint = hint.map(|h| format!("; did you mean {h}?")).unwrap_or_default();
                return Err(format!("unknown key {key}{hint}"));
            }
            match value {
                toml::Value::String(s) => Ok((name, s)),
                toml::Value::Integer(n) => Ok((name, n.to_string())),
                toml::Value::Float(x) => Ok((name, x.to_string())),
                toml::Value::Boolean(b) => Ok((name, b.to_string())),
                other => Err(format!(
                    "{key} is a {}, expected a number, a text or a truth value",
                    other.type_str()
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_their_own_check() {
        for s in SETTINGS {
            if let Some(default) = s.default {
                assert_eq!(s.check(default).as_deref(), Ok(default), "{}", s.name);
            }
        }
    }

    #[test]
    fn named_groups_are_listed() {
        let _ = args(args(Command::new("x"), SAMPLING), COMPUTE);
    }

    #[test]
    fn files_may_use_either_spelling_and_unknown_keys_are_named() {
        let file = parse_file("top_k = 5\nmin-p = 0.5\nkv = \"q8_0\"").unwrap();
        assert_eq!(file["top-k"], "5");
        assert_eq!(file["min-p"], "0.5");
        assert_eq!(file["kv"], "q8_0");
        assert_eq!(
            parse_file("tempratur = 1").unwrap_err(),
            "unknown key tempratur; did you mean temperature?"
        );
        assert!(parse_file("kv = []").unwrap_err().contains("expected a number, a text"));
    }

    #[test]
    fn flags_beat_variables_beat_the_file_beats_defaults() {
        let dir = std::env::temp_dir().join(format!("ingle-settings-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("config.toml");
        std::fs::write(&path, "top_k = 1\ntop_p = 0.1\nmin_p = 0.1\n").unwrap();
        let command = args(Command::new("x"), SAMPLING);
        let matches = command.try_get_matches_from(["x", "--top-k", "3"]).unwrap();
        let var = |name: &str| ["INGLE_TOP_K", "INGLE_TOP_P"].contains(&name).then(|| "0.2".to_owned());
        let s = Settings::layer(&matches, var, &path).unwrap();
        assert_eq!(s.get("top-k"), Some(("3", &Source::Flag)));
        assert_eq!(s.get("top-p"), Some(("0.2", &Source::Variable("INGLE_TOP_P".into()))));
        assert_eq!(s.get("min-p"), Some(("0.1", &Source::File(path.clone()))));
        assert_eq!(s.get("temperature"), Some(("0.8", &Source::Default)));
        assert_eq!(s.get("seed"), None);
        let bad = |name: &str| (name == "INGLE_TOP_K").then(|| "many".to_owned());
        let none = Command::new("x").try_get_matches_from(["x"]).unwrap();
        let said = Settings::layer(&none, bad, &path).unwrap_err().message;
        assert!(said.contains("INGLE_TOP_K") && said.contains("whole number"), "{said}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
