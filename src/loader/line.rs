//! What the workers do: the production line of one epoch.
//!
//! A job never waits: not on a channel, not on another job, and on locks only for as long as a push takes. So any
//! number of loaders can share a pool, and a slow sample takes one worker away from the others' batches and no more.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::WorkerPool;
use super::pace::{Job, Pace};
use crate::collate::Collate;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BatchPlan, BufferPool};
use crate::rng::SampleRng;
use crate::sampler::Order;
use crate::stats::Counters;

/// When a job of several batches counts as much longer than planned: ten times what it should take.
const OVERDUE: Duration = Duration::from_micros(500);

/// What all epochs of a loader share.
pub(super) struct Shared<D, C> {
    pub(super) dataset: D,
    /// The length of the dataset, asked for once.
    pub(super) len: usize,
    pub(super) collate: C,
    pub(super) seed: u64,
    pub(super) batch_size: usize,
    pub(super) pace: Pace,
    pub(super) buffers: BufferPool,
    pub(super) counters: Counters,
}

/// One epoch, as its jobs see it.
pub(super) struct Line<D: Dataset, C: Collate<D::Sample>> {
    pub(super) shared: Arc<Shared<D, C>>,
    pub(super) epoch: u64,
    pub(super) order: Order,
    /// How many batches the epoch has.
    pub(super) batches: usize,
    /// Whether worker threads make them, or the consumer's own.
    pub(super) has_workers: bool,
    /// Set when nobody wants the batches any more. Relaxed suffices: a job that sees it late only does work in vain.
    pub(super) cancelled: AtomicBool,
    /// Where finished batches go. It has room for every batch in flight, so sending never waits.
    pub(super) finished: Sender<Finished<C::Batch>>,
}

/// Consecutive batches, ready for delivery.
pub(super) struct Finished<B> {
    pub(super) first: usize,
    pub(super) results: Vec<Result<B>>,
}

/// A batch that several jobs fill.
struct Assembly<P> {
    batch: usize,
    /// The lowest position at which a sample failed so far. Samples behind it need not be loaded any more; those
    /// before it are, so that the error reported is the one a single thread would have met.
    failed_at: AtomicUsize,
    arrived: Mutex<Arrived<P>>,
}

/// The parts of an assembly that are done.
struct Arrived<P> {
    missing: usize,
    /// By position, as they come in.
    parts: Vec<(usize, P)>,
    failure: Option<(usize, Error)>,
}

