//! What the detectors find in texts whose private parts are known, and what holds for every text.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use ingle_route::privacy::{DETECTORS, Finding, Redactor, find_all};

#[path = "private/generator.rs"]
mod generator;

use generator::{Dice, KINDS, Sample, decoys, samples};

/// Planted or labelled, found of them, all that was found of the kind, and how much of that touches a label.
#[derive(Default)]
struct Score {
    labels: usize,
    hits: usize,
    found: usize,
    right: usize,
}

impl Score {
    fn recall(&self) -> f64 {
        self.hits as f64 / self.labels.max(1) as f64
    }

    fn precision(&self) -> f64 {
        self.right as f64 / self.found.max(1) as f64
    }
}

/// A label is found if a finding of its kind covers all of it.
fn score(samples: &[Sample], misses: &mut Vec<String>) -> BTreeMap<String, Score> {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for Sample { text, planted } in samples {
        let found = find_all(text);
        let of = |kind: &str| {
            found.iter().filter(|f| f.kind.name == kind).map(|f| f.span.clone()).collect::<Vec<_>>()
        };
        for (kind, span) in planted {
            let score = scores.entry((*kind).to_owned()).or_default();
            score.labels += 1;
            if of(kind).iter().any(|f| f.start <= span.start && f.end >= span.end) {
                score.hits += 1;
            } else {
                misses.push(format!("{kind}: {:?} in {text:?}", &text[span.clone()]));
            }
        }
        for Finding { kind, span, .. } in &found {
            let score = scores.entry(kind.name.to_owned()).or_default();
            score.found += 1;
            let right =
                planted.iter().any(|(k, p)| *k == kind.name && p.start < span.end && span.start < p.end);
            score.right += usize::from(right);
        }
    }
    scores
}

fn print(title: &str, scores: &BTreeMap<String, Score>) {
    println!("{title}");
    for (kind, s) in scores {
        println!(
            "  {kind:18} recall {:.3} ({}/{})  precision {:.3} ({}/{})",
            s.recall(),
            s.hits,
            s.labels,
            s.precision(),
            s.right,
            s.found
        );
    }
}

/// What the data calls our kinds.
fn kind(label: &str) -> Option<&'static str> {
    let name = match label {
        "DOMAIN_NAME" => "URL",
        "ZIP_CODE" => "STREET_ADDRESS",
        "DATE_TIME" => "DATE_OF_BIRTH",
        name => name,
    };
    DETECTORS.iter().find(|d| d.kind.name == name).map(|d| d.kind.name)
}

fn presidio() -> Option<Vec<Sample>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/pii/presidio_synthetic.json");
    let Ok(json) = std::fs::read(path) else {
        eprintln!("skipped: no reference data at ../shared/data/pii");
        return None;
    };
    let rows: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let sample = |row: &serde_json::Value| {
        let text = row["full_text"].as_str().unwrap().to_owned();
        // Positions count characters.
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let place = |value: &serde_json::Value| places[value.as_u64().unwrap() as usize];
        let planted = row["spans"].as_array().unwrap().iter();
        let planted = planted.filter_map(|span| {
            let range = place(&span["start_position"])..place(&span["end_position"]);
            Some((kind(span["entity_type"].as_str().unwrap())?, range))
        });
        Sample { planted: planted.collect(), text }
    };
    Some(rows.as_array().unwrap().iter().map(sample).collect())
}

#[test]
fn nothing_grave_is_missed_in_the_labelled_texts() {
    let Some(samples) = presidio() else { return };
    let mut misses = Vec::new();
    let scores = score(&samples, &mut misses);
    print("labelled texts", &scores);
    let grave = ["CREDIT_CARD", "IBAN_CODE", "US_SSN", "EMAIL_ADDRESS", "IP_ADDRESS"];
    for kind in grave {
        assert!(scores[kind].labels > 0);
    }
    let missed: Vec<_> =
        misses.iter().filter(|miss| grave.iter().any(|kind| miss.starts_with(kind))).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    let phones: Vec<_> = misses.iter().filter(|miss| miss.starts_with("PHONE")).collect();
    assert!(scores["PHONE_NUMBER"].recall() >= 0.9, "{phones:#?}");
    for kind in ["CREDIT_CARD", "IBAN_CODE"] {
        assert!(scores[kind].precision() >= 0.95, "{kind}");
    }
}

