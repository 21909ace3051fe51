//! What users made of answers, as rows in a file: numbers and a verdict, never a word of text.
//!
//! A line of JSON is a row: which answer (a number drawn for the row alone), which model (a number made of its files), what the user did, and the answer's numbers by
//! [`FEATURES`](super::FEATURES)' order. Of an answer's rows the last one counts, but a thumb outranks what is only guessed from asking
//! again ([`settled`]). The file has [`ROWS_MAX`] rows at most: when it is full, the older half goes, by a new file under a temporary name
//! and a rename, so that it is never half written. A line that is damaged, or of other features, is skipped and counted; the rest still
//! teaches. Two programs may append at once: each holds the file's lock meanwhile. Only its owner may read it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::margins::N_FEATURES;
use super::model::Row;

/// Rows of a file, at most.
pub const ROWS_MAX: usize = 4096;
/// Bytes of a line, at most.
const LINE_BYTES_MAX: usize = 512;
const FILE_BYTES_MAX: u64 = (2 * ROWS_MAX * LINE_BYTES_MAX) as u64;

/// What a user did with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Said that it is good.
    Up,
    /// Said that it is not.
    Down,
    /// Asked for another answer.
    Regenerated,
    /// Changed the answer, or what it answers.
    Edited,
    /// Takes back what was said.
    Withdrawn,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Up, Self::Down, Self::Regenerated, Self::Edited, Self::Withdrawn];

    /// As files and requests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Regenerated => "regenerated",
            Self::Edited => "edited",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// Whether the answer counts as right.
    pub fn is_right(self) -> bool {
        self == Self::Up
    }

    /// How much it counts: whoever asks again or edits may only want it otherwise.
    pub fn weight(self) -> f32 {
        match self {
            Self::Up | Self::Down => 1.0,
            Self::Regenerated | Self::Edited => 0.5,
            Self::Withdrawn => 0.0,
        }
    }

    /// What counts of an answer that had `before` and now this.
    fn after(self, before: Self) -> Self {
        let is_guessed = matches!(self, Self::Regenerated | Self::Edited);
        if is_guessed && matches!(before, Self::Up | Self::Down) { before } else { self }
    }
}

/// A row of the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Which answer: a number that stands nowhere else.
    pub answer: u64,
    /// Which model gave it, as a number that tells models apart; rows of before there was one have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<u64>,
    /// What the user did.
    pub signal: Signal,
    /// The answer's numbers.
    pub features: [f32; N_FEATURES],
}

impl Feedback {
    /// As a row to learn from.
    pub fn row(&self) -> Row {
        Row { features: self.features, right: self.signal.is_right(), weight: self.signal.weight() }
    }
}

/// One row for each answer, in the order in which they were first spoken of; none for those of which all was taken back.
pub fn settled(rows: &[Feedback]) -> Vec<Feedback> {
    let mut places = BTreeMap::new();
    let mut out: Vec<Feedback> = Vec::new();
    for row in rows {
        let place = *places.entry(row.answer).or_insert(out.len());
        match out.get_mut(place) {
            Some(before) => before.signal = row.signal.after(before.signal),
            None => out.push(*row),
        }
    }
    out.retain(|row| row.signal != Signal::Withdrawn);
    out
}

/// The rows of a file's bytes, oldest first and the newest [`ROWS_MAX`] at most, and how many lines were skipped.
pub fn parse(bytes: &[u8]) -> (Vec<Feedback>, usize) {
    let (mut rows, mut n_skipped) = (Vec::new(), 0);
    for line in bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let row = if line.len() > LINE_BYTES_MAX { None } else { serde_json::from_slice(line).ok() };
        match row {
            Some(row) if is_finite(&row) => rows.push(row),
            _ => n_skipped += 1,
        }
    }
    rows.drain(..rows.len().saturating_sub(ROWS_MAX));
    (rows, n_skipped)
}

fn is_finite(row: &Feedback) -> bool {
    row.features.iter().all(|x| x.is_finite())
}

/// Reads the rows of `path`; none where there is no file.
///
/// # Errors
/// When the file can't be read, or is larger than any that was written here.
pub fn open(path: &Path) -> io::Result<(Vec<Feedback>, usize)> {
    match File::open(path) {
        Ok(mut file) => read(&mut file).map(|bytes| parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Vec::new(), 0)),
        Err(error) => Err(error),
    }
}

/// Appends a row to `path`, which is made if it isn't there; a full file loses its older half first.
///
/// # Errors
/// When the row has a number that is not finite, or the file can't be read or written.
pub fn append(path: &Path, row: &Feedback) -> io::Result<()> {
    if !is_finite(row) {
        return Err(io::Error::other(
            "feedback with a number that is not finite, expected an answer's numbers",
        ));
    }
    let mut file = locked(path)?;
    let mut bytes = read(&mut file)?;
    let is_whole = bytes.last().is_none_or(|&b| b == b'\n');
    let line = serde_json::to_string(row)? + "\n";
    if bytes.iter().filter(|&&b| b == b'\n').count() < ROWS_MAX {
        // What a crash cut must not swallow this row.
        return file.write_all(if is_whole { line } else { format!("\n{line}") }.as_bytes());
    }
    let (rows, _) = parse(&bytes);
    bytes.clear();
    for row in &rows[rows.len().saturating_sub(ROWS_MAX / 2)..] {
        serde_json::to_writer(&mut bytes, row)?;
        bytes.push(b'\n');
    }
    bytes.extend(line.as_bytes());
    let fresh = path.with_extension("new");
    // Only who has the lock writes it, so what is there was left by a crash.
    private().write(true).truncate(true).open(&fresh)?.write_all(&bytes)?;
    fs::rename(&fresh, path)
}

