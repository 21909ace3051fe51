//! How to choose: one field per setting, and the order of the stages.
//!
//! The settings' names, ranges, defaults and meanings are on the shelf ([`super::settings`]); this file holds the values.

use super::setting::settings;
use super::{Role, STAGES, SampleError, Stage};

/// How to choose. `Params { temperature: 0.7, seed, ..Params::GREEDY }` says what differs from "the best token";
/// [`Params::usual`] is what a user gets who asks for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Stages in the order applied; empty for the default order.
    pub samplers: Vec<&'static Stage>,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<Bias>,
    /// Divides the positive and multiplies the negative logits of recent tokens, each once; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Subtracted from the logit of every recent token; 0 changes nothing.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once for each time it occurred recently; 0 changes nothing.
    pub frequency_penalty: f32,
    /// How many of the last accepted tokens are "recent"; 0 switches the three penalties off.
    pub penalty_last_n: usize,
    /// Penalty of the shortest repetition that DRY minds; 0 switches it off.
    pub dry_multiplier: f32,
    /// Growth of that penalty with each further token repeated.
    pub dry_base: f32,
    /// Repetitions shorter than this are free.
    pub dry_allowed_length: usize,
    /// How many of the last tokens DRY looks at.
    pub dry_penalty_last_n: usize,
    /// Texts that no repetition reaches across.
    pub dry_sequence_breakers: Vec<String>,
    /// Keep logits within so many standard deviations of the best; 0 keeps all.
    pub top_n_sigma: f32,
    /// Keep the `top_k` best tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest most typical tokens whose probabilities add up to it; 1 keeps all.
    pub typical_p: f32,
    /// Keep the fewest best tokens whose probabilities add up to `top_p`; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least `min_p` times as probable as the best one; 0 keeps all.
    pub min_p: f32,
    /// How often XTC acts; 0 is never.
    pub xtc_probability: f32,
    /// XTC drops all but the least probable of the tokens that have at least this probability.
    pub xtc_threshold: f32,
    /// Logits are divided by it; 0 chooses the best token, 1 follows the model.
    pub temperature: f32,
    /// The temperature moves by up to so much to either side with the entropy; 0 keeps it.
    pub dynatemp_range: f32,
    /// Bends the way from entropy to temperature.
    pub dynatemp_exponent: f32,
    /// Mirostat's version, 1 or 2; 0 is off.
    pub mirostat: usize,
    /// The surprise, in bits per token, that mirostat aims at.
    pub mirostat_tau: f32,
    /// How fast it corrects.
    pub mirostat_eta: f32,
    /// Texts that never appear; see [`crate::generate`].
    pub banned_strings: Vec<String>,
}

/// What to add to one token's logit.
#[derive(Debug, Clone, PartialEq)]
pub struct Bias {
    /// Which.
    pub token: BiasToken,
    /// How much; minus infinity rules the token out.
    pub bias: f32,
}

/// A token, by number or by what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BiasToken {
    /// Its id.
    Id(u32),
    /// The text of exactly one token.
    Text(String),
}

impl Params {
    /// The best token, always: every stage is off. There are no sequence breakers either.
    pub const GREEDY: Self = Self {
        samplers: Vec::new(),
        seed: 0,
        logit_bias: Vec::new(),
        repeat_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        penalty_last_n: 64,
        dry_multiplier: 0.0,
        dry_base: 1.75,
        dry_allowed_length: 2,
        dry_penalty_last_n: usize::MAX,
        dry_sequence_breakers: Vec::new(),
        top_n_sigma: 0.0,
        top_k: 0,
        typical_p: 1.0,
        top_p: 1.0,
        min_p: 0.0,
        xtc_probability: 0.0,
        xtc_threshold: 0.1,
        temperature: 0.0,
        dynatemp_range: 0.0,
        dynatemp_exponent: 1.0,
        mirostat: 0,
        mirostat_tau: 5.0,
        mirostat_eta: 0.1,
        banned_strings: Vec::new(),
    };

    /// Every setting at its default; the seed is 0 until someone sets it.
    pub fn usual() -> Self {
        let mut params = Self::GREEDY;
        for setting in settings() {
            setting.set(&mut params, setting.default).expect("defaults are in their range");
        }
        params
    }

    /// # Errors
    /// [`SampleError::Param`] for the first value that is outside its range or contradicts another.
    pub fn check(&self) -> Result<(), SampleError> {
        settings().try_for_each(|setting| setting.check(self))?;
        self.order().map(|_| ())
    }

    /// Whether the best token always wins: temperature 0.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// The stages in the order applied, those that are off included.
    ///
    /// # Errors
    /// [`SampleError::Param`] when a stage is listed twice, mirostat is not the last, or a stage that was asked for is
    /// missing from the list.
    pub fn order(&self) -> Result<Vec<&'static Stage>, SampleError> {
        let listed = &self.samplers;
        let wrong = |expected: String| {
            let value = listed.iter().map(|s| s.name).collect::<Vec<_>>().join(";");
            Err(SampleError::Param { name: "samplers", value, expected })
        };
        let first = STAGES.iter().copied().filter(|s| s.role == Role::First);
        if listed.is_empty() {
            let rest = STAGES.iter().copied().filter(|s| s.role != Role::First);
            // Mirostat takes the filters' place.
            return Ok(first.chain(rest.filter(|s| self.mirostat == 0 || s.role != Role::Filter)).collect());
        }
        for (i, stage) in listed.iter().enumerate() {
            if listed[..i].contains(stage) {
                return wrong(format!("{} once", stage.name));
            }
            if stage.role == Role::Last && i + 1 < listed.len() {
                return wrong(format!("{} at the end, as it judges what was drawn", stage.name));
            }
        }
        // A stage that is off unless asked for, was asked for, and would not run.
        let usual = Self::usual();
        let missing = |s: &&&Stage| {
            s.role != Role::First && !listed.contains(*s) && (s.wants)(self) && !(s.wants)(&usual)
        };
        if let Some(stage) = STAGES.iter().find(missing) {
            return wrong(format!("{} among them, as it is switched on", stage.name));
        }
        Ok(first.chain(listed.iter().copied()).collect())
    }
}
