//! The shelf of settings: name, range, default and meaning of everything that shapes a choice.
//!
//! A stage lists its own settings; the few that belong to no stage are here. The command line, its help, the config file,
//! `docs/sampling.md` and any other door to the engine read [`settings`] and write through [`Setting::set`], which takes
//! texts: a number as it is written in JSON, a list as one text per entry.

use super::params::{Bias, BiasToken};
use super::{Params, Role, STAGES, SampleError, Stage};
use crate::near::nearest;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// `top-k`: a flag's name without its dashes.
    pub name: &'static str,
    /// What may be written, and where it goes.
    pub kind: Kind,
    /// What a user gets who says nothing, as [`Setting::set`] takes it. Empty: an empty list, or for the seed another one
    /// each time.
    pub default: &'static [&'static str],
    /// One line; says which value switches it off.
    pub about: &'static str,
}

/// What may be written for a setting, and the field that holds it.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number in `min..=max`.
    Count(usize, usize, fn(&mut Params) -> &mut usize),
    /// A number in `min..=max`.
    Number(f32, f32, fn(&mut Params) -> &mut f32),
    /// Any whole number of 64 bits.
    Seed(fn(&mut Params) -> &mut u64),
    /// Any number of texts; an empty text counts for nothing, so that one alone gives an empty list.
    Texts(fn(&mut Params) -> &mut Vec<String>),
    /// Any number of `TOKEN=BIAS`.
    Biases(fn(&mut Params) -> &mut Vec<Bias>),
    /// Names of stages with `;` between.
    Stages(fn(&mut Params) -> &mut Vec<&'static Stage>),
}

/// The most of anything that is counted in tokens.
pub const TOKENS_MAX: usize = 1 << 31;

static SAMPLERS: Setting = Setting {
    name: "samplers",
    kind: Kind::Stages(|p| &mut p.samplers),
    default: &[""],
    about: "Stages in the order applied; only those listed run; default: penalties;dry;top-n-sigma;top-k;typical;\
            top-p;min-p;xtc;temperature;mirostat",
};

static SEED: Setting = Setting {
    name: "seed",
    kind: Kind::Seed(|p| &mut p.seed),
    default: &[],
    about: "Seed of the choices; default: another one each time",
};

static BANNED: Setting = Setting {
    name: "banned-string",
    kind: Kind::Texts(|p| &mut p.banned_strings),
    default: &[],
    about: "A text that never appears in an answer; may be given several times",
};

/// Every setting: those of the stages in their order, then those of none.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    STAGES.iter().flat_map(|stage| stage.settings).chain([&BANNED, &SAMPLERS, &SEED])
}

