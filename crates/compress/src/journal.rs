//! What is done of a long run, on disk, so that a run that was killed goes on where it was and ends with the same bytes.
//!
//! A folder beside the output, `.NAME.compress`, holds a file `key` that says what is being done; a journal with another key is begun
//! anew. Each part of the work, a layer or a tensor, is a file of its tensors, and a stream is the residual stream between two layers,
//! of which only the last is kept. Parts are named by who runs, so that work that is done in more than one way stands side by side.
//! Every file ends with the SHA-256 of what stands before, and gets its name when it is whole; one that does not hold its hash counts
//! as not there. A lock in the folder keeps a second run with the same output out; it is taken before it is known what is to be done,
//! which may be long work already. Who finishes removes the folder.

use std::fs::{self, File, TryLockError};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use ingle_kernel::quant::{self, Format};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::inputs::RoundedInputs;
use crate::report::Loss;

/// A tensor that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Name in the file.
    pub name: String,
    /// Format it has now.
    pub format: &'static Format,
    /// What it lost; `None` where its bytes are the source's.
    pub loss: Option<Loss>,
    /// What rounding its inputs costs, where that was measured.
    pub inputs: Option<RoundedInputs>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    lock: Lock,
}

/// The folder of a journal, which no other run has as long as this lives.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
    file: Option<File>,
}

const HASH: usize = 32;
const LOCK: &str = "lock";
/// Says what is being done.
const KEY: &str = "key";
/// The longest name and the most tensors of a part; a part with more is damaged.
const NAME_MAX: usize = 65_535;
const TENSORS_MAX: usize = 1 << 20;

impl Lock {
    /// The folder of a run that writes `output`.
    ///
    /// # Errors
    /// [`Error::Busy`] while another run has it, and what the system says.
    pub fn new(output: &Path) -> Result<Self> {
        let folder = folder_of(output);
        fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
        let path = folder.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| failed(&path, e))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Busy { file: output.display().to_string() }),
            // A file system without locks, or with none left: better unguarded than not at all.
            Err(TryLockError::Error(_)) | Ok(()) => Ok(Self { folder, file: Some(file) }),
        }
    }

    /// Whether what lies in the folder is of the work `key`.
    pub fn is_of(&self, key: &str) -> bool {
        read(&self.folder.join(KEY)).is_some_and(|known| known == key.as_bytes())
    }

    /// Whether a run has noted `what`, whatever its work.
    pub fn has_noted(&self, what: &str) -> bool {
        read(&self.folder.join(what)).is_some()
    }

    /// The journal of the work `key`: gone on with when there is one, begun anew otherwise. Second: whether it is gone on with.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(self, key: &str) -> Result<(Journal, bool)> {
        let goes_on = self.is_of(key);
        if !goes_on {
            self.clear()?;
        }
        let journal = Journal { lock: self };
        if !goes_on {
            journal.write(KEY, |out| out.write_all(key.as_bytes()))?;
        }
        Ok((journal, goes_on))
    }

    /// Removes all but the lock.
    fn clear(&self) -> Result<()> {
        let clear = || -> std::io::Result<()> {
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                if !path.ends_with(LOCK) {
                    fs::remove_file(&path)?;
                }
            }
            Ok(())
        };
        clear().map_err(|e| failed(&self.folder, e))
    }
}

