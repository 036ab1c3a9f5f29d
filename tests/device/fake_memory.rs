//! Memory that a fake device can read: zeroed, counted, refused on demand.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use sutler::{Error, ErrorKind, HostAllocator, Result};

/// What the system says when it has no more.
pub(crate) const REFUSAL: &str = "no more pages can be locked";

/// Page-locked memory, as it were; a handle, so that a test can look while a loader has it.
#[derive(Clone)]
pub(crate) struct FakePinned(Arc<Memory>);

struct Memory {
    /// By the address of their first byte.
    blocks: Mutex<BTreeMap<usize, Block>>,
    footprint: fn(usize) -> usize,
    /// How many blocks will still be given.
    left: AtomicUsize,
    /// How large they may be.
    most_bytes: AtomicUsize,
    /// Whether a refusal is a panic.
    panics: AtomicBool,
    allocated: AtomicUsize,
}

struct Block {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block is an address and a number; who uses its memory is the allocator's contract.
unsafe impl Send for Block {}

impl FakePinned {
    /// Memory whose blocks take as many bytes as they are asked for.
    pub(crate) fn new() -> Self {
        Self::with_footprint(|bytes| bytes)
    }

    /// Memory whose blocks take `footprint` bytes.
    pub(crate) fn with_footprint(footprint: fn(usize) -> usize) -> Self {
        FakePinned(Arc::new(Memory {
            blocks: Mutex::default(),
            footprint,
            left: AtomicUsize::new(usize::MAX),
            most_bytes: AtomicUsize::new(usize::MAX),
            panics: AtomicBool::new(false),
            allocated: AtomicUsize::new(0),
        }))
    }

    /// Gives `blocks` more, and then none.
    pub(crate) fn refuse_after(&self, blocks: usize) {
        self.0.left.store(blocks, SeqCst);
    }

    /// Gives no blocks larger than this.
    pub(crate) fn refuse_larger_than(&self, bytes: usize) {
        self.0.most_bytes.store(bytes, SeqCst);
    }

    /// Refuses by a panic.
    pub(crate) fn panic_when_refusing(&self) {
        self.0.panics.store(true, SeqCst);
    }

    /// How many blocks were ever given.
    pub(crate) fn blocks_allocated(&self) -> usize {
        self.0.allocated.load(SeqCst)
    }

    /// How many blocks are not given back.
    pub(crate) fn live_blocks(&self) -> usize {
        self.blocks().len()
    }

    /// Their bytes.
    pub(crate) fn live_bytes(&self) -> usize {
        self.blocks().values().map(|block| block.bytes).sum()
    }

    /// Reads what is at an address, as a device does: whoever owns it, and whatever it holds by now. False if it is no live
    /// block's.
    ///
    /// The pointer is the block's own and not one that a tensor was asked for, since a device outlives every borrow.
    pub(crate) fn read(&self, address: usize, into: &mut [u8]) -> bool {
        let blocks = self.blocks();
        let Some((start, block)) = blocks.range(..=address).next_back() else { return false };
        if address + into.len() > start + block.bytes {
            return false;
        }
        let (from, len) = (address - start, into.len());
        // SAFETY: the range is inside a block that cannot be given back while `blocks` is locked, and was initialised when
        // it was allocated. That nobody writes there meanwhile is what this whole file is a test of; the tests in which
        // somebody has written there make sure that it was before.
        unsafe { block.start.add(from).copy_to_nonoverlapping(NonNull::from(into).cast(), len) };
        true
    }

    fn blocks(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Block>> {
        self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 64).expect("the loader asks for sizes that exist")
}

// SAFETY: zeroed memory of the heap with this layout, each block given once.
unsafe impl HostAllocator for FakePinned {
    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        assert!(bytes >= 64 && bytes.is_multiple_of(64), "{bytes} bytes were asked for");
        if bytes > self.0.most_bytes.load(SeqCst) {
            return Err(Error::new(ErrorKind::Limit, REFUSAL));
        }
        if self.0.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(usize::from(left < usize::MAX))).is_err() {
            if self.0.panics.load(SeqCst) {
                std::panic::resume_unwind(Box::new(REFUSAL));
            }
            return Err(Error::new(ErrorKind::Limit, REFUSAL));
        }
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout(bytes)) }).expect("the heap has memory for a test");
        self.blocks().insert(start.addr().get(), Block { start, bytes });
        self.0.allocated.fetch_add(1, SeqCst);
        Ok(start)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, bytes: usize) {
        // Locked until the memory is gone, so that no device reads it meanwhile.
        let mut blocks = self.blocks();
        let known = blocks.remove(&block.addr().get()).expect("a block is given back once");
        assert_eq!(known.bytes, bytes);
        // SAFETY: `allocate` made it with this layout, and it was just taken from the list of those that are not freed.
        unsafe { dealloc(known.start.as_ptr(), layout(bytes)) };
    }

    fn footprint(&self, bytes: usize) -> usize {
        (self.0.footprint)(bytes)
    }

    fn is_pinned(&self) -> bool {
        true
    }
}
