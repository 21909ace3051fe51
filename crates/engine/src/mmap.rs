//! Model files, mapped.
//!
//! A file is mapped read-only and used in place. Two things can then go wrong that reading would not have: the file can
//! change under us, which [`Mapped::check_unchanged`] finds before each request, and it can shrink between two such looks,
//! so that touching the lost pages raises SIGBUS. For that [`exit_when_a_file_shrinks`] installs a handler that says which
//! file it was and ends the process. A shared lock keeps well-behaved writers away.
#![expect(unsafe_code, reason = "mapping a file, and a signal handler")]

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::{Mutex, PoisonError};

#[cfg(target_os = "linux")]
use ingle_kernel::bytes::Room;
use ingle_kernel::bytes::{Bytes, Order, Owner};
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
#[cfg(target_os = "linux")]
use memmap2::{Advice, MmapMut};

use crate::error::{Error, Result};
use crate::packed::Shelf;

/// An open, mapped file.
#[derive(Debug)]
pub struct Mapped {
    name: String,
    file: File,
    len: u64,
    bytes: Bytes,
    /// The same bytes, to give advice about; `None` for an empty file.
    map: Option<Arc<Mmap>>,
    packed: Arc<Shelf>,
}

impl Mapped {
    /// Maps `path`. Costs a few system calls; pages are read when touched.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { file: path.display().to_string() },
            _ => Error::Io { file: path.display().to_string(), source },
        };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            let source = std::io::Error::other("not a regular file, expected a model file");
            return Err(Error::Io { file: name, source });
        }
        // A courtesy to writers that ask; file systems without locks refuse, which costs only the courtesy.
        let _ = file.try_lock_shared();
        let len = meta.len();
        let packed = Arc::new(Shelf::default());
        let (bytes, map) = if len == 0 {
            (Bytes::new(Vec::new()), None)
        } else {
            // SAFETY: the map is read-only; a file that changes or shrinks under it is found by `check_unchanged` or ends
            // the process in the SIGBUS handler, and no code trusts the content twice without checking it once.
            let map = unsafe { Mmap::map(&file) }.map_err(io)?;
            #[cfg(unix)]
            shrunk::register(&map, &name);
            let map = Arc::new(map);
            let pages = Pages {
                map: map.clone(),
                packed: packed.clone(),
                #[cfg(target_os = "linux")]
                copies: Copies::default(),
            };
            (Bytes::owned_by(pages), Some(map))
        };
        Ok(Self { name, file, len, bytes, map, packed })
    }

    /// The path as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The content.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What is known of its weights in the order of kernels.
    pub(crate) fn packed(&self) -> &Arc<Shelf> {
        &self.packed
    }

    /// What tells this file from others and from what it may become: which it is, how large, and when it was last changed.
    pub(crate) fn stamp(&self) -> std::io::Result<String> {
        stamp_of(&self.file)
    }

    /// Has the system read it in large pages, and map it so, where it can.
    pub(crate) fn use_large_pages(&self) {
        #[cfg(target_os = "linux")]
        if let Some(map) = &self.map {
            let _ = map.advise(Advice::HugePage);
        }
    }

    /// Has all pages leave the process, those of packed weights too; the system may keep them cached, and they come back when touched.
    pub fn drop_pages(&self) {
        self.bytes.release();
        if let Some(kept) = self.packed.map() {
            kept.bytes.release();
        }
    }

    /// Brings the pages of `range` into the process at once: those that the system has cached cost what their tables cost, others are
    /// read. The parts of a file can be brought by several threads.
    pub fn prefault(&self, range: Range<usize>) {
        let Some(map) = &self.map else { return };
        let range = range.start.min(map.len())..range.end.min(map.len());
        #[cfg(target_os = "linux")]
        if map.advise_range(Advice::PopulateRead, range.start, range.len()).is_ok() {
            return;
        }
        // A system that does not know this: a byte of each page.
        let touched = map[range].iter().step_by(SMALLEST_PAGE).fold(0u8, |all, byte| all ^ byte);
        std::hint::black_box(touched);
    }

    /// Compares the file's size with that at opening: cheap enough for every request.
    pub fn check_unchanged(&self) -> Result<()> {
        match self.file.metadata() {
            Ok(meta) if meta.len() == self.len => Ok(()),
            Ok(meta) => Err(Error::Changed { file: self.name.clone(), was: self.len, is: meta.len() }),
            Err(source) => Err(Error::Io { file: self.name.clone(), source }),
        }
    }
}

