//! Rewriting: the same content in another form (tense, voice, tone, case, list).
//!
//! The content is the sentence, whatever the form that is asked for.

use crate::check;
use crate::item::{Item, Key, Kind, Prompt};
use crate::rng::Rng;
use crate::words::{
    ANIMALS, BOYS, GIRLS, GOODS, LOOKS, OBJECTS, PLACES, VERBS, Verb, capital, fill, list, made_up,
};

pub(super) static REWRITE: Kind = Kind {
    name: "rewrite",
    about: "puts a sentence into another form",
    share: 13,
    draw,
    judge: check::by_key,
};

/// A form: ways to ask for it, and how to make sentence and answer.
struct Form {
    asks: &'static [&'static str],
    make: fn(&mut Rng) -> (String, String),
}

static FORMS: &[Form] = &[
    Form {
        asks: &[
            "Rewrite in the past tense: {text}",
            "Put this sentence into the past tense: {text}",
            "Past tense: {text}",
            "Change this to the past tense: {text}",
            "Write this in the past: {text}",
        ],
        make: past,
    },
    Form {
        asks: &[
            "Rewrite in the future tense: {text}",
            "Put this sentence into the future tense: {text}",
            "Future tense: {text}",
            "Change this to the future tense: {text}",
        ],
        make: future,
    },
    Form {
        asks: &[
            "Make this a question: {text}",
            "Turn this sentence into a question: {text}",
            "Rewrite as a question: {text}",
        ],
        make: question,
    },
    Form {
        asks: &[
            "Make this negative: {text}",
            "Say the opposite with not: {text}",
            "Rewrite as a negative sentence: {text}",
        ],
        make: negative,
    },
    Form {
        asks: &[
            "Rewrite in the passive voice: {text}",
            "Put this into the passive: {text}",
            "Passive voice: {text}",
            "Change this to the passive voice: {text}",
        ],
        make: passive,
    },
    Form {
        asks: &[
            "Rewrite in the active voice: {text}",
            "Put this into the active voice: {text}",
            "Active voice: {text}",
        ],
        make: active,
    },
    Form {
        asks: &[
            "Make this polite: {text}",
            "Rewrite this politely: {text}",
            "Say this more politely: {text}",
            "Make this sound more polite: {text}",
            "Rewrite in a polite way: {text}",
        ],
        make: polite,
    },
    Form {
        asks: &[
            "Write in capital letters: {text}",
            "Put this in upper case: {text}",
            "Uppercase: {text}",
            "Rewrite in capitals: {text}",
        ],
        make: upper,
    },
    Form {
        asks: &[
            "Turn this into a list: {text}",
            "Make a bullet list: {text}",
            "Write as a list: {text}",
            "Rewrite as a bullet list: {text}",
        ],
        make: bullets,
    },
    Form {
        asks: &[
            "Write this list as a sentence:\n{text}",
            "Turn this list into a sentence:\n{text}",
            "Make one sentence of this list:\n{text}",
        ],
        make: unbullet,
    },
];

fn draw(rng: &mut Rng) -> Item {
    let form = rng.one(FORMS);
    let (text, answer) = (form.make)(rng);
    Item {
        contents: vec![format!("rewrite {text}")],
        prompt: Prompt::user(fill(rng.pick(form.asks), &[("text", &text)])),
        reference: answer.clone(),
        key: Key::Exact(vec![answer]),
    }
}

/// A tiny clause: who does what to which thing where.
struct Clause {
    subject: String,
    plural: bool,
    verb: &'static Verb,
    thing: String,
    tail: String,
}

fn clause(rng: &mut Rng) -> Clause {
    let (subject, plural) = match rng.below(8) {
        0 => ("she".to_string(), false),
        1 => ("he".to_string(), false),
        2 => ("they".to_string(), true),
        3 => ("we".to_string(), true),
        4 => (format!("the {}", rng.pick(ANIMALS)), false),
        5 => (made_up(rng), false),
        6 => (rng.pick(GIRLS).to_string(), false),
        _ => (rng.pick(BOYS).to_string(), false),
    };
    let verb = rng.one(VERBS);
    Clause { subject, plural, verb, thing: thing(rng), tail: tail(rng) }
}

fn thing(rng: &mut Rng) -> String {
    let object = rng.pick(OBJECTS);
    match rng.below(3) {
        0 => format!("the {} {object}", rng.pick(LOOKS)),
        _ => format!("the {object}"),
    }
}

