//! Pages: what one layer keeps of one block of positions, counted, so that sequences can share it.
//!
//! A page is `(n_kv_heads, 2)` blocks, a head's keys and then its values, as [`super::cache`] lays them out. [`Pages`] is the room
//! that pages of one size are taken from: reserved at once and zero, which the system backs with memory as it is written, so
//! that taking a page, sharing it and giving it back allocate nothing. The pages of a layer of a sequence are taken from runs, one
//! behind the other: they are read so, and neighbours share what the CPU needs to find them. A [`Table`] says which pages a layer of one sequence looks at.
//!
//! A page is written only through the one handle to it; a table that is to write into a page somebody else has too takes
//! another and copies what it keeps.

use std::cell::UnsafeCell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::*, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BLOCK;

/// Bytes of a line of the CPU's caches, at which pages begin.
const LINE_BYTES: usize = 64;

/// Pages that are given to one layer of a sequence one behind the other: some megabytes.
const RUN: usize = 32;

/// Room for pages of one size. Clones are the same room.
#[derive(Clone)]
pub struct Pages(Arc<Room>);

struct Room {
    memory: Box<[UnsafeCell<u8>]>,
    /// Where the first page begins.
    start: usize,
    page_bytes: usize,
    /// Handles to each page.
    counts: Box<[AtomicUsize]>,
    free: Mutex<Free>,
}

/// Pages without a handle.
struct Free {
    /// Of each page whether it is one.
    is_free: Box<[bool]>,
    n: usize,
}

impl Free {
    /// Takes page `i`, if it is free.
    fn take(&mut self, i: usize) -> Option<usize> {
        let is_free = self.is_free.get_mut(i).is_some_and(std::mem::take);
        self.n -= usize::from(is_free);
        is_free.then_some(i)
    }

    /// Takes the page behind `before`, or the first of a run of which that one is free, or any.
    fn take_behind(&mut self, before: Option<usize>) -> Option<usize> {
        let behind = before.map(|i| i + 1).filter(|i| i % RUN != 0).and_then(|i| self.take(i));
        let start = |free: &Self| (0..free.is_free.len()).step_by(RUN).find(|&i| free.is_free[i]);
        behind.or_else(|| start(self).and_then(|i| self.take(i))).or_else(|| self.take_last())
    }

    /// Takes the last one.
    fn take_last(&mut self) -> Option<usize> {
        let last = self.is_free.iter().rposition(|is_free| *is_free)?;
        self.take(last)
    }
}

// SAFETY: `memory` is the one field that is not Sync by itself. A page's bytes are written only through the one handle to it,
// which is borrowed exclusively, and read only through handles; a page changes hands by `counts` and `free`.
unsafe impl Sync for Room {}

impl Pages {
    /// Room for `n` pages of `page_bytes`, as many lines of 64 bytes as that fills.
    pub fn new(n: usize, page_bytes: usize) -> Self {
        let page_bytes = page_bytes.next_multiple_of(LINE_BYTES);
        let memory = vec![0u8; n * page_bytes + LINE_BYTES].into_boxed_slice();
        let start = memory.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES);
        // SAFETY: UnsafeCell<u8> has the layout of u8, and the box is ours.
        let memory = unsafe { Box::from_raw(Box::into_raw(memory) as *mut [UnsafeCell<u8>]) };
        let counts = (0..n).map(|_| AtomicUsize::new(0)).collect();
        Self(Arc::new(Room {
            memory,
            start,
            page_bytes,
            counts,
            free: Mutex::new(Free { is_free: vec![true; n].into(), n }),
        }))
    }

    /// A page that nobody has, if there is one; it holds any bytes.
    pub fn take(&self) -> Option<Page> {
        let i = self.0.free().take_last()?;
        Some(self.taken(i))
    }

    /// The same, if it can be the one behind `before`, of a layer's block before.
    fn take_behind(&self, before: Option<usize>) -> Option<Page> {
        let i = self.0.free().take_behind(before)?;
        Some(self.taken(i))
    }

    fn taken(&self, i: usize) -> Page {
        self.0.counts[i].store(1, Relaxed);
        Page { room: self.0.clone(), i }
    }

    /// Pages that can be taken.
    pub fn n_free(&self) -> usize {
        self.0.free().n
    }

    /// Pages that somebody has.
    pub fn n_taken(&self) -> usize {
        self.0.counts.len() - self.n_free()
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> usize {
        self.0.page_bytes
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({} of {} bytes, {} free)", self.0.counts.len(), self.0.page_bytes, self.n_free())
    }
}

