//! How much an engine may do at the moment: what a plan of [`crate::governor`] leaves, set by whoever plans and read between steps.
//!
//! Threads are given when a model is loaded and stay; what a plan takes away of them is rested off behind each step, while the pool's
//! turn is held, so that models which share the pool are held back together. No answer changes, it only comes later.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::governor::Plan;

/// The longest sleep without a look at whether the engine is to stop.
const NAP: Duration = Duration::from_millis(20);

/// What engines may do; those that share it are held back together.
#[derive(Debug)]
pub struct Allowance {
    /// Of the time of all threads, in thousandths.
    permille: AtomicUsize,
    drafts_max: AtomicUsize,
    batch_max: AtomicUsize,
    rested_ns: AtomicU64,
}

impl Default for Allowance {
    /// Everything.
    fn default() -> Self {
        Self {
            permille: AtomicUsize::new(1000),
            drafts_max: AtomicUsize::new(usize::MAX),
            batch_max: AtomicUsize::new(usize::MAX),
            rested_ns: AtomicU64::new(0),
        }
    }
}

impl Allowance {
    /// What `plan` leaves of `n_threads` threads that compute.
    pub fn set(&self, plan: &Plan, n_threads: usize) {
        let permille = plan.threads * usize::from(plan.duty_permille) / n_threads.max(1);
        self.permille.store(permille.clamp(1, 1000), Relaxed);
        self.drafts_max.store(plan.drafts_max, Relaxed);
        self.batch_max.store(plan.batch_max.max(1), Relaxed);
    }

    /// Of the time of all threads, in thousandths.
    pub fn permille(&self) -> usize {
        self.permille.load(Relaxed)
    }

    /// The most guesses at a time for an answer.
    pub fn drafts_max(&self) -> usize {
        self.drafts_max.load(Relaxed)
    }

    /// The most answers at a time.
    pub fn batch_max(&self) -> usize {
        self.batch_max.load(Relaxed)
    }

    /// How long engines have rested, all together.
    pub fn rested(&self) -> Duration {
        Duration::from_nanos(self.rested_ns.load(Relaxed))
    }

    /// Rests off what a step of `busy` owes; less where `stop` is raised.
    pub(super) fn rest(&self, busy: Duration, stop: &AtomicBool) {
        let mut left = rest_after(busy, self.permille());
        while !left.is_zero() && !stop.load(Relaxed) {
            let nap = left.min(NAP);
            std::thread::sleep(nap);
            self.rested_ns.fetch_add(nap.as_nanos() as u64, Relaxed);
            left -= nap;
        }
    }
}

/// How long to rest after `busy` work, to work `permille` of the time.
fn rest_after(busy: Duration, permille: usize) -> Duration {
    let permille = permille.clamp(1, 1000) as u32;
    busy.saturating_mul(1000 - permille) / permille
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_time_is_three_times_the_rest() {
        let busy = Duration::from_millis(30);
        assert_eq!(rest_after(busy, 1000), Duration::ZERO);
        assert_eq!(rest_after(busy, 250), Duration::from_millis(90));
    }

    #[test]
    fn a_rest_ends_when_the_engine_is_to_stop() {
        let allowance = Allowance::default();
        allowance.permille.store(1, Relaxed);
        allowance.rest(Duration::from_secs(3600), &AtomicBool::new(true));
        assert_eq!(allowance.rested(), Duration::ZERO);
        allowance.permille.store(500, Relaxed);
        allowance.rest(Duration::from_millis(2), &AtomicBool::new(false));
        assert_eq!(allowance.rested(), Duration::from_millis(2));
    }
}
