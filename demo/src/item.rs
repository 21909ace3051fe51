//! What a task item is, how it is put to a model, and how training and held-out items are kept apart.
//!
//! A [`Kind`] draws items from a seeded stream and judges answers. Each item names its *content*: the drawn facts that make
//! it this item and no other (the two numbers of a sum, the cast of a story). The hash of the content puts it into one of
//! [`CLASSES`] classes; class 0 is held out and training never sees any of it, whatever the phrasing. So the two sides
//! are disjoint by construction and not by a list.

use crate::rng::Rng;

/// Items whose content hashes to class 0 of this many are held out.
pub const CLASSES: u64 = 16;

/// Who speaks in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions that stand before the chat.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The role's name in chat templates.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub text: String,
}

/// How an item is put to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A chat whose last message is the user's; the answer is the assistant's next message.
    Chat(Vec<Message>),
    /// Code with a hole; the answer is what belongs into it.
    Fill {
        /// The code before the hole.
        prefix: String,
        /// The code after the hole.
        suffix: String,
    },
}

impl Prompt {
    /// A chat of one user message.
    pub fn user(text: impl Into<String>) -> Prompt {
        Prompt::Chat(vec![Message { role: Role::User, text: text.into() }])
    }

    /// The text up to where the answer begins, with the demo model's special tokens spelled out. Its chat template renders
    /// a chat to the same text.
    pub fn render(&self) -> String {
        match self {
            Prompt::Chat(messages) => {
                let mut out = String::new();
                for Message { role, text } in messages {
                    out.push_str(&format!("<|im_start|>{}\n{text}<|im_end|>\n", role.name()));
                }
                out + "<|im_start|>assistant\n"
            }
            Prompt::Fill { prefix, suffix } => {
                format!("<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>")
            }
        }
    }
}

/// What a judge holds an answer against; which one an item has is its kind's business.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// Only one of these answers is right (white space at the ends does not count).
    Exact(Vec<String>),
    /// The answer must have each of these, as whole words, whatever their case.
    Words(Vec<String>),
    /// The last number of the answer must be this, and the answer more than two numbers thrown back.
    Number(i64),
    /// The answer must be a JSON object of exactly these fields; a value is written as JSON.
    Fields(Vec<(String, String)>),
}

/// One task: a prompt, a right answer, and what the judge needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The facts that make this item, each as a text. The hash of the first decides whether the item is held out; training
    /// shows an item only if none of them is (a story that is told here and asked about there is one fact of both).
    pub contents: Vec<String>,
    /// What the model is asked.
    pub prompt: Prompt,
    /// A right answer, and the one that training shows.
    pub reference: String,
    /// What [`Kind::judge`] compares an answer with.
    pub key: Key,
}

/// A kind of task.
pub struct Kind {
    /// The kind's name in scores and on command lines.
    pub name: &'static str,
    /// What the model does, in one line.
    pub about: &'static str,
    /// How many of 100 training items are of this kind.
    pub share: usize,
    /// Draws an item of either side.
    pub(crate) draw: fn(&mut Rng) -> Item,
    /// Whether an answer is right. The answer is the text before the end-of-turn token, which the model must emit.
    pub judge: fn(&Item, &str) -> bool,
}

/// The side of the fence that an item is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Training may show it.
    Training,
    /// Only tests and measurements show it.
    HeldOut,
}

/// The side of one content, by its FNV-1a hash.
pub fn side(content: &str) -> Side {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in content.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of FNV-1a mix least: fold the high half in.
    if (hash ^ (hash >> 32)).is_multiple_of(CLASSES) { Side::HeldOut } else { Side::Training }
}

impl Item {
    /// Whether the item may be shown on this side.
    pub fn belongs(&self, wanted: Side) -> bool {
        match wanted {
            Side::HeldOut => self.contents.first().is_some_and(|content| side(content) == Side::HeldOut),
            Side::Training => self.contents.iter().all(|content| side(content) == Side::Training),
        }
    }
}

/// Draws items of one kind until one is on the wanted side.
pub(crate) fn draw(kind: &Kind, rng: &mut Rng, wanted: Side) -> Item {
    loop {
        let item = (kind.draw)(rng);
        if item.belongs(wanted) {
            return item;
        }
    }
}

/// The first `n` held-out items of a kind in the stream of `seed`, no two alike.
pub fn held_out(kind: &Kind, seed: u64, n: usize) -> Vec<Item> {
    let mut rng = Rng::new(seed);
    let mut out: Vec<Item> = Vec::with_capacity(n);
    while out.len() < n {
        let item = draw(kind, &mut rng, Side::HeldOut);
        if out.iter().all(|old| old.prompt != item.prompt) {
            out.push(item);
        }
    }
    out
}
