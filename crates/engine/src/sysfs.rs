//! The small files in which a system tells about itself, `/sys` and `/proc`: read from a folder or from a recording.
//!
//! A recording is what a device showed over time, as text, so that what a phone did can be looked at again elsewhere:
//! ```text
//! @0 +0
//! sys/class/thermal/thermal_zone0/temp 45000
//! sys/class/powercap/intel-rapl:0/energy_uj !denied
//! @60 +3600
//! sys/class/thermal/thermal_zone0/temp 61000
//! sys/class/power_supply/AC/online -
//! ```
//! `@S` begins a frame S seconds awake after the beginning, `+S` is for how long the system slept until then. A frame
//! has what the one before had, with its own lines over it; `-` takes a file away, `!denied` lets nobody read it.
//!
//! Files are read up to 4 KiB, where nobody says otherwise, and folders up to 1024 entries: what stands there is short, and a tree can come from anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

/// The most bytes of a file that are read.
const FILE_BYTES_MAX: u64 = 4096;
/// The most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 1024;
/// The most lines of a recording.
const LINES_MAX: usize = 100_000;

/// Where the files are. Paths have no leading slash: `sys/class/...`, `proc/...`.
#[derive(Debug, Clone)]
pub enum Tree {
    /// In a folder; the running system's is `/`.
    Folder(PathBuf),
    /// In one frame of a recording.
    Frame(BTreeMap<String, Entry>),
}

/// A recorded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// With this text.
    Text(String),
    /// That may not be read.
    Denied,
}

impl Tree {
    /// The running system.
    pub fn system() -> Self {
        Self::Folder(PathBuf::from("/"))
    }

    /// The text of a file, without white space around it.
    ///
    /// # Errors
    /// The system's own.
    pub fn text(&self, path: &str) -> io::Result<String> {
        self.text_up_to(path, FILE_BYTES_MAX)
    }

    /// The same of a file that may be longer, a table of `/proc`.
    ///
    /// # Errors
    /// The system's own.
    pub fn text_up_to(&self, path: &str, n_bytes_max: u64) -> io::Result<String> {
        match self {
            Self::Folder(root) => {
                let mut text = String::new();
                std::fs::File::open(root.join(path))?.take(n_bytes_max).read_to_string(&mut text)?;
                Ok(text.trim().to_owned())
            }
            Self::Frame(files) => match files.get(path) {
                Some(Entry::Text(text)) => Ok(text.clone()),
                Some(Entry::Denied) => Err(io::ErrorKind::PermissionDenied.into()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    /// A file that holds one whole number.
    ///
    /// # Errors
    /// The system's own, or that it holds something else.
    pub fn number(&self, path: &str) -> io::Result<i64> {
        let text = self.text(path)?;
        text.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{text:?}, expected a whole number"))
        })
    }

    /// The same where a number below 0 makes no sense.
    ///
    /// # Errors
    /// The system's own, or that it holds something else.
    pub fn count(&self, path: &str) -> io::Result<u64> {
        let text = self.text(path)?;
        text.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{text:?}, expected a number from 0 on"))
        })
    }

    /// The names in a folder, sorted; none where there is no such folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let found: BTreeSet<String> = match self {
            Self::Folder(root) => {
                let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
                entries.take(ENTRIES_MAX).filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
            Self::Frame(files) => {
                let inside = files.keys().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
                let first = inside.filter_map(|rest| rest.split('/').next());
                first.take(ENTRIES_MAX * 16).map(str::to_owned).collect()
            }
        };
        found.into_iter().take(ENTRIES_MAX).collect()
    }
}

/// What a device showed at one moment of a recording.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Since the beginning, without sleep.
    pub awake: Duration,
    /// Since the beginning, asleep.
    pub slept: Duration,
    /// Its files.
    pub tree: Tree,
}

/// The frames of a recording.
///
/// # Errors
/// A sentence that names the line and what was expected there.
pub fn parse_recording(text: &str) -> Result<Vec<Frame>, String> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut files = BTreeMap::new();
    let (mut awake, mut slept) = (Duration::ZERO, Duration::ZERO);
    for (i, line) in text.lines().enumerate() {
        let wrong = |expected: &str| format!("recording line {}: {line:?}, expected {expected}", i + 1);
        if i >= LINES_MAX {
            return Err(wrong(&format!("{LINES_MAX} lines at most")));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(times) = line.strip_prefix('@') {
            if i > 0 && !files.is_empty() {
                frames.push(Frame { awake, slept, tree: Tree::Frame(files.clone()) });
            }
            let mut words = times.split_whitespace();
            let at = words.next().and_then(seconds).ok_or_else(|| wrong("@ and seconds"))?;
            if at < awake {
                return Err(wrong("a time that is not before the last"));
            }
            awake = at;
            if let Some(word) = words.next() {
                let more = word.strip_prefix('+').and_then(seconds);
                slept += more.ok_or_else(|| wrong("+ and the seconds asleep"))?;
            }
            continue;
        }
        let (path, value) =
            line.split_once(char::is_whitespace).ok_or_else(|| wrong("a path and a value"))?;
        match value.trim() {
            "-" => drop(files.remove(path)),
            "!denied" => drop(files.insert(path.to_owned(), Entry::Denied)),
            // A file of several lines stands on one, with \n between them.
            text => drop(files.insert(path.to_owned(), Entry::Text(text.replace("\\n", "\n")))),
        }
    }
    frames.push(Frame { awake, slept, tree: Tree::Frame(files) });
    Ok(frames)
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| time.as_secs() < 1 << 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "@0\nsys/a/x 1\nsys/a/y/z !denied\nsys/b two\\nlines\n@5 +100\nsys/a/x 2\nsys/b -\n";

    #[test]
    fn a_frame_has_what_the_one_before_had_with_its_own_over_it() {
        let frames = parse_recording(TWO).unwrap();
        let [first, second] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((first.awake, first.slept), (Duration::ZERO, Duration::ZERO));
        assert_eq!((second.awake, second.slept), (Duration::from_secs(5), Duration::from_secs(100)));
        assert_eq!(first.tree.number("sys/a/x").unwrap(), 1);
        assert_eq!(second.tree.number("sys/a/x").unwrap(), 2);
        assert_eq!(first.tree.text("sys/b").unwrap(), "two\nlines");
        assert_eq!(second.tree.text("sys/b").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(second.tree.text("sys/a/y/z").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(first.tree.names("sys"), ["a", "b"]);
        assert_eq!(first.tree.names("sys/a"), ["x", "y"]);
        assert!(first.tree.number("sys/b").unwrap_err().to_string().contains("expected a whole number"));
        for wrong in ["@x", "@5\n@4", "@1 100", "word"] {
            assert!(parse_recording(wrong).unwrap_err().starts_with("recording line "), "{wrong}");
        }
    }

    #[test]
    fn a_folder_shows_what_a_frame_shows() {
        let root = std::env::temp_dir().join(format!("ingle-sysfs-{}", std::process::id()));
        std::fs::create_dir_all(root.join("sys/a/y")).unwrap();
        std::fs::write(root.join("sys/a/x"), " 17\n").unwrap();
        std::fs::write(root.join("sys/a/long"), "1".repeat(10_000)).unwrap();
        let tree = Tree::Folder(root.clone());
        assert_eq!(tree.number("sys/a/x").unwrap(), 17);
        assert_eq!(tree.count("sys/a/x").unwrap(), 17);
        assert_eq!(tree.names("sys/a"), ["long", "x", "y"]);
        assert_eq!(tree.text("sys/a/long").unwrap().len(), 4096);
        assert!(tree.names("sys/absent").is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }
}
