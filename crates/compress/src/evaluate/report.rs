//! An evaluation as data, for JSON, and as a table, for people.

use std::fmt;

use serde::Serialize;

use super::compare::{self, Difference};
use super::estimate::Estimate;
use super::protocol::{Protocol, Text};
use super::scores::{Divergence, Scores};
use super::tasks::Task;

/// What was measured of a model; what was not is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The model.
    pub model: String,
    /// How the text was cut and scored.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// What the reference is called, where its file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How far the model is from the reference.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Divergence>,
    /// Right answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    /// Bytes of the model's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// The most memory that was resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram_bytes: Option<u64>,
    /// Speed, of what the caller says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_s: Option<Estimate>,
    /// Another model on the same text and tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Box<Report>>,
    /// This model's figures less the other's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

/// A text as it was scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The perplexity.
    pub ppl: Estimate,
    /// Its protocol, without which it says nothing.
    pub protocol: &'static Protocol,
    /// Tokens of a window.
    pub ctx: usize,
    /// Windows.
    pub n_chunks: usize,
    /// Tokens scored.
    pub n_tokens: usize,
}

impl Report {
    /// Enters what a run on `text` says.
    pub fn enter(&mut self, text: &Text, scores: &Scores) {
        self.reading = Some(Reading {
            ppl: scores.perplexity(),
            protocol: text.protocol,
            ctx: text.ctx,
            n_chunks: text.n_windows(),
            n_tokens: scores.n_tokens(),
        });
        self.divergence = scores.divergence();
    }

    /// Sets another model beside this one: `scores` are this one's and the other's on one text, where they read one.
    pub fn set_beside(&mut self, other: Self, scores: Option<(&Scores, &Scores)>) {
        self.differences = scores.map(|(a, b)| compare::scores(a, b)).unwrap_or_default();
        self.differences.extend(self.tasks.iter().zip(&other.tasks).map(|(a, b)| compare::task(a, b)));
        self.other = Some(Box::new(other));
    }
}

const NAME: usize = 30;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reading.is_some() || !self.tasks.is_empty() {
            writeln!(f, "{:NAME$}{:>12} ± {:<12} 95 % interval", "", "value", "error")?;
        }
        let mut line = |name: &str, value: &Estimate| writeln!(f, "{name:NAME$}{value}");
        if let Some(reading) = &self.reading {
            line("perplexity", &reading.ppl)?;
        }
        if let Some(d) = &self.divergence {
            line("perplexity of the base", &d.ppl_base)?;
            line("ratio of perplexities", &d.ppl_ratio)?;
            line("ln of their ratio", &d.ln_ppl_ratio)?;
            line("divergence, mean", &d.kld.mean)?;
            line("divergence, median", &d.kld.median)?;
            line("divergence, 99 %", &d.kld.p99)?;
            line("divergence, 99.9 %", &d.kld.p999)?;
            line("divergence, max", &d.kld.max)?;
            line("same best token", &d.top1)?;
            line("RMS change of p(true)", &d.rms_delta_p)?;
            line("mean change of p(true)", &d.mean_delta_p)?;
        }
        for task in &self.tasks {
            line(&format!("{}, of {}", task.name, task.n), &task.accuracy)?;
        }
        if let Some(rate) = &self.tokens_per_s {
            line("tokens a second", rate)?;
        }
        if let Some(Reading { protocol, ctx, n_chunks, n_tokens, .. }) = &self.reading {
            writeln!(f, "protocol {protocol}: {n_tokens} tokens scored in {n_chunks} windows of {ctx}")?;
        }
        if let Some(name) = &self.reference {
            writeln!(f, "base: {name}")?;
        }
        let bytes = |what, n: Option<u64>| n.map(|n| format!("{what} {:.1} MB", n as f64 / 1e6));
        let sizes = [bytes("file", self.file_bytes), bytes("RAM", self.ram_bytes)];
        let sizes: Vec<String> = sizes.into_iter().flatten().collect();
        if !sizes.is_empty() {
            writeln!(f, "{}", sizes.join(", "))?;
        }
        if let Some(other) = &self.other {
            write!(f, "\n{}\n{other}\n{} less {}\n", other.model, self.model, other.model)?;
        }
        for d in &self.differences {
            writeln!(f, "{:NAME$}{:46} {}", d.figure, d.difference.to_string(), d.verdict)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::divergence::Position;
    use super::super::protocol::WHOLE;
    use super::*;

    fn report(model: &str, kld: f64) -> (Report, Scores) {
        let text = Text::new(&WHOLE, 4, vec![0; 40], usize::MAX);
        let mut scores = Scores::new(text.per_window());
        for i in 0..text.n_scored() {
            let kld = kld * (1.0 + f64::from(i as u32 % 5) / 10.0);
            scores.push_position(Position { kld, nll: 1.0, nll_reference: 1.0, same_top: true });
        }
        let mut report = Report { model: model.into(), file_bytes: Some(5_000_000), ..Report::default() };
        report.enter(&text, &scores);
        report.tasks.push(Task::new("sums", vec![true; 20]));
        (report, scores)
    }

    #[test]
    fn a_table_names_its_protocol_and_its_verdicts() {
        let ((mut report, scores), (other, others)) = (report("a.gguf", 0.1), report("b.gguf", 0.2));
        report.set_beside(other, Some((&scores, &others)));
        let text = report.to_string();
        for said in [
            "perplexity                        2.718282 ± 0.000000     2.718282 to 2.718282\n",
            "protocol whole: 30 tokens scored in 10 windows of 4\n",
            "sums, of 20",
            "file 5.0 MB\n",
            "\nb.gguf\n",
            "\na.gguf less b.gguf\n",
            " better\n",
            " no difference shown\n",
        ] {
            assert!(text.contains(said), "{said:?}: {text}");
        }
    }

    #[test]
    fn data_has_each_figure_with_its_error() {
        let (report, _) = report("a.gguf", 0.1);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((json["protocol"].as_str(), json["n_chunks"].as_u64()), (Some("whole"), Some(10)));
        for figure in [&json["ppl"], &json["kld"]["mean"], &json["kld"]["p99"], &json["top1"]] {
            for part in ["value", "se", "low"] {
                assert!(figure[part].is_number(), "{part}: {figure}");
            }
        }
        assert!(json["kld"]["max"]["se"].is_null() && json.get("other").is_none());
        let nothing = serde_json::to_value(Report::default()).unwrap();
        assert_eq!(nothing, serde_json::json!({ "model": "" }));
    }
}
