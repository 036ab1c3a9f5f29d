//! `Delivery`: finished batches, from the channel to the consumer, in order or as they come.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::WorkerPool;
use super::bad::Made;
use super::line::Finished;
use super::lot::HELD_UP;
use super::shared::Shared;
use super::tuner::Tuning;
use crate::error::Result;
use crate::guard::discard;
use crate::stats::Counters;
use crate::sync::atomic::AtomicUsize;
use crate::sync::channel::{Receiver, RecvTimeoutError};

/// What is between the workers and the consumer of one epoch.
pub(super) struct Delivery<B> {
    finished: Receiver<Finished<B>>,
    in_order: bool,
    /// Batches that were finished and not yet delivered, with their numbers. In order, place 0 is the next one due and
    /// there may be gaps; else there are none.
    ready: VecDeque<Option<(usize, Made<B>)>>,
    delivered: Delivered,
    /// Batches that nobody waits for any more, and that may still come.
    given_up: BTreeSet<usize>,
}

/// What came of asking for a batch.
pub(super) enum Taken<B> {
    /// A batch, or its error.
    Batch(Result<B>),
    /// One of which nothing is left.
    Nothing,
    /// There are no more.
    Over,
}

impl<B> Taken<B> {
    pub(super) fn of(result: Option<Result<B>>) -> Self {
        result.map_or(Taken::Nothing, Taken::Batch)
    }
}

/// Which batches the consumer has had.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivered {
    /// All before this one,
    pub(super) first: usize,
    /// and these behind it.
    pub(super) beyond: BTreeSet<usize>,
}

impl Delivered {
    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.first + self.beyond.len()
    }

    fn add(&mut self, batch: usize) {
        if batch > self.first {
            self.beyond.insert(batch);
            return;
        }
        self.first += 1;
        while self.beyond.remove(&self.first) {
            self.first += 1;
        }
    }
}

impl<B> Delivery<B> {
    pub(super) fn new(finished: Receiver<Finished<B>>, in_order: bool) -> Self {
        Delivery {
            finished,
            in_order,
            ready: VecDeque::new(),
            delivered: Delivered::default(),
            given_up: BTreeSet::new(),
        }
    }

    pub(super) fn is_in_order(&self) -> bool {
        self.in_order
    }

    pub(super) fn delivered(&self) -> &Delivered {
        &self.delivered
    }

    /// How many batches were given up that have not come yet.
    pub(super) fn missing(&self) -> usize {
        self.given_up.len()
    }

