//! Private files at rest: whether they are sealed, with which key, and who keeps that.
//!
//! A user has one key or none ([`ingle_store::sealed`]); the key file beside their models says who keeps it. With a key all that the
//! program writes of what was said is sealed (`--at-rest auto`), without one it lies open; `sealed` refuses to write anything open,
//! `plain` has nothing sealed. The key is fetched when the first file needs it, and a passphrase asked for once. See `docs/at-rest.md`.

mod form;
pub mod keystore;
pub mod passphrase;

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_engine::at_rest::{Form, Plain};
use ingle_model::file::folder::peft;
use ingle_store::sealed::key_file::{Kept, KeyFile};
use ingle_store::sealed::{Key, MAGIC, is_sealed};
use zeroize::Zeroizing;

use crate::env::{Env, say};
use crate::exit::Failure;
use form::Sealed;

/// What files are for that a user seals by name.
pub const FILE_LABEL: &str = "file";
/// What the lines typed in a chat are for.
pub const HISTORY_LABEL: &str = "history";
/// A sealed file that is opened in memory may be so large: adapters are, not models.
const IN_MEMORY_MAX: u64 = 4 << 30;

/// The key of this command, once it was needed.
#[derive(Debug, Default)]
pub struct AtRest {
    /// From the environment.
    pub passphrase: Option<Zeroizing<String>>,
    /// The one to set, from the environment.
    pub new_passphrase: Option<Zeroizing<String>>,
    opened: OnceCell<Option<Key>>,
}

impl AtRest {
    /// With what variables say, that nobody may see on a command line.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| var(name).filter(|text| !text.is_empty()).map(Zeroizing::new);
        Self {
            passphrase: given("INGLE_PASSPHRASE"),
            new_passphrase: given("INGLE_NEW_PASSPHRASE"),
            opened: OnceCell::new(),
        }
    }
}

/// Where the key file lies.
pub fn key_path(env: &Env) -> PathBuf {
    env.dirs.data.join("key.json")
}

/// The user's key; `None` where there is none. It may be asked for.
pub fn key(env: &Env) -> Result<Option<Key>, Failure> {
    if let Some(key) = env.at_rest.opened.get() {
        return Ok(key.clone());
    }
    let path = key_path(env);
    let key = match KeyFile::read(&path)? {
        None => None,
        Some(file) => Some(open(&file, &path, env)?),
    };
    Ok(env.at_rest.opened.get_or_init(|| key).clone())
}

/// The key that `file` keeps.
pub fn open(file: &KeyFile, path: &Path, env: &Env) -> Result<Key, Failure> {
    match &file.kept {
        Kept::File(key) => Ok(key.clone()),
        Kept::Keystore => keystore::get(&file.id),
        Kept::Passphrase(_) => passphrase::open(file, path, env),
    }
}

/// How files that were said or learned are to lie on disk.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The form, for the engine.
    pub form: Arc<dyn Form>,
    /// Whether it needs a key to be read.
    seals: bool,
}

/// The form that the settings and the key come to.
pub fn chosen(env: &Env) -> Result<Chosen, Failure> {
    let wish = env.settings.text("at-rest").expect("it has a default");
    let key = if wish == "plain" { None } else { key(env)? };
    match key {
        Some(key) => Ok(Chosen { form: Arc::new(Sealed::new(key)), seals: true }),
        None if wish == "sealed" => Err(Failure::blocked(
            "--at-rest sealed: there is no key to seal with; `ingle key new` makes one, or --at-rest plain writes open files",
        )),
        None => Ok(Chosen { form: Arc::new(Plain), seals: false }),
    }
}