impl Room {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of page `i`.
    fn at(&self, i: usize) -> &[UnsafeCell<u8>] {
        &self.memory[self.start + i * self.page_bytes..][..self.page_bytes]
    }
}

/// A handle to a page. Clones are handles to the same.
pub struct Page {
    room: Arc<Room>,
    i: usize,
}

impl Page {
    /// What the page holds.
    pub fn bytes(&self) -> &[u8] {
        let bytes = self.room.at(self.i);
        // SAFETY: whoever writes needs the one handle to the page, exclusively, and this one is borrowed.
        unsafe { &*(std::ptr::from_ref(bytes) as *const [u8]) }
    }

    /// The same, to be written, or `None` when there are other handles to it.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        // What other handles read before they went comes before what is written now.
        if self.room.counts[self.i].load(Acquire) != 1 {
            return None;
        }
        let bytes = self.room.at(self.i);
        // SAFETY: no other handle exists, and none is made while this one is borrowed exclusively.
        Some(unsafe { std::slice::from_raw_parts_mut(bytes.as_ptr().cast::<u8>().cast_mut(), bytes.len()) })
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        self.room.counts[self.i].fetch_add(1, Relaxed);
        Self { room: self.room.clone(), i: self.i }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.room.counts[self.i].fetch_sub(1, Release) == 1 {
            fence(Acquire);
            let mut free = self.room.free();
            free.is_free[self.i] = true;
            free.n += 1;
        }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({})", self.i)
    }
}

/// The pages of one layer of one sequence. Block `b` of positions lies in place `b % n_places`: a layer that looks back only over a
/// window has places for the latest.
#[derive(Debug)]
pub struct Table {
    from: Pages,
    places: Vec<Option<Place>>,
}

#[derive(Debug)]
struct Place {
    block: usize,
    page: Page,
}

impl Table {
    /// An empty one, whose pages are taken from `from`.
    pub fn new(from: Pages, n_places: usize) -> Self {
        Self { from, places: (0..n_places).map(|_| None).collect() }
    }

    /// Blocks that it has places for.
    pub fn n_places(&self) -> usize {
        self.places.len()
    }

    /// The page of a block, if it is there.
    pub fn page(&self, block: usize) -> Option<&Page> {
        let place = self.places.get(block % self.places.len().max(1))?.as_ref()?;
        (place.block == block).then_some(&place.page)
    }

    /// Takes `page` as that of `block`, in place of what its place held.
    pub fn put(&mut self, block: usize, page: Page) {
        let n = self.places.len();
        self.places[block % n] = Some(Place { block, page });
    }

    /// Gives all pages back.
    pub fn clear(&mut self) {
        self.places.fill_with(|| None);
    }