/// Removes `path`; whether it was there.
///
/// # Errors
/// When it can't be removed.
pub fn forget(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How files are made that their owner alone may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The file, ours alone until it is closed. Another program may have put a new file in its place while we waited.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = private().read(true).append(true).open(path)?;
        file.lock()?;
        if is_still(path, &file)? {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_still(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let of = |m: fs::Metadata| (m.dev(), m.ino());
    match fs::metadata(path) {
        Ok(now) => Ok(of(now) == of(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere a file that is open can't be replaced.
#[cfg(not(unix))]
fn is_still(_path: &Path, _file: &File) -> io::Result<bool> {
    Ok(true)
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "feedback: more than {FILE_BYTES_MAX} bytes, expected {ROWS_MAX} rows"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: usize) -> Feedback {
        Feedback {
            answer: u64::MAX - i as u64,
            model: (!i.is_multiple_of(3)).then_some(u64::MAX / (i as u64 + 1)),
            signal: Signal::ALL[i % 4],
            features: [i as f32 * 0.37; N_FEATURES],
        }
    }

    /// A path of this test's own in the system's folder for temporary files.
    fn path(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("ingle-feedback-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn rows_come_back_and_the_oldest_go() {
        let path = path("bound");
        assert_eq!(open(&path).unwrap(), (vec![], 0));
        for i in 0..3 {
            append(&path, &row(i)).unwrap();
        }
        assert_eq!(open(&path).unwrap(), ((0..3).map(row).collect(), 0));
        let full: Vec<String> =
            (0..ROWS_MAX).map(|i| serde_json::to_string(&row(i)).unwrap() + "\n").collect();
        fs::write(&path, full.concat()).unwrap();
        append(&path, &row(ROWS_MAX)).unwrap();
        let expected: Vec<Feedback> = (ROWS_MAX / 2..=ROWS_MAX).map(row).collect();
        assert_eq!(open(&path).unwrap(), (expected, 0));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn damaged_lines_are_skipped_and_swallow_nothing() {
        let path = path("damage");
        let good = serde_json::to_string(&row(1)).unwrap();
        let odd = good.replace("0.37", "1e400");
        let more = good.replace("\"signal\"", "\"text\":\"secret\",\"signal\"");
        let long = " ".repeat(LINE_BYTES_MAX + 1);
        fs::write(&path, format!("{good}\n{odd}\n{more}\n{long}\n\u{0}\n[[[[\n{}", &good[..30])).unwrap();
        append(&path, &row(2)).unwrap();
        assert_eq!(open(&path).unwrap(), (vec![row(1), row(2)], 6));
        let mut nothing = row(3);
        nothing.features[2] = f32::NAN;
        assert!(append(&path, &nothing).unwrap_err().to_string().contains("not finite"));
        fs::write(&path, vec![b' '; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(open(&path).unwrap_err().to_string().contains("expected"));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_last_word_counts_and_a_thumb_outranks_a_guess() {
        use Signal::*;
        for (said, counts) in [
            (&[Up, Down][..], Some(Down)),
            (&[Down, Regenerated], Some(Down)),
            (&[Regenerated, Edited], Some(Edited)),
            (&[Edited, Up], Some(Up)),
            (&[Up, Withdrawn], None),
            (&[Down, Withdrawn, Regenerated], Some(Regenerated)),
        ] {
            let of = |(at, &signal): (usize, &Signal)| Feedback { answer: 7, signal, ..row(at) };
            let mut rows: Vec<Feedback> = said.iter().enumerate().map(of).collect();
            rows.insert(1, row(1));
            let found = settled(&rows);
            let of_it = found.iter().find(|row| row.answer == 7).map(|row| row.signal);
            assert_eq!((of_it, found.contains(&row(1))), (counts, true), "{said:?}");
        }
        assert!(Signal::ALL.iter().all(|&signal| Signal::parse(signal.name()) == Some(signal)));
        assert_eq!(serde_json::to_string(&Withdrawn).unwrap(), "\"withdrawn\"");
    }

    #[test]
    #[cfg(unix)]
    fn only_its_owner_may_read_it_and_it_can_be_forgotten() {
        use std::os::unix::fs::PermissionsExt;
        let path = path("owner");
        assert!(!forget(&path).unwrap());
        append(&path, &row(1)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(forget(&path).unwrap() && !path.exists());
    }

    #[test]
    fn two_who_append_at_once_lose_nothing() {
        let path = path("two");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..100).for_each(|i| append(&path, &row(i)).unwrap()));
            }
        });
        assert_eq!(open(&path).unwrap().0.len(), 200);
        fs::remove_file(&path).unwrap();
    }
}
