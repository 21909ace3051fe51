//! Stories: a short story with the wanted hero, thing or place.

use crate::check;
use crate::item::{Item, Key, Kind, Prompt};
use crate::rng::Rng;
use crate::tale;
use crate::words::{a, fill};

pub(super) static STORY: Kind =
    Kind { name: "story", about: "writes a short story with what is asked for", share: 7, draw, judge };

/// Ways to ask: the template, and which of the cast it names (and so must occur in the story).
static ASKS: &[(&str, &[&str])] = &[
    ("Write a short story about {a_being}.", &["being"]),
    ("Write a story about {a_being}.", &["being"]),
    ("Tell me a story about {a_being}.", &["being"]),
    ("Tell me a story about {a_being} named {hero}.", &["being", "hero"]),
    ("Write a short story about {a_being} named {hero}.", &["being", "hero"]),
    ("Write a story about {a_being} called {hero} and {a_object}.", &["being", "hero", "object"]),
    ("Write a story about {hero} and {friend}.", &["hero", "friend"]),
    ("Tell me a story about {a_being} and {a_object}.", &["being", "object"]),
    ("Write a story about {a_object}.", &["object"]),
    ("Tell me a story about {a_being} {gist}.", &["being"]),
    ("Write a short story about {a_being} named {hero} {gist}.", &["being", "hero"]),
    ("Write a short story with the words {being}, {object} and {place}.", &["being", "object", "place"]),
    ("Use these words in a story: {object}, {place}, {hero}.", &["object", "place", "hero"]),
    ("Tell me a bedtime story about {a_being} and the {place}.", &["being", "place"]),
    ("Can you tell me a story that happens at the {place}?", &["place"]),
    ("Please write a little story about {hero} and the {place}.", &["hero", "place"]),
    ("Write a short story about {hero} the {being}.", &["hero", "being"]),
    ("Story about {a_being}, please.", &["being"]),
    ("Tell me a story.", &[]),
    ("Write a short story.", &[]),
];

/// A request for a story with this cast, and the words that the story must have.
pub(crate) fn request(rng: &mut Rng, cast: &tale::Cast) -> (String, Vec<String>) {
    let (template, named) = rng.one(ASKS);
    let (a_being, a_object, gist) = (a(cast.being), a(cast.object), cast.gist());
    let slots = [
        ("a_being", a_being.as_str()),
        ("being", cast.being),
        ("hero", &cast.hero),
        ("friend", &cast.friend),
        ("a_object", &a_object),
        ("object", cast.object),
        ("place", cast.place),
        ("gist", &gist),
    ];
    let words = named.iter().map(|n| slots.iter().find(|(k, _)| k == n).map_or("", |s| s.1).to_string());
    (fill(template, &slots), words.collect())
}

fn draw(rng: &mut Rng) -> Item {
    let cast = tale::cast(rng);
    let (ask, words) = request(rng, &cast);
    let tale = tale::tell(rng, cast);
    // The request's words are its content, whatever the phrasing. (A request that names nothing happens to stay in training.)
    let content = if words.is_empty() {
        String::from("story of anything")
    } else {
        format!("story of {}", words.join("|"))
    };
    let contents = vec![content, tale.cast.content()];
    Item { contents, prompt: Prompt::user(ask), reference: tale.text, key: Key::Words(words) }
}

/// A story is right if it has the asked words, is made of 5 to 14 whole sentences, says no sentence twice, and leaves no
/// quotation open.
fn judge(item: &Item, answer: &str) -> bool {
    let Some(sentences) = check::sentences(answer) else { return false };
    let mut once = sentences.clone();
    once.sort_unstable();
    once.dedup();
    check::by_key(item, answer)
        && once.len() == sentences.len()
        && (5..=14).contains(&sentences.len())
        && answer.matches('"').count().is_multiple_of(2)
}
