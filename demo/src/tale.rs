//! Short stories with known facts: a cast, a handful of plots, and for each story the questions that it answers.
//!
//! A plot is a table: steps with alternative sentences, and questions with their answers, all with slots for the cast. Every
//! plot uses the hero, the friend, the object and the place, so a story can be asked for by any of them.

use crate::rng::Rng;
use crate::words::{ANIMALS, BOYS, GIRLS, LOOKS, NATURES, OBJECTS, PLACES, a, fill, made_up};

/// Who and what a story is about.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    /// The hero's name.
    pub(crate) hero: String,
    /// What the hero is: "girl", "boy" or an animal.
    pub(crate) being: &'static str,
    /// The friend's name.
    pub(crate) friend: String,
    /// The thing that matters.
    pub(crate) object: &'static str,
    /// Where it happens.
    pub(crate) place: &'static str,
    /// The plot's place in [`PLOTS`].
    pub(crate) plot: usize,
    slots: Vec<(&'static str, String)>,
}

/// A story's question: ways to ask it, the answer, and the words that a right answer has.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Ways to ask.
    pub(crate) questions: Vec<String>,
    /// The answer as a sentence.
    pub(crate) answer: String,
    /// Words of a right answer.
    pub(crate) key: Vec<String>,
}

/// A told story.
#[derive(Clone, Debug)]
pub(crate) struct Tale {
    /// Its cast.
    pub(crate) cast: Cast,
    /// Its text: one paragraph of whole sentences.
    pub(crate) text: String,
    /// What can be asked about it.
    pub(crate) asks: Vec<Ask>,
}

