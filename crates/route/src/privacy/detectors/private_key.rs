//! Private keys in text form.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "PRIVATE_KEY", word: "PRIVATEKEY", class: Class::Secret },
    about: "what begins as a private key in PEM, OpenPGP or OpenSSH does, to its end or as far as it goes; keys of age",
    source: "RFC 7468; RFC 4880; age-encryption.org/v1",
    example: concat!("⟦-----BEGIN RSA PRIV", "ATE KEY-----\nMIIB\n-----END RSA PRIV", "ATE KEY-----⟧\n"),
    near_misses: &["-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", "a private key"],
    find,
};

/// Of a key of 16,384 bits in PEM there are 13 KB.
const LEN_MAX: usize = 32 << 10;

fn find(page: &Page<'_>, hits: &mut Hits) {
    let text = page.text;
    let mut at = 0;
    // No foot of a key begins before this: so no byte is searched for one twice.
    let mut footless = 0;
    while let Some(found) = text[at..].find("-----BEGIN ") {
        let start = at + found;
        let behind = start + "-----BEGIN ".len();
        at = behind;
        // A key's name is short and on one line.
        let head = text[behind..].bytes().take(64).take_while(|byte| !matches!(byte, b'\n' | b'-')).count();
        let Some(head) = text.get(behind..behind + head).filter(|head| head.contains("PRIVATE KEY")) else {
            continue;
        };
        let body = behind + head.len();
        let window = floor(text, body + LEN_MAX);
        let from = footless.clamp(body, window);
        let end = match text[from..window].find("-----END ") {
            Some(end) => {
                let foot = from + end + "-----END ".len();
                foot + text[foot..]
                    .bytes()
                    .take(80)
                    .take_while(|byte| !matches!(byte, b'\n' | b'"' | b'\\'))
                    .count()
            }
            // Cut off: as far as it can be a key's.
            None => {
                footless = floor(text, window.saturating_sub("-----END ".len()));
                body + text[body..window].bytes().take_while(|byte| is_of_key(*byte)).count()
            }
        };
        at = floor(text, end).max(behind);
        hits.push(start..at, Certainty::Certain);
    }
}

fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=-:,\\\r\n".contains(&byte)
}

/// The border of characters at or before this place.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}
