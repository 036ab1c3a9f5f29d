//! The pool that batch buffers come from and go back to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};

/// Small batches are reserved up to this many bytes, so that a loader may run far ahead with them.
const SMALL_RESERVE: usize = 8 << 20;
/// … and up to this many pieces.
const MOST_SMALL: usize = 258;

/// A pool of host buffers; a handle, cheap to clone.
///
/// A buffer is leased for a batch and returned when the batch is dropped. The first lease of a size reserves as many
/// buffers as the loader can have in use, so that nothing is allocated from then on; untouched ones cost no physical
/// memory. Whoever keeps batches makes the pool run dry: it then allocates one more at a time, which
/// [`Stats`](crate::Stats) counts, and frees them on return. A lease never waits.
#[derive(Clone)]
pub struct BufferPool(Arc<Pool>);

struct Pool {
    /// How many buffers of a size the loader can have in use at a time.
    in_use_at_most: usize,
    // A handful of sizes (one per field of a batch): a scan beats a hash.
    classes: Mutex<Vec<Class>>,
    allocated: AtomicU64,
    freed: AtomicU64,
    leased: AtomicU64,
    returned: AtomicU64,
}

/// The buffers of one size.
struct Class {
    capacity: usize,
    reserve: usize,
    /// Last in, first out: the buffer used last is the one that caches still hold.
    free: Vec<Buffer>,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    pub(crate) allocated: u64,
    pub(crate) freed: u64,
    pub(crate) leased: u64,
    pub(crate) returned: u64,
}

impl BufferPool {
    /// A pool that holds ready as many buffers of each size as are in use at a time, `in_use_at_most`.
    pub fn new(in_use_at_most: usize) -> Self {
        BufferPool(Arc::new(Pool {
            in_use_at_most: in_use_at_most.max(1),
            classes: Mutex::new(Vec::new()),
            allocated: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            leased: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        }))
    }

    /// A buffer of at least `bytes` bytes.
    ///
    /// # Errors
    ///
    /// If the system has no memory left.
    pub(super) fn lease(&self, bytes: usize) -> Result<Buffer> {
        let pool = &*self.0;
        let capacity = class_of(bytes);
        let mut classes = pool.classes();
        let position = match classes.iter().position(|class| class.capacity == capacity) {
            Some(position) => position,
            None => {
                let small = (SMALL_RESERVE / capacity).min(MOST_SMALL);
                let reserve = small.max(pool.in_use_at_most);
                let free = (0..reserve).map_while(|_| pool.allocate(capacity)).collect();
                classes.push(Class { capacity, reserve, free });
                classes.len() - 1
            }
        };
        let free = classes[position].free.pop();
        drop(classes);
        let buffer = free.or_else(|| pool.allocate(capacity)).ok_or_else(|| {
            Error::new(ErrorKind::Limit, format!("no memory for a batch buffer of {bytes} bytes: use smaller batches"))
        })?;
        pool.leased.fetch_add(1, Ordering::Relaxed);
        Ok(buffer)
    }

    pub(super) fn give_back(&self, buffer: Buffer) {
        let pool = &*self.0;
        pool.returned.fetch_add(1, Ordering::Relaxed);
        let mut classes = pool.classes();
        let class = classes.iter_mut().find(|class| class.capacity == buffer.capacity());
        match class {
            Some(class) if class.free.len() < class.reserve => class.free.push(buffer),
            _ => {
                pool.freed.fetch_add(1, Ordering::Relaxed);
                drop(classes); // unmapping may take a while
                drop(buffer);
            }
        }
    }

    /// How many of every size are reserved; `None` before the first lease.
    pub(crate) fn reserve(&self) -> Option<usize> {
        self.0.classes().iter().map(|class| class.reserve).min()
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PoolCounts {
            allocated: load(&self.0.allocated),
            freed: load(&self.0.freed),
            leased: load(&self.0.leased),
            returned: load(&self.0.returned),
        }
    }
}

impl Pool {
    fn classes(&self) -> MutexGuard<'_, Vec<Class>> {
        // Nothing under this lock can panic half-way through a change, so a poisoned list is still a sound one.
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, capacity: usize) -> Option<Buffer> {
        let buffer = Buffer::allocate(capacity)?;
        self.allocated.fetch_add(1, Ordering::Relaxed);
        Some(buffer)
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferPool").field("counts", &self.counts()).finish()
    }
}

/// The size a buffer for `bytes` bytes has: eight steps between powers of two, so that batches whose size varies
/// (padded ones) share buffers and waste at most an eighth.
fn class_of(bytes: usize) -> usize {
    let bytes = bytes.max(64);
    let step = (bytes.next_power_of_two() / 16).max(64);
    bytes.checked_next_multiple_of(step).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lease_reserves_and_later_ones_allocate_nothing() {
        let pool = BufferPool::new(3);
        let size = 8 << 20;
        for _ in 0..100 {
            let leases: Vec<_> = (0..3).map(|_| pool.lease(size).unwrap()).collect();
            leases.into_iter().for_each(|lease| pool.give_back(lease));
        }
        let counts = pool.counts();
        assert_eq!(counts, PoolCounts { allocated: 3, freed: 0, leased: 300, returned: 300 });
    }

    #[test]
    fn a_dry_pool_allocates_and_frees_what_exceeds_the_reserve() {
        let pool = BufferPool::new(2);
        let leases: Vec<_> = (0..5).map(|_| pool.lease(8 << 20).unwrap()).collect();
        assert_eq!((pool.counts().allocated, pool.counts().freed), (5, 0));
        leases.into_iter().for_each(|lease| pool.give_back(lease));
        assert_eq!((pool.counts().allocated, pool.counts().freed), (5, 3));
    }

    #[test]
    fn the_buffer_returned_last_is_leased_first() {
        let pool = BufferPool::new(2);
        let (a, b) = (pool.lease(100).unwrap(), pool.lease(100).unwrap());
        let last = b.start();
        pool.give_back(a);
        pool.give_back(b);
        assert_eq!(pool.lease(100).unwrap().start(), last);
    }

    #[test]
    fn a_class_wastes_at_most_an_eighth() {
        for bytes in (1..5000).chain([38_535_168, (1 << 30) + 1]) {
            let class = class_of(bytes);
            assert!(class >= bytes && class.is_multiple_of(64), "{bytes} -> {class}");
            assert!(class - bytes <= (bytes / 8).max(64), "{bytes} -> {class}");
        }
    }

    #[test]
    fn what_cannot_be_allocated_is_an_error_that_says_how_much() {
        let error = BufferPool::new(1).lease(isize::MAX as usize).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains("9223372036854775807 bytes"), "{error}");
    }
}
