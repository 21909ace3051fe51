//! The balance of many rows: what was answered where, what it took and cost, what left the device, and what the answers
//! given here would have taken elsewhere.
//!
//! Every sum is over one place and one kind of thing: energies of different scopes, and of one scope with and without idle power, stand
//! side by side and are never added, and neither are currencies. What was used here is held against the estimate for the same
//! rows elsewhere, both with their bounds; where these overlap the verdict is that the two can't be distinguished, and
//! a percentage exists only inside a [`Comparison`], beside both its operands. What was spent on answers that did not stand is in every
//! sum; they are no answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::amount::{EnergyKey, Method, Total, Verdict, compare};
use super::book::Book;
use super::file::Faults;
use super::row::{Instead, Place, Row};
use super::time::{DAY_MS, Zone, date_of, wall_ms};

/// Adds up rows.
#[derive(Debug)]
pub struct Tally<'a> {
    book: &'a Book,
    since_ms: Option<u64>,
    zone: Zone,
    report: Report,
    energy: BTreeMap<(Place, EnergyKey), EnergySum>,
    elsewhere: BTreeMap<EnergyKey, [Total; 2]>,
    money: BTreeMap<(Place, String), Sum>,
    money_elsewhere: BTreeMap<String, [Total; 2]>,
    carbon: BTreeMap<Place, Sum>,
    days: BTreeMap<u64, Day>,
    sources: BTreeSet<String>,
}

/// The balance.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// When the first row ended, in milliseconds since 1970.
    pub first_ms: Option<u64>,
    /// When the last row ended.
    pub last_ms: Option<u64>,
    /// The days of these.
    pub dates: Option<[String; 2]>,
    /// Requests, tokens and bytes by place.
    pub places: Vec<PlaceSum>,
    /// Energy by place and kind.
    pub energy: Vec<EnergySum>,
    /// Rows of answers without energy.
    pub n_without_energy: u64,
    /// What was used here, and what the same answers would have taken elsewhere.
    pub energy_compared: Vec<Comparison>,
    /// Money by place and currency.
    pub money: Vec<Sum>,
    /// The same for money.
    pub money_compared: Vec<Comparison>,
    /// Emissions by place, in micrograms of CO2 equivalents.
    pub co2e: Vec<Sum>,
    /// The last days there are rows of.
    pub days: Vec<Day>,
    /// What the estimates rest on: a source and its day each.
    pub sources: Vec<String>,
    /// Lines of the ledger that are no rows.
    pub faults: Vec<String>,
}

/// Requests of one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlaceSum {
    /// Which.
    pub place: Place,
    /// Rows: of answers, and of what was spent on none.
    pub n: u64,
    /// Of these, those whose answer did not stand: from here, and replaced; from elsewhere, and none came.
    pub n_void: u64,
    /// Tokens of prompts.
    pub tokens_in: u64,
    /// Tokens of answers.
    pub tokens_out: u64,
    /// Milliseconds from beginning to end.
    pub wall_ms: u64,
    /// Milliseconds of CPU time.
    pub cpu_ms: u64,
    /// Bytes that left the device.
    pub bytes_out: u64,
    /// Bytes that came.
    pub bytes_in: u64,
}

impl PlaceSum {
    fn none(place: Place) -> Self {
        let (n, n_void, tokens_in, tokens_out, wall_ms, cpu_ms, bytes_out, bytes_in) =
            (0, 0, 0, 0, 0, 0, 0, 0);
        Self { place, n, n_void, tokens_in, tokens_out, wall_ms, cpu_ms, bytes_out, bytes_in }
    }

    /// Requests that ended so.
    pub fn n_requests(&self) -> u64 {
        self.n.saturating_sub(self.n_void)
    }
}

/// Energy of one place and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EnergySum {
    /// Which place.
    pub place: Place,
    /// Which kind.
    #[serde(flatten)]
    pub key: EnergyKey,
    /// The worst method among the rows.
    pub method: Method,
    /// Microjoules.
    pub uj: Total,
}

/// Money of one place and currency, or emissions of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Which place.
    pub place: Place,
    /// The unit: a currency's billionths, or micrograms of CO2 equivalents.
    pub unit: String,
    /// How much.
    pub total: Total,
}

