//! What `ingle compress` says of its result.

use std::io::Write;
use std::time::Duration;

use ingle_compress::inputs::RoundedInputs;
use serde_json::{Value, json};

use super::super::{human_bytes, print_json};
use super::judged::Outcome;
use crate::env::say;
use crate::exit::Failure;
use crate::rate::clock;

/// What came of it, for people or programs.
pub fn outcome(outcome: &Outcome, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&json(outcome));
    }
    outcome.warnings.iter().for_each(|w| say(format_args!("\x1b[33mwarning:\x1b[0m {w}")));
    Ok(std::io::stdout().lock().write_all(lines(outcome).as_bytes())?)
}

/// All of it, as data.
pub fn json(outcome: &Outcome) -> Value {
    let Outcome { recipe, report, .. } = outcome;
    let inputs = |of: RoundedInputs, n_tensors: Option<usize>| {
        let [without, with] = of.relative();
        json!({ "n_inputs": of.n_inputs, "without": without, "with": with, "n_tensors": n_tensors })
    };
    let tensors = report.tensors.iter().map(|t| {
        json!({
            "name": t.name,
            "format": t.format,
            "bytes": t.bytes,
            "relative_rmse": t.loss.map(|loss| loss.relative_rmse()),
            "rounded_inputs": t.inputs.map(|of| inputs(of, None)),
        })
    });
    json!({
        "output": outcome.written.then(|| outcome.output.display().to_string()),
        "recipe": recipe,
        "recipe_toml": recipe.to_toml(),
        "recipe_hash": recipe.hash(),
        "promotions": outcome.promotions,
        "slim": outcome.slim,
        "calibration_tokens": outcome.n_tokens,
        "seconds": outcome.seconds,
        "file_bytes": report.n_file_bytes,
        "bits_per_weight": report.bits_per_weight(report.bytes_after),
        "relative_rmse": report.loss().relative_rmse(),
        "relative_rmse_is": recipe.measure(),
        "rounded_inputs": report.inputs().map(|(of, n)| inputs(of, Some(n))),
        "tensors": tensors.collect::<Vec<_>>(),
        "evaluation": outcome.evaluation,
        "gate": outcome.gate,
        "warnings": outcome.warnings,
    })
}

/// The same in lines.
pub fn lines(outcome: &Outcome) -> String {
    let Outcome { output, recipe, report, .. } = outcome;
    let bits = report.bits_per_weight(report.bytes_after);
    let size = human_bytes(report.n_file_bytes);
    let name = output.display();
    let mut lines = Vec::new();
    lines.push(if outcome.written {
        format!("{name}: {size}, {bits:.2} bits a weight")
    } else {
        format!("{name}: not written, the result does not pass ({size}, {bits:.2} bits a weight)")
    });
    let (mixture, method, hash) = (&recipe.mixture, &recipe.method, &recipe.hash()[..12]);
    lines.push(format!("recipe     {} ({mixture} by {method}), {hash}", recipe.name));
    lines.extend(outcome.slim.as_ref().map(ToString::to_string));
    let promotions = outcome.promotions.iter();
    lines.extend(promotions.map(|p| format!("promoted   {}: {} -> {}", p.tensors, p.from, p.to)));
    let time = clock(Duration::from_secs_f64(outcome.seconds));
    lines.push(format!("read       {} tokens in {time}", outcome.n_tokens));
    let loss = report.loss().relative_rmse();
    lines.push(format!("weights    {:.3} %: {}", 100.0 * loss, recipe.measure()));
    if let Some((all, n)) = report.inputs() {
        let [without, with] = all.relative().map(|v| 100.0 * v);
        lines.push(format!(
            "inputs     rounded to 8 bits they change the outputs of {n} matrices by {without:.3} % as they are, {with:.3} % with \
             scale moved"
        ));
    }
    let mut text = format!("{}\n\n{}", lines.join("\n"), outcome.evaluation);
    for check in &outcome.gate.checks {
        text.push_str(&format!("{} {check}\n", if check.passed { "passed" } else { "FAILED" }));
    }
    text
}
