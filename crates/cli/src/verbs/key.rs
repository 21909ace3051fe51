//! `ingle key`: the key that private files are sealed with, who keeps it, and files that are sealed by name.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_store::sealed::Key;
use ingle_store::sealed::key_file::{Kept, KeyFile};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Verb, json_arg, print_json, text, text_arg};
use crate::at_rest::{self, keystore, passphrase};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};

pub static VERB: Verb = Verb {
    name: "key",
    about: "Seal private files: make a key, say who keeps it, seal and unseal files",
    examples: &[
        "ingle key",
        "ingle key new --by passphrase",
        "ingle key keep --by passphrase",
        "ingle key seal adapter.gguf",
        "ingle key seal peft-folder",
        "ingle key unseal adapter.gguf -o open.gguf",
        "ingle key forget --yes",
    ],
    args,
    run,
};

/// Who may keep a key.
const KEEPERS: [&str; 3] = ["keystore", "passphrase", "file"];

fn args(command: Command) -> Command {
    command
        .arg(
            Arg::new("action")
                .value_name("ACTION")
                .default_value("status")
                .value_parser(["status", "new", "keep", "seal", "unseal", "forget"])
                .help("status: is there a key, who keeps it; new: make one; keep: have it kept another way, or under a new passphrase; seal, unseal: a file, or the folder of an adapter of PEFT, in its place; forget: what was sealed is lost for good"),
        )
        .arg(Arg::new("path").value_name("FILE").num_args(0..).value_hint(clap::ValueHint::FilePath).help("Files and folders to seal or unseal"))
        .arg(
            Arg::new("by").long("by").value_name("WHO").value_parser(KEEPERS).help(
                "Who keeps the key: the system's keystore, a passphrase, or a file that lies open for its owner alone; default: the keystore where this build knows one, else a passphrase",
            ),
        )
        .arg(text_arg("out", "FILE", "Write what is unsealed here instead").short('o'))
        .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Forget without asking"))
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let action = text(matches, "action").expect("it has a default");
    let paths: Vec<&Path> = matches.get_many::<String>("path").into_iter().flatten().map(Path::new).collect();
    let takes_files = matches!(action, "seal" | "unseal");
    if takes_files == paths.is_empty() {
        let expected = if takes_files { "expected a FILE" } else { "expected no FILE" };
        return Err(Failure::usage(format!("ingle key {action}: {expected}")));
    }
    let path = at_rest::key_path(env);
    match action {
        "status" => return status(&path, matches.get_flag("json")),
        "new" => new(&path, text(matches, "by"), env)?,
        "keep" => keep(&path, text(matches, "by"), env)?,
        "forget" => forget(&path, matches.get_flag("yes"), env)?,
        _ => {
            let key = at_rest::key(env)?.ok_or_else(|| no_key(&path))?;
            let out = text(matches, "out").map(PathBuf::from);
            if out.is_some() && (action == "seal" || paths.len() > 1) {
                return Err(Failure::usage("-o is for one file to unseal"));
            }
            for file in paths {
                match action {
                    "seal" => at_rest::seal(file, key.clone())?,
                    _ => at_rest::unseal(file, out.as_deref().unwrap_or(file), key.clone())?,
                }
            }
        }
    }
    Ok(Exit::OK)
}

fn status(path: &Path, as_json: bool) -> Result<Exit, Failure> {
    let file = KeyFile::read(path)?;
    if as_json {
        let key = file.as_ref().map(|file| {
            let effort = match &file.kept {
                Kept::Passphrase(wrapped) => json!(wrapped.effort),
                _ => json!(null),
            };
            json!({ "id": file.id, "kept_by": file.kept.name(), "argon2id": effort })
        });
        print_json(&json!({ "file": path, "key": key, "keystore": keystore::IS_KNOWN }))?;
        return Ok(Exit::OK);
    }
    let mut out = std::io::stdout().lock();
    match file {
        None => writeln!(out, "no key: private files lie open; `ingle key new` makes one")?,
        Some(KeyFile { id, kept }) => {
            let how = match kept {
                Kept::Keystore => "kept by the system's keystore".to_owned(),
                Kept::Passphrase(_) => format!("under a passphrase, in {}", path.display()),
                Kept::File(_) => {
                    format!("open in {}: who has that file reads what was sealed", path.display())
                }
            };
            writeln!(out, "key {id}, {how}; private files are sealed with it")?;
        }
    }
    Ok(Exit::OK)
}

fn new(path: &Path, by: Option<&str>, env: &Env) -> Result<(), Failure> {
    if path.exists() {
        return Err(Failure::usage(format!(
            "{}: there is a key already; `ingle key keep` changes who keeps it, `ingle key forget` ends it and all that it sealed",
            path.display()
        )));
    }
    let bytes = at_rest::random().map_err(|e| Failure::failed(format!("no random bytes: {e}")))?;
    let key = Key::new(Zeroizing::new(bytes));
    let by = by.unwrap_or(if keystore::IS_KNOWN { KEEPERS[0] } else { KEEPERS[1] });
    give(&key, by, false, path, env)?;
    say(format_args!(
        "key {} is kept by the {by}; what is written of what was said is sealed from now on",
        key.id()
    ));
    match by {
        "passphrase" => say("nobody can read those files without the passphrase: there is no other way in"),
        "file" => say(format_args!(
            "who has {} can read what was sealed; it is as safe as that file",
            path.display()
        )),
        _ => {}
    }
    Ok(())
}

fn keep(path: &Path, by: Option<&str>, env: &Env) -> Result<(), Failure> {
    let file = KeyFile::read(path)?.ok_or_else(|| no_key(path))?;
    let key = at_rest::open(&file, path, env)?;
    let by = by.unwrap_or(file.kept.name());
    let was_under_passphrase = matches!(file.kept, Kept::Passphrase(_));
    give(&key, by, was_under_passphrase, path, env)?;
    if file.kept == Kept::Keystore && by != file.kept.name() {
        keystore::forget(&file.id)?;
    }
    say(format_args!("key {} is kept by the {by}; no file had to be written again", key.id()));
    Ok(())
}

/// Has `key` kept by whom `by` names. The keystore holds it before the key file says so.
fn give(key: &Key, by: &str, was_under_passphrase: bool, path: &Path, env: &Env) -> Result<(), Failure> {
    let kept = match by {
        "keystore" => keystore::put(key).map(|()| Kept::Keystore)?,
        "passphrase" => passphrase::wrap(key, was_under_passphrase, env)?,
        _ => Kept::File(key.clone()),
    };
    Ok(KeyFile { id: key.id().to_string(), kept }.write(path)?)
}

fn forget(path: &Path, yes: bool, env: &Env) -> Result<(), Failure> {
    let file = KeyFile::read(path)?.ok_or_else(|| no_key(path))?;
    let question = format!("Forget key {}? All that it sealed is lost for good.", file.id);
    let is_agreed = yes || (env.can_ask() && env.ask(&question, false)?);
    if !is_agreed {
        return Err(Failure::usage(format!("key {} was kept; --yes forgets it without asking", file.id)));
    }
    if file.kept == Kept::Keystore {
        keystore::forget(&file.id)?;
    }
    fs::remove_file(path).map_err(|e| Failure::file(path, &e))?;
    say(format_args!("key {} is forgotten", file.id));
    Ok(())
}

fn no_key(path: &Path) -> Failure {
    Failure::not_found(format!("{}: there is no key; `ingle key new` makes one", path.display()))
}
