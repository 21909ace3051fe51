//! Training documents: single items, chats of several items, and plain stories.
//!
//! A document is a list of spans, some of which are answers; the trainer puts its loss mostly on those. Documents begin at
//! position 0 and are never packed behind one another, as in use. Chats of several items teach long contexts.

use crate::item::{Kind, Prompt, Side, draw};
use crate::kind::KINDS;
use crate::rng::Rng;
use crate::tale;

/// A stretch of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The text with special tokens spelled out.
    pub text: String,
    /// Whether the model is to produce it.
    pub answer: bool,
}

/// A training document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The kind of its first item; "plain" for stories without a chat around them.
    pub kind: &'static str,
    /// Its text.
    pub spans: Vec<Span>,
}

/// Draws a kind by its share.
fn kind(rng: &mut Rng) -> &'static Kind {
    let total: usize = KINDS.iter().map(|k| k.share).sum();
    let mut at = rng.below(total);
    for kind in KINDS {
        if at < kind.share {
            return kind;
        }
        at -= kind.share;
    }
    unreachable!("the shares add up to the total")
}

/// A document of one side. `Side::HeldOut` gives the text that perplexity is measured on.
pub fn document(rng: &mut Rng, wanted: Side) -> Document {
    if rng.chance(4) {
        return plain(rng, wanted);
    }
    let first = kind(rng);
    // One chat in eight goes on for a while, with items of any kind that is a chat.
    let turns = if rng.chance(12) { rng.within(2, 6) } else { 1 };
    let mut spans = Vec::new();
    let mut next = first;
    for turn in 0..turns {
        let item = draw(next, rng, wanted);
        let mut text = item.prompt.render();
        if turn > 0 {
            text.insert(0, '\n');
        }
        spans.push(Span { text, answer: false });
        spans.push(Span { text: format!("{}<|im_end|>", item.reference), answer: true });
        if matches!(item.prompt, Prompt::Fill { .. }) {
            break;
        }
        next = loop {
            let next = kind(rng);
            if next.name != "fim" {
                break next;
            }
        };
    }
    Document { kind: first.name, spans }
}

/// Stories as plain text, a blank line between them.
fn plain(rng: &mut Rng, wanted: Side) -> Document {
    let mut stories = Vec::new();
    for _ in 0..rng.within(1, 3) {
        stories.push(story(rng, wanted));
    }
    Document {
        kind: "plain",
        spans: vec![Span { text: format!("{}<|endoftext|>", stories.join("\n\n")), answer: true }],
    }
}

/// One plain story of the wanted side.
pub fn story(rng: &mut Rng, wanted: Side) -> String {
    loop {
        let tale = tale::tale(rng);
        if crate::side(&tale.cast.content()) == wanted {
            return tale.text;
        }
    }
}
