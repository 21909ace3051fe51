//! Summaries of notification lists: who sent how many of what, and what is due.
//!
//! The content is the whole list.

use crate::check;
use crate::item::{Item, Key, Kind, Prompt};
use crate::rng::Rng;
use crate::words::{DAYS, fill, name};

pub(super) static SUMMARY: Kind =
    Kind { name: "summary", about: "sums up a list of notifications", share: 40, draw, judge: check::by_key };

/// A source of notifications: its label in the list, what people do with it, what one and several are called, and what
/// they say.
struct App {
    label: &'static str,
    did: &'static str,
    one: &'static str,
    many: &'static str,
    texts: &'static [&'static str],
}

static APPS: &[App] = &[
    App {
        label: "Messages",
        did: "sent",
        one: "message",
        many: "messages",
        texts: &[
            "Are you at home?",
            "See you later!",
            "Can you call me?",
            "I will be late.",
            "Did you get my letter?",
            "Good morning!",
            "What time is dinner?",
            "I found your keys.",
            "Thank you so much!",
            "Shall we meet tomorrow?",
            "The film was great.",
            "Please bring some milk.",
            "Happy birthday!",
            "Where are you?",
            "I am on the train.",
            "Look at this picture.",
        ],
    },
    App {
        label: "Mail",
        did: "sent",
        one: "email",
        many: "emails",
        texts: &[
            "Your invoice for {month}",
            "Notes from the meeting",
            "Photos of the trip",
            "New offer",
            "Question about the report",
            "Plan for next week",
            "Your order has been sent",
            "Invitation to the party",
            "The contract is ready",
            "Budget for next year",
        ],
    },
    App {
        label: "Phone",
        did: "made",
        one: "call",
        many: "calls",
        texts: &["Missed call", "Missed call at {time}"],
    },
    App {
        label: "Photos",
        did: "sent",
        one: "photo",
        many: "photos",
        texts: &["shared a photo", "sent you a photo", "added a new photo"],
    },
];

static EVENTS: &[&str] = &[
    "Dentist",
    "Team meeting",
    "Lunch with {name}",
    "Piano lesson",
    "Yoga class",
    "Call with {name}",
    "Doctor",
    "Football training",
    "Parents' evening",
    "Dinner with {name}",
    "Haircut",
    "Chess club",
    "Job interview",
    "Swimming lesson",
];

fn draw(rng: &mut Rng) -> Item {
    let n_groups = rng.within(1, 3);
    let mut groups: Vec<(usize, String, usize)> = Vec::new();
    while groups.len() < n_groups {
        let (app, who) = (rng.below(APPS.len()), name(rng));
        if groups.iter().all(|g| g.1 != who) {
            groups.push((app, who, *rng.one(&[1, 1, 1, 2, 2, 3])));
        }
    }
    let time = format!("{}:{}", rng.within(7, 20), rng.pick(&["00", "15", "30", "45"]));
    let friend = name(rng);
    let slots = [("name", friend.as_str()), ("time", &time), ("month", rng.pick(crate::words::MONTHS))];
    let mut lines: Vec<String> = Vec::new();
    for (app, who, count) in &groups {
        for text in rng.several(APPS[*app].texts, *count) {
            lines.push(format!("{}: {who}: {}", APPS[*app].label, fill(text, &slots)));
        }
        // Phone has but two texts; the group then counts what it has.
    }
    for (app, who, count) in &mut groups {
        let head = format!("{}: {who}: ", APPS[*app].label);
        *count = lines.iter().filter(|line| line.starts_with(&head)).count();
    }
    let event = rng.chance(45).then(|| {
        let day = if rng.chance(50) { "today".to_string() } else { format!("on {}", rng.pick(DAYS)) };
        (fill(rng.pick(EVENTS), &slots), day, time.clone())
    });
    if let Some((what, day, time)) = &event {
        let day = crate::words::capital(day.trim_start_matches("on "));
        lines.push(format!("Calendar: {what}, {day} at {time}"));
    }
    build(rng, &groups, event, &lines)
}

fn build(
    rng: &mut Rng,
    groups: &[(usize, String, usize)],
    event: Option<(String, String, String)>,
    lines: &[String],
) -> Item {
    // The name comes first: who reads on can count what is theirs.
    let said: Vec<String> = groups
        .iter()
        .map(|(app, who, count)| {
            let App { did, one, many, .. } = &APPS[*app];
            format!("{who} {did} {count} {}", if *count == 1 { one } else { many })
        })
        .collect();
    let mut reference = format!("{}.", said.join(". "));
    let mut key = said;
    if let Some((what, day, time)) = event {
        reference.push_str(&format!(" {what} is {day} at {time}."));
        key.push(format!("{what} is {day} at {time}"));
    }
    let head = rng.pick(&[
        "Summarise these notifications:",
        "Summarize these notifications:",
        "Summarise:",
        "Summarize:",
        "Give me a summary of my notifications:",
        "What is new?",
        "Please summarise my notifications.",
        "Sum up these notifications:",
        "Here are my notifications. What do I need to know?",
        "Summarise this list:",
    ]);
    let bullet = rng.pick(&["- ", "- ", "* ", ""]);
    let body: Vec<String> = lines.iter().map(|line| format!("{bullet}{line}")).collect();
    Item {
        contents: vec![format!("list {}", lines.join("|"))],
        prompt: Prompt::user(format!("{head}\n{}", body.join("\n"))),
        reference,
        key: Key::Words(key),
    }
}
