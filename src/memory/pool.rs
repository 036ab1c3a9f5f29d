//! The pool that batch buffers come from and go back to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};

/// Small buffers are held ready up to this many bytes, so that a loader may run far ahead with small batches.
const SMALL: usize = 8 << 20;
/// … and up to this many pieces.
const MOST_SMALL: usize = 258;

/// No more buffers of a field are reserved than this, whatever a loader may have in use.
const MOST_RESERVED: usize = 4096;

/// A pool of host buffers; a handle, cheap to clone.
///
/// A buffer is leased for a field of a batch and returned when that is dropped. The first lease for a field reserves as
/// many buffers as the loader can have in use, so that nothing is allocated from then on; untouched ones cost no
/// physical memory. Where batches differ in size, the larger buffers are kept. Whoever keeps batches makes the pool
/// run dry: it then allocates one more at a time, which [`Stats`](crate::Stats) counts, and frees what exceeds the
/// reserve on return. A lease never waits for a buffer.
///
/// A loader makes its own; make one yourself to test a [`Collate`](crate::Collate).
#[derive(Clone)]
pub struct BufferPool(Arc<Pool>);

struct Pool {
    /// How many buffers of a field the loader can have in use at a time.
    in_use_at_most: usize,
    /// A handful: a scan beats a hash. Locked for as long as a push or a pop takes, and once a field for its reserve.
    fields: Mutex<Vec<Field>>,
    /// The smallest reserve of a field; `usize::MAX` before the first lease.
    reserve: AtomicUsize,
    allocated: AtomicU64,
    leased: AtomicU64,
    returned: AtomicU64,
}

/// The free buffers of one field of the batches.
struct Field {
    id: usize,
    /// How many buffers to keep at the most.
    reserve: usize,
    /// Last in, first out among equals: the buffer used last is the one that caches still hold.
    free: Vec<Buffer>,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    pub(crate) allocated: u64,
    pub(crate) leased: u64,
    pub(crate) returned: u64,
}

impl BufferPool {
    /// A pool for at most `in_use_at_most` batches at a time.
    pub fn new(in_use_at_most: usize) -> Self {
        BufferPool(Arc::new(Pool {
            in_use_at_most: in_use_at_most.clamp(1, MOST_RESERVED),
            fields: Mutex::new(Vec::new()),
            reserve: AtomicUsize::new(usize::MAX),
            allocated: AtomicU64::new(0),
            leased: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        }))
    }

    /// A buffer of at least `bytes` bytes for a field.
    ///
    /// # Errors
    ///
    /// If the system has no memory left.
    pub(super) fn lease(&self, field: usize, bytes: usize) -> Result<Buffer> {
        let pool = &*self.0;
        let capacity = rounded(bytes);
        let mut fields = pool.fields();
        let place = fields.iter().position(|known| known.id == field).unwrap_or_else(|| {
            let reserve = (SMALL / capacity).min(MOST_SMALL).max(pool.in_use_at_most);
            pool.reserve.fetch_min(reserve, Relaxed);
            let free = (0..reserve).map_while(|_| pool.allocate(capacity)).collect();
            fields.push(Field { id: field, reserve, free });
            fields.len() - 1
        });
        let free = &mut fields[place].free;
        // The smallest that is large enough, and of those the last; nearly always that is simply the last.
        let buffer = match free.last() {
            Some(last) if last.capacity() == capacity => free.pop(),
            _ => {
                let fitting = (0..free.len()).rev().filter(|&i| free[i].capacity() >= bytes);
                fitting.min_by_key(|&i| free[i].capacity()).map(|i| free.remove(i))
            }
        };
        drop(fields);
        let buffer = buffer.or_else(|| pool.allocate(capacity)).ok_or_else(|| {
            Error::new(ErrorKind::Limit, format!("no memory for a batch buffer of {bytes} bytes: use smaller batches"))
        })?;
        pool.leased.fetch_add(1, Relaxed);
        Ok(buffer)
    }

    pub(super) fn give_back(&self, field: usize, buffer: Buffer) {
        let pool = &*self.0;
        pool.returned.fetch_add(1, Relaxed);
        let mut fields = pool.fields();
        let Some(field) = fields.iter_mut().find(|known| known.id == field) else { return };
        field.free.push(buffer);
        if field.free.len() > field.reserve {
            let smallest = (0..field.free.len()).min_by_key(|&i| field.free[i].capacity());
            let surplus = smallest.map(|i| field.free.remove(i));
            drop(fields);
            drop(surplus); // unmapping may take a while
        }
    }