#[test]
fn of_two_thousand_of_each_kind_hardly_one_is_missed() {
    for kind in KINDS {
        let samples = samples(kind, 2000, 8);
        let mut misses = Vec::new();
        let scores = score(&samples, &mut misses);
        let recall = scores[*kind].recall();
        println!("{kind:18} recall {recall:.4} of {}", samples.len());
        assert!(recall >= 0.99, "{kind}: {recall}: {:#?}", &misses[..misses.len().min(20)]);
    }
}

#[test]
fn numbers_that_are_nothing_are_rarely_cards_or_accounts() {
    let mut texts = decoys(2000, 9);
    texts.extend(samples("CREDIT_CARD", 2000, 10));
    texts.extend(samples("IBAN_CODE", 2000, 11));
    let scores = score(&texts, &mut Vec::new());
    print("planted among decoys", &scores);
    for kind in ["CREDIT_CARD", "IBAN_CODE"] {
        assert!(scores[kind].precision() >= 0.95, "{kind}");
    }
}

/// A text of pieces that detectors, placeholders and borders of characters are sensitive to.
fn hostile(dice: &mut Dice, n: usize) -> String {
    let pieces = [
        "[",
        "]",
        "(",
        ")",
        "\\",
        "\\[",
        "EMAIL_1",
        "[EMAIL_1]",
        "[email 2]",
        "TEXT_1",
        "_",
        "1",
        "12",
        "0",
        "4111",
        "-",
        ".",
        " ",
        "  ",
        "\n",
        "@",
        "%40",
        "a@b.co",
        "＠",
        "\u{200b}",
        "\u{feff}",
        "é",
        "漢",
        "𝟙",
        "٣",
        "\u{301}",
        "https://",
        "www.",
        ":",
        "::",
        "2001:db8::1",
        "password=",
        "is ",
        "token: \"",
        "-----BEGIN PRIVATE KEY-----",
        "-----END ",
        "Anna",
        "Müller",
        "Mr. ",
        "born ",
        "May ",
        "5 ",
        "Street",
        "Rua ",
        "Apt. 5",
        "GB82",
        "WEST",
        "12345698765432",
        "4111 1111 1111 1111",
        "+46 (0)8",
        "x12",
        "[at]",
        "[dot]",
        "eyJ",
        "ghp_",
        "=",
        "'",
        "\"",
        "054-28-6917",
        "1.2.3.4",
        "İ",
        "ß",
        "ﬁ",
        "🙂",
        "\u{202e}",
        "【",
        "】",
        "EMAIL",
        "PHONE_",
        "9999999999",
    ];
    (0..n).map(|_| pieces[dice.below(pieces.len())]).collect()
}

fn check(text: &str, findings: &[Finding]) {
    let mut at = 0;
    for finding in findings {
        let Range { start, end } = finding.span;
        assert!(at <= start && start < end && end <= text.len(), "{findings:?}");
        assert!(text.is_char_boundary(start) && text.is_char_boundary(end));
        at = end;
    }
}

#[test]
fn every_text_comes_back_whole() {
    let mut dice = Dice(1);
    let mut redactor = Redactor::new();
    for round in 0..20_000 {
        let n = 1 + dice.below(12);
        let text = hostile(&mut dice, n);
        let findings = find_all(&text);
        check(&text, &findings);
        // Also spans that nobody would find, cut anywhere.
        let any: Vec<Finding> = (0..dice.below(4))
            .map(|_| {
                let start = dice.below(text.len());
                let kind = &DETECTORS[dice.below(DETECTORS.len())].kind;
                Finding {
                    kind,
                    span: start..start + dice.below(text.len() - start + 1),
                    certainty: ingle_route::privacy::Certainty::Likely,
                }
            })
            .collect();
        if round % 50 == 0 {
            redactor = Redactor::new();
        }
        for findings in [&findings, &any] {
            let redaction = redactor.redact(&text, findings);
            assert_eq!(redactor.vault().rehydrate(&redaction.text), text, "{:?}", redaction.text);
            let mut rehydrator = redactor.rehydrator();
            let mut streamed = String::new();
            let mut rest = redaction.text.as_str();
            while !rest.is_empty() {
                let cut = rest.ceil_char_boundary(1 + dice.below(6)).min(rest.len());
                streamed.push_str(&rehydrator.push(&rest[..cut]));
                rest = &rest[cut..];
            }
            streamed.push_str(&rehydrator.finish());
            assert_eq!(streamed, text);
        }
    }
}

