//! Weights that are kept packed: where their files lie, how much of the disk they may have, and who writes them.
//!
//! Every verb that loads a model uses what is there; only a server writes, on a thread of its own, one file at a time, some time after
//! a model came and at a quarter of a thread's pace. What can't be written is said once and packed in memory as if there were no files.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ingle_engine::packed::{PackedDir, Packer, files_in};
use ingle_store::leftovers::{Kind, Leftover};
use ingle_store::space;

use crate::env::{Env, say};
use crate::settings::size;

/// How long a model is left alone that came.
const AFTER: Duration = Duration::from_secs(3);
/// Time between pieces, by the time that a piece took.
const PAUSE: u32 = 3;
/// Models that may wait to be packed.
const QUEUE: usize = 16;
/// Of the free disk, what one part of so many may be taken.
const SHARE: u64 = 2;

/// Where the files lie.
pub fn folder(env: &Env) -> PathBuf {
    env.dirs.cache.join("packed")
}

/// The folder and what it may have; `None` where nothing is to be kept.
pub fn dir(env: &Env) -> Option<PackedDir> {
    let bytes_max =
        env.settings.text("packed-cache").and_then(|text| size::bytes_or_off(text).ok()).unwrap_or(0);
    if bytes_max == 0 {
        return None;
    }
    let path = folder(env);
    let taken: u64 = files_in(&path).iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let room = space::free_bytes(&path).map_or(u64::MAX, |free| taken.saturating_add(free / SHARE));
    Some(PackedDir { path, bytes_max: bytes_max.min(room) })
}

/// Files that no program has in use: they can be made again.
pub fn unused(env: &Env) -> impl Iterator<Item = Leftover> {
    let files = files_in(&folder(env)).into_iter();
    files.filter_map(|path| Leftover::of(path, Kind::Packed)).filter(|one| !one.is_held)
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer(SyncSender<Packer>);

impl Writer {
    /// Begins to wait for work.
    pub fn start() -> Self {
        let (sender, packers) = sync_channel::<Packer>(QUEUE);
        thread::spawn(move || {
            for packer in packers {
                thread::sleep(AFTER);
                let mut since = Instant::now();
                let written = packer.run(&mut || {
                    thread::sleep(since.elapsed() * PAUSE);
                    since = Instant::now();
                    true
                });
                if let Err(error) = written {
                    say(format_args!("note: weights are not kept packed: {error}"));
                }
            }
        });
        Self(sender)
    }

    /// Has it write what `packer` has; not now, if too much waits.
    pub fn write(&self, packer: Packer) {
        let _ = self.0.try_send(packer);
    }
}
