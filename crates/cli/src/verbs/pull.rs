//! `ingle pull REF`: brings a model here, or gives a name to one that is.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use clap::{Arg, ArgMatches, Command};
use ingle_store::hash::{Digest, hash_file};
use ingle_store::library::Installed;
use ingle_store::names::{Named, check_name};
use ingle_store::reference::Reference;

use super::{Verb, human_bytes, json_arg, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::model_ref::{DEMO, is_path};
use crate::pulling::{self, Pulled};
use crate::settings;

pub static VERB: Verb = Verb {
    name: "pull",
    about: "Fetch a model from the hub, a registry or an address, or give a name to a file",
    examples: &[
        "ingle pull qwen3:0.6b",
        "ingle pull user/repo:Q4_K_M --as mine",
        "ingle pull https://example.org/model.gguf --sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "ingle pull user/repo@v1.2:Q8_0",
        "ingle pull ollama:qwen3:0.6b",
        "ingle pull oci:ghcr.io/user/model:v1",
        "ingle pull ./model.gguf --as mine",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    let reference = Arg::new("ref").value_name("REF").required(true).help(
        "A short name, user/repo[@REVISION][:QUANT] on the hub, ollama:NAME[:TAG], oci:REGISTRY/NAME[:TAG], an https address with or without #sha256=HEX, or a path (used where it lies)",
    );
    let command = command
        .arg(reference.value_hint(clap::ValueHint::FilePath))
        .arg(text_arg("as", "NAME", "Call it NAME from now on"))
        .arg(text_arg("sha256", "HEX", "The hash that the file, at an address or a path, must have"))
        .arg(json_arg());
    settings::args(command, &["ollama-registry"])
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let asked = text(matches, "ref").expect("clap asks for it");
    let name = text(matches, "as");
    if let Some(name) = name {
        check_name(name)?;
    }
    if asked == DEMO {
        return Err(Failure::usage("demo is built in; there is nothing to fetch"));
    }
    env.catch_ctrl_c();
    let read = |hex| Digest::sha256(hex).ok_or_else(|| Failure::usage("--sha256: expected 64 hex digits"));
    let sha256 = text(matches, "sha256").map(read).transpose()?;
    let pulled = if Path::new(asked).exists() || is_path(asked) {
        adopt(Path::new(asked), name, sha256, env)?
    } else {
        fetch(asked, name, sha256, env)?
    };
    if matches.get_flag("json") {
        print_json(&pulled)?;
    } else {
        say(format_args!("{}: {}, ready: ingle run {0}", pulled.name, human_bytes(pulled.bytes)));
        writeln!(std::io::stdout(), "{}", pulled.path.display())?;
    }
    Ok(Exit::OK)
}

fn fetch(asked: &str, name: Option<&str>, sha256: Option<Digest>, env: &Env) -> Result<Pulled, Failure> {
    let mut reference = Reference::parse(asked)?.ok_or_else(|| {
        Failure::not_found(format!(
            "{asked}: no short name, and no reference either; give user/repo[:QUANT], ollama:NAME, oci:REGISTRY/NAME, an https address or a path"
        ))
    })?;
    match (&mut reference, sha256) {
        (_, None) => {}
        (Reference::Url(file), Some(given)) if file.sha256.as_ref().is_none_or(|said| *said == given) => {
            file.sha256 = Some(given);
        }
        (Reference::Url(_), _) => {
            return Err(Failure::usage("--sha256: another hash than the one behind the address"));
        }
        _ => {
            return Err(Failure::usage(
                "--sha256: the hub and registries tell the hashes of their files; this is for addresses and paths",
            ));
        }
    }
    let mut pulled = pulling::pull(&reference, env)?;
    let named = match &reference {
        Reference::Url(file) => Some(Named::Url {
            url: file.url.to_string(),
            path: pulled.path.clone(),
            sha256: pulled.files.first().map(|f| f.hash.clone()).unwrap_or_default(),
        }),
        Reference::Hub(_) | Reference::Image(_) => name.map(|_| Named::Hub(pulled.name.clone())),
    };
    if let Some(name) = name {
        name.clone_into(&mut pulled.name);
    }
    if let Some(named) = named {
        give_name(&pulled.name, named, env)?;
    }
    Ok(pulled)
}

/// A path keeps its place; it only gets a name.
fn adopt(path: &Path, name: Option<&str>, sha256: Option<Digest>, env: &Env) -> Result<Pulled, Failure> {
    let shown = path.display();
    let path = path.canonicalize().map_err(|e| Failure::file(path, &e))?;
    let is_model = path.is_dir() || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    if !is_model {
        return Err(Failure::failed(format!("{shown}: expected a .gguf file or a folder with a model")));
    }
    let name = match name {
        Some(name) => name.to_owned(),
        None => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            check_name(&stem)
                .map_err(|_| Failure::usage(format!("{shown}: give it a name with --as NAME")))?;
            stem
        }
    };
    let named = match sha256 {
        None => Named::Path(path.clone()),
        Some(expected) => {
            check_hash(&path, &expected, env)?;
            Named::File { path: path.clone(), sha256: expected.to_string() }
        }
    };
    give_name(&name, named, env)?;
    let Installed { name, path, size, .. } = Installed::at(name, path);
    let (files, connections) = (Vec::new(), Vec::new());
    Ok(Pulled { name, path, bytes: size.unwrap_or(0), memory: None, files, connections })
}

/// That a file of the user's is what the user says.
fn check_hash(path: &Path, expected: &Digest, env: &Env) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::usage("--sha256: a folder has no hash; this is for files"));
    }
    let stop = || env.interrupted.load(Relaxed);
    let found = hash_file(path, expected, &stop, &mut |_| {})?.ok_or_else(Failure::interrupted)?;
    if found == *expected {
        return Ok(());
    }
    Err(Failure::invalid(format!("{}: sha256: {found}, expected {expected}", path.display())))
}

fn give_name(name: &str, named: Named, env: &Env) -> Result<(), Failure> {
    pulling::library(env).names.edit(|names| {
        names.insert(name.to_owned(), named);
        Ok(())
    })?;
    Ok(())
}
