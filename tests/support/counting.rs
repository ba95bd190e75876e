//! An allocator that counts, for the tests that say what things cost. It is that of whatever binary includes this file.

// A global allocator cannot be had without; nothing else here uses it.
#![allow(unsafe_code)]
// Each binary uses a part of it.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The allocator of the system, with a tally for each thread.
struct Counting;

#[derive(Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) live: isize,
    pub(crate) peak: isize,
    pub(crate) allocations: usize,
}

thread_local! {
    pub(crate) static TALLY: Cell<Tally> = const { Cell::new(Tally { live: 0, peak: 0, allocations: 0 }) };
}

fn count(bytes: isize, allocations: usize) {
    // A thread that is ending has no tally any more, and nobody who reads it.
    let _ = TALLY.try_with(|cell| {
        let mut tally = cell.get();
        tally.live += bytes;
        tally.peak = tally.peak.max(tally.live);
        tally.allocations += allocations;
        cell.set(tally);
    });
}

// SAFETY: every call is passed on to the allocator of the system as it came; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize, 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize, 1);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize), 0);
        // SAFETY: the caller keeps the contract of `dealloc`, and `ptr` came from the same allocator.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize, 1);
        // SAFETY: the caller keeps the contract of `realloc`, and `ptr` came from the same allocator.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` costs this thread: bytes that stay, the most there were at once, and how often it allocated.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (Tally, T) {
    let before = TALLY.get();
    TALLY.set(Tally { peak: before.live, ..before });
    let result = work();
    let after = TALLY.get();
    let cost = Tally {
        live: after.live - before.live,
        peak: after.peak - before.live,
        allocations: after.allocations - before.allocations,
    };
    (cost, result)
}
