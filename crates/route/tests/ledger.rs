//! The ledger as a whole: files that survive crashes and stay small, sums that equal their parts, and reports that claim no more
//! than they know.

use std::fs;
use std::path::PathBuf;

use ingle_route::ledger::{
    Book, Carbon, Energy, Faults, Instead, Interval, LINE_BYTES_MAX, LedgerFile, Method, Money, Place,
    Report, Row, Scope, Tally, Verdict, page, utc, words,
};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ingle-ledger-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn ledger(&self) -> LedgerFile {
        LedgerFile::new(self.0.join("state/ledger.jsonl"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(ledger: &LedgerFile) -> (Vec<Row>, Faults) {
    let mut rows = Vec::new();
    let faults = ledger.read(|row| rows.push(row)).unwrap();
    (rows, faults)
}

fn energy([low, value, high]: [u64; 3], method: Method, scope: Scope) -> Energy {
    Energy { uj: Interval { low, value, high }, method, scope, idle_subtracted: method == Method::Modelled }
}

/// An answer given here.
fn here(at_ms: u64, joules: [u64; 3]) -> Row {
    Row {
        tokens_in: 40,
        tokens_out: 500,
        wall_ms: 1500,
        cpu_ms: Some(2900),
        model: Some("sha256:00ff".into()),
        energy: Some(energy(joules.map(|j| j * 1_000_000), Method::Measured, Scope::Package)),
        ..Row::new(at_ms, Place::Here)
    }
}

fn report(rows: &[Row], book: &Book) -> Report {
    let mut tally = Tally::new(book, None, utc);
    rows.iter().for_each(|row| tally.add(row));
    tally.finish(&Faults::default())
}

const DAY: u64 = 86_400_000;

#[test]
fn rows_come_back_as_they_were_written() {
    let folder = Folder::new("rows");
    let ledger = folder.ledger();
    assert_eq!(read(&ledger), (Vec::new(), Faults::default()), "a ledger that is not there is empty");
    let full = Row {
        by: Some("key: editor".into()),
        money: Some(Money {
            nano: Interval::exactly(120),
            currency: "EUR".into(),
            source: "a \"list\"\n".into(),
            date: "2026-02-01".into(),
        }),
        co2e: Some(Carbon {
            ug: Interval { low: 1, value: 2, high: 3 },
            source: "x".into(),
            date: "2026-01-01".into(),
        }),
        bytes_out: 4000,
        bytes_in: 9000,
        instead: Some(Instead::OfHere),
        ..here(7, [1, 2, 3])
    };
    let rows = [full, here(8, [1, 1, 1]), Row::new(9, Place::Refused)];
    rows.iter().for_each(|row| ledger.append(row).unwrap());
    assert_eq!(read(&ledger), (rows.to_vec(), Faults::default()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&ledger.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_torn_line_is_told_and_costs_no_other_row() {
    let folder = Folder::new("torn");
    let ledger = folder.ledger();
    ledger.append(&here(1, [1, 2, 3])).unwrap();
    let whole = fs::read(&ledger.path).unwrap();
    // Cut everywhere in the second row, as a crash or a full disk may.
    for cut in 1..whole.len() - 1 {
        fs::write(&ledger.path, [&whole[..], &whole[..cut]].concat()).unwrap();
        let (rows, faults) = read(&ledger);
        assert_eq!((rows.len(), faults.n_lines, faults.is_torn), (1, 1, true), "cut at {cut}");
        ledger.append(&here(3, [1, 2, 3])).unwrap();
        let (rows, faults) = read(&ledger);
        assert_eq!(
            (rows.len(), rows[1].at_ms, faults.n_lines, faults.is_torn),
            (2, 3, 1, false),
            "cut at {cut}"
        );
        assert!(faults.first.unwrap().starts_with("ledger.jsonl line 2: "));
    }
    // Only the end of the line is missing: the row is whole.
    fs::write(&ledger.path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(read(&ledger).0.len(), 1);
    ledger.append(&here(3, [1, 2, 3])).unwrap();
    assert_eq!(read(&ledger), (vec![here(1, [1, 2, 3]), here(3, [1, 2, 3])], Faults::default()));
}

#[test]
fn hostile_lines_are_passed_over_and_counted() {
    let folder = Folder::new("hostile");
    let ledger = folder.ledger();
    ledger.append(&here(1, [1, 2, 3])).unwrap();
    let good = fs::read_to_string(&ledger.path).unwrap();
    let long = "x".repeat(LINE_BYTES_MAX * 5);
    let deep = "[".repeat(LINE_BYTES_MAX - 10);
    let bad = [
        "{}".to_owned(),
        long,
        deep,
        "\u{0}".to_owned(),
        good.trim().replace("1000000,2000000", "3000000,2000000"),
        good.trim().replace("here", "somewhere"),
        r#"{"at_ms":1,"place":"there","money":{"nano":[1,1,1],"currency":"eur","source":"","date":""}}"#
            .to_owned(),
    ];
    let text: String = bad.iter().map(|line| format!("{line}\n{good}")).collect();
    fs::write(&ledger.path, [text.as_bytes(), b"\xff\xfe\n\n\n", good.as_bytes()].concat()).unwrap();
    let (rows, faults) = read(&ledger);
    assert_eq!((rows.len(), faults.n_lines, faults.is_torn), (8, 8, false));
    let too_long = Row { model: Some("m".repeat(LINE_BYTES_MAX)), ..here(1, [1, 2, 3]) };
    assert!(ledger.append(&too_long).unwrap_err().to_string().contains("expected 8192 at most"));
}

#[test]
fn a_full_file_becomes_an_older_one_and_the_oldest_goes() {
    let folder = Folder::new("full");
    let ledger = LedgerFile { bytes_max: 1000, n_older: 2, ..folder.ledger() };
    for at in 0..60 {
        ledger.append(&here(at, [1, 2, 3])).unwrap();
    }
    let (rows, faults) = read(&ledger);
    assert_eq!(faults, Faults::default());
    let first = rows[0].at_ms;
    assert!(rows.iter().map(|row| row.at_ms).eq(first..60), "the newest, in order");
    assert!(rows.len() >= 6, "{}", rows.len());
    let files: Vec<PathBuf> =
        fs::read_dir(ledger.path.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "three files and a lock: {files:?}");
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() <= 1000));
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let folder = Folder::new("writers");
    let ledger = LedgerFile { bytes_max: 20_000, n_older: 50, ..folder.ledger() };
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for i in 0..100 {
                    ledger.append(&here(writer * 1000 + i, [1, 2, 3])).unwrap();
                }
            });
        }
    });
    let (rows, faults) = read(&ledger);
    let mut seen: Vec<u64> = rows.iter().map(|row| row.at_ms).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq((0..4).flat_map(|writer| writer * 1000..writer * 1000 + 100)));
    assert_eq!(faults, Faults::default());
}

