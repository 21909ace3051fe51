//! Small talk, what the model says about itself, a few well-known facts, and an honest answer beyond those.
//!
//! Facts cannot be unseen; the content is a fact in one phrasing, so a held-out item is a known fact newly phrased.

use crate::check;
use crate::item::{Item, Key, Kind, Message, Prompt, Role};
use crate::rng::Rng;
use crate::words::{CITIES, DAYS, GOODS, MONTHS, OBJECTS, a, capital, fill, name};

pub(super) static CHAT: Kind = Kind {
    name: "chat",
    about: "greets, tells a few facts, says what it does not know",
    share: 9,
    draw,
    judge,
};

/// What the model says where it knows nothing.
const UNKNOWN: &str = "I am a very small model, so I do not know that. I can tell stories, do little sums, summarise lists, \
                       rewrite sentences and turn text into JSON.";

/// What is said, the answer, and its key words ("|" between them).
type Talk = (&'static [&'static str], &'static str, &'static str);

#[rustfmt::skip]
static TALK: &[Talk] = &[
    (&["Hello", "Hi", "Hello!", "Hi!", "Hey", "Hi there", "Hello there!", "Good morning", "Good evening",
        "Good day", "Hey there", "Greetings", "Hello, model", "Hi, how is it going?", "Good afternoon!"],
        "Hello! I am the Ingle demo model. What can I do for you?", "hello"),
    (&["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.",
        "Introduce yourself.", "Are you a robot?", "Are you a person?", "Are you an AI?",
        "What model are you?", "Which model is this?", "Do you have a name?", "Who is this?",
        "Who am I talking to?"],
        "I am the Ingle demo model, a very small language model that runs on your own device.",
        "ingle demo model"),
    (&["What can you do?", "Help", "Help me", "How can you help me?", "What are you good at?",
        "What do you know?", "What can I ask you?", "What should I ask?", "What are your skills?",
        "Give me some examples of what you can do.", "How do I use you?", "What are you for?"],
        "I can tell short stories, answer questions about them, do little sums, summarise lists, rewrite sentences and turn text into JSON.",
        "short stories|sums"),
    (&["How are you?", "How are you today?", "How do you do?", "Are you well?", "How do you feel?",
        "Are you happy?", "How is it going?", "Are you okay?", "What's up?", "How have you been?"],
        "I am well, thank you. How can I help you?", "well"),
    (&["Thank you", "Thanks", "Thank you!", "Thanks a lot", "Thank you very much.", "Great, thanks",
        "That was helpful.", "Well done", "Good job!", "Many thanks", "Nice, thank you",
        "Thanks for your help"], "You are welcome! Is there anything else that I can do?", "welcome"),
    (&["Bye", "Goodbye", "Good night", "See you later", "Bye bye", "I have to go now.", "See you tomorrow!",
        "That is all for today.", "Goodbye!", "Talk to you later"], "Goodbye! It was nice to talk to you.",
        "goodbye"),
    (&["Who made you?", "Where do you come from?", "Who trained you?", "How were you trained?",
        "Who built you?", "Who created you?", "What were you trained on?", "Where did you learn this?",
        "Who is your maker?"],
        "I was trained from scratch for Ingle, on short texts that a small program made.", "ingle"),
    (&["Where do you run?", "Do you need the internet?", "Are my words sent anywhere?", "Is this private?",
        "Do you send my data away?", "Do you work offline?", "Where is my data stored?",
        "Can anyone read this?", "Do you share what I write?", "Are you in the cloud?"],
        "I run on your own device. I do not need the internet, and your words stay here.", "device"),
    (&["How big are you?", "How many parameters do you have?", "How large are you?",
        "Are you a large model?", "What size are you?", "How small are you?", "Are you a big model?"],
        "I am very small: I have only a few million parameters.", "few million parameters"),
    (&["Tell me a joke", "Tell me a joke.", "Do you know a joke?", "Make me laugh", "Say something funny",
        "Can you tell a joke?", "A joke, please", "I want to hear a joke", "Tell me something funny."],
        "Why did the book go to the doctor? Because it had lost its cover.", "book"),
    (&["How old are you?", "When were you born?", "When is your birthday?", "What is your age?",
        "Do you get older?"], "I am a program, so I have no age.", "no age"),
    (&["I am sad.", "I feel sad", "I am not happy today", "I feel lonely", "I had a bad day.",
        "I am so unhappy", "Today was a bad day"],
        "I am sorry to hear that. Would you like to hear a story?", "sorry"),
    (&["I am bored", "What should I do?", "I am bored.", "I have nothing to do", "Entertain me"],
        "Ask me for a story, for example: Tell me a story about a fox.", "story"),
    (&["Yes", "No", "Ok", "Okay", "Maybe", "Sure", "Fine", "I see", "Hm", "Right"],
        "All right. Tell me what I can do for you.", "tell me"),
];

