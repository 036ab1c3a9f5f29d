//! What the workers do: the production line of one epoch.
//!
//! A job never waits: not on a channel, not on another job, and on locks only for as long as a push takes. So any
//! number of loaders can share a pool, and a slow sample takes one worker away from the others' batches and no more.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::WorkerPool;
use super::bad::Made;
use super::lot::{Lot, Relief};
use super::shared::Shared;
use super::source::Source;
use crate::collate::Collate;
use crate::error::Error;
use crate::guard::{discard, guarded};
use crate::stats::Shift;
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::channel::{Sender, TrySendError};
use crate::sync::{Mutex, MutexGuard};

/// One epoch, as its jobs see it.
pub(super) struct Line<S: Source, C: Collate<S::Sample>> {
    pub(super) source: S,
    pub(super) shared: Arc<Shared<C>>,
    /// Who makes them; `None` is the consumer itself.
    pub(super) workers: Option<WorkerPool>,
    /// Set when nobody wants the batches any more. Relaxed suffices: a job that sees it late only does work in vain.
    pub(super) cancelled: AtomicBool,
    /// How many batches were finished, or have failed.
    pub(super) made: AtomicUsize,
    /// What workers have in hand that others could take over.
    pub(super) lots: Mutex<Lots<S::Work, C::Batch>>,
    /// Where finished batches go. It has room for every batch in flight.
    pub(super) finished: Sender<Finished<C::Batch>>,
    /// Where they go if it has not: those that were given up are in flight as well, and a job must not wait.
    pub(super) late: Mutex<Vec<Finished<C::Batch>>>,
}

type Lots<W, B> = Vec<Arc<Lot<W, B>>>;

/// When a job of several batches counts as much longer than planned: ten times what it should take.
const OVERDUE: Duration = Duration::from_micros(500);

/// Consecutive batches, ready for delivery.
pub(super) struct Finished<B> {
    pub(super) first: usize,
    pub(super) made: Vec<Made<B>>,
}

impl<B> Finished<B> {
    /// One batch that could not be made.
    pub(super) fn failed(batch: usize, error: Error) -> Self {
        Finished { first: batch, made: vec![Err(error).into()] }
    }

    /// Nothing, which wakes whoever waits.
    pub(super) fn nothing() -> Self {
        Finished { first: 0, made: Vec::new() }
    }

    /// Drops each of them by itself: they may be the user's, and of two that panic together nobody could catch the second.
    pub(super) fn discard(self) {
        self.made.into_iter().for_each(discard);
    }
}

impl<S: Source, C: Collate<S::Sample>> Line<S, C> {
    /// Nobody wants the batches any more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        let late = std::mem::take(&mut *self.late());
        late.into_iter().for_each(Finished::discard);
    }

    fn late(&self) -> MutexGuard<'_, Vec<Finished<C::Batch>>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, C> Line<S, C>
