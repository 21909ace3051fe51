//! Running text with things planted in it, drawn from a seed: each in the forms in which people write it, between words that
//! say what it is or don't, beside numbers that are nothing.
//!
//! It has its own tables and its own arithmetic of check digits, so that it does not agree with the detectors by having been
//! copied from them.

use std::ops::Range;

/// A text and what was planted: kinds and bytes.
pub struct Sample {
    pub text: String,
    pub planted: Vec<(&'static str, Range<usize>)>,
}

/// The kinds that are planted.
pub const KINDS: &[&str] =
    &["CREDIT_CARD", "IBAN_CODE", "US_SSN", "EMAIL_ADDRESS", "IP_ADDRESS", "PHONE_NUMBER"];

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

/// `n` samples with one of this kind each.
pub fn samples(kind: &'static str, n: usize, seed: u64) -> Vec<Sample> {
    let mut dice = Dice(seed ^ kind.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte)));
    (0..n).map(|_| sample(kind, &mut dice)).collect()
}

/// Texts in which there are numbers and words, and nothing of any kind.
pub fn decoys(n: usize, seed: u64) -> Vec<Sample> {
    let mut dice = Dice(seed);
    (0..n)
        .map(|_| {
            let text = format!("{} {} {}", filler(&mut dice), decoy(&mut dice), filler(&mut dice));
            Sample { text, planted: Vec::new() }
        })
        .collect()
}

fn sample(kind: &'static str, dice: &mut Dice) -> Sample {
    let (item, needs_word) = item(kind, dice);
    let (before, after) = if needs_word || dice.below(2) == 0 { said(kind, dice) } else { unsaid(dice) };
    let mut text = String::new();
    if dice.below(2) == 0 {
        text.push_str(&filler(dice));
        text.push(if dice.below(4) == 0 { '\n' } else { ' ' });
    }
    text.push_str(before);
    let start = text.len();
    text.push_str(&item);
    let planted = vec![(kind, start..text.len())];
    text.push_str(after);
    if dice.below(2) == 0 {
        text.push(' ');
        text.push_str(&filler(dice));
    }
    Sample { text, planted }
}

/// Words around that say what it is.
fn said(kind: &str, dice: &mut Dice) -> (&'static str, &'static str) {
    let pairs: &[(&str, &str)] = match kind {
        "CREDIT_CARD" => &[
            ("Please charge my card ", "."),
            ("Kreditkarte: ", ", danke"),
            ("card number is ", ", expires 12/27"),
            ("card_number=", "&cvv=123"),
            ("Visa ", " (CVV 123)"),
        ],
        "IBAN_CODE" => &[
            ("IBAN: ", "."),
            ("Bitte auf ", " überweisen."),
            ("wire it to ", " today"),
            ("{\"iban\":\"", "\"}"),
        ],
        "US_SSN" => &[
            ("My SSN is ", "."),
            ("social security number: ", ","),
            ("SSN#", ";"),
            ("{\"ssn\": \"", "\"}"),
            ("Social Security No. ", "\n"),
        ],
        "EMAIL_ADDRESS" => {
            &[("mail me at ", "."), ("<", ">"), ("mailto:", "?subject=x"), ("email=", "&x=1"), ("\"", "\"")]
        }
        "IP_ADDRESS" => &[("client ", " timed out"), ("ip=", " port=80"), ("[", "] GET /"), ("host ", "/24")],
        _ => &[
            ("Call me on ", "."),
            ("Phone: ", "\n"),
            ("tel ", ", thanks"),
            ("mobile ", " after six"),
            ("my number is ", "!"),
            ("{\"phone\": \"", "\"}"),
        ],
    };
    pairs[dice.below(pairs.len())]
}

/// Words around that say nothing.
fn unsaid(dice: &mut Dice) -> (&'static str, &'static str) {
    let pairs = [
        ("It is ", "."),
        ("see ", ", please"),
        ("and then ", " was written"),
        ("(", ")"),
        ("* ", "\n"),
        ("", ""),
        ("|", "|"),
    ];
    pairs[dice.below(pairs.len())]
}

fn filler(dice: &mut Dice) -> String {
    let sentences = [
        "The meeting went on until the lights were switched off.",
        "Nobody had read the 34 pages of the report before Monday.",
        "We sold 1,250 units at 19.99 each in 2024.",
        "Das Wetter war schön und der Zug kam um 12:45 Uhr.",
        "Version 2.14.1 fixed three of the 17 bugs.",
        "Il treno parte alle 8:30 dal binario 4.",
        "会议在三点开始。",
        "fn main() { let x = 42; }",
        "On 2023-11-05 the order was shipped.",
        "It costs $1,299.00, or 12 x 120.",
    ];
    sentences[dice.below(sentences.len())].to_owned()
}

