//! The words that the generator builds its items from, and the few rules of English that it needs.

use crate::rng::Rng;

/// Names of girls and women.
#[rustfmt::skip]
pub(crate) static GIRLS: &[&str] = &[
    "Ada", "Agnes", "Alice", "Amara", "Amina", "Anna", "Anya", "Aoife", "Astrid", "Aurora", "Beatrice",
    "Bella", "Bianca", "Carla", "Carmen", "Cecilia", "Celia", "Chloe", "Clara", "Daisy", "Dana", "Daphne",
    "Delia", "Diana", "Dora", "Edith", "Elena", "Elif", "Elisa", "Ella", "Elsa", "Emily", "Emma", "Esther",
    "Eva", "Faye", "Fatima", "Fiona", "Flora", "Freya", "Gemma", "Gloria", "Grace", "Greta", "Hana",
    "Hanna", "Hazel", "Helen", "Holly", "Ida", "Ines", "Ingrid", "Iris", "Irma", "Isla", "Ivy", "Jana",
    "Jasmine", "Jenny", "Joan", "Judith", "Julia", "June", "Karin", "Kate", "Keiko", "Lara", "Laura",
    "Leila", "Lena", "Lily", "Lina", "Lisa", "Lotte", "Lucy", "Luna", "Mabel", "Maeve", "Maja", "Mara",
    "Margo", "Maria", "Marta", "Maya", "Mei", "Mia", "Mila", "Mina", "Molly", "Nadia", "Naomi", "Nell",
    "Nina", "Nora", "Olga", "Olive", "Olivia", "Paula", "Pearl", "Petra", "Polly", "Priya", "Rita", "Rosa",
    "Rose", "Ruby", "Ruth", "Sana", "Sara", "Selma", "Sofia", "Stella", "Susan", "Tara", "Tessa", "Thea",
    "Tina", "Uma", "Vera", "Violet", "Wendy", "Willa", "Yara", "Yuki", "Zoe", "Zara",
];

/// Names of boys and men.
#[rustfmt::skip]
pub(crate) static BOYS: &[&str] = &[
    "Aaron", "Adam", "Ahmed", "Alan", "Albert", "Alex", "Amir", "Andre", "Anton", "Arthur", "Arun", "Ben",
    "Bruno", "Carl", "Cato", "Chen", "Cyrus", "Dan", "Daniel", "David", "Dev", "Diego", "Dylan", "Edgar",
    "Eli", "Emil", "Eric", "Ethan", "Felix", "Finn", "Frank", "Fred", "Gabriel", "George", "Gus", "Hamid",
    "Hans", "Harry", "Henry", "Hugo", "Ian", "Igor", "Ivan", "Jack", "Jacob", "Jamal", "James", "Jan",
    "Jasper", "Joe", "Jonas", "Juan", "Jules", "Karl", "Kenji", "Kofi", "Kurt", "Lars", "Leo", "Leon",
    "Levi", "Liam", "Louis", "Luca", "Luis", "Lukas", "Malik", "Marco", "Mario", "Mark", "Martin", "Max",
    "Milo", "Mohan", "Nico", "Nils", "Noah", "Oliver", "Omar", "Oscar", "Otto", "Owen", "Pablo", "Paul",
    "Pedro", "Peter", "Philip", "Quinn", "Rafael", "Raj", "Ravi", "Rex", "Robin", "Rory", "Rufus", "Sam",
    "Samir", "Scott", "Simon", "Sven", "Tariq", "Theo", "Thomas", "Tim", "Toby", "Tom", "Tomas", "Victor",
    "Viktor", "Walter", "Will", "Yusuf", "Zach", "Zeno",
];

