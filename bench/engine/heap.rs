//! What this program's own code has allocated, to the byte, beside what it says it has: RocksDB's memory is not in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of a block of the allocator, beside what may be used of it.
const BLOCK_HEADER_BYTES: usize = 8;

/// The allocator of the system, and how much of it is taken.
pub struct CountingAllocator(AtomicUsize);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator(AtomicUsize::new(0));

/// Bytes of all blocks that are taken, headers included.
pub fn taken_bytes() -> usize {
    ALLOCATOR.0.load(Ordering::Relaxed)
}

impl CountingAllocator {
    fn took(&self, block: *mut u8) -> *mut u8 {
        if !block.is_null() {
            self.0.fetch_add(block_bytes(block), Ordering::Relaxed);
        }
        block
    }

    fn gives(&self, block: *mut u8) {
        self.0.fetch_sub(block_bytes(block), Ordering::Relaxed);
    }
}

fn block_bytes(block: *mut u8) -> usize {
    // SAFETY: every block here comes from the system's allocator, which is `malloc`, and has not been freed yet.
    unsafe { libc::malloc_usable_size(block.cast()) + BLOCK_HEADER_BYTES }
}

// SAFETY: all calls go to the system's allocator with the same arguments; counting neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` asks for.
        self.took(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.took(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.gives(block);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let before = block_bytes(block);
        // SAFETY: as above.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            self.took(moved);
            self.0.fetch_sub(before, Ordering::Relaxed);
        }
        moved
    }
}
