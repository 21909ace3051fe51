//! The shelf of settings: values that a flag, an `INGLE_*` variable or the config file may give, in that order.
//!
//! A setting listed in [`SETTINGS`] is at once a flag of the verbs that name it, a variable, a key of `config.toml` and a
//! line of `ingle config`. Those that shape a choice come from the engine's shelf, with their ranges and meanings; those
//! of the program are here. The value of a setting that takes several is kept as a JSON array of texts, which is also how a
//! variable gives several; a flag is repeated, a config file has an array. `layers.rs` finds what was said, `size.rs` reads bytes, `speculate.rs`
//! the one setting that has a grammar.

mod layers;
pub mod size;
pub mod speculate;

use std::sync::LazyLock;

use clap::{Arg, ArgAction, Command};
use ingle_engine::governor::PowerLimit;
use ingle_engine::model_file::Pack;
use ingle_engine::sample::{self, Params, SampleError};
use ingle_engine::spec::DRAFTS_MAX;
use ingle_kernel::simd::Kernels;
use ingle_model::kv;
use ingle_store::registry::image::OLLAMA_REGISTRY;

pub use layers::{Settings, Source};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes; the config key is the same, the variable `INGLE_` and the name in capitals with `_`.
    pub name: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// The default, or `None` where the program chooses (and `about` says how).
    pub default: Option<String>,
    /// One line.
    pub about: &'static str,
}

