//! `ingle gc`: removes what downloads, removals and killed programs left behind, and packed weights that can be made again.

use std::io::Write;
use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_store::leftovers::{self, Leftover};
use serde_json::json;

use super::{Verb, human_bytes, json_arg, print_json};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::{packing, pulling};

pub static VERB: Verb = Verb {
    name: "gc",
    about: "Remove what downloads and removed models left behind",
    examples: &["ingle gc --dry-run", "ingle gc --yes"],
    args: |command: Command| {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        command
            .arg(flag("dry-run", "Say what would go, and remove nothing"))
            .arg(flag("yes", "Don't ask").short('y'))
            .arg(json_arg())
    },
    run,
};

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let library = pulling::library(env);
    let mut planned = leftovers::plan(leftovers::survey(&library), SystemTime::now());
    planned.extend(packing::unused(env));
    let (json, is_dry) = (matches.get_flag("json"), matches.get_flag("dry-run"));
    let bytes: u64 = planned.iter().map(|one| one.bytes).sum();
    let what = format!("Remove {} pieces ({})", planned.len(), human_bytes(bytes));
    let must_ask = !planned.is_empty() && !is_dry && !matches.get_flag("yes");
    if must_ask && !env.can_ask() {
        return Err(Failure::usage(format!("{what}? There is nobody to ask here; give --yes")));
    }
    if !json {
        print(&planned)?;
    }
    if must_ask && !env.ask(&format!("{what}?"), false)? {
        say("nothing was removed");
        return Ok(Exit::FAILED);
    }
    let freed = if is_dry { 0 } else { leftovers::perform(&library, &planned)? };
    if json {
        let rows: Vec<_> = planned
            .iter()
            .map(|one| json!({ "path": one.path, "kind": one.kind.name(), "bytes": one.bytes }))
            .collect();
        print_json(&json!({ "planned": rows, "bytes_planned": bytes, "bytes_freed": freed }))?;
        return Ok(Exit::OK);
    }
    match (planned.is_empty(), is_dry) {
        (true, _) => say("nothing to remove"),
        (false, true) => say(format_args!("{} would be freed", human_bytes(bytes))),
        (false, false) => writeln!(std::io::stdout(), "{} freed", human_bytes(freed))?,
    }
    Ok(Exit::OK)
}

fn print(planned: &[Leftover]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for one in planned {
        writeln!(out, "{:>10}  {}  {}", human_bytes(one.bytes), one.kind.name(), one.path.display())?;
    }
    Ok(())
}
