//! What lanes have been through, from and to files ([`crate::kv_dir`]).
//!
//! When an answer ends, the blocks of its sequence are noted. A thread writes them, one or two at a time, as they are found in the
//! tree: so writing never holds a step up, and pins no more than a few blocks. What was noted is written before the engine goes. A
//! prompt's blocks are read by the engine's own thread, a few before each step, while the lane waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ingle_model::kv::{BLOCK, Kv, Room};

use super::prefixes::Prefixes;
use crate::error::{Error, Result};
use crate::kv_dir::{Folder, Kept, Place};

/// Blocks that may wait to be written.
const NOTED_MAX: usize = 4096;
/// Files on their way to the thread that writes.
const ON_THE_WAY: usize = 1;
/// Blocks read before a step.
const READ_AT_ONCE: usize = 4;
/// Blocks that reading and writing have for themselves: one on the way, one being written, one being read.
pub(super) const BLOCKS: u64 = ON_THE_WAY as u64 + 2;

/// The files of an engine.
#[derive(Debug)]
pub(super) struct Disk {
    folder: Arc<Folder>,
    room: Room,
    noted: VecDeque<Noted>,
    to: Option<SyncSender<(Place, Kept)>>,
    thread: Option<JoinHandle<()>>,
}

/// A block that is to be written, and then the state behind it.
#[derive(Debug)]
struct Noted {
    tokens: Arc<[u32]>,
    n_blocks: usize,
    place: Place,
    is_state: bool,
}

impl Disk {
    /// Starts the thread that writes.
    pub fn new(folder: Folder, room: Room) -> Result<Self> {
        let folder = Arc::new(folder);
        let (to, from) = sync_channel(ON_THE_WAY);
        let written_to = folder.clone();
        let thread = std::thread::Builder::new()
            .name("ingle-kv-files".into())
            .spawn(move || write(&written_to, &from))
            .map_err(|source| Error::Io { file: "a thread that writes files".into(), source })?;
        Ok(Self { folder, room, noted: VecDeque::new(), to: Some(to), thread: Some(thread) })
    }

    /// Reads the next few blocks of `prompt` that the tree has not; whether there may be more.
    pub fn read(&self, prefixes: &mut Prefixes, kv: &Kv, prompt: &[u32]) -> bool {
        let prompt = &prompt[..prompt.len().saturating_sub(1)];
        let (path, tree) = (prefixes.tree.path(prompt), &mut prefixes.tree);
        let mut parent = path.last().copied();
        let places = self.folder.places(prompt).zip(prompt.as_chunks::<BLOCK>().0);
        let mut n_read = 0;
        for (place, tokens) in places.skip(path.len()).take(READ_AT_ONCE) {
            n_read += 1;
            let Some(held) = self.folder.read_block(&place, &self.room) else { return false };
            let n_bytes = held.n_bytes();
            parent = tree.add(parent, tokens, held, n_bytes);
            let Some(i) = parent else { return false };
            let state = kv.recurs().then(|| self.folder.read_state(&place, kv.state_len())).flatten();
            if let Some(state) = state {
                let n_bytes = state.n_bytes();
                tree.set_state(i, state, n_bytes);
            }
        }
        n_read == READ_AT_ONCE
    }

    /// Notes the whole blocks of a sequence.
    pub fn note(&mut self, tokens: &[u32], recurs: bool) {
        let tokens: Arc<[u32]> = tokens.into();
        for (i, place) in self.folder.places(&tokens).enumerate() {
            let noted = Noted { tokens: tokens.clone(), n_blocks: i + 1, place, is_state: false };
            if self.noted.len() + 1 < NOTED_MAX {
                let state = recurs.then(|| Noted {
                    tokens: tokens.clone(),
                    n_blocks: i + 1,
                    place: noted.place.clone(),
                    is_state: true,
                });
                self.noted.push_back(noted);
                self.noted.extend(state);
            }
        }
    }

    /// Whether something waits to be written.
    pub fn is_behind(&self) -> bool {
        !self.noted.is_empty()
    }

    /// Hands over what is to be written next, as long as the thread takes it.
    pub fn hand_over(&mut self, prefixes: &Prefixes) {
        while let (Some(noted), Some(to)) = (self.noted.front(), &self.to) {
            if let Some(kept) = noted.find(prefixes) {
                match to.try_send((noted.place.clone(), kept)) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => return,
                    Err(TrySendError::Disconnected(_)) => self.to = None,
                }
            }
            self.noted.pop_front();
        }
        if self.to.is_none() {
            self.noted.clear();
        }
    }

    /// Hands over all that was noted; the last of it may still be being written.
    pub fn write_noted(&mut self, prefixes: &Prefixes) {
        let Some(to) = &self.to else { return };
        let mut noted =
            self.noted.drain(..).filter_map(|noted| noted.find(prefixes).map(|kept| (noted.place, kept)));
        if noted.any(|kept| to.send(kept).is_err()) {
            drop(noted);
            self.to = None;
        }
    }

    /// What is read from here on gets its pages from this room.
    pub fn go_on_in(&mut self, room: Room) {
        self.room = room;
    }

    /// Waits until all that was noted is written.
    pub fn finish(mut self, prefixes: &Prefixes) {
        if let Some(to) = self.to.take() {
            for noted in self.noted.drain(..) {
                // A thread that gave up said why.
                let Some(kept) = noted.find(prefixes) else { continue };
                if to.send((noted.place, kept)).is_err() {
                    break;
                }
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Noted {
    /// What the tree still has of it.
    fn find(&self, prefixes: &Prefixes) -> Option<Kept> {
        let tree = &prefixes.tree;
        let path = tree.look(&self.tokens[..self.n_blocks * BLOCK]);
        let &i = path.last().filter(|_| path.len() == self.n_blocks)?;
        if self.is_state {
            tree.state(i).cloned().map(Kept::State)
        } else {
            Some(Kept::Block(tree.value(i).clone()))
        }
    }
}

/// Writes what comes, until nothing more can come or be written.
fn write(folder: &Folder, from: &Receiver<(Place, Kept)>) {
    for (place, kept) in from {
        if let Err(e) = folder.write(&place, &kept) {
            folder.report(&format!("{e}; no more of what answers have been through is written"));
            return;
        }
    }
}
