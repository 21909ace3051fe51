//! Where humans live: street and house number, post boxes, flats, post codes.
//!
//! A street is known by what streets are called: a word behind it (`Bay Street`), before it (`Rua Diadema`) or at its end
//! (`Ziegelgasse`), with a number on its other side. From there the address goes on as far as flats, towns and codes of the
//! post do. A street without such a word is found only behind "lives at" and the like.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "STREET_ADDRESS", word: "ADDRESS", class: Class::Place },
    about: "a house number beside what a street is called, with flat, town and code behind it; post boxes, flats and post codes alone",
    source: "Universal Postal Union, S42; usage",
    example: "Send it to ⟦14 Crown Street, Suite 5, Springfield, IL 62704⟧.",
    near_misses: &[
        "10 Downing tools",
        "section 5 street food",
        "the street",
        "Chapter 4 Drive",
        "in 2019 Road works began",
        "via email 5",
    ],
    find,
};

/// Stand behind a street's name.
const BEHIND: &[&str] = &[
    "street",
    "st",
    "str",
    "road",
    "rd",
    "avenue",
    "ave",
    "boulevard",
    "blvd",
    "lane",
    "ln",
    "drive",
    "dr",
    "court",
    "ct",
    "place",
    "pl",
    "square",
    "sq",
    "terrace",
    "way",
    "close",
    "crescent",
    "cres",
    "highway",
    "hwy",
    "parkway",
    "pkwy",
    "gardens",
    "grove",
    "mews",
    "row",
    "walk",
    "trail",
    "circle",
    "cir",
    "loop",
    "alley",
    "utca",
    "út",
    "útja",
    "tér",
    "u",
    "sokak",
    "caddesi",
    "terrasse",
    "plaza",
];
/// Stand before it.
const BEFORE: &[&str] = &[
    "rue",
    "avenue",
    "av",
    "ave",
    "boulevard",
    "bd",
    "chemin",
    "impasse",
    "allée",
    "place",
    "route",
    "quai",
    "cours",
    "via",
    "viale",
    "piazza",
    "corso",
    "vicolo",
    "largo",
    "calle",
    "c/",
    "avenida",
    "avda",
    "plaza",
    "paseo",
    "carrera",
    "camino",
    "rua",
    "praça",
    "travessa",
    "estrada",
    "ul",
    "ulica",
    "aleja",
    "strada",
    "ulitsa",
    "улица",
    "ул",
    "λεωφόρος",
];
/// Its last part, of one word.
const ENDS: &[&str] = &[
    "straße", "strasse", "gasse", "allee", "platz", "weg", "damm", "ufer", "gatan", "gata", "vägen", "vegen",
    "veien", "veg", "vej", "gade", "straat", "laan", "plein", "gracht", "kade", "dijk", "katu", "kuja",
    "polku", "stræde", "stræti", "straeti", "götu", "gata", "tänav", "trail", "terrasse", "vangur", "gränd",
];
/// Flats and boxes, with a number behind.
const UNITS: &[&str] = &[
    "apt",
    "apartment",
    "suite",
    "ste",
    "unit",
    "flat",
    "floor",
    "room",
    "box",
    "psc",
    "building",
    "bldg",
    "whg",
    "appt",
    "no",
];
const LABELS: &[&str] = &[
    "address is",
    "address:",
    "addresses:",
    "lives at",
    "live at",
    "living at",
    "residing at",
    "lives on",
    "live on",
    "located at",
    "address to",
    "address with",
    "deliver to",
    "ship to",
    "wohnhaft in",
    "adresse:",
    "his address",
    "her address",
];
const STATES: &str = " AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC PR AA AE AP ON QC BC AB MB SK NS NB NL PE NSW VIC QLD TAS ACT ";
/// Bytes that an address takes at most behind the street.
const TAIL_MAX: usize = 96;

/// Pieces between the beginning of an address and its first number at most.
const REACH: usize = 8;

/// A word or a number.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
    /// Of digits, maybe with a letter behind.
    number: bool,
    /// Whether a digit is in it.
    digit: bool,
    capital: bool,
}

