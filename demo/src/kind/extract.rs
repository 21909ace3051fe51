//! Extraction: the asked fields of a sentence as a flat JSON object.
//!
//! The content is every fact in the sentence.

use crate::check;
use crate::item::{Item, Key, Kind, Prompt};
use crate::rng::Rng;
use crate::words::{CITIES, DAYS, GOODS, JOBS, MONTHS, OBJECTS, SURNAMES, a, fill, name};

pub(super) static EXTRACT: Kind = Kind {
    name: "extract",
    about: "takes facts out of a sentence as JSON",
    share: 16,
    draw,
    judge: check::by_key,
};

/// A form: sentences with slots, and the fields that can be asked for.
struct Form {
    sentences: &'static [&'static str],
    fields: &'static [&'static str],
}

static FORMS: &[Form] = &[
    Form {
        sentences: &[
            "{name} is {age} years old, lives in {city} and works as {a_job}.",
            "{name}, {age}, is {a_job} from {city}.",
            "My neighbour {name} is {a_job}. {He} is {age} and lives in {city}.",
            "At the age of {age}, {name} moved to {city} and became {a_job}.",
            "{name} works in {city} as {a_job} and is {age} years old.",
            "Meet {name}, {a_job} of {age} who lives in {city}.",
        ],
        fields: &["name", "age", "city", "job"],
    },
    Form {
        sentences: &[
            "The {topic} meeting is on {day} at {time} in room {room}.",
            "We meet on {day} at {time} in room {room} to talk about the {topic}.",
            "Please come to room {room} on {day} at {time} for the {topic} meeting.",
            "On {day} at {time} there is a meeting about the {topic} in room {room}.",
        ],
        fields: &["topic", "day", "time", "room"],
    },
    Form {
        sentences: &[
            "{name} ordered {quantity} {item} for {price} euros.",
            "An order from {name}: {quantity} {item}, {price} euros in total.",
            "{name} from {city} bought {quantity} {item} and paid {price} euros.",
            "We sent {quantity} {item} to {name} and the bill was {price} euros.",
        ],
        fields: &["name", "quantity", "item", "price"],
    },
    Form {
        sentences: &[
            "{name} flies from {from} to {to} on {day}.",
            "On {day} {name} will take the train from {from} to {to}.",
            "{name} has a ticket to {to} for {day} and starts in {from}.",
            "The trip of {name} goes from {from} to {to} and begins on {day}.",
        ],
        fields: &["name", "from", "to", "day"],
    },
    Form {
        sentences: &[
            "It is {weather} in {city} today, with {temperature} degrees.",
            "The weather in {city} is {weather} and it has {temperature} degrees.",
            "{city} reports {temperature} degrees and {weather} weather.",
            "Today {city} will be {weather} at {temperature} degrees.",
        ],
        fields: &["city", "weather", "temperature"],
    },
    Form {
        sentences: &[
            "{name} was born on {date} and has the phone number {phone}.",
            "You can reach {name} at {phone}. The birthday is {date}.",
            "Call {name} at {phone} on {date}.",
            "The number of {name} is {phone}, and the party is on {date}.",
        ],
        fields: &["name", "phone", "date"],
    },
    Form {
        sentences: &[
            "{name} lost a {color} {object} in {city}.",
            "A {color} {object} was found in {city}; it belongs to {name}.",
            "{name} is looking for a {color} {object} that was left in {city}.",
        ],
        fields: &["name", "color", "object", "city"],
    },
];

static TOPICS: &[&str] = &[
    "budget", "party", "garden", "website", "contract", "holiday", "training", "project", "report", "safety",
    "menu", "design", "travel", "school", "concert", "market", "building", "survey", "network", "summer",
];

static WEATHER: &[&str] =
    &["sunny", "rainy", "cloudy", "windy", "snowy", "foggy", "stormy", "dry", "mild", "icy"];

static COLORS: &[&str] =
    &["red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink", "purple"];

fn draw(rng: &mut Rng) -> Item {
    let form = rng.one(FORMS);
    let values = values(rng);
    let slots: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let sentence = fill(rng.pick(form.sentences), &slots);

    let mut asked: Vec<&str> = form.fields.to_vec();
    if rng.chance(70) {
        let n = rng.within(1, asked.len());
        asked = rng.several(form.fields, n);
    }
    let fields: Vec<(String, String)> = asked.iter().map(|f| (f.to_string(), json(f, &values))).collect();
    let names: Vec<String> = asked.iter().map(|f| f.to_string()).collect();
    let names = if rng.chance(70) { crate::words::list(&names) } else { names.join(", ") };
    let pattern = rng.pick(&[
        "Extract the {fields} as JSON: {text}",
        "Extract the {fields} as JSON.\n\n{text}",
        "Extract {fields} as JSON: {text}",
        "Give me the {fields} as JSON: {text}",
        "Return a JSON object with {fields}.\n{text}",
        "Find the {fields} in this text and answer in JSON: {text}",
        "Text: {text}\nExtract the {fields} as JSON.",
        "{text}\n\nWrite the {fields} as JSON.",
    ]);
    let body: Vec<String> = fields.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
    Item {
        contents: vec![format!("extract {sentence}")],
        prompt: Prompt::user(fill(pattern, &[("fields", &names), ("text", &sentence)])),
        reference: format!("{{{}}}", body.join(", ")),
        key: Key::Fields(fields),
    }
}

/// A value for every slot of every form.
fn values(rng: &mut Rng) -> Vec<(&'static str, String)> {
    let full = if rng.chance(60) { format!("{} {}", name(rng), rng.pick(SURNAMES)) } else { name(rng) };
    let job = rng.pick(JOBS).to_string();
    let from = rng.pick(CITIES);
    let to = loop {
        let to = rng.pick(CITIES);
        if to != from {
            break to;
        }
    };
    let minutes = rng.pick(&["00", "15", "30", "45"]);
    vec![
        ("name", full),
        ("age", rng.within(18, 89).to_string()),
        ("city", rng.pick(CITIES).to_string()),
        ("a_job", a(&job)),
        ("job", job),
        ("He", rng.pick(&["He", "She"]).to_string()),
        ("topic", rng.pick(TOPICS).to_string()),
        ("day", rng.pick(DAYS).to_string()),
        ("time", format!("{}:{minutes}", rng.within(8, 19))),
        ("room", rng.within(1, 99).to_string()),
        ("quantity", rng.within(2, 60).to_string()),
        ("item", rng.one(GOODS).1.to_string()),
        ("price", rng.within(3, 300).to_string()),
        ("from", from.to_string()),
        ("to", to.to_string()),
        ("weather", rng.pick(WEATHER).to_string()),
        ("temperature", rng.within(1, 39).to_string()),
        ("phone", format!("{}-{}", rng.within(100, 999), rng.within(1000, 9999))),
        ("date", format!("{} {}", rng.within(1, 28), rng.pick(MONTHS))),
        ("color", rng.pick(COLORS).to_string()),
        ("object", rng.pick(OBJECTS).to_string()),
    ]
}

/// A field's value as JSON: bare for amounts, quoted for the rest.
fn json(field: &str, values: &[(&str, String)]) -> String {
    let value = values.iter().find(|(k, _)| *k == field).map_or("", |(_, v)| v);
    let amount = matches!(field, "age" | "quantity" | "price" | "temperature" | "room");
    if amount { value.to_string() } else { format!("\"{value}\"") }
}
