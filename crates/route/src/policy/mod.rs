//! What may leave, and under which rule: the policy as a pure function of what is known of a request.
//!
//! Rules stand in a TOML file ([`file`]). Every rule whose conditions hold counts, and the strictest action decides, whatever the order:
//! so no rule can undo another, and adding one never lets more out, with one exception that says so itself: a rule that `yields`
//! holds only where no other speaks of its source by name. Of those that are always there ([`BUILT_IN`]) the one about facts does
//! ([`FACTS`]). Without an endpoint nothing leaves at all. [`explain`] says which rule decided and which others held.

mod explain;
mod file;

use std::fmt;

use serde::Deserialize;

use crate::privacy::Class;

pub use explain::explain;
pub use file::{Budget, Endpoint, Key, Policy, PolicyError, Wire, Worth};

/// What happens to a request, the strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is answered on this device or not at all.
    Local,
    /// The user is asked each time.
    Ask,
    /// It may leave once placeholders stand where something private was found.
    Redact,
    /// It may leave as it is.
    Allow,
}

impl Action {
    /// As rules and explanations call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ask => "ask",
            Self::Redact => "redact",
            Self::Allow => "allow",
        }
    }
}

/// Where the user wants a request answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wish {
    /// Wherever is best, within the policy.
    #[default]
    Auto,
    /// On this device.
    Local,
    /// Elsewhere, if the policy allows it.
    Cloud,
}

impl Wish {
    /// From `auto`, `local` or `cloud`.
    pub fn parse(word: &str) -> Option<Self> {
        [("auto", Self::Auto), ("local", Self::Local), ("cloud", Self::Cloud)]
            .into_iter()
            .find_map(|(name, wish)| (name == word).then_some(wish))
    }

    /// What is left of two wishes: here, if either wants it; elsewhere, if one does and the other does not mind.
    pub fn strictest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Local, _) | (_, Self::Local) => Self::Local,
            (Self::Cloud, _) | (_, Self::Cloud) => Self::Cloud,
            _ => Self::Auto,
        }
    }
}

/// The network that a request would leave by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// None, or none is wanted.
    Offline,
    /// Paid by the byte.
    Metered,
    /// Any other.
    Unmetered,
}

impl Network {
    /// As rules and explanations call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Metered => "metered",
            Self::Unmetered => "unmetered",
        }
    }
}

/// What is known of a request and of the moment. What is not known meets no condition that asks for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Situation {
    /// What the user asked for.
    pub wish: Wish,
    /// Who asks: the name of a program or of a key.
    pub app: Option<String>,
    /// The tools whose results the request holds.
    pub tools: Vec<String>,
    /// The private sources (`knowledge`, `file`, [`FACTS`]) that its words come from.
    pub sources: Vec<String>,
    /// Classes of what the detectors found in it.
    pub classes: Vec<Class>,
    /// The network.
    pub network: Option<Network>,
    /// Who says so of the network, or what was seen of it, for people.
    pub network_seen: Option<String>,
    /// What is left in the battery, 0 to 1.
    pub battery: Option<f64>,
    /// Whether it is being charged.
    pub charging: Option<bool>,
    /// Degrees Celsius of the hottest part.
    pub temperature: Option<f64>,
    /// Minutes since midnight, as clocks have it where the user is.
    pub minute: Option<u16>,
}

/// A rule: when all its conditions hold, its action is the least strict that a request can get.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What explanations and logs call it.
    pub name: String,
    /// What it asks for.
    pub then: Action,
    /// Conditions; without any it always holds.
    #[serde(default)]
    pub when: When,
    /// It does not hold where another that holds names one of its sources: it is what happens when nothing else was said.
    #[serde(default)]
    pub yields: bool,
}

/// Conditions. Lists hold when one of their entries does, and those of nothing but names behind `!` for any other name; a condition that
/// is left out always holds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// A class of what was found, by name.
    #[serde(deserialize_with = "file::classes")]
    pub class: Vec<Class>,
    /// Who asks.
    pub app: Vec<String>,
    /// A tool whose result the request holds, or `*` for any.
    pub tool: Vec<String>,
    /// A private source that its words come from, or `*` for any, without those that are named behind a `!`.
    pub source: Vec<String>,
    /// The network.
    pub network: Vec<Network>,
    /// The battery is below this, 0 to 1, and not being charged.
    pub battery_below: Option<f64>,
    /// A part is hotter than this, in degrees Celsius.
    pub hotter_than: Option<f64>,
    /// The time of day, `22:00-06:30`, as clocks have it where the user is.
    pub hours: Option<file::Hours>,
}

/// The source of what the local model took out of documents, a sentence at a time: not the documents, but made of them.
pub const FACTS: &str = "facts";

/// The rules that are always there, in the words of a policy file.
pub const BUILT_IN: &str = r#"
[[rule]]
name = "secrets, money and identities stay"
when = { class = ["secret", "financial", "identity"] }
then = "local"

[[rule]]
name = "private sources stay"
when = { source = ["*", "!facts"] }
then = "local"

[[rule]]
name = "facts of private sources are shown first"
when = { source = ["facts"] }
then = "ask"
yields = true

