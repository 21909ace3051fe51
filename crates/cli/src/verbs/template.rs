//! `ingle template MODEL --messages F.json`: the prompt a conversation becomes.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_engine::chat::{render, written};
use ingle_model::prompt::{ChatTemplate, Now, RenderInput};
use serde_json::{Map, Value as Json, json};

use super::tokenize::read_text;
use super::{Verb, json_arg, model_arg, print_json, text, text_arg};
use crate::chat::prompt::{now, template_of};
use crate::env::Env;
use crate::exit::{Exit, Failure};
use crate::model_ref;

pub static VERB: Verb = Verb {
    name: "template",
    about: "Show the prompt that a model's chat template makes of a conversation",
    examples: &[
        "ingle template demo --messages chat.json",
        "ingle template model.gguf --messages chat.json --tools tools.json --set enable_thinking=false",
        "ingle template --template-file chat.jinja --bos \"<s>\" --eos \"</s>\" --messages chat.json",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    command
        .arg(model_arg().required(false).required_unless_present("template-file"))
        .arg(text_arg("messages", "FILE", "The conversation: a JSON array of messages").required(true))
        .arg(text_arg("tools", "FILE", "Tools the model may call: a JSON array"))
        .arg(text_arg("template-file", "FILE", "Use this template instead of the model's"))
        .arg(text_arg("bos", "TEXT", "How BOS is written; default: the model's").allow_hyphen_values(true))
        .arg(text_arg("eos", "TEXT", "How EOS is written; default: the model's").allow_hyphen_values(true))
        .arg(text_arg(
            "now",
            "ISO",
            "The moment templates may ask for, like 2026-01-02T03:04:05; default: now, in UTC",
        ))
        .arg(
            Arg::new("no-generation-prompt")
                .long("no-generation-prompt")
                .action(ArgAction::SetTrue)
                .help("Leave out the beginning of the answer"),
        )
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("K=V")
                .action(ArgAction::Append)
                .help("Set a variable of the template; V is JSON, or a text"),
        )
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let (mut bos, mut eos, mut template) = (String::new(), String::new(), None);
    if let Some(reference) = text(matches, "model") {
        let file = model_ref::open(reference, env)?;
        let tokenizer = file.tokenizer()?;
        (bos, eos) = (written(&tokenizer, tokenizer.bos()), written(&tokenizer, tokenizer.eos()));
        if text(matches, "template-file").is_none() {
            template = template_of(&file)?;
            if template.is_none() {
                return Err(Failure::failed(format!(
                    "{reference}: carries no chat template; give one with --template-file"
                )));
            }
        }
    }
    if let Some(path) = text(matches, "template-file") {
        let parsed = ChatTemplate::parse(&read_text(path)?);
        template = Some(parsed.map_err(|e| Failure::failed(format!("{path}: {e}")))?);
    }
    let template = template.expect("clap asks for a model or a template file");
    let messages = read_json(text(matches, "messages").expect("clap asks for it"))?;
    let tools = text(matches, "tools").map(read_json).transpose()?;
    let rendered = render(
        &template,
        &RenderInput {
            messages: &messages,
            tools: tools.as_ref(),
            add_generation_prompt: !matches.get_flag("no-generation-prompt"),
            bos_token: text(matches, "bos").unwrap_or(&bos),
            eos_token: text(matches, "eos").unwrap_or(&eos),
            now: match text(matches, "now") {
                Some(iso) => Now::parse_iso(iso).map_err(|e| Failure::usage(format!("--now: {e}")))?,
                None => now(),
            },
            extra: variables(matches)?,
        },
    )?;
    if matches.get_flag("json") {
        print_json(&json!({ "prompt": rendered }))?;
    } else {
        // As it is, without a newline of our own: the bytes are the prompt.
        let mut out = std::io::stdout().lock();
        out.write_all(rendered.as_bytes())?;
        out.flush()?;
    }
    Ok(Exit::OK)
}

/// A JSON array from a file.
fn read_json(path: &str) -> Result<Json, Failure> {
    let json: Json =
        serde_json::from_str(&read_text(path)?).map_err(|e| Failure::failed(format!("{path}: {e}")))?;
    if !json.is_array() {
        return Err(Failure::failed(format!("{path}: expected a JSON array")));
    }
    Ok(json)
}

fn variables(matches: &ArgMatches) -> Result<Map<String, Json>, Failure> {
    let given = matches.get_many::<String>("set").into_iter().flatten();
    given
        .map(|pair| {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--set {pair}: expected NAME=VALUE")))?;
            Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
        })
        .collect()
}
