//! Placeholders in the place of what is private, for as long as a conversation lasts.
//!
//! The same value has the same placeholder in all of a conversation and no other value has it, so that a model can reason
//! about what it doesn't see. Values are the same when their bytes are: `a@b.c` and `A@B.C` are two, for an answer must give
//! back what was written. A value that was replaced once is replaced wherever it stands in later texts, whether or not a
//! detector would know it there. What looks like a placeholder in the user's own text becomes one itself (`[TEXT_1]`).
//!
//! A [`Vault`] holds what must not leave. It has no serialised form, and its `Debug` tells only counts.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;

use super::placeholder::{Reading, TEXT, may_begin, read, write};
use super::{Finding, Kind, Rehydrator};

/// Bytes of a value at least that is looked for in later texts: shorter ones stand everywhere.
const KNOWN_MIN: usize = 4;
/// Values that begin with the same word and are looked for in later texts: so no text takes long.
const ALIKE_MAX: usize = 64;

/// What placeholders stand for.
#[derive(Clone, Default)]
pub struct Vault {
    /// By word; a placeholder's number is the place, counted from one.
    values: BTreeMap<&'static str, Vec<String>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.values.iter().map(|(word, values)| (word, values.len()))).finish()
    }
}

impl Vault {
    /// What a placeholder stands for.
    pub(super) fn value(&self, word: &str, number: usize) -> Option<&str> {
        self.values.get(word)?.get(number.checked_sub(1)?).map(String::as_str)
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.values.values().map(Vec::len).sum()
    }

    /// Whether nothing was replaced yet.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Puts the values back into a whole answer.
    pub fn rehydrate(&self, text: &str) -> String {
        let mut rehydrator = Rehydrator::new(self.clone());
        let mut out = rehydrator.push(text);
        out.push_str(&rehydrator.finish());
        out
    }
}

/// What was replaced in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// What it was; none where the user's own text looked like a placeholder.
    pub kind: Option<&'static Kind>,
    /// What stands there now.
    pub placeholder: String,
    /// Where it stood, in bytes of the text that was given.
    pub span: Range<usize>,
}

/// A text without what was found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redaction {
    /// The text with placeholders.
    pub text: String,
    /// What was replaced, from left to right.
    pub replaced: Vec<Replaced>,
}

/// Redacts the texts of one conversation.
#[derive(Clone, Default)]
pub struct Redactor {
    vault: Vault,
    /// The numbers of values, by word.
    numbers: HashMap<(&'static str, String), usize>,
    /// Values by their first words.
    known: HashMap<String, Vec<Known>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("vault", &self.vault).finish_non_exhaustive()
    }
}

/// A value that is looked for.
#[derive(Clone)]
struct Known {
    value: String,
    kind: &'static Kind,
    /// Bytes before its first word.
    lead: usize,
}

impl Redactor {
    /// For a conversation that begins.
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// Replaces what was found in a text, which is [`super::find_all`]'s or a part of it: without overlaps, from left to right.
    /// Findings that are out of order, or cut a character, are widened and joined rather than left.
    pub fn redact(&mut self, text: &str, findings: &[Finding]) -> Redaction {
        let findings = in_order(text, findings);
        let mut out = Redaction { text: String::with_capacity(text.len()), replaced: Vec::new() };
        // All values of this text first: so a name that is found at its end is known at its beginning.
        self.learn_all(text, &findings);
        let mut at = 0;
        for (kind, span) in findings {
            self.redact_between(text, at..span.start, &mut out);
            self.replace(Some(kind), text, span.clone(), &mut out);
            at = span.end;
        }
        self.redact_between(text, at..text.len(), &mut out);
        out
    }

    /// Learns the values of a text that is redacted later, so that they are known in texts before it.
    pub fn know(&mut self, text: &str, findings: &[Finding]) {
        self.learn_all(text, &in_order(text, findings));
    }

    /// What the placeholders of this conversation stand for.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// For an answer to what was redacted so far.
    pub fn rehydrator(&self) -> Rehydrator {
        Rehydrator::new(self.vault.clone())
    }

    /// Replaces known values and what looks like placeholders where no finding is.
    fn redact_between(&mut self, text: &str, span: Range<usize>, out: &mut Redaction) {
        let part = &text[..span.end];
        let (mut from, mut at) = (span.start, span.start);
        let mut in_word = false;
        while let Some(char) = part[at..].chars().next() {
            let begins = char.is_alphanumeric() && !in_word;
            in_word = char.is_alphanumeric();
            let known = if begins { self.known_at(part, at, from) } else { None };
            let found = known.map(|(kind, span)| (Some(kind), span)).or_else(|| {
                let here = may_begin(part.as_bytes()[at]);
                match here.then(|| read(&part[at..], true))? {
                    Reading::Is(placeholder) => Some((None, at..at + placeholder.len)),
                    _ => None,
                }
            });
            match found {
                Some((kind, span)) => {
                    out.text.push_str(&text[from..span.start]);
                    (from, at) = (span.end, span.end);
                    in_word = false;
                    self.replace(kind, text, span, out);
                }
                None => at += char.len_utf8(),
            }
        }
        out.text.push_str(&part[from..]);
    }

