//! Little sums: plus and minus up to 99, in figures and in stories, and which of two numbers is larger.
//!
//! The content is the pair of numbers and the operation, so a held-out sum was never trained in any phrasing. Answers work
//! digit by digit, ones first, as on paper; the one-digit sums that this rests on are one content, on the training side.

use crate::check;
use crate::item::{Item, Key, Kind, Prompt};
use crate::rng::Rng;
use crate::words::{GOODS, fill, name};

pub(super) static SUMS: Kind = Kind {
    name: "sums",
    about: "adds, subtracts and compares small numbers",
    share: 18,
    draw,
    judge: check::by_key,
};

fn draw(rng: &mut Rng) -> Item {
    match rng.below(10) {
        0..=5 => plain(rng),
        6 | 7 => told(rng),
        _ => compare(rng),
    }
}

/// Two numbers for plus (their sum is at most 198) or minus (never below 0); small ones are more frequent than in a
/// uniform draw, as they are in life.
fn operands(rng: &mut Rng, plus: bool) -> (usize, usize) {
    let top = if rng.chance(25) { 20 } else { 99 };
    let (a, b) = (rng.within(0, top), rng.within(0, top));
    if plus { (a, b) } else { (a.max(b), a.min(b)) }
}

fn result(a: usize, b: usize, plus: bool) -> usize {
    if plus { a + b } else { a - b }
}

/// Whether it is a step of longer sums: two single digits added, or one taken away so that a single digit is left.
fn in_the_table(a: usize, b: usize, plus: bool) -> bool {
    if plus { a < 10 && b < 10 } else { b < 10 && a - b < 10 }
}

/// Both orders of a sum are one content: "13 + 5" held out takes "5 + 13" with it.
fn content(a: usize, b: usize, plus: bool) -> String {
    match plus {
        _ if in_the_table(a, b, plus) => "the one-digit sums".to_string(),
        true => format!("{} + {}", a.min(b), a.max(b)),
        false => format!("{a} - {b}"),
    }
}

/// The sum as it is worked on paper: `27 + 48` is "7 + 8 = 15, 2 + 4 + 1 = 7, so 27 + 48 = 75".
fn worked(a: usize, b: usize, plus: bool) -> String {
    let total = result(a, b, plus);
    let (sign, ones, carry) = if plus {
        ("+", a % 10 + b % 10, a % 10 + b % 10 > 9)
    } else {
        ("-", (10 + a - b) % 10, a % 10 < b % 10)
    };
    if in_the_table(a, b, plus) {
        return format!("{a} {sign} {b} = {total}");
    }
    let lent = if carry && !plus { a % 10 + 10 } else { a % 10 };
    let (one, tens) = (if carry { format!(" {sign} 1") } else { String::new() }, total / 10);
    format!(
        "{lent} {sign} {} = {ones}, {} {sign} {}{one} = {tens}, so {a} {sign} {b} = {total}",
        b % 10,
        a / 10,
        b / 10
    )
}

fn plain(rng: &mut Rng) -> Item {
    let plus = rng.chance(55);
    let (a, b) = operands(rng, plus);
    let sign = if plus { "+" } else { "-" };
    let word = if plus { "plus" } else { "minus" };
    let ask = match rng.below(12) {
        0..=2 => format!("What is {a} {sign} {b}?"),
        3 => format!("What is {a} {word} {b}?"),
        4 => format!("{a} {sign} {b}"),
        5 => format!("{a} {sign} {b} ="),
        6 => format!("{a} {sign} {b} = ?"),
        7 => format!("Calculate {a} {sign} {b}."),
        8 => format!("How much is {a} {sign} {b}?"),
        9 => format!("How much is {a} {word} {b}?"),
        10 if plus => format!("Add {a} and {b}."),
        10 => format!("Subtract {b} from {a}."),
        _ if plus => format!("What is the sum of {a} and {b}?"),
        _ => format!("What is the difference between {a} and {b}?"),
    };
    let total = result(a, b, plus);
    Item {
        contents: vec![content(a, b, plus)],
        prompt: Prompt::user(ask),
        reference: format!("{}.", worked(a, b, plus)),
        key: Key::Number(total as i64),
    }
}

