//! `Epoch`: the consumer's end of the line.

use std::iter::empty as none;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::delivery::{Clock, Delivery, Taken};
use super::indexed::Indexed;
use super::last::Last;
use super::line::Line;
use super::mark::Mark;
use super::orders::Orders;
use super::pace::OnTheWay;
use super::shared::Shared;
use super::source::Source;
use super::watch::timed_out;
use super::{Loader, LoaderState, OnError};
use crate::collate::{Collate, Stack};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::memory::{BatchPlan, HostTensor, Slots};
use crate::quarantine::Quarantined;
use crate::rng::SampleRng;
use crate::sampler::Batches;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::channel::{bounded, unbounded};

/// One pass over the dataset: an iterator over its batches, made by [`Loader::epoch`].
///
/// An `Err` is one batch that could not be made; the iteration goes on behind it. Dropping an epoch early cancels
/// what has not started and does not wait for what has.
pub struct Epoch<D: Dataset + 'static, C: Collate<D::Sample> = Stack> {
    pub(super) line: Arc<Line<Indexed<D>, C>>,
    orders: Arc<Orders>,
    delivery: Delivery<C::Batch>,
    queued: usize,
    last: Last,
    /// What became of the order, if there is none.
    failure: Option<Error>,
    pub(super) timeout: Option<Duration>,
    /// `None` once somebody else keeps the consumer's time.
    pub(super) clock: Option<Clock>,
}