impl Setting {
    /// Whether it takes several values.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Texts(_) | Kind::Biases(_))
    }

    /// Writes `values` into `params`: exactly one, or any number for a list, which they replace.
    ///
    /// # Errors
    /// [`SampleError::Param`] with the first value that can't be used.
    pub fn set(&self, params: &mut Params, values: &[&str]) -> Result<(), SampleError> {
        let one = match values {
            _ if self.is_list() => "",
            [value] => value,
            [] if matches!(self.kind, Kind::Seed(_)) => return Ok(()),
            _ => return Err(self.wrong(values.join(", "))),
        };
        let wrong = || self.wrong(one);
        match self.kind {
            Kind::Count(min, max, at) => {
                let n: u64 = one.parse().map_err(|_| wrong())?;
                let n = usize::try_from(n).ok().filter(|n| (min..=max).contains(n));
                *at(params) = n.ok_or_else(wrong)?;
            }
            Kind::Number(min, max, at) => {
                let x = one.parse().ok().filter(|x| (min..=max).contains(x));
                *at(params) = x.ok_or_else(wrong)?;
            }
            Kind::Seed(at) => *at(params) = one.parse().map_err(|_| wrong())?,
            Kind::Texts(at) => {
                *at(params) = values.iter().filter(|v| !v.is_empty()).map(|&v| v.to_owned()).collect();
            }
            Kind::Biases(at) => {
                let parsed = values.iter().filter(|v| !v.is_empty());
                *at(params) =
                    parsed.map(|v| parse_bias(v).ok_or_else(|| self.wrong(*v))).collect::<Result<_, _>>()?;
            }
            Kind::Stages(at) => {
                let names = one.split(';').map(str::trim).filter(|name| !name.is_empty());
                *at(params) = names.map(|name| self.stage(name)).collect::<Result<_, _>>()?;
            }
        }
        Ok(())
    }

    /// What `params` holds, as [`Self::set`] would take it.
    pub fn values(&self, params: &Params) -> Vec<String> {
        let mut params = params.clone();
        match self.kind {
            Kind::Count(_, _, at) => vec![at(&mut params).to_string()],
            Kind::Number(_, _, at) => vec![at(&mut params).to_string()],
            Kind::Seed(at) => vec![at(&mut params).to_string()],
            Kind::Texts(at) => at(&mut params).clone(),
            Kind::Biases(at) => at(&mut params).iter().map(Bias::to_string).collect(),
            Kind::Stages(at) => vec![at(&mut params).iter().map(|s| s.name).collect::<Vec<_>>().join(";")],
        }
    }

    /// Refuses a value that the program, not [`Self::set`], put where it should not be.
    pub(super) fn check(&self, params: &Params) -> Result<(), SampleError> {
        let mut copy = params.clone();
        let fine = match self.kind {
            // A count above its range means "all" and is harmless.
            Kind::Count(min, _, at) => *at(&mut copy) >= min,
            Kind::Number(min, max, at) => (min..=max).contains(at(&mut copy)),
            Kind::Biases(at) => {
                at(&mut copy).iter().all(|b| b.bias.is_finite() || b.bias == f32::NEG_INFINITY)
            }
            Kind::Seed(_) | Kind::Texts(_) | Kind::Stages(_) => true,
        };
        if fine { Ok(()) } else { Err(self.wrong(self.values(params).join(", "))) }
    }

    /// What may be written, as a sentence goes on after "expected".
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Count(min, max, _) => format!("a whole number from {min} to {max}"),
            Kind::Number(min, max, _) => format!("a number from {min} to {max}"),
            Kind::Seed(_) => format!("a whole number from 0 to {}", u64::MAX),
            Kind::Texts(_) => "texts".into(),
            Kind::Biases(_) => "ID=BIAS or TEXT=BIAS; a bias is a number or -inf".into(),
            Kind::Stages(_) => {
                let names: Vec<&str> = listable().map(|s| s.name).collect();
                format!("some of {} with ; between", names.join(", "))
            }
        }
    }

    fn wrong(&self, value: impl Into<String>) -> SampleError {
        SampleError::Param {
            name: self.name,
            value: format!("{:?}", value.into()),
            expected: self.expected(),
        }
    }

    /// The stage called `name`, with `-` or `_`.
    fn stage(&self, name: &str) -> Result<&'static Stage, SampleError> {
        let asked = name.to_lowercase().replace('_', "-");
        let found = listable().find(|s| s.name == asked || s.aliases.contains(&asked.as_str()));
        found.ok_or_else(|| {
            let hint = nearest(&asked, listable().map(|s| s.name));
            let hint = hint.map(|h| format!("; did you mean {h}?")).unwrap_or_default();
            SampleError::Param {
                name: self.name,
                value: format!("{name:?}"),
                expected: format!("{}{hint}", self.expected()),
            }
        })
    }
}

/// The stages that a list may name.
pub fn listable() -> impl Iterator<Item = &'static Stage> {
    STAGES.iter().copied().filter(|s| s.role != Role::First)
}