    /// Whether the next batch to deliver is there.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.ready.front(), Some(Some(_)))
    }

    /// The next batch, with its number.
    pub(super) fn pop(&mut self) -> Option<(usize, Made<B>)> {
        if !self.is_ready() {
            return None;
        }
        let next = self.ready.pop_front().flatten()?;
        self.delivered.add(next.0);
        Some(next)
    }

    /// Takes the next batch to deliver as delivered, though it is not there; gives its number. `None` if it is there.
    pub(super) fn give_up(&mut self) -> Option<usize> {
        if self.is_ready() {
            return None;
        }
        let batch = self.delivered.first;
        self.ready.pop_front();
        self.delivered.add(batch);
        self.given_up.insert(batch);
        Some(batch)
    }

    /// Puts finished batches in their places. There may be none, to wake whoever waits.
    pub(super) fn put(&mut self, Finished { first, made }: Finished<B>) {
        for (batch, made) in (first..).zip(made) {
            if !self.given_up.is_empty() && self.given_up.remove(&batch) {
                discard(made);
                continue;
            }
            let place = if self.in_order { batch - self.delivered.count() } else { self.ready.len() };
            if self.ready.len() <= place {
                self.ready.resize_with(place + 1, || None);
            }
            self.ready[place] = Some((batch, made));
        }
    }

    /// What the workers have finished, if anything.
    pub(super) fn poll(&self) -> Option<Finished<B>> {
        self.finished.try_recv().ok()
    }

    /// Waits for the workers to finish something, until `deadline` at the longest. Where nothing comes for long, it has
    /// `help_out` take over what workers have in hand.
    pub(super) fn wait(
        &self,
        workers: &WorkerPool,
        deadline: Option<Instant>,
        help_out: impl Fn(),
    ) -> Option<Finished<B>> {
        loop {
            let soon = Instant::now() + HELD_UP;
            let until = deadline.map_or(soon, |deadline| deadline.min(soon));
            match workers.receive(&self.finished, Some(until)) {
                Ok(finished) => return Some(finished),
                Err(RecvTimeoutError::Timeout) => {
                    help_out();
                    if deadline == Some(until) {
                        return self.poll();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("the epoch holds the line, and the line a sender"),
            }
        }
    }
}

/// What nobody takes any more may be the user's, and each batch may panic when it is dropped.
impl<B> Drop for Delivery<B> {
    fn drop(&mut self) {
        self.ready.drain(..).for_each(discard);
        while let Some(finished) = self.poll() {
            finished.discard();
        }
    }
}

/// The time of an epoch as its consumer sees it, and what came of each call of `next()`.
pub(super) struct Clock {
    counters: Arc<Counters>,
    tuning: Option<Arc<Tuning>>,
    /// How many workers there are.
    width: Arc<AtomicUsize>,
    /// Up to when the time is counted.
    counted: Instant,
    /// How much of the time since then the consumer has waited.
    waited: Cell<Duration>,
    /// Whether `next()` has returned before: what the first batch takes says nothing of those behind it.
    has_begun: bool,
    /// Whether the end was reported, and no more time counts.
    ended: bool,
}

impl Clock {
    pub(super) fn start<C>(shared: &Shared<C>) -> Self {
        Clock {
            counters: Arc::clone(&shared.counters),
            tuning: shared.tuning.clone(),
            width: shared.pace.width(),
            counted: Instant::now(),
            waited: Cell::default(),
            has_begun: false,
            ended: false,
        }
    }

    /// The consumer waited since then.
    pub(super) fn waited(&self, since: Instant) {
        let waited = since.elapsed();
        self.waited.set(self.waited.get() + waited);
        self.counters.consumer_wait_ns.fetch_add(waited.as_nanos() as u64, Relaxed);
    }

    /// `next()` returns this.
    pub(super) fn returned<B>(&mut self, result: &Option<Result<B>>) {
        let counters = &*self.counters;
        let returned = Instant::now();
        let (time, waited) = (returned - self.counted, self.waited.take());
        if !self.ended {
            let time_ns = time.as_nanos() as u64;
            counters.epoch_ns.fetch_add(time_ns, Relaxed);
            // Their number changes below, and so for the time from now on.
            counters.worker_ns.fetch_add(time_ns.saturating_mul(self.width.load(Relaxed) as u64), Relaxed);
            self.counted = returned;
        }
        match result {
            Some(Ok(_)) => drop(counters.batches.fetch_add(1, Relaxed)),
            Some(Err(_)) => drop(counters.errors.fetch_add(1, Relaxed)),
            None => self.ended = true,
        }
        if let (Some(tuning), Some(_), true) = (&self.tuning, result, self.has_begun) {
            tuning.delivered(time, waited);
        }
        self.has_begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delivered_is_a_beginning_and_some_behind_it() {
        let mut delivered = Delivered::default();
        for (batch, first, beyond) in
            [(0, 1, vec![]), (3, 1, vec![3]), (2, 1, vec![2, 3]), (1, 4, vec![]), (5, 4, vec![5]), (4, 6, vec![])]
        {
            delivered.add(batch);
            assert_eq!((delivered.first, delivered.beyond.iter().copied().collect::<Vec<_>>()), (first, beyond));
        }
        assert_eq!(delivered.count(), 6);
    }

    #[test]
    fn a_batch_that_was_given_up_and_comes_late_is_dropped_and_the_others_are_in_their_places() {
        let finished = |first, values: &[i32]| Finished {
            first,
            made: values.iter().map(|&value| Ok(value).into()).collect::<Vec<Made<i32>>>(),
        };
        for in_order in [true, false] {
            let (_sender, receiver) = crate::sync::channel::unbounded();
            let mut delivery = Delivery::new(receiver, in_order);
            let take = |delivery: &mut Delivery<i32>| {
                std::iter::from_fn(|| delivery.pop()).map(|(_, made)| made.result.unwrap().unwrap()).collect::<Vec<_>>()
            };
            delivery.put(finished(0, &[10]));
            assert_eq!(delivery.give_up(), None);
            assert_eq!(take(&mut delivery), [10]);
            assert_eq!(delivery.give_up(), Some(1));
            delivery.put(finished(2, &[12]));
            assert_eq!(take(&mut delivery), [12]);
            assert_eq!((delivery.give_up(), delivery.delivered().count()), (Some(3), 4));
            delivery.put(finished(1, &[11]));
            delivery.put(finished(3, &[13, 14, 15]));
            assert_eq!((take(&mut delivery), delivery.delivered().count()), (vec![14, 15], 6));
        }
    }
}