impl<D, C> Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    /// Starts epoch `epoch`.
    pub(super) fn start(loader: &Loader<D, C>, epoch: u64) -> Self {
        match loader.orders.get(epoch) {
            Ok(batches) => Self::over(loader, batches, epoch, None),
            Err(error) => Self::over(loader, none::<Vec<usize>>().collect(), epoch, Some(error)),
        }
    }

    /// Gives the batches `batches` of epoch `epoch`, after the error that kept it from having any.
    pub(super) fn over(loader: &Loader<D, C>, batches: Batches, epoch: u64, failure: Option<Error>) -> Self {
        let shared = Arc::clone(&loader.shared);
        let clock = Some(Clock::start(&shared));
        // Each message is at least one batch in flight, so there are no more messages than batches, and the one that ends
        // an epoch early; unless some are given up. A channel with room for all needs no allocation for each; one for more
        // than anybody has is not worth the room.
        let (sender, finished) = match batches.len().min(shared.pace.most_ahead()).max(1) {
            most @ ..=4096 => bounded(most + 1),
            _ => unbounded(),
        };
        let mut epoch = Epoch {
            line: Arc::new(Line {
                source: Indexed { data: Arc::clone(&loader.data), epoch, capacity: batches.capacity(), batches },
                shared,
                workers: loader.workers.clone(),
                cancelled: AtomicBool::new(false),
                made: AtomicUsize::new(0),
                lots: Mutex::default(),
                finished: sender,
                late: Mutex::default(),
            }),
            orders: Arc::clone(&loader.orders),
            delivery: Delivery::new(finished, loader.in_order),
            queued: 0,
            last: Last::default(),
            failure,
            timeout: loader.timeout,
            clock,
        };
        epoch.queue();
        epoch
    }

    /// The state between the batch that was delivered last and the next one, for [`Loader::resume`].
    ///
    /// It counts what `next()` has given, an `Err` included, and nothing that is only loaded ahead. With several ranks it
    /// is the state of all of them, which have taken as many batches; but with `in_order(false)` each rank has its own, and
    /// only goes on as that rank.
    ///
    /// A loop that wants it between batches holds on to the epoch:
    ///
    /// ```
    /// # use sutler::{InMemory, Loader};
    /// # let loader = Loader::builder((0..10).collect::<InMemory<i64>>()).batch_size(4).build()?;
    /// let mut epoch = loader.epoch();
    /// while let Some(batch) = epoch.next() {
    ///     let batch = batch?;
    ///     // … train, and now and then:
    ///     let checkpoint = epoch.state().to_string();
    /// }
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn state(&self) -> LoaderState {
        self.mark().state()
    }

    /// The indices of the samples of the batch that `next()` gave last, whether it could be made or not; none before the
    /// first. Bad samples that were left out of it are not among them, and of one that was replaced the index is that of the
    /// sample in its place.
    pub fn indices(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.line.source.indices(&self.last)
    }

    /// How many samples at the end of the batch that `next()` gave last are padding: there only so that all ranks have
    /// equally many.
    pub fn padding(&self) -> usize {
        self.last.padding()
    }

    /// Goes on without the batch that [`next`](Iterator::next) waits for, after a
    /// [`timeout`](crate::LoaderBuilder::timeout): a sample of it may never return. Gives the indices of its samples, which
    /// then count as had; none if the batch is there by now, or the epoch is over. The stuck samples are entered in the
    /// [`Quarantine`](crate::Quarantine). Their workers are lost to this loader until they return.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sutler::{ErrorKind, InMemory, Loader};
    ///
    /// let samples: InMemory<i64> = (0..100).collect();
    /// let loader = Loader::builder(samples).batch_size(10).num_workers(2).timeout(Duration::from_secs(60)).build()?;
    /// let mut epoch = loader.epoch();
    /// while let Some(batch) = epoch.next() {
    ///     match batch {
    ///         Ok(batch) => println!("training on {} samples", batch.len()),
    ///         Err(error) if error.kind() == ErrorKind::Timeout => {
    ///             eprintln!("{error}");
    ///             eprintln!("going on without {:?}", epoch.give_up_batch());
    ///         }
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn give_up_batch(&mut self) -> Vec<usize> {
        if self.is_over() || self.line.workers.is_none() {
            return Vec::new();
        }
        self.line.help_out();
        while let Some(finished) = self.delivery.poll() {
            self.delivery.put(finished);
        }
        let Some(batch) = self.delivery.give_up() else { return Vec::new() };
        let run = self.batches().run(batch);
        self.last = Last::new(run, &[]);
        let indices: Vec<usize> = self.indices().collect();
        let Shared { bad_samples, watch, .. } = &*self.line.shared;
        let id = self.line.source.id(&run);
        for (name, time) in watch.iter().flat_map(|watch| watch.loading_for(id)) {
            bad_samples.add_stuck(Quarantined {
                index: name.index,
                shard: None,
                path: self.line.path(name),
                cause: format!("it did not return within {time:.1?}"),
            });
        }
        self.queue();
        indices
    }

    /// Where it stands.
    pub(super) fn mark(&self) -> Mark<D, C> {
        Mark {
            line: Arc::clone(&self.line),
            orders: Arc::clone(&self.orders),
            in_order: self.delivery.is_in_order(),
            delivered: self.delivery.delivered().clone(),
            bad_samples: self.line.shared.bad_samples.count(),
            last: self.last.clone(),
        }
    }

    /// What [`masked`](Epoch::masked) adds to a batch.
    pub(super) fn mask(&self) -> Result<HostTensor<bool>> {
        /// Behind any number of fields that a collate may have.
        const FIELD: usize = usize::MAX;
        let (len, valid) = (self.last.len(), self.last.len() - self.last.padding());
        let buffers = &self.line.shared.buffers;
        let mut slots = Slots::new(BatchPlan {
            len,
            capacity: self.line.source.capacity,
            buffers,
            field: FIELD,
            rng: &SampleRng::new(0, 0, 0), // a mask draws nothing
        });
        for slot in 0..len {
            slots.push(&crate::memory::Shape::SCALAR)?[0] = slot < valid;
        }
        Ok(slots.finish())
    }

    /// Keeps the window full, and half-way through the epoch has the next one's order drawn.
    fn queue(&mut self) {
        let line = &self.line;
        let Some(workers) = &line.workers else { return };
        let batches = line.source.batches.len();
        if self.queued == batches {
            return;
        }
        let pace = &line.shared.pace;
        let on_the_way = self.on_the_way();
        let delivered = on_the_way.delivered;
        let window = pace.window(line.source.capacity, &line.shared.buffers, on_the_way);
        let job = pace.job(line.source.capacity, window);
        let batches_per_job = job.batches();
        let half = batches.div_ceil(2);
        let before = self.queued;
        while self.queued < batches {
            let room = window.saturating_sub(self.queued - delivered);
            let rest = batches - self.queued;
            if room < batches_per_job.min(rest) {
                break;
            }
            self.queued += line.queue(self.queued, &job, rest);
        }
        if before < half && half <= self.queued {
            self.orders.prepare(line.source.epoch.wrapping_add(1), workers);
        }
    }

    /// The next batch to deliver, or that it did not come in time; `None` at the end, or if the epoch was stopped meanwhile.
    fn take(&mut self) -> Option<Result<C::Batch>> {
        while !self.is_over() {
            match self.take_one() {
                Taken::Batch(result) => return Some(result),
                Taken::Nothing => {}
                Taken::Over => break,
            }
        }
        None
    }

    fn take_one(&mut self) -> Taken<C::Batch> {
        let (delivered, counters) = (self.delivery.delivered().count(), &self.line.shared.counters);
        counters.asked(self.line.made.load(Relaxed).saturating_sub(delivered), self.queued.saturating_sub(delivered));
        if !self.delivery.is_ready() {
            let waiting = Instant::now();
            let in_time = self.wait(waiting);
            if let Some(clock) = &self.clock {
                clock.waited(waiting);
            }
            if self.line.is_cancelled() {
                return Taken::Over;
            }
            if !in_time {
                let watch = &self.line.shared.watch;
                let besides = ", and Epoch::give_up_batch goes on without it";
                return Taken::Batch(Err(timed_out(self.timeout, watch, |name| self.line.path(name), besides)));
            }
        }
        let (batch, mut made) = self.delivery.pop().expect("the next batch is ready");
        let bad = std::mem::take(&mut made.bad);
        self.last = Last::new(self.batches().run(batch), &bad);
        let Shared { bad_samples, counters, .. } = &*self.line.shared;
        let result = bad_samples.settle(made.result, bad, counters);
        if let Some(Err(_)) = result {
            self.last = Last::new(self.batches().run(batch), &[]);
        }
        self.queue();
        Taken::of(result)
    }

    /// Waits until the next batch is ready, or the epoch is stopped; false if the time is up before.
    fn wait(&mut self, from: Instant) -> bool {
        let deadline = self.timeout.and_then(|timeout| from.checked_add(timeout));
        while !self.delivery.is_ready() && !self.line.is_cancelled() {
            let finished = match &self.line.workers {
                Some(workers) => self.delivery.wait(workers, deadline, || self.line.help_out()),
                None => {
                    let next = self.delivery.delivered().count();
                    Some(self.line.make_one(next, &self.batches().run(next)))
                }
            };
            match finished {
                Some(finished) => {
                    self.delivery.put(finished);
                    self.stretch();
                }
                None => return false,
            }
        }
        true
    }

    /// Runs further ahead, if the batch that is due is still not there and the workers wait for the consumer.
    fn stretch(&mut self) {
        if self.delivery.is_ready() || self.queued == self.batches().len() {
            return;
        }
        let Shared { pace, buffers, .. } = &*self.line.shared;
        if pace.stretch(self.line.source.capacity, self.queued, self.on_the_way(), buffers) {
            self.queue();
        }
    }

    fn on_the_way(&self) -> OnTheWay {
        // Those that were given up count as delivered, and so as made.
        let made = self.line.made.load(Relaxed) + self.delivery.missing();
        OnTheWay { made, delivered: self.delivery.delivered().count() }
    }

    fn batches(&self) -> &Batches {
        &self.line.source.batches
    }

    fn is_over(&self) -> bool {
        self.line.is_cancelled() || self.delivery.delivered().count() == self.batches().len()
    }
}

