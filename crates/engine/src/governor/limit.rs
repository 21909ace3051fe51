//! A limit of power as a share of all threads' time.
//!
//! A limit in percent is that share. One in watts is held by what is measured: power over the limit shrinks the share in
//! proportion, and a little more, at once; power clearly below it lets the share grow by a quarter at most every
//! [`GROW_AFTER`]; in between nothing changes. Because a machine takes power when idle too, the share shrinks by
//! several steps rather than one; each is a measurement later. Before anything has been measured a busy core is taken for 4.5 W.

use std::time::Duration;

use super::Situation;

/// How long a share stays before it grows.
pub const GROW_AFTER: Duration = Duration::from_secs(5);
/// A busy core of which nothing is known, in microwatts.
const CORE_UW: u64 = 4_500_000;
/// Power from this part of the limit up is near enough, in thousandths.
const NEAR: u64 = 850;
/// Aimed at, in thousandths of the limit.
const AIM: u64 = 950;
/// The most that a share grows at once, in thousandths.
const GROW: u64 = 1250;
/// The least duty of the last thread, in thousandths.
const DUTY_MIN: u64 = 100;

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerLimit {
    /// Microwatts, of whatever the first source measures.
    Microwatts(u64),
    /// Thousandths of the time of all threads.
    Permille(u16),
}

/// What it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Thousandths of the time of all threads.
    pub permille: u16,
    /// When it last changed.
    pub since: Duration,
    /// The least there can be is still too much.
    pub is_out_of_reach: bool,
}

impl PowerLimit {
    /// From `15W`, `7.5 W` or `50%`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected watts or a percentage, as 15W or 50%".to_owned();
        let number =
            |digits: &str| digits.trim().parse::<f64>().ok().filter(|n| *n > 0.0).ok_or_else(expected);
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            let percent = number(percent)?;
            if percent > 100.0 {
                return Err("expected 100% at most".to_owned());
            }
            return Ok(Self::Permille(((percent * 10.0).round() as u16).max(1)));
        }
        let watts = number(text.strip_suffix(['W', 'w']).ok_or_else(expected)?)?;
        if !(0.001..=100_000.0).contains(&watts) {
            return Err("expected from 0.001W to 100000W".to_owned());
        }
        Ok(Self::Microwatts((watts * 1e6).round() as u64))
    }
}

/// What `limit` leaves in `situation`.
pub(super) fn share(limit: PowerLimit, situation: &Situation) -> Share {
    let now = situation.now;
    let threads = situation.threads_max.max(1) as u64;
    let least = (DUTY_MIN / threads).max(1);
    let whole = |permille: u64| u16::try_from(permille.clamp(least, 1000)).unwrap_or(1000);
    let limit_uw = match limit {
        PowerLimit::Permille(permille) => {
            let before = situation.before.and_then(|plan| plan.share);
            let since =
                before.filter(|share| share.permille == whole(permille.into())).map_or(now, |s| s.since);
            return Share { permille: whole(permille.into()), since, is_out_of_reach: false };
        }
        PowerLimit::Microwatts(uw) => uw.max(1),
    };
    let Some((plan, held)) = situation.before.and_then(|plan| Some((plan, plan.share?))) else {
        let first = limit_uw.saturating_mul(1000) / (threads * CORE_UW);
        return Share { permille: whole(first), since: now, is_out_of_reach: false };
    };
    let Some(power_uw) = situation.power_uw.filter(|&uw| uw > 0) else { return held };
    // What was measured is of what ran, which heat or battery may have made less than the share.
    let ran = u64::from(plan.share_permille(situation.threads_max)).max(1);
    let scaled =
        |by: u64, of: u64| u64::try_from(u128::from(ran) * u128::from(by) / u128::from(of)).unwrap_or(1000);
    let aimed = scaled(limit_uw.saturating_mul(AIM) / 1000, power_uw);
    if power_uw > limit_uw {
        let permille = whole(aimed.min(u64::from(held.permille)));
        let is_out_of_reach = ran <= least + 1;
        let since = if permille == held.permille { held.since } else { now };
        return Share { permille, since, is_out_of_reach };
    }
    let is_low = power_uw < limit_uw.saturating_mul(NEAR) / 1000;
    let is_whole = ran + 1 >= u64::from(held.permille);
    if is_low && is_whole && held.permille < 1000 && now.saturating_sub(held.since) >= GROW_AFTER {
        // Small shares grow by one at least.
        let most = (u64::from(held.permille) * GROW / 1000).max(u64::from(held.permille) + 1);
        let permille = whole(aimed.min(most).max(held.permille.into()));
        return Share { permille, since: now, is_out_of_reach: false };
    }
    Share { is_out_of_reach: false, ..held }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_watts_or_percent() {
        assert_eq!(PowerLimit::parse("15W"), Ok(PowerLimit::Microwatts(15_000_000)));
        assert_eq!(PowerLimit::parse(" 7.5 w "), Ok(PowerLimit::Microwatts(7_500_000)));
        assert_eq!(PowerLimit::parse("50%"), Ok(PowerLimit::Permille(500)));
        for wrong in ["15", "W", "-1W", "0W", "0%", "101%", "NaNW", "infW", ""] {
            assert!(PowerLimit::parse(wrong).unwrap_err().starts_with("expected"), "{wrong}");
        }
    }
}
