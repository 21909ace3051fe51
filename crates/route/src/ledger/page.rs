//! A report as a page: an HTML file with SVG drawings and the numbers they are of, nothing from outside and no scripts.
//!
//! Three drawings: energy here and elsewhere, a bar at the best guess and a line from the least to the most, in powers of ten, dashed
//! where it is what the answers given here would have taken elsewhere; the requests of each day by where they were answered; the bytes that left on each day. A kind of energy has a row of its own and
//! no bar is a sum over two.

use super::amount::Total;
use super::report::Report;
use super::row::Place;
use super::words::{NOT_THE_SAME, add, grams, joules, money, verdict, void};

/// Of a drawing.
const WIDTH: f64 = 840.0;
/// Of a row of the first drawing.
const ROW: f64 = 46.0;
/// Of the drawings by day.
const HEIGHT: f64 = 200.0;
/// Around them: left, right, above, below.
const MARGINS: [f64; 4] = [190.0, 20.0, 14.0, 34.0];
/// Left of the drawings by day.
const LEFT: f64 = 64.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1a1a1a;background:#fff}.drawing,.wide{overflow-x:auto}.drawing svg{width:100%;min-width:34rem;height:auto}td,th,.place{white-space:nowrap}.swatch{width:.8em;margin-left:.8em}table{border-collapse:collapse;width:100%}\
td,th{text-align:right;padding:.2rem .6rem;border-bottom:1px solid #ccc}th:first-child,td:first-child{text-align:left}\
.axis{stroke:#999;fill:none}.grid{stroke:#ddd}text{fill:currentColor;font-size:13px}.bounds{stroke:currentColor;stroke-width:2}\
.here{fill:#2a6fb0}.there{fill:#b0562a}.redacted{fill:#d9a441}.refused{fill:#888}\
.estimate{fill:none;stroke:#b0562a;stroke-width:1.5;stroke-dasharray:4 3}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}.grid{stroke:#333}td,th{border-color:#444}}";

/// The page of `report`.
pub fn page(report: &Report) -> String {
    let [here, answered] = report.share_here();
    let [left, _] = report.bytes();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Ledger</title>\n<style>{STYLE}</style>\n\
         <h1>Ledger</h1>\n<p>Answered here: {here} of {answered}. Left the device: {left} bytes.</p>\n"
    );
    if let Some([first, last]) = &report.dates {
        add(&mut page, format_args!("<p>From {first} to {last}.</p>\n"));
    }
    page.push_str("<h2>Energy</h2>\n");
    page.push_str(&energy(report));
    energy_table(report, &mut page);
    page.push_str("<h2>Requests by day</h2>\n");
    page.push_str(&requests(report));
    legend(&mut page);
    places_table(report, &mut page);
    page.push_str("<h2>What left the device, by day</h2>\n");
    page.push_str(&bytes(report));
    money_table(report, &mut page);
    let notes: Vec<&String> = report.sources.iter().chain(&report.faults).collect();
    if !notes.is_empty() {
        page.push_str("<h2>Sources</h2>\n<ul>\n");
        notes.iter().for_each(|note| add(&mut page, format_args!("<li>{}</li>\n", escaped(note))));
        page.push_str("</ul>\n");
    }
    page.push_str("</html>\n");
    page
}

/// Classes of places, in the order of [`Place::ALL`].
const CLASSES: [&str; 4] = ["here", "there", "redacted", "refused"];

/// Which colour is which place; days are those that have requests.
fn legend(page: &mut String) {
    page.push_str("<p>");
    for (place, class) in Place::ALL.into_iter().zip(CLASSES) {
        let swatch = format!(
            "<svg viewBox=\"0 0 12 12\" class=\"swatch\"><rect class=\"{class}\" width=\"12\" height=\"12\"/></svg>"
        );
        add(page, format_args!("<span class=\"place\">{swatch} {}</span> ", place.name()));
    }
    page.push_str("</p>\n");
}

/// A bar of energy: its name, its class and how much.
type Bar = (String, &'static str, Total);

fn energy(report: &Report) -> String {
    let mut bars: Vec<Bar> = Vec::new();
    for sum in &report.energy {
        let class = CLASSES[sum.place as usize];
        let idle = if sum.key.idle_subtracted { ", no idle" } else { "" };
        bars.push((format!("{}, {}{idle}", sum.place.name(), sum.key.scope.name()), class, sum.uj));
    }
    for compared in &report.energy_compared {
        bars.push((format!("the same {} elsewhere", compared.here.n), "estimate", compared.there));
    }
    let least = bars.iter().map(|(.., uj)| uj.low.max(1)).min().unwrap_or(1);
    let most = bars.iter().map(|(.., uj)| uj.high).max().unwrap_or(1).max(least * 10);
    // Whole powers of ten.
    let [low, high] = [(least as f64).log10().floor(), (most as f64).log10().ceil()];
    let [left, right, above, below] = MARGINS;
    let height = above + below + ROW * bars.len().max(1) as f64;
    let x =
        |uj: f64| left + (uj.max(1.0).log10().clamp(low, high) - low) / (high - low) * (WIDTH - left - right);
    let bottom = height - below;
    let mut svg = begun(height, "energy here and elsewhere");
    for power in low as i32..=high as i32 {
        let at = x(10f64.powi(power));
        add(&mut svg, format_args!("<path class=\"grid\" d=\"M{at:.1} {above}V{bottom}\"/>"));
        let uj = 10u128.saturating_pow(u32::try_from(power).unwrap_or(0));
        let anchor = if power == high as i32 { "end" } else { "middle" };
        mark(&mut svg, [at, bottom + 18.0], anchor, &joules(&Total { low: uj, value: uj, high: uj, n: 1 }));
    }
    for (i, (name, class, uj)) in bars.iter().enumerate() {
        let top = above + ROW * i as f64 + 8.0;
        let middle = top + (ROW - 16.0) / 2.0;
        let [low, value, high] = [uj.low, uj.value, uj.high].map(|uj| x(uj as f64));
        let title = format!("{name}: {}", joules(uj));
        bar(&mut svg, class, [left, top, value - left, ROW - 16.0], &title);
        add(&mut svg, format_args!("<path class=\"bounds\" d=\"M{low:.1} {middle:.1}H{high:.1}\"/>"));
        mark(&mut svg, [left - 8.0, middle + 4.0], "end", name);
    }
    svg.push_str("</svg></div>\n");
    svg
}

/// Requests of each day, the places on top of each other.
fn requests(report: &Report) -> String {
    let most = report.days.iter().map(|day| day.n.iter().sum::<u64>()).max().unwrap_or(0);
    by_day(report, "requests by day", most, |svg, i, [left, width], y| {
        let day = &report.days[i];
        let mut below = 0;
        for (k, n) in day.n.iter().enumerate().filter(|(_, n)| **n > 0) {
            let [top, bottom] = [below + n, below].map(y);
            below += n;
            let title = format!("{}: {n} {}", day.date, Place::ALL[k].name());
            bar(svg, CLASSES[k], [left, top, width, bottom - top], &title);
        }
    })
}

fn bytes(report: &Report) -> String {
    let most = report.days.iter().map(|day| day.bytes_out).max().unwrap_or(0);
    by_day(report, "bytes that left by day", most, |svg, i, [left, width], y| {
        let day = &report.days[i];
        let [top, bottom] = [day.bytes_out, 0].map(y);
        let title = format!("{}: {} bytes", day.date, day.bytes_out);
        bar(svg, "there", [left, top, width, bottom - top], &title);
    })
}

/// A drawing with a place for every day, from nothing to `most`, which `fill` draws into.
fn by_day(
    report: &Report,
    label: &str,
    most: u64,
    mut fill: impl FnMut(&mut String, usize, [f64; 2], &dyn Fn(u64) -> f64),
) -> String {
    let [_, right, above, below] = MARGINS;
    let bottom = HEIGHT - below;
    let y = |n: u64| bottom - n as f64 / most.max(1) as f64 * (bottom - above);
    let mut svg = begun(HEIGHT, label);
    let mut marks = vec![0, most / 2, most];
    marks.dedup();
    for n in marks {
        let at = y(n);
        add(&mut svg, format_args!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/>", WIDTH - right));
        mark(&mut svg, [LEFT - 8.0, at + 4.0], "end", &n.to_string());
    }
    let width = (WIDTH - LEFT - right) / report.days.len().max(1) as f64;
    for i in 0..report.days.len() {
        let bar_width = (width * 0.8).min(60.0);
        fill(&mut svg, i, [LEFT + width * i as f64 + (width - bar_width) / 2.0, bar_width], &y);
    }
    let ends = [report.days.first(), report.days.last()];
    if let [Some(first), Some(last)] = ends {
        if first.date == last.date {
            mark(&mut svg, [(LEFT + WIDTH - right) / 2.0, bottom + 18.0], "middle", &first.date);
        } else {
            mark(&mut svg, [LEFT, bottom + 18.0], "start", &first.date);
            mark(&mut svg, [WIDTH - right, bottom + 18.0], "end", &last.date);
        }
    }
    svg.push_str("</svg></div>\n");
    svg
}

fn energy_table(report: &Report, page: &mut String) {
    page.push_str(
        "<div class=\"wide\"><table>\n<tr><th>where</th><th>answers</th><th>energy</th><th>of</th><th>how known</th></tr>\n",
    );
    for sum in &report.energy {
        let idle = if sum.key.idle_subtracted { ", without idle power" } else { "" };
        let (place, scope, method) = (sum.place.name(), sum.key.scope.name(), sum.method.name());
        let (n, uj) = (sum.uj.n, joules(&sum.uj));
        add(
            page,
            format_args!(
                "<tr><td>{place}</td><td>{n}</td><td>{uj}</td><td>{scope}{idle}</td><td>{method}</td></tr>\n"
            ),
        );
    }
    page.push_str("</table></div>\n");
    if !report.energy_compared.is_empty() {
        add(page, format_args!("<p>Note: {NOT_THE_SAME}.</p>\n"));
    }
    for compared in &report.energy_compared {
        add(
            page,
            format_args!(
                "<p>The {} answers given here took {} ({}, {}). Elsewhere they would have taken {} (ESTIMATED, full \
                 stack): {}.</p>\n",
                compared.here.n,
                joules(&compared.here),
                compared.method.name(),
                escaped(&compared.what),
                joules(&compared.there),
                verdict(compared)
            ),
        );
    }
}

fn places_table(report: &Report, page: &mut String) {
    page.push_str(
        "<div class=\"wide\"><table>\n<tr><th>where</th><th>answers</th><th>tokens in</th><th>tokens out</th><th>seconds</th>\
         <th>CPU seconds</th><th>bytes out</th><th>bytes in</th></tr>\n",
    );
    for p in report.places.iter().filter(|place| place.n > 0) {
        let [wall, cpu] = [p.wall_ms, p.cpu_ms].map(|ms| ms as f64 / 1e3);
        add(
            page,
            format_args!(
                "<tr><td>{}</td><td>{}{}</td><td>{}</td><td>{}</td><td>{wall:.1}</td><td>{cpu:.1}</td><td>{}</td>\
                 <td>{}</td></tr>\n",
                p.place.name(),
                p.n,
                void(p),
                p.tokens_in,
                p.tokens_out,
                p.bytes_out,
                p.bytes_in
            ),
        );
    }
    page.push_str("</table></div>\n");
}

fn money_table(report: &Report, page: &mut String) {
    if report.money.is_empty() && report.co2e.is_empty() {
        return;
    }
    page.push_str("<h2>Money and CO2 equivalents</h2>\n<div class=\"wide\"><table>\n<tr><th>where</th><th>how much</th></tr>\n");
    let money_rows = report.money.iter().map(|sum| (sum.place, money(&sum.total, &sum.unit[1..])));
    let carbon_rows = report.co2e.iter().map(|sum| (sum.place, format!("{} CO2e", grams(&sum.total))));
    for (place, amount) in money_rows.chain(carbon_rows) {
        let (place, amount) = (place.name(), escaped(&amount));
        add(page, format_args!("<tr><td>{place}</td><td>{amount}</td></tr>\n"));
    }
    page.push_str("</table></div>\n");
    for compared in &report.money_compared {
        let [here, there] = [&compared.here, &compared.there].map(|sum| escaped(&money(sum, &compared.what)));
        let (n, verdict) = (compared.here.n, verdict(compared));
        add(
            page,
            format_args!(
                "<p>{n} answers given here cost {here}. Elsewhere they would have cost {there}: {verdict}.</p>\n"
            ),
        );
    }
}

fn begun(height: f64, label: &str) -> String {
    format!(
        "<div class=\"drawing\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n"
    )
}

/// A rectangle: left, top, width, height.
fn bar(svg: &mut String, class: &str, [x, y, width, height]: [f64; 4], title: &str) {
    let (width, height) = (width.max(0.0), height.max(0.0));
    add(
        svg,
        format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">"
        ),
    );
    add(svg, format_args!("<title>{}</title></rect>\n", escaped(title)));
}

fn mark(svg: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) {
    let text = escaped(text);
    add(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