/// One plot: what it is about in a few words, its steps, its questions (ways to ask, answer, key).
struct Plot {
    gist: &'static str,
    steps: &'static [&'static [&'static str]],
    asks: &'static [(&'static [&'static str], &'static str, &'static str)],
}

static OPENINGS: &[&str] = &[
    "Once upon a time there was {a_nature} {being} named {hero}.",
    "Once there was {a_nature} {being} called {hero}.",
    "{hero} was {a_nature} {being}.",
    "One day, {a_nature} {being} named {hero} went out to play.",
    "There once was {a_nature} {being} named {hero}.",
];

static FRIENDS: &[&str] = &[
    "{His} best friend was {a_friend} named {friend}.",
    "{He} had a friend, {a_friend} called {friend}.",
    "{He} often played with {friend}, {a_friend}.",
];

static PLOTS: &[Plot] = &[
    Plot {
        gist: "who loses {a_object}",
        steps: &[
            &[
                "{hero} had {a_look} {object} and took it everywhere.",
                "{His} favourite thing was {a_look} {object}.",
            ],
            &[
                "One {daytime} {he} could not find the {object}, and {he} began to cry.",
                "One {daytime} the {object} was gone, and {hero} felt very sad.",
            ],
            &[
                "{He} looked {at_other}, but it was not there.",
                "First {he} searched {at_other}, but {he} found nothing.",
            ],
            &["\"I will help you,\" said {friend}.", "{friend} said, \"Let us look together.\""],
            &[
                "At last {friend} found the {object} {at_place}.",
                "In the end {friend} saw the {object} {at_place}.",
            ],
            &[
                "{hero} laughed and hugged {friend}.",
                "{hero} was so happy that {he} danced.",
                "\"Thank you, {friend}!\" said {hero}.",
            ],
            &[
                "From that day on {he} took good care of the {object}.",
                "After that, {hero} never lost the {object} again.",
            ],
        ],
        asks: &[
            (
                &["What did {hero} lose?", "What was lost?", "What was gone?"],
                "{hero} lost the {object}.",
                "{object}",
            ),
            (
                &["Who found the {object}?", "Who helped {hero}?", "Who helped to find the {object}?"],
                "{friend} found the {object}.",
                "{friend}",
            ),
            (
                &["Where was the {object}?", "Where did {friend} find the {object}?"],
                "The {object} was {at_place}.",
                "{place}",
            ),
            (
                &["Where did {hero} look first?", "Where was the {object} not?"],
                "{hero} looked {at_other} first.",
                "{other}",
            ),
            (
                &["Why was {hero} sad?", "Why did {hero} cry?"],
                "{hero} was sad because the {object} was gone.",
                "{object}|gone",
            ),
        ],
    },
    Plot {
        gist: "who finds {a_object}",
        steps: &[
            &["One {daytime} {he} went for a walk {at_place}.", "One {daytime} {he} was playing {at_place}."],
            &[
                "There {he} saw {a_look} {object} under a tree.",
                "Suddenly {he} saw {a_look} {object} on the ground.",
            ],
            &[
                "{hero} picked up the {object} and showed it to {friend}.",
                "{He} took the {object} to {friend}.",
            ],
            &[
                "\"It is beautiful,\" said {friend}.",
                "{friend} said, \"I know who lost it!\"",
                "\"What a nice {object}!\" said {friend}.",
            ],
            &[
                "They found out that the {object} belonged to {owner}.",
                "Then they heard that {owner} was looking for the {object}.",
            ],
            &[
                "{hero} gave it back, and {owner} was very glad.",
                "So {hero} brought the {object} back to {owner}.",
            ],
            &["To say thank you, {owner} gave them {treat}.", "{owner} smiled and gave them {treat}."],
        ],
        asks: &[
            (
                &["What did {hero} find?", "What did {hero} see {at_place}?"],
                "{hero} found {a_look} {object}.",
                "{look}|{object}",
            ),
            (
                &["Where did {hero} find the {object}?", "Where was the {object}?"],
                "{hero} found the {object} {at_place}.",
                "{place}",
            ),
            (
                &["Who owned the {object}?", "Who did the {object} belong to?"],
                "The {object} belonged to {owner}.",
                "{owner}",
            ),
            (
                &["What did {owner} give them?", "What did they get from {owner}?"],
                "{owner} gave them {treat}.",
                "{treat}",
            ),
            (
                &["Who did {hero} show the {object} to?", "Who was the friend of {hero}?"],
                "{hero} showed the {object} to {friend}.",
                "{friend}",
            ),
        ],
    },
    Plot {
        gist: "who is afraid of a noise",
        steps: &[
            &[
                "One night {hero} heard a strange noise {at_place}.",
                "One {daytime} there was a strange sound {at_place}.",
            ],
            &[
                "{He} was afraid and hid behind {a_look} box.",
                "{hero} was so scared that {he} began to shake.",
            ],
            &[
                "{friend} came with a lamp and said, \"Let us go and see.\"",
                "\"Do not be afraid,\" said {friend}. \"I am with you.\"",
            ],
            &["Slowly they went closer, hand in hand.", "Together they went to look."],
            &[
                "It was only {a_object} that the wind had moved.",
                "It was just {a_object} that had fallen down.",
            ],
            &["{hero} laughed and was not afraid any more.", "Then they both laughed for a long time."],
            &["That night {hero} slept very well.", "{hero} learned that a good friend makes us brave."],
        ],
        asks: &[
            (
                &["Where was the noise?", "Where did {hero} hear the noise?"],
                "The noise was {at_place}.",
                "{place}",
            ),
            (&["What made the noise?", "What was the noise?"], "The noise was only {a_object}.", "{object}"),
            (
                &["Who helped {hero}?", "Who was with {hero}?", "Who was not afraid?"],
                "{friend} helped {hero}.",
                "{friend}",
            ),
            (
                &["Why was {hero} afraid?"],
                "{hero} was afraid because there was a strange noise {at_place}.",
                "noise|{place}",
            ),
        ],
    },
    Plot {
        gist: "who wants to share {a_object}",
        steps: &[
            &[
                "One {daytime} {hero} and {friend} found {a_look} {object} {at_place}.",
                "{At_place}, {hero} and {friend} saw {a_look} {object}.",
            ],
            &[
                "\"It is mine!\" said {hero}. \"No, it is mine!\" said {friend}.",
                "Both of them wanted to have it, and they began to shout.",
            ],
            &[
                "They pulled and pulled until they were tired.",
                "They were angry and did not talk for an hour.",
            ],
            &[
                "Then {owner} came and said, \"Why do you not share it?\"",
                "At last {owner} told them to share it.",
            ],
            &[
                "So {hero} had the {object} on {day1}, and {friend} had it on {day2}.",
                "So {hero} got the {object} on {day1} and {friend} got it on {day2}.",
            ],
            &[
                "They were friends again.",
                "Soon they played with it together.",
                "Sharing made them both happy.",
            ],
        ],
        asks: &[
            (
                &["What did they find?", "What did {hero} and {friend} both want?"],
                "They found {a_look} {object}.",
                "{object}",
            ),
            (
                &["Who told them to share?", "Who helped {hero} and {friend}?"],
                "{owner} told them to share.",
                "{owner}",
            ),
            (
                &["When did {hero} have the {object}?", "On which day did {hero} have the {object}?"],
                "{hero} had the {object} on {day1}.",
                "{day1}",
            ),
            (
                &["When did {friend} have the {object}?", "On which day did {friend} have the {object}?"],
                "{friend} had the {object} on {day2}.",
                "{day2}",
            ),
            (
                &["Where was the {object}?", "Where did they find the {object}?"],
                "The {object} was {at_place}.",
                "{place}",
            ),
        ],
    },
    Plot {
        gist: "who makes a present for a friend",
        steps: &[
            &[
                "It was the birthday of {friend}, and {hero} wanted to give {friend} something nice.",
                "{friend} was ill, and {hero} wanted to cheer {friend} up.",
            ],
            &["But {hero} had no money for a present.", "\"What can I give?\" thought {hero}."],
            &[
                "{He} went {to_place} and worked there all {daytime}.",
                "So {he} sat down {at_place} and worked for hours.",
            ],
            &[
                "{He} made {a_look} {object} with {his} own hands.",
                "With a little help from {owner}, {he} made {a_look} {object}.",
            ],
            &[
                "Then {he} carried the {object} from the {place} to the house of {friend}.",
                "{hero} ran from the {place} to {friend} with the {object}.",
            ],
            &[
                "\"This is the best present of all!\" said {friend}.",
                "{friend} smiled and said, \"I love it!\"",
            ],
            &["They ate {treat} and sang songs until the evening.", "Then they ate {treat} together."],
        ],
        asks: &[
            (
                &["What did {hero} make?", "What did {hero} give to {friend}?", "What was the present?"],
                "{hero} made {a_look} {object}.",
                "{object}",
            ),
            (
                &["Where did {hero} make the {object}?", "Where did {hero} work?"],
                "{hero} made the {object} {at_place}.",
                "{place}",
            ),
            (&["Who got the {object}?", "Who got the present?"], "{friend} got the {object}.", "{friend}"),
            (&["What did they eat?"], "They ate {treat}.", "{treat}"),
            (
                &["How did the {object} look?", "What did the {object} look like?"],
                "The {object} was {look}.",
                "{look}",
            ),
        ],
    },
    Plot {
        gist: "who learns to {skill}",
        steps: &[
            &["{hero} wanted to learn to {skill}.", "More than anything, {hero} wished to {skill}."],
            &[
                "Every {daytime} {he} tried it {at_place}, but it was hard.",
                "{He} went {to_place} to try it, but it did not work.",
            ],
            &["\"I will never learn it,\" said {hero}.", "{He} wanted to give up."],
            &[
                "Then {friend} said, \"I can teach you, if you give me your {object}.\"",
                "\"Take this {object}, it brings luck,\" said {friend}.",
            ],
            &[
                "They practised day after day until {day1}.",
                "{hero} practised every day, and on {day1} {he} was ready.",
            ],
            &[
                "At last {he} could {skill}, and everybody clapped.",
                "And then, all at once, {he} could {skill}!",
            ],
            &[
                "{hero} was proud and thanked {friend}.",
                "\"You see, you only had to practise,\" said {friend}.",
            ],
        ],
        asks: &[
            (
                &["What did {hero} want to learn?", "What did {hero} learn?"],
                "{hero} wanted to learn to {skill}.",
                "{skill}",
            ),
            (
                &["Who helped {hero}?", "Who was the teacher of {hero}?"],
                "{friend} helped {hero}.",
                "{friend}",
            ),
            (
                &["Where did {hero} practise?", "Where did {hero} try it?"],
                "{hero} tried it {at_place}.",
                "{place}",
            ),
            (
                &["On which day was {hero} ready?", "When could {hero} {skill}?"],
                "{hero} was ready on {day1}.",
                "{day1}",
            ),
        ],
    },
    Plot {
        gist: "who helps {a_friend}",
        steps: &[
            &[
                "One {daytime} {hero} walked {to_place} with {a_look} {object}.",
                "One {daytime} {hero} took {a_look} {object} and went {to_place}.",
            ],
            &["There {he} met {friend}, who had hurt a leg.", "There sat {friend}, cold and hungry."],
            &["\"Please help me,\" said {friend}.", "\"Can you help me?\" asked {friend}."],
            &[
                "{hero} gave {friend} {treat} and stayed until the sun went down.",
                "{He} shared {treat} and the {object} with {friend}.",
            ],
            &[
                "A week later {hero} fell into a deep hole.",
                "Some days later, {hero} lost the way in the dark.",
            ],
            &["{friend} heard the cries and came to help.", "This time {friend} came and saved {him}."],
            &[
                "Since then they have been the best of friends.",
                "\"A good deed is never lost,\" said {hero}.",
            ],
        ],
        asks: &[
            (
                &["Who did {hero} meet?", "Who was in need of help?", "Who did {hero} help?"],
                "{hero} met {friend}.",
                "{friend}",
            ),
            (
                &["Where did {hero} meet {friend}?", "Where was {friend}?"],
                "{hero} met {friend} {at_place}.",
                "{place}",
            ),
            (
                &["What did {hero} carry?", "What did {hero} take along?"],
                "{hero} carried {a_look} {object}.",
                "{object}",
            ),
            (&["What food did {hero} share?", "What did {friend} eat?"], "It was {treat}.", "{treat}"),
        ],
    },
    Plot {
        gist: "who goes on a trip",
        steps: &[
            &["On {day1} {hero} wanted to go {to_place}.", "{hero} planned a trip {to_place} for {day1}."],
            &[
                "{He} packed {a_look} {object} and {treat}.",
                "In the bag {he} put {a_look} {object} and {treat}.",
            ],
            &["But on the way it began to {rain}.", "Halfway there, it started to {rain}."],
            &["{hero} was cold and wanted to go home.", "\"Now I cannot go on,\" said {hero}."],
            &[
                "Then {friend} came along with a little cart and gave {him} a ride.",
                "Luckily {friend} lived near and let {him} in until it was over.",
            ],
            &["So {hero} came {to_place} after all.", "In the evening they reached the {place} together."],
            &[
                "{hero} gave the {object} to {friend} as a gift.",
                "To say thank you, {hero} gave {friend} the {object}.",
            ],
        ],
        asks: &[
            (
                &["Where did {hero} want to go?", "Where did {hero} go?"],
                "{hero} wanted to go {to_place}.",
                "{place}",
            ),
            (
                &["When did {hero} go on the trip?", "On which day was the trip?"],
                "The trip was on {day1}.",
                "{day1}",
            ),
            (
                &["What did {hero} pack?", "What was in the bag?"],
                "{hero} packed {a_look} {object} and {treat}.",
                "{object}|{treat}",
            ),
            (
                &["Who helped {hero}?", "Who got the {object}?"],
                "{friend} helped {hero} and got the {object}.",
                "{friend}",
            ),
            (
                &["Why was {hero} cold?", "What happened on the way?"],
                "On the way it began to {rain}.",
                "{rain}",
            ),
        ],
    },
];

static SKILLS: &[&str] = &[
    "swim",
    "sing",
    "dance",
    "fly",
    "read",
    "write",
    "climb",
    "paint",
    "cook",
    "jump",
    "skate",
    "sail",
    "juggle",
    "whistle",
    "run fast",
    "ride a bike",
    "play chess",
    "tell stories",
    "bake bread",
    "play the drums",
];

static TREATS: &[&str] = &[
    "warm bread",
    "sweet berries",
    "a big cake",
    "hot soup",
    "apple pie",
    "honey",
    "fresh milk",
    "cheese",
    "chocolate",
    "ice cream",
    "roasted nuts",
    "a bowl of rice",
    "pancakes",
    "ripe plums",
    "ginger biscuits",
    "lemon tea",
    "carrots",
    "popcorn",
];

static DAYTIMES: &[&str] = &["morning", "evening", "afternoon", "day"];
static WEATHERS: &[&str] = &["rain", "snow", "storm", "hail"];

fn given(rng: &mut Rng, girl: bool) -> String {
    if rng.chance(12) { made_up(rng) } else { rng.pick(if girl { GIRLS } else { BOYS }).to_string() }
}

fn being(rng: &mut Rng, girl: bool, people: usize) -> &'static str {
    if rng.chance(people) { if girl { "girl" } else { "boy" } } else { rng.pick(ANIMALS) }
}

/// Draws a cast and fills its slots.
pub(crate) fn cast(rng: &mut Rng) -> Cast {
    let (girl, friend_girl, owner_girl) = (rng.chance(50), rng.chance(50), rng.chance(50));
    let mut names: Vec<String> = Vec::new();
    while names.len() < 3 {
        let next = given(rng, [girl, friend_girl, owner_girl][names.len()]);
        if !names.contains(&next) {
            names.push(next);
        }
    }
    let [hero, friend, owner] = [names[0].clone(), names[1].clone(), names[2].clone()];
    let (being, friend_being) = (being(rng, girl, 35), being(rng, friend_girl, 35));
    let object = rng.pick(OBJECTS);
    let places = rng.below(PLACES.len());
    let (at, place) = PLACES[places];
    let (at_other, other) = PLACES[(places + rng.within(1, PLACES.len() - 1)) % PLACES.len()];
    let look = rng.pick(LOOKS);
    let day1 = rng.below(7);
    let day2 = (day1 + rng.within(1, 6)) % 7;
    let mut slots: Vec<(&'static str, String)> = vec![
        ("a_nature", a(rng.pick(NATURES))),
        ("a_friend", a(friend_being)),
        ("a_object", a(object)),
        ("a_look", a(look)),
        ("at_place", format!("{at} the {place}")),
        ("At_place", crate::words::capital(&format!("{at} the {place}"))),
        ("to_place", format!("to the {place}")),
        ("at_other", format!("{at_other} the {other}")),
        ("daytime", rng.pick(DAYTIMES).to_string()),
        ("skill", rng.pick(SKILLS).to_string()),
        ("treat", rng.pick(TREATS).to_string()),
        ("rain", rng.pick(WEATHERS).to_string()),
        ("day1", crate::words::DAYS[day1].to_string()),
        ("day2", crate::words::DAYS[day2].to_string()),
    ];
    let pronouns = if girl { ["he:she", "him:her", "his:her"] } else { ["he:he", "him:him", "his:his"] };
    for pair in pronouns {
        let (slot, word) = pair.split_once(':').expect("a pair");
        slots.push((slot, word.to_string()));
    }
    slots.push(("He", if girl { "She" } else { "He" }.to_string()));
    slots.push(("His", if girl { "Her" } else { "His" }.to_string()));
    for (slot, value) in [
        ("hero", hero.as_str()),
        ("being", being),
        ("friend", &friend),
        ("owner", &owner),
        ("object", object),
        ("place", place),
        ("other", other),
        ("look", look),
    ] {
        slots.push((slot, value.to_string()));
    }
    Cast { hero, being, friend, object, place, plot: rng.below(PLOTS.len()), slots }
}

impl Cast {
    fn fill(&self, template: &str) -> String {
        let slots: Vec<(&str, &str)> = self.slots.iter().map(|(k, v)| (*k, v.as_str())).collect();
        fill(template, &slots)
    }

