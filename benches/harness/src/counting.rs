//! An allocator that counts while it is told to.

// A global allocator cannot be had without; nothing else here uses it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

/// The allocator of the system; set it as the global one of a bench that asks for [`count_allocations`].
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicIsize = AtomicIsize::new(0);

fn count(taken: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(taken as isize, Ordering::Relaxed);
    }
}

fn give_back(len: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        HELD.fetch_sub(len as isize, Ordering::Relaxed);
    }
}

/// How often `work` allocates, or enlarges what it has.
pub fn count_allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    work();
    COUNTS.store(false, Ordering::Relaxed);
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// How many bytes more are held after `work` than before.
pub fn held_bytes(work: impl FnOnce()) -> isize {
    let before = HELD.load(Ordering::Relaxed);
    count_allocations(work);
    HELD.load(Ordering::Relaxed) - before
}

// SAFETY: every call is passed on to the allocator of the system as it came; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`, and `ptr` came from the same allocator.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        give_back(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`, and `ptr` came from the same allocator.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}