fn tail(rng: &mut Rng) -> String {
    let (at, place) = rng.one(PLACES);
    if rng.chance(40) { format!(" {at} the {place}") } else { String::new() }
}

impl Clause {
    fn present(&self) -> String {
        let verb = if self.plural { self.verb.bare } else { self.verb.third };
        capital(&format!("{} {verb} {}{}.", self.subject, self.thing, self.tail))
    }

    fn past(&self) -> String {
        capital(&format!("{} {} {}{}.", self.subject, self.verb.past, self.thing, self.tail))
    }
}

fn past(rng: &mut Rng) -> (String, String) {
    let c = clause(rng);
    (c.present(), c.past())
}

fn future(rng: &mut Rng) -> (String, String) {
    let c = clause(rng);
    (c.present(), capital(&format!("{} will {} {}{}.", c.subject, c.verb.bare, c.thing, c.tail)))
}

fn question(rng: &mut Rng) -> (String, String) {
    let c = clause(rng);
    let aux = if c.plural { "Do" } else { "Does" };
    (c.present(), format!("{aux} {} {} {}{}?", c.subject, c.verb.bare, c.thing, c.tail))
}

fn negative(rng: &mut Rng) -> (String, String) {
    let c = clause(rng);
    let aux = if c.plural { "do" } else { "does" };
    (c.present(), capital(&format!("{} {aux} not {} {}{}.", c.subject, c.verb.bare, c.thing, c.tail)))
}

/// A past clause whose subject can stand after "by", and its passive.
fn voices(rng: &mut Rng) -> (String, String) {
    let mut c = clause(rng);
    if matches!(c.subject.as_str(), "she" | "he" | "they" | "we") {
        c.subject = format!("the {}", rng.pick(ANIMALS));
    }
    let passive = format!("{} was {} by {}{}.", c.thing, c.verb.participle, c.subject, c.tail);
    (c.past(), capital(&passive))
}

fn passive(rng: &mut Rng) -> (String, String) {
    voices(rng)
}

fn active(rng: &mut Rng) -> (String, String) {
    let (active, passive) = voices(rng);
    (passive, active)
}

static ORDERS: &[&str] = &[
    "call {name}",
    "open the {object}",
    "close the window",
    "send me the {object}",
    "give me the {object}",
    "wait for {name}",
    "bring the {object}",
    "help me with the {object}",
    "clean the {object}",
    "tell {name} about the {object}",
    "come to the {place}",
    "meet me at the {place}",
    "show me the {object}",
    "write to {name}",
    "give {name} the {object}",
    "fix the {object}",
    "put the {object} on the table",
    "be quiet",
    "answer {name}",
    "take {name} to the {place}",
    "buy {n} {goods}",
];

fn polite(rng: &mut Rng) -> (String, String) {
    let who = crate::words::name(rng);
    let n = rng.within(2, 12).to_string();
    let slots = [
        ("name", who.as_str()),
        ("object", rng.pick(OBJECTS)),
        ("place", rng.one(PLACES).1),
        ("n", &n),
        ("goods", rng.one(GOODS).1),
    ];
    let order = fill(rng.pick(ORDERS), &slots);
    let end = rng.pick(&[".", "!"]);
    (format!("{}{end}", capital(&order)), format!("Could you please {order}?"))
}

fn upper(rng: &mut Rng) -> (String, String) {
    let text = match rng.below(3) {
        0 => thing(rng),
        1 => format!("{}{}", thing(rng), tail(rng)),
        _ => format!("{} {}", rng.pick(LOOKS), rng.pick(OBJECTS)),
    };
    let upper = text.to_uppercase();
    (text, upper)
}

fn goods(rng: &mut Rng) -> Vec<String> {
    let n = rng.within(2, 6);
    let all: Vec<&str> = GOODS.iter().map(|g| g.1).collect();
    rng.several(&all, n).into_iter().map(String::from).collect()
}

fn bullets(rng: &mut Rng) -> (String, String) {
    let goods = goods(rng);
    let lines: Vec<String> = goods.iter().map(|g| format!("- {g}")).collect();
    (list(&goods), lines.join("\n"))
}

fn unbullet(rng: &mut Rng) -> (String, String) {
    let goods = goods(rng);
    let lines: Vec<String> = goods.iter().map(|g| format!("- {g}")).collect();
    (lines.join("\n"), format!("The list has {}.", list(&goods)))
}