/// A number that is nothing.
fn decoy(dice: &mut Dice) -> String {
    match dice.below(9) {
        0 => format!("order {}", dice.digits(12)),
        1 => format!("16{}", dice.digits(11)),
        2 => format!("ISBN 978-3-16-{}-{}", dice.digits(6), dice.digits(1)),
        3 => {
            let hex: String = (0..32).map(|_| char::from_digit(dice.below(16) as u32, 16).unwrap()).collect();
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        }
        4 => format!("parcel {}", dice.digits(16)),
        5 => format!("invoice {}/{}", dice.digits(4), dice.digits(6)),
        6 => format!("part {}{}", dice.pick(&["GB", "DE", "NL", "XZ"]), dice.digits(20)),
        7 => format!("0.{}", dice.digits(16)),
        _ => format!("{} {} {} {}", dice.digits(4), dice.digits(4), dice.digits(4), dice.digits(4)),
    }
}

/// One of a kind, and whether it can only be known by a word.
fn item(kind: &str, dice: &mut Dice) -> (String, bool) {
    match kind {
        "CREDIT_CARD" => (card(dice), false),
        "IBAN_CODE" => (iban(dice), false),
        "US_SSN" => ssn(dice),
        "EMAIL_ADDRESS" => (email(dice), false),
        "IP_ADDRESS" => (ip(dice), false),
        _ => phone(dice),
    }
}

fn card(dice: &mut Dice) -> String {
    let (prefix, len) = [
        ("4", 16),
        ("4", 16),
        ("51", 16),
        ("55", 16),
        ("2221", 16),
        ("2699", 16),
        ("34", 15),
        ("37", 15),
        ("6011", 16),
        ("65", 16),
        ("3530", 16),
        ("36", 14),
        ("300", 14),
        ("62", 16),
        ("62", 19),
        ("4", 19),
        ("6759", 16),
        ("5018", 16),
    ][dice.below(18)];
    let body = format!("{prefix}{}", dice.digits(len - prefix.len() - 1));
    // The check digit that makes the sum a multiple of ten, by trying.
    let number = (0..10)
        .map(|check| format!("{body}{check}"))
        .find(|number| {
            let sum: u32 = number
                .bytes()
                .rev()
                .enumerate()
                .map(|(i, byte)| {
                    let n = u32::from(byte - b'0');
                    if i % 2 == 1 { n * 2 / 10 + n * 2 % 10 } else { n }
                })
                .sum();
            sum.is_multiple_of(10)
        })
        .unwrap();
    let groups: &[usize] = if len == 15 {
        &[4, 6, 5]
    } else if len == 14 {
        &[4, 6, 4]
    } else {
        &[4, 4, 4, 4, 3]
    };
    let apart = |gap: &str| {
        let mut parts = Vec::new();
        let mut rest = number.as_str();
        for n in groups {
            let (part, after) = rest.split_at((*n).min(rest.len()));
            parts.push(part);
            rest = after;
        }
        parts.retain(|part| !part.is_empty());
        parts.join(gap)
    };
    match dice.below(8) {
        0..=2 => number,
        3 | 4 => apart(" "),
        5 => apart("-"),
        6 => apart("\u{a0}"),
        _ if dice.below(2) == 0 => {
            number.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect()
        }
        _ => apart("\u{200b}"),
    }
}

fn iban(dice: &mut Dice) -> String {
    let (country, letters, n) = [
        ("GB", 4, 14),
        ("DE", 0, 18),
        ("NL", 4, 10),
        ("ES", 0, 20),
        ("BE", 0, 12),
        ("AT", 0, 16),
        ("PL", 0, 24),
        ("SE", 0, 20),
        ("NO", 0, 11),
        ("DK", 0, 14),
        ("PT", 0, 21),
        ("IE", 4, 14),
        ("RO", 4, 16),
        ("CZ", 0, 20),
        ("FI", 0, 14),
        ("CH", 0, 17),
    ][dice.below(16)];
    let bank: String = (0..letters).map(|_| char::from(b'A' + dice.below(26) as u8)).collect();
    let account = format!("{bank}{}", dice.digits(n));
    let value = |text: &str| {
        text.bytes().fold(0u32, |rest, byte| match byte {
            b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
            _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
        })
    };
    let check = 98 - value(&format!("{account}{country}00"));
    let number = format!("{country}{check:02}{account}");
    let fours = |gap: &str| {
        number.as_bytes().chunks(4).map(|part| str::from_utf8(part).unwrap()).collect::<Vec<_>>().join(gap)
    };
    match dice.below(6) {
        0 | 1 => number,
        2 | 3 => fours(" "),
        4 => number.to_lowercase(),
        _ => fours(dice.pick(&["-", "\u{a0}", "\u{202f}"])),
    }
}