[[rule]]
name = "people are not named"
when = { class = ["contact", "person", "place"] }
then = "redact"

[[rule]]
name = "offline"
when = { network = ["offline"] }
then = "local"
"#;

/// What the policy says.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What happens.
    pub action: Action,
    /// What decided.
    pub why: Why,
    /// Names of all rules that held.
    pub held: Vec<String>,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The user asked for an answer on this device.
    Asked,
    /// No endpoint is configured.
    NoEndpoint,
    /// The rule of this name.
    Rule(String),
    /// No rule held.
    NoRule,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("it was asked to stay on this device"),
            Self::NoEndpoint => f.write_str("no endpoint is configured"),
            Self::Rule(name) => write!(f, "rule \"{name}\""),
            Self::NoRule => f.write_str("no rule speaks against it"),
        }
    }
}

impl Policy {
    /// The rules that hold.
    pub fn held(&self, situation: &Situation) -> Vec<&Rule> {
        let hold: Vec<&Rule> = self.rules.iter().filter(|rule| rule.when.holds(situation)).collect();
        let is_named = |source: &String| {
            hold.iter().any(|other| {
                !other.yields && other.when.source.iter().any(|named| named.eq_ignore_ascii_case(source))
            })
        };
        let stands = |rule: &&Rule| !rule.yields || !rule.when.source.iter().any(is_named);
        hold.iter().copied().filter(stands).collect()
    }

    /// What may become of a request.
    pub fn decide(&self, situation: &Situation) -> Verdict {
        let held = self.held(situation);
        // The first of the strictest.
        let strictest = held.iter().min_by_key(|rule| rule.then);
        let names = held.iter().map(|rule| rule.name.clone()).collect();
        let verdict = |action, why| Verdict { action, why, held: names };
        if situation.wish == Wish::Local {
            return verdict(Action::Local, Why::Asked);
        }
        if self.endpoints.is_empty() {
            return verdict(Action::Local, Why::NoEndpoint);
        }
        match strictest {
            Some(rule) => verdict(rule.then, Why::Rule(rule.name.clone())),
            None => verdict(Action::Allow, Why::NoRule),
        }
    }
}

impl When {
    /// What no situation can meet, in words.
    fn fault(&self) -> Option<String> {
        let empty = self.hours.is_some_and(|hours| hours.is_empty());
        let none = [&self.app, &self.tool, &self.source].into_iter().flatten().any(|name| name == "!*");
        let battery = self.battery_below.filter(|least| !(*least > 0.0 && *least <= 1.0));
        let hot = self.hotter_than.filter(|most| !most.is_finite());
        let faults = [
            empty.then(|| "hours: they end when they begin, expected 00:00-24:00 for all day".to_owned()),
            none.then(|| "\"!*\" leaves nothing, expected names".to_owned()),
            battery.map(|is| format!("battery_below is {is}, expected above 0 and at most 1")),
            hot.map(|is| format!("hotter_than is {is}, expected degrees Celsius")),
        ];
        faults.into_iter().flatten().next()
    }