/// The same of an open file.
pub(crate) fn stamp_of(file: &File) -> std::io::Result<String> {
    let meta = file.metadata()?;
    #[cfg(unix)]
    let times = {
        use std::os::unix::fs::MetadataExt as _;
        [meta.ino() as i64, meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]
    };
    #[cfg(not(unix))]
    let times = [meta.created(), meta.modified()];
    Ok(format!("{} {times:?}", meta.len()))
}

/// A mapped file's pages.
struct Pages {
    map: Arc<Mmap>,
    packed: Arc<Shelf>,
    #[cfg(target_os = "linux")]
    copies: Copies,
}

impl Owner for Pages {
    fn bytes(&self) -> &[u8] {
        &self.map
    }

    fn is_releasable(&self) -> bool {
        cfg!(unix)
    }

    /// Whole pages leave the process; the system may keep them cached, and they come back when touched.
    #[cfg(unix)]
    fn release(&self, range: Range<usize>) {
        let (first, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
        if first < end {
            // SAFETY: the map is shared and read-only, so its pages hold nothing that the file does not. The advice may fail.
            let _ = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, first, end - first) };
        }
    }

    fn kept(&self, range: Range<usize>, order: &Order) -> Option<Bytes> {
        self.packed.kept(&range, order)
    }

    fn want(&self, range: Range<usize>, order: Order) {
        self.packed.want(range, order);
    }

    #[cfg(target_os = "linux")]
    fn room(&self, n: usize) -> Room {
        self.copies.room(n).map_or_else(|_| Box::new(vec![0u8; n]) as Room, |room| Box::new(room))
    }
}

#[cfg(unix)]
impl Drop for Pages {
    /// What is mapped at these addresses next is another file's.
    fn drop(&mut self) {
        shrunk::forget(&self.map);
    }
}

/// Memory for copies of a file's weights, in large pages where the system has some: they are ready sooner and found faster. Copies
/// follow each other, as most are smaller than such a page or not much larger.
#[cfg(target_os = "linux")]
#[derive(Default)]
struct Copies(Mutex<Option<Stretch>>);

/// Memory of which the first `n_taken` bytes are lent.
#[cfg(target_os = "linux")]
struct Stretch {
    map: Arc<MmapMut>,
    n_taken: usize,
}

/// Bytes of a stretch that are nobody else's.
#[cfg(target_os = "linux")]
struct Part {
    map: Arc<MmapMut>,
    range: Range<usize>,
}

/// Bytes of a stretch; what is not taken of it costs addresses only.
#[cfg(target_os = "linux")]
const STRETCH: usize = 256 << 20;

#[cfg(target_os = "linux")]
impl Copies {
    fn room(&self, n: usize) -> std::io::Result<Part> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Stretch { map, n_taken } = match last.take() {
            Some(stretch) if n <= stretch.map.len() - stretch.n_taken => stretch,
            _ => {
                let map = MmapMut::map_anon(n.max(STRETCH))?;
                // Only advice: without large pages it is memory all the same.
                let _ = map.advise(Advice::HugePage);
                Stretch { map: Arc::new(map), n_taken: 0 }
            }
        };
        let range = n_taken..n_taken + n;
        *last = Some(Stretch { map: map.clone(), n_taken: range.end });
        Ok(Part { map, range })
    }
}

#[cfg(target_os = "linux")]
impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let start = self.map.as_ptr().wrapping_add(self.range.start);
        // SAFETY: the range lies in the map, which lives as long as `self`; no other part has bytes of it, so nobody writes them
        // while they are lent.
        unsafe { std::slice::from_raw_parts(start, self.range.len()) }
    }
}