impl Drop for Lock {
    /// Removes the folder where nothing else is in it; what is, the next run may go on with.
    fn drop(&mut self) {
        let is_lock =
            |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == LOCK);
        if fs::read_dir(&self.folder).is_ok_and(|mut entries| entries.all(is_lock)) {
            // Closed when its name is gone, so that no run is let in before. A network file system keeps an open file under another name,
            // and a folder that stays is no harm.
            let _ = fs::remove_file(self.folder.join(LOCK));
            self.file = None;
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

impl Journal {
    /// The tensors of `part`, if it is done.
    pub fn tensors(&self, part: &str) -> Option<Vec<Done>> {
        parse(&self.read(part)?)
    }

    /// Notes that `part` is done.
    pub fn put(&self, part: &str, tensors: &[Done]) -> Result<()> {
        self.write(part, |out| {
            out.write_all(&(tensors.len() as u64).to_le_bytes())?;
            for Done { name, format, loss, inputs, bytes } in tensors {
                let has = usize::from(loss.is_some()) | usize::from(inputs.is_some()) << 1;
                for number in [name.len(), format.ggml_id as usize, has, bytes.len()] {
                    out.write_all(&(number as u64).to_le_bytes())?;
                }
                let Loss { error, energy, n_not_finite } = loss.unwrap_or_default();
                out.write_all(&error.to_le_bytes())?;
                out.write_all(&energy.to_le_bytes())?;
                out.write_all(&n_not_finite.to_le_bytes())?;
                let RoundedInputs { n_inputs, energy, without, with } = inputs.unwrap_or_default();
                out.write_all(&n_inputs.to_le_bytes())?;
                for sum in [energy, without, with] {
                    out.write_all(&sum.to_le_bytes())?;
                }
                out.write_all(name.as_bytes())?;
                out.write_all(bytes)?;
            }
            Ok(())
        })
    }

    /// The stream called `name`, if it was kept and has `n` values.
    pub fn stream(&self, name: &str, n: usize) -> Option<Vec<f32>> {
        let bytes = self.read(&stream(name)).filter(|bytes| bytes.len() == 4 * n)?;
        Some(bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    /// Keeps the stream called `name` instead of the one called `last`.
    pub fn keep_stream(&self, name: &str, values: &[f32], last: &str) -> Result<()> {
        self.write(&stream(name), |out| values.iter().try_for_each(|v| out.write_all(&v.to_le_bytes())))?;
        // A stream too many is no harm.
        let _ = fs::remove_file(self.path(&stream(last)));
        Ok(())
    }

    /// Notes `what` for good, as long as the work is not finished.
    pub fn note(&self, what: &str) -> Result<()> {
        self.write(what, |_| Ok(()))
    }

    /// Whether this work has noted `what`.
    pub fn has_noted(&self, what: &str) -> bool {
        self.lock.has_noted(what)
    }

    /// A file of the run's own in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.lock.folder.join(name)
    }

    /// Removes it all.
    pub fn remove(self) -> Result<()> {
        self.lock.clear()
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        read(&self.path(name))
    }

    fn write(&self, name: &str, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        let (path, part) = (self.path(name), self.path(&format!("{name}.part")));
        let written = || -> std::io::Result<()> {
            let mut out =
                Hashing { out: BufWriter::with_capacity(1 << 20, File::create(&part)?), hash: Sha256::new() };
            fill(&mut out)?;
            let Hashing { mut out, hash } = out;
            out.write_all(&hash.finalize())?;
            out.into_inner()?.sync_all()?;
            fs::rename(&part, &path)
        };
        written().map_err(|e| failed(&path, e))
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Write { file: path.display().to_string(), source }
}

/// Where the journal of a run that writes `output` lies.
fn folder_of(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    output.with_file_name(format!(".{name}.compress"))
}

/// What stands in the file at `path` before its hash; nothing where it is missing or damaged.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    BufReader::new(File::open(path).ok()?).read_to_end(&mut bytes).ok()?;
    let content = bytes.len().checked_sub(HASH)?;
    let holds = Sha256::digest(&bytes[..content])[..] == bytes[content..];
    bytes.truncate(content);
    holds.then_some(bytes)
}

fn stream(name: &str) -> String {
    format!("stream-{name}")
}

/// The tensors of a part; `None` when it does not hold together.
fn parse(bytes: &[u8]) -> Option<Vec<Done>> {
    let mut rest = bytes;
    let n = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok().filter(|&n| n <= TENSORS_MAX)?;
    let mut tensors = Vec::new();
    for _ in 0..n {
        let mut number = || Some(u64::from_le_bytes(take(&mut rest)?));
        let (n_name, id, has, n_bytes) = (number()?, number()?, number()?, number()?);
        let loss = Loss {
            error: f64::from_le_bytes(take(&mut rest)?),
            energy: f64::from_le_bytes(take(&mut rest)?),
            n_not_finite: u64::from_le_bytes(take(&mut rest)?),
        };
        let inputs = RoundedInputs {
            n_inputs: u64::from_le_bytes(take(&mut rest)?),
            energy: f64::from_le_bytes(take(&mut rest)?),
            without: f64::from_le_bytes(take(&mut rest)?),
            with: f64::from_le_bytes(take(&mut rest)?),
        };
        let n_name = usize::try_from(n_name).ok().filter(|&n| n <= NAME_MAX)?;
        let (name, tail) = rest.split_at_checked(n_name)?;
        let (bytes, tail) = tail.split_at_checked(usize::try_from(n_bytes).ok()?)?;
        rest = tail;
        tensors.push(Done {
            name: String::from_utf8(name.into()).ok()?,
            format: quant::by_ggml_id(u32::try_from(id).ok()?)?,
            loss: (has & 1 == 1).then_some(loss),
            inputs: (has & 2 == 2).then_some(inputs),
            bytes: bytes.into(),
        });
    }
    rest.is_empty().then_some(tensors)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>()?;
    *bytes = tail;
    Some(*head)
}

/// Hashes what it passes on.
struct Hashing<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ingle-journal-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir.join("out.gguf")
    }

    fn begun(output: &Path, key: &str) -> (Journal, bool) {
        Lock::new(output).unwrap().begin(key).unwrap()
    }

    fn done(name: &str) -> Done {
        let loss = Some(Loss { error: 0.5, energy: 2.0, n_not_finite: 0 });
        let inputs = Some(RoundedInputs { n_inputs: 3, energy: 8.0, without: 0.5, with: 0.25 });
        let format = quant::by_name("q8_0").unwrap();
        Done { name: name.into(), format, loss, inputs, bytes: vec![7; 34] }
    }

    #[test]
    fn what_was_put_is_there_for_the_same_work_only() {
        let output = output("same");
        let (journal, went_on) = begun(&output, "this");
        assert!(!went_on && journal.tensors("layer-0000").is_none());
        let tensors = [done("a"), Done { loss: None, inputs: None, bytes: Vec::new(), ..done("b") }];
        journal.put("layer-0000", &tensors).unwrap();
        journal.keep_stream("1", &[1.0, -0.0], "0").unwrap();
        drop(journal);
        let (again, went_on) = begun(&output, "this");
        assert!(went_on);
        assert_eq!(again.tensors("layer-0000").unwrap(), tensors);
        let stream = again.stream("1", 2).unwrap();
        assert!(stream == [1.0, 0.0] && stream[1].is_sign_negative() && again.stream("1", 1).is_none());
        again.keep_stream("2", &[0.0], "1").unwrap();
        assert_eq!(again.stream("1", 2), None);
        drop(again);
        let (other, went_on) = begun(&output, "that");
        assert!(!went_on && other.tensors("layer-0000").is_none() && other.stream("2", 1).is_none());
        other.remove().unwrap();
        assert!(fs::read_dir(output.parent().unwrap()).unwrap().next().is_none());
    }

    #[test]
    fn two_runs_with_one_output_do_not_meet() {
        let output = output("two");
        let (first, _) = begun(&output, "this");
        first.put("ends", &[done("a")]).unwrap();
        let said = Lock::new(&output).unwrap_err().to_string();
        assert_eq!(said, format!("{}: another run is writing it", output.display()));
        assert!(first.tensors("ends").is_some());
        drop(first);
        let (again, went_on) = begun(&output, "this");
        assert!(went_on);
        again.remove().unwrap();
    }

    #[test]
    fn what_was_noted_is_known_before_the_work_is_and_of_this_work_alone() {
        let output = output("noted");
        assert!(!Lock::new(&output).unwrap().has_noted("this"));
        let (journal, _) = begun(&output, "key");
        journal.note("this").unwrap();
        drop(journal);
        let lock = Lock::new(&output).unwrap();
        assert!(lock.has_noted("this") && !lock.has_noted("that"));
        assert!(lock.is_of("key") && !lock.is_of("other"));
        let (journal, _) = lock.begin("key").unwrap();
        assert!(journal.has_noted("this"));
        drop(journal);
        assert!(!begun(&output, "other").0.has_noted("this"));
    }

    #[test]
    fn a_lock_leaves_nothing_but_what_a_run_can_go_on_with() {
        let output = output("left");
        let folder = folder_of(&output);
        let lock = Lock::new(&output).unwrap();
        assert!(folder.exists());
        drop(lock);
        assert!(!folder.exists());
        let (journal, _) = begun(&output, "key");
        drop(journal);
        drop(Lock::new(&output).unwrap());
        let lock = Lock::new(&output).unwrap();
        assert!(lock.is_of("key"));
        let (journal, _) = lock.begin("key").unwrap();
        journal.note("this").unwrap();
        journal.remove().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn damage_counts_as_not_there() {
        let output = output("damage");
        let (journal, _) = begun(&output, "key");
        journal.put("ends", &[done("a")]).unwrap();
        let path = journal.path("ends");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(journal.tensors("ends").is_none(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(journal.tensors("ends").is_none(), "{at} bytes");
            // Even with a hash that holds, a part is read with care.
            let _ = parse(&bytes[..at]);
        }
        journal.remove().unwrap();
    }
}
