//! One aligned piece of host memory, and the slab that it is cut from.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::allocator::{ALIGN, HostAllocator};
use crate::error::Result;

/// A piece of initialised memory, aligned to [`ALIGN`]. Owns it alone, so it may move between threads.
pub(super) struct Buffer {
    start: NonNull<u8>,
    capacity: usize,
    slab: Arc<Slab>,
    /// Whether a batch was in it before.
    pub(super) was_used: bool,
}

/// A block of an allocator's, cut into buffers of equal size; freed with the last of them.
struct Slab {
    allocator: Arc<dyn HostAllocator>,
    block: NonNull<u8>,
    bytes: usize,
    /// How many buffers it was cut into.
    buffers: usize,
    /// The bytes of all slabs of a pool.
    held: Arc<AtomicU64>,
}

// SAFETY: the memory is owned by this value alone and has no ties to the thread that allocated it.
unsafe impl Send for Buffer {}
// SAFETY: a shared reference gives out the address only; who writes there is for `Slots` to argue.
unsafe impl Sync for Buffer {}

// SAFETY: an allocator takes a block back on any thread; until then, this is an address and numbers.
unsafe impl Send for Slab {}
// SAFETY: nothing is read or written through a shared reference.
unsafe impl Sync for Slab {}

impl Buffer {
    /// As many buffers of `capacity` bytes, a multiple of [`ALIGN`], as there is room for in a block for `count` of them.
    /// `held` is raised by the bytes of the block while there is one of them left.
    ///
    /// # Errors
    ///
    /// If the allocator has no such block.
    pub(super) fn allocate(
        allocator: &Arc<dyn HostAllocator>,
        capacity: usize,
        count: usize,
        held: &Arc<AtomicU64>,
    ) -> Result<impl Iterator<Item = Buffer> + use<>> {
        assert!(capacity.is_multiple_of(ALIGN) && capacity > 0 && count > 0);
        let asked = capacity.saturating_mul(count);
        let bytes = allocator.footprint(asked).max(asked) / ALIGN * ALIGN;
        let block = allocator.allocate(bytes)?;
        let buffers = bytes / capacity;
        held.fetch_add(bytes as u64, Relaxed);
        let slab = Arc::new(Slab { allocator: Arc::clone(allocator), block, bytes, buffers, held: Arc::clone(held) });
        Ok((0..buffers).map(move |number| {
            // SAFETY: the block is `bytes` bytes long, and `number + 1` times `capacity` is no more than that.
            let start = unsafe { slab.block.add(number * capacity) };
            // Each number comes once, so no two buffers overlap.
            Buffer { start, capacity, slab: Arc::clone(&slab), was_used: false }
        }))
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The first byte: aligned to [`ALIGN`], good for `capacity` bytes.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Whether a device copies from it at full speed.
    pub(super) fn is_pinned(&self) -> bool {
        self.slab.allocator.is_pinned()
    }

    /// How many buffers must be dropped before memory is freed.
    pub(super) fn slab_buffers(&self) -> usize {
        self.slab.buffers
    }

    /// Clears the first `bytes` bytes.
    pub(super) fn zero(&mut self, bytes: usize) {
        assert!(bytes <= self.capacity);
        // SAFETY: the range is inside the buffer, and `&mut self` means nobody else looks.
        unsafe { self.start.write_bytes(0, bytes) }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes as u64, Relaxed);
        // SAFETY: the block came from this allocator with as many bytes and is given back once, here, when no buffer is
        // left that could be used.
        unsafe { self.allocator.deallocate(self.block, self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::allocator::Pageable;
    use super::*;

    #[test]
    fn buffers_of_a_slab_do_not_overlap_and_free_it_together() {
        let pageable: Arc<dyn HostAllocator> = Arc::new(Pageable);
        let held = Arc::new(AtomicU64::new(0));
        for (capacity, count) in [(64, 1), (128, 5), (4096, 3)] {
            let buffers: Vec<_> = Buffer::allocate(&pageable, capacity, count, &held).unwrap().collect();
            assert_eq!((buffers.len(), held.load(Relaxed)), (count, (capacity * count) as u64));
            let view = |buffer: &Buffer| {
                // SAFETY: the buffer is initialised, this long, and nobody else looks meanwhile.
                unsafe { std::slice::from_raw_parts_mut(buffer.start().as_ptr(), capacity) }
            };
            for (number, buffer) in buffers.iter().enumerate() {
                assert_eq!(buffer.start().align_offset(ALIGN), 0);
                assert!(view(buffer).iter().all(|&byte| byte == 0));
                view(buffer).fill(number as u8 + 1);
            }
            for (number, buffer) in buffers.into_iter().enumerate() {
                assert!(view(&buffer).iter().all(|&byte| byte == number as u8 + 1));
                assert_eq!(held.load(Relaxed), (capacity * count) as u64);
            }
            assert_eq!(held.load(Relaxed), 0);
        }
    }
}
