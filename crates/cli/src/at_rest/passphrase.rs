//! Passphrases: from a variable, or typed where nobody sees them.

use std::path::Path;

use ingle_store::sealed::Key;
use ingle_store::sealed::key_file::{Effort, Kept, KeyFile, Wrapped};
use zeroize::Zeroizing;

use super::random;
use crate::env::{Env, say};
use crate::exit::Failure;

/// How often a passphrase may be mistyped.
const TRIES: usize = 3;
/// The fewest characters of a new one.
const CHARS_MIN: usize = 8;

/// The key of `file` under the passphrase that the environment or whoever types knows.
pub fn open(file: &KeyFile, path: &Path, env: &Env) -> Result<Key, Failure> {
    let wrong = || Failure::invalid(format!("{}: this is not the key's passphrase", path.display()));
    if let Some(passphrase) = &env.at_rest.passphrase {
        return file.open(path, passphrase)?.ok_or_else(wrong);
    }
    if !env.can_ask() {
        return Err(Failure::blocked(format!(
            "{}: the key is under a passphrase: run this at a terminal, or set INGLE_PASSPHRASE",
            path.display()
        )));
    }
    for _ in 0..TRIES {
        match file.open(path, &ask("passphrase of your key: ")?)? {
            Some(key) => return Ok(key),
            None => say("that is not it"),
        }
    }
    Err(wrong())
}

/// `key` under a new passphrase: from INGLE_NEW_PASSPHRASE, or INGLE_PASSPHRASE where there was none before, or typed twice.
pub fn wrap(key: &Key, had_one: bool, env: &Env) -> Result<Kept, Failure> {
    let given = env.at_rest.new_passphrase.as_ref().or(env.at_rest.passphrase.as_ref().filter(|_| !had_one));
    let passphrase = match given {
        Some(passphrase) => passphrase.clone(),
        None if env.can_ask() => {
            let first = ask("new passphrase: ")?;
            if *ask("the same again: ")? != *first {
                return Err(Failure::usage("the passphrases differ; nothing was changed"));
            }
            first
        }
        None => {
            return Err(Failure::blocked(
                "a new passphrase is needed: run this at a terminal, or set INGLE_NEW_PASSPHRASE",
            ));
        }
    };
    if passphrase.chars().count() < CHARS_MIN {
        return Err(Failure::usage(format!("a passphrase has {CHARS_MIN} characters or more")));
    }
    let random = random().map_err(|e| Failure::failed(format!("no random bytes: {e}")))?;
    Wrapped::new(key, &passphrase, Effort::USUAL, random).map(Kept::Passphrase).map_err(Failure::failed)
}

fn ask(question: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(question);
    typed.map(Zeroizing::new).map_err(|e| Failure::failed(format!("terminal: {e}")))
}