impl Chosen {
    /// Brings the file at `path`, if it is there, into this form: one that lies open is sealed in its place. A sealed one is not opened
    /// for good because somebody asked for plain files once.
    pub fn adopt(&self, path: &Path, label: &str) -> Result<(), Failure> {
        let is_sealed = is_sealed_at(path);
        if !path.is_file() || is_sealed == self.seals {
            return Ok(());
        }
        if is_sealed {
            let why =
                "it is sealed, expected an open file: its key is gone, or --at-rest plain was asked for";
            return Err(Failure::invalid(format!("{}: {why}", path.display())));
        }
        let old = File::open(path).map_err(|e| Failure::file(path, &e))?;
        let n_bytes = old.metadata().map_err(|e| Failure::file(path, &e))?.len();
        rewrite(path, |new| self.form.write(new, label, &mut |out| copy(&old, n_bytes, out)))?;
        say(format_args!("note: {} was open and is sealed now", path.display()));
        Ok(())
    }

    /// Writes a small text for `label`, whole or not at all.
    pub fn write_text(&self, path: &Path, label: &str, text: &[u8]) -> Result<(), Failure> {
        rewrite(path, |new| self.form.write(new, label, &mut |out| out.write_all(text)))
    }

    /// Reads it.
    pub fn read_text(&self, path: &Path, label: &str) -> Result<Vec<u8>, Failure> {
        let failed = |e: io::Error| unreadable(path, &e);
        let file = File::open(path).map_err(failed)?;
        let n_bytes = file.metadata().map_err(failed)?.len();
        let (from, n_plain) = self.form.read(file, n_bytes, label).map_err(failed)?;
        let mut out = Vec::new();
        from.take(n_plain).read_to_end(&mut out).map_err(failed)?;
        Ok(out)
    }
}

/// The two files of an adapter of the peft library, if `path` is its folder or its file of weights.
pub fn peft_parts(path: &Path) -> Option<[PathBuf; 2]> {
    let is_weights = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    if path.is_dir() {
        return Some([path.join(peft::CONFIG), path.join(peft::WEIGHTS)]);
    }
    is_weights.then(|| [path.with_file_name(peft::CONFIG), path.to_owned()])
}

/// The files of the adapter in the folder at `path`.
fn folder_parts(path: &Path) -> Result<[PathBuf; 2], Failure> {
    let parts = [path.join(peft::CONFIG), path.join(peft::WEIGHTS)];
    match parts.iter().find(|part| !part.is_file()) {
        None => Ok(parts),
        Some(part) => Err(Failure::not_found(format!(
            "{}: no such file, expected a folder of PEFT with {} and {}",
            part.display(),
            peft::CONFIG,
            peft::WEIGHTS
        ))),
    }
}

/// Seals the file at `path` with `key`, in its place, or the two files of the adapter in the folder at `path`.
pub fn seal(path: &Path, key: Key) -> Result<(), Failure> {
    if path.is_dir() {
        // One that was ended between the two goes on with the second.
        let parts = folder_parts(path)?;
        let open: Vec<&PathBuf> = parts.iter().filter(|part| !is_sealed_at(part)).collect();
        if open.is_empty() {
            return Err(Failure::usage(format!("{}: it is sealed already", path.display())));
        }
        return open.into_iter().try_for_each(|part| seal(part, key.clone()));
    }
    if is_sealed_at(path) {
        return Err(Failure::usage(format!("{}: it is sealed already", path.display())));
    }
    let old = File::open(path).map_err(|e| Failure::file(path, &e))?;
    let n_bytes = old.metadata().map_err(|e| Failure::file(path, &e))?.len();
    let sealed = Sealed::new(key);
    rewrite(path, |new| sealed.write(new, FILE_LABEL, &mut |out| copy(&old, n_bytes, out)))
}

