//! The policy file: endpoints, budgets and rules in TOML.
//!
//! ```toml
//! [[endpoint]]
//! name = "workstation"                 # what logs and answers call it
//! url = "http://192.168.1.20:8000/v1"  # https, or http for a machine of one's own
//! api = "openai"                       # or "anthropic"
//! model = "qwen3-32b"
//! key = "env:WORKSTATION_KEY"          # or "file:PATH"; left out where none is needed
//! ctx = 32768
//! tools = true
//! right = 0.9                          # how often its answers are right, as far as is known
//!
//! [budget]                             # per day; what is left out is not limited
//! money = 0.50
//! tokens = 200000
//!
//! [worth]                              # when asking elsewhere pays
//! right = 0.02                         # what a right answer in place of a wrong one is worth, in the same money
//!
//! [abort]                              # gives up an answer from here whose tokens are unsure; without this none is
//! after_tokens = 16                    # not before so many tokens
//! part = 0.25                          # this part of them
//! below_nats = 0.5                     # stands above the best other token by less than this
//!
//! [[rule]]
//! name = "work stays at work"
//! when = { app = ["mail"], hours = "08:00-18:00" }
//! then = "local"                       # local, ask, redact or allow
//! ```
//!
//! Keys are never in the file itself, and this crate does not fetch them: who reads the environment resolves [`Key`].

use std::fmt;

use ingle_net::Url;
use serde::{Deserialize, Deserializer, de};

use super::{BUILT_IN, Rule};
use crate::confidence::Rule as Abort;
use crate::privacy::Class;

/// The longest policy file.
const BYTES_MAX: usize = 1 << 20;
/// The most entries of a list.
const ENTRIES_MAX: usize = 1000;

/// Endpoints, budget and rules, those that are always there included.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Where requests may go, in the order they are tried.
    pub endpoints: Vec<Endpoint>,
    /// What may be spent in a day.
    pub budget: Budget,
    /// When asking elsewhere pays.
    pub worth: Worth,
    /// When an answer from here is given up while it comes, for one from elsewhere.
    pub abort: Option<Abort>,
    /// Rules, the user's first.
    pub rules: Vec<Rule>,
}

/// A place that answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// What logs and answers call it.
    pub name: String,
    /// The address that the API's paths are added to.
    #[serde(deserialize_with = "address")]
    pub url: Url,
    /// How it is spoken to.
    #[serde(default)]
    pub api: Wire,
    /// The model that is asked for.
    pub model: String,
    /// Where its key is.
    #[serde(default)]
    pub key: Option<Key>,
    /// Tokens of prompt and answer together.
    #[serde(default = "default_ctx")]
    pub ctx: usize,
    /// Whether it calls tools.
    #[serde(default)]
    pub tools: bool,
    /// BCP 47 tags of the languages it speaks; empty where nobody says.
    #[serde(default)]
    pub languages: Vec<String>,
    /// How often its answers are right.
    #[serde(default = "default_right")]
    pub right: f64,
}

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// `POST URL/chat/completions`
    #[default]
    OpenAi,
    /// `POST URL/messages`
    Anthropic,
}

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// In this variable of the environment.
    Variable(String),
    /// In this file.
    File(String),
}

/// What may be spent in a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// In the currency of the ledger's price table.
    pub money: Option<f64>,
    /// Tokens of prompts and answers.
    pub tokens: Option<u64>,
}

/// When asking elsewhere pays.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worth {
    /// What a right answer in place of a wrong one is worth, in the currency of the ledger's price table.
    pub right: f64,
    /// The gain that the prompt alone must promise for the local attempt to be left out, 0 to 1; above 1 for never.
    pub direct_gain: f64,
}

impl Default for Worth {
    fn default() -> Self {
        Self { right: 0.02, direct_gain: 2.0 }
    }
}

/// Hours of the day, the end left out; from the first to the second, over midnight if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u16,
    to: u16,
}

