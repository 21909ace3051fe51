//! Numbers of bank accounts as ISO 13616 writes them.
//!
//! Two letters of a country, two check digits, and what the country says an account looks like: how many letters, digits and
//! either, which must be met, as must the checksum. Letters may be small, groups of any size may stand apart.

use super::checksum::mod_97;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "IBAN_CODE", word: "IBAN", class: Class::Financial },
    about: "a country's letters, check digits that are right, and an account of the country's form",
    source: "ISO 13616, the registry of its forms; ISO/IEC 7064 MOD 97-10",
    example: "To ⟦GB82 WEST 1234 5698 7654 32⟧ by Monday.",
    near_misses: &[
        "To GB82 WEST 1234 5698 7654 33 by Monday.",
        "XB82WEST12345698765432",
        "GB82WEST123456987654321",
        "aGB82WEST12345698765432",
    ],
    find,
};

/// Countries with the forms of their accounts: so many digits (n), letters (a) or either (c).
#[rustfmt::skip]
const FORMS: &[(&[u8; 2], &str)] = &[
    (b"AD", "8n12c"), (b"AE", "19n"), (b"AL", "8n16c"), (b"AT", "16n"), (b"AZ", "4a20c"), (b"BA", "16n"),
    (b"BE", "12n"), (b"BG", "4a6n8c"), (b"BH", "4a14c"), (b"BI", "23n"), (b"BR", "23n1a1c"), (b"BY", "4c4n16c"),
    (b"CH", "5n12c"), (b"CR", "18n"), (b"CY", "8n16c"), (b"CZ", "20n"), (b"DE", "18n"), (b"DJ", "23n"),
    (b"DK", "14n"), (b"DO", "4c20n"), (b"EE", "16n"), (b"EG", "25n"), (b"ES", "20n"), (b"FI", "14n"),
    (b"FK", "2a12n"), (b"FO", "14n"), (b"FR", "10n11c2n"), (b"GB", "4a14n"), (b"GE", "2a16n"), (b"GI", "4a15c"),
    (b"GL", "14n"), (b"GR", "7n16c"), (b"GT", "24c"), (b"HR", "17n"), (b"HU", "24n"), (b"IE", "4a14n"),
    (b"IL", "19n"), (b"IQ", "4a15n"), (b"IS", "22n"), (b"IT", "1a10n12c"), (b"JO", "4a4n18c"), (b"KW", "4a22c"),
    (b"KZ", "3n13c"), (b"LB", "4n20c"), (b"LC", "4a24c"), (b"LI", "5n12c"), (b"LT", "16n"), (b"LU", "3n13c"),
    (b"LV", "4a13c"), (b"LY", "21n"), (b"MC", "10n11c2n"), (b"MD", "20c"), (b"ME", "18n"), (b"MK", "3n10c2n"),
    (b"MN", "16n"), (b"MR", "23n"), (b"MT", "4a5n18c"), (b"MU", "4a19n3a"), (b"NI", "4a20n"), (b"NL", "4a10n"),
    (b"NO", "11n"), (b"OM", "3n16c"), (b"PK", "4a16c"), (b"PL", "24n"), (b"PS", "4a21c"), (b"PT", "21n"),
    (b"QA", "4a21c"), (b"RO", "4a16c"), (b"RS", "18n"), (b"RU", "14n15c"), (b"SA", "2n18c"), (b"SC", "4a20n3a"),
    (b"SD", "14n"), (b"SE", "20n"), (b"SI", "15n"), (b"SK", "20n"), (b"SM", "1a10n12c"), (b"SO", "19n"),
    (b"ST", "21n"), (b"SV", "4a20n"), (b"TL", "19n"), (b"TN", "20n"), (b"TR", "6n16c"), (b"UA", "6n19c"),
    (b"VA", "18n"), (b"VG", "4a16n"), (b"XK", "16n"), (b"YE", "4a4n18c"),
];
/// Letters and digits of the longest that the standard allows.
const LEN_MAX: usize = 34;

fn find(page: &Page<'_>, hits: &mut Hits) {
    // Every account has a digit as its third character; two letters stand before it.
    for group in &page.groups {
        let Some(start) = group.start.checked_sub(2) else { continue };
        let bytes = page.bytes();
        let [a, b] = [bytes[start].to_ascii_uppercase(), bytes[start + 1].to_ascii_uppercase()];
        let Ok(form) = FORMS.binary_search_by_key(&[a, b], |(country, _)| **country) else { continue };
        if !page.letter_before(start)
            && let Some(end) = read(&bytes[start..], FORMS[form].1)
            && !page.letter_behind(start + end)
        {
            hits.push(start..start + end, Certainty::Certain);
        }
    }
}

/// How many bytes an account of this form takes, its check digits right, if there is one.
fn read(bytes: &[u8], form: &str) -> Option<usize> {
    let mut account = [0; LEN_MAX];
    let (mut n, mut at) = (0, 0);
    let mut next = |accept: fn(&u8) -> bool| {
        // One space or hyphen may stand between groups.
        let apart = n >= 4 && matches!(bytes.get(at), Some(b' ' | b'-'));
        at += usize::from(apart);
        *account.get_mut(n)? = *bytes.get(at).filter(|byte| accept(byte))?;
        (n, at) = (n + 1, at + 1);
        Some(())
    };
    for _ in 0..2 {
        next(u8::is_ascii_alphabetic)?;
    }
    for _ in 0..2 {
        next(u8::is_ascii_digit)?;
    }
    let mut count = 0;
    for byte in form.bytes() {
        let accept = match byte {
            b'n' => u8::is_ascii_digit,
            b'a' => u8::is_ascii_alphabetic,
            b'c' => u8::is_ascii_alphanumeric,
            _ => {
                count = count * 10 + usize::from(byte - b'0');
                continue;
            }
        };
        for _ in 0..count {
            next(accept)?;
        }
        count = 0;
    }
    (mod_97(account[4..n].iter().chain(&account[..4]).copied()) == 1).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_in_order_and_forms_fit() {
        assert!(FORMS.is_sorted_by_key(|(country, _)| *country));
        for (_, form) in FORMS {
            let len: usize = form.split(['n', 'a', 'c']).map(|n| n.parse().unwrap_or(0)).sum();
            assert!((11..=30).contains(&len), "{form}");
        }
    }

    #[test]
    fn examples_of_the_registry_are_found() {
        let examples = [
            "DE89 3704 0044 0532 0130 00",
            "FR14 2004 1010 0505 0001 3M02 606",
            "CH93 0076 2011 6238 5295 7",
            "NL91 ABNA 0417 1643 00",
            "ES91 2100 0418 4502 0005 1332",
            "IT60 X054 2811 1010 0000 0123 456",
            "NO93 8601 1117 947",
            "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
            "SE45 5000 0000 0583 9825 7466",
            "PL61 1090 1014 0000 0712 1981 2874",
            "BR18 0036 0305 0000 1000 9795 493C 1",
            "TR33 0006 1005 1978 6457 8413 26",
            "SC18 SSCB 1101 0000 0000 0000 1497 USD",
            "AE07 0331 2345 6789 0123 456",
            "LC55 HEMM 0001 0001 0012 0012 0002 3015",
        ];
        for example in examples {
            for written in [
                example.to_owned(),
                example.replace(' ', ""),
                example.to_lowercase(),
                example.replace(' ', "-"),
            ] {
                let text = format!("to {written}, soon");
                let found = DETECTOR.find(&text);
                assert_eq!(found.len(), 1, "{text}");
                assert_eq!(&text[found[0].span.clone()], written);
            }
        }
    }
}
