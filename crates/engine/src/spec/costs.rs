//! What a step costs on this machine with this model, by the rows it judges, as measured.
//!
//! Steps grow dearer as a context fills and cheaper when a neighbour leaves the machine, all alike; what a further row costs beside the
//! first changes little. So there is one time that follows quickly, that of a step of one row, and a factor for each number of rows that
//! follows slowly.

/// The most rows of a step that are told apart.
pub const ROWS_MAX: usize = 64;
/// What a further row is taken to cost, in steps of one row, until it has been measured.
const FURTHER_ROW: f64 = 0.05;
/// The most that one measurement can be off: what is further away is an accident.
const OFF_MAX: f64 = 1.5;

/// Times of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    /// Nanoseconds of a step of one row.
    one_ns: f64,
    /// Of each number of rows, less one, how many times that.
    factors: [Factor; ROWS_MAX],
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Factor {
    value: f64,
    n_measured: u32,
}

impl Default for Costs {
    fn default() -> Self {
        let mut factors = [Factor::default(); ROWS_MAX];
        factors[0].value = 1.0;
        Self { one_ns: 0.0, factors }
    }
}

impl Costs {
    /// A step judged `n_rows` rows and took so long.
    pub fn measured(&mut self, n_rows: usize, ns: f64) {
        if n_rows == 0 || n_rows > ROWS_MAX || ns <= 0.0 {
            return;
        }
        if self.one_ns == 0.0 {
            self.one_ns = ns / self.factor(n_rows);
        }
        let off = (ns / self.of(n_rows)).clamp(1.0 / OFF_MAX, OFF_MAX);
        let factor = &mut self.factors[n_rows - 1];
        factor.n_measured += 1;
        if n_rows == 1 {
            self.one_ns *= 1.0 + 0.2 * (off - 1.0);
        } else if factor.n_measured == 1 {
            factor.value = (ns / self.one_ns).max(1.0);
        } else {
            // More rows never take less: then all steps have become cheaper.
            let share = (1.0 / f64::from(factor.n_measured)).max(0.02);
            factor.value = (factor.value * (1.0 + (off - 1.0) * share)).max(1.0);
            self.one_ns *= 1.0 + 0.1 * (off - 1.0);
        }
    }

    /// Whether a step of `n_rows` has been measured.
    pub fn knows(&self, n_rows: usize) -> bool {
        self.factors.get(n_rows.wrapping_sub(1)).is_some_and(|factor| factor.n_measured > 0)
    }

    /// Nanoseconds that a step of `n_rows` takes; 1 for a step of one row while nothing has been measured.
    pub fn of(&self, n_rows: usize) -> f64 {
        self.factor(n_rows) * if self.one_ns > 0.0 { self.one_ns } else { 1.0 }
    }

    /// In steps of one row.
    fn factor(&self, n_rows: usize) -> f64 {
        let at = |i: usize| self.factors.get(i).filter(|f| i == 0 || f.n_measured > 0).map(|f| (i, f.value));
        let i = n_rows.max(1) - 1;
        let (below, least) = (0..=i.min(ROWS_MAX - 1)).rev().find_map(at).unwrap_or((0, 1.0));
        match (i + 1..ROWS_MAX).find_map(at) {
            Some((above, most)) if below < i => {
                least + (most - least) * (i - below) as f64 / (above - below) as f64
            }
            _ => least + FURTHER_ROW * (i - below) as f64,
        }
    }

    /// The factors that were measured, with the rows they are of, to be kept.
    pub fn factors(&self) -> impl Iterator<Item = (usize, f64)> {
        let measured = self.factors.iter().enumerate().filter(|(_, factor)| factor.n_measured > 0);
        measured.map(|(i, factor)| (i + 1, factor.value))
    }

    /// Takes a factor that was kept; one of no use is passed over.
    pub fn remember(&mut self, n_rows: usize, factor: f64) {
        if (2..=ROWS_MAX).contains(&n_rows) && (1.0..1e3).contains(&factor) {
            self.factors[n_rows - 1] = Factor { value: factor, n_measured: 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_two_that_are_known_lies_between_them() {
        let mut costs = Costs::default();
        assert_eq!(costs.of(1), 1.0);
        costs.measured(1, 1000.0);
        costs.measured(5, 1400.0);
        assert!(costs.of(1) == 1000.0 && costs.of(5) == 1400.0 && costs.of(3) == 1200.0);
        assert!((costs.of(9) - 1600.0).abs() < 1e-6 && costs.knows(5) && !costs.knows(4));
    }

    #[test]
    fn all_times_follow_one_and_an_accident_changes_little() {
        let mut costs = Costs::default();
        for _ in 0..50 {
            costs.measured(1, 1000.0);
            costs.measured(4, 1300.0);
        }
        costs.measured(4, 1e9);
        assert!((1200.0..1500.0).contains(&costs.of(4)), "{}", costs.of(4));
        // Everything takes twice as long from here on; only steps of four are seen.
        for _ in 0..100 {
            costs.measured(4, 2600.0);
        }
        assert!((1500.0..2200.0).contains(&costs.of(1)), "{}", costs.of(1));
        assert!((costs.of(4) / 2600.0 - 1.0).abs() < 0.05, "{}", costs.of(4));
    }

    #[test]
    fn more_rows_never_take_less_where_the_machine_becomes_faster() {
        let mut costs = Costs::default();
        costs.measured(1, 1000.0);
        costs.measured(2, 1080.0);
        for _ in 0..50 {
            costs.measured(2, 540.0);
        }
        assert!(costs.of(2) >= costs.of(1) && costs.of(1) > 490.0, "{} {}", costs.of(1), costs.of(2));
        assert!((costs.of(2) / 540.0 - 1.0).abs() < 0.05, "{}", costs.of(2));
    }

    #[test]
    fn factors_are_remembered() {
        let mut costs = Costs::default();
        costs.measured(1, 100.0);
        costs.measured(8, 170.0);
        let mut later = Costs::default();
        for (n_rows, factor) in costs.factors() {
            later.remember(n_rows, factor);
        }
        later.remember(3, f64::NAN);
        later.remember(0, 2.0);
        later.measured(1, 50.0);
        assert!(later.of(8) == 85.0 && !later.knows(3));
    }
}
