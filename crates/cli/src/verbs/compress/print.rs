//! What `ingle compress` says of its result.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::super::{human_bytes, print_json};
use super::judged::Outcome;
use crate::env::say;
use crate::exit::Failure;
use crate::rate::clock;

/// What came of it, for people or programs.
pub fn outcome(outcome: &Outcome, as_json: bool) -> Result<(), Failure> {
    let Outcome {
        output,
        written,
        recipe,
        promotions,
        slim,
        report,
        evaluation,
        gate,
        n_tokens,
        seconds,
        warnings,
    } = outcome;
    if as_json {
        return print_json(&json!({
            "output": written.then(|| output.display().to_string()),
            "recipe": recipe,
            "recipe_toml": recipe.to_toml(),
            "recipe_hash": recipe.hash(),
            "promotions": promotions,
            "slim": slim,
            "calibration_tokens": n_tokens,
            "seconds": seconds,
            "file_bytes": report.n_file_bytes,
            "bits_per_weight": report.bits_per_weight(report.bytes_after),
            "relative_rmse": report.loss().relative_rmse(),
            "evaluation": evaluation,
            "gate": gate,
            "warnings": warnings,
        }));
    }
    warnings.iter().for_each(|w| say(format_args!("\x1b[33mwarning:\x1b[0m {w}")));
    let mut out = std::io::stdout().lock();
    let bits = report.bits_per_weight(report.bytes_after);
    let size = human_bytes(report.n_file_bytes);
    if *written {
        writeln!(out, "{}: {size}, {bits:.2} bits a weight", output.display())?;
    } else {
        writeln!(
            out,
            "{}: not written, the result does not pass ({size}, {bits:.2} bits a weight)",
            output.display()
        )?;
    }
    writeln!(
        out,
        "recipe     {} ({} by {}), {}",
        recipe.name,
        recipe.mixture,
        recipe.method,
        &recipe.hash()[..12]
    )?;
    if let Some(slim) = slim {
        writeln!(out, "{slim}")?;
    }
    for p in promotions {
        writeln!(out, "promoted   {}: {} -> {}", p.tensors, p.from, p.to)?;
    }
    writeln!(out, "read       {n_tokens} tokens in {}\n", clock(Duration::from_secs_f64(*seconds)))?;
    write!(out, "{evaluation}")?;
    for check in &gate.checks {
        writeln!(out, "{} {check}", if check.passed { "passed" } else { "FAILED" })?;
    }
    Ok(())
}
