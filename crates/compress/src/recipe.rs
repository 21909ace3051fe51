//! Recipes: what is done to a model, as data that fits on a card.
//!
//! A recipe is a small TOML file. Whatever it leaves out has the default of [`Recipe::default`]; an unknown word is an error. Its
//! hash is that of all that it says with the defaults filled in, so that two files that say the same are the same recipe. Those
//! that come with the program are the shelf [`RECIPES`].

use std::collections::BTreeMap;
use std::fmt::Write;

use ingle_model::Error;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::balance::Balance;
use crate::evaluate::limits::Limits;
use crate::plan::{Options, Override};
use crate::prune::Prune;
use crate::slim::Slim;

/// What is done to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What it is called.
    pub name: String,
    /// A line for people.
    pub about: String,
    /// The mixture that says which format each tensor gets.
    #[serde(rename = "type")]
    pub mixture: String,
    /// How weights become codes: a name of [`crate::method::ENCODERS`].
    pub method: String,
    /// Whether codes are to give the outputs of the unchanged model, drift of the layers before made good, instead of those that the
    /// weights give for drifted inputs ("asymmetric calibration").
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub asymmetric: bool,
    /// How scale is moved from inputs to weights first: `balance = "awq"`, or `balance.smooth = 0.85`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// Which weights of layers become 0: `prune = { method = "wanda", sparsity = 0.5 }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<Prune>,
    /// Which parts of the model go before all else: `slim = { layers = 0.25, ffn = 0.1, heads = 0.0 }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slim: Option<Slim>,
    /// Formats of tensors whose names a pattern finds, before the mixture is asked.
    pub tensors: BTreeMap<String, String>,
    /// Formats of kinds of tensors (`token_embd`, `attn_v`) before anything else is asked: those that a gate has promoted.
    pub promoted: BTreeMap<String, String>,
    /// What the model reads while its inputs are measured.
    pub calibration: Calibration,
    /// What the result must hold; without it, it is measured and reported only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Limits>,
}

/// What a model reads while its inputs are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// Tokens.
    pub tokens: usize,
    /// Tokens of a sequence.
    pub ctx: usize,
    /// Which windows of longer texts are taken, and what a model writes for itself.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: String::new(),
            about: String::new(),
            mixture: "Q4_K_M".into(),
            method: "gptq".into(),
            asymmetric: false,
            balance: None,
            prune: None,
            slim: None,
            tensors: BTreeMap::new(),
            promoted: BTreeMap::new(),
            calibration: Calibration::default(),
            gate: None,
        }
    }
}

impl Default for Calibration {
    fn default() -> Self {
        Self { tokens: 32_768, ctx: 512, seed: 1 }
    }
}

impl Recipe {
    /// Reads a recipe; `file` is its name in errors.
    ///
    /// # Errors
    /// When it is no TOML, has an unknown word, or a number that can't be.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let recipe: Self = toml::from_str(text).map_err(|e| {
            let place = e.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = place.map_or_else(String::new, |line| format!(", line {line}"));
            Error::Input(format!("{file}{place}: {}", e.message()))
        })?;
        recipe.check().map_err(|e| Error::Input(format!("{file}: {e}")))?;
        Ok(recipe)
    }

    /// The recipe of the shelf called `name`, without regard to case.
    ///
    /// # Errors
    /// With the names there are.
    pub fn named(name: &str) -> Result<Self, Error> {
        let found = RECIPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (name, text) =
            found.ok_or_else(|| Error::unsupported("recipe", name, RECIPES.iter().map(|(name, _)| *name)))?;
        Self::parse(name, text)
    }

    fn check(&self) -> Result<(), String> {
        let Calibration { tokens, ctx, .. } = self.calibration;
        if !(2..=1 << 16).contains(&ctx) {
            return Err(format!("calibration.ctx is {ctx}, expected 2 to 65536"));
        }
        if !(ctx..=1 << 26).contains(&tokens) {
            return Err(format!(
                "calibration.tokens is {tokens}, expected at least a sequence of {ctx} and at most 67108864"
            ));
        }
        if self.asymmetric && self.method != "gptq" {
            return Err(format!("method is {:?}, expected \"gptq\" where asymmetric is true", self.method));
        }
        self.slim.map_or(Ok(()), Slim::check)?;
        let gate = self.gate.unwrap_or_default();
        let above = |limit: Option<f64>| limit.is_none_or(|v| v > 0.0);
        if !above(gate.kld) || !above(gate.ppl_ratio) {
            return Err("gate: expected a kld and a ppl_ratio above 0".into());
        }
        if gate.top1.is_some_and(|v| !(0.0..=1.0).contains(&v)) {
            return Err("gate: expected a top1 from 0 to 1".into());
        }
        Ok(())
    }

    /// All that it says, defaults included, as a file that reproduces it.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe holds nothing that TOML can't say")
    }

    /// What it asks for beside the mixture, of an encoder that does or does not weigh columns.
    ///
    /// # Errors
    /// When a pattern or a format is none.
    pub fn options(&self, has_imatrix: bool) -> Result<Options, Error> {
        let promoted = self.promoted.iter().map(|(kind, format)| format!("(^|\\.){kind}\\.weight$={format}"));
        let tensors = self.tensors.iter().map(|(pattern, format)| format!("{pattern}={format}"));
        let overrides =
            promoted.chain(tensors).map(|text| Override::parse(&text)).collect::<Result<_, _>>()?;
        Ok(Options { overrides, has_imatrix, ..Options::default() })
    }

    /// What the errors of weights in a report of it measure, in words: what was moved or taken on purpose is in some of them.
    pub fn measure(&self) -> String {
        let mut words = "root of the mean square of decoded weights less the source's".to_owned();
        if self.balance.is_some() {
            words.push_str(" with scale moved");
        }
        words.push_str(", by that of the source's");
        if self.prune.is_some() {
            words.push_str("; what pruning took is in it");
        }
        if self.asymmetric {
            words.push_str(
                "; asymmetric calibration moved the weights before they were rounded, and that is in it too",
            );
        }
        words
    }

    /// The same with nothing said about formats.
    pub fn without_formats(&self) -> Self {
        let (tensors, promoted) = Default::default();
        Self { mixture: String::new(), tensors, promoted, ..self.clone() }
    }

    /// SHA-256 of what it does, in hexadecimal: of [`Self::to_toml`] without name, line for people and gate.
    pub fn hash(&self) -> String {
        let does = Self { name: String::new(), about: String::new(), gate: None, ..self.clone() };
        let digest = Sha256::digest(does.to_toml());
        digest.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a text takes all");
            text
        })
    }
}

