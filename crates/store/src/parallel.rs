//! Fetches one large file over several connections.
//!
//! Each worker takes the next part ([`crate::parts`]) and appends what comes to the part's own file, so that a part goes on
//! where it broke, now or in another run. The calling thread appends finished parts to the partial file in order, hashes
//! them, and tells what happens. A server that asks for patience loses a connection instead of time, as long as there is
//! another; one that knows no ranges is left to the single connection of [`crate::fetch`].

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ingle_net::{Client, Response};

use crate::answer::{Head, Verdict, judge_part};
use crate::error::{Error, Result, at};
use crate::fetch::{Ask, Event, PROGRESS_BYTES, Retry, Stop, Target, Watch, ask, pause, refusal};
use crate::partial::{Partial, disk_error, remove_if_there};
use crate::parts::{Part, Parts, plan};

const BUFFER_BYTES: usize = 256 << 10;
/// What workers may have said that nobody has heard yet.
const SAID_MAX: usize = 256;

/// How it ended.
pub(crate) enum Outcome {
    /// Every byte is in the partial file.
    Whole,
    /// The server sends nothing but whole files.
    NoRanges,
}

/// What a worker says.
enum Said {
    Bytes(u64),
    Waiting(String, Duration),
    Done(Part),
    /// The part is to be given to another; this worker has gone.
    Left(Part, String),
    NoRanges,
    Failed(Error),
}

/// The work that is shared.
struct Work<'a> {
    target: &'a Target<'a>,
    size: u64,
    retry: &'a Retry,
    parts: Mutex<Receiver<Part>>,
    n_working: AtomicUsize,
}

/// The file beside `partial` in which the part that begins at `start` is gathered.
fn path_of(partial: &Path, start: u64) -> PathBuf {
    let name = partial.file_name().unwrap_or_default().to_string_lossy();
    partial.with_file_name(format!("{name}.{start}"))
}

/// What lies beside `partial`, in order.
pub(crate) fn kept_beside(partial: &Path) -> Vec<Range<u64>> {
    let name = partial.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entries =
        partial.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let kept = entries.filter_map(|entry| {
        let start: u64 = entry.file_name().to_str()?.strip_prefix(&name)?.strip_prefix('.')?.parse().ok()?;
        Some(start..start.checked_add(entry.metadata().ok()?.len())?)
    });
    let mut kept: Vec<Range<u64>> = kept.collect();
    kept.sort_by_key(|k| (k.start, k.end));
    kept
}

/// Removes what lies beside `partial`.
pub(crate) fn remove_beside(partial: &Path) -> Result<()> {
    kept_beside(partial).iter().try_for_each(|k| remove_if_there(&path_of(partial, k.start)))
}

/// Appends what an earlier run left that continues the partial file, and removes what it has already or can't have.
fn take_in(partial: &mut Partial<'_>, size: u64) -> Result<Vec<Range<u64>>> {
    let mut ahead = Vec::new();
    for kept in kept_beside(partial.path()) {
        let path = path_of(partial.path(), kept.start);
        if kept.start > partial.len && kept.end <= size && !kept.is_empty() {
            ahead.push(kept);
            continue;
        }
        if kept.start <= partial.len && partial.len < kept.end && kept.end <= size {
            partial.take(&path, kept.start, kept.end, size)?;
            partial.inherits();
        }
        remove_if_there(&path)?;
    }
    Ok(ahead)
}