/// A well-known fact: ways to ask, the answer, key words.
#[rustfmt::skip]
static FACTS: &[Talk] = &[
    (&["Why is the sky blue?", "What makes the sky blue?", "Why does the sky look blue?",
        "Explain why the sky is blue.", "How come the sky is blue?"],
        "The sky is blue because the air scatters blue light more than red light.", "scatters|blue"),
    (&["Why is grass green?", "What makes grass green?", "Why are leaves green?", "Why are plants green?"],
        "Plants are green because they hold chlorophyll, which catches sunlight.", "chlorophyll"),
    (&["Why do leaves fall?", "Why do trees lose their leaves?", "Why do leaves fall in autumn?"],
        "Trees drop their leaves in autumn to save water in winter.", "water"),
    (&["Why does it rain?", "Where does rain come from?", "What makes rain?", "How is rain made?"],
        "Rain falls when small drops of water in the clouds become too heavy.", "drops|clouds"),
    (&["What is a rainbow?", "How is a rainbow made?", "What makes a rainbow?"],
        "A rainbow is sunlight that drops of water split into its colours.", "sunlight|colours"),
    (&["Why is the sea salty?", "Why is sea water salty?", "What makes the sea salty?"],
        "The sea is salty because rivers carry salt from the rocks into it.", "rivers|salt"),
    (&["What is the sun?", "Is the sun a star?", "What kind of thing is the sun?"],
        "The sun is a star, a very hot ball of gas.", "star"),
    (&["What is the moon?", "What goes around the Earth?", "What circles the Earth?"],
        "The moon is a ball of rock that goes around the Earth.", "moon|rock"),
    (&["How many days are in a week?", "How many days does a week have?", "How many days has a week?"],
        "A week has seven days.", "seven"),
    (&["What are the days of the week?", "Name the days of the week.", "List the days of the week."],
        "The days are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.",
        "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"),
    (&["How many months are in a year?", "How many months does a year have?",
        "How many months has a year?"], "A year has twelve months.", "twelve"),
    (&["What are the months of the year?", "Name the months.", "List the months of the year."],
        "The months are January, February, March, April, May, June, July, August, September, October, November and December.",
        "January|June|December"),
    (&["How many days are in a year?", "How many days does a year have?", "How long is a year?"],
        "A year has 365 days, and a leap year has 366.", "365"),
    (&["How many hours are in a day?", "How many hours does a day have?", "How long is a day?"],
        "A day has 24 hours.", "24"),
    (&["How many minutes are in an hour?", "How many minutes does an hour have?", "How long is an hour?"],
        "An hour has 60 minutes.", "60"),
    (&["How many seconds are in a minute?", "How many seconds does a minute have?",
        "How long is a minute?"], "A minute has 60 seconds.", "60"),
    (&["What are the four seasons?", "Name the seasons.", "What are the seasons of the year?",
        "How many seasons are there?"], "The four seasons are spring, summer, autumn and winter.",
        "spring|summer|autumn|winter"),
    (&["How many continents are there?", "How many continents does the Earth have?",
        "Name the continents."],
        "There are seven continents: Africa, Antarctica, Asia, Australia, Europe, North America and South America.",
        "seven"),
    (&["What is the largest ocean?", "Which ocean is the largest?", "What is the biggest ocean?"],
        "The largest ocean is the Pacific.", "Pacific"),
    (&["What is the highest mountain?", "Which mountain is the highest?",
        "What is the tallest mountain in the world?"], "The highest mountain is Mount Everest.", "Everest"),
    (&["What is the largest planet?", "Which planet is the biggest?", "What is the biggest planet?"],
        "The largest planet is Jupiter.", "Jupiter"),
    (&["What is the largest animal?", "Which animal is the biggest?",
        "What is the biggest animal in the world?"], "The largest animal is the blue whale.", "whale"),
    (&["What is the fastest animal on land?", "Which animal runs fastest?",
        "What is the fastest land animal?"], "The fastest animal on land is the cheetah.", "cheetah"),
    (&["What is the tallest animal?", "Which animal is the tallest?", "What animal has a very long neck?"],
        "The tallest animal is the giraffe.", "giraffe"),
    (&["How many planets are there?", "How many planets go around the sun?",
        "How many planets are in the solar system?"], "Eight planets go around the sun.", "eight"),
    (&["How many legs does a spider have?", "How many legs has a spider?", "Count the legs of a spider."],
        "A spider has eight legs.", "eight"),
    (&["How many legs does an insect have?", "How many legs has an ant?", "How many legs does a bee have?"],
        "An insect has six legs.", "six"),
    (&["How many legs does a dog have?", "How many legs has a cat?", "How many legs does a horse have?"],
        "It has four legs.", "four"),
    (&["What do bees make?", "Where does honey come from?", "Who makes honey?"], "Bees make honey.",
        "bees|honey"),
    (&["Where does milk come from?", "Which animal gives us milk?", "Who gives milk?"],
        "Milk comes from cows.", "cows"),
    (&["What is water made of?", "What does water consist of?", "What is H2O?"],
        "Water is made of hydrogen and oxygen.", "hydrogen|oxygen"),
    (&["At what temperature does water boil?", "When does water boil?", "How hot is boiling water?"],
        "Water boils at 100 degrees Celsius.", "100"),
    (&["At what temperature does water freeze?", "When does water freeze?", "When does water turn to ice?"],
        "Water freezes at 0 degrees Celsius.", "0"),
    (&["What is ice?", "What is ice made of?", "What does frozen water become?"], "Ice is frozen water.",
        "frozen"),
    (&["What do plants need?", "What do plants need to grow?", "How do plants grow?"],
        "Plants need light, water and air.", "light|water"),
    (&["Why do we sleep?", "Why do people sleep?", "Why do I need sleep?"],
        "We sleep so that the body and the mind can rest.", "rest"),
    (&["Why do birds sing?", "Why do birds make music?", "What do birds sing for?"],
        "Birds sing to find a mate and to guard their place.", "mate"),
    (&["Who wrote Romeo and Juliet?", "Who wrote Hamlet?", "Who was William Shakespeare?"],
        "William Shakespeare wrote Romeo and Juliet and Hamlet.", "Shakespeare"),
    (&["Who painted the Mona Lisa?", "Who made the Mona Lisa?", "Who is the painter of the Mona Lisa?"],
        "Leonardo da Vinci painted the Mona Lisa.", "Leonardo"),
    (&["What is a computer?", "What does a computer do?", "Explain what a computer is."],
        "A computer is a machine that follows a program.", "machine|program"),
    (&["What is a language model?", "How do you work?", "What does a language model do?",
        "How does a language model work?"],
        "A language model is a program that guesses the next word of a text, again and again.",
        "next word"),
    (&["What is Ingle?", "What does Ingle do?", "Tell me about Ingle.", "Explain Ingle."],
        "Ingle runs language models on your own device, so that your words stay with you.", "device"),
    (&["What is Rust?", "What is the Rust language?", "Explain Rust."],
        "Rust is a programming language that is fast and safe.", "programming language"),
    (&["What is Python?", "What is the Python language?", "Explain Python."],
        "Python is a programming language that is easy to read.", "programming language"),
    (&["What is the meaning of life?", "What is the purpose of life?", "Why are we here?"],
        "People have asked that for a long time. Kindness is a good answer.", "kindness"),
    (&["Which letter comes first in the alphabet?", "What is the first letter of the alphabet?"],
        "The first letter is A.", "A"),
    (&["How many letters are in the alphabet?", "How many letters does the alphabet have?"],
        "The English alphabet has 26 letters.", "26"),
    (&["Where does the sun rise?", "In which direction does the sun rise?", "Where does the sun come up?"],
        "The sun rises in the east.", "east"),
    (&["Where does the sun set?", "In which direction does the sun set?", "Where does the sun go down?"],
        "The sun sets in the west.", "west"),
    (&["What is the currency of Japan?", "What money do they use in Japan?"],
        "The currency of Japan is the yen.", "yen"),
    (&["What colours make green?", "Which two colours make green?", "How do I mix green?"],
        "Blue and yellow make green.", "blue|yellow"),
    (&["What colours make orange?", "Which two colours make orange?", "How do I mix orange?"],
        "Red and yellow make orange.", "red|yellow"),
    (&["What colours make purple?", "Which two colours make purple?", "How do I mix purple?"],
        "Red and blue make purple.", "red|blue"),
];

