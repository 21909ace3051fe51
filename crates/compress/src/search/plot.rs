//! A search as a page: an HTML file with an SVG drawing, its numbers below it, nothing from outside and no scripts.
//!
//! Size to the right, divergence upwards, in powers of ten. The line is the predicted frontier, a ring what was expected of a mix
//! that was made, the dot that it is tied to what was measured; the chosen one is filled.

use super::{Figures, Found, Trial};
use crate::page::{self, Result, add, escaped};

/// Of the drawing.
const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 480.0;
/// Around it: left, right, above, below.
const MARGINS: [f64; 4] = [72.0, 20.0, 16.0, 48.0];
/// The most marks of an axis.
const MARKS: usize = 8;

/// The page of `found` for the model called `name`, with what became of the choice behind it, once that is made.
pub fn page(name: &str, found: &Found, result: Option<Result<'_>>) -> String {
    let mut page = page::begin(&format!("Formats for {name}"));
    let outcome = match (found.chosen, &result) {
        (Some(_), Some(_)) => "The filled point is the file that was written.",
        (Some(_), None) => "The filled point is what the file will be; it is not written yet.",
        (None, _) => "Nothing that was made holds all of it.",
    };
    add(&mut page, format_args!("<p>Asked: {}. {outcome}</p>\n{}\n", escaped(&asked(found)), drawing(found)));
    page.push_str(
        "<p>Line: predicted frontier. Ring: predicted. Dot: measured.</p>\n<table>\n<tr><th>mix</th><th>round</th>\
         <th>MB</th><th>KLD</th><th>predicted</th><th>speed</th><th>predicted</th><th>off</th><th>holds</th></tr>\n",
    );
    for (i, trial) in found.trials.iter().enumerate() {
        let class = if found.chosen == Some(i) { " class=\"chosen\"" } else { "" };
        let Trial { predicted, measured, .. } = trial;
        add(
            &mut page,
            format_args!(
                "<tr{class}><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.5}</td><td>{:.5}</td><td>{:.2}</td>\
                 <td>{:.2}</td><td>{:+.1} %</td><td>{}</td></tr>\n",
                i + 1,
                trial.round,
                measured.bytes as f64 / 1e6,
                measured.kld,
                predicted.kld,
                measured.speed,
                predicted.speed,
                100.0 * trial.speed_off,
                if trial.holds { "yes" } else { "no" },
            ),
        );
    }
    page.push_str("</table>\n<p>Speed is by that of the source, timed in turn with it; off is how far what was measured is from what was predicted.</p>\n");
    if let Some(chosen) = found.chosen {
        page.push_str("<h2>Chosen</h2>\n<table>\n<tr><th>tensor</th><th>format</th></tr>\n");
        for (tensor, format) in &found.trials[chosen].formats {
            add(&mut page, format_args!("<tr><td>{}</td><td>{format}</td></tr>\n", escaped(tensor)));
        }
        page.push_str("</table>\n");
    }
    if let Some(result) = result {
        page::sections(&mut page, result);
    }
    page::end(page)
}

