//! The one rule for findings that overlap.
//!
//! The more certain wins, then the longer, then the one that stands further up on the shelf. The loser keeps what the winner
//! leaves of it, if a letter or a digit is in it: whatever any detector found stays found, so that no half of an address is
//! sent because the other half is also a name.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Finding;

/// Findings without overlaps, from left to right. `findings` come in the order of the shelf, those of one detector without
/// overlaps: so no byte has more findings than there are detectors, and the whole is linear but for the sorting.
pub(super) fn settle(text: &str, mut findings: Vec<Finding>) -> Vec<Finding> {
    // Stable: the order of the shelf decides last.
    findings.sort_by_key(|f| (Reverse(f.certainty), Reverse(f.span.len())));
    // Ends and indices of what is settled, by starts.
    let mut settled: BTreeMap<usize, Finding> = BTreeMap::new();
    for finding in findings {
        let mut free = Vec::new();
        let mut end = finding.span.end;
        for (&start, winner) in settled.range(..finding.span.end).rev() {
            if winner.span.end <= finding.span.start {
                break;
            }
            free.push(winner.span.end..end);
            end = start;
        }
        if finding.span.start < end {
            free.push(finding.span.start..end);
        }
        for span in free {
            let Some(rest) = text.get(span.clone()) else { continue };
            let start = span.start + rest.find(char::is_alphanumeric).unwrap_or(rest.len());
            // A part keeps no more than what is said; a whole finding is what its detector says.
            let whole = span == finding.span;
            let (start, end) = if whole {
                (span.start, span.end)
            } else {
                (start, span.start + rest.rfind(char::is_alphanumeric).map_or(0, |at| at + width(rest, at)))
            };
            if start < end {
                settled.insert(start, Finding { span: start..end, ..finding.clone() });
            }
        }
    }
    settled.into_values().collect()
}

fn width(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::super::{Certainty, Class, Kind};
    use super::*;

    static A: Kind = Kind { name: "A", word: "A", class: Class::Secret };
    static B: Kind = Kind { name: "B", word: "B", class: Class::Secret };

    fn settled(text: &str, findings: &[(&'static Kind, &str, Certainty)]) -> Vec<(&'static str, String)> {
        let findings = findings
            .iter()
            .map(|(kind, part, certainty)| {
                let start = text.find(part).unwrap();
                Finding { kind, span: start..start + part.len(), certainty: *certainty }
            })
            .collect();
        settle(text, findings).into_iter().map(|f| (f.kind.name, text[f.span].to_owned())).collect()
    }

    #[test]
    fn the_certain_beat_the_long_and_the_loser_keeps_the_rest() {
        use Certainty::{Likely, Possible};
        let got =
            settled("see: über x@y.z – bär!", &[(&A, "über x@y.z – bär!", Possible), (&B, "x@y.z", Likely)]);
        assert_eq!(got, [("A", "über".into()), ("B", "x@y.z".into()), ("A", "bär".into())]);
    }

    #[test]
    fn the_long_beat_the_short_and_the_first_the_second() {
        use Certainty::Likely;
        assert_eq!(settled("ab cd", &[(&A, "ab", Likely), (&B, "ab cd", Likely)]), [("B", "ab cd".into())]);
        assert_eq!(
            settled("ab cd", &[(&A, "ab cd", Likely), (&B, "ab cd", Likely)]),
            [("A", "ab cd".into())]
        );
    }

    #[test]
    fn what_holds_no_letter_is_not_kept() {
        use Certainty::{Likely, Possible};
        assert_eq!(settled("<<ab>>", &[(&A, "<<ab>>", Possible), (&B, "ab", Likely)]), [("B", "ab".into())]);
    }
}
