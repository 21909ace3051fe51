//! Addresses of network hardware, which stay with a device wherever it goes.

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "MAC_ADDRESS", word: "MAC", class: Class::Network },
    about: "six pairs of hexadecimal digits between colons or hyphens",
    source: "IEEE 802, EUI-48",
    example: "eth0 ⟦3c:22:fb:9a:01:7e⟧",
    near_misses: &[
        "12:34:56",
        "3c:22:fb:9a:01:7",
        "3c:22-fb:9a:01:7e",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
    ],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in words(page.text, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'-') {
        let word = &page.bytes()[span.clone()];
        let pairs = span.len() == 17
            && (word.iter().enumerate())
                .all(|(i, byte)| if i % 3 == 2 { *byte == word[2] } else { byte.is_ascii_hexdigit() });
        let nobody = word.iter().filter(|byte| byte.is_ascii_hexdigit()).all(|byte| *byte == word[0]);
        if pairs && !nobody && !page.letter_before(span.start) && !page.letter_behind(span.end) {
            hits.push(span, Certainty::Likely);
        }
    }
}