impl<D, C> Iterator for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    type Item = Result<C::Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = match self.failure.take() {
            Some(error) => Some(Err(error)),
            None => self.take(),
        };
        if let Some(clock) = &mut self.clock {
            clock.returned(&result);
        }
        result
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let delivered = self.delivery.delivered().count();
        let rest = self.batches().len() - delivered + usize::from(self.failure.is_some());
        // A batch of which nothing is left does not come.
        let least = if self.line.shared.bad_samples.on_error == OnError::Skip { 0 } else { rest };
        (least, Some(rest))
    }
}

/// How many batches are to come; at the most, where [`OnError::Skip`] may leave out all samples of one.
impl<D, C> ExactSizeIterator for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    fn len(&self) -> usize {
        self.size_hint().1.expect("a number is known")
    }
}

impl<D, C> std::iter::FusedIterator for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
}

impl<D: Dataset + 'static, C: Collate<D::Sample>> Drop for Epoch<D, C> {
    fn drop(&mut self) {
        self.line.cancel();
    }
}

impl<D: Dataset + 'static, C: Collate<D::Sample>> std::fmt::Debug for Epoch<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoch")
            .field("epoch", &self.line.source.epoch)
            .field("batches", &self.line.source.batches.len())
            .field("delivered", &self.delivery.delivered().count())
            .finish_non_exhaustive()
    }
}
