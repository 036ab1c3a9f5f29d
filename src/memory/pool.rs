//! The pool that batch buffers come from and go back to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use super::HostAllocator;
use super::allocator::Pageable;
use super::buffer::Buffer;
use crate::error::{Error, Result};
use crate::sync::{Mutex, MutexGuard};

/// What a block counts beside its bytes where it is not of the heap: it is a call of a driver's, and takes whole pages.
const BLOCK: usize = 64 << 10;

/// No more buffers of a field are reserved than this, whatever a loader may have in use.
const MOST_RESERVED: usize = 4096;

/// A pool of host buffers; a handle, cheap to clone.
///
/// A buffer is leased for a field of a batch and returned when that is dropped. The first lease for a field reserves as
/// many buffers as the loader can have in use, so that nothing is allocated from then on; untouched ones of the heap cost no
/// physical memory. Where batches differ in size, the larger buffers are kept. Whoever keeps batches makes the pool
/// run dry: it then allocates one more at a time, which [`Stats`](crate::Stats) counts, and frees what exceeds the
/// reserve on return. A lease never waits for a buffer.
///
/// # How much memory that is
///
/// A buffer for B bytes has B rounded up to a sixteenth of the next power of two, `b`. A loader can have n buffers of a
/// field in use: what may be ahead, the consumer's own, and the one that it takes before it lets go of that. (Where nobody
/// set how far to run ahead, smaller buffers are held ready in larger numbers, up to 8 MiB or 258 of them; and more, up to
/// 256 MiB, once slow samples have had the loader run further ahead.) So a field takes
/// n * b bytes of the heap. Page-locked memory comes in powers of two: as many buffers are cut from the blocks that cost
/// least together, which is their bytes and 64 KiB for each. (64 images of 3x224x224 floats are 36.75 MiB, `b` is 40: six
/// buffers are cut from 256 MiB, where one by one they would be six blocks of 64.)
///
/// A loader makes its own; make one yourself to test a [`Collate`](crate::Collate).
#[derive(Clone)]
pub struct BufferPool(Arc<Pool>);

struct Pool {
    allocator: Arc<dyn HostAllocator>,
    /// Whether that is the heap, of which a block more costs next to nothing.
    is_heap: bool,
    /// How many buffers of a field the loader can have in use at a time,
    in_use_at_most: AtomicUsize,
    /// or, if this is not 0, how many bytes.
    budget: AtomicUsize,
    /// What small buffers to hold ready beyond that.
    small: Small,
    /// Locked for as long as a push or a pop takes, and once a field for its reserve.
    shelf: Mutex<Shelf>,
    /// The smallest reserve of a field; `usize::MAX` before the first lease.
    reserve: AtomicUsize,
    /// The bytes of all buffers, in use or free.
    held_bytes: Arc<AtomicU64>,
    allocated: AtomicU64,
    leased: AtomicU64,
    recycled: AtomicU64,
    returned: AtomicU64,
}

#[derive(Default)]
struct Shelf {
    /// A handful: a scan beats a hash.
    fields: Vec<Field>,
    /// The bytes of the buffers in use, now and when there were most.
    live_bytes: u64,
    peak_bytes: u64,
}

/// The free buffers of one field of the batches.
struct Field {
    id: usize,
    /// How many buffers the loader was said to have in use when the reserve was made.
    in_use_at_most: usize,
    /// How many buffers to keep at the most.
    reserve: usize,
    /// The bytes of the largest buffer so far.
    largest: usize,
    /// Last in, first out among equals: the buffer used last is the one that caches still hold.
    free: Vec<Buffer>,
}

/// Which small buffers are held ready, so that a loader may run far ahead with small batches: as many as have both this
/// many bytes and this many pieces at the most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Small {
    pub(crate) bytes: usize,
    pub(crate) buffers: usize,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    pub(crate) allocated: u64,
    pub(crate) leased: u64,
    pub(crate) recycled: u64,
    pub(crate) returned: u64,
    pub(crate) held_bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) peak_bytes: u64,
}