fn find(page: &Page<'_>, hits: &mut Hits) {
    let pieces = pieces(page.text);
    // Without a number nearby there is no address.
    let mut number = 0;
    let mut i = 0;
    while i < pieces.len() {
        number = number.max(i);
        number += pieces[number..].iter().take_while(|piece| !piece.number && !piece.digit).count();
        if number > i + REACH {
            i = number - REACH;
            continue;
        }
        let core = street(page.text, &pieces, i)
            .or_else(|| unit(page.text, &pieces, i))
            .or_else(|| code(page, &pieces, i));
        let Some((last, sure)) = core.or_else(|| labelled(page, &pieces, i)) else {
            i += 1;
            continue;
        };
        let last = tail(page.text, &pieces, last);
        hits.push(pieces[i].start..pieces[last].end, sure);
        i = last + 1;
    }
}

type Core = Option<(usize, Certainty)>;

/// The last piece of a street with its number, if one begins here.
fn street(text: &str, pieces: &[Piece], first: usize) -> Core {
    let word = |i: usize| pieces.get(i).map_or("", |piece: &Piece| &text[piece.start..piece.end]);
    let number = |i: usize| pieces.get(i).is_some_and(|piece| piece.number && piece.end - piece.start <= 6);
    let next =
        |i: usize| pieces.get(i + 1).filter(|next| near(&text[pieces[i].end..next.start])).map(|_| i + 1);
    // Two numbers may stand before: of the house and of something else, in either order.
    let mut i = first;
    for _ in 0..2 {
        if number(i) {
            i = next(i)?;
        }
    }
    let numbered = i > first;
    if is_one_of(word(i), BEFORE) && (pieces[i].capital || numbered || word(i).len() <= 3) {
        let street = i;
        for _ in 0..6 {
            let Some(after) = next(i) else { break };
            i = after;
            if number(i) {
                let named = pieces[street + 1..i].iter().any(|piece| piece.capital);
                return (named || numbered).then_some((i, Certainty::Likely));
            }
        }
        let last = (street + 1..=i).take_while(|i| pieces[*i].capital || word(*i).len() <= 3).last()?;
        return (numbered && pieces[street + 1..=last].iter().any(|piece| piece.capital))
            .then_some((last, Certainty::Likely));
    }
    if !pieces.get(i)?.capital {
        return None;
    }
    let begin = i;
    for n in 0..6 {
        let here = word(i);
        // Between two numbers, as many countries write it behind a code.
        if n > 0 && number(i) {
            let short = numbered && here.len() <= 4 && pieces[begin..i].iter().all(|piece| piece.capital);
            let flat = ["Apt", "Suite"]
                .iter()
                .any(|flat| text[pieces[i].end..].trim_start_matches(['.', ' ', '\n']).starts_with(flat));
            let ends = text[pieces[i].end..].trim_start_matches('.').starts_with(['\n', ',']);
            return (short && (flat || ends))
                .then_some((i, if flat { Certainty::Likely } else { Certainty::Possible }));
        }
        if n > 0 && numbered && is_one_of(here, BEHIND) && pieces[i].capital {
            return Some((i, Certainty::Likely));
        }
        if n > 0
            && is_one_of(here, BEHIND)
            && let Some(after) = next(i).filter(|after| number(*after))
        {
            return Some((after, Certainty::Likely));
        }
        let long = here.chars().count() >= 6 && pieces[i].capital;
        if long && ENDS.iter().any(|end| here.to_lowercase().ends_with(end)) {
            match next(i).filter(|after| number(*after)) {
                Some(after) => return Some((after, Certainty::Likely)),
                None if numbered => return Some((i, Certainty::Likely)),
                None => {}
            }
        }
        i = next(i)?;
        if !pieces[i].number
            && !pieces[i].capital
            && (!numbered || word(i).len() > 4)
            && !is_one_of(word(i), BEHIND)
        {
            return None;
        }
    }
    None
}