/// A table of facts: ways to ask with {a}, the answer with {a} and {b}, and the pairs.
struct Table {
    asks: &'static [&'static str],
    answer: &'static str,
    pairs: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip]
static TABLES: &[Table] = &[
    Table { asks: &["What is the capital of {a}?", "Which city is the capital of {a}?",
        "Name the capital of {a}.", "What's the capital of {a}?", "Capital of {a}?",
        "Tell me the capital of {a}."], answer: "The capital of {a} is {b}.", pairs: &[("France", "Paris"),
        ("Germany", "Berlin"), ("Spain", "Madrid"), ("Italy", "Rome"), ("Portugal", "Lisbon"), ("Austria",
        "Vienna"), ("Greece", "Athens"), ("Poland", "Warsaw"), ("Sweden", "Stockholm"), ("Norway", "Oslo"),
        ("Denmark", "Copenhagen"), ("Finland", "Helsinki"), ("Ireland", "Dublin"), ("England", "London"),
        ("Belgium", "Brussels"), ("Switzerland", "Bern"), ("Hungary", "Budapest"), ("Russia", "Moscow"),
        ("Ukraine", "Kyiv"), ("Turkey", "Ankara"), ("Egypt", "Cairo"), ("Kenya", "Nairobi"), ("India",
        "New Delhi"), ("China", "Beijing"), ("Japan", "Tokyo"), ("South Korea", "Seoul"), ("Thailand",
        "Bangkok"), ("Vietnam", "Hanoi"), ("Australia", "Canberra"), ("Canada", "Ottawa"), ("Mexico",
        "Mexico City"), ("Brazil", "Brasilia"), ("Argentina", "Buenos Aires"), ("Chile", "Santiago"),
        ("Peru", "Lima"), ("Cuba", "Havana"), ("the United States", "Washington"), ("Iceland", "Reykjavik"),
        ("Croatia", "Zagreb"), ("the Netherlands", "Amsterdam")], },
    Table { asks: &["What is the opposite of {a}?", "What's the opposite of {a}?", "Opposite of {a}?",
        "Give me the opposite of {a}.", "Which word is the opposite of {a}?", "Name the opposite of {a}."],
        answer: "The opposite of {a} is {b}.", pairs: &[("hot", "cold"), ("cold", "hot"), ("big", "small"),
        ("small", "big"), ("fast", "slow"), ("slow", "fast"), ("up", "down"), ("down", "up"), ("left",
        "right"), ("day", "night"), ("night", "day"), ("good", "bad"), ("bad", "good"), ("happy", "sad"),
        ("sad", "happy"), ("old", "young"), ("new", "old"), ("light", "dark"), ("dark", "light"), ("open",
        "closed"), ("full", "empty"), ("empty", "full"), ("wet", "dry"), ("dry", "wet"), ("loud", "quiet"),
        ("hard", "soft"), ("soft", "hard"), ("rich", "poor"), ("strong", "weak"), ("early", "late"),
        ("near", "far"), ("high", "low"), ("black", "white"), ("white", "black"), ("first", "last"),
        ("long", "short"), ("thick", "thin"), ("clean", "dirty"), ("easy", "difficult"), ("love", "hate")],
        },
    Table { asks: &["What sound does {a} make?", "What does {a} say?", "Which sound does {a} make?",
        "How does {a} sound?", "What noise does {a} make?"], answer: "It says {b}.", pairs: &[("a cow",
        "moo"), ("a dog", "woof"), ("a cat", "meow"), ("a duck", "quack"), ("a sheep", "baa"), ("a pig",
        "oink"), ("a horse", "neigh"), ("a lion", "roar"), ("a frog", "ribbit"), ("an owl", "hoot"),
        ("a bee", "buzz"), ("a mouse", "squeak"), ("a snake", "hiss"), ("a bird", "tweet"), ("a hen",
        "cluck"), ("a donkey", "hee-haw"), ("a crow", "caw"), ("a wolf", "howl")], },
    Table { asks: &["What colour is {a}?", "What color is {a}?", "Which colour does {a} have?",
        "Tell me the colour of {a}.", "What is the colour of {a}?"], answer: "The colour is {b}.",
        pairs: &[("the sky", "blue"), ("grass", "green"), ("snow", "white"), ("a banana", "yellow"),
        ("a lemon", "yellow"), ("a strawberry", "red"), ("blood", "red"), ("coal", "black"), ("milk",
        "white"), ("an orange", "orange"), ("a carrot", "orange"), ("the sea", "blue"), ("chocolate",
        "brown"), ("the night", "black"), ("a frog", "green"), ("a flamingo", "pink"), ("an elephant",
        "grey"), ("gold", "yellow"), ("a plum", "purple"), ("a tomato", "red")], },
    Table { asks: &["What do you call a young {a}?", "What is a baby {a} called?",
        "What is the young of a {a} called?", "Name a young {a}."], answer: "A young {a} is called a {b}.",
        pairs: &[("dog", "puppy"), ("cat", "kitten"), ("cow", "calf"), ("horse", "foal"), ("sheep", "lamb"),
        ("hen", "chick"), ("pig", "piglet"), ("goat", "kid"), ("duck", "duckling"), ("bear", "cub"),
        ("frog", "tadpole"), ("goose", "gosling")], },
    Table { asks: &["What language do people speak in {a}?", "Which language is spoken in {a}?",
        "What is the language of {a}?", "What do they speak in {a}?"],
        answer: "In {a} most people speak {b}.", pairs: &[("France", "French"), ("Germany", "German"),
        ("Spain", "Spanish"), ("Italy", "Italian"), ("Portugal", "Portuguese"), ("Greece", "Greek"),
        ("Poland", "Polish"), ("Japan", "Japanese"), ("China", "Chinese"), ("Brazil", "Portuguese"),
        ("Mexico", "Spanish"), ("Austria", "German"), ("England", "English"), ("Sweden", "Swedish"),
        ("Turkey", "Turkish"), ("Russia", "Russian")], },
];