impl BufferPool {
    /// A pool for at most `in_use_at_most` batches at a time, of memory of the heap.
    pub fn new(in_use_at_most: usize) -> Self {
        Self::of(None, in_use_at_most, Small::default())
    }

    /// A pool of memory of `allocator`'s, or of the heap.
    pub(crate) fn of(allocator: Option<Arc<dyn HostAllocator>>, in_use_at_most: usize, small: Small) -> Self {
        BufferPool(Arc::new(Pool {
            is_heap: allocator.is_none(),
            allocator: allocator.unwrap_or_else(|| Arc::new(Pageable)),
            small,
            in_use_at_most: AtomicUsize::new(in_use_at_most.clamp(1, MOST_RESERVED)),
            budget: AtomicUsize::new(0),
            shelf: Mutex::default(),
            reserve: AtomicUsize::new(usize::MAX),
            held_bytes: Arc::default(),
            allocated: AtomicU64::new(0),
            leased: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        }))
    }

    /// Whether a device copies from its buffers at full speed.
    pub fn is_pinned(&self) -> bool {
        self.0.allocator.is_pinned()
    }

    /// From now on the loader can have as many batches ahead as have so many bytes. The reserve of a field follows with its
    /// next lease.
    pub(crate) fn set_budget(&self, bytes: usize) {
        self.0.budget.store(bytes, Relaxed);
    }

    /// From now on the loader can have this many batches in use, if those are more than before.
    pub(crate) fn raise(&self, in_use_at_most: usize) {
        self.0.in_use_at_most.fetch_max(in_use_at_most.min(MOST_RESERVED), Relaxed);
    }

    /// A buffer of at least `bytes` bytes for a field.
    ///
    /// # Errors
    ///
    /// If there is no memory left.
    pub(super) fn lease(&self, field: usize, bytes: usize) -> Result<Buffer> {
        let pool = &*self.0;
        let capacity = rounded(bytes).ok_or_else(|| no_buffer(bytes, None))?;
        let mut shelf = pool.shelf();
        let shelf = &mut *shelf;
        let place = shelf.fields.iter().position(|known| known.id == field).unwrap_or_else(|| {
            shelf.fields.push(Field { id: field, in_use_at_most: 0, reserve: 0, largest: 0, free: Vec::new() });
            shelf.fields.len() - 1
        });
        shelf.fields[place].largest = shelf.fields[place].largest.max(capacity);
        let in_use_at_most = match pool.budget.load(Relaxed) {
            0 => pool.in_use_at_most.load(Relaxed),
            // Of batches as large as they are known to be by now, this one included.
            budget => (budget / shelf.batch_bytes() + 2).min(MOST_RESERVED),
        };
        let known = &mut shelf.fields[place];
        if known.in_use_at_most < in_use_at_most {
            pool.fill(known, capacity, in_use_at_most);
        } else if known.in_use_at_most > in_use_at_most {
            // Batches have grown: fewer of them are kept.
            (known.in_use_at_most, known.reserve) = (in_use_at_most, in_use_at_most);
        }
        let free = &mut known.free;
        // The smallest that is large enough, and of those the last; nearly always that is simply the last.
        let buffer = match free.last() {
            Some(last) if last.capacity() == capacity => free.pop(),
            _ => {
                let fitting = (0..free.len()).rev().filter(|&i| free[i].capacity() >= bytes);
                fitting.min_by_key(|&i| free[i].capacity()).map(|i| free.remove(i))
            }
        };
        let buffer = match buffer {
            Some(buffer) => buffer,
            None => {
                // Those that are left are too small: this one takes the place of the smallest.
                drop(smallest(free).map(|i| free.remove(i)));
                free.extend(pool.allocate(capacity, 1).map_err(|error| no_buffer(bytes, Some(error)))?);
                free.pop().expect("a block has room for one buffer at least")
            }
        };
        shelf.live_bytes += buffer.capacity() as u64;
        shelf.peak_bytes = shelf.peak_bytes.max(shelf.live_bytes);
        pool.leased.fetch_add(1, Relaxed);
        pool.recycled.fetch_add(u64::from(buffer.was_used), Relaxed);
        Ok(buffer)
    }

