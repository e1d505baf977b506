//! The memory of the wasm instance: blocks of a power of two, a list of free ones for each size, the rest of linear
//! memory behind them. Promises that a freed block is used again; never gives memory back, and never joins blocks: the
//! core's vectors grow by doubling, so that a block outgrown by one fits another.
//!
//! 30 lines instead of the standard allocator's 6 KB in every page.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::UnsafeCell;
use core::ptr::null_mut;

const PAGE_BYTES: usize = 65_536;
/// The least block: what a free one needs for its link, and the alignment of every number.
const LEAST_BYTES: usize = 16;
/// A block of 2 GiB cannot be had in 32 bits beside anything else.
const SHIFTS: usize = 31;

struct Heap {
    free: [*mut u8; SHIFTS],
    /// What was never handed out begins here.
    next: *mut u8,
}

struct Blocks(UnsafeCell<Heap>);

// SAFETY: an instance without shared memory has one thread.
unsafe impl Sync for Blocks {}

#[global_allocator]
static BLOCKS: Blocks = Blocks(UnsafeCell::new(Heap {
    free: [null_mut(); SHIFTS],
    next: (&raw const __heap_base).cast_mut(),
}));

unsafe extern "C" {
    /// The linker's: the first byte of linear memory that nothing static lies in, at a multiple of 16.
    static __heap_base: u8;
}

/// Whoever asks for memory never asks for none.
fn shift(layout: Layout) -> usize {
    let last = (layout.size() - 1) | (LEAST_BYTES - 1);
    (usize::BITS - last.leading_zeros()) as usize
}

// SAFETY: each block is handed out once until it is freed, has at least the bytes asked for, and lies at a multiple of its own
// size up to 16, which is the largest alignment served.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and nothing here allocates.
        let heap = unsafe { &mut *self.0.get() };
        let shift = shift(layout);
        let Some(free) = heap.free.get_mut(shift) else { return null_mut() };
        if layout.align() > LEAST_BYTES {
            return null_mut();
        }
        if !free.is_null() {
            let block = *free;
            // SAFETY: a free block's first word is the link that `dealloc` wrote.
            *free = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        let block = heap.next;
        let behind = block.addr().saturating_add(1 << shift);
        // Other users of memory.grow (there is none) would only waste what lies between.
        let missing = behind.saturating_sub(wasm32::memory_size(0) * PAGE_BYTES);
        if missing > 0 && wasm32::memory_grow(0, missing.div_ceil(PAGE_BYTES)) == usize::MAX {
            return null_mut();
        }
        heap.next = block.wrapping_add(1 << shift);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: one thread, and nothing here allocates.
        let heap = unsafe { &mut *self.0.get() };
        if let Some(free) = heap.free.get_mut(shift(layout)) {
            // SAFETY: the block came from `alloc` with this layout, and holds at least 16 bytes.
            unsafe { block.cast::<*mut u8>().write(*free) };
            *free = block;
        }
    }
}

#[panic_handler]
fn stop(_: &core::panic::PanicInfo<'_>) -> ! {
    // A trap: the page notices, and begins anew from what is stored.
    wasm32::unreachable()
}
