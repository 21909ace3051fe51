//! Two readings of a counter or a power sensor, and what was used between them.

use std::time::Duration;

use super::joules::energy_uj;
use super::{Elapsed, Gap};

/// What was used, in microjoules, between bounds that come from how it was read alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The best guess.
    pub value_uj: u64,
    /// At least.
    pub low_uj: u64,
    /// At most.
    pub high_uj: u64,
}

impl Span {
    /// What a counter says.
    pub fn exactly(uj: u64) -> Self {
        Self { value_uj: uj, low_uj: uj, high_uj: uj }
    }

    /// Under a power that was `before` and is `after`, in microwatts, and between them in between.
    pub fn between(before: u64, after: u64, awake: Duration) -> Self {
        Self {
            value_uj: energy_uj(before / 2 + after / 2 + (before & after & 1), awake),
            low_uj: energy_uj(before.min(after), awake),
            high_uj: energy_uj(before.max(after), awake),
        }
    }

    /// Both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            value_uj: self.value_uj.saturating_add(other.value_uj),
            low_uj: self.low_uj.saturating_add(other.low_uj),
            high_uj: self.high_uj.saturating_add(other.high_uj),
        }
    }

    /// What came on top of `before`. Bounds stay bounds though a sum has reached the largest number there is.
    pub(super) fn less(self, before: Self) -> Self {
        let value_uj = self.value_uj.saturating_sub(before.value_uj);
        Self {
            value_uj,
            low_uj: self.low_uj.saturating_sub(before.low_uj).min(value_uj),
            high_uj: self.high_uj.saturating_sub(before.high_uj).max(value_uj),
        }
    }
}

/// A counter of microjoules that only grows, but where it wraps or is reset.
#[derive(Debug, Clone)]
pub struct Counter {
    last_uj: Option<u64>,
    /// It goes from 0 up to this and then begins at 0 again; `None` where it does not wrap.
    range_uj: Option<u64>,
    /// More power than this nothing behind it can take.
    power_max_uw: u64,
}

/// What is forgiven a counter in a short step, in microjoules: it may stand still for some milliseconds and then catch up.
const SLACK_UJ: u64 = 20_000_000;

impl Counter {
    /// A counter not yet read.
    pub fn new(range_uj: Option<u64>, power_max_uw: u64) -> Self {
        Self { last_uj: None, range_uj: range_uj.filter(|&range| range > 0), power_max_uw }
    }

    /// The counter says `now_uj`; what was used since it was last read. Whatever comes of it, the next step begins here.
    ///
    /// # Errors
    /// Why that can't be said.
    pub fn step(&mut self, now_uj: u64, elapsed: Elapsed) -> Result<Span, Gap> {
        let Some(before) = self.last_uj.replace(now_uj) else { return Ok(Span::default()) };
        let most = energy_uj(self.power_max_uw, elapsed.awake).saturating_add(SLACK_UJ);
        let uj = match self.range_uj {
            // Asleep it may have run too, but next to nothing; awake alone decides how often it may have wrapped.
            Some(range) if most > range => return Err(Gap::TooLong(elapsed.awake)),
            _ if now_uj >= before => now_uj - before,
            Some(range) if before <= range => range - before + now_uj,
            _ => return Err(Gap::Fell { from: before, to: now_uj }),
        };
        if uj > most {
            let power_max_uw = self.power_max_uw;
            return Err(Gap::Implausible { uj, awake: elapsed.awake, power_max_uw });
        }
        Ok(Span::exactly(uj))
    }

    /// It could not be read: the next step has nothing before it.
    pub fn lost(&mut self) {
        self.last_uj = None;
    }

    /// Whether it has been read, so that a step has a beginning.
    pub fn is_begun(&self) -> bool {
        self.last_uj.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOULE: u64 = 1_000_000;
    const RANGE: u64 = 262_143_328_850;

    fn awake(seconds: u64) -> Elapsed {
        Elapsed { awake: Duration::from_secs(seconds), slept: Duration::ZERO }
    }

    fn counter(at: u64) -> Counter {
        let mut counter = Counter::new(Some(RANGE), 200 * JOULE);
        assert_eq!(counter.step(at, awake(0)), Ok(Span::default()));
        counter
    }

    #[test]
    fn a_counter_that_wraps_goes_on_from_nothing() {
        let mut c = counter(RANGE - 5);
        assert_eq!(c.step(7, awake(1)), Ok(Span::exactly(12)));
        assert_eq!(c.step(7, awake(1)), Ok(Span::exactly(0)));
        assert_eq!(c.step(7 + 150 * JOULE, awake(1)), Ok(Span::exactly(150 * JOULE)));
    }

    #[test]
    fn a_reset_is_no_wrap() {
        let mut c = counter(200_000 * JOULE);
        assert!(matches!(c.step(10, awake(10)), Err(Gap::Implausible { .. })));
        assert_eq!(c.step(JOULE + 10, awake(10)), Ok(Span::exactly(JOULE)), "and it goes on from there");
    }

    #[test]
    fn two_wraps_look_like_one_so_long_steps_say_nothing() {
        // 262143 J at 200 W are 1310 s.
        assert!(counter(0).step(5, awake(1311)).is_err_and(|gap| matches!(gap, Gap::TooLong(_))));
        assert_eq!(counter(0).step(5, awake(1309)), Ok(Span::exactly(5)));
    }

    #[test]
    fn a_counter_without_a_range_never_falls() {
        let mut c = Counter::new(None, 200 * JOULE);
        let _ = c.step(10, awake(0));
        assert_eq!(c.step(4, awake(1)), Err(Gap::Fell { from: 10, to: 4 }));
        assert_eq!(c.step(5, awake(1)), Ok(Span::exactly(1)));
    }

    #[test]
    fn power_between_two_readings_lies_between_them() {
        let span = Span::between(10 * JOULE, 20 * JOULE, Duration::from_secs(2));
        assert_eq!(span, Span { value_uj: 30 * JOULE, low_uj: 20 * JOULE, high_uj: 40 * JOULE });
    }
}
