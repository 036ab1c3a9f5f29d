//! `Slots`: the exclusive right to write a run of samples of one batch.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::buffer::Buffer;
use super::element::{Element, any_bits};
use super::{BatchPlan, BufferPool, HostTensor, Shape};
use crate::error::{Error, ErrorKind, Result};

/// A run of consecutive slots of a batch in the making, to be filled from the front.
///
/// [`Slots::new`] covers a whole batch; [`split_off`](Slots::split_off) cuts it so that several threads each fill a
/// part of the one buffer, and [`unite`](Slots::unite) puts the parts together again. Two values never cover the
/// same slot, and each can only be written in order, so there is no index to get wrong, nothing to lock, and no way
/// to write a slot twice.
///
/// The first sample that is written anywhere in the batch decides the shape of them all and leases the buffer.
pub struct Slots<T: Element> {
    memory: Arc<BatchMemory>,
    /// The first slot this value covers.
    start: usize,
    /// The next slot to write.
    next: usize,
    /// One past the last slot.
    end: usize,
    /// Whether it may be finished before all slots are written.
    may_be_short: bool,
    /// What `memory.block` holds, once this value has seen it: spares the atomic load in the loop over samples.
    block: Option<Placed<T>>,
}

/// The memory of one batch tensor, shared by the `Slots` that fill it, and then the tensor's own.
pub(super) struct BatchMemory {
    pool: BufferPool,
    /// Which field of the batch this is, to the pool.
    field: usize,
    /// Slots in the batch.
    len: usize,
    /// Slots in a full batch: what the buffer is sized for, so that the last, smaller batch of an epoch fits the
    /// buffers of the others.
    capacity: usize,
    block: OnceLock<Block>,
    placing: Mutex<()>,
}

struct Block {
    buffer: Buffer,
    /// The shape of one sample.
    shape: Shape,
    /// Elements in one sample.
    elements: usize,
    /// The slot whose sample came first.
    decided_by: usize,
}

struct Placed<T> {
    start: NonNull<T>,
    shape: Shape,
    elements: usize,
}

// SAFETY: the pointer in `block` is into the buffer of `memory`, which is kept alive by the same value, and the slots
// from `start` to `end` belong to this value alone; so moving it moves an exclusive right. `T` is plain data.
unsafe impl<T: Element> Send for Slots<T> {}
// SAFETY: nothing is read or written through `&Slots`.
unsafe impl<T: Element> Sync for Slots<T> {}

impl<T: Element> Slots<T> {
    /// The slots of the batch that `plan` describes.
    pub fn new(plan: BatchPlan<'_>) -> Self {
        let memory = BatchMemory {
            pool: plan.buffers.clone(),
            field: plan.field,
            len: plan.len,
            capacity: plan.capacity.max(plan.len),
            block: OnceLock::new(),
            placing: Mutex::new(()),
        };
        Slots { memory: Arc::new(memory), start: 0, next: 0, end: plan.len, may_be_short: false, block: None }
    }

    /// Splits this run in two: keeps the first `at` slots and returns the rest.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end of the run, or before what is already written.
    pub fn split_off(&mut self, at: usize) -> Self {
        let middle = self.start + at;
        assert!(self.next <= middle && middle <= self.end, "split at {at} of {} slots", self.end - self.start);
        let memory = Arc::clone(&self.memory);
        let tail = Slots { memory, start: middle, next: middle, end: self.end, may_be_short: false, block: None };
        self.end = middle;
        tail
    }

    /// The next slot, to be written with a sample of the given shape: `shape.elements()` values, in C order. What it
    /// holds before is unspecified (zeros, or another batch's values).
    ///
    /// # Errors
    ///
    /// If the shape differs from that of the sample that came first (the error names both samples and both shapes), or
    /// the buffer cannot be allocated.
    ///
    /// # Panics
    ///
    /// If all slots are written.
    #[inline(always)] // so that the shape of a scalar or an array is a constant, and comparing it costs nothing
    pub fn push(&mut self, shape: &Shape) -> Result<&mut [T]> {
        assert!(self.next < self.end, "all slots of this part are written");
        if self.block.is_none() {
            self.block = Some(self.memory.place(shape, self.next)?);
        }
        let Some(block) = &self.block else { unreachable!("placed above") };
        if block.shape != *shape {
            return Err(self.memory.mismatch(shape));
        }
        // SAFETY: `next` is below `end`, so below the memory's capacity, and the buffer has `elements` values of room
        // for each of those. The memory is initialised and any contents are valid (`Element`). Slot `next` lies in
        // `start..end`, which no other `Slots` covers, and becomes a tensor's only in `finish`, which takes `self`:
        // the reference is exclusive for as long as it borrows `self`.
        let slot = unsafe {
            std::slice::from_raw_parts_mut(block.start.as_ptr().add(self.next * block.elements), block.elements)
        };
        self.next += 1;
        Ok(slot)
    }