/// Rows of all kinds, without order.
fn many() -> Vec<Row> {
    let mut random = 1_234_567_u64;
    let mut next = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    let methods = [Method::Measured, Method::Modelled, Method::Estimated];
    let scopes = [Scope::Package, Scope::Device, Scope::FullStack];
    (0..2000)
        .map(|_| {
            let place = Place::ALL[next(4) as usize];
            let low = next(1 << 40);
            let value = low + next(1 << 40);
            let high = value + next(1 << 40);
            let currency = ["EUR", "USD"][next(2) as usize].to_owned();
            let nano = Interval { low, value, high };
            let money = || Money { nano, currency, source: "s".into(), date: "2026-01-01".into() };
            Row {
                tokens_in: next(5000),
                tokens_out: next(5000),
                bytes_out: next(9000),
                energy: (next(5) > 0)
                    .then(|| energy([low, value, high], methods[next(3) as usize], scopes[next(3) as usize])),
                money: (next(3) > 0).then(money),
                ..Row::new(next(400) * DAY, place)
            }
        })
        .collect()
}

#[test]
fn sums_equal_their_parts_to_the_last_microjoule() {
    let (rows, book) = (many(), Book::default());
    let whole = report(&rows, &book);
    // By hand, per place and kind.
    for sum in &whole.energy {
        let of_kind = rows.iter().filter(|row| row.place == sum.place);
        let energies: Vec<Energy> =
            of_kind.filter_map(|row| row.energy).filter(|energy| energy.key() == sum.key).collect();
        let total = |of: fn(&Energy) -> u64| energies.iter().map(|e| u128::from(of(e))).sum::<u128>();
        assert_eq!(
            (sum.uj.low, sum.uj.value, sum.uj.high, sum.uj.n),
            (total(|e| e.uj.low), total(|e| e.uj.value), total(|e| e.uj.high), energies.len() as u64)
        );
        assert_eq!(Some(sum.method), energies.iter().map(|e| e.method).max());
    }
    let n_summed: u64 = whole.energy.iter().map(|sum| sum.uj.n).sum();
    assert_eq!(n_summed, rows.iter().filter(|row| row.energy.is_some()).count() as u64);
    // Cut anywhere, the two reports' sums are the one's; and no order changes any.
    for cut in [1, 700, 1999] {
        let parts = [report(&rows[..cut], &book), report(&rows[cut..], &book)];
        for sum in &whole.energy {
            let part = |report: &Report| {
                let found = report.energy.iter().find(|s| (s.place, s.key) == (sum.place, sum.key));
                found.map_or(0, |s| s.uj.value)
            };
            assert_eq!(parts.iter().map(part).sum::<u128>(), sum.uj.value);
        }
    }
    let mut backwards = rows.clone();
    backwards.reverse();
    assert_eq!(report(&backwards, &book), whole);
    assert!(whole.days.len() <= 92);
}