    /// What the plot is about: "who loses a kite".
    pub(crate) fn gist(&self) -> String {
        self.fill(PLOTS[self.plot].gist)
    }

    /// What makes the story this story, for the fence between training and held-out.
    pub(crate) fn content(&self) -> String {
        format!("tale {}", [&self.hero, self.being, &self.friend, self.object, self.place].join("|"))
    }
}

/// Tells a story with this cast.
pub(crate) fn tell(rng: &mut Rng, cast: Cast) -> Tale {
    let plot = &PLOTS[cast.plot];
    let mut text = cast.fill(rng.pick(OPENINGS));
    if rng.chance(75) {
        text = text + " " + &cast.fill(rng.pick(FRIENDS));
    }
    for step in plot.steps {
        text = text + " " + &cast.fill(rng.pick(step));
    }
    let asks = plot.asks.iter().map(|(questions, answer, key)| Ask {
        questions: questions.iter().map(|q| cast.fill(q)).collect(),
        answer: cast.fill(answer),
        key: key.split('|').map(|k| cast.fill(k)).collect(),
    });
    let asks = asks.collect();
    Tale { cast, text, asks }
}

/// Draws a cast and tells its story.
pub(crate) fn tale(rng: &mut Rng) -> Tale {
    let cast = cast(rng);
    tell(rng, cast)
}
