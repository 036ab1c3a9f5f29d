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
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;

use super::pace::Pace;
use super::watch::{SampleName, Watch};
use crate::collate::Collate;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BatchPlan, BufferPool};
use crate::rng::SampleRng;
use crate::stats::{Counters, Shift};

/// Where the samples of an epoch come from.
pub(super) trait Source: Send + Sync + 'static {
    /// What a sample is.
    type Sample: Send;
    /// What it takes to make one batch.
    type Work: Send + Sync;

    /// How many samples the batch has: at least one.
    fn len(&self, work: &Self::Work) -> usize;

    /// How many samples the batches have that can share buffers with it: at least as many.
    fn capacity(&self, work: &Self::Work) -> usize;

    /// The batch's own generator.
    fn rng(&self, work: &Self::Work) -> SampleRng;

    /// What loads the samples of a batch.
    fn loads<'a>(&'a self, work: &'a Self::Work) -> impl Load<Sample = Self::Sample>;

    /// What the sample for a slot is called.
    fn name(&self, work: &Self::Work, slot: usize) -> SampleName;

    /// The path of the file that a sample comes from.
    fn path(&self, name: SampleName) -> Option<PathBuf>;
}

/// Loads the samples of one batch. Made once for many of them, so that what they have in common is looked up before the
/// loop; and no closure, because one of this size is called and not inlined, which costs as much as a cheap sample.
pub(super) trait Load {
    type Sample;

    /// Loads the sample for a slot of the batch; each slot once.
    fn load(&self, slot: usize) -> Result<Self::Sample>;
}

/// What all epochs of a loader share, wherever samples come from.
pub(super) struct Shared<C> {
    pub(super) collate: C,
    pub(super) pace: Pace,
    pub(super) buffers: BufferPool,
    /// Shared with whoever counts in the consumer's place.
    pub(super) counters: Arc<Counters>,
    /// Who is loading what, where somebody may ask for it.
    pub(super) watch: Option<Watch>,
}

/// One epoch, as its jobs see it.
pub(super) struct Line<S: Source, C: Collate<S::Sample>> {
    pub(super) source: S,
    pub(super) shared: Arc<Shared<C>>,
    /// Whether worker threads make them, or the consumer's own.
    pub(super) has_workers: bool,
    /// Set when nobody wants the batches any more. Relaxed suffices: a job that sees it late only does work in vain.
    pub(super) cancelled: AtomicBool,
    /// How many batches were finished, or have failed.
    pub(super) made: AtomicUsize,
    /// Where finished batches go. It has room for every batch in flight, so sending never waits.
    pub(super) finished: Sender<Finished<C::Batch>>,
}

/// Consecutive batches, ready for delivery.
pub(super) struct Finished<B> {
    pub(super) first: usize,
    pub(super) results: Vec<Result<B>>,
}