/// Brings `partial` to `size` bytes.
pub(crate) fn fetch_parts(
    client: &Client,
    target: &Target<'_>,
    partial: &mut Partial<'_>,
    size: u64,
    (retry, how): (&Retry, &Parts),
    watch: Watch<'_>,
) -> Result<Outcome> {
    let kept = take_in(partial, size)?;
    if !kept.is_empty() {
        partial.inherits();
    }
    let mut waiting: VecDeque<Part> = plan(size, partial.len, &kept, how.part_bytes(size)).into();
    let n_workers = how.connections_max.min(waiting.len());
    partial.beside = kept.iter().map(|k| k.end - k.start).sum();
    let (give, parts) = sync_channel(how.n_ahead_max().max(n_workers));
    let (tell, heard) = sync_channel(SAID_MAX);
    let work = Work { target, size, retry, parts: Mutex::new(parts), n_working: AtomicUsize::new(n_workers) };
    let given_up = Arc::new(AtomicBool::new(false));
    let clients: Vec<Client> =
        (0..n_workers).map(|_| client.fork(given_up.clone())).collect::<ingle_net::Result<_>>()?;
    std::thread::scope(|scope| {
        for client in clients {
            let (tell, work) = (tell.clone(), &work);
            scope.spawn(move || work_on(&client, work, &tell));
        }
        drop(tell);
        let outcome = gather(partial, size, &mut waiting, how, target.name, &give, &heard, watch);
        // Whoever still works stops, and whoever waits for work finds that there is none.
        given_up.store(true, Relaxed);
        drop((give, heard));
        outcome
    })
}

/// Hands out parts and puts together what comes, until all of it has or something fails.
fn gather(
    partial: &mut Partial<'_>,
    size: u64,
    waiting: &mut VecDeque<Part>,
    how: &Parts,
    name: &str,
    give: &SyncSender<Part>,
    heard: &Receiver<Said>,
    watch: Watch<'_>,
) -> Result<Outcome> {
    let mut n_given = 0;
    let mut done = BTreeSet::new();
    while partial.len < size {
        while n_given + done.len() < how.n_ahead_max()
            && let Some(part) = waiting.pop_front()
        {
            n_given += 1;
            // The channel has room for all that may be ahead; workers hold its other end.
            let _ = give.send(part);
        }
        match heard.recv() {
            Ok(Said::Bytes(n)) => {
                partial.beside += n;
                watch(Event::Bytes { file: name, done: partial.len + partial.beside, size });
            }
            Ok(Said::Waiting(why, wait)) => watch(Event::Waiting { why, wait }),
            Ok(Said::Left(part, why)) => {
                n_given -= 1;
                waiting.push_front(part);
                let why = format!("{why}; going on with fewer connections");
                watch(Event::Waiting { why, wait: Duration::ZERO });
            }
            Ok(Said::Done(part)) => {
                n_given -= 1;
                done.insert(part);
                while let Some(next) = done.first().copied().filter(|next| next.start == partial.len) {
                    done.pop_first();
                    let path = path_of(partial.path(), next.start);
                    partial.take(&path, next.start, next.end, size)?;
                    partial.beside -= next.end - next.start;
                    remove_if_there(&path)?;
                }
            }
            Ok(Said::NoRanges) => return Ok(Outcome::NoRanges),
            Ok(Said::Failed(error)) => return Err(error),
            Err(_) => unreachable!("the last worker does not leave before the work is done"),
        }
    }
    Ok(Outcome::Whole)
}

/// A worker: one part after the other, until there are no more or something fails.
fn work_on(client: &Client, work: &Work<'_>, tell: &SyncSender<Said>) {
    loop {
        let part = work.parts.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(part) = part else { return };
        let said = match fetch_part(client, work, part, tell) {
            Ok(()) => Said::Done(part),
            Err(End::NoRanges) => Said::NoRanges,
            Err(End::Leave(why)) => Said::Left(part, why),
            Err(End::Failed(error)) => Said::Failed(error),
        };
        let goes_on = matches!(said, Said::Done(_));
        if tell.send(said).is_err() || !goes_on {
            return;
        }
    }
}

