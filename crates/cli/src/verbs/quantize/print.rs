//! What `ingle quantize` says: the shelf, the warnings and the outcome.

use std::collections::BTreeMap;
use std::io::Write;

use ingle_compress::export::ENCODINGS;
use ingle_compress::mixture::{MIXTURES, Mixture};
use ingle_compress::plan::{Plan, Why};
use ingle_compress::report::Report;
use ingle_model::file::Contents;
use serde_json::{Value, json};

use super::super::{human_bytes, print_json};
use crate::exit::Failure;

/// The shelf of mixtures.
pub fn list(as_json: bool) -> Result<(), Failure> {
    if as_json {
        let entry = |m: &&Mixture| json!({ "name": m.name, "aliases": m.aliases, "file_type": m.file_type, "format": m.format, "output": m.output, "about": m.about });
        let folders =
            ENCODINGS.iter().map(|e| json!({ "name": e.name, "aliases": e.aliases, "about": e.about }));
        return print_json(&MIXTURES.iter().map(entry).chain(folders).collect::<Vec<_>>());
    }
    let mut out = std::io::stdout().lock();
    for m in MIXTURES {
        let also =
            if m.aliases.is_empty() { String::new() } else { format!(" (also {})", m.aliases.join(", ")) };
        writeln!(out, "{:>3}  {:10} {}{also}", m.file_type, m.name, m.about)?;
    }
    writeln!(out, "folders, with --to safetensors or compressed-tensors:")?;
    for e in ENCODINGS {
        writeln!(out, "     {:10} {}", e.name, e.about)?;
    }
    Ok(())
}

/// What a user should know before or after: lossy input, patterns without effect, formats that did not fit.
pub fn warnings(contents: &Contents, plan: &Plan, allows_requantizing: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut from: BTreeMap<&str, usize> = BTreeMap::new();
    for (tensor, choice) in contents.tensors().iter().zip(&plan.choices) {
        if tensor.format.block > 1 && choice.format != tensor.format {
            *from.entry(tensor.format.name).or_default() += 1;
        }
    }
    if !from.is_empty() && !allows_requantizing {
        let from: Vec<String> = from.iter().map(|(name, n)| format!("{n} in {name}")).collect();
        warnings.push(format!(
            "tensors that are quantised already lose again ({}); a file in 16 bits gives a better one",
            from.join(", ")
        ));
    }
    warnings.extend(
        plan.unused
            .iter()
            .map(|p| format!("--tensor-type {p}: no tensor that can be quantised has such a name")),
    );
    warnings.extend(super::fallbacks(contents, plan));
    warnings
}

/// The outcome and where it came from.
pub struct Outcome<'a> {
    pub input: &'a str,
    /// `None` when nothing was written.
    pub output: Option<String>,
    pub mixture: &'static Mixture,
    pub n_threads: usize,
    pub seconds: f64,
    pub contents: &'a Contents,
    pub plan: &'a Plan,
    pub report: &'a Report,
    pub warnings: &'a [String],
}

impl Outcome<'_> {
    pub fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json { print_json(&self.json()) } else { self.text(&mut std::io::stdout().lock()) }
    }

    fn json(&self) -> Value {
        let r = self.report;
        let loss = r.loss();
        let groups = r.groups.iter().map(|g| {
            let formats: BTreeMap<_, _> = g.formats.iter().copied().collect();
            json!({
                "tensors": g.kind,
                "n_tensors": g.n_tensors,
                "formats": formats,
                "bytes_before": g.bytes_before,
                "bytes_after": g.bytes_after,
                "relative_rmse": g.loss.map(|l| l.relative_rmse()),
            })
        });
        let tensors = self.contents.tensors().iter().zip(&self.plan.choices).map(|(t, c)| {
            json!({
                "name": t.name,
                "from": t.format.name,
                "to": c.format.name,
                "instead_of": c.instead_of.map(|f| f.name),
                "why": c.why.to_string(),
            })
        });
        json!({
            "input": self.input,
            "output": self.output,
            "type": self.mixture.name,
            "file_type": self.mixture.file_type,
            "n_threads": self.n_threads,
            "seconds": self.seconds,
            "n_values": r.n_values,
            "file_bytes": r.n_file_bytes,
            "bytes_before": r.bytes_before,
            "bytes_after": r.bytes_after,
            "bits_per_weight_before": r.bits_per_weight(r.bytes_before),
            "bits_per_weight_after": r.bits_per_weight(r.bytes_after),
            "relative_rmse": self.output.as_ref().map(|_| loss.relative_rmse()),
            "n_not_finite": self.output.as_ref().map(|_| loss.n_not_finite),
            "without_importance": r.without_importance,
            "warnings": self.warnings,
            "groups": groups.collect::<Vec<_>>(),
            "tensors": tensors.collect::<Vec<_>>(),
        })
    }

    fn text(&self, out: &mut impl Write) -> Result<(), Failure> {
        let r = self.report;
        if self.output.is_none() {
            for (t, c) in self.contents.tensors().iter().zip(&self.plan.choices) {
                let to = if matches!(c.why, Why::Kept(_)) { "-" } else { c.format.name };
                writeln!(out, "{:40} {:>6} {to:>6}  {}", t.name, t.format.name, c.why)?;
            }
            writeln!(out)?;
        }
        writeln!(
            out,
            "{:24} {:>6} {:>10} {:>10} {:>9}  formats",
            "tensors", "number", "before", "after", "error"
        )?;
        for g in &r.groups {
            let error = g.loss.map_or("-".into(), |l| format!("{:.3} %", l.relative_rmse() * 100.0));
            let formats: Vec<String> = g
                .formats
                .iter()
                .map(
                    |(name, n)| if g.formats.len() > 1 { format!("{name} x{n}") } else { (*name).to_owned() },
                )
                .collect();
            let (before, after) = (human_bytes(g.bytes_before), human_bytes(g.bytes_after));
            writeln!(
                out,
                "{:24} {:>6} {before:>10} {after:>10} {error:>9}  {}",
                g.kind,
                g.n_tensors,
                formats.join(", ")
            )?;
        }
        let sizes =
            |bytes| format!("{} ({:.2} bits per weight)", human_bytes(bytes), r.bits_per_weight(bytes));
        writeln!(out, "\nweights  {} before, {} after", sizes(r.bytes_before), sizes(r.bytes_after))?;
        let Some(output) = &self.output else {
            writeln!(out, "file     {} would be written", human_bytes(r.n_file_bytes))?;
            return Ok(());
        };
        let loss = r.loss();
        writeln!(
            out,
            "error    {:.3} % of the root mean square of what was encoded",
            loss.relative_rmse() * 100.0
        )?;
        if loss.n_not_finite > 0 {
            writeln!(out, "NaN      {} values are not finite numbers", loss.n_not_finite)?;
        }
        if let [first, rest @ ..] = r.without_importance.as_slice() {
            let more =
                if rest.is_empty() { String::new() } else { format!(" and {} more tensors", rest.len()) };
            writeln!(out, "no importances for {first}{more}")?;
        }
        let (size, seconds, n) = (human_bytes(r.n_file_bytes), self.seconds, self.n_threads);
        writeln!(out, "file     {output}, {size}, {}, {seconds:.1} s on {n} threads", self.mixture.name)?;
        Ok(())
    }
}
