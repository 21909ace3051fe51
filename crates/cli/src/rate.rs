//! How fast bytes come and how long it will take, over the last seconds.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples older than this no longer count, so that a change of speed shows soon.
const WINDOW: Duration = Duration::from_secs(8);
/// Samples closer than this are one.
const STEP: Duration = Duration::from_millis(200);

/// Bytes over time; the times are given, from any one beginning.
#[derive(Debug, Default)]
pub struct Rate {
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// At `now` there are `done` bytes. A count that falls begins anew.
    pub fn add(&mut self, now: Duration, done: u64) {
        if self.samples.back().is_some_and(|&(_, before)| done < before) {
            self.samples.clear();
        }
        let is_close = |&(at, _): &(Duration, u64)| now.saturating_sub(at) < STEP;
        if self.samples.len() > 1 && self.samples.get(self.samples.len() - 2).is_some_and(is_close) {
            self.samples.pop_back();
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && now.saturating_sub(self.samples[0].0) > WINDOW {
            self.samples.pop_front();
        }
    }

    /// Bytes per second, once there is something to divide by.
    pub fn per_second(&self) -> Option<f64> {
        let (&(start, first), &(end, last)) = (self.samples.front()?, self.samples.back()?);
        let seconds = end.saturating_sub(start).as_secs_f64();
        (seconds > 0.5 && last > first).then(|| (last - first) as f64 / seconds)
    }

    /// Time until `size` bytes are there, at this speed.
    pub fn left(&self, size: u64) -> Option<Duration> {
        let done = self.samples.back()?.1;
        let seconds = size.saturating_sub(done) as f64 / self.per_second()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// `0:07`, `12:34`, `3:04:05`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_seconds_count() {
        let mut rate = Rate::default();
        let at = Duration::from_millis;
        assert_eq!(rate.per_second(), None);
        for i in 0..=100 {
            rate.add(at(i * 100), i * 100);
        }
        assert!((rate.per_second().unwrap() - 1000.0).abs() < 1e-6);
        assert_eq!(rate.left(10_000 + 5000), Some(Duration::from_secs(5)));
        for i in 1..=100 {
            rate.add(at(10_000 + i * 100), 10_000 + i * 10);
        }
        assert!((rate.per_second().unwrap() - 100.0).abs() < 1e-6, "what was fast before is forgotten");
        rate.add(at(30_000), 0);
        assert_eq!(rate.per_second(), None, "begun anew");
        assert!(rate.samples.len() < 64, "bounded");
    }

    #[test]
    fn times_read_like_a_clock() {
        for (seconds, text) in [(7, "0:07"), (754, "12:34"), (11045, "3:04:05")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