/// Family names.
#[rustfmt::skip]
pub(crate) static SURNAMES: &[&str] = &[
    "Adams", "Ali", "Andersen", "Baker", "Bauer", "Becker", "Bell", "Berg", "Brown", "Carter", "Chan",
    "Clark", "Costa", "Cruz", "Diaz", "Evans", "Fischer", "Fox", "Garcia", "Gomez", "Gray", "Green", "Haas",
    "Hall", "Hansen", "Hill", "Hughes", "Ito", "Jansen", "Jones", "Kaya", "Keller", "Khan", "Kim", "King",
    "Klein", "Kovacs", "Kumar", "Lang", "Larsen", "Lee", "Lopez", "Martin", "Mason", "Mehta", "Meyer",
    "Miller", "Moore", "Moreau", "Morris", "Nguyen", "Novak", "Okafor", "Olsen", "Parker", "Patel", "Perez",
    "Popov", "Price", "Reed", "Reyes", "Rivera", "Romano", "Rossi", "Roy", "Russo", "Santos", "Sato",
    "Schmidt", "Scott", "Shah", "Silva", "Singh", "Smith", "Stone", "Suzuki", "Takeda", "Taylor", "Turner",
    "Vega", "Wagner", "Walker", "Ward", "Weber", "West", "White", "Wilson", "Wong", "Wood", "Young",
    "Zhang", "Ziegler",
];

/// Animals that can be the hero of a story.
#[rustfmt::skip]
pub(crate) static ANIMALS: &[&str] = &[
    "ant", "badger", "bat", "bear", "beaver", "bee", "bird", "bunny", "camel", "cat", "chicken", "cow",
    "crab", "crow", "deer", "dog", "dolphin", "donkey", "dragon", "duck", "eagle", "elephant", "fox",
    "frog", "giraffe", "goat", "goose", "hamster", "hare", "hedgehog", "hen", "horse", "kangaroo", "kitten",
    "koala", "lamb", "lion", "lizard", "mole", "monkey", "mouse", "otter", "owl", "panda", "parrot",
    "penguin", "pig", "pony", "puppy", "rabbit", "raccoon", "robin", "seal", "sheep", "snail", "sparrow",
    "squirrel", "swan", "tiger", "toad", "turtle", "whale", "wolf", "zebra",
];

/// Places, each with the preposition that says where somebody is.
#[rustfmt::skip]
pub(crate) static PLACES: &[(&str, &str)] = &[
    ("in", "attic"), ("at", "bakery"), ("in", "barn"), ("at", "beach"), ("on", "bridge"), ("in", "castle"),
    ("in", "cave"), ("in", "cellar"), ("in", "desert"), ("on", "farm"), ("in", "field"), ("in", "forest"),
    ("in", "garden"), ("in", "greenhouse"), ("at", "harbour"), ("on", "hill"), ("on", "island"), ("in",
    "jungle"), ("in", "kitchen"), ("at", "lake"), ("in", "library"), ("at", "lighthouse"), ("at", "market"),
    ("in", "meadow"), ("at", "mill"), ("on", "mountain"), ("in", "museum"), ("in", "orchard"), ("in",
    "palace"), ("in", "park"), ("at", "playground"), ("at", "pond"), ("at", "river"), ("at", "school"),
    ("in", "shed"), ("on", "ship"), ("in", "shop"), ("at", "station"), ("in", "swamp"), ("in", "temple"),
    ("in", "theatre"), ("in", "tower"), ("in", "tunnel"), ("in", "valley"), ("in", "village"), ("at",
    "waterfall"), ("in", "woods"), ("in", "workshop"), ("at", "zoo"), ("in", "yard"),
];

/// Things that can be found, lost, made or given.
#[rustfmt::skip]
pub(crate) static OBJECTS: &[&str] = &[
    "acorn", "anchor", "apple", "balloon", "ball", "basket", "bell", "blanket", "boat", "book", "boot",
    "bottle", "bowl", "box", "bracelet", "brush", "bucket", "button", "cake", "camera", "candle", "cap",
    "card", "clock", "coat", "coin", "compass", "crown", "cup", "diamond", "doll", "drum", "egg", "feather",
    "flag", "flower", "flute", "fork", "glove", "guitar", "hammer", "hat", "helmet", "horn", "jar", "jewel",
    "key", "kite", "ladder", "lamp", "lantern", "leaf", "letter", "map", "marble", "mask", "medal",
    "mirror", "mushroom", "necklace", "nest", "notebook", "paintbrush", "painting", "pearl", "pebble",
    "pen", "pencil", "picture", "pie", "pillow", "pot", "puppet", "puzzle", "radio", "ribbon", "ring",
    "robot", "rope", "sandwich", "scarf", "seed", "shell", "shoe", "shovel", "spoon", "star", "stick",
    "stone", "sword", "teapot", "telescope", "ticket", "torch", "toy", "trumpet", "umbrella", "violin",
    "wagon", "watch", "wheel", "whistle",
];