/// Writes to `to` what was sealed at `path`; where they are the same, in its place. Of a folder its two files, those that are sealed.
pub fn unseal(path: &Path, to: &Path, key: Key) -> Result<(), Failure> {
    if path.is_dir() {
        let parts = folder_parts(path)?;
        fs::create_dir_all(to).map_err(|e| Failure::file(to, &e))?;
        let is_in_place = path == to;
        let is_open = |part: &Path| !is_sealed_at(part);
        if parts.iter().all(|part| is_open(part)) {
            return Err(Failure::invalid(format!("{}: nothing in it is sealed", path.display())));
        }
        for part in &parts {
            let to = to.join(part.file_name().unwrap_or_default());
            match is_open(part) {
                true if is_in_place => {}
                true => _ = fs::copy(part, &to).map_err(|e| Failure::file(&to, &e))?,
                false => unseal(part, &to, key.clone())?,
            }
        }
        return Ok(());
    }
    let failed = |e: io::Error| unreadable(path, &e);
    let old = File::open(path).map_err(failed)?;
    let n_bytes = old.metadata().map_err(failed)?.len();
    let (mut from, n_plain) = Sealed::new(key).read(old, n_bytes, FILE_LABEL).map_err(failed)?;
    let mut why = None;
    let written = rewrite(to, |new| {
        let mut out = &new;
        // A frame that is refused is the file's fault, not that of what is written.
        let copied = copy(&mut from, n_plain, &mut out).inspect_err(|e| {
            why = (e.kind() == io::ErrorKind::InvalidData).then(|| unreadable(path, e));
        });
        copied.map(|()| new)
    });
    why.map_or(written, Err)
}

/// What was sealed at `path`, in memory; `None` where the file is not sealed.
pub fn read_sealed(path: &Path, env: &Env) -> Result<Option<Vec<u8>>, Failure> {
    if !path.is_file() || !is_sealed_at(path) {
        return Ok(None);
    }
    let failed = |e: io::Error| unreadable(path, &e);
    let Some(key) = key(env)? else {
        return Err(Failure::invalid(format!("{}: it is sealed, and there is no key here", path.display())));
    };
    let file = File::open(path).map_err(failed)?;
    let n_bytes = file.metadata().map_err(failed)?.len();
    let (mut from, n_plain) = Sealed::new(key).read(file, n_bytes, FILE_LABEL).map_err(failed)?;
    if n_plain > IN_MEMORY_MAX {
        let said = format!("{}: {n_plain} sealed bytes, expected at most {IN_MEMORY_MAX}", path.display());
        return Err(Failure::invalid(said));
    }
    let mut out = Vec::new();
    from.read_to_end(&mut out).map_err(failed)?;
    Ok(Some(out))
}

/// The file at `path` in memory, sealed or not.
pub fn read_any(path: &Path, env: &Env) -> Result<Vec<u8>, Failure> {
    if let Some(bytes) = read_sealed(path, env)? {
        return Ok(bytes);
    }
    let failed = |e: io::Error| Failure::file(path, &e);
    let file = File::open(path).map_err(failed)?;
    let n_bytes = file.metadata().map_err(failed)?.len();
    if n_bytes > IN_MEMORY_MAX {
        let said = format!("{}: {n_bytes} bytes, expected at most {IN_MEMORY_MAX}", path.display());
        return Err(Failure::invalid(said));
    }
    let mut out = Vec::new();
    file.take(n_bytes).read_to_end(&mut out).map_err(failed)?;
    Ok(out)
}

/// Whether the file at `path` begins as sealed files do.
pub fn is_sealed_at(path: &Path) -> bool {
    let mut beginning = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut beginning));
    read.is_ok() && is_sealed(&beginning)
}

/// New random bytes of the system's.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn copy(from: impl Read, n_bytes: u64, mut to: impl Write) -> io::Result<()> {
    match io::copy(&mut from.take(n_bytes), &mut to)? {
        n if n == n_bytes => Ok(()),
        n => Err(io::Error::other(format!("{n} bytes of {n_bytes}: it changed while it was read"))),
    }
}

/// Replaces the file at `path`, for its owner alone, by what `write` makes of a new one; whole or not at all.
fn rewrite(path: &Path, write: impl FnOnce(File) -> io::Result<File>) -> Result<(), Failure> {
    let part = path.with_added_extension("part");
    let _ = fs::remove_file(&part);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&part).and_then(write).and_then(|file| file.sync_all());
    written.and_then(|()| fs::rename(&part, path)).map_err(|e| {
        let _ = fs::remove_file(&part);
        Failure::file(path, &e)
    })
}

/// The sentence for a sealed file that can't be read.
fn unreadable(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Failure::invalid(format!("{}: {error}", path.display()))
        }
        _ => Failure::file(path, error),
    }
}