    /// Takes back what was written behind the first `len` samples of this run. From now on the run may be short: united and
    /// finished before all its slots are written.
    ///
    /// # Panics
    ///
    /// If fewer than `len` samples were written.
    pub fn rewind(&mut self, len: usize) {
        let next = self.start + len;
        assert!(next <= self.next, "{} samples are written, and not {len}", self.next - self.start);
        self.next = next;
        self.may_be_short = true;
    }

    /// Appends the run that follows this one: the inverse of [`split_off`](Slots::split_off). What is behind slots that a
    /// short run has left empty moves up.
    ///
    /// # Panics
    ///
    /// If `next` is not the neighbour of this run in the same batch, or this run is not full and was not
    /// [rewound](Slots::rewind).
    pub fn unite(&mut self, next: Self) {
        assert!(
            Arc::ptr_eq(&self.memory, &next.memory) && self.end == next.start && self.is_complete(),
            "only neighbours can be united, and only once the first is full"
        );
        let count = next.next - next.start;
        if self.next < next.start && count > 0 {
            let block = self.memory.block.get().expect("a run with samples has a buffer");
            let start = block.buffer.start().cast::<T>();
            // SAFETY: both ranges lie within `self.start..next.end`, which the two values cover and nobody else does, and
            // which the buffer has room for; what is copied is initialised. They may overlap, and `copy` may.
            unsafe {
                let from = start.add(next.start * block.elements);
                from.copy_to(start.add(self.next * block.elements), count * block.elements);
            }
        }
        self.next += count;
        self.end = next.end;
        self.may_be_short |= next.may_be_short;
    }

    fn is_complete(&self) -> bool {
        self.next == self.end || self.may_be_short
    }

    /// The finished tensor, of shape `[N, …]`.
    ///
    /// # Panics
    ///
    /// If this is not the whole batch, a slot is not written and it was not [rewound](Slots::rewind), or none is.
    pub fn finish(self) -> HostTensor<T> {
        assert!(
            self.start == 0 && self.end == self.memory.len && self.is_complete() && self.next > 0,
            "a batch is finished once, whole and full"
        );
        let shape = self.memory.block.get().expect("a full batch has a buffer").shape.with_front(self.next);
        // Every slot was written by a `Slots` that is now part of `self`, on this thread or handed over since: the
        // tensor is the sole owner of what they wrote.
        HostTensor::new(self.memory, shape)
    }
}

impl BatchMemory {
    /// Where the batch lies in memory; the first caller's shape decides it.
    #[cold]
    fn place<T: Element>(&self, shape: &Shape, slot: usize) -> Result<Placed<T>> {
        // Two parts may come here at once, and a batch needs one buffer. Held for no longer than a lease takes.
        let placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.block.get().is_none() {
            let _ = self.block.set(self.lease::<T>(shape, slot)?);
        }
        drop(placing);
        let block = self.block.get().expect("set above");
        Ok(Placed { start: block.buffer.start().cast(), shape: block.shape, elements: block.elements })
    }

