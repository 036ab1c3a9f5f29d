//! `Epoch`: the consumer's end of the line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::line::{Finished, Line};
use super::orders::Orders;
use super::{Loader, WorkerPool};
use crate::collate::Collate;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::sampler::Order;

/// One pass over the dataset: an iterator over its batches, made by [`Loader::epoch`].
///
/// An `Err` is one batch that could not be made; the iteration goes on behind it. Dropping an epoch early cancels
/// what has not started and does not wait for what has.
pub struct Epoch<D: Dataset, C: Collate<D::Sample>> {
    line: Arc<Line<D, C>>,
    workers: Option<WorkerPool>,
    orders: Arc<Orders>,
    in_order: bool,
    finished: Receiver<Finished<C::Batch>>,
    /// Batches that were finished and not yet delivered. In order, place 0 is the next one due and there may be gaps;
    /// else there are none.
    ready: VecDeque<Option<Result<C::Batch>>>,
    queued: usize,
    delivered: usize,
    /// What became of the order, if there is none.
    failure: Option<Error>,
    /// Up to when the time is counted.
    counted: Instant,
    /// Whether the end was reported, and no more time counts.
    ended: bool,
}

impl<D, C> Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    pub(super) fn start(loader: &Loader<D, C>, epoch: u64) -> Self {
        let counted = Instant::now();
        let shared = Arc::clone(&loader.shared);
        let (order, failure) = match loader.orders.get(epoch) {
            Ok(order) => (order, None),
            Err(error) => (Order::sequential(0), Some(error)),
        };
        let batches = match loader.drop_last {
            true => order.len() / shared.batch_size,
            false => order.len().div_ceil(shared.batch_size),
        };
        // Each message is at least one batch in flight, so there are never more messages than batches.
        let (sender, finished) = bounded(batches.min(shared.pace.most_ahead()).max(1));
        let mut epoch = Epoch {
            line: Arc::new(Line {
                shared,
                epoch,
                order,
                batches,
                has_workers: loader.workers.is_some(),
                cancelled: AtomicBool::new(false),
                finished: sender,
            }),
            workers: loader.workers.clone(),
            orders: Arc::clone(&loader.orders),
            in_order: loader.in_order,
            finished,
            ready: VecDeque::new(),
            queued: 0,
            delivered: 0,
            failure,
            counted,
            ended: false,
        };
        epoch.queue();
        epoch
    }

    /// Keeps the window full, and half-way through the epoch has the next one's order drawn.
    fn queue(&mut self) {
        let Some(workers) = &self.workers else { return };
        let line = &self.line;
        if self.queued == line.batches {
            return;
        }
        let pace = &line.shared.pace;
        let window = pace.window(&line.shared.buffers);
        let job = pace.job(window);
        let batches_per_job = job.batches();
        let half = line.batches.div_ceil(2);
        let before = self.queued;
        while self.queued < line.batches {
            let room = window.saturating_sub(self.queued - self.delivered);
            let rest = line.batches - self.queued;
            if room < batches_per_job.min(rest) {
                break;
            }
            self.queued += line.queue(workers, self.queued, &job, rest);
        }
        if before < half && half <= self.queued {
            self.orders.prepare(line.epoch.wrapping_add(1), workers);
        }
    }

    /// The next batch to deliver.
    fn take(&mut self) -> Result<C::Batch> {
        if !self.is_ready() {
            let waiting = Instant::now();
            while !self.is_ready() {
                let finished = match &self.workers {
                    Some(workers) => self.receive(workers),
                    None => self.line.make_batches(self.delivered..self.delivered + 1),
                };
                self.put(finished);
            }
            let waited = waiting.elapsed().as_nanos() as u64;
            self.line.shared.counters.consumer_wait_ns.fetch_add(waited, Relaxed);
        }
        self.ready.pop_front().flatten().expect("the next batch is ready")
    }

    fn is_ready(&self) -> bool {
        matches!(self.ready.front(), Some(Some(_)))
    }

    /// Puts finished batches in their places.
    fn put(&mut self, Finished { first, results }: Finished<C::Batch>) {
        let place = if self.in_order { first - self.delivered } else { self.ready.len() };
        let end = place + results.len();
        if self.ready.len() < end {
            self.ready.resize_with(end, || None);
        }
        for (place, result) in self.ready.range_mut(place..end).zip(results) {
            *place = Some(result);
        }
    }

    /// Waits for the workers to finish something.
    fn receive(&self, workers: &WorkerPool) -> Finished<C::Batch> {
        // On a thread of the pool itself, waiting could mean waiting for ourselves.
        while workers.is_current() {
            let patience = if workers.help() { Duration::ZERO } else { Duration::from_millis(1) };
            if let Ok(finished) = self.finished.recv_timeout(patience) {
                return finished;
            }
        }
        self.finished.recv().expect("this epoch holds the line, and the line a sender")
    }
}

impl<D, C> Iterator for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    type Item = Result<C::Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = if let Some(error) = self.failure.take() {
            Some(Err(error))
        } else if self.delivered < self.line.batches {
            let result = self.take();
            self.delivered += 1;
            self.queue();
            Some(result)
        } else {
            None
        };

        let returned = Instant::now();
        let counters = &self.line.shared.counters;
        if !self.ended {
            counters.epoch_ns.fetch_add((returned - self.counted).as_nanos() as u64, Relaxed);
            self.counted = returned;
        }
        match &result {
            Some(Ok(_)) => counters.batches.fetch_add(1, Relaxed),
            Some(Err(_)) => counters.errors.fetch_add(1, Relaxed),
            None => {
                self.ended = true;
                0
            }
        };
        result
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = self.line.batches - self.delivered + usize::from(self.failure.is_some());
        (rest, Some(rest))
    }
}

impl<D, C> ExactSizeIterator for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
}

impl<D, C> std::iter::FusedIterator for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
}

impl<D: Dataset, C: Collate<D::Sample>> Drop for Epoch<D, C> {
    fn drop(&mut self) {
        self.line.cancelled.store(true, Relaxed);
    }
}

impl<D: Dataset, C: Collate<D::Sample>> std::fmt::Debug for Epoch<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoch")
            .field("epoch", &self.line.epoch)
            .field("batches", &self.line.batches)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}
