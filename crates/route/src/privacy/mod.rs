//! What in a text is private, and how it leaves without being said: detectors, redaction, and the way back.
//!
//! [`find_all`] reads a text once as it looks to a reader (full-width digits, invisible characters and unusual spaces are
//! undone, see `fold`), asks every entry of the shelf [`DETECTORS`], and settles overlaps by one rule (`overlap`). A
//! [`Redactor`] lives as long as a conversation: it puts placeholders such as `[EMAIL_1]` in the place of what was found and
//! keeps what they stand for in its [`Vault`]; a [`Rehydrator`] puts the values back into the answer, also while it streams.
//!
//! Detectors are rules: shapes, checksums and words nearby, a scan of the text each, linear whatever the text is. They can't
//! know what a reader would conclude, nor what is written in pictures, in base64 or in words ("four one one one"). So nothing
//! found is no proof that nothing is there: redaction must never be the only gate for what is marked private.

mod detectors;
mod fold;
mod overlap;
mod page;
mod placeholder;
mod redact;
mod rehydrate;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use detectors::{DETECTORS, detector};
use fold::Folded;
pub use fold::is_invisible;
use page::{Hits, Page};
pub use redact::{Redaction, Redactor, Replaced, Vault};
pub use rehydrate::Rehydrator;

/// What losing it would mean: what policies speak of. The gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Opens something: keys, tokens, passwords.
    Secret,
    /// Moves money: cards, accounts, wallets.
    Financial,
    /// Names one human to an authority: numbers of taxes, health, social security; dates of birth.
    Identity,
    /// Reaches a human: addresses of mail, telephone numbers.
    Contact,
    /// Names a human.
    Person,
    /// Says where a human lives.
    Place,
    /// Names a machine or a page.
    Network,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 7] = [
        Class::Secret,
        Class::Financial,
        Class::Identity,
        Class::Contact,
        Class::Person,
        Class::Place,
        Class::Network,
    ];

    /// What policies call it.
    pub fn name(self) -> &'static str {
        match self {
            Class::Secret => "secret",
            Class::Financial => "financial",
            Class::Identity => "identity",
            Class::Contact => "contact",
            Class::Person => "person",
            Class::Place => "place",
            Class::Network => "network",
        }
    }

    /// The class of this name.
    pub fn named(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// What policies, logs and other detectors call it: `CREDIT_CARD`.
    pub name: &'static str,
    /// The word of its placeholders: `CARD` makes `[CARD_1]`.
    pub word: &'static str,
    /// What losing it would mean.
    pub class: Class,
}

/// How sure it is that what was found is private and of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// It looks like it; so do many harmless things.
    Possible,
    /// A shape that hardly anything else has, or one that a word nearby explains.
    Likely,
    /// A checksum and a shape, or a shape and a word nearby, or a marker made for it.
    Certain,
}

impl Certainty {
    /// All of them.
    pub const ALL: [Certainty; 3] = [Certainty::Possible, Certainty::Likely, Certainty::Certain];

    /// The certainty of this name.
    pub fn named(name: &str) -> Option<Certainty> {
        Certainty::ALL.into_iter().find(|certainty| certainty.name() == name)
    }

    /// What policies call it.
    pub fn name(self) -> &'static str {
        match self {
            Certainty::Possible => "possible",
            Certainty::Likely => "likely",
            Certainty::Certain => "certain",
        }
    }
}

/// One thing that was found. It holds no text, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: &'static Kind,
    /// Where, in bytes of the text that was searched; both ends are borders of characters.
    pub span: Range<usize>,
    /// How sure it is.
    pub certainty: Certainty,
}

/// Finds one kind of thing.
pub struct Detector {
    /// What it finds.
    pub kind: Kind,
    /// What it looks for, and what it leaves.
    pub about: &'static str,
    /// Where its rules are written.
    pub source: &'static str,
    /// A text with one in it, between `⟦` and `⟧`.
    pub example: &'static str,
    /// Texts that look like it and hold none.
    pub near_misses: &'static [&'static str],
    /// Looks for it.
    find: fn(&Page<'_>, &mut Hits),
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detector").field(&self.kind.name).finish()
    }
}

impl Detector {
    /// What this detector alone finds, from left to right.
    pub fn find(&'static self, text: &str) -> Vec<Finding> {
        search(text, &[self])
    }
}

/// Everything private that the detectors find, from left to right, without overlaps.
///
/// Time and memory grow linearly with the text, whatever it is.
pub fn find_all(text: &str) -> Vec<Finding> {
    search(text, DETECTORS)
}

fn search(text: &str, detectors: &[&'static Detector]) -> Vec<Finding> {
    let folded = Folded::new(text);
    let page = Page::new(folded.text());
    let mut findings = Vec::new();
    for detector in detectors {
        let mut hits = Hits::default();
        (detector.find)(&page, &mut hits);
        findings.extend(hits.into_findings(&detector.kind));
    }
    let mut findings = overlap::settle(page.text, findings);
    for finding in &mut findings {
        finding.span = folded.original(finding.span.clone());
    }
    findings
}
