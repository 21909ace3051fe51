//! The `ingle` command.
//!
//! Reading order: [`verbs`] is the shelf of what it does; [`settings`] layers flags, environment and config file;
//! [`model_ref`] finds models, [`pulling`] fetches them; [`exit`] says how it ends. Stdout is data, stderr is talk.

mod accounts;
mod at_rest;
mod beside;
mod chat;
mod confine;
mod connection;
mod credentials;
mod descriptors;
mod dirs;
mod documents;
mod elsewhere;
mod env;
mod evaluating;
mod exit;
mod feedback;
mod fit;
mod guessing;
mod load;
mod loading;
mod managing;
mod median;
mod metering;
mod model_ref;
mod network;
mod packing;
mod pulling;
mod rate;
mod routing;
mod settings;
mod smaller;
mod stocking;
mod updating;
mod verbs;
mod zone;

use std::process::ExitCode;

use clap::error::ErrorKind;

use confine::{Limits, confine};
use env::{Env, say, say_error};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    ingle_engine::mmap::exit_when_a_file_shrinks(Exit::INVALID.0.into());
    let exit = run().unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            say_error(&failure.message);
        }
        failure.exit
    });
    ExitCode::from(exit.0)
}

fn run() -> Result<Exit, Failure> {
    let matches = match verbs::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // A stdout that is gone can't be told anything.
            let _ = error.print();
            return Ok(match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::OK,
                _ => Exit::USAGE,
            });
        }
    };
    let limits = matches.get_one::<Limits>(verbs::CONFINED).cloned();
    let (name, matches) = matches.subcommand().expect("clap asks for a verb");
    let verb = verbs::VERBS.iter().find(|v| v.name == name).expect("clap knows only listed verbs");
    let mut env = Env::from_process(matches)?;
    if let Some(limits) = limits {
        confine(&limits)?.iter().for_each(|lacking| say(format_args!("{}{lacking}", updating::LACKING)));
    }
    let ended = (verb.run)(matches, &mut env);
    // A release on probation is judged by how uses end: whatever else was wrong, the model was not.
    if !matches!(&ended, Err(f) if [Exit::FAILED, Exit::INVALID, Exit::MEMORY].contains(&f.exit)) {
        updating::used_well(&env)?;
    }
    ended
}
