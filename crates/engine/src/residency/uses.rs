//! How likely a model is wanted again: uses counted, the older the less.
//!
//! Each use adds 1 to a heat that halves every [`HALF_LIFE`]. For requests that come independently of each other the heat is
//! proportional to their rate, which is all that a comparison of models needs; it is no probability by itself.

use std::time::Duration;

/// In this time a use counts half.
pub const HALF_LIFE: Duration = Duration::from_secs(600);

/// When and how often a model was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Uses {
    heat: f64,
    last: Duration,
    n: u64,
}

impl Uses {
    /// One more, now.
    pub fn note(&mut self, now: Duration) {
        self.heat = self.chance(now) + 1.0;
        (self.last, self.n) = (self.last.max(now), self.n + 1);
    }

    /// How likely it is wanted soon, against others of the same moment.
    pub fn chance(&self, now: Duration) -> f64 {
        let age = now.saturating_sub(self.last);
        self.heat * (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }

    /// When it was last.
    pub fn last(&self) -> Duration {
        self.last
    }

    /// How often.
    pub fn n(&self) -> u64 {
        self.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_halves_and_adds_up() {
        let (mut uses, at) = (Uses::default(), |n: u32| HALF_LIFE * n);
        assert_eq!(uses.chance(at(3)), 0.0);
        uses.note(at(0));
        uses.note(at(1));
        assert!((uses.chance(at(1)) - 1.5).abs() < 1e-9);
        assert!((uses.chance(at(3)) - 0.375).abs() < 1e-9);
        assert_eq!((uses.n(), uses.last()), (2, at(1)));
        // A clock that goes back is taken as one that stands.
        uses.note(at(0));
        assert_eq!(uses.last(), at(1));
    }
}