#[cfg(target_os = "linux")]
impl AsMut<[u8]> for Part {
    fn as_mut(&mut self) -> &mut [u8] {
        let start = self.map.as_ptr().wrapping_add(self.range.start).cast_mut();
        // SAFETY: as above, and `self` is borrowed alone; the map may be written to, and nobody borrows all of it.
        unsafe { std::slice::from_raw_parts_mut(start, self.range.len()) }
    }
}

/// A multiple of the page sizes in use, so that no page is released that holds more than was named.
#[cfg(unix)]
const PAGE: usize = 64 << 10;

/// The smallest pages in use.
const SMALLEST_PAGE: usize = 4 << 10;

/// Gives memory that was freed back to the system, where the allocator would keep it for later.
pub fn give_back_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// From now on, memory in large blocks goes back to the system as soon as it is freed, and few pools of the small ones are kept.
///
/// For programs, not libraries: it sets up the allocator of the whole process. By itself that one keeps blocks of up to 32 MiB for
/// later, in a pool for each thread; for models that come and go this was as much again as the models.
pub fn give_back_large() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt may be called at any time; a setting that is refused changes nothing.
        let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK) };
        // SAFETY: the same.
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, ALLOCATOR_POOLS) };
    }
}

/// Bytes of a block that is large.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BLOCK: libc::c_int = 256 << 10;
/// Pools of small blocks, which threads share.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ALLOCATOR_POOLS: libc::c_int = 2;

/// From now on, touching a mapped file's lost pages prints one sentence and ends the process with `exit_code`.
///
/// For programs, not libraries: it takes over SIGBUS for the whole process. Does nothing where there is no SIGBUS.
pub fn exit_when_a_file_shrinks(exit_code: i32) {
    #[cfg(unix)]
    shrunk::install(exit_code);
    #[cfg(not(unix))]
    let _ = exit_code;
}