/// A flat, a box.
fn unit(text: &str, pieces: &[Piece], first: usize) -> Core {
    let word = |i: usize| pieces.get(i).map_or("", |piece: &Piece| &text[piece.start..piece.end]);
    // P.O. Box 5, and what stands before its number.
    let post =
        ["p", "o", "box"].iter().enumerate().all(|(i, part)| word(first + i).eq_ignore_ascii_case(part));
    if post || word(first).eq_ignore_ascii_case("postfach") {
        let last = first + if post { 3 } else { 1 };
        let fits =
            pieces.get(last).is_some_and(|piece| piece.number && piece.start - pieces[first].end <= 10);
        return fits.then_some((last, Certainty::Likely));
    }
    let number = pieces.get(first + 1).filter(|piece| piece.number)?;
    if number.start - pieces[first].end > 2 || text[pieces[first].end..number.start].contains('\n') {
        return None;
    }
    let name = word(first).to_lowercase();
    let sure = match name.as_str() {
        "apt" | "apartment" | "suite" | "ste" | "flat" | "psc" | "box" | "whg" | "appt" => Certainty::Likely,
        "unit" => Certainty::Possible,
        _ => return None,
    };
    // A box in prose is small; that of the post is capitalised.
    (name != "box" || pieces[first].capital)
        .then_some((first + 1, if name == "box" { Certainty::Possible } else { sure }))
}

/// A code of the post.
fn code(page: &Page<'_>, pieces: &[Piece], first: usize) -> Core {
    let piece = pieces[first];
    let word = &page.text[piece.start..piece.end];
    if let Some(next) = pieces.get(first + 1)
        && word.bytes().all(|byte| byte.is_ascii_uppercase())
        && next.start - piece.end == 1
    {
        let behind = &page.text[next.start..next.end];
        let zip = next.number && behind.len() == 5 && behind.bytes().all(|byte| byte.is_ascii_digit());
        if zip && STATES.contains(&format!(" {word} ")) {
            return Some((first + 1, Certainty::Likely));
        }
    }
    if is_british(page.text, pieces, first) {
        return Some((first + 1, Certainty::Likely));
    }
    let said = piece.number
        && piece.end - piece.start <= 8
        && page.said_before(
            piece.start,
            &["zip", "postcode", "postal code", "post code", "plz", "postleitzahl", "cep"],
        );
    let before = page.text[..piece.start].trim_end_matches([' ', ':']);
    let close = ["code", "zip", "is", "ZIP", "plz", "PLZ", "Code", "Postleitzahl", "postcode", "Postcode"]
        .iter()
        .any(|word| before.ends_with(word));
    (said && close).then_some((first, Certainty::Likely))
}

/// `SW1A 1AA`: an area of letters and digits, a digit and two letters.
fn is_british(text: &str, pieces: &[Piece], first: usize) -> bool {
    let (Some(a), Some(b)) = (pieces.get(first), pieces.get(first + 1)) else { return false };
    let (area, end) = (&text.as_bytes()[a.start..a.end], &text.as_bytes()[b.start..b.end]);
    let letters = area.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    b.start - a.end == 1
        && text.as_bytes()[a.end] == b' '
        && (1..=2).contains(&letters)
        && (2..=4).contains(&area.len())
        && area.get(letters).is_some_and(u8::is_ascii_digit)
        && end.len() == 3
        && end[0].is_ascii_digit()
        && end[1..].iter().all(|byte| byte.is_ascii_uppercase())
}