#[test]
fn what_is_redacted_is_not_there_any_more() {
    for kind in KINDS {
        for Sample { text, planted } in samples(kind, 300, 12) {
            let found = find_all(&text);
            let mut redactor = Redactor::new();
            let redaction = redactor.redact(&text, &found);
            for f in &found {
                let value = &text[f.span.clone()];
                assert!(value.len() < 4 || !redaction.text.contains(value), "{kind}: {value}");
            }
            assert_eq!(
                redaction.replaced.len(),
                redaction.replaced.iter().filter(|r| r.kind.is_some()).count()
            );
            drop(planted);
        }
    }
}

/// Repeated to a length, texts that are worst for some detector.
const WORST: &[&str] = &[
    "1 ",
    "1",
    "11-",
    "1.",
    "12 ",
    "123 ",
    "0 ",
    "+1 ",
    "(1",
    "1-1/1.1 ",
    "4111 ",
    "AB12",
    "AB12 ",
    "GB82 ",
    "@",
    "a@",
    "a@a.",
    "a.",
    "%40",
    "(at)",
    "a (at) b (dot) ",
    " ",
    "\n",
    "=",
    "password=",
    "password is ",
    "is ",
    "\"=\"",
    "://",
    "a://",
    "www.",
    "a:b@://",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "-----END ",
    "eyJ",
    "eyJ.",
    "ghp_",
    "aB3",
    ":",
    "1:",
    "2001:db8::",
    "A",
    "A ",
    "Anna ",
    "Anna",
    "Mr. ",
    "J. ",
    "1 A ",
    "Street ",
    "1 Street ",
    "Rua ",
    "1 Rua A ",
    "Apt 1 ",
    "SW1A 1AA ",
    "CA 12345 ",
    "born 1.",
    "born 1.1.",
    "May 5 ",
    "é",
    "漢",
    "\u{200b}",
    "４",
    "١",
    "[",
    "[EMAIL_1",
    "EMAIL_",
    "[EMAIL_1]",
    "a@b.co ",
    "call 1234567 ",
    "card 4111111111111111 ",
    "xoxb-",
    "'",
    "O'",
    "zip 1 ",
    "x1",
    "1x",
    "-",
    "_",
    "bc1q",
    "https://a@b.co/",
];

/// Seconds for a text of this many bytes.
fn seconds(piece: &str, len: usize) -> (f64, f64) {
    let text = piece.repeat(len / piece.len());
    let start = Instant::now();
    let findings = find_all(&text);
    let found = start.elapsed();
    check(&text, &findings);
    let start = Instant::now();
    let mut redactor = Redactor::new();
    let redaction = redactor.redact(&text, &findings);
    assert!(redaction.text == text || !redaction.replaced.is_empty());
    (found.as_secs_f64(), start.elapsed().as_secs_f64())
}

/// Eight times the text takes eight times as long; what grows with the square would take 64 times.
#[test]
fn time_grows_with_the_text_and_no_faster() {
    const LEN: usize = 1 << 20;
    let mut worst = (0.0, 0.0, "");
    for piece in WORST {
        // A machine may be busy at the wrong moment, so it is asked again.
        let grows = (0..3).all(|_| {
            let (short, long) = (seconds(piece, LEN / 8), seconds(piece, LEN));
            if long.0 + long.1 > worst.0 + worst.1 {
                worst = (long.0, long.1, piece);
            }
            long.0 + long.1 > 24.0 * (short.0 + short.1).max(1e-3)
        });
        assert!(!grows, "{piece:?}");
    }
    println!(
        "worst of {}: {:?}, {:.3} s to find, {:.3} s to redact in 1 MB",
        WORST.len(),
        worst.2,
        worst.0,
        worst.1
    );
}