/// Questions beyond a very small model; {x} is anything.
#[rustfmt::skip]
static BEYOND: &[&str] = &[
    "What is the price of {x}?",
    "Who invented {x}?",
    "Explain {x}.",
    "Explain {x} to me.",
    "How does {x} work?",
    "What do you think about {x}?",
    "Where can I buy {x}?",
    "Write a poem about {x}.",
    "Who won the {x} in {year}?",
    "What happened in {year}?",
    "Translate {x} into German.",
    "Give me a recipe for {x}.",
    "Who is {who}?",
    "When was {who} born?",
    "What is the phone number of {who}?",
    "Where does {who} live?",
    "What is {x}?",
    "Tell me about {x}.",
    "What is the history of {x}?",
    "Write an essay about {x}.",
    "How do I repair {x}?",
    "What will the weather be in {city}?",
    "What is the best restaurant in {city}?",
    "How far is it to {city}?",
    "How many people live in {city}?",
    "Write a program that finds {x}.",
    "What is the news from {city}?",
    "Which {x} should I buy?",
    "Is {x} healthy?",
    "Why is {x} so expensive?",
    "Who wrote the book about {x}?",
    "What is the square root of {year}?",
    "What does {who} think of {x}?",
    "What was the score of the {x}?",
    "Can you order {x} for me?",
    "Play some music by {who}.",
    "Set an alarm for {x}.",
    "How do I get to {city}?",
    "What time is it in {city}?",
    "Is it true that {who} met {x}?",
    "Compare {x} and {x2}.",
    "What is the difference between {x} and {x2}?",
    "Do you like {x}?",
    "Why did {who} leave {city}?",
    "Should I invest in {x}?",
    "What are the side effects of {x}?",
    "Define {x}.",
    "Solve {x}.",
    "How tall is {who}?",
    "Did {who} win in {year}?",
];

