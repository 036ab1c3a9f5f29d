//! Page-locked memory of torch's for batches, and when to use it.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, Once, PoisonError, RwLock};

use super::load_cuda;
use super::shim::{self, check};
use crate::error::{Error, ErrorKind, Result};
use crate::loader::LoaderBuilder;
use crate::memory::HostAllocator;

/// Whether batches are made in page-locked memory, from which a GPU copies at full speed and without holding up the host
/// (torch's `pin_memory`).
///
/// `true` is [`IfAvailable`](PinMemory::IfAvailable), as torch's `True` is, and `false` is [`Off`](PinMemory::Off).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PinMemory {
    /// Memory of the heap.
    #[default]
    Off,
    /// Page-locked memory where there is an accelerator; otherwise a warning on stderr, once, and memory of the heap.
    IfAvailable,
    /// Page-locked memory, or an error of `build()`.
    Required,
}

impl From<bool> for PinMemory {
    fn from(pin_memory: bool) -> Self {
        if pin_memory { PinMemory::IfAvailable } else { PinMemory::Off }
    }
}

impl<D, C> LoaderBuilder<D, C> {
    /// Whether batches are made in page-locked memory (default: no): see [`PinMemory`]. Workers write samples straight into
    /// it; there is no thread that pins, and no copy.
    ///
    /// It is allocated when the first sample is loaded, and not again; how much, [`BufferPool`](crate::BufferPool) says.
    /// [`Loader::is_pinned`](crate::Loader::is_pinned) tells what came of it.
    pub fn pin_memory(self, pin_memory: impl Into<PinMemory>) -> Self {
        let is_required = match pin_memory.into() {
            PinMemory::Off => None,
            PinMemory::IfAvailable => Some(false),
            PinMemory::Required => Some(true),
        };
        self.pinned(is_required.map(|is_required| move || allocator(is_required)))
    }
}

fn allocator(is_required: bool) -> Result<Option<Arc<dyn HostAllocator>>> {
    static WARN: Once = Once::new();
    match available() {
        Ok(()) => Ok(Some(Arc::new(Pinned::default()))),
        Err(reason) if is_required => Err(Error::new(
            ErrorKind::Torch,
            format!(
                "pin_memory is required, and there is no accelerator ({reason}). PinMemory::IfAvailable makes batches in \
                 pageable memory then"
            ),
        )),
        Err(reason) => {
            WARN.call_once(|| {
                eprintln!(
                    "sutler: warning: pin_memory is set, but there is no accelerator ({reason}): batches are in pageable \
                     memory"
                );
            });
            Ok(None)
        }
    }
}

/// Whether there is a device to pin memory for. Nothing is allocated to find out: that would bring up the first GPU, and a
/// process that is to use another one would have memory there for ever.
fn available() -> Result<(), String> {
    let loaded = load_cuda();
    match shim::accelerator_count() {
        Ok(1..) => Ok(()),
        Ok(_) => Err(loaded.err().unwrap_or("libtorch finds no device").into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether torch's allocator must not be used any more: because the process is ending, and destroys it while threads still
/// have batches; or because the device failed, and torch would end the process over memory that it cannot free then.
static TORCH_ENDED: RwLock<bool> = RwLock::new(false);

/// Page-locked memory is neither allocated nor freed from now on.
pub(super) extern "C" fn end() {
    *TORCH_ENDED.write().unwrap_or_else(PoisonError::into_inner) = true;
}

/// Has [`end`] called when the process ends, before what torch has made so far is destroyed: the C library does both in the
/// reverse order of their beginning.
fn end_before_torch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a function of ours without arguments, that neither panics nor waits for another thread longer than that
        // takes to allocate or to free a block. If it cannot be registered, there is nobody to tell.
        let _ = unsafe { libc::atexit(end) };
    });
}

/// Page-locked memory of torch's allocator.
#[derive(Default)]
struct Pinned {
    /// The blocks in use: where their memory begins, and torch's handle. A handful in the life of a loader.
    blocks: Mutex<HashMap<usize, Handle>>,
}

struct Handle(*mut c_void);

// SAFETY: a tensor may be deleted by another thread than the one that made it.
unsafe impl Send for Handle {}

// SAFETY: torch's memory is good for the bytes it was asked for, aligned to pages, and nobody else's as long as the handle
// is not deleted. It is cleared here.
unsafe impl HostAllocator for Pinned {
    fn allocate(&self, bytes: usize) -> Result<NonNull<u8>> {
        let torch = TORCH_ENDED.read().unwrap_or_else(PoisonError::into_inner);
        if *torch {
            return Err(Error::new(
                ErrorKind::Torch,
                "cannot allocate page-locked memory: the device has failed, or the process is ending",
            ));
        }
        let (mut block, mut data) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the function takes any size, and writes both pointers if it succeeds.
        check("cannot allocate page-locked memory", unsafe {
            shim::sutler_pinned_new(bytes as u64, &mut block, &mut data)
        })?;
        end_before_torch();
        let handle = Handle(block);
        let Some(data) = NonNull::new(data.cast::<u8>()) else {
            return Err(Error::new(ErrorKind::Torch, "torch allocated page-locked memory at no address"));
        };
        // SAFETY: the memory is that long, and ours.
        unsafe { data.write_bytes(0, bytes) };
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).insert(data.addr().get(), handle);
        Ok(data)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, _bytes: usize) {
        let torch = TORCH_ENDED.read().unwrap_or_else(PoisonError::into_inner);
        if *torch {
            return; // the system takes it back
        }
        let handle = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).remove(&block.addr().get());
        if let Some(Handle(block)) = handle {
            // SAFETY: of `sutler_pinned_new`, and removed from the list, so deleted once; the caller promises that nobody
            // uses its memory. If torch cannot free it, there is nobody to tell.
            let _ = check("", unsafe { shim::sutler_pinned_delete(block) });
        }
    }

    /// A power of two: `ATen/core/CachingHostAllocator.h`, `allocate`.
    fn footprint(&self, bytes: usize) -> usize {
        bytes.checked_next_power_of_two().unwrap_or(bytes)
    }

    fn is_pinned(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_accelerator_page_locked_memory_is_an_error_in_one_line() {
        if available().is_ok() {
            return;
        }
        let error = Pinned::default().allocate(4096).unwrap_err();
        assert!(error.to_string().starts_with("cannot allocate page-locked memory: "), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