/// A file that is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// Its name.
    pub file: String,
    /// What is wrong, on one line.
    pub reason: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.reason)
    }
}

impl std::error::Error for PolicyError {}

/// As the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Written {
    endpoint: Vec<Endpoint>,
    budget: Budget,
    worth: Worth,
    abort: Option<Abort>,
    rule: Vec<Rule>,
}

impl Policy {
    /// Reads a policy file called `file`.
    ///
    /// # Errors
    /// When it is too long, no TOML, or says something that policies don't.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        let wrong = |reason: String| PolicyError { file: file.to_owned(), reason };
        if text.len() > BYTES_MAX {
            return Err(wrong(format!("{} bytes, expected at most {BYTES_MAX}", text.len())));
        }
        let read = |text: &str| {
            toml::from_str::<Written>(text).map_err(|e| {
                let line = e.span().map_or(1, |span| text[..span.start].lines().count().max(1));
                wrong(format!("line {line}: {}", e.message().replace('\n', " ")))
            })
        };
        let (written, built_in) = (read(text)?, read(BUILT_IN)?);
        if written.endpoint.len() > ENTRIES_MAX || written.rule.len() > ENTRIES_MAX {
            return Err(wrong(format!("more than {ENTRIES_MAX} endpoints or rules")));
        }
        for (i, endpoint) in written.endpoint.iter().enumerate() {
            if written.endpoint[..i].iter().any(|other| other.name == endpoint.name) {
                return Err(wrong(format!("two endpoints are called {:?}", endpoint.name)));
            }
            if !(0.0..=1.0).contains(&endpoint.right) {
                let (name, right) = (&endpoint.name, endpoint.right);
                return Err(wrong(format!("endpoint {name:?}: right is {right}, expected 0 to 1")));
            }
        }
        for rule in &written.rule {
            if let Some(fault) = rule.when.fault() {
                return Err(wrong(format!("rule {:?}: {fault}", rule.name)));
            }
        }
        let budget = written.budget.money.unwrap_or(0.0);
        if !(budget >= 0.0 && budget.is_finite()) {
            return Err(wrong(format!("budget: money is {budget}, expected at least 0")));
        }
        let worth = written.worth;
        if !(worth.right >= 0.0 && worth.right.is_finite() && worth.direct_gain >= 0.0) {
            return Err(wrong(format!("worth: right is {}, expected at least 0", worth.right)));
        }
        if let Some(fault) = written.abort.as_ref().and_then(Abort::fault) {
            return Err(wrong(format!("abort: {fault}")));
        }
        let rules = written.rule.into_iter().chain(built_in.rule).collect();
        Ok(Self { endpoints: written.endpoint, budget: written.budget, worth, abort: written.abort, rules })
    }
}

impl Hours {
    /// Whether the minute of the day is among them.
    pub fn contain(self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }

    /// Whether no minute is among them.
    pub(super) fn is_empty(self) -> bool {
        self.from == self.to
    }

    fn parse(text: &str) -> Option<Self> {
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            ((hour < 24 && minute < 60) || (hour, minute) == (24, 0)).then_some(60 * hour + minute)
        };
        let (from, to) = text.split_once('-')?;
        // A day ends at 24:00 and begins at 00:00.
        Some(Self { from: minute(from)? % 1440, to: minute(to)? })
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("{text:?}, expected hours like 22:00-06:30")))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Variable(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            // It may be a key: it is not repeated.
            _ => Err(de::Error::custom("a key, expected where it is: \"env:NAME\" or \"file:PATH\"")),
        }
    }
}

/// Classes by name.
pub(super) fn classes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Class>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let class = |name: &String| {
        Class::named(name).ok_or_else(|| {
            let all: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
            de::Error::custom(format!("class {name:?}, expected one of {}", all.join(", ")))
        })
    };
    names.iter().map(class).collect()
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
    let text = String::deserialize(from)?;
    Url::parse(text.trim_end_matches('/')).map_err(|e| de::Error::custom(format!("address {text:?}: {e}")))
}

