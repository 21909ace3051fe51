//! The sheet of facts: what the passages said to each question, where it stands, and how much of it may leave.
//!
//! The same answer to the same question is one fact with several places. What leaves of a fact is its answer, beside the number of
//! its passage: never the quotation, the name of a file or a byte of the passage that the answer does not have. An answer is
//! [`ANSWER_BYTES_MAX`] at most, and all that may leave, over all rounds, [`LEAVING_BYTES_MAX`] or one in [`LEAVING_PART`] bytes
//! of the documents, whichever is less. A fact that left once costs nothing when it leaves again.

use std::ops::Range;

/// The longest answer.
pub const ANSWER_BYTES_MAX: usize = 300;
/// The most bytes of answers that may leave.
pub const LEAVING_BYTES_MAX: usize = 8 << 10;
/// And one byte of so many of the documents'.
pub const LEAVING_PART: usize = 10;
/// The most facts; what comes after them is counted and left out.
pub const FACTS_MAX: usize = 2000;

/// Where a fact stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The passage, counted from 0.
    pub passage: usize,
    /// The document, counted from 0.
    pub document: usize,
    /// The bytes of the document that are quoted.
    pub quote: Range<usize>,
}

/// An answer that a passage gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Which question, counted from 0.
    pub question: usize,
    /// On one line.
    pub answer: String,
    /// Where it stands, at least once.
    pub places: Vec<Place>,
    /// Whether it was among what was given to leave.
    pub leaves: bool,
}

/// All facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sheet {
    facts: Vec<Fact>,
    /// Bytes that may leave.
    most: usize,
    /// Facts that had no room.
    pub n_left_out: usize,
}

impl Sheet {
    /// Of documents of `n_bytes` in all.
    pub fn new(n_bytes: usize) -> Self {
        Self { facts: Vec::new(), most: LEAVING_BYTES_MAX.min(n_bytes / LEAVING_PART), n_left_out: 0 }
    }

    /// All facts, in the order they were found.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Adds what a passage said to a question.
    pub fn add(&mut self, question: usize, answer: String, place: Place) {
        let same = |fact: &&mut Fact| {
            fact.question == question && fact.answer.to_lowercase() == answer.to_lowercase()
        };
        if let Some(fact) = self.facts.iter_mut().find(same) {
            // Passages share sentences.
            if !fact.places.iter().any(|is| is.document == place.document && is.quote == place.quote) {
                fact.places.push(place);
            }
        } else if self.facts.len() < FACTS_MAX && answer.len() <= ANSWER_BYTES_MAX {
            self.facts.push(Fact { question, answer, places: vec![place], leaves: false });
        } else {
            self.n_left_out += 1;
        }
    }

    /// The numbers of the facts that leave, counted from 0: those that did before, and of the others, in the order they were found, those
    /// that `may` and have room.
    pub fn leaving(&mut self, may: &dyn Fn(&Fact) -> bool) -> Vec<usize> {
        let mut n: usize = self.facts.iter().filter(|fact| fact.leaves).map(|fact| fact.answer.len()).sum();
        for fact in &mut self.facts {
            if !fact.leaves && n + fact.answer.len() <= self.most && may(fact) {
                n += fact.answer.len();
                fact.leaves = true;
            }
        }
        (0..self.facts.len()).filter(|&at| self.facts[at].leaves).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(passage: usize, quote: Range<usize>) -> Place {
        Place { passage, document: 0, quote }
    }

    #[test]
    fn the_same_answer_is_one_fact_with_its_places() {
        let mut sheet = Sheet::new(10_000);
        sheet.add(0, "In 1932".into(), place(0, 3..9));
        sheet.add(0, "in 1932".into(), place(1, 3..9));
        sheet.add(0, "in 1932".into(), place(4, 80..90));
        sheet.add(1, "in 1932".into(), place(4, 80..90));
        assert_eq!(sheet.facts().len(), 2);
        assert_eq!(sheet.facts()[0].places, [place(0, 3..9), place(4, 80..90)]);
    }

    #[test]
    fn what_leaves_is_a_tenth_of_the_documents_over_all_rounds() {
        let mut sheet = Sheet::new(1000);
        for i in 0..30 {
            sheet.add(0, format!("{i:020}"), place(i, 0..1));
        }
        let may = |fact: &Fact| !fact.answer.ends_with('1');
        assert_eq!(sheet.leaving(&may), [0, 2, 3, 4, 5]);
        sheet.add(1, "of a second round".into(), place(0, 0..1));
        assert_eq!(sheet.leaving(&|_| true), [0, 2, 3, 4, 5], "a second round has no room of its own");
        let mut sheet = Sheet::new(1 << 30);
        for i in 0..100 {
            sheet.add(0, format!("{i:0200}"), place(i, 0..1));
        }
        assert_eq!(sheet.leaving(&|_| true).len(), LEAVING_BYTES_MAX / 200);
        sheet.add(0, "x".repeat(ANSWER_BYTES_MAX + 1), place(0, 0..1));
        assert_eq!((sheet.facts().len(), sheet.n_left_out), (100, 1));
    }
}
