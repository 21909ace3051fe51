//! `ingle detokenize MODEL IDS...`: the text of token ids.

use std::io::{Read, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_model::token::{Render, Tokenizer};
use serde_json::json;

use super::{Verb, json_arg, model_arg, model_name, print_json};
use crate::env::Env;
use crate::exit::{Exit, Failure};
use crate::model_ref;

pub static VERB: Verb = Verb {
    name: "detokenize",
    about: "Turn token ids into text",
    examples: &[
        "ingle detokenize demo 1 2 3",
        "ingle detokenize model.gguf --special 1 2 3 --json",
        "ingle detokenize model.gguf < ids.txt",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    command
        .arg(model_arg())
        .arg(
            Arg::new("ids")
                .value_name("IDS")
                .num_args(0..)
                .help("Ids, separated by spaces or commas; without them stdin is read"),
        )
        .arg(
            Arg::new("special")
                .long("special")
                .action(ArgAction::SetTrue)
                .help("Write special tokens by their names"),
        )
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let file = model_ref::open(model_name(matches), env)?;
    let tokenizer = file.tokenizer()?;
    let given: Vec<&str> =
        matches.get_many::<String>("ids").into_iter().flatten().map(String::as_str).collect();
    let text = if given.is_empty() {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|e| Failure::file("stdin", &e))?;
        text
    } else {
        given.join(" ")
    };
    let ids = parse_ids(&text, "IDS", &tokenizer)?;
    let render = if matches.get_flag("special") { Render::Special } else { Render::Text };
    let text = tokenizer.decode(&ids, render);
    if matches.get_flag("json") {
        print_json(&json!({ "text": text }))?;
    } else {
        writeln!(std::io::stdout().lock(), "{text}")?;
    }
    Ok(Exit::OK)
}

/// Ids separated by white space, commas or brackets, so that JSON arrays and plain lists both do.
pub fn parse_ids(text: &str, place: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, Failure> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'));
    words
        .filter(|word| !word.is_empty())
        .map(|word| {
            let id = word.parse::<u32>().map_err(|_| {
                Failure::usage(format!("{place}: {word:?}, expected token ids (whole numbers from 0)"))
            })?;
            if id as usize >= tokenizer.n_vocab() {
                let last = tokenizer.n_vocab().saturating_sub(1);
                return Err(Failure::usage(format!(
                    "{place}: token id {id}, this model's ids end at {last}"
                )));
            }
            Ok(id)
        })
        .collect()
}
