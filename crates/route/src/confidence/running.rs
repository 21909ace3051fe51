//! Watching an answer while it comes: when its low margins fall too far, the rest is not worth waiting for.
//!
//! One uncertain token is no reason, as there are many ways to say a thing; a part of all tokens below a floor is. So the rule looks at a
//! quantile of the margins so far, not before some tokens are there. It gives up no answer by itself: who asks decides, and tells
//! the reader that the answer was replaced.
//!
//! A policy file may have a rule, as `[abort]`; there is no default. On the built-in model's tasks, where a quarter of the coarse model's answers is wrong, hardly more than that
//! is wrong of those that a fifth of low margins would give up: a story has low margins and is right
//! (`tests/confidence.rs`). It is for questions with short answers, and for rules measured on a user's own.

use serde::Deserialize;

use super::margins::Margins;

/// When an answer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Tokens before which nothing is said.
    #[serde(rename = "after_tokens")]
    pub n_tokens_min: usize,
    /// The part of the tokens that must be low, 0 to 1.
    #[serde(rename = "part")]
    pub quantile: f32,
    /// Low is a margin below this, in nats.
    #[serde(rename = "below_nats")]
    pub floor_nats: f32,
}

impl Rule {
    /// What is wrong with it, if anything.
    pub fn fault(&self) -> Option<String> {
        let Self { quantile, floor_nats, .. } = self;
        if !(*quantile > 0.0 && *quantile <= 1.0) {
            return Some(format!("part is {quantile}, expected more than 0 and at most 1"));
        }
        (!(*floor_nats > 0.0 && floor_nats.is_finite()))
            .then(|| format!("below_nats is {floor_nats}, expected more than 0"))
    }
}

/// What to do with the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Go on.
    GoOn,
    /// Give it up.
    Abort {
        /// The quantile's margin, in nats.
        margin_nats: f32,
    },
}

/// An answer that is coming, under a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    rule: Rule,
    margins: Margins,
}

impl Running {
    /// Before the first token.
    pub fn new(rule: Rule) -> Self {
        Self { rule, margins: Margins::default() }
    }

    /// Takes a token's margin in nats.
    pub fn push(&mut self, margin: f32) {
        self.margins.push(margin);
    }

    /// What the tokens so far advise.
    pub fn verdict(&self) -> Verdict {
        let margin_nats = self.margins.quantile(self.rule.quantile).exp_m1();
        if self.margins.n() >= self.rule.n_tokens_min.max(1) && margin_nats < self.rule.floor_nats {
            return Verdict::Abort { margin_nats };
        }
        Verdict::GoOn
    }

    /// The margins, for the confidence at the end.
    pub fn margins(&self) -> &Margins {
        &self.margins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { n_tokens_min: 10, quantile: 0.25, floor_nats: 0.5 };

    fn run(margins: impl IntoIterator<Item = f32>) -> Option<usize> {
        let mut running = Running::new(RULE);
        margins.into_iter().position(|margin| {
            running.push(margin);
            running.verdict() != Verdict::GoOn
        })
    }

    #[test]
    fn many_low_margins_end_it_and_single_ones_do_not() {
        assert_eq!(run((0..200).map(|i| if i % 6 == 0 { 0.01 } else { 6.0 })), None);
        assert_eq!(run((0..200).map(|i| if i % 3 == 0 { 0.01 } else { 6.0 })), Some(9));
        // A good beginning carries the answer for a while: 30 sure tokens stand against 10 unsure ones.
        assert_eq!(run((0..200).map(|i| if i < 30 { 6.0 } else { 0.1 })), Some(39));
        assert_eq!(run([0.0; 9]), None);
        assert_eq!(run([]), None);
    }
}
