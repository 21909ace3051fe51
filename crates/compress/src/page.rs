//! Reports as pages that open from disk: HTML with its style inside, nothing from outside and no scripts.
//!
//! [`of_result`] is the page of a file that was made: what the program says of it in lines, and a row for every tensor. The page of a
//! search is [`crate::search::plot`]'s, with the same behind it.

use std::fmt::Write;

use crate::report::{OfTensor, Report};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1a1a1a;background:#fff}svg{width:100%;height:auto}table{border-collapse:collapse;width:100%}\
td,th{text-align:right;padding:.2rem .6rem;border-bottom:1px solid #ccc}th:first-child,td:first-child{text-align:left}\
pre{overflow-x:auto}\
.chosen{font-weight:bold}.axis{stroke:#999;fill:none}.grid{stroke:#ddd}text{fill:currentColor;font-size:13px}\
.line{stroke:#2a6fb0;fill:none;stroke-width:1.5}.tie{stroke:#b0562a;stroke-dasharray:2 2}\
.ring{fill:none;stroke:#2a6fb0;stroke-width:1.5}.dot{fill:#b0562a}.pick{fill:#b0562a;stroke:currentColor;stroke-width:2}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}.grid{stroke:#333}td,th{border-color:#444}}";

/// A result as it is told.
#[derive(Debug, Clone, Copy)]
pub struct Result<'a> {
    /// What the program says of it, in lines.
    pub lines: &'a str,
    /// What its tensors lost.
    pub report: &'a Report,
    /// What the errors of weights measure: [`crate::recipe::Recipe::measure`].
    pub measure: &'a str,
}

/// The page of a result made of the model called `name`.
pub fn of_result(name: &str, result: Result<'_>) -> String {
    let mut page = begin(&format!("{name}, compressed"));
    sections(&mut page, result);
    end(page)
}

/// The beginning of a page, up to its first heading.
pub(crate) fn begin(title: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n<h1>{title}</h1>\n"
    )
}

/// The page, whole.
pub(crate) fn end(mut page: String) -> String {
    page.push_str("</html>\n");
    page
}

/// A result: its lines, and its tensors.
pub(crate) fn sections(page: &mut String, Result { lines, report, measure }: Result<'_>) {
    add(page, format_args!("<h2>Result</h2>\n<pre>{}</pre>\n<h2>Tensors</h2>\n", escaped(lines)));
    add(page, format_args!("<p>Error of weights: {}.</p>\n", escaped(measure)));
    let inputs = report.inputs().is_some();
    let mut heads = String::from("<th>tensor</th><th>format</th><th>bytes</th><th>weights</th>");
    if inputs {
        page.push_str(
            "<p>Error of outputs: what rounding inputs to 8 bits changes of them, measured on inputs from calibration, as they are and \
             with scale moved into the weights.</p>\n",
        );
        heads.push_str("<th>outputs, as they are</th><th>scale moved</th>");
    }
    add(page, format_args!("<table>\n<tr>{heads}</tr>\n"));
    let percent = |v: f64| format!("{:.3} %", 100.0 * v);
    for OfTensor { name, format, bytes, loss, inputs: of_inputs } in &report.tensors {
        let weights = loss.map_or_else(|| "as it was".into(), |loss| percent(loss.relative_rmse()));
        add(
            page,
            format_args!("<tr><td>{}</td><td>{format}</td><td>{bytes}</td><td>{weights}</td>", escaped(name)),
        );
        if inputs {
            let [without, with] = of_inputs.map_or_else(Default::default, |i| i.relative().map(percent));
            add(page, format_args!("<td>{without}</td><td>{with}</td>"));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(crate) fn add(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a text takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::RoundedInputs;
    use crate::report::Loss;

    #[test]
    fn the_page_of_a_result_stands_alone_and_has_a_row_for_every_tensor() {
        let mut report = Report::default();
        let loss = Some(Loss { error: 1.0, energy: 10_000.0, n_not_finite: 0 });
        report.add("blk.0.<b>.weight", "q8_0", 100, (200, 106), loss);
        let without =
            of_result("a <model>", Result { lines: "so & so", report: &report, measure: "a measure" });
        assert!(!without.contains("scale moved"));
        report.set_inputs(Some(RoundedInputs { n_inputs: 4, energy: 100.0, without: 0.04, with: 0.01 }));
        report.add("output_norm.weight", "f32", 10, (40, 40), None);
        let page = of_result("a <model>", Result { lines: "so & so", report: &report, measure: "a measure" });
        for outside in ["<script", "http:", "https:", "url(", "@import", "<link", "<model>", "<b>"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("<td>blk.0.&lt;b&gt;.weight</td><td>q8_0</td><td>106</td><td>1.000 %</td>"));
        assert!(page.contains("<td>2.000 %</td><td>1.000 %</td></tr>"), "{page}");
        assert!(page.contains("<td>as it was</td><td></td><td></td>") && page.contains("so &amp; so"));
        assert!(page.ends_with("</html>\n"));
    }
}