    fn lease<T: Element>(&self, shape: &Shape, slot: usize) -> Result<Block> {
        // The product that the finished tensor's shape has: with an empty dimension it can overflow before it is 0.
        let all = shape.with_front(self.capacity).elements();
        let sized = all.and_then(|all| Some((shape.elements()?, all.checked_mul(size_of::<T>())?)));
        let Some((elements, bytes)) = sized else {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("a batch of {} samples of shape {shape:?} does not fit in memory", self.capacity),
            ));
        };
        let mut buffer = self.pool.lease(self.field, bytes)?;
        if !any_bits::<T>() {
            buffer.zero(bytes);
        }
        Ok(Block { buffer, shape: *shape, elements, decided_by: slot })
    }

    /// Why a sample of the shape `found` cannot have a slot.
    #[cold]
    fn mismatch(&self, found: &Shape) -> Error {
        let block = self.block.get().expect("there is a shape to differ from");
        Error::clash(
            format!("its shape is {found:?}, but that of "),
            block.decided_by,
            self.len,
            format!(
                " is {:?}: samples are stacked only if all have one shape \
                 (Resize or CenterCrop make images so; the collate Pad takes sequences of any length)",
                block.shape
            ),
        )
    }

    /// The first element. Null-free and aligned also for an empty batch of samples without elements.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.buffer().start()
    }

    /// Whether a device copies from it at full speed.
    pub(super) fn is_pinned(&self) -> bool {
        self.buffer().is_pinned()
    }

    fn buffer(&self) -> &Buffer {
        &self.block.get().expect("only a finished batch is read").buffer
    }
}

impl Drop for BatchMemory {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.give_back(self.field, block.buffer);
        }
    }
}

