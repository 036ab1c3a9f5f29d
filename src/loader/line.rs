//! What the workers do: the production line of one epoch.
//!
//! A job never waits: not on a channel, not on another job, and on locks only for as long as a push takes. So any
//! number of loaders can share a pool, and a slow sample takes one worker away from the others' batches and no more.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::WorkerPool;
use super::pace::{Job, Pace};
use super::watch::Watch;
use crate::collate::Collate;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BatchPlan, BufferPool};
use crate::rng::SampleRng;
use crate::sampler::{Batches, Run};
use crate::stats::Counters;

/// When a job of several batches counts as much longer than planned: ten times what it should take.
const OVERDUE: Duration = Duration::from_micros(500);

/// What all epochs of a loader share.
pub(super) struct Shared<D, C> {
    pub(super) dataset: D,
    /// The length of the dataset, asked for once.
    pub(super) len: usize,
    /// Its fingerprint, once somebody wants to know.
    pub(super) fingerprint: OnceLock<u64>,
    pub(super) collate: C,
    pub(super) seed: u64,
    pub(super) pace: Pace,
    pub(super) buffers: BufferPool,
    pub(super) counters: Counters,
    /// Who is loading what, where somebody may ask for it.
    pub(super) watch: Option<Watch>,
}

/// One epoch, as its jobs see it.
pub(super) struct Line<D: Dataset, C: Collate<D::Sample>> {
    pub(super) shared: Arc<Shared<D, C>>,
    pub(super) epoch: u64,
    pub(super) batches: Batches,
    /// How many samples the largest batch has: what buffers are sized for.
    pub(super) capacity: usize,
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
    run: Run,
    /// The lowest slot at which a sample failed so far. Samples behind it need not be loaded any more; those before it
    /// are, so that the error reported is the one a single thread would have met.
    failed_at: AtomicUsize,
    arrived: Mutex<Arrived<P>>,
}

