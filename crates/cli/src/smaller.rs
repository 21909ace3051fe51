//! `--or-smaller`: which of the models that the user named answers, by the governor's plan.

use clap::{Arg, ArgAction, ArgMatches};
use ingle_engine::governor::choose;

use crate::env::{Env, say};
use crate::exit::Failure;
use crate::metering::Governed;
use crate::model_ref;

/// The flag of verbs that are given one model.
pub fn arg() -> Arg {
    Arg::new("or-smaller")
        .long("or-smaller")
        .value_name("MODEL")
        .action(ArgAction::Append)
        .help("With --governor: let this smaller model answer while the device is hot, its battery low, or its user saving power")
}

/// The model that answers in place of `asked`; `asked` itself where no smaller one is named or wanted. A model that is not there is a
/// failure only when it would have to answer.
pub fn chosen<'a>(
    asked: &'a str,
    matches: &'a ArgMatches,
    governed: &Governed,
    env: &Env,
) -> Result<&'a str, Failure> {
    let others = matches.get_many::<String>("or-smaller").into_iter().flatten().map(String::as_str);
    let named: Vec<&str> = [asked].into_iter().chain(others).collect();
    let Some(plan) = governed.plan().filter(|_| named.len() > 1) else { return Ok(asked) };
    if choose(&plan, &[1, 0]) == 0 {
        return Ok(asked);
    }
    let sizes = named.iter().map(|name| model_ref::open(name, env).map(|file| file.n_bytes()));
    let name = named[choose(&plan, &sizes.collect::<Result<Vec<u64>, _>>()?)];
    if name != asked {
        say(format_args!("note: {name} answers in place of {asked}: {}", plan.reasons().join(", ")));
    }
    Ok(name)
}