/// A batch that several jobs fill.
struct Assembly<W, P> {
    batch: usize,
    work: W,
    /// Whether a part was lost to a panic, and that was reported: the others cannot complete the batch any more.
    is_lost: AtomicBool,
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

impl<S, C> Line<S, C>
where
    S: Source,
    C: Collate<S::Sample> + 'static,
{
    /// Has a batch made in parts of `samples` samples, each queued by `spawn`.
    pub(super) fn queue_parts(
        self: &Arc<Self>,
        batch: usize,
        work: S::Work,
        samples: usize,
        spawn: &dyn Fn(Box<dyn FnOnce() + Send>),
    ) {
        let parts = match self.cut(&work, samples) {
            Ok(parts) => parts,
            Err(error) => return self.deliver(Finished { first: batch, results: vec![Err(error)] }),
        };
        let assembly = Arc::new(Assembly {
            batch,
            work,
            is_lost: AtomicBool::new(false),
            failed_at: AtomicUsize::new(usize::MAX),
            arrived: Mutex::new(Arrived {
                missing: parts.len(),
                parts: Vec::with_capacity(parts.len()),
                failure: None,
            }),
        });
        for (slots, part) in parts {
            let (line, assembly) = (Arc::clone(self), Arc::clone(&assembly));
            spawn(Box::new(move || {
                let run = guarded("making a part of the batch", || {
                    line.run_part(&assembly, part, slots);
                    Ok(())
                });
                // What calls the user is guarded by itself. But whatever else it may be: the consumer must hear of it.
                if let Err(error) = run
                    && !assembly.is_lost.swap(true, Relaxed)
                {
                    line.deliver(Finished { first: assembly.batch, results: vec![Err(error)] });
                }
            }));
        }
    }

    /// Starts a batch and cuts it into parts of `samples` samples.
    fn cut(&self, work: &S::Work, samples: usize) -> Result<Vec<(Range<usize>, C::Part)>> {
        let len = self.source.len(work);
        guarded("starting the batch", || {
            let mut rest = self.start(work);
            let mut parts = Vec::with_capacity(len.div_ceil(samples));
            let mut start = 0;
            while len - start > samples {
                let next = self.shared.collate.split_off(&mut rest, samples);
                parts.push((start..start + samples, std::mem::replace(&mut rest, next)));
                start += samples;
            }
            parts.push((start..len, rest));
            Ok(parts)
        })
    }

    /// Makes one batch from beginning to end on the current thread; `loaded` counts its samples.
    pub(super) fn make_batch(&self, work: &S::Work, loaded: &Cell<usize>) -> Result<C::Batch> {
        let len = self.source.len(work);
        guarded("making the batch", || {
            let mut part = self.start(work);
            match self.fill(&mut part, work, 0..len, || usize::MAX, loaded) {
                Ok(()) => self.finish(work, || part),
                Err((_, error)) => Err(error),
            }
        })
    }

    fn run_part(&self, assembly: &Assembly<S::Work, C::Part>, mut part: C::Part, slots: Range<usize>) {
        let shift = Shift::start();
        let start = slots.start;
        let loaded = Cell::new(0);
        let failed_at = || assembly.failed_at.load(Relaxed);
        let filled = match self.fill(&mut part, &assembly.work, slots, failed_at, &loaded) {
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
            None => self.finish(&assembly.work, || self.unite(parts)),
            Some((_, error)) => {
                discard(parts);
                Err(error)
            }
        });
        self.count(loaded.get(), shift);
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

    fn start(&self, work: &S::Work) -> C::Part {
        let (len, capacity) = (self.source.len(work), self.source.capacity(work));
        let shared = &*self.shared;
        let rng = &self.source.rng(work);
        shared.collate.start(BatchPlan { len, capacity, buffers: &shared.buffers, field: 0, rng })
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
        work: &S::Work,
        slots: Range<usize>,
        failed_at: impl Fn() -> usize,
        loaded: &Cell<usize>,
    ) -> Result<(), (usize, Error)> {
        let Shared { collate, watch, .. } = &*self.shared;
        let (start, end) = (slots.start, slots.end);
        let current = Cell::new(start);
        let filled = catch_unwind(AssertUnwindSafe(|| {
            let samples = self.source.loads(work);
            for slot in slots {
                current.set(slot);
                if self.is_cancelled() || slot > failed_at() {
                    return Ok(false);
                }
                let _watched = watch.as_ref().map(|watch| watch.begin(self.source.name(work, slot)));
                match samples.load(slot) {
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
            Ok(Err(error)) => self.with_sample(error, work, current.get()),
            Err(panic) => self.with_sample(panicked("loading the sample", panic), work, current.get()),
        };
        Err((current.get(), error))
    }

    /// Adds what is known of the sample in `slot`.
    #[cold]
    fn with_sample(&self, error: Error, work: &S::Work, slot: usize) -> Error {
        let error = error.with_worker(self.worker());
        // The order may be the user's.
        let Ok(name) = guarded("the order", || Ok(self.source.name(work, slot))) else { return error };
        let rival = error.rival().filter(|&rival| rival < self.source.len(work));
        let rival = rival.and_then(|rival| guarded("the order", || Ok(self.source.name(work, rival))).ok());
        let error = match rival {
            Some(rival) => error.name_rival(self.source.len(work), rival),
            None => error,
        };
        let error = error.with_index(name.index).with_shard(name.shard);
        match self.path(name) {
            Some(path) => error.with_path(path),
            None => error,
        }
    }

    /// The path of a sample, as far as the dataset knows it. It has just failed, or is stuck; asking it for a path may
    /// fail as well.
    pub(super) fn path(&self, name: SampleName) -> Option<PathBuf> {
        guarded("the path", || Ok(self.source.path(name))).ok().flatten()
    }

    /// Turns a full part into the batch.
    fn finish(&self, work: &S::Work, whole: impl FnOnce() -> C::Part) -> Result<C::Batch> {
        let finished = guarded("collating the batch", || self.shared.collate.finish(whole()));
        if finished.is_ok() {
            self.shared.pace.finished();
        }
        finished.map_err(|error| {
            let len = self.source.len(work);
            if let Some(slot) = error.slot().filter(|&slot| slot < len) {
                return self.with_sample(error, work, slot);
            }
            let indices =
                guarded("the order", || Ok((0..len).map(|slot| self.source.name(work, slot).index).collect()));
            error.with_batch(indices.unwrap_or_default()).with_worker(self.worker())
        })
    }

    /// The number of the current thread among the workers.
    fn worker(&self) -> Option<usize> {
        rayon::current_thread_index().filter(|_| self.has_workers)
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
        self.cancelled.store(true, Relaxed);
        // Where there is no room, there is something to wake up for.
        let _ = self.finished.try_send(Finished { first: 0, results: Vec::new() });
    }

    pub(super) fn deliver(&self, finished: Finished<C::Batch>) {
        self.made.fetch_add(finished.results.len(), Relaxed);
        // Nobody listens any more after the epoch was dropped; the batches then return their buffers here.
        let _ = self.finished.send(finished);
    }
}

/// Runs user code; a panic becomes an error that says what panicked, and with which message.
pub(crate) fn guarded<T>(doing: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(doing, panic)))
}

/// Drops what may be the user's, and may panic at it.
pub(super) fn discard<T>(value: T) {
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
