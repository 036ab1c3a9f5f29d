//! One aligned block of host memory.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// A cache line, and the width of the widest vector register: what SIMD code and DMA engines like.
pub(super) const ALIGN: usize = 64;

/// A block of initialised memory, aligned to [`ALIGN`]. Owns it alone, so it may move between threads.
pub(super) struct Buffer {
    base: NonNull<u8>,
    /// From `base` to the first aligned byte.
    offset: usize,
    capacity: usize,
}

// SAFETY: the block is owned by this value alone and has no ties to the thread that allocated it.
unsafe impl Send for Buffer {}
// SAFETY: a shared reference gives out the address only; who writes there is for `Slots` to argue.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A zeroed block of `capacity` bytes; `None` where the system has no more memory.
    ///
    /// Zeroed memory that nobody has written yet costs no physical pages: the allocator maps it. It only does so for
    /// small alignments (for others it clears by hand, touching every page), which is why the alignment is made here.
    pub(super) fn allocate(capacity: usize) -> Option<Buffer> {
        let layout = Self::layout(capacity)?;
        // SAFETY: the layout's size is at least ALIGN, so not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Buffer { base, offset: base.align_offset(ALIGN), capacity })
    }

    fn layout(capacity: usize) -> Option<Layout> {
        Layout::from_size_align(capacity.checked_add(ALIGN)?, 16).ok()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The first byte: aligned to [`ALIGN`], good for `capacity` bytes.
    pub(super) fn start(&self) -> NonNull<u8> {
        // SAFETY: `offset` is below ALIGN, and the block is `capacity + ALIGN` bytes long.
        unsafe { self.base.add(self.offset) }
    }

    /// Clears the first `bytes` bytes.
    pub(super) fn zero(&mut self, bytes: usize) {
        assert!(bytes <= self.capacity);
        // SAFETY: the range is inside the block, and `&mut self` means nobody else looks.
        unsafe { self.start().write_bytes(0, bytes) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let layout = Self::layout(self.capacity).expect("the layout this buffer was allocated with");
        // SAFETY: `base` came from `alloc_zeroed` with this layout and is freed once, here.
        unsafe { dealloc(self.base.as_ptr(), layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_zeroed_and_whole() {
        for capacity in [0, 1, 63, 64, 65, 4096, 1 << 20] {
            let buffer = Buffer::allocate(capacity).unwrap();
            assert_eq!(buffer.start().align_offset(ALIGN), 0);
            // SAFETY: the buffer is initialised, this long, and ours alone.
            let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.start().as_ptr(), capacity) };
            assert!(bytes.iter().all(|&b| b == 0));
            bytes.fill(0xff);
        }
    }

    #[test]
    fn more_than_there_can_be_is_refused() {
        assert!(Buffer::allocate(usize::MAX).is_none());
        assert!(Buffer::allocate(isize::MAX as usize - 64).is_none());
    }
}