/// What may be written for a setting.
#[derive(Debug)]
pub enum Kind {
    /// A whole number in `min..=max`.
    Uint(u64, u64),
    /// One of some words.
    Choice(fn() -> Vec<&'static str>),
    /// What the engine's shelf says.
    Sampling(&'static sample::Setting),
    /// On or off; the flag alone means on.
    Switch,
    /// A text that this takes, under the name of what it stands for.
    Text(&'static str, fn(&str) -> Result<String, String>),
}

fn setting(name: &'static str, kind: Kind, default: Option<&str>, about: &'static str) -> Setting {
    Setting { name, kind, default: default.map(str::to_owned), about }
}

/// A setting of the engine's shelf.
fn sampling(of: &'static sample::Setting) -> Setting {
    let default = match of.default {
        _ if of.is_list() => Some(to_array(of.default)),
        [""] | [] => None,
        [value, ..] => Some((*value).to_owned()),
    };
    Setting { name: of.name, kind: Kind::Sampling(of), default, about: of.about }
}

const TOKENS_MAX: u64 = 1 << 31;

/// Every setting: those of the engine's shelf, then the program's own.
pub static SETTINGS: LazyLock<Vec<Setting>> =
    LazyLock::new(|| sample::settings().map(sampling).chain(own()).collect());

fn own() -> Vec<Setting> {
    vec![
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
            "pack",
            Kind::Choice(|| PACK.iter().map(|(name, _)| *name).collect()),
            Some("auto"),
            "Have weights in an order of our own, for speed: on: in memory, or mapped where a file has them so; kept: only where a file has them so; auto: on where there is room, else kept",
        ),
        setting(
            "packed-cache",
            Kind::Text("SIZE", |text| size::bytes_or_off(text).map(|_| text.trim().to_owned())),
            Some("8GiB"),
            "Let files of weights in that order have so much of the cache folder, and half of the free disk at most; servers write them; off: none",
        ),
        setting(
            "chunk",
            Kind::Uint(1, 1 << 16),
            None,
            "Prompt tokens per step; default: what fits a modest buffer. Changes speed and memory only",
        ),
        setting(
            "speculate",
            Kind::Text("HOW", speculate::check),
            Some("auto"),
            "Who guesses ahead, which changes speed and no answer: auto, off, or with commas some of form, lookup, words, draft:MODEL, exit:K",
        ),
        setting(
            "draft-tokens",
            Kind::Uint(1, DRAFTS_MAX as u64),
            None,
            "Guess N tokens at a time; default: as many as pay, by what is measured",
        ),
        setting(
            "ollama-registry",
            Kind::Text("URL", check_address),
            Some(OLLAMA_REGISTRY),
            "Where ollama:NAME is fetched from; plain http only where it is named here",
        ),
        setting(
            "route",
            Kind::Choice(|| vec!["auto", "local", "cloud"]),
            Some("auto"),
            "Where answers may come from: auto as route.toml has it, only from this device, or from elsewhere",
        ),
        setting(
            "network",
            Kind::Choice(|| vec!["auto", "metered", "unmetered"]),
            Some("auto"),
            "What rules take the network for, where there is one; auto: as the system has it; see ingle route explain",
        ),
        setting(
            "ledger",
            Kind::Switch,
            Some("true"),
            "Keep a row of what each answer took, in tokens, time, energy and bytes, never its text; see ingle ledger",
        ),
        setting(
            "feedback",
            Kind::Switch,
            Some("true"),
            "Keep ten numbers about an answer that somebody calls good or bad, never its text, and learn from them; see ingle route feedback",
        ),
        setting(
            "rated-power",
            Kind::Text("WATTS", check_watts),
            None,
            "The processor's rated power, as 15W: for energy where no sensor measures it; default: a wide guess per core",
        ),
        setting(
            "power-limit",
            Kind::Text("LIMIT", |text| PowerLimit::parse(text).map(|_| text.trim().to_owned())),
            None,
            "Take no more than so many watts (15W), or a part of the processor's time (50%); default: no limit",
        ),
        setting(
            "governor",
            Kind::Switch,
            Some("false"),
            "Compute less while the device is hot, its battery low, its user saving power or others need it; on with a power limit",
        ),
        setting(
            "at-rest",
            Kind::Choice(|| vec!["auto", "sealed", "plain"]),
            Some("auto"),
            "How files of what was said lie on disk: sealed with your key, or plain; auto: sealed where there is a key; see ingle key",
        ),
        setting(
            "offline",
            Kind::Switch,
            Some("false"),
            "Open no connection; what would need one fails. HF_HUB_OFFLINE does the same",
        ),
    ]
}

/// Flags that every verb takes.
pub const EVERYWHERE: &[&str] = &["offline"];
/// Flags that shape an answer.
pub fn sampling_names() -> Vec<&'static str> {
    sample::settings().map(|s| s.name).collect()
}

/// Flags that shape the computation.
pub const COMPUTE: &[&str] = &["kv", "threads", "tier", "pack", "packed-cache", "chunk"];

/// Flags of who guesses ahead.
pub const GUESSING: &[&str] = &["speculate", "draft-tokens"];

/// Flags of what an answer may take, and of the account of it.
pub const METERING: &[&str] =
    &["route", "network", "ledger", "feedback", "rated-power", "power-limit", "governor"];

/// The flag of what private files lie like.
pub const AT_REST: &[&str] = &["at-rest"];

/// That `text` is a power in watts.
fn check_watts(text: &str) -> Result<String, String> {
    match PowerLimit::parse(text) {
        Ok(PowerLimit::Microwatts(_)) => Ok(text.trim().to_owned()),
        _ => Err("expected watts, as 15W".to_owned()),
    }
}

/// What `pack` can be.
pub const PACK: &[(&str, Pack)] =
    &[("auto", Pack::Auto), ("on", Pack::On), ("kept", Pack::Kept), ("off", Pack::Off)];

impl Setting {
    /// The variable that may hold it.
    pub fn variable(&self) -> String {
        format!("INGLE_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Whether it takes several values, kept as a JSON array.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Sampling(s) if s.is_list())
    }

    fn arg(&'static self) -> Arg {
        use sample::Kind as K;
        let (value_name, may_be_negative) = match self.kind {
            Kind::Uint(..) => ("N", false),
            Kind::Choice(_) => ("NAME", false),
            Kind::Switch => ("BOOL", false),
            Kind::Text(name, _) => (name, false),
            Kind::Sampling(s) => match s.kind {
                K::Count(..) | K::Seed(_) => ("N", false),
                K::Number(..) => ("X", true),
                K::Texts(_) => ("TEXT", true),
                K::Biases(_) => ("TOKEN=BIAS", true),
                K::Stages(_) => ("NAMES", false),
            },
        };
        let mut about = self.about.to_owned();
        if let Some(default) = self.default.as_ref().filter(|d| *d != "[]") {
            about.push_str(&format!(" [default: {default}]"));
        }
        let arg = Arg::new(self.name).long(self.name).value_name(value_name).help(about);
        let arg = arg.allow_hyphen_values(may_be_negative);
        match self.kind {
            Kind::Choice(words) => arg.value_parser(clap::builder::PossibleValuesParser::new(words())),
            Kind::Sampling(s) if s.is_list() => arg
                .action(ArgAction::Append)
                .value_parser(|text: &str| check_sampling(s, &[text]).map(|()| text.to_owned())),
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
            Kind::Switch => {
                truth(text).map(|on| on.to_string()).ok_or_else(|| "expected true or false".to_owned())
            }
            Kind::Choice(words) => match words().into_iter().find(|w| w.eq_ignore_ascii_case(text)) {
                Some(word) => Ok(word.to_owned()),
                None => Err(format!("expected one of {}", words().join(", "))),
            },
            Kind::Text(_, check) => check(text),
            Kind::Sampling(s) if s.is_list() => {
                let values = if text.starts_with('[') { from_array(text)? } else { vec![text.to_owned()] };
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                check_sampling(s, &values).map(|()| to_array(&values))
            }
            Kind::Sampling(s) => check_sampling(s, &[text]).map(|()| text.to_owned()),
        }
    }
}

fn check_address(text: &str) -> Result<String, String> {
    ingle_net::Url::parse(text).map(|_| text.to_owned()).map_err(str::to_owned)
}

/// What is said for on or off, in any case.
pub fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Whether the engine takes these values, or what it expects.
fn check_sampling(setting: &sample::Setting, values: &[&str]) -> Result<(), String> {
    setting.set(&mut Params::usual(), values).map_err(|e| match e {
        SampleError::Param { expected, .. } => format!("expected {expected}"),
        other => other.to_string(),
    })
}

fn to_array(values: &[&str]) -> String {
    serde_json::to_string(values).expect("texts are JSON")
}

fn from_array(text: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(text).map_err(|e| format!("expected a JSON array of texts: {e}"))
}

/// Adds the flags of the settings called `names`.
pub fn args(command: Command, names: &[&str]) -> Command {
    names.iter().fold(command, |command, name| {
        let setting = SETTINGS.iter().find(|s| s.name == *name).expect("only listed settings are named");
        command.arg(setting.arg())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_their_own_check() {
        for s in SETTINGS.iter() {
            if let Some(default) = &s.default {
                assert_eq!(s.check(default).as_ref(), Ok(default), "{}", s.name);
            }
        }
    }

    #[test]
    fn named_groups_are_listed() {
        let _ = args(args(Command::new("x"), &sampling_names()), COMPUTE);
    }
}
