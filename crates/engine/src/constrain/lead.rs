//! What stands before an answer's form: the thoughts of a model that thinks first.
//!
//! Thoughts are free, up to the text that closes them; only what would end the answer is masked, and tokens that close the
//! thoughts and hold more than white space behind, which would be in no form. A little white space may follow. Whether there are thoughts is the model's choice
//! where the prompt did not open any: the answer begins with what opens them, or with its form. While what is written may still
//! become either, both are followed. An opening in plain words ("Here is my thought process:") is not taken: an answer that
//! begins so may be no more than that, and must have its form.
//!
//! Which tokens take part is looked for in the whole vocabulary, once for each way to open thoughts: [`Openers`].

use std::sync::{Arc, Mutex, PoisonError};

use super::vocabulary::{STRUCTURE, Vocabulary};
use crate::output::{Format, Reasoning};
use crate::pattern::Pattern;

/// White space behind thoughts, in bytes.
const SPACE_BYTES_MAX: usize = 16;

/// The way to an answer's form.
#[derive(Debug, Clone)]
pub(super) struct Lead {
    begins: Begins,
    openers: Arc<[Arc<Opener>]>,
    place: Place,
    /// All tokens until the form was known to have begun.
    ids: Vec<u32>,
}

/// Where an answer begins.
#[derive(Debug, Clone, Copy)]
enum Begins {
    /// With thoughts or with its form.
    Open,
    /// Within thoughts that this opener's closing ends.
    Inside(usize),
}

/// The ways to open thoughts that a vocabulary was looked through for. There are no more than formats have.
#[derive(Debug, Default)]
pub(super) struct Openers(Mutex<Vec<Arc<Opener>>>);

/// How thoughts may begin and end, and the tokens that take part.
#[derive(Debug)]
struct Opener {
    open: &'static str,
    closing: &'static str,
    close: Pattern,
    /// Tokens that may write a part of `open`.
    opening: Vec<u32>,
    /// Tokens that may complete `close` and hold more than white space behind it.
    straddling: Vec<u32>,
    /// Tokens of white space, which may come behind `close`.
    spaces: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Place {
    /// This was written, which may still become an opening.
    Opening(Vec<u8>),
    /// In the thoughts of the opener of this index.
    Thinking(usize, Pattern),
    /// Behind those, with so many bytes of white space.
    Behind(usize, usize),
    Over,
}

/// What a token did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It may be of an opening or of the form.
    Either,
    /// It is not of the form, nor is anything before.
    Before,
    /// It is of the form, and so is all before.
    Form,
}

impl Lead {
    /// For answers of `format`, which begin within the thoughts `inside` or in none. None where an answer can hold nothing but
    /// its form.
    pub fn new(vocabulary: &Vocabulary, format: &Format, inside: Option<&'static Reasoning>) -> Option<Self> {
        let (openers, begins) = match (format.before_text, inside) {
            // Whatever is thought, the text has a beginning of its own.
            (Some(before), _) => (vec![vocabulary.openers().get(vocabulary, "", before)], Begins::Inside(0)),
            (None, Some(inside)) => {
                (vec![vocabulary.openers().get(vocabulary, inside.open, inside.close)], Begins::Inside(0))
            }
            (None, None) => {
                let marked = format.reasoning.iter().filter(|r| !r.open.starts_with(char::is_alphabetic));
                let openers = marked.map(|r| vocabulary.openers().get(vocabulary, r.open, r.close));
                (openers.collect::<Vec<_>>(), Begins::Open)
            }
        };
        if openers.is_empty() {
            return None;
        }
        let openers: Arc<[Arc<Opener>]> = openers.into();
        let place = Place::beginning(begins, &openers);
        Some(Self { begins, openers, place, ids: Vec::new() })
    }