static TOLD_PLUS: &[&str] = &[
    "{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
    "{name} has {a} {things}. {friend} gives {name} {b} more. How many {things} does {name} have?",
    "{name} found {a} {things} in the morning and {b} {things} in the evening. How many {things} did {name} find?",
    "{name} buys {a} {things} and {friend} buys {b} {things}. How many {things} do they have together?",
    "There are {a} {things} in one box and {b} {things} in another box. How many {things} are there?",
];

static TOLD_MINUS: &[&str] = &[
    "{name} has {a} {things} and gives {b} to {friend}. How many {things} are left?",
    "{name} had {a} {things}. {name} lost {b} of them. How many {things} does {name} have now?",
    "There are {a} {things} on the table. {name} takes {b}. How many {things} are left?",
    "{name} bought {a} {things} and sold {b}. How many {things} does {name} still have?",
    "{name} had {a} {things} and used {b}. How many {things} are left?",
];

fn told(rng: &mut Rng) -> Item {
    let plus = rng.chance(50);
    let (mut a, mut b) = (rng.within(2, 30), rng.within(2, 30));
    if !plus {
        (a, b) = (a.max(b) + 1, a.min(b));
    }
    let (hero, friend) = (name(rng), name(rng));
    let things = rng.one(GOODS).1;
    let total = result(a, b, plus);
    let ask = fill(
        rng.pick(if plus { TOLD_PLUS } else { TOLD_MINUS }),
        &[
            ("name", &hero),
            ("friend", &friend),
            ("things", things),
            ("a", &a.to_string()),
            ("b", &b.to_string()),
        ],
    );
    let verb = if total == 1 { "is" } else { "are" };
    let things =
        if total == 1 { GOODS.iter().find(|g| g.1 == things).map_or(things, |g| g.0) } else { things };
    Item {
        contents: vec![content(a, b, plus)],
        prompt: Prompt::user(ask),
        reference: format!("{}. There {verb} {total} {things}.", worked(a, b, plus)),
        key: Key::Number(total as i64),
    }
}

fn compare(rng: &mut Rng) -> Item {
    let a = rng.within(0, 99);
    let b = (a + rng.within(1, 99)) % 100;
    let larger = rng.chance(60);
    let word =
        if larger { rng.pick(&["larger", "bigger", "greater"]) } else { rng.pick(&["smaller", "less"]) };
    let (win, lose) = if (a > b) == larger { (a, b) } else { (b, a) };
    let ask = match rng.below(4) {
        0 | 1 => format!("Which is {word}, {a} or {b}?"),
        2 => format!("Which number is {word}: {a} or {b}?"),
        _ => format!("{a} or {b}: which is {word}?"),
    };
    Item {
        contents: vec![format!("{} <> {}", a.min(b), a.max(b))],
        prompt: Prompt::user(ask),
        reference: format!("{win} is {word} than {lose}."),
        key: Key::Exact(vec![format!("{win} is {word} than {lose}."), format!("{win}"), format!("{win}.")]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Side, side};

    #[test]
    fn works_as_on_paper() {
        assert_eq!(worked(27, 48, true), "7 + 8 = 15, 2 + 4 + 1 = 7, so 27 + 48 = 75");
        assert_eq!(worked(97, 12, true), "7 + 2 = 9, 9 + 1 = 10, so 97 + 12 = 109");
        assert_eq!(worked(52, 17, false), "12 - 7 = 5, 5 - 1 - 1 = 3, so 52 - 17 = 35");
        assert_eq!(worked(15, 5, false), "5 - 5 = 0, 1 - 0 = 1, so 15 - 5 = 10");
        assert_eq!(worked(3, 5, true), "3 + 5 = 8");
        assert_eq!(worked(13, 8, false), "13 - 8 = 5");
    }

    #[test]
    fn one_digit_sums_are_for_training() {
        assert_eq!(side(&content(3, 5, true)), Side::Training);
    }
}