    pub(super) fn give_back(&self, field: usize, mut buffer: Buffer) {
        buffer.was_used = true;
        let pool = &*self.0;
        pool.returned.fetch_add(1, Relaxed);
        let mut shelf = pool.shelf();
        shelf.live_bytes -= buffer.capacity() as u64;
        let Some(field) = shelf.fields.iter_mut().find(|known| known.id == field) else { return };
        field.free.push(buffer);
        if field.free.len() > field.reserve {
            let surplus = smallest(&field.free).map(|i| field.free.remove(i));
            drop(shelf);
            drop(surplus); // unmapping may take a while
        }
    }

    /// How many buffers are held ready for every field; `None` before the first lease.
    pub(crate) fn reserve(&self) -> Option<usize> {
        Some(self.0.reserve.load(Relaxed)).filter(|&reserve| reserve < usize::MAX)
    }

    /// The bytes of the buffers of a batch, each field as large as it has ever been; 0 before the first.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.0.shelf().batch_bytes()
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        // A buffer is leased before it is returned: read in the other order, so that live ones are never negative.
        let returned = load(&self.0.returned);
        let (allocated, leased, recycled) = (load(&self.0.allocated), load(&self.0.leased), load(&self.0.recycled));
        let shelf = self.0.shelf();
        let (live_bytes, peak_bytes) = (shelf.live_bytes, shelf.peak_bytes);
        PoolCounts {
            allocated,
            leased,
            recycled,
            returned,
            held_bytes: load(&self.0.held_bytes),
            live_bytes,
            peak_bytes,
        }
    }
}

impl Shelf {
    fn batch_bytes(&self) -> usize {
        self.fields.iter().map(|field| field.largest).sum()
    }
}

impl Pool {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Nothing under this lock can panic half-way through a change, not even an allocator of the user's: the list is
        // sound whenever one is called. So it is when the lock is poisoned.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills the reserve of a field with buffers of `capacity` bytes. Where there is no memory for all of them, there are
    /// fewer, and leases will tell.
    fn fill(&self, field: &mut Field, capacity: usize, in_use_at_most: usize) {
        let wanted = (self.small.bytes / capacity).min(self.small.buffers).max(in_use_at_most);
        // Those in use are among the wanted. (Where they are kept by the consumer, they will be allocated when missed.)
        let missing = wanted.saturating_sub(field.reserve);
        let blocks = match self.is_heap {
            true => vec![1; missing],
            false => cheapest_blocks(missing, capacity, |bytes| self.allocator.footprint(bytes)),
        };
        field.free.extend(blocks.into_iter().map_while(|count| self.allocate(capacity, count).ok()).flatten());
        field.in_use_at_most = in_use_at_most;
        // What a block has room for beyond what was asked is kept as well: freeing it would free no memory.
        field.reserve = wanted.max(field.reserve).max(field.free.len());
        self.reserve.fetch_min(wanted, Relaxed);
    }

    fn allocate(&self, capacity: usize, count: usize) -> Result<Vec<Buffer>> {
        let buffers: Vec<_> = Buffer::allocate(&self.allocator, capacity, count, &self.held_bytes)?.collect();
        self.allocated.fetch_add(buffers.len() as u64, Relaxed);
        Ok(buffers)
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferPool").field("counts", &self.counts()).finish()
    }
}

#[cold]
fn no_buffer(bytes: usize, source: Option<Error>) -> Error {
    let cause = source.map(|error| format!(" ({error})")).unwrap_or_default();
    Error::no_memory(format!(
        "no memory for a batch buffer of {bytes} bytes{cause}: use smaller batches, or fewer ahead (prefetch_batches, \
         prefetch_bytes)"
    ))
}

