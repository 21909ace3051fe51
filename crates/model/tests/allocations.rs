//! A step of one token allocates nothing, whatever the layers are.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::tiny_models;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system's allocator and counts.
#[expect(unsafe_code, reason = "an allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test only in this file: others would allocate at the same time.
#[test]
fn a_step_of_any_family_allocates_nothing() {
    for model in tiny_models() {
        let (mut kv, mut scratch) = model.sequence(64, 8, 1);
        model.feed(&mut kv, &mut scratch, &[1, 2, 3, 4, 5]);
        for token in [6, 7] {
            kv.checkpoint();
            let before = ALLOCATIONS.load(Relaxed);
            model.step(&mut kv, &mut scratch, token);
            assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0, "{}", model.name);
        }
    }
}
