//! An amount of energy: how much, between which bounds, how it is known, and of what.
//!
//! Amounts are whole microjoules, so that parts add up to their whole exactly. Bounds go through every operation as
//! intervals do: nothing is assumed about how errors would cancel.

use std::fmt;
use std::time::Duration;

/// How an amount is known, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// A counter or a power sensor of this machine said so.
    Measured,
    /// From what this machine did, by a model of what that takes.
    Modelled,
    /// From what is known of others.
    Estimated,
}

/// Of what it is the energy. Amounts of different scopes are never added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The processor's package, without memory, screen and power supply.
    Package,
    /// The whole device.
    Device,
    /// A data centre's share: accelerator, host, idle spares, cooling and power conversion.
    FullStack,
}

impl Method {
    /// As reports say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "MEASURED",
            Self::Modelled => "MODELLED",
            Self::Estimated => "ESTIMATED",
        }
    }
}

impl Scope {
    /// As reports say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Device => "device",
            Self::FullStack => "full stack",
        }
    }
}

/// An amount of energy in microjoules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joules {
    /// The best guess.
    pub value_uj: u64,
    /// At least.
    pub low_uj: u64,
    /// At most.
    pub high_uj: u64,
    /// How it is known.
    pub method: Method,
    /// Of what.
    pub scope: Scope,
    /// Whether what the machine takes when idle has been taken away.
    pub idle_subtracted: bool,
}

/// Why two amounts can't be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mixed {
    /// They are of different things.
    #[error("energy of the {} and of the {} can't be added", .0.name(), .1.name())]
    Scopes(Scope, Scope),
    /// One is without idle power.
    #[error("energy with and without idle power can't be added")]
    Idle,
}

impl Joules {
    /// An amount whose bounds are `permille` thousandths of it away.
    pub fn within(value_uj: u64, permille: u64, method: Method, scope: Scope) -> Self {
        let away = scaled(value_uj, permille, 1000);
        Self {
            value_uj,
            low_uj: value_uj.saturating_sub(away),
            high_uj: value_uj.saturating_add(away),
            method,
            scope,
            idle_subtracted: false,
        }
    }

    /// The sum, known as well as the worse of the two.
    ///
    /// # Errors
    /// That they are amounts of different things.
    pub fn plus(self, other: Self) -> Result<Self, Mixed> {
        if self.scope != other.scope {
            return Err(Mixed::Scopes(self.scope, other.scope));
        }
        if self.idle_subtracted != other.idle_subtracted {
            return Err(Mixed::Idle);
        }
        Ok(Self {
            value_uj: self.value_uj.saturating_add(other.value_uj),
            low_uj: self.low_uj.saturating_add(other.low_uj),
            high_uj: self.high_uj.saturating_add(other.high_uj),
            method: self.method.max(other.method),
            ..self
        })
    }

    /// What is left without the power that the machine takes when idle, given as its bounds in microwatts; never below 0.
    pub fn less_idle(self, [low_uw, high_uw]: [u64; 2], time: Duration) -> Self {
        let [least, most] = [low_uw, high_uw].map(|uw| energy_uj(uw, time));
        Self {
            value_uj: self.value_uj.saturating_sub(least / 2 + most / 2 + (least & most & 1)),
            low_uj: self.low_uj.saturating_sub(most),
            high_uj: self.high_uj.saturating_sub(least),
            idle_subtracted: true,
            ..self
        }
    }

    /// Shares by `weights`, for those who ran at the same time. They add up to the whole exactly, and are modelled at
    /// best, since no counter tells whose a joule was. Without any weight the first has all; without anybody nobody.
    pub fn split(self, weights: &[u64]) -> Vec<Self> {
        let whole: u128 = weights.iter().map(|&w| u128::from(w)).sum();
        let (mut before, mut given) = (0u128, [0u64; 3]);
        // The least, what the best guess has on top, and what the most has on top of that: so no share leaves its bounds.
        let [low, value, high] = [self.low_uj, self.value_uj, self.high_uj];
        let all = [low, value.saturating_sub(low), high.saturating_sub(value)];
        let share = |&weight: &u64| {
            before += u128::from(weight);
            // Cut where the running sum stands, so that what is rounded off one goes to the next.
            let upto = all.map(|uj| match whole {
                0 => uj,
                _ => (u128::from(uj) * before / whole) as u64,
            });
            let [low_uj, to_value, to_high] = [0, 1, 2].map(|k| upto[k] - given[k]);
            let value_uj = low_uj + to_value;
            let high_uj = value_uj + to_high;
            given = upto;
            let method = if weights.len() > 1 { self.method.max(Method::Modelled) } else { self.method };
            Self { value_uj, low_uj, high_uj, method, ..self }
        };
        weights.iter().map(share).collect()
    }