/// The size a buffer for `bytes` bytes has: eight steps between powers of two, so that batches whose size varies
/// (padded ones) soon find room in each other's buffers, at the price of an eighth. `None` if there is no such size.
fn rounded(bytes: usize) -> Option<usize> {
    let bytes = bytes.max(64);
    bytes.checked_next_multiple_of((bytes.checked_next_power_of_two()? / 16).max(64))
}

/// Of the smallest buffers one that shares its block with the fewest, since that is what frees memory.
fn smallest(free: &[Buffer]) -> Option<usize> {
    (0..free.len()).min_by_key(|&i| (free[i].capacity(), free[i].slab_buffers()))
}

/// How many buffers of `capacity` bytes to cut from each of the blocks that have room for `buffers` of them and cost least
/// together: the bytes that they take, and [`BLOCK`] for each.
fn cheapest_blocks(buffers: usize, capacity: usize, footprint: impl Fn(usize) -> usize) -> Vec<usize> {
    /// More buffers in a block hardly save anything, and trying takes time.
    const MOST: usize = 512;
    let cost = |count: usize| footprint(capacity.saturating_mul(count)).saturating_add(BLOCK);
    let costs: Vec<usize> = (0..=buffers.min(MOST)).map(cost).collect();
    // The cheapest way for each number of buffers follows from those for fewer.
    let mut ways = vec![(0, 0)]; // the bytes for so many buffers, and how many of them are in the last block
    for count in 1..=buffers {
        let with_last = |last: usize| (costs[last].saturating_add(ways[count - last].0), last);
        ways.push((1..=count.min(MOST)).map(with_last).min().unwrap_or((0, 0)));
    }
    let mut left = buffers;
    std::iter::from_fn(|| (left > 0).then(|| ways[left].1).inspect(|last| left -= last)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MiB; under Miri, which writes to every byte of them, KiB.
    const MIB: u32 = if cfg!(miri) { 10 } else { 20 };
    const LARGE: usize = 8 << MIB;

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
        let counts = pool.counts();
        assert_eq!((counts.allocated, counts.leased, counts.returned), (3, 300, 300));
        let bytes = 3 * LARGE as u64;
        assert_eq!((counts.held_bytes, counts.live_bytes, counts.peak_bytes), (bytes, 0, bytes));
    }

    /// The heap, in powers of two.
    struct Doubling;

    // SAFETY: the heap's memory.
    unsafe impl HostAllocator for Doubling {
        fn allocate(&self, bytes: usize) -> Result<std::ptr::NonNull<u8>> {
            assert!(bytes.is_power_of_two());
            Pageable.allocate(bytes)
        }

        unsafe fn deallocate(&self, block: std::ptr::NonNull<u8>, bytes: usize) {
            // SAFETY: the caller's promise.
            unsafe { Pageable.deallocate(block, bytes) }
        }

        fn footprint(&self, bytes: usize) -> usize {
            bytes.next_power_of_two()
        }

        fn is_pinned(&self) -> bool {
            true
        }
    }

    #[test]
    fn where_blocks_come_in_powers_of_two_buffers_share_those_that_waste_least() {
        /// 36.75 MiB: 64 images of 3x224x224 floats.
        const IMAGES: usize = (147 << MIB) / 4;
        for (buffers, mebibytes) in [(1, 64), (2, 128), (3, 128), (4, 192), (5, 256), (6, 256), (9, 384), (12, 512)] {
            let pool = BufferPool::of(Some(Arc::new(Doubling)), buffers, Small::default());
            for _ in 0..3 {
                cycle(&pool, 0, &vec![IMAGES; buffers]);
            }
            let counts = pool.counts();
            assert_eq!(counts.held_bytes >> MIB, mebibytes, "{buffers}");
            assert!(counts.allocated >= buffers as u64); // and what there is room for beside
            assert!(pool.is_pinned());
        }
    }

    #[test]
    fn the_blocks_are_the_cheapest_of_all_ways_and_never_more_than_one_by_one() {
        /// All ways to write `buffers` as a sum.
        fn ways(buffers: usize) -> Vec<Vec<usize>> {
            match buffers {
                0 => vec![vec![]],
                _ => (1..=buffers)
                    .flat_map(|last| {
                        ways(buffers - last).into_iter().map(move |mut way| {
                            way.push(last);
                            way
                        })
                    })
                    .collect(),
            }
        }
        for capacity in [64, 192, 320, 576, 640, 1088].map(|units| units * 1024) {
            let cost =
                |way: &[usize]| way.iter().map(|&count| (count * capacity).next_power_of_two() + BLOCK).sum::<usize>();
            for buffers in 1..=10 {
                let blocks = cheapest_blocks(buffers, capacity, usize::next_power_of_two);
                assert_eq!(blocks.iter().sum::<usize>(), buffers);
                assert_eq!(cost(&blocks), ways(buffers).iter().map(|way| cost(way)).min().unwrap());
            }
        }
    }

    #[test]
    fn what_a_kept_batch_made_the_pool_allocate_is_freed_and_the_shared_blocks_are_not() {
        let pool = BufferPool::of(Some(Arc::new(Doubling)), 3, Small::default());
        let bytes = 40 << MIB;
        cycle(&pool, 0, &[bytes; 3]);
        let warm = pool.counts().held_bytes;
        cycle(&pool, 0, &[bytes; 5]);
        assert_eq!((pool.counts().held_bytes, warm), (warm, 128 << MIB));
    }

    #[test]
    fn a_budget_is_reserved_with_the_next_lease_and_never_more_than_that_however_batches_grow() {
        let pool = BufferPool::new(3);
        cycle(&pool, 0, &[64]);
        pool.set_budget(5 * LARGE);
        cycle(&pool, 0, &[LARGE]);
        assert_eq!(pool.counts().held_bytes, 3 * 64 + 4 * LARGE as u64);
        cycle(&pool, 0, &[LARGE; 7]);
        assert_eq!(pool.counts().held_bytes, 7 * LARGE as u64);
        // A second field takes its part of it, and the first keeps less.
        cycle(&pool, 1, &[4 * LARGE]);
        cycle(&pool, 0, &[LARGE; 2]);
        assert!(pool.counts().held_bytes <= (7 + 3 * 4) * LARGE as u64);
        for size in 8..30 {
            cycle(&pool, 0, &[size * (LARGE / 8); 2]);
        }
        assert!(pool.0.shelf().fields[0].free.len() <= 3);
    }

    #[test]
    fn small_buffers_are_cut_from_few_blocks_where_a_block_is_a_call_of_a_driver() {
        let small = Small { bytes: 8 << 20, buffers: 258 };
        let pool = BufferPool::of(Some(Arc::new(Doubling)), 5, small);
        let leases: Vec<_> = (0..258).map(|_| pool.lease(0, 512).unwrap()).collect();
        assert_eq!(pool.counts().held_bytes, (256 + 2) * 512); // two blocks
        leases.into_iter().for_each(|lease| pool.give_back(0, lease));
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
        assert_eq!(pool.0.shelf().fields[0].free.len(), 2);
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
        assert_eq!(pool.0.shelf().fields[0].free.len(), 2);
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
            let capacity = rounded(bytes).unwrap();
            assert!(capacity >= bytes && capacity.is_multiple_of(64), "{bytes} -> {capacity}");
            assert!(capacity - bytes <= (bytes / 8).max(64), "{bytes} -> {capacity}");
        }
    }

    #[test]
    fn what_cannot_be_allocated_is_an_error_that_says_how_much() {
        for bytes in [isize::MAX as usize, usize::MAX] {
            let error = BufferPool::new(1).lease(0, bytes).err().unwrap();
            assert_eq!(error.kind(), crate::ErrorKind::Limit);
            assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
        }
    }
}
