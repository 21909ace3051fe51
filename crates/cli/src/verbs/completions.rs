//! `ingle completions SHELL`: the script that teaches a shell our verbs and flags.

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Verb;
use crate::env::Env;
use crate::exit::{Exit, Failure};

pub static VERB: Verb = Verb {
    name: "completions",
    about: "Write the completion script of a shell",
    examples: &[
        "ingle completions bash > ~/.local/share/bash-completion/completions/ingle",
        "ingle completions fish > ~/.config/fish/completions/ingle.fish",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    command.arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)))
}

fn run(matches: &ArgMatches, _: &mut Env) -> Result<Exit, Failure> {
    let shell = *matches.get_one::<Shell>("shell").expect("clap asks for it");
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "ingle", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::OK)
}
