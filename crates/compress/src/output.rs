//! New files that are there whole or not at all.
//!
//! The bytes go to a file beside the target, which takes the target's name once they are all on the disk; when anything
//! fails, a full disk included, what was written is removed and the target is as it was. Only a process that is killed
//! leaves its part behind, `.NAME.N.part` with the first number that was free, which nothing takes for a model. A folder that is replaced steps aside first, as
//! `.NAME.N.old`: a process that is killed at that moment leaves the old one and the new one under these names, and nothing under the
//! target's own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::mem;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What to do about a target that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it: an error.
    Keep,
    /// Replace it.
    Replace,
}

/// Fails when `target` can't be made from `inputs`: when it is one of them, or exists and is to be kept. Costs no writing, so
/// it can be asked before the work; [`write()`] asks again.
pub fn check<'a>(
    target: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
    existing: Existing,
) -> Result<()> {
    let file = || target.display().to_string();
    let same = |input: &Path| Some(fs::canonicalize(input).ok()? == fs::canonicalize(target).ok()?);
    if inputs.into_iter().any(|input| same(input).unwrap_or(false)) {
        return Err(Error::SameFile { file: file() });
    }
    match fs::symlink_metadata(target) {
        Ok(_) if existing == Existing::Keep => Err(Error::Exists { file: file() }),
        Ok(meta) if meta.is_dir() => Err(Error::Write {
            file: file(),
            source: io::Error::other("is a folder, expected a file's name"),
        }),
        _ => Ok(()),
    }
}

/// Makes `target` of what `fill` writes.
///
/// # Errors
/// Those of [`check`] and of `fill`, and what the system says; then nothing is left behind.
pub fn write<'a, T>(
    target: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
    existing: Existing,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T>,
) -> Result<T> {
    let (begun, mut out) = Begun::new(target, inputs, existing)?;
    let outcome = fill(&mut out).map_err(|e| match e {
        Error::Stream(source) => begun.failed(source),
        other => other,
    })?;
    begun.finish(out)?;
    Ok(outcome)
}

/// A file on its way to its name, for what is written bit by bit; [`write()`] is for all else. Dropped before its end, nothing is left.
#[derive(Debug)]
pub struct Begun {
    target: PathBuf,
    inputs: Vec<PathBuf>,
    existing: Existing,
    part: Part,
}

impl Begun {
    /// Begins `target`; second: where its bytes go.
    ///
    /// # Errors
    /// Those of [`check`], and what the system says.
    pub fn new<'a>(
        target: &Path,
        inputs: impl IntoIterator<Item = &'a Path>,
        existing: Existing,
    ) -> Result<(Self, BufWriter<File>)> {
        let inputs: Vec<PathBuf> = inputs.into_iter().map(Path::to_owned).collect();
        check(target, inputs.iter().map(PathBuf::as_path), existing)?;
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let made = beside(target, create);
        let (part, file) =
            made.map_err(|source| Error::Write { file: target.display().to_string(), source })?;
        let begun = Self { target: target.to_owned(), inputs, existing, part };
        Ok((begun, BufWriter::with_capacity(1 << 20, file)))
    }

    /// Gives the file its name, once `out` has all its bytes.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn finish(self, mut out: BufWriter<File>) -> Result<()> {
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(|e| self.failed(e))?;
        drop(out);
        check(&self.target, self.inputs.iter().map(PathBuf::as_path), self.existing)?;
        let Self { target, part, .. } = self;
        part.rename(&target).map_err(|source| Error::Write { file: target.display().to_string(), source })
    }

    /// What the system says, of the target.
    pub fn failed(&self, source: io::Error) -> Error {
        Error::Write { file: self.target.display().to_string(), source }
    }
}

/// Makes the folder `target` of what `fill` puts into an empty one. A folder that is replaced must be one of a model.
///
/// # Errors
/// Those of `fill`, and what the system says; then nothing is left behind, and what was replaced is as it was.
pub fn write_folder<T>(
    target: &Path,
    input: Option<&Path>,
    existing: Existing,
    fill: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    check_folder(target, input, existing)?;
    let failed = |source| Error::Write { file: target.display().to_string(), source };
    let create = |path: &Path| match path.with_extension("old").exists() {
        true => Err(ErrorKind::AlreadyExists.into()),
        false => fs::create_dir(path),
    };
    let (part, ()) = beside(target, create).map_err(failed)?;
    let outcome = fill(&part.0)?;
    check_folder(target, input, existing)?;
    let old = part.0.with_extension("old");
    let has_old = target.exists();
    if has_old {
        fs::rename(target, &old).map_err(failed)?;
    }
    if let Err(source) = part.rename(target) {
        if has_old {
            let _ = fs::rename(&old, target);
        }
        return Err(failed(source));
    }
    if has_old {
        fs::remove_dir_all(&old).map_err(failed)?;
    }
    Ok(outcome)
}

