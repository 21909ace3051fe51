//! What left: an append-only log whose entries hold on to each other.
//!
//! An entry is a line of JSON, written and synchronised *before* anything is sent: when, where to, for which rule, what was
//! replaced, how many bytes and their SHA-256; never the text. Each line ends with the hash of itself and of the line before, so a line
//! that was changed, left out or put in breaks the chain behind it. The last hash and the number of entries stand in a file beside it
//! (`.head`), which shows a cut end. Who can write both files can make both anew: the log is evidence against accidents and other
//! programs, not against the owner of the device.
//!
//! Writers of several processes take turns by locking the log, and readers keep them out meanwhile. A line that was being written when the
//! power went belongs to nothing that was sent: it is passed over, and taken away by the next entry, where the head knows of no line as
//! late. Nothing is added to a log whose end is not the one that the head knows.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most bytes of a line.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// What the first entry holds on to.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One attempt to send a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The endpoint's name.
    pub endpoint: String,
    /// The address without path: scheme, host and port.
    pub to: String,
    /// The model that was asked for.
    pub model: String,
    /// What let it out.
    pub why: String,
    /// Kinds that were replaced before.
    pub redacted: Vec<String>,
    /// Bytes of the body.
    pub bytes: u64,
    /// SHA-256 of the body, in hexadecimal.
    pub sha256: String,
}

/// As a line has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    n: u64,
    entry: Entry,
    hash: String,
}

/// The end of a log: its number of entries and the hash of the last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    n: u64,
    hash: String,
}

/// Of an empty log.
impl Default for Head {
    fn default() -> Self {
        Self { n: 0, hash: NOTHING.to_owned() }
    }
}

/// A log that does not hold together, or can't be read or written.
#[derive(Debug)]
pub enum EgressError {
    /// The system says no.
    Io(PathBuf, io::Error),
    /// A line is not what it was.
    Broken {
        /// The file.
        file: PathBuf,
        /// Which line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for EgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(file, source) => write!(f, "{}: {source}", file.display()),
            Self::Broken { file, line, reason } => write!(f, "{}: line {line}: {reason}", file.display()),
        }
    }
}

impl std::error::Error for EgressError {}

/// The log.
#[derive(Debug, Clone)]
pub struct EgressLog {
    path: PathBuf,
}

