//! Amounts with bounds, in whole numbers small enough that nothing needs a fraction: microjoules, billionths of a currency,
//! micrograms of CO2 equivalents. So a sum is the same in any order, and sums of parts are the sum of all.
//!
//! What is of different things is never added: [`Total::add`] is asked per scope, per currency, and [`EnergyKey`] says which
//! energies are of one kind.

use serde::{Deserialize, Serialize};

/// At least, best guess, at most; written as an array of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u64; 3]", into = "[u64; 3]")]
pub struct Interval {
    /// At least.
    pub low: u64,
    /// The best guess.
    pub value: u64,
    /// At most.
    pub high: u64,
}

impl Interval {
    /// Known exactly.
    pub fn exactly(value: u64) -> Self {
        Self { low: value, value, high: value }
    }

    /// Each bound times that of `by`, over `of`, rounded down.
    pub fn scaled(self, by: Self, of: u64) -> Self {
        let scale = |n: u64, by: u64| {
            let product = u128::from(n) * u128::from(by) / u128::from(of.max(1));
            u64::try_from(product).unwrap_or(u64::MAX)
        };
        let [low, value, high] =
            [scale(self.low, by.low), scale(self.value, by.value), scale(self.high, by.high)];
        Self { low, value, high }
    }
}

impl TryFrom<[u64; 3]> for Interval {
    type Error = String;

    fn try_from([low, value, high]: [u64; 3]) -> Result<Self, String> {
        if low <= value && value <= high {
            Ok(Self { low, value, high })
        } else {
            Err(format!("[{low}, {value}, {high}], expected three numbers that rise"))
        }
    }
}

impl From<Interval> for [u64; 3] {
    fn from(Interval { low, value, high }: Interval) -> Self {
        [low, value, high]
    }
}

/// How an amount is known, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// A sensor of the machine said so.
    Measured,
    /// By a model of what the machine did.
    Modelled,
    /// From what is known of others.
    Estimated,
}

/// Of what it is the energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The processor's package.
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

/// Energy of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Energy {
    /// Microjoules.
    pub uj: Interval,
    /// How it is known.
    pub method: Method,
    /// Of what.
    pub scope: Scope,
    /// Whether what the machine takes when idle has been taken away.
    pub idle_subtracted: bool,
}

/// Which energies may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EnergyKey {
    /// Of what.
    pub scope: Scope,
    /// Whether without idle power.
    pub idle_subtracted: bool,
}

impl Energy {
    /// Its kind.
    pub fn key(&self) -> EnergyKey {
        EnergyKey { scope: self.scope, idle_subtracted: self.idle_subtracted }
    }
}

/// What a request cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Billionths of the currency.
    pub nano: Interval,
    /// As ISO 4217 writes it.
    pub currency: String,
    /// Which tariff or list of prices, and whose.
    pub source: String,
    /// Of which day, `YYYY-MM-DD`.
    pub date: String,
}

/// What a request gave off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carbon {
    /// Micrograms of CO2 equivalents.
    pub ug: Interval,
    /// Whose figure of the grid.
    pub source: String,
    /// Of which day, `YYYY-MM-DD`.
    pub date: String,
}

/// A sum of intervals: nothing is assumed about how their errors would cancel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// At least.
    pub low: u128,
    /// The best guess.
    pub value: u128,
    /// At most.
    pub high: u128,
    /// How many were added.
    pub n: u64,
}

impl Total {
    /// One more, of the same thing.
    pub fn add(&mut self, one: Interval) {
        self.low += u128::from(one.low);
        self.value += u128::from(one.value);
        self.high += u128::from(one.high);
        self.n += 1;
    }
}

/// How one total stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Below it, whatever the truth within the bounds is.
    Less {
        /// By how many percent: at least, best guess, at most.
        percent: [f64; 3],
    },
    /// Above it.
    More {
        /// By how many percent: at least, best guess, at most.
        percent: [f64; 3],
    },
    /// The bounds overlap.
    NotDistinguishable,
}

/// How `here` stands to `there`.
pub fn compare(here: &Total, there: &Total) -> Verdict {
    // Of the first to the second, in percent.
    let off = |a: u128, b: u128| (a as f64 / b as f64 - 1.0) * 100.0;
    if here.high < there.low {
        let percent = [-off(here.high, there.low), -off(here.value, there.value), -off(here.low, there.high)];
        Verdict::Less { percent }
    } else if here.low > there.high && there.low > 0 {
        let percent = [off(here.low, there.high), off(here.value, there.value), off(here.high, there.low)];
        Verdict::More { percent }
    } else {
        Verdict::NotDistinguishable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total([low, value, high]: [u128; 3]) -> Total {
        Total { low, value, high, n: 1 }
    }

    #[test]
    fn overlapping_bounds_are_not_distinguishable() {
        let there = total([100, 400, 1000]);
        assert_eq!(compare(&total([10, 50, 100]), &there), Verdict::NotDistinguishable);
        assert_eq!(compare(&total([1000, 2000, 3000]), &there), Verdict::NotDistinguishable);
        assert_eq!(compare(&total([0, 9999, 99_999]), &there), Verdict::NotDistinguishable);
        let Verdict::Less { percent } = compare(&total([10, 40, 50]), &there) else { panic!() };
        assert_eq!(percent, [50.0, 90.0, 99.0]);
        let Verdict::More { percent } = compare(&total([2000, 4000, 5000]), &there) else { panic!() };
        assert_eq!(percent.map(f64::round), [100.0, 900.0, 4900.0]);
        assert_eq!(compare(&total([0; 3]), &total([0; 3])), Verdict::NotDistinguishable);
        assert_eq!(compare(&total([1; 3]), &total([0; 3])), Verdict::NotDistinguishable);
    }

    #[test]
    fn intervals_are_three_numbers_that_rise() {
        let read = |text: &str| serde_json::from_str::<Interval>(text);
        assert_eq!(read("[1, 2, 3]").unwrap(), Interval { low: 1, value: 2, high: 3 });
        assert!(read("[2, 1, 3]").unwrap_err().to_string().contains("expected three numbers that rise"));
        assert!(read("[1, 2, -3]").is_err() && read("[1, 2]").is_err());
        let scaled = Interval { low: 1, value: 2, high: 3 }.scaled(Interval::exactly(10), 4);
        assert_eq!(scaled, Interval { low: 2, value: 5, high: 7 });
        assert_eq!(Interval::exactly(u64::MAX).scaled(Interval::exactly(9), 3).low, u64::MAX);
    }
}
