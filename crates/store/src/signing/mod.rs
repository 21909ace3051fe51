//! Signatures over a model's files: OpenSSF Model Signing v1.0, key method.
//!
//! A [`bundle`] lies beside the files. It carries an envelope (DSSE) around a [`statement`] (in-toto), which lists every file
//! with its SHA-256, and a signature over exactly those bytes by one of the [`keys`]. Verifying is three questions in this
//! order: is the form right, did this key sign it, are the files of the [`folder`] those that are listed, and no others.
//!
//! Left out: certificates and Sigstore's keyless signatures, which are told apart by form but not verified, since both need a
//! root of trust that nobody here maintains; digests other than SHA-256; files hashed in shards; P-521, which our
//! cryptography does not have. All of these are refused by name.

pub mod bundle;
pub mod folder;
pub mod keys;
pub mod statement;

use std::path::Path;

use crate::error::{Error, Result, at};
use bundle::{Bundle, Method};
use folder::Listed;
use keys::{PrivateKey, PublicKey};
use statement::Statement;

/// What a bundle is called beside the files it speaks of, and never lists.
pub const BUNDLE_NAME: &str = "model.sig";

/// Signs the files below `folder`, but for those of git, as the model `name`; gives the bundle's text. `stop` ends it with `None`.
///
/// # Errors
/// What the system says; [`Error::Mismatch`] for a folder without files, or one with links.
pub fn sign(
    folder: &Path,
    name: &str,
    key: &PrivateKey,
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(u64),
) -> Result<Option<Vec<u8>>> {
    let Some(files) = folder::list(folder, statement::IGNORED, stop, tell)? else { return Ok(None) };
    if files.is_empty() {
        return Err(wrong(folder, "files", "none", "at least one to sign"));
    }
    let payload = Statement::of(name, &files).to_bytes();
    Ok(Some(Bundle::sign(&payload, key)?.to_bytes()))
}

/// That `text` is a bundle, signed with `key`, and that the files below `folder` are those it lists and no others. `stop`
/// ends it with `None`.
///
/// # Errors
/// [`Error::Mismatch`] with the first thing that is not as it should be.
pub fn verify(
    folder: &Path,
    text: &[u8],
    key: &PublicKey,
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(u64),
) -> Result<Option<Statement>> {
    let shown = folder.display().to_string();
    let statement = verify_statement(&shown, text, key)?;
    statement.is_readable(&shown)?;
    let ignored: Vec<&str> = statement.ignored().chain([BUNDLE_NAME]).collect();
    let Some(found) = folder::list(folder, &ignored, stop, tell)? else { return Ok(None) };
    compare(&shown, &found, statement.files())?;
    Ok(Some(statement))
}

/// That `text` is a bundle signed with `key`; gives what was signed. `what` names it in errors. Reads no file.
///
/// # Errors
/// [`Error::Mismatch`] for a wrong form, another method or key, and a signature that is none.
pub fn verify_statement(what: &str, text: &[u8], key: &PublicKey) -> Result<Statement> {
    let bundle = Bundle::parse(what, text)?;
    let statement = Statement::parse(what, bundle.payload())?;
    match bundle.method() {
        Method::Key { hint } => bundle.verify(what, key, hint)?,
        other => {
            return Err(mismatch(
                what,
                "signature",
                &format!("signed by {}", other.name()),
                "signed by a key",
            ));
        }
    }
    Ok(statement)
}

/// The bundle beside the files of `folder`.
///
/// # Errors
/// What the system says; [`Error::Mismatch`] for one that is too long.
pub fn read_bundle(folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(BUNDLE_NAME);
    let size = at(&path, std::fs::metadata(&path))?.len();
    if size > bundle::BYTES_MAX {
        let expected = format!("at most {} bytes", bundle::BYTES_MAX);
        return Err(wrong(&path, "bundle", &format!("{size} bytes"), &expected));
    }
    at(&path, std::fs::read(&path))
}

/// Every listed file is there as it was, and nothing else is. Both are sorted by name.
fn compare(what: &str, found: &[Listed], listed: &[Listed]) -> Result<()> {
    let other = |name: &str| listed.iter().all(|l| l.name != name);
    if let Some(extra) = found.iter().find(|f| other(&f.name)) {
        return Err(mismatch(what, &extra.name, "a file that is not signed", "only signed files"));
    }
    for file in listed {
        match found.iter().find(|f| f.name == file.name) {
            None => return Err(mismatch(what, &file.name, "nothing", "a signed file")),
            Some(f) if f.digest != file.digest => {
                return Err(mismatch(what, &file.name, &f.digest.to_string(), &file.digest.to_string()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn wrong(path: &Path, part: &str, found: &str, expected: &str) -> Error {
    mismatch(&path.display().to_string(), part, found, expected)
}

pub(crate) fn mismatch(what: &str, part: &str, found: &str, expected: &str) -> Error {
    Error::Mismatch {
        file: what.to_owned(),
        part: part.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}