/// Fails when the folder `target` can't be made from `input`, as [`check`].
pub fn check_folder(target: &Path, input: Option<&Path>, existing: Existing) -> Result<()> {
    let file = || target.display().to_string();
    let other = |said: &str| Error::Write { file: file(), source: io::Error::other(said.to_owned()) };
    let same = |input: &Path| Some(fs::canonicalize(input).ok()? == fs::canonicalize(target).ok()?);
    if input.and_then(same).unwrap_or(false) {
        return Err(Error::SameFile { file: file() });
    }
    if input.is_some_and(|input| is_within(input, target)) {
        return Err(other("holds the input, expected another folder (the input is never changed)"));
    }
    match fs::symlink_metadata(target) {
        Ok(_) if existing == Existing::Keep => Err(Error::Exists { file: file() }),
        Ok(meta) if !meta.is_dir() => Err(other("is a file, expected a folder's name")),
        Ok(_) if !target.join("config.json").is_file() => {
            Err(other("is a folder without config.json, expected one of a model to replace"))
        }
        _ => Ok(()),
    }
}

/// Whether `input`, or a link of that name, lies somewhere in the folder `target`.
fn is_within(input: &Path, target: &Path) -> bool {
    let Ok(target) = fs::canonicalize(target) else { return false };
    let input = std::path::absolute(input).unwrap_or_else(|_| input.to_owned());
    let mut places = [Some(&*input), input.parent()].into_iter().flatten();
    places.any(|place| fs::canonicalize(place).is_ok_and(|place| place.starts_with(&target)))
}

/// What `create` makes in the target's folder, under the first name that nobody has taken: numbers of processes come again.
fn beside<T>(target: &Path, create: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Part, T)> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut n = 0;
    loop {
        let path = target.with_file_name(format!(".{name}.{n}.part"));
        match create(&path) {
            Ok(made) => return Ok((Part(path), made)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => n += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Removed when dropped.
#[derive(Debug)]
struct Part(PathBuf);

impl Part {
    /// Gives it the name `target`. What is dropped then removes nothing: its old name is free, and may be another process's already.
    fn rename(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.0, target)?;
        mem::forget(self);
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ingle-output-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = folder("whole");
        let target = dir.join("out");
        let full = write(&target, None, Existing::Keep, |out| -> Result<()> {
            out.write_all(&[1; 5000])?;
            Err(io::Error::from(ErrorKind::StorageFull).into())
        });
        assert!(full.unwrap_err().to_string().starts_with(&target.display().to_string()));
        assert!(names(&dir).is_empty());
        write(&target, None, Existing::Keep, |out| Ok(out.write_all(b"first")?)).unwrap();
        let again = write(&target, None, Existing::Keep, |out| Ok(out.write_all(b"second")?));
        assert!(matches!(again, Err(Error::Exists { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"first");
        write(&target, None, Existing::Replace, |out| Ok(out.write_all(b"second")?)).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"second");
        assert_eq!(names(&dir), ["out"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_that_is_begun_and_dropped_leaves_what_was_there() {
        let dir = folder("dropped");
        let target = dir.join("out");
        fs::write(&target, b"first").unwrap();
        let (begun, mut out) = Begun::new(&target, None, Existing::Replace).unwrap();
        out.write_all(b"second").unwrap();
        drop((begun, out));
        assert_eq!((names(&dir), fs::read(&target).unwrap()), (vec!["out".into()], b"first".to_vec()));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_input_is_never_the_output() {
        let dir = folder("input");
        let input = dir.join("in");
        fs::write(&input, b"weights").unwrap();
        let roundabout = dir.join(".").join("in");
        for existing in [Existing::Keep, Existing::Replace] {
            let refused = write(&roundabout, Some(&*input), existing, |out| Ok(out.write_all(b"x")?));
            assert!(matches!(refused, Err(Error::SameFile { .. })));
        }
        assert_eq!(fs::read(&input).unwrap(), b"weights");
        let missing = write(&dir.join("no/such/out"), Some(&*input), Existing::Keep, |_| Ok(()));
        assert!(matches!(missing, Err(Error::Write { .. })));
        assert_eq!(names(&dir), ["in"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_others_have_begun_is_left_alone() {
        let dir = folder("begun");
        for part in [".out.0.part", ".out.1.part"] {
            fs::write(dir.join(part), b"another's").unwrap();
        }
        fs::create_dir_all(dir.join(".model.0.old/weights")).unwrap();
        let [target, model] = ["out", "model"].map(|name| dir.join(name));
        write(&target, None, Existing::Keep, |out| Ok(out.write_all(b"mine")?)).unwrap();
        fs::create_dir(&model).unwrap();
        fs::write(model.join("config.json"), b"{}").unwrap();
        write_folder(&model, None, Existing::Replace, |_| Ok(())).unwrap();
        assert_eq!(names(&dir), [".model.0.old", ".out.0.part", ".out.1.part", "model", "out"]);
        assert_eq!(fs::read(dir.join(".out.1.part")).unwrap(), b"another's");
        assert!(names(&model).is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_folder_that_holds_the_input_is_not_replaced() {
        let dir = folder("within");
        let [target, inner, other] = ["model", "model/weights", "other"].map(|name| dir.join(name));
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir(&other).unwrap();
        for folder in [&target, &other] {
            fs::write(folder.join("config.json"), b"{}").unwrap();
        }
        let input = inner.join("in.gguf");
        fs::write(&input, b"weights").unwrap();
        for existing in [Existing::Keep, Existing::Replace] {
            let refused = write_folder(&target, Some(&input), existing, |_| Ok(()));
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("holds the input"), "{said}");
        }
        assert_eq!(fs::read(&input).unwrap(), b"weights");
        write_folder(&other, Some(&input), Existing::Replace, |_| Ok(())).unwrap();
        assert!(names(&other).is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }
}