    /// The page of `block` with its first `n_kept` positions, to be written: a page that others have too is copied, and one of an
    /// earlier block gives way.
    ///
    /// # Panics
    /// When positions are to be kept that are not there, or no page is left to be taken.
    pub(super) fn writable(&mut self, block: usize, n_kept: usize) -> &mut [u8] {
        assert!(n_kept < BLOCK && (n_kept == 0 || self.page(block).is_some()), "a block goes on where it is");
        let n = self.places.len();
        let before = block.checked_sub(1).and_then(|before| self.page(before)).map(|page| page.i);
        let place = &mut self.places[block % n];
        let is_own = place.as_mut().is_some_and(|place| place.page.bytes_mut().is_some());
        if !is_own {
            let mut page = self.from.take_behind(before).expect("a page for every place");
            if let Some(there) = place.as_ref().filter(|_| n_kept > 0) {
                page.bytes_mut().expect("a page of its own").copy_from_slice(there.page.bytes());
            }
            *place = Some(Place { block, page });
        }
        let place = place.as_mut().expect("it was just filled");
        place.block = block;
        place.page.bytes_mut().expect("a page of its own")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_by_one_and_read_by_all() {
        let pages = Pages::new(2, 100);
        assert_eq!((pages.page_bytes(), pages.n_free()), (128, 2));
        let mut page = pages.take().unwrap();
        assert!(page.bytes().as_ptr().addr().is_multiple_of(LINE_BYTES));
        page.bytes_mut().unwrap().fill(7);
        let other = page.clone();
        assert!(page.bytes_mut().is_none());
        drop(page);
        assert!(pages.n_free() == 1 && other.bytes() == [7; 128]);
        let second = pages.take().unwrap();
        assert!(second.bytes() == [0; 128] && pages.take().is_none());
        drop((other, second));
        assert_eq!(pages.n_free(), 2);
    }

    #[test]
    fn a_layers_pages_lie_one_behind_the_other() {
        let pages = Pages::new(3 * RUN, 64);
        let mut tables = [Table::new(pages.clone(), 2 * RUN), Table::new(pages.clone(), 2 * RUN)];
        for block in 0..RUN + 2 {
            tables.iter_mut().for_each(|table| _ = table.writable(block, 0));
        }
        let at = |table: &Table, block: usize| table.page(block).unwrap().i;
        for table in &tables {
            assert!((1..RUN).all(|block| at(table, block) == at(table, block - 1) + 1));
        }
        // Where no whole run is left any page does, until there is none.
        assert_eq!(pages.n_free(), RUN - 4);
        let others: Vec<Page> = (0..RUN).map_while(|_| pages.take()).collect();
        assert!(others.len() == RUN - 4 && pages.n_free() == 0);
    }

    #[test]
    fn a_table_copies_what_others_have_too() {
        let pages = Pages::new(4, 64);
        let mut table = Table::new(pages.clone(), 2);
        table.writable(0, 0).fill(1);
        table.writable(1, 0).fill(2);
        let shared = table.page(1).unwrap().clone();
        table.writable(1, 5)[5] = 3;
        assert!(shared.bytes() == [2; 64], "the other's page is as it was");
        assert_eq!(table.page(1).unwrap().bytes()[..7], [2, 2, 2, 2, 2, 3, 2]);
        // Its own is written where it is, and gives way to a later block.
        let (at, n_free) = (table.page(0).unwrap().bytes().as_ptr(), pages.n_free());
        assert_eq!(table.writable(2, 0).as_ptr(), at);
        assert!(table.page(0).is_none() && table.page(2).is_some() && pages.n_free() == n_free);
        table.clear();
        assert_eq!(pages.n_free(), 3);
    }

    #[test]
    #[should_panic(expected = "a block goes on where it is")]
    fn a_block_does_not_go_on_from_what_is_gone() {
        let mut table = Table::new(Pages::new(3, 64), 2);
        table.writable(0, 0);
        table.writable(2, 0);
        table.writable(0, 1);
    }

    #[test]
    fn handles_on_many_threads_count_right() {
        let pages = Pages::new(3, 64);
        std::thread::scope(|scope| {
            for t in 0..4u8 {
                let pages = pages.clone();
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let Some(mut page) = pages.take() else { continue };
                        page.bytes_mut().unwrap().fill(t);
                        let others = [page.clone(), page.clone()];
                        drop(page);
                        assert!(others.iter().all(|page| page.bytes() == [t; 64]));
                    }
                });
            }
        });
        assert_eq!(pages.n_free(), 3);
    }
}
