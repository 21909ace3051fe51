//! A step of one token allocates nothing, whatever the layers are.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::tiny_models;

struct Counting;

thread_local! {
    /// Of this thread: the test's harness has threads that allocate when they like.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards to the system's allocator and counts.
#[expect(unsafe_code, reason = "an allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
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

#[test]
fn a_step_of_any_family_allocates_nothing() {
    for model in tiny_models() {
        let (mut kv, mut scratch) = model.sequence(256, 8, 1);
        model.feed(&mut kv, &mut scratch, &[1; 125]);
        // Over the border of a block, whose pages are taken then.
        for token in 2..8 {
            kv.checkpoint();
            let before = ALLOCATIONS.get();
            model.step(&mut kv, &mut scratch, token);
            assert_eq!(ALLOCATIONS.get() - before, 0, "{}", model.name);
        }
    }
}