fn ssn(dice: &mut Dice) -> (String, bool) {
    let area = loop {
        let area = 1 + dice.below(899);
        if area != 666 {
            break area;
        }
    };
    let (group, serial) = (1 + dice.below(99), 1 + dice.below(9999));
    match dice.below(6) {
        0..=2 => (format!("{area:03}-{group:02}-{serial:04}"), false),
        3 => (format!("{area:03} {group:02} {serial:04}"), false),
        4 => (format!("{area:03}\u{2011}{group:02}\u{2011}{serial:04}"), false),
        _ => (format!("{area:03}{group:02}{serial:04}"), true),
    }
}

fn email(dice: &mut Dice) -> String {
    let names = [
        "anna",
        "j.doe",
        "zoë",
        "o'neil",
        "müller",
        "x",
        "first.last+tag",
        "user_99",
        "иван",
        "a-b",
        "Paul.Van.Dyk",
        "41799",
    ];
    let hosts = ["example", "mail.example", "sub.a-b", "bücher", "gmail", "post.uni-x", "0x0"];
    let ends = ["org", "com", "co.uk", "de", "museum", "рф", "io", "xn--p1ai"];
    let (name, host, end) = (dice.pick(&names), dice.pick(&hosts), dice.pick(&ends));
    match dice.below(12) {
        0 => format!("{name}＠{host}.{end}"),
        1 => format!("{}@{}.{}", name.to_uppercase(), host.to_uppercase(), end.to_uppercase()),
        _ => format!("{name}@{host}.{end}"),
    }
}

fn ip(dice: &mut Dice) -> String {
    let mut byte = || 1 + dice.below(254);
    let four = format!("{}.{}.{}.{}", byte(), byte(), byte(), byte());
    let mut group = || format!("{:x}", dice.below(0xffff) + 1);
    match (group().len() + group().len()) % 4 {
        0 => format!("2001:db8:{}::{}", group(), group()),
        1 if group().len() == 4 => {
            format!(
                "2a02:{}:{}:{}:{}:{}:{}:{}",
                group(),
                group(),
                group(),
                group(),
                group(),
                group(),
                group()
            )
        }
        _ => four,
    }
}

fn phone(dice: &mut Dice) -> (String, bool) {
    let area = format!("{}{}", 2 + dice.below(8), dice.digits(2));
    let exchange = format!("{}{}", 2 + dice.below(8), dice.digits(2));
    let line = dice.digits(4);
    match dice.below(16) {
        0 => (format!("({area}) {exchange}-{line}"), false),
        1 => (format!("{area}-{exchange}-{line}"), false),
        2 => (format!("{area}.{exchange}.{line}"), false),
        3 => (format!("+1 {area} {exchange} {line}"), false),
        4 => (format!("+1-{area}-{exchange}-{line} ext. {}", dice.digits(3)), false),
        5 => (format!("+44 20 {} {line}", dice.digits(4)), false),
        6 => (format!("+49 (0)30 {}", dice.digits(7)), false),
        7 => (
            format!("+33 6 {} {} {} {}", dice.digits(2), dice.digits(2), dice.digits(2), dice.digits(2)),
            false,
        ),
        8 => {
            (format!("06.{}.{}.{}.{}", dice.digits(2), dice.digits(2), dice.digits(2), dice.digits(2)), false)
        }
        9 => (format!("030/{}", dice.digits(7)), false),
        10 => (format!("07700 9{} {}", dice.digits(2), dice.digits(3)), false),
        11 => (format!("+91 98{} {}", dice.digits(3), dice.digits(5)), false),
        12 => (format!("0049 171 {}", dice.digits(7)), false),
        13 => (format!("{exchange} {line}"), true),
        14 => (format!("{area}{exchange}{line}"), true),
        _ => (format!("+46 (0)8 {} {} {}", dice.digits(3), dice.digits(3), dice.digits(2)), false),
    }
}