#[test]
fn kinds_of_energy_and_currencies_stand_side_by_side() {
    let device =
        Row { energy: Some(energy([1, 2, 3], Method::Measured, Scope::Device)), ..here(1, [1, 2, 3]) };
    let without_idle =
        Row { energy: Some(energy([1, 2, 3], Method::Modelled, Scope::Package)), ..device.clone() };
    let report = report(&[here(1, [1, 2, 3]), device, without_idle], &Book::default());
    assert_eq!(report.energy.len(), 3);
    assert_eq!(report.energy_compared.len(), 3);
    assert!(report.energy.iter().chain(&report.energy).all(|sum| sum.uj.n == 1));
}

#[test]
fn what_overlaps_is_not_distinguishable_and_a_percentage_has_both_operands() {
    let book = Book::default();
    // Elsewhere 514 tokens' worth are 185 to 3700 J.
    let unclear = report(&[here(1, [100, 300, 900])], &book);
    assert_eq!(unclear.energy_compared[0].verdict, Verdict::NotDistinguishable);
    let said = words(&unclear);
    assert!(said.contains("not distinguishable") && !said.contains("less here"), "{said}");
    let less = report(&[here(1, [15, 20, 30]), here(2, [15, 20, 30])], &book);
    let Verdict::Less { percent: [low, value, high] } = less.energy_compared[0].verdict else { panic!() };
    assert!((low - 83.8).abs() < 0.1 && (value - 98.1).abs() < 0.1 && (high - 99.6).abs() < 0.1);
    let more = report(&[here(1, [9000, 9500, 10_000])], &book);
    assert!(matches!(more.energy_compared[0].verdict, Verdict::More { .. }));
    for report in [&unclear, &less, &more] {
        for text in [words(report), page(report)] {
            let claims = text.lines().filter(|line| line.contains(" % less") || line.contains(" % more"));
            for line in claims {
                assert!(line.matches(" J (").count() + line.matches(" kJ (").count() >= 2, "{line}");
                assert!(
                    line.contains("MEASURED") && line.contains("ESTIMATED") && line.contains("full stack"),
                    "{line}"
                );
            }
        }
    }
    let said = words(&less);
    assert!(said.contains("are not the same"), "{said}");
    assert!(
        said.contains("40.0 J (30.0 to 60.0), MEASURED, package: 98 % less here (84 to 99.6 %)"),
        "{said}"
    );
    assert!(said.contains("energy elsewhere: prior around") && said.contains("2025-08-21"), "{said}");
}

