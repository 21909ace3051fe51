//! The hub's cache on disk, in the layout that the hub's own library, llama.cpp and others share.
//!
//! ```text
//! ROOT/models--USER--REPO/blobs/HASH               content, named by its hash; HASH.incomplete while it comes
//!                         refs/main                the commit a branch had when it was last asked for
//!                         snapshots/COMMIT/FILE    links to blobs, under the repository's names
//! ROOT/.locks/models--USER--REPO/HASH.lock         held while a blob is written
//! ```
//! Where links are not to be had, the file itself lies in the snapshot and there is no blob, as the others do it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use ingle_net::Client;

use crate::choose::{Choice, choose, choose_all};
use crate::error::{Error, Result, at};
use crate::fetch::{Event, Watch, pause};
use crate::hash::Digest;
use crate::listing::{RemoteFile, is_commit};
use crate::parallel::kept_beside;
use crate::partial::remove_if_there;
use crate::plan::OnDisk;
use crate::reference::{HubRef, MAIN, Repo, Want};
use crate::short_names;

const FOLDER_PREFIX: &str = "models--";
/// Files of one snapshot, and folders within folders, that are looked at.
const FILES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 16;
const LOCK_LOOK: Duration = Duration::from_millis(200);

/// The cache at one place.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A model in the cache.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose and which.
    pub repo: Repo,
    /// The snapshot it was found in.
    pub snapshot: PathBuf,
    /// Its files relative to the snapshot, the one to open first.
    pub files: Vec<String>,
    /// The quantisation, where its name says one.
    pub quant: Option<String>,
    /// A folder of safetensors.
    pub is_folder: bool,
    /// Bytes of all its files.
    pub size: u64,
    /// When the newest of them came.
    pub modified: Option<SystemTime>,
    /// The shortest reference that finds it again.
    pub name: String,
}

impl Found {
    /// What a program opens: the first file, or the folder.
    pub fn path(&self) -> PathBuf {
        match self.is_folder {
            true => self.snapshot.clone(),
            false => self.files.first().map_or_else(|| self.snapshot.clone(), |f| self.snapshot.join(f)),
        }
    }
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The cache whose folder is `root` (`~/.cache/huggingface/hub`, usually).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one repository.
    pub fn repo_dir(&self, repo: &Repo) -> PathBuf {
        self.root.join(folder_name(repo))
    }

    /// Where a blob lies or will lie.
    pub fn blob(&self, repo: &Repo, digest: &Digest) -> PathBuf {
        self.repo_dir(repo).join("blobs").join(digest.to_string())
    }

    /// Where a blob is gathered.
    pub fn partial(&self, repo: &Repo, digest: &Digest) -> PathBuf {
        self.repo_dir(repo).join("blobs").join(format!("{digest}.incomplete"))
    }

    /// The folder of one commit.
    pub fn snapshot(&self, repo: &Repo, commit: &str) -> PathBuf {
        self.repo_dir(repo).join("snapshots").join(commit)
    }

    /// The folder of a repository's locks.
    pub fn locks_dir(&self, repo: &Repo) -> PathBuf {
        self.root.join(".locks").join(folder_name(repo))
    }