fn default_ctx() -> usize {
    8192
}

fn default_right() -> f64 {
    0.9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_this_page_is_a_policy() {
        let page = include_str!("file.rs");
        let example = page.split_once("//! ```toml\n").unwrap().1.split_once("//! ```").unwrap().0;
        let text: String = example.lines().map(|l| l.trim_start_matches("//!").to_owned() + "\n").collect();
        let policy = Policy::parse("route.toml", &text).unwrap();
        assert_eq!(policy.endpoints[0].key, Some(Key::Variable("WORKSTATION_KEY".into())));
        assert_eq!((policy.budget.money, policy.budget.tokens), (Some(0.5), Some(200_000)));
        assert_eq!(policy.abort, Some(Abort { n_tokens_min: 16, quantile: 0.25, floor_nats: 0.5 }));
        assert_eq!(policy.rules[0].name, "work stays at work");
        assert!(policy.rules.len() > 1, "those that are always there follow");
    }

    #[test]
    fn what_is_no_policy_is_refused_in_a_sentence_and_keys_are_not_repeated() {
        let endpoint = "[[endpoint]]\nname = \"a\"\nurl = \"https://a\"\nmodel = \"m\"\n";
        for (text, said) in [
            ("[[rule]]\nname = \"a\"\nthen = \"maybe\"", "line 3"),
            ("[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { weather = 1 }", "weather"),
            (
                "[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { class = [\"x\"] }",
                "expected one of secret",
            ),
            ("[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { hours = \"25:00-1\" }", "22:00-06:30"),
            ("[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { hours = \"09:00-09:00\" }", "00:00-24:00"),
            ("[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { hours = \"09:00-24:01\" }", "22:00-06:30"),
            (
                "[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { battery_below = nan }",
                "rule \"a\": battery_below",
            ),
            ("[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { battery_below = 20 }", "at most 1"),
            ("[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { hotter_than = inf }", "degrees"),
            ("[[rule]]\nname = \"a\"\nthen = \"local\"\nwhen = { app = [\"!*\"] }", "leaves nothing"),
            (&format!("{endpoint}key = \"sk-live-123\""), "env:NAME"),
            (&format!("{endpoint}right = 2"), "0 to 1"),
            (&format!("{endpoint}{endpoint}"), "two endpoints"),
            ("[budget]\nmoney = -1", "at least 0"),
            ("[abort]\nafter_tokens = 8", "missing field"),
            ("[abort]\nafter_tokens = 8\npart = 0.0\nbelow_nats = 1.0", "abort: part is 0"),
            ("[abort]\nafter_tokens = 8\npart = 0.5\nbelow_nats = nan", "abort: below_nats is NaN"),
            ("[[endpoint]]\nname = \"a\"\nurl = \"ftp://a\"\nmodel = \"m\"\n", "address"),
        ] {
            let error = Policy::parse("route.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("route.toml: ") && error.contains(said), "{error}");
            assert!(!error.contains('\n') && !error.contains("sk-live"), "{error}");
        }
    }

    #[test]
    fn hours_may_pass_midnight() {
        let hours = |text| Hours::parse(text).unwrap();
        let night = hours("22:00-06:30");
        assert!(night.contain(23 * 60) && night.contain(0) && !night.contain(6 * 60 + 30));
        assert!(hours("08:00-09:00").contain(8 * 60) && !hours("08:00-09:00").contain(9 * 60));
        assert!(hours("22:00-24:00").contain(1439) && !hours("22:00-24:00").contain(0));
        assert!((0..1440).all(|minute| hours("00:00-24:00").contain(minute)));
        assert!(hours("24:00-06:00").contain(0) && !hours("24:00-06:00").contain(6 * 60));
        assert!(Hours::parse("8-9").is_none());
    }
}
