//! Where the value of a setting comes from: the command line, else the environment, else the config file, else the default.
//!
//! What a variable or the file says is checked when it is read, as clap checks flags; the rest of the program asks [`Settings`]
//! and needs no second look. The caller reads the file, so that nothing here touches the system: `fuzz` gives it any text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use ingle_engine::near::nearest;
use ingle_engine::sample::{self, Params};

use super::{SETTINGS, Setting, from_array, to_array};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Variable(String),
    /// This config file.
    File(PathBuf),
    /// The model that is run has it beside its weights.
    Model,
    /// Nobody gave one.
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Model => f.write_str("model"),
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
    /// Layers the command line over the environment over the file, its path and text, over the defaults.
    ///
    /// # Errors
    /// A sentence that names the variable, or the file and key, whose value is wrong.
    pub fn layer(
        matches: &ArgMatches,
        var: impl Fn(&str) -> Option<String>,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, String> {
        let path = file.map_or(Path::new(""), |(path, _)| path);
        let file = file.map_or_else(|| Ok(BTreeMap::new()), |(_, text)| parse_file(text));
        let file = file.map_err(|said| format!("{}: {said}", path.display()))?;
        let mut values = BTreeMap::new();
        for setting in SETTINGS.iter() {
            let flag = from_flag(matches, setting);
            let variable = setting.variable();
            let found = if let Some(value) = flag {
                Some((value, Source::Flag))
            } else if let Some(value) = var(&variable).filter(|v| !v.is_empty()) {
                let value = setting
                    .check(&value)
                    .map_err(|expected| format!("environment variable {variable}: {value:?}, {expected}"))?;
                Some((value, Source::Variable(variable)))
            } else if let Some(value) = file.get(setting.name) {
                let checked = setting.check(value).map_err(|expected| {
                    format!("{}: {} = {value:?}, {expected}", path.display(), setting.name)
                })?;
                Some((checked, Source::File(path.to_owned())))
            } else {
                setting.default.clone().map(|value| (value, Source::Default))
            };
            values.extend(found.map(|found| (setting.name, found)));
        }
        Ok(Self { values })
    }

    /// Takes the model's own value for a setting that nobody gave.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn prefer(&mut self, name: &str, value: &str) -> Result<(), String> {
        let setting = SETTINGS.iter().find(|s| s.name == name).expect("only listed settings are named");
        if self.get(name).is_none_or(|(_, source)| *source == Source::Default) {
            self.values.insert(setting.name, (setting.check(value)?, Source::Model));
        }
        Ok(())
    }

    /// The value and its source; `None` where nobody gave one and the program chooses.
    pub fn get(&self, name: &str) -> Option<(&str, &Source)> {
        self.values.get(name).map(|(value, source)| (value.as_str(), source))
    }

    /// The text of a setting.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|(value, _)| value)
    }

    /// The number of a [`super::Kind::Uint`].
    pub fn uint(&self, name: &str) -> Option<u64> {
        self.text(name).map(|value| value.parse().expect("checked when it was read"))
    }

    /// The same for counts.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.uint(name).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// The state of a [`super::Kind::Switch`].
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// How tokens are chosen; `seed` where nobody gave one.
    pub fn params(&self, seed: impl FnOnce() -> u64) -> Params {
        let mut params = Params::usual();
        for setting in sample::settings() {
            let Some(text) = self.text(setting.name) else { continue };
            let values = if setting.is_list() { from_array(text) } else { Ok(vec![text.to_owned()]) };
            let values = values.expect("checked when it was read");
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            setting.set(&mut params, &values).expect("checked when it was read");
        }
        if self.text("seed").is_none() {
            params.seed = seed();
        }
        params
    }
}

/// What the command line says, all values of a list together.
fn from_flag(matches: &ArgMatches, setting: &Setting) -> Option<String> {
    let mut values = matches.try_get_many::<String>(setting.name).ok()??;
    if setting.is_list() {
        return Some(to_array(&values.map(String::as_str).collect::<Vec<_>>()));
    }
    values.next().cloned()
}