impl EgressLog {
    /// The log at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an entry; when this returns, it is on disk.
    ///
    /// # Errors
    /// When the log can't be written, its last line is broken, or its end was cut off: then nothing is added.
    pub fn append(&self, entry: &Entry) -> Result<(), EgressError> {
        let io = |e| EgressError::Io(self.path.clone(), e);
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        private(&mut options);
        let mut file = options.open(&self.path).map_err(io)?;
        file.lock().map_err(io)?;
        let last = self.last(&mut file)?;
        let n = last.n + 1;
        let hash = hash(&last.hash, n, entry);
        let mut line = serde_json::to_vec(&Line { n, entry: entry.clone(), hash: hash.clone() })
            .map_err(|e| io(io::Error::other(e)))?;
        line.push(b'\n');
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(io(io::Error::other(format!("an entry of {} bytes", line.len()))));
        }
        let len = file.metadata().map_err(io)?.len();
        let written = file.write_all(&line).and_then(|()| file.sync_data()).map_err(io);
        written.and_then(|()| self.write_head(&Head { n, hash })).inspect_err(|_| {
            // Nothing is sent for it; where that fails too, it is a line more than the head knows.
            let _ = file.set_len(len);
        })
    }

    /// All entries, once the chain holds. A log that does not exist has none.
    ///
    /// # Errors
    /// [`EgressError::Broken`] with the first line that is not what it was.
    pub fn verify(&self) -> Result<Vec<Entry>, EgressError> {
        let broken = |line, reason: &str| {
            Err(EgressError::Broken { file: self.path.clone(), line, reason: reason.to_owned() })
        };
        let mut entries = Vec::new();
        let mut head = Head::default();
        // Held until the head is read: an entry that came between would look like a cut end.
        let opened = File::open(&self.path);
        match &opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => opened.map(drop).map_err(|e| EgressError::Io(self.path.clone(), e))?,
            Ok(file) => {
                file.lock_shared().map_err(|e| EgressError::Io(self.path.clone(), e))?;
                let mut file = BufReader::new(file);
                while let Some(line) = self.line(&mut file, head.n + 1)? {
                    let n = head.n + 1;
                    if line.n != n {
                        return broken(n, "its number is another: a line is missing or was put in");
                    }
                    if line.hash != hash(&head.hash, n, &line.entry) {
                        return broken(n, "its hash is another: it or a line before was changed");
                    }
                    head = Head { n, hash: line.hash };
                    entries.push(line.entry);
                }
            }
        }
        self.holds(&head)?;
        Ok(entries)
    }

    /// Whether a log that ends with `last` is the one that the head knows.
    fn holds(&self, last: &Head) -> Result<(), EgressError> {
        let (line, reason) = match self.head()? {
            Some(kept) if kept.n > last.n => (last.n + 1, "missing: the end of the log was cut off"),
            Some(kept) if kept.n == last.n && kept.hash != last.hash => {
                (last.n, "not the entry that was written last")
            }
            // A line more than the head knows is a process that was killed between the two.
            None if last.n > 1 => (last.n, "the file with its last hash is missing"),
            _ => return Ok(()),
        };
        Err(EgressError::Broken { file: self.path.clone(), line, reason: reason.to_owned() })
    }

    /// The next line; `None` at the end.
    fn line(&self, file: &mut impl BufRead, n: u64) -> Result<Option<Line>, EgressError> {
        let mut bytes = Vec::new();
        let read = file.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|e| EgressError::Io(self.path.clone(), e))? == 0 {
            return Ok(None);
        }
        let broken = |reason: String| EgressError::Broken { file: self.path.clone(), line: n, reason };
        if bytes.last() != Some(&b'\n') {
            // Nothing was sent for a line that was not finished.
            let known = self.head()?.map_or(0, |head| head.n);
            let unfinished = known < n && bytes.len() as u64 <= LINE_BYTES_MAX;
            return if unfinished {
                Ok(None)
            } else {
                Err(broken("no end of line: it was cut, or is too long".into()))
            };
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|e| broken(format!("no entry: {e}")))
    }

    /// The end of the log as its last line has it, without one that was not finished.
    fn last(&self, file: &mut File) -> Result<Head, EgressError> {
        let io = |e| EgressError::Io(self.path.clone(), e);
        let len = file.seek(SeekFrom::End(0)).map_err(io)?;
        file.seek(SeekFrom::Start(len.saturating_sub(LINE_BYTES_MAX + 1))).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines = bytes[..whole].strip_suffix(b"\n").unwrap_or_default();
        let line = lines.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        let last = match serde_json::from_slice::<Line>(line) {
            _ if len == (bytes.len() - whole) as u64 => Head::default(),
            Ok(line) => Head { n: line.n, hash: line.hash },
            Err(_) => {
                let line = self.head()?.map_or(1, |head| head.n);
                let reason = "no entry; nothing is added to a broken log".to_owned();
                return Err(EgressError::Broken { file: self.path.clone(), line, reason });
            }
        };
        self.holds(&last)?;
        if whole < bytes.len() {
            file.set_len(len - (bytes.len() - whole) as u64).map_err(io)?;
        }
        Ok(last)
    }

    fn head_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".head");
        name.into()
    }

    fn head(&self) -> Result<Option<Head>, EgressError> {
        let path = self.head_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(EgressError::Io(path, e)),
        };
        let parts = text.trim_end().split_once(' ').and_then(|(n, hash)| Some((n.parse().ok()?, hash)));
        match parts {
            Some((n, hash)) => Ok(Some(Head { n, hash: hash.to_owned() })),
            None => Err(EgressError::Broken { file: path, line: 1, reason: "no number and hash".into() }),
        }
    }

    fn write_head(&self, head: &Head) -> Result<(), EgressError> {
        let path = self.head_path();
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let write = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            private(&mut options);
            let mut file = options.open(&beside)?;
            writeln!(file, "{} {}", head.n, head.hash)?;
            file.sync_data()?;
            std::fs::rename(&beside, &path)
        };
        write().map_err(|e| EgressError::Io(path.clone(), e))
    }
}

/// For the owner alone.
#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

/// What [`Entry::sha256`] says of a body.
pub fn sha256_of(body: &[u8]) -> String {
    sha256(body)
}