    /// How many buffers are held ready for every field; `None` before the first lease.
    pub(crate) fn reserve(&self) -> Option<usize> {
        Some(self.0.reserve.load(Relaxed)).filter(|&reserve| reserve < usize::MAX)
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        // A buffer is leased before it is returned: read in the other order, so that live ones are never negative.
        let returned = load(&self.0.returned);
        PoolCounts { allocated: load(&self.0.allocated), leased: load(&self.0.leased), returned }
    }
}

impl Pool {
    fn fields(&self) -> MutexGuard<'_, Vec<Field>> {
        // Nothing under this lock can panic half-way through a change, so a poisoned list is still a sound one.
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, capacity: usize) -> Option<Buffer> {
        let buffer = Buffer::allocate(capacity)?;
        self.allocated.fetch_add(1, Relaxed);
        Some(buffer)
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferPool").field("counts", &self.counts()).finish()
    }
}

/// The size a buffer for `bytes` bytes has: eight steps between powers of two, so that batches whose size varies
/// (padded ones) soon find room in each other's buffers, at the price of an eighth.
fn rounded(bytes: usize) -> usize {
    if bytes > isize::MAX as usize / 2 {
        return bytes; // cannot be allocated, which is for the allocator to say
    }
    let bytes = bytes.max(64);
    bytes.next_multiple_of((bytes.next_power_of_two() / 16).max(64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 8 << 20;

    fn cycle(pool: &BufferPool, field: usize, sizes: &[usize]) {
        let leases: Vec<_> = sizes.iter().map(|&bytes| pool.lease(field, bytes).unwrap()).collect();
        assert!(leases.iter().zip(sizes).all(|(lease, &bytes)| lease.capacity() >= bytes));
        leases.into_iter().for_each(|lease| pool.give_back(field, lease));
    }

    #[test]
    fn the_first_lease_reserves_and_later_ones_allocate_nothing() {
        let pool = BufferPool::new(3);
        for _ in 0..100 {
            cycle(&pool, 0, &[LARGE; 3]);
        }
        assert_eq!(pool.counts(), PoolCounts { allocated: 3, leased: 300, returned: 300 });
    }

    #[test]
    fn fields_of_equal_size_do_not_take_each_others_buffers() {
        let pool = BufferPool::new(2);
        for _ in 0..10 {
            let views = [0, 1].map(|field| [pool.lease(field, LARGE).unwrap(), pool.lease(field, LARGE).unwrap()]);
            for (field, leases) in views.into_iter().enumerate() {
                leases.into_iter().for_each(|lease| pool.give_back(field, lease));
            }
        }
        assert_eq!(pool.counts().allocated, 4);
    }

    #[test]
    fn a_dry_pool_allocates_and_keeps_no_more_than_its_reserve() {
        let pool = BufferPool::new(2);
        cycle(&pool, 0, &[LARGE; 5]);
        assert_eq!(pool.counts().allocated, 5);
        assert_eq!(pool.0.fields()[0].free.len(), 2);
    }

    #[test]
    fn batches_of_varying_size_settle_on_the_largest() {
        let pool = BufferPool::new(2);
        let sizes: Vec<usize> = (0..40).map(|i| LARGE + (i * 7919 % 41) * (LARGE / 4)).collect();
        for pair in sizes.chunks(2) {
            cycle(&pool, 0, pair);
        }
        let warm = pool.counts().allocated;
        for pair in sizes.chunks(2) {
            cycle(&pool, 0, pair);
        }
        // At the most one more for each of the two: the largest may not have met the second largest before.
        assert!(pool.counts().allocated <= warm + 2, "{} after {warm}", pool.counts().allocated);
        assert_eq!(pool.0.fields()[0].free.len(), 2);
    }

    #[test]
    fn the_buffer_returned_last_is_leased_first() {
        let pool = BufferPool::new(2);
        let (a, b) = (pool.lease(0, 100).unwrap(), pool.lease(0, 100).unwrap());
        let last = b.start();
        pool.give_back(0, a);
        pool.give_back(0, b);
        assert_eq!(pool.lease(0, 100).unwrap().start(), last);
    }

    #[test]
    fn rounding_wastes_at_most_an_eighth() {
        for bytes in (1..5000).chain([38_535_168, (1 << 30) + 1]) {
            let capacity = rounded(bytes);
            assert!(capacity >= bytes && capacity.is_multiple_of(64), "{bytes} -> {capacity}");
            assert!(capacity - bytes <= (bytes / 8).max(64), "{bytes} -> {capacity}");
        }
    }

    #[test]
    fn what_cannot_be_allocated_is_an_error_that_says_how_much() {
        for bytes in [isize::MAX as usize, usize::MAX] {
            let error = BufferPool::new(1).lease(0, bytes).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
        }
    }
}