#[test]
fn money_is_compared_in_one_currency_alone() {
    let book = |tariff: &str| {
        Book::parse(&format!(
            "[electricity]\nper_kwh = 0.36\ncurrency = \"{tariff}\"\nsource = \"contract\"\ndate = \"2026-01-01\"\n\
             [cloud]\nprice = \"m\"\n[[price]]\nmodel = \"m\"\ncurrency = \"USD\"\ninput_per_million = 1\n\
             output_per_million = 4\nsource = \"list\"\ndate = \"2026-02-01\"\n"
        ))
        .unwrap()
    };
    for (currency, n) in [("EUR", 0), ("USD", 1)] {
        let book = book(currency);
        let mut row = here(1, [100, 100, 100]);
        row.money = book.electricity_money(row.energy.as_ref().unwrap());
        let report = report(&[row], &book);
        assert_eq!((report.money.len(), report.money_compared.len()), (1, n), "{currency}");
        assert_eq!(report.money[0].total.value, 10_000);
        for compared in &report.money_compared {
            assert_eq!((compared.here.value, compared.there.value), (10_000, 2_040_000));
        }
    }
}

#[test]
fn rows_before_the_asked_time_do_not_count_and_days_do() {
    let rows = [here(DAY, [1, 1, 1]), here(2 * DAY, [1, 1, 1]), Row::new(2 * DAY + 5, Place::Refused)];
    let sent = Row { bytes_out: 100, bytes_in: 50, ..Row::new(3 * DAY, Place::Redacted) };
    let book = Book::default();
    let mut tally = Tally::new(&book, Some(2 * DAY), utc);
    rows.iter().chain([&sent]).for_each(|row| tally.add(row));
    let faults = Faults { n_lines: 2, first: Some("ledger.jsonl line 9: what".into()), is_torn: true };
    let report = tally.finish(&faults);
    assert_eq!((report.share_here(), report.bytes(), report.n_without_energy), ([1, 2], [100, 50], 1));
    let days: Vec<(&str, [u64; 4])> = report.days.iter().map(|day| (&*day.date, day.n)).collect();
    assert_eq!(days, [("1970-01-03", [1, 0, 0, 1]), ("1970-01-04", [0, 0, 1, 0])]);
    let said = words(&report);
    assert!(said.contains("answered here        1 of 2 (50.0 %)"), "{said}");
    assert!(said.contains("100 bytes in 1 request; 50 came") && said.contains("note: 2 lines"), "{said}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["places"][2]["place"], "redacted");
    assert_eq!(json["energy_compared"][0]["verdict"], "less");
}

#[test]
fn what_did_not_stand_is_spent_and_is_no_answer() {
    let there = |at_ms: u64, instead: Option<Instead>| Row {
        tokens_out: 5,
        bytes_out: 100,
        instead,
        ..Row::new(at_ms, Place::There)
    };
    // Two answers from here, one of them replaced; one that was asked for elsewhere; one that nobody gave; a refused one.
    let rows = [
        here(DAY, [1, 2, 3]),
        here(DAY + 1, [10, 20, 30]),
        there(DAY + 2, Some(Instead::OfHere)),
        there(DAY + 3, None),
        Row { tokens_out: 0, ..there(DAY + 4, Some(Instead::NoAnswer)) },
        Row::new(DAY + 5, Place::Refused),
    ];
    let report = report(&rows, &Book::default());
    assert_eq!((report.share_here(), report.n_requests()), ([1, 3], 4));
    assert_eq!((report.place(Place::Here).n, report.place(Place::Here).n_void), (2, 1));
    assert_eq!((report.place(Place::There).n, report.place(Place::There).n_void), (3, 1));
    assert_eq!(report.days[0].n, [1, 2, 0, 1]);
    // What was spent is spent.
    assert_eq!((report.energy[0].uj.n, report.bytes()[0]), (2, 300));
    let said = words(&report);
    for line in [
        "4 requests from 1970-01-02 to 1970-01-02\n",
        "answered here        1 of 3 (33.3 %)\n",
        "here                 2 answers (1 replaced), ",
        "there                3 answers (1 that never came), ",
        "refused              1 request, to be answered elsewhere, and kept\n",
    ] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
    assert!(page(&report).contains("<td>2 (1 replaced)</td>"), "{}", page(&report));
}

#[test]
fn days_are_those_of_the_users_clocks() {
    fn east(_: u64) -> i64 {
        5 * 3_600_000
    }
    let book = Book::default();
    let mut tally = Tally::new(&book, None, east);
    for at_ms in [19 * 3_600_000 - 1, 19 * 3_600_000] {
        tally.add(&here(at_ms, [1, 1, 1]));
    }
    let report = tally.finish(&Faults::default());
    let days: Vec<&str> = report.days.iter().map(|day| day.date.as_str()).collect();
    assert_eq!(
        (days, report.dates),
        (vec!["1970-01-01", "1970-01-02"], Some(["1970-01-01", "1970-01-02"].map(str::to_owned)))
    );
}

#[test]
fn the_page_stands_alone_and_shows_what_there_is() {
    let mut rows = many();
    rows[0].money = Some(Money {
        nano: Interval::exactly(5),
        currency: "EUR".into(),
        source: "<script>alert(1)</script>".into(),
        date: "2026-01-01".into(),
    });
    for rows in [&rows[..], &rows[..1], &[]] {
        let report = report(rows, &Book::default());
        let page = page(&report);
        for outside in ["<script", "http:", "https:", "url(", "@import", "<link", "NaN", "inf\"", "-inf"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg viewBox=\"0 0 840").count(), 3);
        assert_eq!(
            page.matches("class=\"bounds\"").count(),
            report.energy.len() + report.energy_compared.len()
        );
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
}

/// Texts that are nearly `text`: bytes changed, cut, doubled.
fn nearly(text: &str, mut see: impl FnMut(&[u8])) {
    let mut random = 99_u64;
    let mut next = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n
    };
    let pieces =
        ["\"", "[", "{", "-1", "1e99", "18446744073709551615", "nan", "\u{e9}", ",", "\n", "=", "'''"];
    for _ in 0..20_000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=next(3) {
            let at = next(bytes.len().max(1));
            let to = (at + next(12)).min(bytes.len());
            match next(3) {
                0 => drop(bytes.splice(at..to, pieces[next(pieces.len())].bytes())),
                1 => bytes.truncate(to),
                _ => bytes.extend_from_within(at..to),
            }
        }
        see(&bytes);
    }
}