/// What answers took here, and would have taken elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The scope of what was used here, or the currency.
    pub what: String,
    /// How the former is known.
    pub method: Method,
    /// Here.
    pub here: Total,
    /// Elsewhere, ESTIMATED.
    pub there: Total,
    /// What may be said.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// One day, as clocks have it where the user is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// Requests by where they were answered, in the order of [`Place::ALL`].
    pub n: [u64; 4],
    /// Bytes that left the device.
    pub bytes_out: u64,
}

/// The most days that are shown one by one.
const DAYS_MAX: usize = 92;
/// The most sources that are named.
const SOURCES_MAX: usize = 16;

impl<'a> Tally<'a> {
    /// Of rows from `since_ms` on, by the figures of `book` and the days of `zone`.
    pub fn new(book: &'a Book, since_ms: Option<u64>, zone: Zone) -> Self {
        let report = Report { places: Place::ALL.map(PlaceSum::none).to_vec(), ..Report::default() };
        Self {
            book,
            since_ms,
            zone,
            report,
            energy: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            money: BTreeMap::new(),
            money_elsewhere: BTreeMap::new(),
            carbon: BTreeMap::new(),
            days: BTreeMap::new(),
            sources: BTreeSet::new(),
        }
    }

    /// One more row.
    pub fn add(&mut self, row: &Row) {
        if self.since_ms.is_some_and(|since| row.at_ms < since) {
            return;
        }
        let report = &mut self.report;
        report.first_ms = Some(report.first_ms.map_or(row.at_ms, |first| first.min(row.at_ms)));
        report.last_ms = Some(report.last_ms.map_or(row.at_ms, |last| last.max(row.at_ms)));
        if row.instead == Some(Instead::OfHere) {
            report.places[Place::Here as usize].n_void += 1;
        }
        let sum = &mut report.places[row.place as usize];
        sum.n += 1;
        sum.n_void += u64::from(row.instead == Some(Instead::NoAnswer));
        let parts: [(&mut u64, u64); 6] = [
            (&mut sum.tokens_in, row.tokens_in),
            (&mut sum.tokens_out, row.tokens_out),
            (&mut sum.wall_ms, row.wall_ms),
            (&mut sum.cpu_ms, row.cpu_ms.unwrap_or(0)),
            (&mut sum.bytes_out, row.bytes_out),
            (&mut sum.bytes_in, row.bytes_in),
        ];
        parts.into_iter().for_each(|(sum, n)| *sum = sum.saturating_add(n));
        self.add_energy(row);
        self.add_money(row);
        if let Some(carbon) = &row.co2e {
            let unit = || Sum { place: row.place, unit: "ug CO2e".into(), total: Total::default() };
            self.carbon.entry(row.place).or_insert_with(unit).total.add(carbon.ug);
            self.name_source(format!("CO2e: {}, {}", carbon.source, carbon.date));
        }
        let wall_ms = wall_ms(row.at_ms, self.zone);
        let day = self.days.entry(wall_ms / DAY_MS).or_insert_with(|| Day {
            date: date_of(wall_ms),
            n: [0; 4],
            bytes_out: 0,
        });
        day.n[row.place as usize] += u64::from(row.instead != Some(Instead::NoAnswer));
        if row.instead == Some(Instead::OfHere) {
            // Its row is right before, but for midnight.
            let here = &mut day.n[Place::Here as usize];
            *here = here.saturating_sub(1);
        }
        day.bytes_out = day.bytes_out.saturating_add(row.bytes_out);
        if self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
    }

    fn add_energy(&mut self, row: &Row) {
        let Some(energy) = &row.energy else {
            let has_answer = row.place != Place::Refused && row.instead != Some(Instead::NoAnswer);
            self.report.n_without_energy += u64::from(has_answer);
            return;
        };
        let (place, key) = (row.place, energy.key());
        let sum = self.energy.entry((place, key)).or_insert_with(|| EnergySum {
            place,
            key,
            method: energy.method,
            uj: Total::default(),
        });
        sum.method = sum.method.max(energy.method);
        sum.uj.add(energy.uj);
        if place == Place::Here {
            let [here, there] = self.elsewhere.entry(key).or_default();
            here.add(energy.uj);
            there.add(self.book.cloud_energy(row.tokens_in, row.tokens_out).uj);
        }
    }

