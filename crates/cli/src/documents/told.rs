//! What the user is told of how an answer came about: facts with their places, what was read, what left.

use ingle_assist::document::n_bytes;
use ingle_assist::told::Told;

use crate::env::say;

/// Facts that are listed where the answer names none.
const LISTED_MAX: usize = 20;
/// Places of a fact that are listed.
const PLACES_MAX: usize = 5;

/// What the user is told of how an answer came about.
pub struct Words<'a>(pub Told<'a>);

impl Words<'_> {
    /// The facts that the answer names, or the first ones, with where they stand.
    pub fn say_facts(&self, text: &str) {
        let facts = self.0.course.sheet().facts();
        let named: Vec<usize> =
            (0..facts.len()).filter(|at| text.contains(&format!("[{}]", at + 1))).collect();
        let all: Vec<usize> = if named.is_empty() { (0..facts.len()).collect() } else { named };
        for &at in all.iter().take(LISTED_MAX) {
            let all = &facts[at].places;
            let places = all.iter().take(PLACES_MAX).map(|place| {
                let document = &self.0.documents[place.document];
                format!("{}:{}", document.name, document.line_of(place.quote.start))
            });
            let more = match all.len().saturating_sub(PLACES_MAX) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let places = places.collect::<Vec<_>>().join(", ");
            say(format_args!("[{}] {}  {places}{more}", at + 1, facts[at].answer));
        }
        if all.len() > LISTED_MAX {
            say(format_args!("and {} more facts", all.len() - LISTED_MAX));
        }
    }

    /// How much was read, and how much left.
    pub fn say_what_left(&self) {
        let n_bytes = n_bytes(self.0.documents);
        let n_facts = self.0.course.sheet().facts().len();
        let how = match self.0.is_whole() {
            true => "whole, as it fits the context".to_owned(),
            false => format!("in {} passages, {n_facts} facts", self.0.n_passages),
        };
        let left = match self.0.left.filter(|left| left.n_bytes > 0) {
            None => "nothing left this device".to_owned(),
            Some(left) => {
                let what = match left.facts.len() {
                    0 => "question".to_owned(),
                    n if n < n_facts => format!("question and {n} of {n_facts} facts"),
                    1 => "question and 1 fact".to_owned(),
                    n => format!("question and {n} facts"),
                };
                let to = left.answered_by.as_deref().unwrap_or("elsewhere, which gave no answer");
                let share = 100.0 * left.n_bytes as f64 / n_bytes as f64;
                format!("{} bytes left for {to} ({what}), {share:.1} %", grouped(left.n_bytes))
            }
        };
        say(format_args!("read {} bytes here {how}; {left}", grouped(n_bytes as u64)));
    }
}

/// A number with commas.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_have_commas() {
        assert_eq!(
            [0, 999, 1000, 182_340, 1_000_000].map(grouped),
            ["0", "999", "1,000", "182,340", "1,000,000"]
        );
    }
}