    /// What there is of a file.
    pub fn on_disk(&self, repo: &Repo, commit: &str, file: &RemoteFile) -> OnDisk {
        let size = |path: PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len());
        let partial = self.partial(repo, &file.digest);
        let beside: u64 = kept_beside(&partial).iter().map(|k| k.end - k.start).sum();
        OnDisk {
            in_snapshot: size(self.snapshot(repo, commit).join(&file.path)),
            blob: size(self.blob(repo, &file.digest)),
            partial: Some(size(partial.clone()).unwrap_or(0) + beside).filter(|&n| n > 0),
        }
    }

    /// Contents that the file at `path` of a repository had in revisions that are here, and their hashes; the newest first.
    pub fn older(&self, repo: &Repo, path: &str) -> Vec<(PathBuf, Digest)> {
        let snapshots = fs::read_dir(self.repo_dir(repo).join("snapshots")).into_iter().flatten().flatten();
        let mut found: Vec<(SystemTime, PathBuf, Digest)> = snapshots
            .take(FILES_MAX)
            .filter_map(|snapshot| {
                let blob = fs::canonicalize(snapshot.path().join(path)).ok()?;
                let meta = fs::metadata(&blob).ok().filter(fs::Metadata::is_file)?;
                let digest = Digest::sha256(blob.file_name()?.to_str()?)?;
                Some((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), blob, digest))
            })
            .collect();
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        found.dedup_by(|a, b| a.1 == b.1);
        found.into_iter().map(|(_, blob, digest)| (blob, digest)).collect()
    }

    /// Makes the folders a blob needs.
    pub fn prepare(&self, repo: &Repo) -> Result<()> {
        let blobs = self.repo_dir(repo).join("blobs");
        at(&blobs, fs::create_dir_all(&blobs))?;
        let locks = self.locks_dir(repo);
        at(&locks, fs::create_dir_all(&locks))
    }

    /// Locks a blob against every program that keeps to the layout; waits while another holds it.
    pub fn lock(&self, repo: &Repo, file: &RemoteFile, client: &Client, watch: Watch<'_>) -> Result<Lock> {
        let path = self.locks_dir(repo).join(format!("{}.lock", file.digest));
        lock_file(&path, || {
            watch(Event::Locked { file: &file.path });
            pause(client, LOCK_LOOK)
        })
    }

    /// Gives a blob its name in a snapshot.
    pub fn link(&self, repo: &Repo, commit: &str, file: &RemoteFile) -> Result<()> {
        self.link_with(symlink, repo, commit, file)
    }

    fn link_with(
        &self,
        symlink: fn(&str, &Path) -> io::Result<()>,
        repo: &Repo,
        commit: &str,
        file: &RemoteFile,
    ) -> Result<()> {
        let name = self.snapshot(repo, commit).join(&file.path);
        let folder = name.parent().unwrap_or(&name);
        at(folder, fs::create_dir_all(folder))?;
        remove_if_there(&name)?;
        // From snapshots/COMMIT/ up to the repository's folder: two steps, and one for each folder in the file's own path.
        let up = "../".repeat(2 + file.path.matches('/').count());
        if symlink(&format!("{up}blobs/{}", file.digest), &name).is_ok() && name.exists() {
            return Ok(());
        }
        remove_if_there(&name)?;
        at(&name, fs::rename(self.blob(repo, &file.digest), &name))
    }

    /// Notes which commit a branch has.
    pub fn write_ref(&self, hub: &HubRef, commit: &str) -> Result<()> {
        if hub.revision == commit {
            return Ok(());
        }
        write_whole(&self.repo_dir(&hub.repo).join("refs").join(&hub.revision), commit.as_bytes())
    }

    /// The model that `hub` names, if all its files are here.
    pub fn locate(&self, hub: &HubRef) -> Option<Found> {
        self.snapshots_of(hub).into_iter().find_map(|snapshot| {
            let files = files_below(&snapshot);
            let paths: Vec<&str> = files.iter().map(String::as_str).collect();
            let choice = choose(&paths, &hub.want).ok()?;
            self.found(&hub.repo, &snapshot, &paths, &choice)
        })
    }

    /// Every model here, by name; each once, from its newest snapshot.
    pub fn list(&self) -> Vec<Found> {
        let mut all: Vec<Found> = Vec::new();
        for repo in self.repos() {
            for snapshot in self.snapshots(&repo) {
                let files = files_below(&snapshot);
                let paths: Vec<&str> = files.iter().map(String::as_str).collect();
                let found = choose_all(&paths);
                for model in found.iter().filter_map(|c| self.found(&repo, &snapshot, &paths, c)) {
                    if !all.iter().any(|m| m.repo == model.repo && m.files == model.files) {
                        all.push(model);
                    }
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The snapshots that `hub` may mean, the likeliest first: the one that its commit, branch or tag names. For the main
    /// branch, whatever else is here will do where that lacks the file.
    fn snapshots_of(&self, hub: &HubRef) -> Vec<PathBuf> {
        if hub.revision == MAIN {
            return self.snapshots(&hub.repo);
        }
        let commit = match is_commit(&hub.revision) {
            true => hub.revision.clone(),
            false => self.read_ref(&hub.repo, &hub.revision),
        };
        let named = Some(commit).filter(|c| is_commit(c)).map(|c| self.snapshot(&hub.repo, &c));
        named.filter(|s| s.is_dir()).into_iter().collect()
    }

    /// The commit that a branch or tag had when it was last asked for; empty where nobody asked.
    fn read_ref(&self, repo: &Repo, revision: &str) -> String {
        let path = self.repo_dir(repo).join("refs").join(revision);
        fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    }

    /// All of a repository's snapshots: that of the main branch, then the others, newest first.
    pub fn snapshots(&self, repo: &Repo) -> Vec<PathBuf> {
        let main = self.read_ref(repo, MAIN);
        let entries = fs::read_dir(self.repo_dir(repo).join("snapshots")).into_iter().flatten().flatten();
        let mut snapshots: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
        snapshots.sort_by_key(|path| {
            let is_main = path.file_name().is_some_and(|name| name == main.as_str());
            let modified = fs::metadata(path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            (!is_main, std::cmp::Reverse(modified))
        });
        snapshots
    }

    /// The folder that `hub` names, where it names one by its commit, or by a branch or tag other than the main one.
    pub fn pinned_snapshot(&self, hub: &HubRef) -> Option<PathBuf> {
        (hub.revision != MAIN).then(|| self.snapshots_of(hub).pop()).flatten()
    }

    /// Every repository here.
    pub fn repos(&self) -> Vec<Repo> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|e| repo_of(e.file_name().to_str()?)).collect()
    }

    fn found(&self, repo: &Repo, snapshot: &Path, paths: &[&str], choice: &Choice) -> Option<Found> {
        let files: Vec<String> = choice.files.iter().map(|&i| paths[i].to_owned()).collect();
        let metadata: Option<Vec<fs::Metadata>> =
            files.iter().map(|f| fs::metadata(snapshot.join(f)).ok()).collect();
        let metadata = metadata?;
        let name = match (&choice.quant, short_names::of(repo, choice.quant.as_deref())) {
            _ if choice.is_folder => repo.to_string(),
            (Some(quant), short)
                if choose(paths, &Want::Quant(quant.clone())).is_ok_and(|c| c.files == choice.files) =>
            {
                short.map_or_else(|| format!("{repo}:{quant}"), |s| s.name.to_owned())
            }
            _ => format!("{repo}:{}", files.first()?),
        };
        Some(Found {
            repo: repo.clone(),
            snapshot: snapshot.to_owned(),
            size: metadata.iter().map(fs::Metadata::len).sum(),
            modified: metadata.iter().filter_map(|m| m.modified().ok()).max(),
            files,
            quant: choice.quant.clone(),
            is_folder: choice.is_folder,
            name,
        })
    }
}

fn folder_name(repo: &Repo) -> String {
    format!("{FOLDER_PREFIX}{}", repo.as_str().replace('/', "--"))
}

fn repo_of(folder: &str) -> Option<Repo> {
    let (user, name) = folder.strip_prefix(FOLDER_PREFIX)?.split_once("--")?;
    Repo::parse(&format!("{user}/{name}"))
}

/// The files below a folder, links followed to files only, as paths joined by `/`, in order.
pub(crate) fn files_below(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![(dir.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => {
                    folders.push((entry.path(), format!("{path}/"), depth + 1));
                }
                Ok(kind) if !kind.is_dir() && entry.path().is_file() && files.len() < FILES_MAX => {
                    files.push(path);
                }
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// Every name of a file or link below a folder that may not be there, links not followed.
///
/// # Errors
/// What the system says of a folder that can't be read; folders in more folders than are looked at.
pub(crate) fn names_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true if depth == DEPTH_MAX => {
                    return Err(io::Error::other("folders within too many folders"));
                }
                true => folders.push((entry.path(), depth + 1)),
                false => names.push(entry.path()),
            }
        }
    }
    Ok(names)
}

/// Locks `path`, making it if need be; `wait` is called while another holds it, and may give up.
pub(crate) fn lock_file(path: &Path, mut wait: impl FnMut() -> Result<()>) -> Result<Lock> {
    let file = at(path, File::options().create(true).truncate(false).write(true).open(path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => wait()?,
            // A file system without locks: better unguarded than not at all.
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                return Ok(Lock { _file: file });
            }
            Err(TryLockError::Error(source)) => return Err(Error::Io { path: path.to_owned(), source }),
        }
    }
}