impl<D, C> Line<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    /// Queues the batches from `first` on, as many as one job (or one batch in parts) takes, at most `most`. Returns
    /// how many.
    pub(super) fn queue(self: &Arc<Self>, workers: &WorkerPool, first: usize, job: &Job, most: usize) -> usize {
        match *job {
            Job::Batches(batches) => {
                let batches = first..first + batches.min(most);
                let line = Arc::clone(self);
                let count = batches.len();
                workers.spawn(move || line.deliver(line.make_batches(batches)));
                count
            }
            Job::Parts(samples) => {
                self.queue_parts(workers, first, samples);
                1
            }
        }
    }

    fn queue_parts(self: &Arc<Self>, workers: &WorkerPool, batch: usize, samples: usize) {
        let parts = match self.cut(batch, samples) {
            Ok(parts) => parts,
            Err(error) => return self.deliver(Finished { first: batch, results: vec![Err(error)] }),
        };
        let assembly = Arc::new(Assembly {
            batch,
            failed_at: AtomicUsize::new(usize::MAX),
            arrived: Mutex::new(Arrived {
                missing: parts.len(),
                parts: Vec::with_capacity(parts.len()),
                failure: None,
            }),
        });
        for (positions, part) in parts {
            let (line, assembly) = (Arc::clone(self), Arc::clone(&assembly));
            workers.spawn(move || line.run_part(&assembly, part, positions));
        }
    }

    /// Starts a batch and cuts it into parts of `samples` samples.
    fn cut(&self, batch: usize, samples: usize) -> Result<Vec<(Range<usize>, C::Part)>> {
        guarded("starting the batch", || {
            let positions = self.positions(batch);
            let mut rest = self.start(&positions);
            let mut parts = Vec::with_capacity(positions.len().div_ceil(samples));
            let mut start = positions.start;
            while positions.end - start > samples {
                let next = self.shared.collate.split_off(&mut rest, samples);
                parts.push((start..start + samples, std::mem::replace(&mut rest, next)));
                start += samples;
            }
            parts.push((start..positions.end, rest));
            Ok(parts)
        })
    }

    /// Makes one batch from beginning to end on the current thread; `loaded` counts its samples.
    fn make_batch(&self, batch: usize, loaded: &Cell<usize>) -> Result<C::Batch> {
        let positions = self.positions(batch);
        guarded("making the batch", || {
            let mut part = self.start(&positions);
            match self.fill(&mut part, positions.clone(), || usize::MAX, loaded) {
                Ok(()) => self.finish(batch, || part),
                Err((_, error)) => Err(error),
            }
        })
    }

    /// Makes the given batches on the current thread, as long as the epoch is wanted.
    ///
    /// How many of them a job has was decided by what samples used to cost. If they turn out to take much longer, what
    /// is done is handed over, and the rest is queued anew for all workers.
    pub(super) fn make_batches(self: &Arc<Self>, batches: Range<usize>) -> Finished<C::Batch> {
        let started = Instant::now();
        let loaded = Cell::new(0);
        let mut results = Vec::with_capacity(batches.len());
        for batch in batches.clone() {
            if self.is_cancelled() {
                break;
            }
            results.push(self.make_batch(batch, &loaded));
            // Not at each: beside the cheapest batches, a look at the clock counts.
            let rest = batch + 1..batches.end;
            if results.len().is_multiple_of(4) && !rest.is_empty() && started.elapsed() > OVERDUE {
                for batch in rest {
                    let line = Arc::clone(self);
                    // On a worker, this queues on the worker's own pool.
                    rayon::spawn_fifo(move || line.deliver(line.make_batches(batch..batch + 1)));
                }
                break;
            }
        }
        self.count(loaded.get(), started);
        Finished { first: batches.start, results }
    }

    fn run_part(&self, assembly: &Assembly<C::Part>, mut part: C::Part, positions: Range<usize>) {
        let started = Instant::now();
        let start = positions.start;
        let loaded = Cell::new(0);
        let filled = match self.fill(&mut part, positions, || assembly.failed_at.load(Relaxed), &loaded) {
            Ok(()) => Ok(part),
            Err(failure) => {
                // Before anybody hears of the failure, so that the batch's buffers are back by then.
                discard(part);
                Err(failure)
            }
        };

        let mut arrived = assembly.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.missing -= 1;
        let late = match filled {
            Ok(part) => {
                arrived.parts.push((start, part));
                None
            }
            Err((position, error)) => {
                assembly.failed_at.fetch_min(position, Relaxed);
                match &arrived.failure {
                    Some((earlier, _)) if *earlier < position => Some((position, error)),
                    _ => arrived.failure.replace((position, error)),
                }
            }
        };
        let is_last = arrived.missing == 0 && !self.is_cancelled();
        let all = is_last.then(|| (std::mem::take(&mut arrived.parts), arrived.failure.take()));
        drop(arrived);

        discard(late);
        let result = all.map(|(parts, failure)| match failure {
            None => self.finish(assembly.batch, || self.unite(parts)),
            Some((_, error)) => {
                discard(parts);
                Err(error)
            }
        });
        self.count(loaded.get(), started);
        if let Some(result) = result {
            self.deliver(Finished { first: assembly.batch, results: vec![result] });
        }
    }

    fn unite(&self, mut parts: Vec<(usize, C::Part)>) -> C::Part {
        parts.sort_unstable_by_key(|(start, _)| *start);
        let mut parts = parts.into_iter().map(|(_, part)| part);
        let mut whole = parts.next().expect("a batch has at least one part");
        for part in parts {
            self.shared.collate.unite(&mut whole, part);
        }
        whole
    }

    /// The positions in the order that make up a batch.
    fn positions(&self, batch: usize) -> Range<usize> {
        let start = batch * self.shared.batch_size;
        start..(start + self.shared.batch_size).min(self.order.len())
    }

    fn start(&self, positions: &Range<usize>) -> C::Part {
        let shared = &*self.shared;
        shared.collate.start(BatchPlan {
            len: positions.len(),
            capacity: shared.batch_size,
            buffers: &shared.buffers,
            field: 0,
        })
    }

    /// Loads the samples at `positions` into `part`; an error comes with the position it happened at. Gives up before
    /// a sample behind `failed_at`, and when the epoch is cancelled: nobody then looks at the result.
    ///
    /// One `catch_unwind` serves all of them, since it costs more than a cheap sample; `current` remembers which one
    /// was being loaded, and `loaded` is raised by how many were. After a panic or an error the part is dropped, so
    /// nobody sees what it was left as.
    fn fill(
        &self,
        part: &mut C::Part,
        positions: Range<usize>,
        failed_at: impl Fn() -> usize,
        loaded: &Cell<usize>,
    ) -> Result<(), (usize, Error)> {
        let Shared { dataset, len, collate, seed, .. } = &*self.shared;
        let (start, end) = (positions.start, positions.end);
        let current = Cell::new(start);
        let filled = catch_unwind(AssertUnwindSafe(|| {
            for position in positions {
                current.set(position);
                if self.is_cancelled() || position > failed_at() {
                    return Ok(false);
                }
                let index = self.order.get(position);
                if index >= *len {
                    return Err(Error::new(
                        ErrorKind::Sampler,
                        format!("the sampler gave index {index}, but the dataset has {len} samples"),
                    ));
                }
                match dataset.get(index, &mut SampleRng::new(*seed, self.epoch, index)) {
                    Ok(sample) => collate.push(part, sample)?,
                    Err(error) => return Err(error),
                }
            }
            current.set(end);
            Ok(true)
        }));
        loaded.set(loaded.get() + current.get() - start);
        let error = match filled {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => Error::new(ErrorKind::Other, "given up"),
            Ok(Err(error)) => self.with_sample(error, current.get()),
            Err(panic) => self.with_sample(panicked("loading the sample", panic), current.get()),
        };
        Err((current.get(), error))
    }

    /// Adds what is known of the sample at `position`.
    #[cold]
    fn with_sample(&self, error: Error, position: usize) -> Error {
        let index = self.order.get(position);
        let batch = self.positions(position / self.shared.batch_size);
        let error = error
            .name_rival(batch.len(), |slot| self.order.get(batch.start + slot))
            .with_index(index)
            .with_worker(self.worker());
        if index >= self.shared.len {
            return error;
        }
        // The dataset has just failed; asking it for a path may fail as well.
        match guarded("the path", || Ok(self.shared.dataset.path(index))) {
            Ok(Some(path)) => error.with_path(path),
            _ => error,
        }
    }

    /// Turns a full part into the batch.
    fn finish(&self, batch: usize, whole: impl FnOnce() -> C::Part) -> Result<C::Batch> {
        guarded("collating the batch", || self.shared.collate.finish(whole())).map_err(|error| {
            let positions = self.positions(batch);
            if let Some(position) = error.slot().and_then(|slot| positions.clone().nth(slot)) {
                return self.with_sample(error, position);
            }
            let indices = positions.map(|position| self.order.get(position)).collect();
            error.with_batch(indices).with_worker(self.worker())
        })
    }

    /// The number of the current thread among the workers.
    fn worker(&self) -> Option<usize> {
        rayon::current_thread_index().filter(|_| self.has_workers)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    fn count(&self, samples: usize, started: Instant) {
        let elapsed = started.elapsed();
        let Shared { pace, counters, .. } = &*self.shared;
        pace.measured(samples, elapsed);
        counters.samples.fetch_add(samples as u64, Relaxed);
        counters.worker_busy_ns.fetch_add(elapsed.as_nanos() as u64, Relaxed);
    }

    fn deliver(&self, finished: Finished<C::Batch>) {
        // Nobody listens any more after the epoch was dropped; the batches then return their buffers here.
        let _ = self.finished.send(finished);
    }
}

/// Runs user code; a panic becomes an error that says what panicked, and with which message.
pub(super) fn guarded<T>(doing: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(doing, panic)))
}

/// Drops what may be the user's, and may panic at it.
fn discard<T>(value: T) {
    let _ = guarded("a drop", || {
        drop(value);
        Ok(())
    });
}

fn panicked(doing: &str, panic: Box<dyn Any + Send>) -> Error {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message.as_str(),
        _ => "a value that is not text",
    };
    let error = Error::new(ErrorKind::Panic, format!("{doing} panicked: {message}"));
    // Whoever panics with a value whose drop panics gets no third chance.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    error
}
