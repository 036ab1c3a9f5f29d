//! A batch that several workers fill: whoever is last unites the parts and delivers.

use std::fmt;

use super::*;
use crate::memory::BatchPlan;
use crate::sync::explore;

fn all_good(_index: usize) -> Fate {
    Fate::Good
}

#[test]
fn the_last_part_unites_and_delivers_and_no_other() {
    explore(3, || {
        let (line, finished) = line(Stack, Numbers::new(2, all_good), OnError::Fail, 1);
        line.queue_parts(0, 0, 1);
        assert_eq!(receive(&finished, 1)[&0].as_ref().unwrap(), &[0, 1]);
        end(line, Some(finished));
    });
}

#[test]
fn what_a_part_leaves_out_is_closed_up_and_told_of() {
    explore(3, || {
        let numbers = Numbers::new(3, |index| if index == 0 { Fate::Panics } else { Fate::Good });
        let (line, finished) = line(Stack, numbers, OnError::Skip, 1);
        line.queue_parts(0, 0, 2);
        let Finished { first, made } = finished.recv().unwrap();
        let [Made { result: Some(Ok(batch)), bad }] = &made[..] else { panic!("one batch") };
        assert_eq!((first, &**batch), (0, &[1, 2][..]));
        assert_eq!(bad.iter().map(|bad| bad.slot).collect::<Vec<_>>(), [0]);
        drop(made);
        end(line, Some(finished));
    });
}

#[test]
fn of_two_bad_samples_the_first_in_order_is_reported_once_and_no_buffer_is_held_by_then() {
    explore(3, || {
        // The second part meets its bad sample at once; the first must not be kept from meeting its own.
        let fate = |index| match index {
            1 => Fate::Fails,
            2 => Fate::Panics,
            _ => Fate::Good,
        };
        let (line, finished) = line(Stack, Numbers::new(4, fate), OnError::Fail, 1);
        line.queue_parts(0, 0, 2);
        let received = receive(&finished, 1);
        assert_eq!(received[&0].as_ref().unwrap_err().index(), Some(1));
        all_are_back(&line.shared.buffers);
        end(line, Some(finished));
    });
}

/// A collate that can leave no sample out, and panics when it is asked why: that loses the part.
struct Spiteful;

#[derive(Debug)]
struct Reason;

impl fmt::Display for Reason {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        resume_unwind(Box::new(Deliberate))
    }
}

impl std::error::Error for Reason {}

impl Collate<u32> for Spiteful {
    type Batch = Vec<u32>;
    type Part = Vec<u32>;

    fn start(&self, _plan: BatchPlan<'_>) -> Vec<u32> {
        Vec::new()
    }

    fn split_off(&self, _part: &mut Vec<u32>, _at: usize) -> Vec<u32> {
        Vec::new()
    }

    fn push(&self, part: &mut Vec<u32>, sample: u32) -> Result<()> {
        part.push(sample);
        Ok(())
    }

    fn rewind(&self, _part: &mut Vec<u32>, _len: usize) -> Result<()> {
        Err(Error::other(Reason))
    }

    fn unite(&self, part: &mut Vec<u32>, mut next: Vec<u32>) {
        part.append(&mut next);
    }

    fn finish(&self, part: Vec<u32>) -> Result<Vec<u32>> {
        Ok(part)
    }
}

fn lost_batch(fate: fn(usize) -> Fate) {
    explore(3, move || {
        let (line, finished) = line(Spiteful, Numbers::new(2, fate), OnError::Skip, 1);
        line.queue_parts(0, 0, 1);
        let Finished { first, mut made } = finished.recv().unwrap();
        let error = made.pop().and_then(|made| made.result).unwrap().unwrap_err();
        assert_eq!((first, made.len(), error.kind()), (0, 0, ErrorKind::Panic));
        end(line, Some(finished));
    });
}

#[test]
fn a_batch_whose_parts_are_all_lost_is_one_error() {
    lost_batch(|_| Fate::Fails);
}

#[test]
fn a_batch_of_which_one_part_is_lost_is_one_error() {
    lost_batch(|index| if index == 0 { Fate::Fails } else { Fate::Good });
}

#[test]
fn a_line_that_is_cancelled_at_any_point_delivers_once_or_not_at_all() {
    explore(3, || {
        let (line, finished) = line(Stack, Numbers::new(2, all_good), OnError::Fail, 1);
        line.queue_parts(0, 0, 1);
        line.cancelled.store(true, Relaxed);
        let ended = Arc::downgrade(&line);
        let shared = Arc::clone(&line.shared);
        drop(line);
        join_workers();
        assert!(ended.upgrade().is_none());
        let mut received = BTreeMap::new();
        finished.try_iter().for_each(|finished| put(&mut received, finished));
        // What was finished before is whole; nothing is put together of what was not.
        assert!(received.values().all(|batch| batch.as_ref().unwrap() == &[0, 1]));
        all_are_back(&shared.buffers);
    });
}

#[test]
fn a_line_that_nobody_listens_to_any_more_gives_its_buffers_back() {
    explore(3, || {
        let (line, finished) = line(Stack, Numbers::new(2, all_good), OnError::Fail, 1);
        line.queue_parts(0, 0, 1);
        line.cancelled.store(true, Relaxed);
        drop(finished);
        end(line, None);
    });
}

#[test]
fn a_line_that_is_stopped_wakes_whoever_waits() {
    explore(3, || {
        let (line, finished) = line(Stack, Numbers::new(2, all_good), OnError::Fail, 2);
        line.queue_parts(0, 0, 1);
        let stopping = Arc::clone(&line);
        line.spawn(move || stopping.stop());
        // The batch, or that there is none.
        let mut received = BTreeMap::new();
        put(&mut received, finished.recv().unwrap());
        drop((received, finished));
        end(line, None);
    });
}