/// The targets in words.
fn asked(found: &Found) -> String {
    let target = &found.target;
    let words = [
        target.size.map(|n| format!("size at most {:.3} MB", n as f64 / 1e6)),
        target.kld.map(|v| format!("divergence at most {v}")),
        target.toks.map(|v| format!("at least {v} tokens a second")),
        target.ram.map(|n| format!("memory at most {:.3} MB", n as f64 / 1e6)),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// From figures to places.
struct Scale {
    /// Bytes.
    x: [f64; 2],
    /// log10 of the divergence.
    y: [f64; 2],
}

impl Scale {
    /// Around what was tried, and what was expected of it.
    fn new(found: &Found) -> Self {
        let all = || found.trials.iter().flat_map(|t| [t.predicted, t.measured]);
        let range = |of: &dyn Fn(Figures) -> f64| {
            let finite = all().map(of).filter(|v| v.is_finite());
            let (low, high) =
                finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
            if low > high {
                return [0.0, 1.0];
            }
            // Wider than nothing even where all are the same.
            let pad = (0.15 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
            [low - pad, high + pad]
        };
        Self { x: range(&|f| f.bytes as f64), y: range(&log_kld) }
    }

    fn x(&self, bytes: f64) -> f64 {
        MARGINS[0] + (bytes - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - MARGINS[0] - MARGINS[1])
    }

    fn y(&self, log_kld: f64) -> f64 {
        MARGINS[2] + (self.y[1] - log_kld) / (self.y[1] - self.y[0]) * (HEIGHT - MARGINS[2] - MARGINS[3])
    }

    fn place(&self, figures: Figures) -> (f64, f64) {
        (self.x(figures.bytes as f64), self.y(log_kld(figures)))
    }
}

fn log_kld(figures: Figures) -> f64 {
    figures.kld.max(1e-12).log10()
}

fn drawing(found: &Found) -> String {
    let scale = Scale::new(found);
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"divergence by size\">\n");
    let (left, right) = (MARGINS[0], WIDTH - MARGINS[1]);
    let (above, below) = (MARGINS[2], HEIGHT - MARGINS[3]);
    for bytes in marks(scale.x) {
        let (x, mb) = (scale.x(bytes), bytes / 1e6);
        add(&mut svg, format_args!("<path class=\"grid\" d=\"M{x:.1} {above}V{below}\"/>"));
        add(
            &mut svg,
            format_args!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mb}</text>\n", below + 18.0),
        );
    }
    for log in marks(scale.y) {
        let (y, kld) = (scale.y(log), 10f64.powf(log));
        add(&mut svg, format_args!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>"));
        add(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{kld:.2e}</text>\n",
                left - 6.0,
                y + 4.0
            ),
        );
    }
    add(&mut svg, format_args!("<path class=\"axis\" d=\"M{left} {above}V{below}H{right}\"/>\n"));
    let middle = (left + right) / 2.0;
    add(
        &mut svg,
        format_args!("<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">MB</text>\n", HEIGHT - 8.0),
    );
    add(&mut svg, format_args!("<text x=\"{left}\" y=\"12\">KLD, nats a token</text>\n"));
    let is_inside = |(x, y): &(f64, f64)| (left..=right).contains(x) && (above..=below).contains(y);
    let line: Vec<String> = hull(&found.frontier)
        .map(|figures| scale.place(figures))
        .filter(is_inside)
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    add(&mut svg, format_args!("<polyline class=\"line\" points=\"{}\"/>\n", line.join(" ")));
    for (i, trial) in found.trials.iter().enumerate() {
        let ((ax, ay), (bx, by)) = (scale.place(trial.predicted), scale.place(trial.measured));
        let (class, radius) = if found.chosen == Some(i) { ("pick", 7) } else { ("dot", 4) };
        let n = i + 1;
        add(&mut svg, format_args!("<path class=\"tie\" d=\"M{ax:.1} {ay:.1}L{bx:.1} {by:.1}\"/>"));
        add(&mut svg, format_args!("<circle class=\"ring\" cx=\"{ax:.1}\" cy=\"{ay:.1}\" r=\"5\"/>"));
        add(
            &mut svg,
            format_args!("<circle class=\"{class}\" cx=\"{bx:.1}\" cy=\"{by:.1}\" r=\"{radius}\">"),
        );
        add(
            &mut svg,
            format_args!(
                "<title>mix {n}</title></circle><text x=\"{:.1}\" y=\"{:.1}\">{n}</text>\n",
                bx + 8.0,
                by - 6.0
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Of figures from few bytes to many, those that have less divergence than all before: speed makes others best too.
fn hull(frontier: &[Figures]) -> impl Iterator<Item = Figures> {
    let mut least = f64::INFINITY;
    frontier.iter().copied().filter(move |figures| {
        let is_less = figures.kld < least;
        least = least.min(figures.kld);
        is_less
    })
}

/// Round numbers in a range: 1, 2 or 5 and zeros apart.
fn marks([low, high]: [f64; 2]) -> Vec<f64> {
    let least = (high - low) / MARKS as f64;
    let power = 10f64.powf(least.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= least).unwrap_or(least);
    let first = (low / step).ceil() as i64;
    (0..=MARKS as i64).map(|i| (first + i) as f64 * step).filter(|v| *v <= high).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Formats;
    use super::super::target::Target;
    use super::*;

    fn found() -> Found {
        let figures = |kld, bytes| Figures { kld, bytes, speed: 2.0 };
        let trial = |kld, bytes| Trial {
            round: 0,
            predicted: figures(kld * 1.1, bytes),
            measured: Figures { speed: 2.1, ..figures(kld, bytes) },
            speed_off: 0.05,
            holds: true,
            formats: Formats::from([("blk.0.<b>.weight".into(), "q4_K".into())]),
            mix: vec![0],
        };
        Found {
            target: Target { size: Some(3_000_000), ..Target::default() },
            trials: vec![trial(0.05, 2_500_000), trial(0.02, 3_000_000)],
            chosen: Some(1),
            frontier: vec![figures(0.06, 2_500_000), figures(0.07, 2_600_000), figures(0.02, 3_000_000)],
            corrections: Default::default(),
        }
    }

    #[test]
    fn the_page_stands_alone_and_shows_every_trial() {
        let page = page("a <model> & more", &found(), None);
        for outside in ["<script", "http:", "https:", "url(", "@import", "<link", "<model>", "<b>"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a &lt;model&gt; &amp; more") && page.contains("size at most 3.000 MB"));
        assert_eq!((page.matches("<circle").count(), page.matches("<td>+5.0 %</td>").count()), (4, 2));
        assert_eq!(page.matches("class=\"pick\"").count(), 1);
        assert!(page.contains("it is not written yet") && !page.contains("that was written"));
        // Of three points of the frontier, the one that is worse than a smaller one is not on the line.
        let line = page.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(line.split(' ').count(), 2, "{line}");
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn an_empty_search_is_drawn_too() {
        let page = page("m", &Found { trials: Vec::new(), chosen: None, ..found() }, None);
        assert!(page.contains("Nothing that was made") && !page.contains("NaN"));
    }

    #[test]
    fn trials_that_are_all_alike_are_drawn_too() {
        for kld in [0.02, 0.0, 1.0] {
            let mut alike = found();
            for trial in &mut alike.trials {
                trial.predicted = Figures { kld, bytes: 3_000_000_000, speed: 2.0 };
                trial.measured = trial.predicted;
            }
            alike.frontier.clear();
            let scale = Scale::new(&alike);
            for range in [scale.x, scale.y] {
                assert!(range[0] < range[1] && marks(range).len() > 2, "{range:?}");
            }
            let page = page("m", &alike, None);
            assert!(!page.contains("NaN") && !page.contains("inf"));
        }
    }

    #[test]
    fn marks_are_round_and_inside() {
        assert_eq!(marks([0.0, 1.0]), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        for range in [[2_512_345.0, 3_198_765.0], [-2.3, -1.1], [0.0, 1e-6]] {
            let marks = marks(range);
            assert!((3..=MARKS + 1).contains(&marks.len()), "{range:?}: {marks:?}");
            assert!(marks.iter().all(|v| (range[0]..=range[1]).contains(v)));
        }
    }
}
