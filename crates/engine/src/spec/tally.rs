//! What came of guesses, for whoever wants to know.

use super::DRAFTERS;

/// Guesses and what came of them, of one answer or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of each kind on the shelf.
    kinds: [Count; KINDS_MAX],
    /// Nanoseconds that the steps with guesses would have taken longer one token at a time, as measured; negative where they took longer
    /// than that.
    pub saved_ns: i64,
}

/// More than there are kinds.
const KINDS_MAX: usize = 8;

/// Guesses of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Tokens guessed.
    pub n_drafted: u64,
    /// Of those, tokens chosen.
    pub n_accepted: u64,
}

impl Tally {
    /// Counts guesses of the shelf's `kind`th kind.
    pub fn count(&mut self, kind: usize, n_drafted: usize, n_accepted: usize) {
        let count = &mut self.kinds[kind];
        count.n_drafted += n_drafted as u64;
        count.n_accepted += n_accepted as u64;
    }

    /// Counts what `other` counted, too.
    pub fn add(&mut self, other: &Self) {
        for (count, other) in self.kinds.iter_mut().zip(&other.kinds) {
            count.n_drafted += other.n_drafted;
            count.n_accepted += other.n_accepted;
        }
        self.saved_ns += other.saved_ns;
    }

    /// All kinds together.
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        for count in &self.kinds {
            total.n_drafted += count.n_drafted;
            total.n_accepted += count.n_accepted;
        }
        total
    }

    /// The kinds that guessed, with what came of it.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, Count)> {
        let named = DRAFTERS.iter().map(|kind| kind.name).zip(self.kinds);
        named.filter(|(_, count)| count.n_drafted > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place() {
        assert!(DRAFTERS.len() <= KINDS_MAX);
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a.count(1, 4, 3);
        b.count(1, 2, 0);
        b.count(0, 1, 1);
        a.add(&b);
        assert_eq!(a.total(), Count { n_drafted: 7, n_accepted: 4 });
        let names: Vec<_> = a.kinds().map(|(name, count)| (name, count.n_drafted)).collect();
        assert_eq!(names, [(DRAFTERS[0].name, 1), (DRAFTERS[1].name, 6)]);
    }
}