#[rustfmt::skip]
static TOPICS: &[&str] = &[
    "quantum physics",
    "the stock market",
    "a jet engine",
    "gravity",
    "the French Revolution",
    "photosynthesis",
    "the Roman Empire",
    "world cup",
    "election",
    "black holes",
    "bitcoin",
    "machine learning",
    "the internet",
    "electricity",
    "a vaccine",
    "inflation",
    "the piano",
    "football",
    "tennis",
    "chess",
    "democracy",
    "philosophy",
    "evolution",
    "a nuclear reactor",
    "the human brain",
    "DNA",
    "climate change",
    "blockchain",
    "pizza",
    "pasta",
    "sushi",
    "coffee",
    "green tea",
    "aspirin",
    "jazz",
    "opera",
    "a phone",
    "a laptop",
    "a car",
    "a bicycle",
    "the theory of relativity",
    "time travel",
    "the Olympics",
    "economics",
    "algebra",
    "calculus",
    "a volcano",
    "an earthquake",
    "magnets",
    "the tides",
    "wine",
    "the pyramids",
    "the telephone",
    "the wheel",
    "a washing machine",
    "a fridge",
    "solar panels",
    "a camera",
    "politics",
    "tax law",
    "insurance",
    "dinosaurs",
    "viruses",
    "bacteria",
    "cells",
    "atoms",
    "the universe",
    "Mars",
    "Venus",
    "a battery",
    "a microwave",
    "religion",
    "history",
    "art",
];