    fn add_money(&mut self, row: &Row) {
        let Some(money) = &row.money else { return };
        let unit = || Sum { place: row.place, unit: format!("n{}", money.currency), total: Total::default() };
        self.money.entry((row.place, money.currency.clone())).or_insert_with(unit).total.add(money.nano);
        self.name_source(format!("{}: {}, {}", money.currency, money.source, money.date));
        let price = self.book.cloud.price.as_deref().filter(|_| row.place == Place::Here);
        let elsewhere = price.and_then(|model| self.book.cloud_money(model, row.tokens_in, row.tokens_out));
        // Two currencies can't be held against each other.
        if let Some(there) = elsewhere.filter(|there| there.currency == money.currency) {
            let [here, sum] = self.money_elsewhere.entry(money.currency.clone()).or_default();
            here.add(money.nano);
            sum.add(there.nano);
            self.name_source(format!("{}: {}, {}", there.currency, there.source, there.date));
        }
    }

    fn name_source(&mut self, source: String) {
        self.sources.insert(source);
        if self.sources.len() > SOURCES_MAX {
            self.sources.pop_last();
        }
    }

    /// The balance, with what was wrong with the files.
    pub fn finish(mut self, faults: &Faults) -> Report {
        let report = &mut self.report;
        let date = |at_ms: u64| date_of(wall_ms(at_ms, self.zone));
        report.dates = report.first_ms.zip(report.last_ms).map(|(first, last)| [first, last].map(date));
        report.sources = self.sources.into_iter().collect();
        report.energy = self.energy.into_values().collect();
        let method_of = |key: EnergyKey, sums: &[EnergySum]| {
            let here = sums.iter().find(|sum| sum.place == Place::Here && sum.key == key);
            here.map_or(Method::Estimated, |sum| sum.method)
        };
        for (key, [here, there]) in self.elsewhere {
            let idle = if key.idle_subtracted { ", without idle power" } else { "" };
            report.energy_compared.push(Comparison {
                what: format!("{}{idle}", key.scope.name()),
                method: method_of(key, &report.energy),
                here,
                there,
                verdict: compare(&here, &there),
            });
        }
        if !report.energy_compared.is_empty() {
            let cloud = &self.book.cloud;
            report.sources.push(format!("energy elsewhere: {}, {}", cloud.source, cloud.date));
        }
        report.money = self.money.into_values().collect();
        for (currency, [here, there]) in self.money_elsewhere {
            let verdict = compare(&here, &there);
            let what = currency;
            report.money_compared.push(Comparison { what, method: Method::Modelled, here, there, verdict });
        }
        report.co2e = self.carbon.into_values().collect();
        report.days = self.days.into_values().collect();
        if let Some(first) = &faults.first {
            report.faults.push(format!(
                "{} lines of the ledger are no rows and not counted; the first: {first}",
                faults.n_lines
            ));
        }
        if faults.is_torn {
            report.faults.push("the ledger ends in a torn line: a row was not written to its end".to_owned());
        }
        self.report
    }
}

impl Report {
    /// Requests of `place`.
    pub fn place(&self, place: Place) -> PlaceSum {
        self.places.iter().find(|sum| sum.place == place).copied().unwrap_or(PlaceSum::none(place))
    }

    /// Requests, answered or not.
    pub fn n_requests(&self) -> u64 {
        self.places.iter().map(PlaceSum::n_requests).sum()
    }

    /// How many were answered here, and how many were answered at all.
    pub fn share_here(&self) -> [u64; 2] {
        let n = |place| self.place(place).n_requests();
        [n(Place::Here), n(Place::Here) + n(Place::There) + n(Place::Redacted)]
    }

    /// Bytes that left and came, over all places.
    pub fn bytes(&self) -> [u64; 2] {
        let sum = |of: fn(&PlaceSum) -> u64| self.places.iter().map(of).fold(0, u64::saturating_add);
        [sum(|p| p.bytes_out), sum(|p| p.bytes_in)]
    }
}
