//! The shelf's own: every entry finds its example and nothing in what looks like it.

use super::*;

#[test]
fn every_detector_finds_its_example_and_no_near_miss() {
    let mut failures = Vec::new();
    for detector in DETECTORS {
        let text = detector.example.replace(['⟦', '⟧'], "");
        let start = detector.example.find('⟦').unwrap();
        let end = detector.example.find('⟧').unwrap() - '⟦'.len_utf8();
        let found: Vec<_> = detector.find(&text).into_iter().map(|f| f.span).collect();
        if found.len() != 1 || found[0] != (start..end) {
            failures.push(format!(
                "{}: {:?}",
                detector.kind.name,
                found.iter().map(|s| &text[s.clone()]).collect::<Vec<_>>()
            ));
        }
        // Nor does another detector take it away.
        if !find_all(&text).iter().any(|f| f.kind == &detector.kind && f.span == (start..end)) {
            failures.push(format!("{}: taken: {:?}", detector.kind.name, find_all(&text)));
        }
        for text in detector.near_misses {
            let found = detector.find(text);
            if !found.is_empty() {
                failures.push(format!("{}: {text}: {found:?}", detector.kind.name));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn entries_are_documented_and_their_names_are_theirs_alone() {
    for detector in DETECTORS {
        let kind = detector.kind;
        assert!(kind.name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{}", kind.name);
        assert_eq!(DETECTORS.iter().filter(|other| other.kind.name == kind.name).count(), 1, "{}", kind.name);
        assert!(
            !detector.about.is_empty() && !detector.source.is_empty() && !detector.near_misses.is_empty()
        );
        assert!(detector.about.len() < 240 && !detector.about.ends_with('.'), "{}", kind.name);
    }
    assert!(Class::ALL.is_sorted());
    assert!(Class::ALL.iter().all(|class| Class::named(class.name()) == Some(*class)));
}

#[test]
fn certainties_are_in_order_and_named() {
    assert!(Certainty::ALL.is_sorted());
    assert!(Certainty::ALL.iter().all(|certainty| Certainty::named(certainty.name()) == Some(*certainty)));
}