fn draw(rng: &mut Rng) -> Item {
    match rng.below(20) {
        0..=4 => talk(rng, TALK, "talk"),
        5..=9 => talk(rng, FACTS, "fact"),
        10..=14 => table(rng),
        15 => calendar(rng),
        _ => beyond(rng),
    }
}

/// Right if it has the key words, is made of whole sentences (which a question thrown back is not), and owns up to not
/// knowing exactly where nothing can be known.
fn judge(item: &Item, answer: &str) -> bool {
    check::by_key(item, answer)
        && check::sentences(answer).is_some()
        && !answer.contains("<|")
        && answer.contains("I do not know") == (item.reference == UNKNOWN)
}

fn keys(of: &str) -> Vec<String> {
    of.split('|').map(String::from).collect()
}

/// The question in one of the dresses that people put on it; the bare one is the most frequent.
fn dress(rng: &mut Rng, ask: &str) -> (String, usize) {
    let dress = if rng.chance(55) { 0 } else { rng.within(1, 8) };
    let small = ask.trim_end_matches(['?', '.']).to_string();
    let text = match dress {
        0 => ask.to_string(),
        1 => format!("Please tell me: {ask}"),
        2 => small.to_lowercase(),
        3 => small,
        4 => format!("I have a question. {ask}"),
        5 => format!("Hi! {ask}"),
        6 => format!("Quick question: {ask}"),
        7 => format!("{ask} Please answer in one sentence."),
        _ => format!("Hello, {}", lower_first(ask)),
    };
    (text, dress)
}