#[cfg(unix)]
mod shrunk {
    use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering::*};

    /// Maps we can tell apart in a signal handler, which may neither lock nor allocate.
    /// Published models have up to some 200 files.
    const MAPS_MAX: usize = 1024;

    struct Map {
        start: AtomicUsize,
        end: AtomicUsize,
        sentence: AtomicPtr<u8>,
        len: AtomicUsize,
    }

    static MAPS: [Map; MAPS_MAX] = [const {
        Map {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            sentence: AtomicPtr::new(std::ptr::null_mut()),
            len: AtomicUsize::new(0),
        }
    }; MAPS_MAX];
    static N_MAPS: AtomicUsize = AtomicUsize::new(0);
    static EXIT_CODE: AtomicI32 = AtomicI32::new(1);

    /// Remembers a map and what to say about it. The sentence lives as long as the process: some bytes per file opened.
    pub(super) fn register(map: &[u8], name: &str) {
        let slot = &MAPS[N_MAPS.fetch_add(1, SeqCst) % MAPS_MAX];
        let sentence =
            format!("error: {name}: the file shrank while in use, expected it to stay as it was\n");
        let sentence = sentence.into_bytes().leak();
        slot.end.store(0, SeqCst);
        slot.len.store(0, SeqCst);
        slot.sentence.store(sentence.as_mut_ptr(), SeqCst);
        slot.len.store(sentence.len(), SeqCst);
        slot.start.store(map.as_ptr() as usize, SeqCst);
        slot.end.store(map.as_ptr() as usize + map.len(), SeqCst);
    }

    /// Forgets a map that goes.
    pub(super) fn forget(map: &[u8]) {
        let (start, end) = (map.as_ptr() as usize, map.as_ptr() as usize + map.len());
        let is_it = |slot: &&Map| (slot.start.load(SeqCst), slot.end.load(SeqCst)) == (start, end);
        if let Some(slot) = MAPS.iter().find(is_it) {
            slot.end.store(0, SeqCst);
        }
    }

    pub(super) fn install(exit_code: i32) {
        EXIT_CODE.store(exit_code, SeqCst);
        // SAFETY: an all-zero sigaction is a valid value of that C struct.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: `action` is initialised, and the handler does only what a handler may.
        unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
    }

    extern "C" fn on_sigbus(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid siginfo to a SA_SIGINFO handler.
        let info = unsafe { &*info };
        // SAFETY: for SIGBUS the union holds the faulting address.
        let address = unsafe { info.si_addr() } as usize;
        let hit = MAPS.iter().find(|m| (m.start.load(SeqCst)..m.end.load(SeqCst)).contains(&address));
        if let Some(map) = hit {
            let (sentence, len) = (map.sentence.load(SeqCst), map.len.load(SeqCst));
            // SAFETY: write(2) may be called in a handler; the sentence was leaked and is `len` bytes long.
            unsafe { libc::write(2, sentence.cast(), len) };
            // SAFETY: _exit may be called in a handler and does not return.
            unsafe { libc::_exit(EXIT_CODE.load(SeqCst)) };
        }
        // Not ours: let the default action take the process down when the instruction faults again.
        // SAFETY: signal(2) may be called in a handler.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_bytes_come_back() {
        let path = std::env::temp_dir().join(format!("ingle-release-{}", std::process::id()));
        let content: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let mapped = Mapped::open(&path).unwrap();
        for range in [0..content.len(), 100..200_000, 70_000..70_010] {
            let window = mapped.bytes().get(range.clone()).unwrap();
            assert_eq!(*window, content[range.clone()]);
            window.release();
            assert_eq!(*window, content[range]);
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn copies_follow_each_other_and_keep_what_was_written() {
        let copies = Copies::default();
        let mut parts: Vec<Part> = [1, 4096, 3, STRETCH, 70_000].map(|n| copies.room(n).unwrap()).into();
        for (i, part) in parts.iter_mut().enumerate() {
            part.as_mut().fill(i as u8 + 1);
        }
        let neighbours = parts[0].as_ref().as_ptr().wrapping_add(1) == parts[1].as_ref().as_ptr();
        assert!(neighbours, "one behind the other");
        drop(copies);
        for (i, part) in parts.iter().enumerate() {
            assert!(part.as_ref().iter().all(|&byte| byte == i as u8 + 1));
        }
    }

    /// What the process has of the file at `path`, by the system's own account.
    #[cfg(target_os = "linux")]
    fn resident_kib(path: &Path) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let name = path.display().to_string();
        let of = maps.lines().skip_while(|line| !line.ends_with(&name)).find_map(|l| l.strip_prefix("Rss:"));
        of.unwrap().trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn pages_leave_the_process_and_come_back_at_once() {
        let path = std::env::temp_dir().join(format!("ingle-prefault-{}", std::process::id()));
        let content: Vec<u8> = (0..4_000_001u32).map(|i| (i % 253) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let mapped = Mapped::open(&path).unwrap();
        assert_eq!(resident_kib(&path), 0);
        mapped.prefault(0..1 << 20);
        mapped.prefault(1 << 20..usize::MAX);
        assert_eq!(resident_kib(&path), 4_000_001u64.div_ceil(4096) * 4);
        mapped.drop_pages();
        assert!(resident_kib(&path) <= 64, "the last 64 KiB, which are not whole, may stay");
        assert_eq!(**mapped.bytes(), content);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_changes_size_is_noticed() {
        let path = std::env::temp_dir().join(format!("ingle-mmap-{}", std::process::id()));
        std::fs::write(&path, [7; 100]).unwrap();
        let mapped = Mapped::open(&path).unwrap();
        assert_eq!(&**mapped.bytes(), [7; 100]);
        mapped.check_unchanged().unwrap();
        std::fs::write(&path, [7; 40]).unwrap();
        let error = mapped.check_unchanged().unwrap_err().to_string();
        assert!(error.contains("from 100 to 40 bytes"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Mapped::open(&path), Err(Error::NotFound { .. })));
    }
}
