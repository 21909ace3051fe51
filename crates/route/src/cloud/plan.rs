//! What is tried next: a pure plan of retries, fallbacks and rests.
//!
//! An endpoint that is busy or stumbles is asked again after a wait that doubles, as long as it asks to be waited for or no longer than
//! [`Limits`] say; then the next one is asked. One that failed for good rests before another request tries it. A request that is refused
//! for what it says (4xx) is not repeated there. When the deadline would pass, nothing more is tried.

/// How patient a request is. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attempts at one endpoint.
    pub attempts: usize,
    /// The wait before the second attempt.
    pub wait_ms: u64,
    /// The longest wait that an endpoint may ask for.
    pub wait_max_ms: u64,
    /// How long an endpoint rests that failed.
    pub rest_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts: 3, wait_ms: 500, wait_max_ms: 20_000, rest_ms: 60_000 }
    }
}

/// Why an attempt gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// 429 or 503; with the wait it asked for.
    Busy(Option<u64>),
    /// Another 5xx.
    Server(u16),
    /// Another 4xx: it will say the same again.
    Refused(u16),
    /// No connection, no head in time, or none that makes sense.
    Unreachable,
    /// An answer that broke off.
    Cut,
    /// The program's own network policy.
    Blocked,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which endpoint.
    pub endpoint: usize,
    /// Why.
    pub trouble: Trouble,
}

/// Until when endpoints rest, over all requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    until_ms: Vec<u64>,
}

impl Health {
    /// Endpoints that rest until these times, in milliseconds since 1970.
    pub fn until(until_ms: Vec<u64>) -> Self {
        Self { until_ms }
    }

    /// Until when an endpoint rests; 0 where it does not.
    pub fn until_ms(&self, endpoint: usize) -> u64 {
        self.until_ms.get(endpoint).copied().unwrap_or(0)
    }

    /// Whether the endpoint is left alone at `now_ms`.
    pub fn rests(&self, endpoint: usize, now_ms: u64) -> bool {
        self.until_ms.get(endpoint).is_some_and(|&until| now_ms < until)
    }

    /// The endpoint failed a request at `now_ms`.
    pub fn failed(&mut self, endpoint: usize, now_ms: u64, limits: &Limits) {
        if self.until_ms.len() <= endpoint {
            self.until_ms.resize(endpoint + 1, 0);
        }
        self.until_ms[endpoint] = now_ms + limits.rest_ms;
    }

    /// The endpoint has answered.
    pub fn answered(&mut self, endpoint: usize) {
        if let Some(until) = self.until_ms.get_mut(endpoint) {
            *until = 0;
        }
    }
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// After a wait, this endpoint is asked.
    Try {
        /// Which.
        endpoint: usize,
        /// How long before, in milliseconds.
        after_ms: u64,
    },
    /// Nobody is asked any more.
    GiveUp,
}

/// What follows `attempts` at `n_endpoints` endpoints.
pub fn plan(
    health: &Health,
    n_endpoints: usize,
    attempts: &[Attempt],
    (now_ms, deadline_ms): (u64, u64),
    limits: &Limits,
) -> Step {
    let tries = |endpoint| attempts.iter().filter(|a| a.endpoint == endpoint).count();
    if now_ms >= deadline_ms {
        return Step::GiveUp;
    }
    if let Some(last) = attempts.last() {
        let n = tries(last.endpoint);
        let doubled = limits.wait_ms.saturating_mul(1 << (n - 1).min(16));
        let wait = match last.trouble {
            Trouble::Busy(asked) => Some(asked.unwrap_or(doubled)),
            Trouble::Server(_) | Trouble::Unreachable | Trouble::Cut => Some(doubled),
            Trouble::Refused(_) => None,
            Trouble::Blocked => return Step::GiveUp,
        };
        let again = wait.filter(|&wait| {
            n < limits.attempts && wait <= limits.wait_max_ms && now_ms.saturating_add(wait) < deadline_ms
        });
        if let Some(after_ms) = again {
            return Step::Try { endpoint: last.endpoint, after_ms };
        }
    }
    let untried = |endpoint: &usize| tries(*endpoint) == 0;
    let fresh = (0..n_endpoints).filter(untried).find(|&endpoint| !health.rests(endpoint, now_ms));
    // Where all rest, one that rests is better than none, once.
    let resting = || (0..n_endpoints).find(untried).filter(|_| attempts.is_empty());
    match fresh.or_else(resting) {
        Some(endpoint) => Step::Try { endpoint, after_ms: 0 },
        None => Step::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { attempts: 3, wait_ms: 100, wait_max_ms: 5000, rest_ms: 1000 };

    fn next(attempts: &[(usize, Trouble)], now: u64) -> Step {
        let attempts: Vec<Attempt> = attempts
            .iter()
            .map(|(endpoint, trouble)| Attempt { endpoint: *endpoint, trouble: trouble.clone() })
            .collect();
        plan(&Health::default(), 2, &attempts, (now, 10_000), &LIMITS)
    }

    fn at(endpoint: usize, after_ms: u64) -> Step {
        Step::Try { endpoint, after_ms }
    }

    #[test]
    fn who_stumbles_is_asked_again_and_then_the_next() {
        use Trouble::{Busy, Cut, Refused, Server, Unreachable};
        assert_eq!(next(&[], 0), at(0, 0));
        assert_eq!(next(&[(0, Server(500))], 0), at(0, 100));
        assert_eq!(next(&[(0, Server(500)), (0, Cut)], 0), at(0, 200));
        assert_eq!(next(&[(0, Server(500)), (0, Cut), (0, Unreachable)], 0), at(1, 0));
        assert_eq!(next(&[(0, Refused(401))], 0), at(1, 0));
        assert_eq!(next(&[(0, Busy(Some(3000)))], 0), at(0, 3000));
        assert_eq!(next(&[(0, Busy(Some(60_000)))], 0), at(1, 0), "too long a wait");
        assert_eq!(next(&[(0, Refused(400)), (1, Refused(400))], 0), Step::GiveUp);
        assert_eq!(next(&[(0, Trouble::Blocked)], 0), Step::GiveUp);
    }

    #[test]
    fn nothing_is_tried_beyond_the_deadline() {
        assert_eq!(next(&[], 10_000), Step::GiveUp);
        assert_eq!(next(&[(0, Trouble::Busy(Some(4000)))], 7000), at(1, 0));
    }

    #[test]
    fn who_failed_rests_unless_all_do() {
        let mut health = Health::default();
        health.failed(0, 0, &LIMITS);
        let first = |health: &Health, now| plan(health, 2, &[], (now, 10_000), &LIMITS);
        assert_eq!((first(&health, 999), first(&health, 1000)), (at(1, 0), at(0, 0)));
        health.failed(1, 0, &LIMITS);
        assert_eq!(first(&health, 10), at(0, 0));
        health.answered(1);
        assert_eq!(first(&health, 10), at(1, 0));
    }
}
