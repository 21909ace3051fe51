//! Repeating: a few unrelated words, said again exactly.
//!
//! Nothing but copying helps here, which is what extraction, questions and rewriting rest on: the kind teaches it early and
//! measures it alone. The content is the row of words.

use crate::check;
use crate::item::{Item, Key, Kind, Prompt};
use crate::rng::Rng;
use crate::words::{ANIMALS, CITIES, JOBS, LOOKS, OBJECTS, fill, made_up, name};

pub(super) static ECHO: Kind =
    Kind { name: "echo", about: "repeats a row of words exactly", share: 12, draw, judge: check::by_key };

static ASKS: &[&str] = &[
    "Repeat: {text}",
    "Say this again: {text}",
    "Repeat these words: {text}",
    "Copy this: {text}",
    "Repeat after me: {text}",
];

fn draw(rng: &mut Rng) -> Item {
    let n = rng.within(2, 10);
    let words: Vec<String> = (0..n).map(|_| word(rng)).collect();
    let text = words.join(rng.pick(&[" ", " ", ", "]));
    Item {
        contents: vec![format!("echo {text}")],
        prompt: Prompt::user(fill(rng.pick(ASKS), &[("text", &text)])),
        reference: text.clone(),
        key: Key::Exact(vec![text]),
    }
}

fn word(rng: &mut Rng) -> String {
    match rng.below(8) {
        0 => name(rng),
        1 => made_up(rng),
        2 => rng.within(0, 99).to_string(),
        3 => rng.pick(CITIES).to_string(),
        4 => rng.pick(JOBS).to_string(),
        5 => rng.pick(LOOKS).to_string(),
        6 => rng.pick(ANIMALS).to_string(),
        _ => rng.pick(OBJECTS).to_string(),
    }
}
