//! What the workers do: the production line of one epoch.
//!
//! A job never waits: not on a channel, not on another job, and on locks only for as long as a push takes. So any
//! number of loaders can share a pool, and a slow sample holds up nobody but its own batch.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::WorkerPool;
use super::pace::{Job, Pace};
use crate::collate::{BatchPlan, Collate};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::BufferPool;
use crate::rng::SampleRng;
use crate::sampler::Order;
use crate::stats::Counters;

/// What all epochs of a loader share.
pub(super) struct Plant<D, C> {
    pub(super) dataset: D,
    /// The length of the dataset, asked for once: a worker calls nothing of the user's but under `guarded`.
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
    pub(super) plant: Arc<Plant<D, C>>,
    pub(super) epoch: u64,
    pub(super) order: Order,
    /// How many batches the epoch has.
    pub(super) batches: usize,
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
    bench: Mutex<Bench<P>>,
}

/// The parts of an assembly that are done.
struct Bench<P> {
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
            bench: Mutex::new(Bench { missing: parts.len(), parts: Vec::with_capacity(parts.len()), failure: None }),
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
                let next = self.plant.collate.split_off(&mut rest, samples);
                parts.push((start..start + samples, std::mem::replace(&mut rest, next)));
                start += samples;
            }
            parts.push((start..positions.end, rest));
            Ok(parts)
        })
    }

    /// Makes one batch from beginning to end on the current thread.
    fn make_batch(&self, batch: usize) -> Result<C::Batch> {
        let positions = self.positions(batch);
        guarded("making the batch", || {
            let mut part = self.start(&positions);
            match self.fill(&mut part, positions.clone(), || usize::MAX) {
                Ok(()) => self.finish(batch, || part),
                Err((_, error)) => Err(error),
            }
        })
    }

    /// Makes the given batches on the current thread, as long as the epoch is wanted.
    pub(super) fn make_batches(&self, batches: Range<usize>) -> Finished<C::Batch> {
        let started = Instant::now();
        let first = batches.start;
        let mut results = Vec::with_capacity(batches.len());
        let mut samples = 0;
        for batch in batches.take_while(|_| !self.is_cancelled()) {
            let result = self.make_batch(batch);
            if result.is_ok() {
                samples += self.positions(batch).len();
            }
            results.push(result);
        }
        self.count(samples, started);
        Finished { first, results }
    }

    fn run_part(&self, assembly: &Assembly<C::Part>, mut part: C::Part, positions: Range<usize>) {
        let start = positions.start;
        let started = Instant::now();
        let filled = self.fill(&mut part, positions.clone(), || assembly.failed_at.load(Relaxed));
        if filled.is_ok() {
            self.count(positions.len(), started);
        }

        let mut bench = assembly.bench.lock().unwrap_or_else(PoisonError::into_inner);
        bench.missing -= 1;
        match filled {
            Ok(()) => bench.parts.push((start, part)),
            Err((position, error)) => {
                assembly.failed_at.fetch_min(position, Relaxed);
                if bench.failure.as_ref().is_none_or(|(earlier, _)| position < *earlier) {
                    bench.failure = Some((position, error));
                }
            }
        }
        if bench.missing > 0 || self.is_cancelled() {
            return;
        }
        let (parts, failure) = (std::mem::take(&mut bench.parts), bench.failure.take());
        drop(bench);
        let result = match failure {
            Some((_, error)) => Err(error),
            None => self.finish(assembly.batch, || self.unite(parts)),
        };
        self.deliver(Finished { first: assembly.batch, results: vec![result] });
    }

    fn unite(&self, mut parts: Vec<(usize, C::Part)>) -> C::Part {
        parts.sort_unstable_by_key(|(start, _)| *start);
        let mut parts = parts.into_iter().map(|(_, part)| part);
        let mut whole = parts.next().expect("a batch has at least one part");
        for part in parts {
            self.plant.collate.unite(&mut whole, part);
        }
        whole
    }

    /// The positions in the order that make up a batch.
    fn positions(&self, batch: usize) -> Range<usize> {
        let start = batch * self.plant.batch_size;
        start..(start + self.plant.batch_size).min(self.order.len())
    }

    fn start(&self, positions: &Range<usize>) -> C::Part {
        let plant = &*self.plant;
        plant.collate.start(BatchPlan { len: positions.len(), capacity: plant.batch_size, buffers: &plant.buffers })
    }

    /// Loads the samples at `positions` into `part`; an error comes with the position it happened at. Gives up before
    /// a sample behind `failed_at`, and when the epoch is cancelled: nobody then looks at the result.
    ///
    /// One `catch_unwind` serves all of them, since it costs more than a cheap sample; `current` remembers which one
    /// was being loaded. After a panic or an error the part is dropped, so nobody sees what it was left as.
    fn fill(
        &self,
        part: &mut C::Part,
        positions: Range<usize>,
        failed_at: impl Fn() -> usize,
    ) -> Result<(), (usize, Error)> {
        let Plant { dataset, len, collate, seed, .. } = &*self.plant;
        let current = Cell::new(positions.start);
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
            Ok(true)
        }));
        let error = match filled {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => Error::new(ErrorKind::Other, "given up"),
            Ok(Err(error)) => self.with_sample(error, current.get()),
            Err(panic) => self.with_sample(panicked("loading the sample", &*panic), current.get()),
        };
        Err((current.get(), error))
    }

    /// Adds what is known of the sample at `position`.
    #[cold]
    fn with_sample(&self, error: Error, position: usize) -> Error {
        let index = self.order.get(position);
        let error = error.with_index(index).with_worker(rayon::current_thread_index());
        if index >= self.plant.len {
            return error;
        }
        // The dataset has just failed; asking it for a path may fail as well.
        match guarded("the path", || Ok(self.plant.dataset.path(index))) {
            Ok(Some(path)) => error.with_path(path),
            _ => error,
        }
    }

    /// Turns a full part into the batch.
    fn finish(&self, batch: usize, whole: impl FnOnce() -> C::Part) -> Result<C::Batch> {
        guarded("collating the batch", || self.plant.collate.finish(whole())).map_err(|error| {
            let indices = self.positions(batch).map(|position| self.order.get(position)).collect();
            error.with_batch(indices).with_worker(rayon::current_thread_index())
        })
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    fn count(&self, samples: usize, started: Instant) {
        let elapsed = started.elapsed();
        let Plant { pace, counters, .. } = &*self.plant;
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
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(doing, &*panic)))
}

fn panicked(doing: &str, panic: &(dyn Any + Send)) -> Error {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message.as_str(),
        _ => "a value that is not text",
    };
    Error::new(ErrorKind::Panic, format!("{doing} panicked: {message}"))
}