/// What stands behind "lives at": from a number, or a capital with a number shortly behind.
fn labelled(page: &Page<'_>, pieces: &[Piece], first: usize) -> Core {
    let piece = pieces[first];
    if !(piece.number || piece.capital) {
        return None;
    }
    let before = &page.text[page.text.ceil_char_boundary(piece.start.saturating_sub(24))..piece.start];
    let before = before.trim_end_matches([' ', '\n', ':', '"']);
    let label = LABELS.iter().any(|label| {
        let label = label.trim_end_matches(':');
        before
            .len()
            .checked_sub(label.len())
            .and_then(|at| before.get(at..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(label))
    });
    if !label {
        return None;
    }
    let close = |i: usize| pieces.get(i).is_some_and(|next| near(&page.text[pieces[i - 1].end..next.start]));
    let words = (first + 1..first + 8)
        .take_while(|i| close(*i) && (pieces[*i].capital || pieces[*i].number))
        .last()?;
    let last =
        (first..=words).rev().find(|i| pieces[*i].number).map_or(words, |number| number.max(first + 1));
    pieces[first..=words].iter().any(|piece| piece.number).then_some((last, Certainty::Likely))
}

/// The last piece of what belongs to an address whose street ends here: flats, and towns that a code ends.
fn tail(text: &str, pieces: &[Piece], core: usize) -> usize {
    let mut last = core;
    let mut i = core;
    let mut words = 0;
    while let Some(next) = pieces.get(i + 1) {
        let between = &text[pieces[i].end..next.start];
        let apart =
            between.len() <= 8 && between.chars().all(|char| char.is_whitespace() || ",.>#-".contains(char));
        let far = next.end - pieces[core].end > TAIL_MAX;
        let paragraph =
            between.matches('\n').count() > 1 || between.trim_start_matches('.').len() + 1 < between.len();
        if !apart || far || paragraph || !(next.number || next.capital) {
            break;
        }
        i += 1;
        let word = &text[next.start..next.end];
        if next.number {
            // Codes have three digits and more; so do numbers of flats, behind their word.
            let unit = is_one_of(&text[pieces[i - 1].start..pieces[i - 1].end], UNITS);
            if !unit && !(3..=6).contains(&word.len()) {
                break;
            }
            // Nor does a code go on with other digits but for two, as in Sweden: telephone numbers do.
            let more = |i: usize| {
                pieces.get(i + 1).filter(|more| more.number && near(&text[pieces[i].end..more.start]))
            };
            if let Some(after) = more(i)
                && (after.end - after.start != 2 || word.len() != 3 || more(i + 1).is_some())
            {
                break;
            }
            (last, words) = (i, 0);
        } else {
            words += 1;
            if words > 6 {
                break;
            }
            if is_british(text, pieces, i) {
                last = i + 1;
                break;
            }
        }
    }
    last
}

/// Whether a piece belongs to the one before: a space or a comma, a point of an abbreviation, no new paragraph.
fn near(between: &str) -> bool {
    between.len() <= 3 && !between.is_empty() && between.chars().all(|char| " .,'/-".contains(char))
}

fn is_one_of(word: &str, list: &[&str]) -> bool {
    let same = |other: &&str| {
        other.len() == word.len()
            && (other.eq_ignore_ascii_case(word) || (!word.is_ascii() && word.to_lowercase() == **other))
    };
    word.len() <= 16 && list.iter().any(same)
}

/// Words and numbers, of every script.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, first)) = chars.next() {
        if !first.is_alphanumeric() {
            continue;
        }
        let mut end = start + first.len_utf8();
        let mut letters = usize::from(first.is_alphabetic());
        while let Some((at, char)) = chars.peek().copied() {
            // `c/` is a street's word as well.
            let slash = char == '/' && end - start == 1 && matches!(first, 'c' | 'C');
            if !(char.is_alphanumeric() || slash || (char == '\'' && letters > 0)) {
                break;
            }
            letters += usize::from(char.is_alphabetic());
            end = at + char.len_utf8();
            chars.next();
        }
        let number = first.is_ascii_digit() && letters <= 1;
        let digit = text.as_bytes()[start..end].iter().any(u8::is_ascii_digit);
        pieces.push(Piece { start, end, number, digit, capital: first.is_uppercase() });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_many_countries_are_found() {
        for address in [
            "3968 Bay Street, Toronto, ON 54321",
            "Ziegelgasse 19",
            "Søndergade 52 Apt. 656",
            "Rua Diadema 1903",
            "Via Roma 131",
            "C/ Señores Curas 88",
            "33 avenue de Provence",
            "10 Downing St, London SW1A 2AA",
            "Kálmán Imre u. 12",
            "221B Baker Street",
            "ul. Zamkowa 33",
            "5 rue de la Paix, 75002",
            "Apt. 595",
            "Hauptstraße 5a, 10115",
        ] {
            let text = format!("It is near {address}");
            let found = DETECTOR.find(&text);
            assert_eq!(found.iter().map(|f| &text[f.span.clone()]).collect::<Vec<_>>(), [address], "{text}");
        }
        assert_eq!(DETECTOR.find("He lives at Qwertz 12, Foo").len(), 1);
        assert_eq!(DETECTOR.find("My zip code is 2200").len(), 1);
    }
}
