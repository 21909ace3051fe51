//! What `adapter_config.json` says: ranks and alphas, for all modules or by pattern, and that nothing else is asked for.
//!
//! Source: the library's LoRA configuration; patterns find modules as its `get_pattern_key` does.

use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::file::folder::fields::Fields;

/// Fields, and the values that leave the arithmetic as it is here.
const EXPECTS: &[(&str, &[&str])] = &[
    ("peft_type", &["\"LORA\""]),
    ("bias", &["\"none\""]),
    ("use_dora", &["false"]),
    ("lora_bias", &["false"]),
    ("modules_to_save", &["null", "[]"]),
    ("trainable_token_indices", &["null", "[]"]),
    ("target_parameters", &["null", "[]"]),
    ("layer_replication", &["null", "[]"]),
    ("ensure_weight_tying", &["false"]),
    ("alora_invocation_tokens", &["null"]),
    ("arrow_config", &["null"]),
    ("kasa_config", &["null"]),
    ("monteclora_config", &["null"]),
    // The others are differences from weights that are no longer the base's.
    ("init_lora_weights", &["true", "false", "\"gaussian\"", "\"eva\"", "\"orthogonal\"", "\"mica\""]),
];
/// Switches that are not in [`EXPECTS`] must be off, but for this one.
const SWITCHES: &str = "use_";
const RSLORA: &str = "use_rslora";

/// Methods that find a rank for every module list them all; expressions are few.
const PATTERNS_MAX: usize = 1 << 16;
const EXPRESSIONS_MAX: usize = 256;
const EXPRESSION_BYTES_MAX: usize = 4 << 10;
const BACKTRACK_MAX: usize = 100_000;

/// What the configuration says of the numbers.
pub(super) struct Config {
    pub(super) rank: ByPattern<usize>,
    pub(super) alpha: ByPattern<f64>,
    /// Whether the factor is `alpha / sqrt(rank)` instead of `alpha / rank`.
    pub(super) is_rooted: bool,
}

impl Config {
    pub(super) fn read(config: &Fields<'_>) -> Result<Self> {
        for (field, values) in EXPECTS {
            config.expect(field, values)?;
        }
        for field in config.map.keys() {
            if field.starts_with(SWITCHES) && field != RSLORA {
                config.expect(field, &["false"])?;
            }
        }
        let rank = |part: String, value: &Json| {
            let rank = value.as_u64().filter(|rank| (1..=1 << 24).contains(rank)).map(|rank| rank as usize);
            rank.ok_or_else(|| Error::malformed(part, value, "a rank of at least 1"))
        };
        let alpha = |part: String, value: &Json| {
            let alpha = value.as_f64().filter(|&alpha| (alpha as f32).is_finite());
            alpha.ok_or_else(|| Error::malformed(part, value, "a number that f32 can hold"))
        };
        Ok(Self {
            rank: ByPattern::read(config, "r", "rank_pattern", rank)?,
            alpha: ByPattern::read(config, "lora_alpha", "alpha_pattern", alpha)?,
            is_rooted: config.bool(RSLORA)?.unwrap_or(false),
        })
    }
}

/// A number for all modules, and others for those that a pattern finds, the first that does.
pub(super) struct ByPattern<T> {
    pub(super) usual: T,
    others: Vec<(Pattern, T)>,
}

impl<T: Copy> ByPattern<T> {
    fn read(
        config: &Fields<'_>,
        field: &str,
        patterns: &'static str,
        read: impl Fn(String, &Json) -> Result<T>,
    ) -> Result<Self> {
        let usual = config.value(field);
        let usual = usual.ok_or_else(|| Error::missing(config.of(field), "a number"))?;
        let usual = read(config.of(field), usual)?;
        let Some(patterns) = config.object(patterns)? else { return Ok(Self { usual, others: Vec::new() }) };
        let mut others = Vec::with_capacity(patterns.map.len().min(PATTERNS_MAX));
        for (text, value) in patterns.map {
            let part = || patterns.of(&format!("{text:?}"));
            others.push((Pattern::parse(text, &part)?, read(part(), value)?));
        }
        let n_expressions = others.iter().filter(|(p, _)| matches!(p, Pattern::Expression(_))).count();
        if others.len() > PATTERNS_MAX || n_expressions > EXPRESSIONS_MAX {
            let found = format!("{} patterns, {n_expressions} of them regular expressions", others.len());
            let expected = format!("at most {PATTERNS_MAX} and {EXPRESSIONS_MAX}");
            return Err(Error::malformed(config.of(patterns.within.unwrap_or_default()), found, expected));
        }
        Ok(Self { usual, others })
    }

    pub(super) fn of(&self, module: &str) -> T {
        self.others.iter().find(|(pattern, _)| pattern.finds(module)).map_or(self.usual, |(_, value)| *value)
    }
}

/// A module's name or its end, beginning behind a dot.
enum Pattern {
    /// Where a dot stands for any character, as in an expression.
    Text(String),
    Expression(Box<Regex>),
}

impl Pattern {
    fn parse(text: &str, part: &dyn Fn() -> String) -> Result<Self> {
        if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
            return Ok(Self::Text(text.to_owned()));
        }
        if text.len() > EXPRESSION_BYTES_MAX {
            let found = format!("an expression of {} bytes", text.len());
            return Err(Error::malformed(part(), found, format!("at most {EXPRESSION_BYTES_MAX}")));
        }
        let built = RegexBuilder::new(&format!(r"\A(?:(.*\.)?({text})$)"))
            .backtrack_limit(BACKTRACK_MAX)
            .delegate_size_limit(1 << 20)
            .build();
        built
            .map(|regex| Self::Expression(Box::new(regex)))
            .map_err(|_| Error::malformed(part(), "no regular expression", "one"))
    }

    fn finds(&self, module: &str) -> bool {
        match self {
            Self::Expression(regex) => regex.is_match(module).unwrap_or(false),
            Self::Text(text) => {
                let (name, text) = (module.as_bytes(), text.as_bytes());
                let Some(start) = name.len().checked_sub(text.len()) else { return false };
                let fits = name[start..].iter().zip(text).all(|(&c, &t)| t == b'.' || t == c);
                fits && (start == 0 || name[start - 1] == b'.')
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_a_name_or_its_end_behind_a_dot() {
        let name = "model.layers.1.self_attn.q_proj";
        for (pattern, finds) in [
            ("q_proj", true),
            ("proj", false),
            ("self_attn.q_proj", true),
            ("layers.1.self.attn.q.proj", true),
            ("layers.11.self_attn.q_proj", false),
            (name, true),
            ("self_attn", false),
            (r".*\.1\..*q_proj", true),
            (r"layers\.[02]\.self_attn\.q_proj", false),
            ("(q|k)_proj", true),
            (r"x|q_proj", true),
            (r"q_pro\w+", true),
            (r"_proj|q_pro", false),
        ] {
            let parsed = Pattern::parse(pattern, &|| "p".into()).unwrap();
            assert_eq!(parsed.finds(name), finds, "{pattern}");
        }
        assert!(Pattern::parse("(", &|| "p".into()).is_err());
    }
}