/// SHA-256 in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(before: &str, n: u64, entry: &Entry) -> String {
    let entry = serde_json::to_string(entry).unwrap_or_default();
    sha256(format!("{before}\n{n}\n{entry}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> Entry {
        Entry {
            at_ms: n,
            endpoint: "big".into(),
            to: "https://big.example".into(),
            model: "m".into(),
            why: "no rule speaks against it".into(),
            redacted: vec!["EMAIL_ADDRESS".into()],
            bytes: 10 * n,
            sha256: sha256(&n.to_le_bytes()),
        }
    }

    /// A log of four entries in a folder that goes with the test.
    fn log(name: &str) -> EgressLog {
        let folder = std::env::temp_dir().join(format!("ingle-egress-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let log = EgressLog::new(folder.join("state/egress.jsonl"));
        (1..=4).for_each(|n| log.append(&entry(n)).unwrap());
        log
    }

    fn broken_at(log: &EgressLog) -> u64 {
        match log.verify() {
            Err(EgressError::Broken { line, .. }) => line,
            other => panic!("{other:?}"),
        }
    }

    fn change(log: &EgressLog, by: impl Fn(Vec<&str>) -> String) {
        let text = std::fs::read_to_string(log.path()).unwrap();
        std::fs::write(log.path(), by(text.lines().collect())).unwrap();
    }

    #[test]
    fn what_was_written_is_read_in_order() {
        let log = log("order");
        assert_eq!(log.verify().unwrap(), (1..=4).map(entry).collect::<Vec<_>>());
        assert!(EgressLog::new(log.path().with_file_name("none")).verify().unwrap().is_empty());
    }

    #[test]
    fn a_changed_missing_moved_or_cut_line_is_found() {
        let join = |lines: &[&str]| lines.join("\n") + "\n";
        let cases: [(&str, u64, fn(Vec<&str>) -> Vec<String>); 4] = [
            ("changed", 2, |l| {
                [l[0], &l[1].replace("\"bytes\":20", "\"bytes\":21"), l[2], l[3]].map(str::to_owned).into()
            }),
            ("missing", 2, |l| [l[0], l[2], l[3]].map(str::to_owned).into()),
            ("moved", 2, |l| [l[0], l[2], l[1], l[3]].map(str::to_owned).into()),
            ("cut", 4, |l| [l[0], l[1], l[2]].map(str::to_owned).into()),
        ];
        for (name, line, by) in cases {
            let log = log(name);
            change(&log, |lines| {
                let lines = by(lines);
                join(&lines.iter().map(String::as_str).collect::<Vec<_>>())
            });
            assert_eq!(broken_at(&log), line, "{name}");
        }
    }

    #[test]
    fn nothing_is_added_to_a_log_whose_end_is_missing() {
        type Cut = fn(&EgressLog);
        let cases: [(&str, Cut, &str); 5] = [
            ("lines", |log| change(log, |lines| lines[..2].join("\n") + "\n"), "line 3: missing"),
            ("all", |log| std::fs::remove_file(log.path()).unwrap(), "line 1: missing"),
            ("emptied", |log| change(log, |_| String::new()), "line 1: missing"),
            ("headless", |log| std::fs::remove_file(log.head_path()).unwrap(), "line 4: the file"),
            (
                "another",
                |log| change(log, |lines| lines.join("\n").replace("\"hash\":\"", "\"hash\":\"0") + "\n"),
                "line 4: not the entry",
            ),
        ];
        for (name, cut, says) in cases {
            let log = log(&format!("end-{name}"));
            cut(&log);
            let said = log.append(&entry(5)).unwrap_err().to_string();
            assert!(said.contains(says), "{name}: {said}");
            assert!(log.verify().is_err(), "{name}");
        }
    }

    #[test]
    fn an_entry_whose_head_cannot_be_written_is_taken_back() {
        let log = log("head");
        let text = std::fs::read(log.path()).unwrap();
        let mut beside = log.head_path().into_os_string();
        beside.push(".new");
        std::fs::create_dir(&beside).unwrap();
        assert!(log.append(&entry(5)).is_err());
        assert_eq!(std::fs::read(log.path()).unwrap(), text);
        std::fs::remove_dir(&beside).unwrap();
        log.append(&entry(5)).unwrap();
        assert_eq!(log.verify().unwrap().len(), 5);
    }

    #[test]
    fn a_log_is_whole_at_any_time_while_others_write() {
        let log = log("busy");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (5..=60).for_each(|n| log.append(&entry(n)).unwrap()));
            while !writer.is_finished() {
                log.verify().unwrap();
            }
        });
        assert_eq!(log.verify().unwrap().len(), 60);
    }

    #[test]
    fn nothing_is_added_to_a_log_whose_last_line_is_cut() {
        let log = log("torn");
        let text = std::fs::read_to_string(log.path()).unwrap();
        std::fs::write(log.path(), &text[..text.len() - 5]).unwrap();
        assert!(log.append(&entry(5)).unwrap_err().to_string().contains("cut"));
        assert_eq!(broken_at(&log), 4);
        // An entry that was being written when the power went was never sent.
        std::fs::write(log.path(), format!("{text}{{\"n\":5,")).unwrap();
        assert_eq!(log.verify().unwrap().len(), 4);
        log.append(&entry(5)).unwrap();
        assert_eq!(log.verify().unwrap().len(), 5);
    }

    #[test]
    fn a_kill_between_the_log_and_its_head_breaks_nothing() {
        let log = log("kill");
        let head = std::fs::read(log.head_path()).unwrap();
        log.append(&entry(5)).unwrap();
        std::fs::write(log.head_path(), head).unwrap();
        assert_eq!(log.verify().unwrap().len(), 5);
        log.append(&entry(6)).unwrap();
        assert_eq!(log.verify().unwrap().len(), 6);
    }
}