    /// The mean power over `time` in microwatts; `None` without time.
    pub fn power_uw(&self, time: Duration) -> Option<u64> {
        let us = time.as_micros();
        (us > 0).then(|| u64::try_from(u128::from(self.value_uj) * 1_000_000 / us).unwrap_or(u64::MAX))
    }
}

/// `12.3 J (11.7 to 12.9, MEASURED, package)`
impl fmt::Display for Joules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [value, low, high] = [self.value_uj, self.low_uj, self.high_uj].map(|uj| uj as f64 / 1e6);
        let digits = if high < 10.0 { 2 } else { 1 };
        let (method, scope) = (self.method.name(), self.scope.name());
        write!(f, "{value:.digits$} J ({low:.digits$} to {high:.digits$}, {method}, {scope}")?;
        f.write_str(if self.idle_subtracted { ", without idle power)" } else { ")" })
    }
}

/// `n * by / of` without overflow on the way.
pub(super) fn scaled(n: u64, by: u64, of: u64) -> u64 {
    let product = u128::from(n) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// Microjoules of a power in microwatts over some time.
pub(super) fn energy_uj(power_uw: u64, time: Duration) -> u64 {
    let product = u128::from(power_uw).saturating_mul(time.as_micros()) / 1_000_000;
    u64::try_from(product).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOULE: u64 = 1_000_000;

    fn package(value_uj: u64) -> Joules {
        Joules::within(value_uj, 50, Method::Measured, Scope::Package)
    }

    #[test]
    fn bounds_add_and_the_worse_method_stays() {
        let modelled = Joules { method: Method::Modelled, ..package(10 * JOULE) };
        let sum = package(2 * JOULE).plus(modelled).unwrap();
        assert_eq!((sum.value_uj, sum.low_uj, sum.high_uj), (12_000_000, 11_400_000, 12_600_000));
        assert_eq!(sum.method, Method::Modelled);
        assert_eq!(sum.to_string(), "12.0 J (11.4 to 12.6, MODELLED, package)");
    }

    #[test]
    fn amounts_of_different_things_are_not_added() {
        let device = Joules { scope: Scope::Device, ..package(1) };
        assert_eq!(package(1).plus(device), Err(Mixed::Scopes(Scope::Package, Scope::Device)));
        let said = package(1).plus(device).unwrap_err().to_string();
        assert_eq!(said, "energy of the package and of the device can't be added");
        let bare = package(JOULE).less_idle([0, 0], Duration::ZERO);
        assert_eq!(bare.plus(package(1)), Err(Mixed::Idle));
    }

    #[test]
    fn idle_power_widens_the_bounds_and_ends_at_nothing() {
        let left = package(100 * JOULE).less_idle([2 * JOULE, 4 * JOULE], Duration::from_secs(10));
        assert_eq!((left.value_uj, left.low_uj, left.high_uj), (70 * JOULE, 55 * JOULE, 85 * JOULE));
        let none = package(JOULE).less_idle([5 * JOULE; 2], Duration::from_secs(1));
        assert_eq!((none.value_uj, none.low_uj, none.high_uj), (0, 0, 0));
        assert_eq!(package(30 * JOULE).power_uw(Duration::from_secs(2)), Some(15 * JOULE));
        assert_eq!(package(30 * JOULE).power_uw(Duration::ZERO), None);
    }

    #[test]
    fn shares_add_up_to_the_whole_to_the_microjoule() {
        let whole = package(1_000_003);
        let narrow = Joules { low_uj: 7, value_uj: 8, high_uj: 8, ..whole };
        assert!(narrow.split(&[1; 5]).iter().all(|j| j.low_uj <= j.value_uj && j.value_uj <= j.high_uj));
        assert_eq!(narrow.split(&[1; 5]).iter().map(|j| j.value_uj).sum::<u64>(), 8);
        for weights in [&[1, 1, 1][..], &[0, 7, 0, 3], &[u64::MAX, 1, u64::MAX], &[0, 0], &[5]] {
            let shares = whole.split(weights);
            assert_eq!(shares.len(), weights.len());
            let sum = |of: fn(&Joules) -> u64| shares.iter().map(of).sum::<u64>();
            assert_eq!(sum(|j| j.value_uj), whole.value_uj, "{weights:?}");
            assert_eq!((sum(|j| j.low_uj), sum(|j| j.high_uj)), (whole.low_uj, whole.high_uj));
            assert!(shares.iter().all(|j| (j.method == Method::Modelled) == (weights.len() > 1)));
        }
        assert!(whole.split(&[]).is_empty());
    }
}