    /// Whether the form has begun and nothing else can be meant.
    pub fn is_over(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    /// Whether thoughts are being written.
    pub fn is_thinking(&self) -> bool {
        matches!(self.place, Place::Thinking(..))
    }

    /// All tokens until the form began, or was known to have begun.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Goes back to the beginning.
    pub fn reset(&mut self) {
        self.place = Place::beginning(self.begins, &self.openers);
        self.ids.clear();
    }

    /// Calls `each` with the tokens that can't come next within thoughts.
    pub fn forbidden(&self, vocabulary: &Vocabulary, mut each: impl FnMut(u32)) {
        let Place::Thinking(opener, close) = &self.place else { return };
        vocabulary.ending().iter().for_each(|&id| each(id));
        let goes_on = |id: &&u32| {
            let bytes = text_or_name(vocabulary, **id);
            close.completes_in(bytes).is_some_and(|end| !is_space(&bytes[end..]))
        };
        self.openers[*opener].straddling.iter().filter(goes_on).for_each(|&id| each(id));
    }

    /// Calls `each` with the tokens that may come next before the form: what goes on with an opening, or stands behind thoughts.
    pub fn allowed(&self, vocabulary: &Vocabulary, mut each: impl FnMut(u32)) {
        if let Place::Behind(opener, n_space) = self.place {
            let fits = |id: &&u32| n_space + vocabulary.bytes(**id).len() <= SPACE_BYTES_MAX;
            self.openers[opener].spaces.iter().filter(fits).for_each(|&id| each(id));
        }
        let Place::Opening(written) = &self.place else { return };
        for opener in self.openers.iter() {
            let Some(rest) = opener.open.as_bytes().strip_prefix(written.as_slice()) else { continue };
            let goes_on = |id: &&u32| {
                let bytes = text_or_name(vocabulary, **id);
                match bytes.strip_prefix(rest) {
                    Some(thought) => opener.close.completes_in(thought).is_none(),
                    None => rest.starts_with(bytes),
                }
            };
            opener.opening.iter().filter(goes_on).for_each(|&id| each(id));
        }
    }

    /// Goes on with token `id`, which may be of the form where that is said.
    pub fn accept(&mut self, vocabulary: &Vocabulary, id: u32, in_form: bool) -> Step {
        self.ids.push(id);
        let bytes = text_or_name(vocabulary, id);
        match &mut self.place {
            Place::Opening(written) => {
                written.extend_from_slice(bytes);
                let opened = |opener: &Arc<Opener>| written.starts_with(opener.open.as_bytes());
                if let Some(i) = self.openers.iter().position(opened) {
                    let opener = &self.openers[i];
                    let mut close = opener.close.clone();
                    written[opener.open.len()..].iter().for_each(|&byte| _ = close.advance(byte));
                    self.place = Place::Thinking(i, close);
                    return Step::Before;
                }
                if self.openers.iter().any(|opener| opener.open.as_bytes().starts_with(written)) {
                    return Step::Either;
                }
                self.place = Place::Over;
                Step::Form
            }
            Place::Thinking(opener, close) => {
                if bytes.iter().fold(false, |closed, &byte| closed | close.advance(byte)) {
                    self.place = Place::Behind(*opener, 0);
                }
                Step::Before
            }
            Place::Behind(_, n_space) if is_space(bytes) && !in_form => {
                *n_space += bytes.len();
                Step::Before
            }
            Place::Behind(..) => {
                self.place = Place::Over;
                Step::Form
            }
            Place::Over => Step::Form,
        }
    }
}

impl Place {
    fn beginning(begins: Begins, openers: &[Arc<Opener>]) -> Self {
        match begins {
            Begins::Open => Self::Opening(Vec::new()),
            Begins::Inside(i) => Self::Thinking(i, openers[i].close.clone()),
        }
    }
}

impl Openers {
    /// The opener of these texts. Who asks for one while it is made waits for it.
    fn get(&self, vocabulary: &Vocabulary, open: &'static str, closing: &'static str) -> Arc<Opener> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opener) = known.iter().find(|opener| opener.open == open && opener.closing == closing) {
            return opener.clone();
        }
        let opener = Arc::new(Opener::new(vocabulary, open, closing));
        known.push(opener.clone());
        opener
    }
}

impl Opener {
    fn new(vocabulary: &Vocabulary, open: &'static str, closing: &'static str) -> Self {
        let (mut opening, mut straddling, mut spaces) = (Vec::new(), Vec::new(), Vec::new());
        for id in 0..vocabulary.n_vocab() as u32 {
            let bytes = text_or_name(vocabulary, id);
            if writes_part(bytes, open.as_bytes()) {
                opening.push(id);
            }
            if ends_and_goes_on(bytes, closing.as_bytes()) {
                straddling.push(id);
            }
            // Without an opening these are no thoughts, but what stands before every text: the text begins right behind.
            if !open.is_empty() && !bytes.is_empty() && is_space(bytes) {
                spaces.push(id);
            }
        }
        // A vocabulary that has the opening in one token does not spell it.
        let whole = |id: &u32| text_or_name(vocabulary, *id).starts_with(open.as_bytes());
        if opening.iter().any(|&id| text_or_name(vocabulary, id) == open.as_bytes()) {
            opening.retain(whole);
        }
        Self { open, closing, close: Pattern::new(closing), opening, straddling, spaces }
    }
}

/// What token `id` writes, or what it is called when it is structure.
fn text_or_name(vocabulary: &Vocabulary, id: u32) -> &[u8] {
    let bytes = vocabulary.bytes(id);
    bytes.strip_prefix(&[STRUCTURE]).unwrap_or(bytes)
}

/// White space as readers of answers have it.
fn is_space(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| b" \t\r\n".contains(byte))
}

/// Whether `bytes` are a part of `text`, or begin with an end of it.
fn writes_part(bytes: &[u8], text: &[u8]) -> bool {
    bytes.first().is_some_and(|first| text.contains(first))
        && (0..text.len()).any(|at| text[at..].starts_with(bytes) || bytes.starts_with(&text[at..]))
}

/// Whether `bytes` may complete `marker` and have more than white space behind it.
fn ends_and_goes_on(bytes: &[u8], marker: &[u8]) -> bool {
    let Some(last) = marker.last() else { return false };
    (1..bytes.len()).filter(|&end| bytes[end - 1] == *last).any(|end| {
        let n = end.min(marker.len());
        bytes[end - n..end] == marker[marker.len() - n..]
            && (n == marker.len() || n == end)
            && !is_space(&bytes[end..])
    })
}
