//! `HostAllocator`: where the memory of batches comes from.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::error::{Error, Result};

/// A cache line, and the width of the widest vector register: what SIMD code and DMA engines like.
pub(super) const ALIGN: usize = 64;

/// Where the memory of batches comes from: the heap by default, page-locked memory for a device to copy from
/// ([`PinMemory`](crate::torch::PinMemory), feature `tch`), or what your framework has of its own kind.
///
/// A loader asks for few blocks, when the first sample is loaded, and cuts its buffers from them; see
/// [`BufferPool`](crate::BufferPool). It may do so, and give blocks back, on any thread, and also after it was dropped
/// itself: when the last batch is, or when a sample ends that was being loaded.
///
/// # Safety
///
/// [`allocate`](HostAllocator::allocate) must give memory that is valid for reads and writes of `bytes` bytes, aligned to 64
/// of them, zeroed, and used by nobody else until [`deallocate`](HostAllocator::deallocate) is called with it.
pub unsafe trait HostAllocator: Send + Sync + 'static {
    /// A zeroed block of `bytes` bytes (at least 64, a multiple of 64), aligned to 64.
    ///
    /// # Errors
    ///
    /// If there is no more memory of this kind.
    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>>;

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` came from `allocate(bytes)` of this allocator, is given back once, and nobody uses it any more.
    unsafe fn deallocate(&self, block: NonNull<u8>, bytes: usize);

    /// How many bytes a block of `bytes` really takes, for an allocator that rounds: the pool then asks for blocks that
    /// waste little, and for all that they have. (So the footprint of a footprint is itself.)
    fn footprint(&self, bytes: usize) -> usize {
        bytes
    }

    /// Whether a device copies from this memory at full speed, without a detour through memory of its driver's.
    fn is_pinned(&self) -> bool;
}

/// The heap.
pub(super) struct Pageable;

/// The base of a block lies this far before its first byte at the most, and that many bytes more are allocated.
const SLACK: usize = ALIGN;

impl Pageable {
    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(SLACK)?, 16).ok()
    }
}

// SAFETY: the block is zeroed memory of the heap, inside an allocation that is SLACK bytes longer. What lies before it is
// written here and nowhere else.
unsafe impl HostAllocator for Pageable {
    /// Zeroed memory that nobody has written yet costs no physical pages: the heap maps it. It only does so for
    /// small alignments (for others it clears by hand, touching every page), which is why the alignment is made here.
    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        let no_memory = || Error::no_memory("the system has no more memory");
        let layout = Self::layout(bytes).ok_or_else(no_memory)?;
        // SAFETY: the layout's size is at least SLACK, so not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(no_memory)?;
        // The base is aligned to 16, so this is 16, 32, 48 or 64: there is a byte before the block to remember it in.
        let offset = ALIGN - base.addr().get() % ALIGN;
        // SAFETY: `offset` is at least 1 and at most SLACK, and the allocation is SLACK bytes longer than the block.
        unsafe {
            let block = base.add(offset);
            block.sub(1).write(offset as u8);
            Ok(block)
        }
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, bytes: usize) {
        let layout = Self::layout(bytes).expect("the layout this block was allocated with");
        // SAFETY: the caller promises a block of `allocate`, which left there how far before it its base lies; that
        // came from `alloc_zeroed` with this layout, and is freed once.
        unsafe {
            let offset = block.sub(1).read();
            dealloc(block.sub(offset.into()).as_ptr(), layout);
        }
    }

    fn is_pinned(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_aligned_zeroed_and_whole() {
        for bytes in [64, 128, 4096, 1 << 20] {
            let block = Pageable.allocate(bytes).unwrap();
            assert_eq!(block.align_offset(ALIGN), 0);
            // SAFETY: the block is initialised, this long, and ours alone.
            let view = unsafe { std::slice::from_raw_parts_mut(block.as_ptr(), bytes) };
            assert!(view.iter().all(|&b| b == 0));
            view.fill(0xff);
            // SAFETY: allocated above with as many bytes, and not used any more.
            unsafe { Pageable.deallocate(block, bytes) };
        }
    }

    #[test]
    fn more_than_there_can_be_is_refused() {
        // The second is a size that may be asked for. Miri ends there, as a program without an operating system would.
        for bytes in [usize::MAX - 63, isize::MAX as usize - 127].into_iter().take(if cfg!(miri) { 1 } else { 2 }) {
            assert_eq!(Pageable.allocate(bytes).unwrap_err().kind(), crate::ErrorKind::Limit);
        }
    }
}