/// Colours and other looks of things.
#[rustfmt::skip]
pub(crate) static LOOKS: &[&str] = &[
    "red", "blue", "green", "yellow", "purple", "orange", "pink", "white", "black", "brown", "golden",
    "silver", "shiny", "old", "new", "tiny", "big", "strange", "pretty", "broken", "wooden", "heavy",
];

/// Natures of heroes.
#[rustfmt::skip]
pub(crate) static NATURES: &[&str] = &[
    "brave", "kind", "clever", "shy", "curious", "cheerful", "quiet", "gentle", "hungry", "lonely",
    "playful", "proud", "sleepy", "small", "young", "little", "happy", "friendly", "careful", "grumpy",
];

/// Cities.
#[rustfmt::skip]
pub(crate) static CITIES: &[&str] = &[
    "Athens", "Berlin", "Bern", "Boston", "Bristol", "Brussels", "Cairo", "Chicago", "Cologne",
    "Copenhagen", "Dallas", "Denver", "Dublin", "Florence", "Geneva", "Glasgow", "Hamburg", "Hanoi",
    "Helsinki", "Istanbul", "Kyoto", "Lagos", "Leeds", "Lima", "Lisbon", "London", "Lyon", "Madrid",
    "Manila", "Miami", "Milan", "Montreal", "Munich", "Nairobi", "Naples", "Osaka", "Oslo", "Ottawa",
    "Oxford", "Paris", "Porto", "Prague", "Quito", "Riga", "Rome", "Seattle", "Seoul", "Seville", "Sofia",
    "Stockholm", "Sydney", "Tokyo", "Toronto", "Turin", "Valencia", "Venice", "Vienna", "Warsaw", "York",
    "Zurich",
];

/// Jobs.
#[rustfmt::skip]
pub(crate) static JOBS: &[&str] = &[
    "actor", "architect", "artist", "baker", "barber", "builder", "butcher", "carpenter", "chef", "clerk",
    "cook", "dancer", "dentist", "designer", "doctor", "driver", "editor", "engineer", "farmer", "florist",
    "gardener", "guard", "judge", "lawyer", "librarian", "manager", "mechanic", "musician", "nurse",
    "painter", "photographer", "pilot", "plumber", "poet", "porter", "programmer", "sailor", "scientist",
    "singer", "student", "surgeon", "tailor", "teacher", "translator", "vet", "waiter", "welder", "writer",
];

/// Days of the week.
#[rustfmt::skip]
pub(crate) static DAYS: &[&str] = &[
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
];

/// Months.
#[rustfmt::skip]
pub(crate) static MONTHS: &[&str] = &[
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
];

/// Things that can be counted, bought and put in lists: one, many.
#[rustfmt::skip]
pub(crate) static GOODS: &[(&str, &str)] = &[
    ("apple", "apples"), ("pear", "pears"), ("plum", "plums"), ("orange", "oranges"), ("lemon", "lemons"),
    ("banana", "bananas"), ("carrot", "carrots"), ("onion", "onions"), ("potato", "potatoes"), ("tomato",
    "tomatoes"), ("egg", "eggs"), ("cookie", "cookies"), ("cake", "cakes"), ("muffin", "muffins"), ("book",
    "books"), ("pen", "pens"), ("pencil", "pencils"), ("card", "cards"), ("coin", "coins"), ("stamp",
    "stamps"), ("marble", "marbles"), ("ball", "balls"), ("balloon", "balloons"), ("shell", "shells"),
    ("stone", "stones"), ("flower", "flowers"), ("rose", "roses"), ("cup", "cups"), ("plate", "plates"),
    ("bowl", "bowls"), ("chair", "chairs"), ("lamp", "lamps"), ("candle", "candles"), ("box", "boxes"),
    ("bag", "bags"), ("bottle", "bottles"), ("ticket", "tickets"), ("shirt", "shirts"), ("sock", "socks"),
    ("button", "buttons"), ("nut", "nuts"), ("cherry", "cherries"), ("fish", "fish"), ("toy", "toys"),
    ("sticker", "stickers"), ("ribbon", "ribbons"), ("pillow", "pillows"), ("towel", "towels"), ("spoon",
    "spoons"), ("notebook", "notebooks"),
];

