//! The ledger's rows, the user's book of prices and recordings of sensors. What is accepted is gone through: rows are written again and
//! added up by the book, recordings are metered and governed. Nothing is below its lower bound or above its upper one. Rows of feedback,
//! which lie in the same folder, are learned from: what comes of them is a probability.
//!
//! An input is a book, rows, a recording and feedback, with a zero byte between each two of them.
// libFuzzer: -max_len=1200
#![no_main]

use ingle_engine::governor::{PowerLimit, Senses, Situation, plan};
use ingle_engine::meter::{LoadModel, Meter, Moment};
use ingle_engine::sysfs::parse_recording;
use ingle_fuzz::assert_sentence;
use ingle_route::confidence::{Learned, feedback};
use ingle_route::ledger::{Book, Faults, Row, Tally, page, parse_since, utc, words};
use libfuzzer_sys::fuzz_target;

/// Frames of a recording that are gone through; more would be slow and no different.
const FRAMES_MAX: usize = 16;

fn rows(book: &Book, lines: &str) {
    let mut tally = Tally::new(book, parse_since(lines.lines().next().unwrap_or_default(), 1 << 41, utc).ok(), utc);
    for line in lines.lines() {
        let read = Row::parse(line.as_bytes());
        if let Ok(row) = &read {
            let again = row.to_line().map(|line| Row::parse(line.as_bytes()));
            assert!(again.is_err() || again == Ok(Ok(row.clone())));
            tally.add(row);
        }
        assert_sentence(read.map(drop));
    }
    let report = tally.finish(&Faults::default());
    assert!(report.energy.iter().all(|sum| sum.uj.low <= sum.uj.value && sum.uj.value <= sum.uj.high));
    let page = page(&report);
    assert!(!page.contains("NaN") && !page.contains("<script") && !words(&report).is_empty());
}

fn learn(lines: &str) {
    let (rows, _) = feedback::parse(lines.as_bytes());
    let learned = Learned::from_rows(&rows);
    for row in &rows {
        let p = learned.confidence.probability(&row.features);
        assert!((0.0..=1.0).contains(&p), "{p}");
    }
    assert!(learned.lesson.n <= rows.len() && (0.0..=1.0).contains(&learned.lesson.after));
}

fn record(text: &str) -> Result<(), String> {
    let frames = parse_recording(text)?;
    let Some(first) = frames.first() else { return Ok(()) };
    let at = |frame: &ingle_engine::sysfs::Frame| Moment { awake: frame.awake, slept: frame.slept };
    let model = LoadModel { rated: None, n_threads: 2 };
    let mut meter = Meter::open(&first.tree, Vec::new(), model, at(first));
    let mark = meter.mark(&first.tree, at(first));
    let mut before = None;
    for frame in frames.iter().take(FRAMES_MAX) {
        for reading in meter.since(&mark, &frame.tree, at(frame)) {
            let joules = reading.joules;
            assert!(joules.low_uj <= joules.value_uj && joules.value_uj <= joules.high_uj, "{reading:?}");
        }
        let made = plan(&Situation {
            now: frame.awake,
            threads_max: 8,
            batch_max: 4,
            senses: Senses::read(&frame.tree),
            power_limit: Some(PowerLimit::Microwatts(15_000_000)),
            power_uw: frame.tree.count("power").ok(),
            is_working: true,
            before,
        });
        assert!((1..=8).contains(&made.threads) && (1..=1000).contains(&made.duty_permille));
        before = Some(made);
    }
    Ok(())
}

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.splitn(4, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let book = Book::parse(part());
    rows(book.as_ref().unwrap_or(&Book::default()), part());
    assert_sentence(book.map(drop));
    assert_sentence(record(part()));
    learn(part());
});