    /// The longest known value whose first word begins here; it begins at `from` or later.
    fn known_at(&self, text: &str, at: usize, from: usize) -> Option<(&'static Kind, Range<usize>)> {
        if self.known.is_empty() {
            return None;
        }
        let candidates = self.known.get(first_word(&text[at..]))?;
        candidates.iter().find_map(|known| {
            let start = at.checked_sub(known.lead).filter(|start| *start >= from)?;
            let rest = text.get(start..)?.strip_prefix(known.value.as_str())?;
            let whole =
                !rest.starts_with(char::is_alphanumeric) || !known.value.ends_with(char::is_alphanumeric);
            whole.then_some((known.kind, start..start + known.value.len()))
        })
    }

    fn replace(&mut self, kind: Option<&'static Kind>, text: &str, span: Range<usize>, out: &mut Redaction) {
        let word = kind.map_or(TEXT, |kind| kind.word);
        let placeholder = write(word, self.number(word, &text[span.clone()]));
        out.text.push_str(&placeholder);
        out.replaced.push(Replaced { kind, placeholder, span });
    }

    fn number(&mut self, word: &'static str, value: &str) -> usize {
        *self.numbers.entry((word, value.to_owned())).or_insert_with(|| {
            let values = self.vault.values.entry(word).or_default();
            values.push(value.to_owned());
            values.len()
        })
    }

    fn learn_all(&mut self, text: &str, findings: &[(&'static Kind, Range<usize>)]) {
        for (kind, span) in findings {
            self.learn(kind, &text[span.clone()]);
        }
    }

    fn learn(&mut self, kind: &'static Kind, value: &str) {
        let is_new = !self.numbers.contains_key(&(kind.word, value.to_owned()));
        self.number(kind.word, value);
        let lead = value.find(char::is_alphanumeric).unwrap_or(value.len());
        let first = first_word(&value[lead..]);
        if !is_new || value.len() < KNOWN_MIN || first.is_empty() {
            return;
        }
        let alike = self.known.entry(first.to_owned()).or_default();
        if alike.len() < ALIKE_MAX {
            let place = alike.partition_point(|other| other.value.len() >= value.len());
            alike.insert(place, Known { value: value.to_owned(), kind, lead });
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split(|char: char| !char.is_alphanumeric()).next().unwrap_or_default()
}

/// Spans on borders of characters, by rising start, without overlaps.
fn in_order(text: &str, findings: &[Finding]) -> Vec<(&'static Kind, Range<usize>)> {
    let mut spans: Vec<(&'static Kind, Range<usize>)> = findings
        .iter()
        .map(|f| (f.kind, text.floor_char_boundary(f.span.start)..text.ceil_char_boundary(f.span.end)))
        .filter(|(_, span)| span.start < span.end)
        .collect();
    spans.sort_by_key(|(_, span)| span.start);
    spans.dedup_by(|(_, next), (_, last)| {
        let overlap = next.start < last.end;
        if overlap {
            last.end = last.end.max(next.end);
        }
        overlap
    });
    spans
}

#[cfg(test)]
mod tests {
    use super::super::find_all;
    use super::*;

    fn redacted(redactor: &mut Redactor, text: &str) -> String {
        redactor.redact(text, &find_all(text)).text
    }

    #[test]
    fn values_keep_their_placeholders_in_a_conversation() {
        let mut redactor = Redactor::new();
        assert_eq!(redacted(&mut redactor, "From a@b.org to c@d.org."), "From [EMAIL_1] to [EMAIL_2].");
        assert_eq!(redacted(&mut redactor, "c@d.org again, and A@b.org"), "[EMAIL_2] again, and [EMAIL_3]");
        assert_eq!(redactor.vault().len(), 3);
        assert_eq!(redactor.vault().rehydrate("Ask [email_2]."), "Ask c@d.org.");
        assert!(!format!("{redactor:?}").contains("org"));
    }

    #[test]
    fn what_was_private_once_stays_private() {
        let mut redactor = Redactor::new();
        let first = redacted(&mut redactor, "My name is Qwertz Vbnm.");
        assert_eq!(first, "My name is [PERSON_1].");
        assert_eq!(
            redacted(&mut redactor, "so qwertz met Qwertz Vbnm, not Qwertz Vbnmx"),
            "so qwertz met [PERSON_1], not Qwertz Vbnmx"
        );
    }

    #[test]
    fn placeholders_of_the_user_are_not_ours() {
        let mut redactor = Redactor::new();
        let text = "Fill [EMAIL_1] and EMAIL_1 with a@b.org";
        let redaction = redactor.redact(text, &find_all(text));
        assert_eq!(redaction.text, "Fill [TEXT_1] and [TEXT_2] with [EMAIL_1]");
        assert_eq!(redactor.vault().rehydrate(&redaction.text), text);
        assert_eq!(redaction.replaced[0].kind, None);
        assert_eq!(&text[redaction.replaced[0].span.clone()], "[EMAIL_1]");
    }

    #[test]
    fn findings_that_overlap_or_cut_characters_are_joined() {
        let mut redactor = Redactor::new();
        let kind = &super::super::DETECTORS[0].kind;
        let finding = |span| Finding { kind, span, certainty: super::super::Certainty::Likely };
        let text = "aéb cd";
        let redaction = redactor.redact(text, &[finding(3..5), finding(0..2)]);
        assert_eq!(redaction.text, "[PRIVATEKEY_1][PRIVATEKEY_2]cd");
        assert_eq!(redactor.vault().rehydrate(&redaction.text), text);
    }
}