/// Writes a small file so that readers see the old one or the new one, never half of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    at(folder, fs::create_dir_all(folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Of each writer its own, be it another program or another thread.
    static DRAFTS: AtomicUsize = AtomicUsize::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = path.with_file_name(format!("{name}.{}.{number}.tmp", std::process::id()));
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let placed = at(&draft, written).and_then(|()| at(path, fs::rename(&draft, path)));
    if placed.is_err() {
        // What is left of it is of no use; the error to tell is the first.
        let _ = fs::remove_file(&draft);
    }
    placed
}

#[cfg(unix)]
pub(crate) fn symlink(target: &str, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, name)
}

#[cfg(windows)]
pub(crate) fn symlink(target: &str, name: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), name)
}

#[cfg(not(any(unix, windows)))]
pub(crate) fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_links_are_not_to_be_had_the_file_itself_gets_the_name() {
        let root = std::env::temp_dir().join(format!("ingle-no-links-{}", std::process::id()));
        let cache = Cache::new(&root);
        let repo = Repo::parse("u/r").unwrap();
        let commit = "0".repeat(40);
        let digest = Digest::Sha256([7; 32]);
        let file = RemoteFile { path: "d/m-Q8_0.gguf".into(), size: 5, digest };
        cache.prepare(&repo).unwrap();
        fs::write(cache.blob(&repo, &file.digest), "bytes").unwrap();
        let refuse = |_: &str, _: &Path| Err(io::ErrorKind::Unsupported.into());
        cache.link_with(refuse, &repo, &commit, &file).unwrap();
        let name = cache.snapshot(&repo, &commit).join(&file.path);
        assert_eq!(fs::read(&name).unwrap(), b"bytes");
        assert!(!fs::symlink_metadata(&name).unwrap().is_symlink());
        let disk = cache.on_disk(&repo, &commit, &file);
        assert_eq!((disk.in_snapshot, disk.blob), (Some(5), None));
        let models = cache.list();
        assert_eq!((models.len(), models[0].path()), (1, name));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn folders_and_repositories_are_each_others_names() {
        let repo = Repo::parse("user/repo-1.5_x").unwrap();
        assert_eq!(folder_name(&repo), "models--user--repo-1.5_x");
        assert_eq!(repo_of("models--user--repo-1.5_x"), Some(repo));
        for other in ["datasets--a--b", "models--gpt2", "models--a--b--c", "models--..--b", ".locks"] {
            assert_eq!(repo_of(other), None, "{other}");
        }
    }
}