/// Why a worker stops.
enum End {
    NoRanges,
    Leave(String),
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Why one connection ended before the part did.
enum Broke {
    NoRanges,
    Stop(Stop),
    /// The server is busy.
    Busy(Error, Option<Duration>),
}

impl From<Error> for Broke {
    fn from(error: Error) -> Self {
        Self::Stop(error.into())
    }
}

fn fetch_part(
    client: &Client,
    work: &Work<'_>,
    part: Part,
    tell: &SyncSender<Said>,
) -> std::result::Result<(), End> {
    let path = path_of(work.target.partial, part.start);
    let mut file = at(&path, OpenOptions::new().append(true).create(true).open(&path))?;
    let mut from = part.start + at(&path, file.metadata())?.len();
    let mut n_failed = 0;
    while from < part.end {
        let before = from;
        let (error, asked) = match attempt(client, work, from..part.end, (&mut file, &path), tell) {
            Ok(()) => return Ok(()),
            Err(Broke::NoRanges) => return Err(End::NoRanges),
            Err(Broke::Stop(Stop::Final(error))) => return Err(End::Failed(error)),
            Err(Broke::Busy(error, asked)) => {
                let may_leave = |n: usize| (n > 1).then(|| n - 1);
                if work.n_working.fetch_update(Relaxed, Relaxed, may_leave).is_ok() {
                    return Err(End::Leave(error.to_string()));
                }
                (error, asked)
            }
            Err(Broke::Stop(Stop::Later(error, asked))) => (error, asked),
        };
        from = part.start + at(&path, file.metadata())?.len();
        n_failed = if from >= before + PROGRESS_BYTES { 1 } else { n_failed + 1 };
        let Some(wait) = work.retry.wait(n_failed, asked) else { return Err(End::Failed(error)) };
        let _ = tell.send(Said::Waiting(error.to_string(), wait));
        pause(client, wait)?;
    }
    Ok(())
}

/// One connection: what it brings of `range` goes to the end of the part's file.
fn attempt(
    client: &Client,
    work: &Work<'_>,
    range: Range<u64>,
    (file, path): (&mut File, &Path),
    tell: &SyncSender<Said>,
) -> std::result::Result<(), Broke> {
    let asked = Ask { from: range.start, to: Some(range.end - 1), tag: None };
    let response = ask(client, work.target, &asked).map_err(Broke::Stop)?;
    let head = Head::of(&response);
    match judge_part(&head, range.clone(), work.size) {
        Verdict::Append { .. } => {}
        Verdict::Restart { .. } => return Err(Broke::NoRanges),
        Verdict::Later(asked) => {
            let Stop::Later(error, asked) = refusal(Verdict::Later(asked), work.target, head.status) else {
                unreachable!("what may pass is no refusal");
            };
            return Err(Broke::Busy(error, asked));
        }
        refused => return Err(Broke::Stop(refusal(refused, work.target, head.status))),
    }
    receive(client, range, response, (file, path), tell)
}

fn receive(
    client: &Client,
    range: Range<u64>,
    response: Response,
    (file, path): (&mut File, &Path),
    tell: &SyncSender<Said>,
) -> std::result::Result<(), Broke> {
    let url = response.url.origin.to_string();
    // Reading to the end leaves the connection open for the next part.
    let ends_there = response.content_length() == Some(range.end - range.start);
    let mut reader = response.into_reader();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut from = range.start;
    while from < range.end {
        let room = usize::try_from(range.end - from).unwrap_or(usize::MAX).min(buffer.len());
        let broke = |reason: String| {
            if client.is_interrupted() {
                return Stop::Final(ingle_net::Error::Interrupted.into());
            }
            let reason = format!(
                "{reason} after {} of {} bytes of a part",
                from - range.start,
                range.end - range.start
            );
            Stop::Later(ingle_net::Error::Connection { url: url.clone(), reason }.into(), None)
        };
        let n = match reader.read(&mut buffer[..room]) {
            Ok(0) => return Err(Broke::Stop(broke("the connection ended".into()))),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Broke::Stop(broke(e.to_string()))),
        };
        if let Err(e) = file.write_all(&buffer[..n]) {
            return Err(disk_error(path, e, range.end - from).into());
        }
        from += n as u64;
        let _ = tell.send(Said::Bytes(n as u64));
    }
    if ends_there {
        let _ = reader.read(&mut buffer[..1]);
    }
    Ok(())
}