/// `15043=-inf`, `" Hello"=2.5` or ` Hello=2.5`; quotes make a text of what would be an id.
fn parse_bias(text: &str) -> Option<Bias> {
    let (token, bias) = text.rsplit_once('=')?;
    let bias: f32 = bias.trim().parse().ok()?;
    if token.is_empty() || !(bias.is_finite() || bias == f32::NEG_INFINITY) {
        return None;
    }
    let quoted = token.strip_prefix('"').and_then(|t| t.strip_suffix('"')).filter(|t| !t.is_empty());
    let token = match quoted {
        Some(text) => BiasToken::Text(text.to_owned()),
        None if token.bytes().all(|b| b.is_ascii_digit()) => BiasToken::Id(token.parse().ok()?),
        None => BiasToken::Text(token.to_owned()),
    };
    Some(Bias { token, bias })
}

impl std::fmt::Display for Bias {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.token {
            BiasToken::Id(id) => write!(f, "{id}={}", self.bias),
            BiasToken::Text(text) => write!(f, "\"{text}\"={}", self.bias),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, values: &[&str]) -> Result<Params, String> {
        let setting = settings().find(|s| s.name == name).unwrap();
        let mut params = Params::usual();
        setting.set(&mut params, values).map_err(|e| e.to_string())?;
        Ok(params)
    }

    #[test]
    fn names_are_unique_and_defaults_are_what_they_say() {
        let usual = Params::usual();
        usual.check().unwrap();
        let mut seen = Vec::new();
        for s in settings() {
            assert!(!seen.contains(&s.name), "{} twice", s.name);
            seen.push(s.name);
            if s.name != "seed" {
                assert_eq!(s.values(&usual), s.default, "{}", s.name);
            }
        }
    }

    /// Reading back what was written, over all settings.
    #[test]
    fn values_go_round() {
        for s in settings() {
            let values: &[&str] = match s.kind {
                Kind::Count(_, max, _) if max < 3 => &["2"],
                Kind::Count(..) | Kind::Seed(_) => &["3"],
                Kind::Number(1.0, ..) => &["1.25"],
                Kind::Number(..) => &["0.25"],
                Kind::Texts(_) => &["a", "é\n"],
                Kind::Biases(_) => &["7=-inf", "\"7\"=0.5", "\"a=b\"=-2"],
                Kind::Stages(_) => &["xtc;top-k;temperature"],
            };
            let mut params = Params::usual();
            s.set(&mut params, values).unwrap();
            assert_eq!(s.values(&params), values, "{}", s.name);
        }
    }

    #[test]
    fn the_help_says_the_default_order() {
        let names: Vec<&str> = listable().map(|s| s.name).collect();
        assert!(SAMPLERS.about.ends_with(&names.join(";")), "{}", SAMPLERS.about);
    }

    #[test]
    fn nonsense_is_refused_with_the_range() {
        assert_eq!(
            set("top-p", &["1.5"]).unwrap_err(),
            "top-p is \"1.5\", expected a number from 0.000000001 to 1"
        );
        for bad in ["", "x", "-1", "1.5", "99999999999999999999"] {
            assert!(set("top-k", &[bad]).unwrap_err().contains("whole number"), "{bad}");
        }
        for bad in ["nan", "inf", "-0.1", ""] {
            assert!(set("min-p", &[bad]).is_err(), "{bad}");
        }
        assert!(set("min-p", &["0", "1"]).is_err() && set("min-p", &[]).is_err());
        for bad in ["7", "=1", "7=nan", "7=inf", "99999999999=1", "x="] {
            assert!(set("logit-bias", &[bad]).unwrap_err().contains("ID=BIAS"), "{bad}");
        }
    }

    #[test]
    fn an_order_takes_either_spelling_and_names_the_nearest() {
        let order = set("samplers", &["Top_K; typ_p ;nucleus;temp"]).unwrap().samplers;
        assert_eq!(
            order.iter().map(|s| s.name).collect::<Vec<_>>(),
            ["top-k", "typical", "top-p", "temperature"]
        );
        assert!(set("samplers", &["top-k;temprature"]).unwrap_err().ends_with("did you mean temperature?"));
        assert!(set("samplers", &["logit-bias"]).is_err(), "it always runs, and first");
        assert!(set("samplers", &[""]).unwrap().samplers.is_empty());
    }
}
