//! `ingle tokenize MODEL [TEXT]`: the ids of a text.

use std::io::{Read, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_model::token::Parse;
use serde_json::json;

use super::{Verb, json_arg, model_arg, model_name, print_json, text, text_arg};
use crate::env::Env;
use crate::exit::{Exit, Failure};
use crate::model_ref;

pub static VERB: Verb = Verb {
    name: "tokenize",
    about: "Turn text into token ids",
    examples: &[
        "ingle tokenize demo \"Hello world\"",
        "ingle tokenize model.gguf --file notes.txt --json",
        "ingle tokenize model.gguf --special \"<|im_start|>user\" < /dev/null",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    command
        .arg(model_arg())
        .arg(Arg::new("text").value_name("TEXT").help("The text; without it and --file, stdin is read"))
        .arg(text_arg("file", "FILE", "Read the text from a file, - for stdin").conflicts_with("text"))
        .arg(
            Arg::new("special").long("special").action(ArgAction::SetTrue).help(
                "Add BOS and EOS where the model wants them, and read special tokens in the text as such",
            ),
        )
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let file = model_ref::open(model_name(matches), env)?;
    let tokenizer = file.tokenizer()?;
    let input = match (text(matches, "text"), text(matches, "file")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) if path != "-" => read_text(path)?,
        _ => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|e| Failure::file("stdin", &e))?;
            String::from_utf8(bytes).map_err(|_| Failure::failed("stdin: not UTF-8, expected a text"))?
        }
    };
    let special = matches.get_flag("special");
    let mut ids = Vec::new();
    if special {
        ids.extend(tokenizer.before());
    }
    let parse = if special { Parse::Special } else { Parse::Text };
    tokenizer.encode(&input, parse, &mut ids).map_err(|e| file.model_error(e))?;
    if special {
        ids.extend(tokenizer.after());
    }
    if matches.get_flag("json") {
        let names: Vec<String> = ids
            .iter()
            .map(|&id| String::from_utf8_lossy(tokenizer.token_name(id).unwrap_or_default()).into_owned())
            .collect();
        print_json(&json!({ "n_tokens": ids.len(), "ids": ids, "tokens": names }))?;
    } else {
        let mut line = String::new();
        for id in ids {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&id.to_string());
        }
        writeln!(std::io::stdout().lock(), "{line}")?;
    }
    Ok(Exit::OK)
}

/// A text file, or a sentence saying why not.
pub fn read_text(path: &str) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    String::from_utf8(bytes).map_err(|_| Failure::failed(format!("{path}: not UTF-8, expected a text")))
}