    /// Whether all conditions hold.
    pub fn holds(&self, s: &Situation) -> bool {
        let named = |wanted: &str, is: &str| wanted == "*" || wanted.eq_ignore_ascii_case(is);
        let meant = |wanted: &[String], is: &str| {
            let is_out = wanted.iter().filter_map(|w| w.strip_prefix('!')).any(|out| named(out, is));
            // Where only others are named, any is meant but these.
            let any = wanted.iter().all(|w| w.starts_with('!'));
            !is_out && (any || wanted.iter().any(|w| named(w, is)))
        };
        let one_of =
            |wanted: &[String], are: &[String]| wanted.is_empty() || are.iter().any(|is| meant(wanted, is));
        (self.class.is_empty() || s.classes.iter().any(|class| self.class.contains(class)))
            && one_of(&self.app, s.app.as_slice())
            && one_of(&self.tool, &s.tools)
            && one_of(&self.source, &s.sources)
            && (self.network.is_empty() || s.network.is_some_and(|network| self.network.contains(&network)))
            && self.battery_below.is_none_or(|least| {
                s.charging != Some(true) && s.battery.is_some_and(|battery| battery < least)
            })
            && self.hotter_than.is_none_or(|most| s.temperature.is_some_and(|is| is > most))
            && self.hours.is_none_or(|hours| s.minute.is_some_and(|minute| hours.contain(minute)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "[[endpoint]]\nname = \"big\"\nurl = \"https://big.example/v1\"\nmodel = \"m\"\n";

    fn policy(rules: &str) -> Policy {
        Policy::parse("route.toml", &format!("{ENDPOINT}{rules}")).unwrap()
    }

    fn with(classes: &[Class]) -> Situation {
        Situation { classes: classes.to_vec(), ..Situation::default() }
    }

    #[test]
    fn nothing_leaves_without_an_endpoint_and_the_user_can_always_stay() {
        let none = Policy::parse("route.toml", "").unwrap();
        assert_eq!(none.decide(&with(&[])).why, Why::NoEndpoint);
        assert_eq!(none.decide(&with(&[])).action, Action::Local);
        let all = policy("[[rule]]\nname = \"all\"\nthen = \"allow\"\n");
        let stay = Situation { wish: Wish::Local, ..Situation::default() };
        assert_eq!((all.decide(&stay).action, all.decide(&stay).why), (Action::Local, Why::Asked));
    }

    #[test]
    fn the_strictest_rule_decides_whatever_the_order() {
        let loose = "[[rule]]\nname = \"loose\"\nthen = \"allow\"\n";
        let strict = "[[rule]]\nname = \"strict\"\nthen = \"local\"\nwhen = { app = [\"Mail\"] }\n";
        let mail = Situation { app: Some("mail".into()), ..Situation::default() };
        for rules in [format!("{loose}{strict}"), format!("{strict}{loose}")] {
            let policy = policy(&rules);
            let verdict = policy.decide(&mail);
            assert_eq!((verdict.action, verdict.why), (Action::Local, Why::Rule("strict".into())));
            assert_eq!(policy.decide(&with(&[])).action, Action::Allow);
        }
        // No rule of the user's lets a secret out.
        let verdict = policy(loose).decide(&with(&[Class::Secret, Class::Contact]));
        assert_eq!(verdict.action, Action::Local);
        assert_eq!(verdict.held.len(), 3);
        assert_eq!(policy("").decide(&with(&[Class::Contact])).action, Action::Redact);
        assert_eq!(policy("").decide(&with(&[Class::Network])).why, Why::NoRule);
    }

    #[test]
    fn facts_are_asked_about_unless_a_rule_that_names_them_says_otherwise() {
        let of = |sources: &[&str]| Situation {
            sources: sources.iter().map(|&source| source.to_owned()).collect(),
            ..Situation::default()
        };
        let rule = |source: &str, more: &str, then: &str| {
            policy(&format!(
                "[[rule]]\nname = \"r\"\nwhen = {{ source = {source}{more} }}\nthen = \"{then}\"\n"
            ))
        };
        let facts = of(&[FACTS]);
        assert_eq!(policy("").decide(&facts).action, Action::Ask);
        for (source, then, expected) in [
            ("[\"facts\"]", "allow", Action::Allow),
            ("[\"facts\"]", "redact", Action::Redact),
            ("[\"facts\"]", "local", Action::Local),
            ("[\"Facts\", \"file\"]", "allow", Action::Allow),
            // Whoever says "any" has not spoken of facts, but may still be stricter.
            ("[\"*\"]", "allow", Action::Ask),
            ("[\"*\"]", "local", Action::Local),
            ("[\"file\"]", "allow", Action::Ask),
        ] {
            assert_eq!(rule(source, "", then).decide(&facts).action, expected, "{source} {then}");
        }
        // A rule that does not hold has said nothing.
        let of_mail = rule("[\"facts\"]", ", app = [\"mail\"]", "allow");
        assert_eq!(of_mail.decide(&facts).action, Action::Ask);
        assert_eq!(
            of_mail.decide(&Situation { app: Some("mail".into()), ..facts.clone() }).action,
            Action::Allow
        );
        // What lets facts out lets nothing else out.
        let allows = rule("[\"facts\"]", "", "allow");
        assert_eq!(allows.decide(&of(&["facts", "file"])).action, Action::Local);
        assert_eq!(allows.decide(&of(&["file"])).action, Action::Local);
        let secret = Situation { classes: vec![Class::Secret], ..facts };
        assert_eq!(allows.decide(&secret).action, Action::Local);
    }

    #[test]
    fn conditions_hold_only_of_what_is_known() {
        let when = |text: &str| toml::from_str::<When>(text).unwrap();
        let known = Situation {
            tools: vec!["mail".into()],
            sources: vec!["knowledge".into()],
            network: Some(Network::Metered),
            battery: Some(0.15),
            charging: Some(false),
            temperature: Some(45.0),
            minute: Some(23 * 60),
            ..Situation::default()
        };
        for (text, expected) in [
            ("tool = [\"*\"]", true),
            ("tool = [\"calendar\"]", false),
            ("source = [\"file\", \"knowledge\"]", true),
            ("source = [\"*\", \"!knowledge\"]", false),
            ("source = [\"!file\", \"*\"]", true),
            ("source = [\"!file\"]", true),
            ("source = [\"!file\", \"!knowledge\"]", false),
            ("tool = [\"!calendar\"]", true),
            ("tool = [\"!mail\"]", false),
            ("network = [\"metered\"]", true),
            ("network = [\"offline\"]", false),
            ("battery_below = 0.2", true),
            ("battery_below = 0.1", false),
            ("hotter_than = 44", true),
            ("hours = \"22:00-06:30\"", true),
            ("hours = \"08:00-23:00\"", false),
            ("hours = \"00:00-24:00\"", true),
            ("app = [\"x\"]", false),
            ("", true),
        ] {
            assert_eq!(when(text).holds(&known), expected, "{text}");
            assert_eq!(when(text).holds(&Situation::default()), text.is_empty(), "{text}");
        }
        assert!(!when("battery_below = 0.2").holds(&Situation { charging: Some(true), ..known }));
    }
}
