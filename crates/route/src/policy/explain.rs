//! Why a request would stay or go, in words.

use std::fmt::Write;

use super::{Policy, Situation};
use crate::privacy::Finding;

/// Says what the policy makes of a request in which `findings` were found, one fact a line.
pub fn explain(policy: &Policy, situation: &Situation, findings: &[Finding]) -> String {
    let verdict = policy.decide(situation);
    let mut out = format!("{}: {}\n", verdict.action.name(), verdict.why);
    // Writing to a String can't fail.
    let mut line = |text: String| writeln!(out, "  {text}").unwrap_or_default();
    let mut kinds: Vec<(&str, &str, usize)> = Vec::new();
    for finding in findings {
        match kinds.iter_mut().find(|(name, ..)| *name == finding.kind.name) {
            Some((.., n)) => *n += 1,
            None => kinds.push((finding.kind.name, finding.kind.class.name(), 1)),
        }
    }
    for (name, class, n) in kinds {
        line(format!("found: {n} {name} ({class})"));
    }
    for source in &situation.sources {
        line(format!("from a private source: {source}"));
    }
    let is = situation.network.map_or("not known to be metered", |network| network.name());
    match &situation.network_seen {
        Some(seen) => line(format!("network: {is} ({seen})")),
        None if situation.network.is_some() => line(format!("network: {is}")),
        None => {}
    }
    for name in &verdict.held {
        line(format!("holds: rule \"{name}\""));
    }
    let endpoints: Vec<&str> = policy.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    line(match endpoints.is_empty() {
        true => "endpoints: none, so nothing can leave".to_owned(),
        false => format!("endpoints: {}", endpoints.join(", ")),
    });
    out
}