/// The recipes that come with the program.
pub static RECIPES: &[(&str, &str)] = &[
    ("q8", include_str!("../recipes/q8.toml")),
    ("q6k", include_str!("../recipes/q6k.toml")),
    ("q5km", include_str!("../recipes/q5km.toml")),
    ("q4km", include_str!("../recipes/q4km.toml")),
    ("q4ks", include_str!("../recipes/q4ks.toml")),
    ("iq4xs", include_str!("../recipes/iq4xs.toml")),
    ("q3km", include_str!("../recipes/q3km.toml")),
    ("q2k", include_str!("../recipes/q2k.toml")),
    ("q4-mobile", include_str!("../recipes/q4-mobile.toml")),
    ("w8a8-smooth", include_str!("../recipes/w8a8-smooth.toml")),
    ("wanda50", include_str!("../recipes/wanda50.toml")),
    ("slim25", include_str!("../recipes/slim25.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture;

    #[test]
    fn every_recipe_of_the_shelf_is_whole() {
        for (name, text) in RECIPES {
            let recipe = Recipe::parse(name, text).unwrap();
            assert_eq!(recipe.name, *name);
            assert!(!recipe.about.is_empty() && recipe.gate.is_some(), "{name}");
            mixture::by_name(&recipe.mixture).unwrap();
            recipe.options(true).unwrap();
            let again = Recipe::parse("its own words", &recipe.to_toml()).unwrap();
            assert_eq!(again, recipe);
        }
    }

    #[test]
    fn the_hash_is_of_what_is_done() {
        let recipe = Recipe::parse("f", "method = \"gptq\"\ntype = \"q4_0\"").unwrap();
        let named = Recipe { name: "mine".into(), ..recipe.clone() };
        assert_eq!(recipe.hash(), named.hash());
        let other = Recipe { mixture: "q5_0".into(), ..recipe.clone() };
        assert_ne!(recipe.hash(), other.hash());
        assert_eq!(
            recipe.hash(),
            Recipe::parse("f", "type = \"q4_0\"").unwrap().hash(),
            "defaults count as said"
        );
    }

    #[test]
    fn a_measure_says_what_else_is_in_it() {
        let measure = |text: &str| Recipe::parse("f", text).unwrap().measure();
        assert!(measure("asymmetric = true").ends_with("and that is in it too"));
        assert!(measure("prune = { method = \"wanda\", sparsity = 0.5 }").ends_with("pruning took is in it"));
        assert!(
            measure("balance.smooth = 0.5")
                .ends_with("less the source's with scale moved, by that of the source's")
        );
        assert!(measure("").ends_with("less the source's, by that of the source's"));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, said) in [
            ("type = \"q4_0\"\nmetod = \"gptq\"", "my.toml, line 2: unknown field `metod`"),
            ("[calibration]\ntokens = \"many\"", "line 2: invalid type"),
            ("[calibration]\nctx = 1", "calibration.ctx is 1"),
            ("[gate]\nkld = 0.0\ntop1 = 0.5", "a kld and a ppl_ratio above 0"),
            ("[slim]\nlayers = 1.0", "from 0 to below 1"),
            ("[slim]\nlayer = 0.1", "line 2: unknown field `layer`"),
            ("method = \"rtn\"\nasymmetric = true", "expected \"gptq\" where asymmetric"),
            ("type", "line 1"),
        ] {
            let error = Recipe::parse("my.toml", text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(Recipe::named("q9").unwrap_err().to_string().contains("q4km"));
    }
}
