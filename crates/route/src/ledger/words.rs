//! A report for people at a terminal, and amounts in words.

use std::fmt::Write;

use super::amount::{Total, Verdict};
use super::report::{Comparison, PlaceSum, Report};
use super::row::Place;

/// The report in lines.
pub fn words(report: &Report) -> String {
    let mut out = String::new();
    let Some([first, last]) = &report.dates else {
        out.push_str("no requests in this time\n");
        faults(report, &mut out);
        return out;
    };
    add(&mut out, format_args!("{} from {first} to {last}\n", counted(report.n_requests(), "request")));
    let [here, answered] = report.share_here();
    if answered > 0 {
        let percent = here as f64 / answered as f64 * 100.0;
        add(&mut out, format_args!("answered here        {here} of {answered} ({percent:.1} %)\n"));
    }
    for place in report.places.iter().filter(|place| place.n > 0) {
        if place.place == Place::Refused {
            let n = counted(place.n, "request");
            add(
                &mut out,
                format_args!("{:<20} {n}, to be answered elsewhere, and kept\n", place.place.name()),
            );
            continue;
        }
        add(
            &mut out,
            format_args!(
                "{:<20} {}{}, {} tokens in, {} out, {:.1} s, {:.1} s of CPU time\n",
                place.place.name(),
                counted(place.n, "answer"),
                void(place),
                place.tokens_in,
                place.tokens_out,
                place.wall_ms as f64 / 1e3,
                place.cpu_ms as f64 / 1e3,
            ),
        );
    }
    for sum in &report.energy {
        let idle = if sum.key.idle_subtracted { ", without idle power" } else { "" };
        add(
            &mut out,
            format_args!(
                "energy {:<13} {}, {}, {}{idle}\n",
                sum.place.name(),
                joules(&sum.uj),
                sum.method.name(),
                sum.key.scope.name()
            ),
        );
    }
    if report.n_without_energy > 0 {
        let n = counted(report.n_without_energy, "answer");
        add(&mut out, format_args!("without energy       {n}\n"));
    }
    for compared in &report.energy_compared {
        add(
            &mut out,
            format_args!(
                "elsewhere            {} would have taken {}, ESTIMATED, full stack; here {}, {}, {}: {}\n",
                counted(compared.here.n, "answer"),
                joules(&compared.there),
                joules(&compared.here),
                compared.method.name(),
                compared.what,
                verdict(compared),
            ),
        );
    }
    if !report.energy_compared.is_empty() {
        add(&mut out, format_args!("note: {NOT_THE_SAME}\n"));
    }
    for sum in &report.money {
        add(
            &mut out,
            format_args!("money  {:<13} {}\n", sum.place.name(), money(&sum.total, &sum.unit[1..])),
        );
    }
    for compared in &report.money_compared {
        let [here, there] = [&compared.here, &compared.there].map(|total| money(total, &compared.what));
        let n = counted(compared.here.n, "answer");
        let verdict = verdict(compared);
        add(
            &mut out,
            format_args!("elsewhere            {n} would have cost {there}; here {here}: {verdict}\n"),
        );
    }
    for sum in &report.co2e {
        add(&mut out, format_args!("CO2e   {:<13} {}\n", sum.place.name(), grams(&sum.total)));
    }
    let [left, came] = report.bytes();
    let n_sent = report.place(Place::There).n + report.place(Place::Redacted).n;
    add(
        &mut out,
        format_args!("left the device      {left} bytes in {}; {came} came\n", counted(n_sent, "request")),
    );
    for source in &report.sources {
        add(&mut out, format_args!("source               {source}\n"));
    }
    faults(report, &mut out);
    out
}

/// How many of the answers of a place did not stand.
pub(super) fn void(sum: &PlaceSum) -> String {
    let what = if sum.place == Place::Here { "replaced" } else { "that never came" };
    if sum.n_void == 0 { String::new() } else { format!(" ({} {what})", sum.n_void) }
}

fn faults(report: &Report, out: &mut String) {
    for fault in &report.faults {
        add(out, format_args!("note: {fault}\n"));
    }
}

/// What every comparison of energies has to say with it.
pub(super) const NOT_THE_SAME: &str = "the model here and the large ones that the estimate is of are not the same, nor are the \
    scopes: a full stack holds more than a package or a device. The same model moved from a server that answers many at once \
    to a device usually takes more";

/// What may be said of a comparison whose operands stand beside it.
pub(super) fn verdict(of: &Comparison) -> String {
    // What is nearly all is not all.
    let digits = |percent: f64| match percent {
        p if (99.0..100.0).contains(&p) => format!("{:.1}", p.min(99.9)),
        p => format!("{p:.0}"),
    };
    let by = |percent: [f64; 3], word: &str| {
        let [low, value, high] = percent.map(digits);
        format!("{value} % {word} here ({low} to {high} %)")
    };
    match of.verdict {
        Verdict::Less { percent } => by(percent, "less"),
        Verdict::More { percent } => by(percent, "more"),
        Verdict::NotDistinguishable => "not distinguishable".to_owned(),
    }
}

/// `12.3 kJ (4.1 to 40.2)`
pub fn joules(total: &Total) -> String {
    let (unit, of) = unit(total, &[("J", 1e6), ("kJ", 1e9), ("MJ", 1e12), ("GJ", 1e15)]);
    bounds(total, of, unit)
}

/// Money in its currency: `0.0123 EUR (0.0041 to 0.0402)`.
pub fn money(total: &Total, currency: &str) -> String {
    bounds(total, 1e9, currency)
}

/// Emissions: `1.2 g (0.4 to 4.0)`.
pub(super) fn grams(total: &Total) -> String {
    let (unit, of) = unit(total, &[("mg", 1e3), ("g", 1e6), ("kg", 1e9)]);
    bounds(total, of, unit)
}

/// The largest unit in which the value is 1 or more.
fn unit(total: &Total, units: &[(&'static str, f64)]) -> (&'static str, f64) {
    let fits = units.iter().rev().find(|(_, of)| total.value as f64 >= *of);
    *fits.unwrap_or(&units[0])
}

fn bounds(total: &Total, of: f64, unit: &str) -> String {
    let [low, value, high] = [total.low, total.value, total.high].map(|n| digits(n as f64 / of));
    if low == high { format!("{value} {unit}") } else { format!("{value} {unit} ({low} to {high})") }
}

/// Three digits that count, or all before the point.
fn digits(n: f64) -> String {
    match n {
        0.0 => "0".to_owned(),
        n if n >= 100.0 => format!("{n:.0}"),
        n => {
            let n_digits = (2.0 - n.log10().floor()).clamp(0.0, 9.0) as usize;
            format!("{n:.n_digits$}")
        }
    }
}

fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

pub(super) fn add(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a text takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits_and_a_fitting_unit() {
        let total = |low, value, high| Total { low, value, high, n: 1 };
        assert_eq!(joules(&total(411_000, 1_230_000, 4_000_000)), "1.23 J (0.411 to 4.00)");
        assert_eq!(joules(&total(0, 12_345_678_900, 1_234_567_890_000)), "12.3 kJ (0 to 1235)");
        assert_eq!(joules(&total(5_000_000, 5_000_000, 5_000_000)), "5.00 J");
        assert_eq!(joules(&Total::default()), "0 J");
        assert_eq!(money(&total(10_000, 20_000, 30_000), "EUR"), "0.0000200 EUR (0.0000100 to 0.0000300)");
        assert_eq!(grams(&total(1, 2_500_000, 9_000_000)), "2.50 g (0.00000100 to 9.00)");
    }
}