/// Verbs for tiny sentences: bare, third person, past, participle, and what may follow.
pub(crate) struct Verb {
    /// As in "they paint".
    pub(crate) bare: &'static str,
    /// As in "she paints".
    pub(crate) third: &'static str,
    /// As in "she painted".
    pub(crate) past: &'static str,
    /// As in "it was painted".
    pub(crate) participle: &'static str,
}

const fn verb(bare: &'static str, third: &'static str, past: &'static str, participle: &'static str) -> Verb {
    Verb { bare, third, past, participle }
}

/// Verbs that take a thing: "she cleans the lamp".
pub(crate) static VERBS: &[Verb] = &[
    verb("bring", "brings", "brought", "brought"),
    verb("break", "breaks", "broke", "broken"),
    verb("build", "builds", "built", "built"),
    verb("buy", "buys", "bought", "bought"),
    verb("carry", "carries", "carried", "carried"),
    verb("catch", "catches", "caught", "caught"),
    verb("choose", "chooses", "chose", "chosen"),
    verb("clean", "cleans", "cleaned", "cleaned"),
    verb("cover", "covers", "covered", "covered"),
    verb("draw", "draws", "drew", "drawn"),
    verb("drop", "drops", "dropped", "dropped"),
    verb("find", "finds", "found", "found"),
    verb("fix", "fixes", "fixed", "fixed"),
    verb("forget", "forgets", "forgot", "forgotten"),
    verb("hide", "hides", "hid", "hidden"),
    verb("hold", "holds", "held", "held"),
    verb("keep", "keeps", "kept", "kept"),
    verb("like", "likes", "liked", "liked"),
    verb("lose", "loses", "lost", "lost"),
    verb("love", "loves", "loved", "loved"),
    verb("make", "makes", "made", "made"),
    verb("move", "moves", "moved", "moved"),
    verb("need", "needs", "needed", "needed"),
    verb("open", "opens", "opened", "opened"),
    verb("paint", "paints", "painted", "painted"),
    verb("pull", "pulls", "pulled", "pulled"),
    verb("push", "pushes", "pushed", "pushed"),
    verb("see", "sees", "saw", "seen"),
    verb("sell", "sells", "sold", "sold"),
    verb("send", "sends", "sent", "sent"),
    verb("show", "shows", "showed", "shown"),
    verb("steal", "steals", "stole", "stolen"),
    verb("take", "takes", "took", "taken"),
    verb("throw", "throws", "threw", "thrown"),
    verb("touch", "touches", "touched", "touched"),
    verb("use", "uses", "used", "used"),
    verb("wash", "washes", "washed", "washed"),
    verb("watch", "watches", "watched", "watched"),
];

/// A given name: mostly a common one, sometimes one that nobody bears, so that copying is learnt rather than a list.
pub(crate) fn name(rng: &mut Rng) -> String {
    if rng.chance(12) {
        return made_up(rng);
    }
    let list = if rng.chance(50) { GIRLS } else { BOYS };
    rng.pick(list).to_string()
}

/// A pronounceable name that is in no list.
pub(crate) fn made_up(rng: &mut Rng) -> String {
    let heads = [
        "B", "D", "F", "G", "K", "L", "M", "N", "P", "R", "S", "T", "V", "Z", "Br", "Gr", "Tr", "Kl", "Sh",
        "Th",
    ];
    let vowels = ["a", "e", "i", "o", "u"];
    let mids = ["b", "d", "l", "m", "n", "r", "s", "t", "v", "z", "k", "ll", "nd", "rt", "lm", "ss"];
    let tails = ["", "n", "s", "l", "r", "x", "th", "k"];
    let mut out = format!("{}{}", rng.pick(&heads), rng.pick(&vowels));
    for _ in 0..rng.within(1, 2) {
        out.push_str(rng.pick(&mids));
        out.push_str(rng.pick(&vowels));
    }
    out.push_str(rng.pick(&tails));
    out
}

/// The noun with its indefinite article: "an owl", "a fox".
pub(crate) fn a(noun: &str) -> String {
    let vowel =
        noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) && !noun.starts_with("uni");
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

/// The text with its first letter in upper case.
pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// "a", "a and b", "a, b and c".
pub(crate) fn list(of: &[String]) -> String {
    match of {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Puts values into a template's `{slots}`; a slot that no value names stays, and a test looks for such.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = template.to_string();
    for (slot, value) in values {
        out = out.replace(&format!("{{{slot}}}"), value);
    }
    out
}