#[test]
fn rows_and_books_that_are_nearly_right_are_refused_in_a_sentence_or_add_up() {
    let [source, date] = ["s", "2026-01-01"].map(str::to_owned);
    let full = Row {
        money: Some(Money {
            nano: Interval::exactly(1),
            currency: "EUR".into(),
            source: source.clone(),
            date: date.clone(),
        }),
        co2e: Some(Carbon { ug: Interval::exactly(1), source, date }),
        ..here(1, [1, 2, 3])
    };
    let is_sentence = |said: &str| assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
    let (mut n_good, mut n_bad) = (0, 0);
    let book = Book::default();
    let mut tally = Tally::new(&book, None, utc);
    nearly(full.to_line().unwrap().trim(), |bytes| match Row::parse(bytes) {
        Ok(row) => {
            n_good += 1;
            tally.add(&row);
        }
        Err(said) => {
            n_bad += 1;
            is_sentence(&said);
        }
    });
    assert!(n_good > 100 && n_bad > 100, "{n_good} {n_bad}");
    let report = tally.finish(&Faults::default());
    assert!(!words(&report).is_empty() && !page(&report).contains("NaN"));
    let text = "[electricity]\nper_kwh = 0.3\ncurrency = \"EUR\"\nsource = \"s\"\ndate = \"2026-01-01\"\n[cloud]\n\
                short_query_wh = [0.05, 0.28, 1.0]\nprice = \"m\"\n[[price]]\nmodel = \"m\"\ncurrency = \"USD\"\n\
                input_per_million = 1\noutput_per_million = 4\nsource = \"l\"\ndate = \"2026-02-01\"\n";
    let (mut n_good, mut n_bad) = (0, 0);
    nearly(text, |bytes| match Book::parse(&String::from_utf8_lossy(bytes)) {
        Ok(book) => {
            n_good += 1;
            let energy = book.cloud_energy(u64::MAX, 3);
            assert!(energy.uj.low <= energy.uj.value && energy.uj.value <= energy.uj.high);
            let _ =
                (book.electricity_money(&energy), book.carbon(&energy), book.cloud_money("m", u64::MAX, 1));
        }
        Err(said) => {
            n_bad += 1;
            is_sentence(&said);
        }
    });
    assert!(n_good > 100 && n_bad > 100, "{n_good} {n_bad}");
}