/// The config file as texts by key.
fn parse_file(text: &str) -> Result<BTreeMap<String, String>, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let said = e.message().replace('\n', ", ");
        format!("line {}: {said}", before.matches('\n').count() + 1)
    })?;
    table
        .into_iter()
        .map(|(key, value)| {
            // Both spellings, as TOML users expect `top_k` and flag users `top-k`.
            let name = key.replace('_', "-");
            let Some(setting) = SETTINGS.iter().find(|s| s.name == name) else {
                let hint = nearest(&name, SETTINGS.iter().map(|s| s.name));
                let hint = hint.map(|h| format!("; did you mean {h}?")).unwrap_or_default();
                return Err(format!("unknown key {key:?}{hint}"));
            };
            match value {
                toml::Value::Array(values) if setting.is_list() => {
                    let texts: Option<Vec<&str>> = values.iter().map(toml::Value::as_str).collect();
                    let texts = texts.ok_or_else(|| format!("{key} has other entries, expected texts"))?;
                    Ok((name, to_array(&texts)))
                }
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
    use clap::Command;

    use super::super::{args, sampling_names};
    use super::*;

    #[test]
    fn files_may_use_either_spelling_and_unknown_keys_are_named() {
        let file = parse_file("top_k = 5\nmin-p = 0.5\nkv = \"q8_0\"").unwrap();
        assert_eq!(file["top-k"], "5");
        assert_eq!(file["min-p"], "0.5");
        assert_eq!(file["kv"], "q8_0");
        assert_eq!(
            parse_file("tempratur = 1").unwrap_err(),
            "unknown key \"tempratur\"; did you mean temperature?"
        );
        assert_eq!(parse_file("\"a\\nb\" = 1").unwrap_err(), "unknown key \"a\\nb\"");
        let torn = parse_file("kv = \"f16\"\ntop_k = \"").unwrap_err();
        assert!(torn.starts_with("line 2: ") && !torn.contains('\n'), "{torn}");
        assert!(parse_file("kv = []").unwrap_err().contains("expected a number, a text"));
    }

    #[test]
    fn a_list_comes_from_repeated_flags_a_json_variable_or_an_array_in_the_file() {
        let command = args(Command::new("x"), &sampling_names());
        let said = ["x", "--banned-string", "a\"b", "--banned-string", "-c", "--logit-bias", "7=-inf"];
        let matches = command.try_get_matches_from(said).unwrap();
        let var = |name: &str| (name == "INGLE_DRY_SEQUENCE_BREAKER").then(|| "[\".\", \"!\"]".to_owned());
        let s = Settings::layer(&matches, var, None).unwrap();
        let params = s.params(|| 42);
        assert_eq!(params.banned_strings, ["a\"b", "-c"]);
        assert_eq!(params.logit_bias.len(), 1);
        assert_eq!(params.dry_sequence_breakers, [".", "!"]);
        assert_eq!(params.seed, 42);
        let file = parse_file("banned_string = [\"x\", \"y\"]\nlogit-bias = \"3=1\"").unwrap();
        assert_eq!((&*file["banned-string"], &*file["logit-bias"]), ("[\"x\",\"y\"]", "3=1"));
        assert!(parse_file("banned-string = [1]").unwrap_err().contains("expected texts"));
        assert!(parse_file("top-k = [1]").is_err());
    }

    #[test]
    fn nothing_said_is_what_the_engine_calls_usual() {
        let matches = Command::new("x").try_get_matches_from(["x"]).unwrap();
        let s = Settings::layer(&matches, |_| None, None).unwrap();
        assert_eq!(s.params(|| 0), Params::usual());
    }

    #[test]
    fn flags_beat_variables_beat_the_file_beats_defaults() {
        let path = Path::new("config.toml");
        let file = Some((path, "top_k = 1\ntop_p = 0.1\nmin_p = 0.1\n"));
        let command = args(Command::new("x"), &sampling_names());
        let matches = command.try_get_matches_from(["x", "--top-k", "3"]).unwrap();
        let var = |name: &str| ["INGLE_TOP_K", "INGLE_TOP_P"].contains(&name).then(|| "0.2".to_owned());
        let s = Settings::layer(&matches, var, file).unwrap();
        assert_eq!(s.get("top-k"), Some(("3", &Source::Flag)));
        assert_eq!(s.get("top-p"), Some(("0.2", &Source::Variable("INGLE_TOP_P".into()))));
        assert_eq!(s.get("min-p"), Some(("0.1", &Source::File(path.to_owned()))));
        assert_eq!(s.get("temperature"), Some(("0.8", &Source::Default)));
        assert_eq!(s.get("seed"), None);
        let bad = |name: &str| (name == "INGLE_TOP_K").then(|| "many".to_owned());
        let none = Command::new("x").try_get_matches_from(["x"]).unwrap();
        let said = Settings::layer(&none, bad, file).unwrap_err();
        assert!(said.contains("INGLE_TOP_K") && said.contains("whole number"), "{said}");
    }
}
