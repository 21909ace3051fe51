//! Questions about a story that is in the prompt, or that was told earlier in the chat.

use crate::check;
use crate::item::{Item, Key, Kind, Message, Prompt, Role};
use crate::kind::story;
use crate::rng::Rng;
use crate::tale;
use crate::words::fill;

pub(super) static STORY_QA: Kind =
    Kind { name: "story_qa", about: "answers a question about a story", share: 13, draw, judge };

fn draw(rng: &mut Rng) -> Item {
    let cast = tale::cast(rng);
    let (request, _) = story::request(rng, &cast);
    let tale = tale::tell(rng, cast);
    let ask = rng.one(&tale.asks).clone();
    let question = rng.one(&ask.questions).clone();
    let prompt = if rng.chance(20) {
        Prompt::Chat(vec![
            Message { role: Role::User, text: request },
            Message { role: Role::Assistant, text: tale.text.clone() },
            Message { role: Role::User, text: question },
        ])
    } else {
        let pattern = rng.pick(&[
            "{story}\n\n{question}",
            "{story}\n\nQuestion: {question}",
            "Read the story and answer the question.\n\n{story}\n\n{question}",
            "Story: {story}\nQuestion: {question}",
            "{question}\n\n{story}",
            "Here is a story: {story}\n\n{question}",
        ]);
        Prompt::user(fill(pattern, &[("story", &tale.text), ("question", &question)]))
    };
    Item { contents: vec![tale.cast.content()], prompt, reference: ask.answer, key: Key::Words(ask.key) }
}

/// Right if it is one whole sentence with the key words; the story said again is no answer.
fn judge(item: &Item, answer: &str) -> bool {
    check::by_key(item, answer) && check::sentences(answer).is_some_and(|s| s.len() == 1)
}
