//! `ingle logits MODEL --tokens-file F --out O`: the raw logits of given ids, for comparison with other programs.

use std::fs::File;
use std::io::{BufWriter, Write};

use clap::{ArgMatches, Command};
use serde_json::json;

use super::detokenize::parse_ids;
use super::{Verb, json_arg, model_arg, model_name, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::{load, settings};

pub static VERB: Verb = Verb {
    name: "logits",
    about: "Write the logits of given token ids as little-endian f32, a row per id",
    examples: &[
        "ingle logits demo --tokens-file ids.txt --out logits.f32",
        "ingle logits model.gguf --tokens-file ids.txt --out logits.f32 --kv f32 --tier exact",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let command = command
        .arg(model_arg())
        .arg(load::adapter_arg())
        .arg(
            text_arg("tokens-file", "FILE", "Ids, separated by spaces, commas or lines; fed as they are")
                .required(true),
        )
        .arg(text_arg("out", "FILE", "Where the rows go").required(true))
        .arg(json_arg());
    settings::args(settings::args(command, &["ctx"]), settings::COMPUTE)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let loaded = load::model(model_name(matches), env)?;
    let path = text(matches, "tokens-file").expect("clap asks for it");
    let ids = parse_ids(&super::tokenize::read_text(path)?, path, &loaded.tokenizer)?;
    if ids.is_empty() {
        return Err(Failure::usage(format!("{path}: no ids, expected at least one")));
    }
    // Without --ctx: what the model was made for, so that scaling that depends on it is the model's own.
    let ctx =
        env.settings.count("ctx").or_else(|| Some(loaded.model.config.ctx_train.min(8192).max(ids.len())));
    let mut session = load::session(&loaded, matches, env, ctx)?;
    if ids.len() > session.ctx() {
        return Err(ingle_engine::Error::PromptTooLong { tokens: ids.len(), ctx: session.ctx() }.into());
    }
    let out_path = text(matches, "out").expect("clap asks for it");
    let file = File::create(out_path).map_err(|e| Failure::file(out_path, &e))?;
    let mut out = BufWriter::new(file);
    let mut written = Ok(());
    session.feed_for_logits(&ids, |_, row| {
        if written.is_ok() {
            written = row.iter().try_for_each(|l| out.write_all(&l.to_le_bytes()));
        }
    })?;
    written.and_then(|()| out.flush()).map_err(|e| Failure::file(out_path, &e))?;
    let vocab = loaded.model.config.vocab;
    if matches.get_flag("json") {
        print_json(
            &json!({ "n_tokens": ids.len(), "n_vocab": vocab, "out": out_path, "tier": loaded.tier() }),
        )?;
    } else {
        say(format_args!("{out_path}: {} rows of {vocab} logits", ids.len()));
    }
    Ok(Exit::OK)
}