/// A run of slots says what it covers, not what they hold.
impl<T: Element> std::fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots")
            .field("covers", &(self.start..self.end))
            .field("next", &self.next)
            .field("dtype", &T::DTYPE)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> BufferPool {
        BufferPool::new(2)
    }

    fn slots<T: Element>(buffers: &BufferPool, len: usize, capacity: usize) -> Slots<T> {
        Slots::new(BatchPlan { len, capacity, buffers, field: 0, rng: &crate::rng::SampleRng::new(0, 0, 0) })
    }

    #[test]
    fn samples_land_in_their_slots_whoever_writes_them() {
        let pool = pool();
        let mut first = slots::<u16>(&pool, 5, 5);
        let mut second = first.split_off(2);
        let mut third = second.split_off(1);
        let write = |slots: &mut Slots<u16>, value: u16| {
            slots.push(&Shape::from([2])).unwrap().copy_from_slice(&[value, value + 1]);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..2).for_each(|i| write(&mut third, 30 + 10 * i)));
            scope.spawn(|| write(&mut second, 20));
            (0..2).for_each(|i| write(&mut first, 10 * i));
        });
        first.unite(second);
        first.unite(third);
        let tensor = first.finish();
        assert_eq!(*tensor.shape(), [5, 2]);
        assert_eq!(*tensor, [0, 1, 10, 11, 20, 21, 30, 31, 40, 41]);
        drop(tensor);
        let counts = pool.counts();
        assert_eq!(counts.leased, counts.returned);
    }

    #[test]
    fn what_is_taken_back_leaves_no_gap_wherever_it_was() {
        // Four runs of three slots; for each of the 2^12 choices of bad samples, compared with the list of the good ones.
        let patterns = if cfg!(miri) { (0..1 << 12).step_by(173) } else { (0..1_u32 << 12).step_by(1) };
        for bad in patterns {
            let pool = pool();
            let mut rest = slots::<u16>(&pool, 12, 12);
            let mut runs = vec![];
            for _ in 0..3 {
                let next = rest.split_off(3);
                runs.push(std::mem::replace(&mut rest, next));
            }
            runs.push(rest);
            let mut expected = vec![];
            for (number, run) in runs.iter_mut().enumerate() {
                let mut len = 0;
                for sample in 3 * number..3 * number + 3 {
                    let is_bad = bad >> sample & 1 == 1;
                    // Some fail before they are written, some behind it.
                    if !is_bad || sample % 2 == 0 {
                        run.push(&Shape::from([2])).unwrap().fill(sample as u16);
                    }
                    match is_bad {
                        true => run.rewind(len),
                        false => {
                            len += 1;
                            expected.extend([sample as u16; 2]);
                        }
                    }
                }
            }
            let whole = runs.into_iter().reduce(|mut whole, next| {
                whole.unite(next);
                whole
            });
            if expected.is_empty() {
                continue;
            }
            let tensor = whole.unwrap().finish();
            assert_eq!((tensor.shape(), &*tensor), (&[expected.len() / 2, 2][..], &*expected), "{bad:b}");
        }
    }

    #[test]
    fn a_slot_that_was_taken_back_is_written_again() {
        let mut slots = slots::<i64>(&pool(), 2, 2);
        for value in [1, 2, 3] {
            slots.push(&Shape::SCALAR).unwrap()[0] = value;
            slots.rewind(usize::from(value == 3));
        }
        slots.push(&Shape::SCALAR).unwrap()[0] = 9;
        assert_eq!(*slots.finish(), [3, 9]);
    }

    #[test]
    #[should_panic(expected = "1 samples are written, and not 2")]
    fn what_was_not_written_cannot_be_kept() {
        let mut slots = slots::<i64>(&pool(), 2, 2);
        slots.push(&Shape::SCALAR).unwrap()[0] = 1;
        slots.rewind(2);
    }

    #[test]
    fn a_smaller_last_batch_uses_the_same_buffers() {
        let pool = BufferPool::new(1);
        let bits = if cfg!(miri) { 6 } else { 16 };
        for len in [100, 100, 7] {
            let mut slots = slots::<u8>(&pool, len, 100);
            (0..len).for_each(|_| slots.push(&Shape::from([1 << bits])).unwrap().fill(3));
            assert_eq!(slots.finish().len(), len << bits);
        }
        assert_eq!(pool.counts().allocated, 1);
    }

    #[test]
    fn a_recycled_buffer_of_bools_holds_valid_bools() {
        let pool = BufferPool::new(1);
        let mut bytes = slots::<u8>(&pool, 64, 64);
        (0..64).for_each(|_| bytes.push(&Shape::SCALAR).unwrap()[0] = 0xff);
        drop(bytes.finish());
        let mut bools = slots::<bool>(&pool, 64, 64);
        for _ in 0..64 {
            assert!(!bools.push(&Shape::SCALAR).unwrap()[0]);
        }
    }

    #[test]
    fn another_shape_is_an_error_that_names_both_and_who_came_first() {
        let mut slots = slots::<f32>(&pool(), 4, 4);
        let mut tail = slots.split_off(2);
        tail.push(&Shape::from([3, 4])).unwrap();
        let error = slots.push(&Shape::from([3, 5])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Collate);
        assert_eq!(
            error.to_string(),
            "its shape is [3, 5], but that of the sample in place 2 of the batch is [3, 4]: samples are stacked only \
             if all have one shape (Resize or CenterCrop make images so; the collate Pad takes sequences of any length)"
        );
    }

    #[test]
    fn a_shape_that_cannot_be_is_refused_before_allocation() {
        let mut slots = slots::<f32>(&pool(), 2, 2);
        for shape in [[usize::MAX, 2], [usize::MAX, 0]] {
            assert_eq!(slots.push(&Shape::from(shape)).unwrap_err().kind(), ErrorKind::Limit);
        }
    }

    #[test]
    fn an_abandoned_batch_returns_its_buffer() {
        let pool = pool();
        let mut slots = slots::<f32>(&pool, 4, 4);
        let mut tail = slots.split_off(2);
        slots.push(&Shape::SCALAR).unwrap();
        tail.push(&Shape::SCALAR).unwrap();
        drop(slots);
        assert_eq!(pool.counts().returned, 0);
        drop(tail);
        assert_eq!(pool.counts().returned, pool.counts().leased);
    }

    #[test]
    #[should_panic(expected = "whole and full")]
    fn an_unfilled_batch_cannot_be_finished() {
        let mut slots = slots::<f32>(&pool(), 2, 2);
        slots.push(&Shape::SCALAR).unwrap();
        slots.finish();
    }

    #[test]
    #[should_panic(expected = "all slots of this part are written")]
    fn a_part_cannot_write_past_its_end() {
        let mut slots = slots::<f32>(&pool(), 2, 2);
        let _tail = slots.split_off(1);
        slots.push(&Shape::SCALAR).unwrap();
        let _ = slots.push(&Shape::SCALAR);
    }

    #[test]
    #[should_panic(expected = "only neighbours")]
    fn parts_of_two_batches_cannot_be_united() {
        let pool = pool();
        let mut a = slots::<f32>(&pool, 2, 2);
        let _tail = a.split_off(0);
        let mut b = slots::<f32>(&pool, 2, 2);
        let b_tail = b.split_off(0);
        a.unite(b_tail);
    }
}