/// The parts of an assembly that are done.
struct Arrived<P> {
    missing: usize,
    /// By their first slot, as they come in.
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
        let run = self.batches.run(batch);
        let parts = match self.cut(&run, samples) {
            Ok(parts) => parts,
            Err(error) => return self.deliver(Finished { first: batch, results: vec![Err(error)] }),
        };
        let assembly = Arc::new(Assembly {
            batch,
            run,
            failed_at: AtomicUsize::new(usize::MAX),
            arrived: Mutex::new(Arrived {
                missing: parts.len(),
                parts: Vec::with_capacity(parts.len()),
                failure: None,
            }),
        });
        for (slots, part) in parts {
            let (line, assembly) = (Arc::clone(self), Arc::clone(&assembly));
            workers.spawn(move || line.run_part(&assembly, part, slots));
        }
    }

    /// Starts a batch and cuts it into parts of `samples` samples.
    fn cut(&self, run: &Run, samples: usize) -> Result<Vec<(Range<usize>, C::Part)>> {
        guarded("starting the batch", || {
            let mut rest = self.start(run);
            let mut parts = Vec::with_capacity(run.len.div_ceil(samples));
            let mut start = 0;
            while run.len - start > samples {
                let next = self.shared.collate.split_off(&mut rest, samples);
                parts.push((start..start + samples, std::mem::replace(&mut rest, next)));
                start += samples;
            }
            parts.push((start..run.len, rest));
            Ok(parts)
        })
    }

    /// Makes one batch from beginning to end on the current thread; `loaded` counts its samples.
    fn make_batch(&self, batch: usize, loaded: &Cell<usize>) -> Result<C::Batch> {
        let run = self.batches.run(batch);
        guarded("making the batch", || {
            let mut part = self.start(&run);
            match self.fill(&mut part, &run, 0..run.len, || usize::MAX, loaded) {
                Ok(()) => self.finish(&run, || part),
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

    fn run_part(&self, assembly: &Assembly<C::Part>, mut part: C::Part, slots: Range<usize>) {
        let started = Instant::now();
        let start = slots.start;
        let loaded = Cell::new(0);
        let failed_at = || assembly.failed_at.load(Relaxed);
        let filled = match self.fill(&mut part, &assembly.run, slots, failed_at, &loaded) {
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
            Err((slot, error)) => {
                assembly.failed_at.fetch_min(slot, Relaxed);
                match &arrived.failure {
                    Some((earlier, _)) if *earlier < slot => Some((slot, error)),
                    _ => arrived.failure.replace((slot, error)),
                }
            }
        };
        let is_last = arrived.missing == 0 && !self.is_cancelled();
        let all = is_last.then(|| (std::mem::take(&mut arrived.parts), arrived.failure.take()));
        drop(arrived);

        discard(late);
        let result = all.map(|(parts, failure)| match failure {
            None => self.finish(&assembly.run, || self.unite(parts)),
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

    fn start(&self, run: &Run) -> C::Part {
        let shared = &*self.shared;
        shared.collate.start(BatchPlan { len: run.len, capacity: self.capacity, buffers: &shared.buffers, field: 0 })
    }

    /// Loads the samples of `slots` into `part`; an error comes with the slot it happened at. Gives up before a sample
    /// behind `failed_at`, and when the epoch is cancelled: nobody then looks at the result.
    ///
    /// One `catch_unwind` serves all of them, since it costs more than a cheap sample; `current` remembers which one
    /// was being loaded, and `loaded` is raised by how many were. After a panic or an error the part is dropped, so
    /// nobody sees what it was left as.
    fn fill(
        &self,
        part: &mut C::Part,
        run: &Run,
        slots: Range<usize>,
        failed_at: impl Fn() -> usize,
        loaded: &Cell<usize>,
    ) -> Result<(), (usize, Error)> {
        let Shared { dataset, len, collate, seed, watch, .. } = &*self.shared;
        let (start, end) = (slots.start, slots.end);
        let current = Cell::new(start);
        let filled = catch_unwind(AssertUnwindSafe(|| {
            for slot in slots {
                current.set(slot);
                if self.is_cancelled() || slot > failed_at() {
                    return Ok(false);
                }
                let place = run.place(slot);
                let index = self.batches.index_at(place);
                if index >= *len {
                    return Err(Error::new(
                        ErrorKind::Sampler,
                        format!("the sampler gave index {index}, but the dataset has {len} samples"),
                    ));
                }
                let _watched = watch.as_ref().map(|watch| watch.begin(index));
                match dataset.get(index, &mut SampleRng::new(*seed, self.epoch, place)) {
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
            Ok(Err(error)) => self.with_sample(error, run, current.get()),
            Err(panic) => self.with_sample(panicked("loading the sample", panic), run, current.get()),
        };
        Err((current.get(), error))
    }

    /// Adds what is known of the sample in `slot`.
    #[cold]
    fn with_sample(&self, error: Error, run: &Run, slot: usize) -> Error {
        let index = self.batches.index_at(run.place(slot));
        let error = error.with_index(index).with_worker(self.worker());
        match self.path(index) {
            Some(path) => error.with_path(path),
            None => error,
        }
    }

    /// The path of a sample, as far as the dataset knows it. It has just failed, or is stuck; asking it for a path may
    /// fail as well.
    pub(super) fn path(&self, index: usize) -> Option<PathBuf> {
        let known = index < self.shared.len;
        known.then(|| guarded("the path", || Ok(self.shared.dataset.path(index))).ok().flatten()).flatten()
    }

    /// Turns a full part into the batch.
    fn finish(&self, run: &Run, whole: impl FnOnce() -> C::Part) -> Result<C::Batch> {
        guarded("collating the batch", || self.shared.collate.finish(whole())).map_err(|error| {
            let indices = (0..run.len).map(|slot| self.batches.index_at(run.place(slot))).collect();
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
