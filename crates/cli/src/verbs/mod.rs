//! The shelf of verbs. Help, completions and tests iterate it.

mod bench;
mod completions;
mod compress;
mod config;
mod delta;
mod detokenize;
mod du;
mod gc;
mod imatrix;
mod key;
mod ledger;
mod list;
mod logits;
mod perplexity;
mod privacy;
mod ps;
mod pull;
mod quantize;
mod release;
pub mod rm;
mod route;
mod run;
mod serve;
pub mod show;
mod stop;
mod template;
mod tokenize;
mod update;
mod verify;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::confine::Limits;
use crate::env::Env;
use crate::exit::{Exit, Failure};
use crate::settings;

/// One verb.
pub struct Verb {
    /// What is typed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Command lines that work, for its help.
    pub examples: &'static [&'static str],
    /// Adds its arguments.
    pub args: fn(Command) -> Command,
    /// Does it.
    pub run: fn(&ArgMatches, &mut Env) -> Result<Exit, Failure>,
}

/// Every verb, in the order of the help.
pub static VERBS: &[&Verb] = &[
    &run::VERB,
    &serve::VERB,
    &ps::VERB,
    &stop::VERB,
    &show::VERB,
    &tokenize::VERB,
    &detokenize::VERB,
    &template::VERB,
    &logits::VERB,
    &perplexity::VERB,
    &quantize::VERB,
    &compress::VERB,
    &imatrix::VERB,
    &bench::VERB,
    &pull::VERB,
    &list::VERB,
    &rm::VERB,
    &verify::VERB,
    &du::VERB,
    &gc::VERB,
    &update::VERB,
    &release::VERB,
    &ledger::VERB,
    &route::VERB,
    &privacy::VERB,
    &key::VERB,
    &delta::VERB,
    &config::VERB,
    &completions::VERB,
];

/// The argument by which this program limits its own children; no user's.
pub const CONFINED: &str = "confined";

/// The whole command line.
pub fn command() -> Command {
    let codes: Vec<String> = Exit::ALL.iter().map(|e| format!("  {:3}  {}", e.0, e.1)).collect();
    let head = Command::new("ingle")
        .about("Private AI that lives on the device")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .arg(Arg::new(CONFINED).long(CONFINED).hide(true).value_parser(Limits::parse))
        .after_help(format!("Exit codes:\n{}", codes.join("\n")));
    VERBS.iter().fold(head, |command, verb| {
        let examples: Vec<String> = verb.examples.iter().map(|e| format!("  {e}")).collect();
        let sub = Command::new(verb.name)
            .about(verb.about)
            .after_help(format!("Examples:\n{}", examples.join("\n")));
        command.subcommand(settings::args((verb.args)(sub), settings::EVERYWHERE))
    })
}

/// The MODEL argument.
fn model_arg() -> Arg {
    Arg::new("model")
        .value_name("MODEL")
        .required(true)
        .help("A .gguf file, a Hugging Face folder, a name from the list, user/repo[:QUANT] on the hub, or demo for the built-in model")
        .value_hint(clap::ValueHint::FilePath)
}

/// The model's name, as typed.
fn model_name(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("model").expect("clap asks for it")
}

/// `--json`.
fn json_arg() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write JSON, for programs")
}

/// An optional text or path argument `--NAME VALUE`.
fn text_arg(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).help(help);
    if value == "FILE" { arg.value_hint(clap::ValueHint::FilePath) } else { arg }
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// Writes one JSON document to stdout.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Bytes for people.
pub fn human_bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example_that_parses() {
        for verb in VERBS {
            assert!(!verb.examples.is_empty(), "{}", verb.name);
            for example in verb.examples {
                let words = shell_words(example);
                assert_eq!(words[..2], ["ingle", verb.name], "{example}");
                if let Err(e) = command().try_get_matches_from(&words) {
                    panic!("{example}: {e}");
                }
            }
        }
    }

    /// The words of an example up to a redirection or pipe; quotes keep words together.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = None;
        for c in line.chars() {
            match c {
                '<' | '>' | '|' if quoted.is_none() => break,
                '"' | '\'' if quoted.is_none() => quoted = Some(c),
                c if quoted == Some(c) => quoted = None,
                ' ' if quoted.is_none() => words.push(String::new()),
                c => words.last_mut().expect("never empty").push(c),
            }
        }
        words.retain(|w| !w.is_empty());
        words
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(human_bytes(17), "17 B");
        assert_eq!(human_bytes(1 << 20), "1.0 MiB");
        assert_eq!(human_bytes(3 << 29), "1.5 GiB");
    }
}
