//! Models of a batch that two threads fill, and of buffers that go back to the pool while others are leased.

use loom::thread;

use super::{BatchPlan, BufferPool, HostTensor, Shape, Slots};
use crate::error::Result;
use crate::rng::SampleRng;
use crate::sync::explore;

fn slots(buffers: &BufferPool, len: usize) -> Slots<u32> {
    Slots::new(BatchPlan { len, capacity: len, buffers, field: 0, rng: &SampleRng::new(0, 0, 0) })
}

fn write(slots: &mut Slots<u32>, value: u32) {
    slots.push(&Shape::SCALAR).unwrap()[0] = value;
}

/// A batch from beginning to end.
fn batch(buffers: &BufferPool, values: [u32; 2]) -> HostTensor<u32> {
    let mut slots = slots(buffers, 2);
    values.into_iter().for_each(|value| write(&mut slots, value));
    slots.finish()
}

/// All buffers are back, and the pool has no more than it keeps.
fn all_are_back(buffers: &BufferPool, leased: u64, kept: u64) {
    let counts = buffers.counts();
    assert_eq!((counts.leased, counts.returned, counts.live_bytes), (leased, leased, 0));
    assert_eq!(counts.held_bytes, kept * 64);
}

#[test]
fn whoever_is_first_leases_the_one_buffer_that_both_write_to() {
    explore(3, || {
        let buffers = BufferPool::new(1);
        let mut first = slots(&buffers, 2);
        let mut second = first.split_off(1);
        let other = thread::spawn(move || {
            write(&mut second, 20);
            second
        });
        write(&mut first, 10);
        first.unite(other.join().unwrap());
        assert_eq!(*first.finish(), [10, 20]);
        all_are_back(&buffers, 1, 1);
    });
}

#[test]
fn of_two_shapes_one_is_first_and_the_other_is_refused() {
    explore(3, || {
        let buffers = BufferPool::new(1);
        let mut first = slots(&buffers, 2);
        let mut second = first.split_off(1);
        fn push(slots: &mut Slots<u32>, elements: usize) -> Result<()> {
            slots.push(&Shape::from([elements])).map(|sample| sample.fill(1))
        }
        let other = thread::spawn(move || push(&mut second, 2));
        let (mine, other) = (push(&mut first, 1), other.join().unwrap());
        assert_ne!(mine.is_ok(), other.is_ok());
        let place = |result: Result<()>| result.err().and_then(|error| error.rival());
        assert_eq!(place(mine).or(place(other)).is_some(), true);
        drop(first);
        all_are_back(&buffers, 1, 1);
    });
}

#[test]
fn what_was_left_out_moves_up_into_slots_of_the_other_thread() {
    explore(3, || {
        let buffers = BufferPool::new(1);
        let mut first = slots(&buffers, 3);
        let mut second = first.split_off(2);
        let other = thread::spawn(move || {
            write(&mut first, 10);
            write(&mut first, 11);
            first.rewind(1);
            first
        });
        write(&mut second, 20);
        let mut whole = other.join().unwrap();
        whole.unite(second);
        assert_eq!(*whole.finish(), [10, 20]);
        all_are_back(&buffers, 1, 1);
    });
}

#[test]
fn the_buffer_of_a_batch_that_is_given_up_goes_back_with_the_last_part() {
    explore(3, || {
        let buffers = BufferPool::new(1);
        let mut first = slots(&buffers, 2);
        let mut second = first.split_off(1);
        let other = thread::spawn(move || write(&mut second, 20));
        write(&mut first, 10);
        drop(first);
        // It may be this buffer, or a new one.
        assert_eq!(*batch(&buffers, [30, 40]), [30, 40]);
        other.join().unwrap();
        all_are_back(&buffers, 2, 1);
    });
}

#[test]
fn a_buffer_is_used_again_only_once_it_was_read() {
    explore(3, || {
        let buffers = BufferPool::new(1);
        let tensor = batch(&buffers, [1, 2]);
        let consumer = thread::spawn(move || assert_eq!(*tensor, [1, 2]));
        assert_eq!(*batch(&buffers, [3, 4]), [3, 4]);
        consumer.join().unwrap();
        all_are_back(&buffers, 2, 1);
    });
}

#[test]
fn threads_that_lease_and_give_back_at_once_lose_nothing_and_share_nothing() {
    explore(3, || {
        let buffers = BufferPool::new(1);
        let others = [[1, 2], [3, 4]].map(|values| {
            let buffers = buffers.clone();
            thread::spawn(move || assert_eq!(*batch(&buffers, values), values))
        });
        assert_eq!(*batch(&buffers, [5, 6]), [5, 6]);
        others.into_iter().for_each(|other| other.join().unwrap());
        all_are_back(&buffers, 3, 1);
    });
}
