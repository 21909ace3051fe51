//! Keys of services that mark them so that they are found.
//!
//! Services put a prefix before their keys for this purpose. A word that begins so and has the length and letters of such a
//! key is one; where the prefix alone says little, the length must be met exactly.

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "API_KEY", word: "KEY", class: Class::Secret },
    about: "words with a service's prefix and as many letters as its keys have",
    source: "each service's documentation of its keys",
    example: concat!("export KEY=⟦ghp", "_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6⟧"),
    near_misses: &["ghp_short", "sk-learn", "AKIA", "hf_hub_download", "glpat-", "xoxb-"],
    find,
};

/// What keys are written with, behind their prefix.
#[derive(Clone, Copy)]
enum Letters {
    /// Capitals and digits.
    Upper,
    /// Letters and digits.
    Alnum,
    /// Letters, digits, hyphens and underscores.
    Url,
    /// Hexadecimal digits.
    Hex,
}
use Letters::{Alnum, Hex, Upper, Url};

/// Prefixes, letters, how many follow at least and at most.
#[rustfmt::skip]
const PREFIXES: &[(&str, Letters, usize, usize)] = &[
    ("AKIA", Upper, 16, 16), ("ASIA", Upper, 16, 16), ("ABIA", Upper, 16, 16), ("ACCA", Upper, 16, 16), // Amazon
    ("AGE-SECRET-KEY-1", Upper, 58, 58),
    ("AIza", Url, 35, 35), ("GOCSPX-", Url, 28, 28), ("ya29.", Url, 20, 400), // Google
    ("ATATT3", Url, 100, 250), ("ATCTT3", Url, 100, 250), // Atlassian
    ("EAAA", Url, 60, 60), ("sq0atp-", Url, 22, 22), ("sq0csp-", Url, 43, 43), // Square
    ("NRAK-", Upper, 27, 27), ("PMAK-", Alnum, 24, 80), // New Relic, Postman
    ("SG.", Url, 40, 80), ("SK", Hex, 32, 32), ("AC", Hex, 32, 32), // SendGrid, Twilio
    ("dckr_pat_", Url, 20, 60), ("doo_v1_", Hex, 64, 64), ("dop_v1_", Hex, 64, 64), ("dor_v1_", Hex, 64, 64),
    ("dp.pt.", Alnum, 40, 50), ("fw_", Alnum, 22, 40),
    ("ghp_", Alnum, 36, 255), ("gho_", Alnum, 36, 255), ("ghu_", Alnum, 36, 255), ("ghs_", Alnum, 36, 255),
    ("ghr_", Alnum, 36, 255), ("github_pat_", Url, 60, 120), ("glpat-", Url, 20, 60), ("glptt-", Hex, 40, 40),
    ("glsa_", Url, 32, 60), ("gsk_", Alnum, 40, 80), ("hf_", Alnum, 30, 50), ("hvs.", Url, 24, 200), ("hvb.", Url, 100, 300),
    ("key-", Hex, 32, 32), ("lin_api_", Alnum, 32, 60), ("npm_", Alnum, 36, 36), ("ntn_", Alnum, 40, 60),
    ("nvapi-", Url, 60, 80), ("pplx-", Alnum, 40, 60), ("pscale_tkn_", Url, 32, 64), ("pypi-AgE", Url, 50, 250),
    ("r8_", Alnum, 37, 40), ("rubygems_", Hex, 48, 48), ("sbp_", Hex, 40, 40), ("secret_", Alnum, 43, 43),
    ("shpat_", Hex, 32, 32), ("shpca_", Hex, 32, 32), ("shppa_", Hex, 32, 32), ("shpss_", Hex, 32, 32),
    ("sk-ant-", Url, 32, 200), ("sk-proj-", Url, 32, 250), ("sk-or-", Url, 32, 120), ("sk-", Alnum, 32, 64),
    ("sk_live_", Alnum, 16, 120), ("sk_test_", Alnum, 16, 120), ("rk_live_", Alnum, 16, 120), ("pk_live_", Alnum, 16, 120),
    ("whsec_", Alnum, 24, 64), ("tgp_v1_", Url, 32, 60), ("xai-", Alnum, 60, 100), ("xapp-", Url, 30, 150),
    ("xoxa-", Url, 20, 120), ("xoxb-", Url, 20, 120), ("xoxe-", Url, 20, 200), ("xoxp-", Url, 20, 120), ("xoxs-", Url, 20, 120),
];

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in words(page.text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        let word = &page.text[span.clone()];
        if word.len() < 16 || page.letter_before(span.start) {
            continue;
        }
        let sure = PREFIXES.iter().find_map(|(prefix, letters, least, most)| {
            let rest = word.strip_prefix(prefix)?.trim_end_matches(['.', '-']);
            let n = rest.bytes().take_while(|byte| letters.contains(*byte)).count();
            // A key of letters alone is a name that begins alike.
            let mixed = rest[..n].bytes().any(|byte| byte.is_ascii_digit());
            (n == rest.len() && (*least..=*most).contains(&n) && mixed).then_some(prefix.len() + n)
        });
        if let Some(len) = sure {
            hits.push(span.start..span.start + len, Certainty::Certain);
        }
    }
}

impl Letters {
    fn contains(self, byte: u8) -> bool {
        match self {
            Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Alnum => byte.is_ascii_alphanumeric(),
            Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
            Hex => byte.is_ascii_hexdigit(),
        }
    }
}
