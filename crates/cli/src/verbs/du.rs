//! `ingle du`: how much of the disk the models take.

use std::io::Write;

use clap::{ArgMatches, Command};
use ingle_store::space;
use ingle_store::usage::{adopted_bytes, folder, usage};
use serde_json::json;

use super::{Verb, human_bytes, json_arg, print_json};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::{packing, pulling, updating};

pub static VERB: Verb = Verb {
    name: "du",
    about: "Show how much of the disk the models take",
    examples: &["ingle du", "ingle du --json"],
    args: |command: Command| command.arg(json_arg()),
    run,
};

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let library = pulling::library(env);
    let mut parts = usage(&library)?;
    parts.push(folder("signed releases", updating::releases(env).file().folder()));
    parts.push(folder("packed weights", &packing::folder(env)));
    parts.retain(|part| part.bytes > 0);
    let total: u64 = parts.iter().map(|p| p.bytes).sum();
    let leftover: u64 = parts.iter().map(|p| p.leftover_bytes).sum();
    let (adopted, free) = (adopted_bytes(&library)?, space::free_bytes(library.cache.root()));
    if matches.get_flag("json") {
        let rows: Vec<_> = parts
            .iter()
            .map(|p| json!({ "what": p.what, "path": p.path, "bytes": p.bytes, "leftover_bytes": p.leftover_bytes }))
            .collect();
        print_json(
            &json!({ "parts": rows, "bytes": total, "leftover_bytes": leftover, "adopted_bytes": adopted, "free_bytes": free }),
        )?;
        return Ok(Exit::OK);
    }
    let mut out = std::io::stdout().lock();
    for part in &parts {
        let leftover = match part.leftover_bytes {
            0 => String::new(),
            n => format!("  ({} of it of no use)", human_bytes(n)),
        };
        writeln!(out, "{:>10}  {}{leftover}", human_bytes(part.bytes), part.what)?;
    }
    let free = free.map(|free| format!(", {} free", human_bytes(free))).unwrap_or_default();
    writeln!(out, "{:>10}  in all{free}", human_bytes(total))?;
    if adopted > 0 {
        say(format_args!("files used where they lie take {} more", human_bytes(adopted)));
    }
    if leftover > 0 {
        say(format_args!(
            "ingle gc frees {} of what is of no use, if no program is at it",
            human_bytes(leftover)
        ));
    }
    Ok(Exit::OK)
}