where
    S: Source,
    C: Collate<S::Sample> + 'static,
{
    /// Makes some batches, of which `first` is the number of the first, on the current thread.
    ///
    /// How many of them a job has was decided by what samples used to cost. If they turn out to take much longer, what
    /// is done is handed over, and the rest is queued anew for all workers: by this thread if it can, or else by the
    /// consumer ([`help_out`](Line::help_out)).
    pub(super) fn make_batches(self: &Arc<Self>, first: usize, works: Vec<S::Work>) {
        if self.is_cancelled() {
            return;
        }
        if let [work] = &works[..] {
            self.deliver(self.make_one(first, work));
            return discard(works);
        }
        let shift = Shift::start();
        let loaded = Cell::new(0);
        let lot = Lot::new(first, works);
        self.lots().push(Arc::clone(&lot));
        let mut made = None;
        // Not each time: beside the cheapest batches, a look at the clock counts.
        for is_due in [false, false, false, true].into_iter().cycle() {
            let Some(work) = lot.next(made.take()) else { break };
            if self.is_cancelled() {
                break;
            }
            made = Some(self.make_batch(&work, &loaded));
            discard(work);
            if is_due && shift.elapsed() > OVERDUE {
                self.relieve(&lot);
            }
        }
        self.lots().retain(|other| !Arc::ptr_eq(other, &lot));
        self.count(loaded.get(), shift);
        self.relieve(&lot);
    }

    /// Makes one batch on the current thread, and counts what that took.
    pub(super) fn make_one(&self, number: usize, work: &S::Work) -> Finished<C::Batch> {
        let shift = Shift::start();
        let loaded = Cell::new(0);
        let made = self.make_batch(work, &loaded);
        self.count(loaded.get(), shift);
        Finished { first: number, made: vec![made] }
    }

    /// Takes over what workers have in hand that are held up, by a sample that takes long or never ends; and what had no
    /// room in the channel.
    pub(super) fn help_out(self: &Arc<Self>) {
        let late = std::mem::take(&mut *self.late());
        late.into_iter().for_each(|late| self.send(late));
        let held_up: Vec<_> = self.lots().iter().filter(|lot| lot.is_held_up()).cloned().collect();
        held_up.iter().for_each(|lot| self.relieve(lot));
    }

    fn relieve(self: &Arc<Self>, lot: &Lot<S::Work, C::Batch>) {
        let Relief { made, rest, next } = lot.relieve();
        if !made.made.is_empty() {
            self.deliver(made);
        }
        for (number, work) in (next..).zip(rest) {
            let line = Arc::clone(self);
            self.spawn(move || line.make_batches(number, vec![work]));
        }
    }

    /// Queues a job for the workers.
    pub(super) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        match &self.workers {
            Some(workers) => workers.spawn(job),
            None => job(),
        }
    }

    fn lots(&self) -> MutexGuard<'_, Lots<S::Work, C::Batch>> {
        self.lots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one batch from beginning to end on the current thread; `loaded` counts its samples.
    fn make_batch(&self, work: &S::Work, loaded: &Cell<usize>) -> Made<C::Batch> {
        let len = self.source.len(work);
        let mut bad = Vec::new();
        let result = guarded("making the batch", || {
            let mut part = self.start(work);
            match self.fill(&mut part, work, 0..len, || usize::MAX, &mut bad, loaded) {
                Ok(()) => Ok(self.finish(work, &bad, || part)),
                Err((_, error)) => {
                    discard(part);
                    Ok(Some(Err(error)))
                }
            }
        });
        // What is not about a sample is about all of them.
        let result = result.unwrap_or_else(|error| Some(Err(self.with_batch(error, work))));
        Made { result, bad }
    }

    /// The number of the current thread among the workers.
    pub(super) fn worker(&self) -> Option<usize> {
        rayon::current_thread_index().filter(|_| self.workers.is_some())
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Takes note that `samples` samples were loaded in a shift.
    pub(super) fn count(&self, samples: usize, shift: Shift) {
        let elapsed = shift.elapsed();
        self.shared.pace.measured(samples, elapsed);
        self.shared.counters.worked(samples, elapsed, shift);
    }

    /// Ends the epoch early: nothing more is loaded, and whoever waits for a batch hears that there is none.
    pub(super) fn stop(&self) {
        self.cancel();
        // Where there is no room, there is something to wake up for.
        let _ = self.finished.try_send(Finished::nothing());
    }

    pub(super) fn deliver(&self, finished: Finished<C::Batch>) {
        self.made.fetch_add(finished.made.len(), Relaxed);
        self.send(finished);
    }

    fn send(&self, finished: Finished<C::Batch>) {
        match self.finished.try_send(finished) {
            Ok(()) => {}
            Err(TrySendError::Full(unsent)) if !self.is_cancelled() => self.late().push(unsent),
            // Nobody listens any more after the epoch was dropped; the batches then return their buffers here.
            Err(TrySendError::Full(unsent) | TrySendError::Disconnected(unsent)) => unsent.discard(),
        }
    }
}