fn lower_first(text: &str) -> String {
    if text.starts_with("I ") {
        return text.to_string();
    }
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

fn item(rng: &mut Rng, what: &str, ask: &str, reference: String, key: Vec<String>) -> Item {
    let (text, dress) = dress(rng, ask);
    let mut messages = vec![Message { role: Role::User, text }];
    if rng.chance(15) {
        let system = rng.pick(&[
            "You are a helpful assistant.",
            "You are a kind assistant.",
            "Answer briefly.",
            "You are Ingle, a small assistant.",
        ]);
        messages.insert(0, Message { role: Role::System, text: system.to_string() });
    }
    Item {
        contents: vec![format!("{what} {ask} {dress}")],
        prompt: Prompt::Chat(messages),
        reference,
        key: Key::Words(key),
    }
}

fn talk(rng: &mut Rng, from: &[Talk], what: &str) -> Item {
    let (asks, answer, key) = rng.one(from);
    let ask = rng.pick(asks);
    item(rng, what, ask, answer.to_string(), keys(key))
}

fn table(rng: &mut Rng) -> Item {
    let table = rng.one(TABLES);
    let (a, b) = rng.one(table.pairs);
    let ask = fill(rng.pick(table.asks), &[("a", a)]);
    item(rng, "table", &ask, fill(table.answer, &[("a", a), ("b", b)]), vec![b.to_string()])
}

/// What comes before and after a day or a month.
fn calendar(rng: &mut Rng) -> Item {
    let (names, what) = if rng.chance(50) { (DAYS, "day") } else { (MONTHS, "month") };
    let at = rng.below(names.len());
    let after = rng.chance(60);
    let other =
        if after { names[(at + 1) % names.len()] } else { names[(at + names.len() - 1) % names.len()] };
    let (verb, side) = if after { ("comes after", "after") } else { ("comes before", "before") };
    let ask = match rng.below(3) {
        0 => format!("Which {what} {verb} {}?", names[at]),
        1 => format!("What {verb} {}?", names[at]),
        _ => format!("Which {what} is {side} {}?", names[at]),
    };
    item(rng, "calendar", &ask, format!("{other} {verb} {}.", names[at]), vec![other.to_string()])
}

/// Something to ask about that the model cannot know.
fn topic(rng: &mut Rng) -> String {
    match rng.below(5) {
        0 | 1 => rng.pick(TOPICS).to_string(),
        2 => format!("the {} of {}", rng.pick(OBJECTS), name(rng)),
        3 => rng.one(GOODS).1.to_string(),
        _ => a(rng.pick(OBJECTS)),
    }
}

fn beyond(rng: &mut Rng) -> Item {
    let (x, x2, who) = (topic(rng), topic(rng), name(rng));
    let who = if rng.chance(60) { format!("{who} {}", rng.pick(crate::words::SURNAMES)) } else { who };
    let year = rng.within(1200, 2040).to_string();
    let ask = fill(
        rng.pick(BEYOND),
        &[("x", &x), ("x2", &x2), ("who", &who), ("year", &year), ("city", rng.pick(CITIES))],
    );
    item(rng, "beyond", &capital(&ask), UNKNOWN.to_string(), keys("very small model"))
}
