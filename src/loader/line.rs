//! What the workers do: the production line of one epoch.
//!
//! A job never waits: not on a channel, not on another job, and on locks only for as long as a push takes. So any
//! number of loaders can share a pool, and a slow sample takes one worker away from the others' batches and no more.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::bad::{Bad, BadSamples, Made};
use super::lot::{Lot, Relief};
use super::pace::Pace;
use super::tuner::Tuning;
use super::watch::{SampleName, Watch};
use super::{OnError, WorkerPool};
use crate::collate::Collate;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BatchPlan, BufferPool};
use crate::rng::SampleRng;
use crate::stats::{Counters, Shift, Slow, SlowSample, Stats};
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::channel::Sender;
use crate::sync::{self, Mutex, MutexGuard, catch_unwind};

/// Where the samples of an epoch come from.
pub(super) trait Source: Send + Sync + 'static {
    /// What a sample is.
    type Sample: Send;
    /// What it takes to make one batch.
    type Work: Send + Sync + 'static;

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

    /// Which samples may stand in for that of a slot, drawn one after another; none if there are no others to be had.
    fn substitutes(&self, slot: usize) -> impl Iterator<Item = usize>;

    /// Loads a sample to stand in for that of a slot.
    fn load_instead(&self, slot: usize, index: usize) -> Result<Self::Sample>;
}

/// What all epochs of a loader share, wherever samples come from.
pub(super) struct Shared<C> {
    pub(super) collate: C,
    pub(super) pace: Pace,
    pub(super) buffers: BufferPool,
    /// Shared with whoever counts in the consumer's place.
    pub(super) counters: Arc<Counters>,
    /// Who finds out how many workers there should be, where nobody has said.
    pub(super) tuning: Option<Arc<Tuning>>,
    pub(super) bad_samples: BadSamples,
    /// Who is loading what, where somebody may ask for it.
    pub(super) watch: Option<Watch>,
}

impl<C> Shared<C> {
    /// What the loader has done; `path` tells where a sample comes from.
    pub(super) fn stats(&self, num_workers: usize, path: impl Fn(SampleName) -> Option<PathBuf>) -> Stats {
        let named = |Slow { shard, index, time }| {
            let path = guarded("the path", || Ok(path(SampleName { shard, index }))).ok().flatten();
            SlowSample { index, shard, path, time }
        };
        Stats {
            num_workers,
            bad_samples: self.bad_samples.quarantine().len() as u64,
            slowest: self.counters.slowest.samples().into_iter().map(named).collect(),
            ..self.counters.report(&self.buffers)
        }
    }
}

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
    /// Where finished batches go. It has room for every batch in flight, so sending never waits.
    pub(super) finished: Sender<Finished<C::Batch>>,
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
    fn failed(batch: usize, error: Error) -> Self {
        Finished { first: batch, made: vec![Err(error).into()] }
    }

    /// Nothing, which wakes whoever waits.
    pub(super) fn nothing(first: usize) -> Self {
        Finished { first, made: Vec::new() }
    }
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
    /// The samples that the parts go on without.
    bad: Vec<Bad>,
    failure: Option<(usize, Error)>,
}

/// Why a part cannot be filled any further: which sample stopped it, and the error.
struct Stopped {
    slot: usize,
    error: Error,
    /// Whether that sample is to blame, and nothing else.
    is_bad: bool,
}

impl<S, C> Line<S, C>
where
    S: Source,
    C: Collate<S::Sample> + 'static,
{
    /// Has a batch made in parts of `samples` samples.
    pub(super) fn queue_parts(self: &Arc<Self>, batch: usize, work: S::Work, samples: usize) {
        let parts = match self.cut(&work, samples) {
            Ok(parts) => parts,
            Err(error) => return self.deliver(Finished::failed(batch, self.with_batch(error, &work))),
        };
        let assembly = sync::Arc::new(Assembly {
            batch,
            work,
            is_lost: AtomicBool::new(false),
            failed_at: AtomicUsize::new(usize::MAX),
            arrived: Mutex::new(Arrived {
                missing: parts.len(),
                parts: Vec::with_capacity(parts.len()),
                bad: Vec::new(),
                failure: None,
            }),
        });
        for (slots, part) in parts {
            let (line, assembly) = (Arc::clone(self), sync::Arc::clone(&assembly));
            self.spawn(move || {
                let run = guarded("making a part of the batch", || {
                    line.run_part(&assembly, part, slots);
                    Ok(())
                });
                // What calls the user is guarded by itself. But whatever else it may be: the consumer must hear of it.
                if let Err(error) = run
                    && !assembly.is_lost.swap(true, Relaxed)
                {
                    line.deliver(Finished::failed(assembly.batch, error));
                }
            });
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

    /// Takes over what workers have in hand that are held up, by a sample that takes long or never ends.
    pub(super) fn help_out(self: &Arc<Self>) {
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

    fn run_part(&self, assembly: &Assembly<S::Work, C::Part>, mut part: C::Part, slots: Range<usize>) {
        let shift = Shift::start();
        let start = slots.start;
        let loaded = Cell::new(0);
        let failed_at = || assembly.failed_at.load(Relaxed);
        let mut bad = Vec::new();
        let filled = match self.fill(&mut part, &assembly.work, slots, failed_at, &mut bad, &loaded) {
            Ok(()) => Ok(part),
            Err(failure) => {
                // Before anybody hears of the failure, so that the batch's buffers are back by then.
                discard(part);
                Err(failure)
            }
        };

        let mut arrived = assembly.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.missing -= 1;
        arrived.bad.append(&mut bad);
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
        let all = is_last.then(|| {
            let Arrived { parts, bad, failure, .. } = &mut *arrived;
            (std::mem::take(parts), std::mem::take(bad), failure.take())
        });
        drop(arrived);

        discard(late);
        let made = all.map(|(parts, mut bad, failure)| {
            bad.sort_unstable_by_key(|bad| bad.slot);
            let result = match failure {
                None => self.finish(&assembly.work, &bad, || self.unite(parts)),
                Some((slot, error)) => {
                    discard(parts);
                    // Those behind it may have been met or not.
                    bad.retain(|bad| bad.slot < slot);
                    Some(Err(error))
                }
            };
            Made { result, bad }
        });
        self.count(loaded.get(), shift);
        if let Some(made) = made {
            self.deliver(Finished { first: assembly.batch, made: vec![made] });
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
    /// behind `failed_at`, and when the epoch is cancelled: nobody then looks at the result. After an error the part is
    /// dropped, so nobody sees what it was left as.
    ///
    /// Samples that the part goes on without, because it is told to, are put down in `bad`, and `loaded` is raised by how
    /// many were loaded.
    fn fill(
        &self,
        part: &mut C::Part,
        work: &S::Work,
        slots: Range<usize>,
        failed_at: impl Fn() -> usize,
        bad: &mut Vec<Bad>,
        loaded: &Cell<usize>,
    ) -> Result<(), (usize, Error)> {
        let Range { mut start, end } = slots;
        let mut filled = 0;
        loop {
            let Stopped { slot, error, is_bad } = match self.fill_on(part, work, start..end, &failed_at, loaded) {
                Ok(()) => return Ok(()),
                Err(stopped) => stopped,
            };
            filled += slot - start;
            let on_error = self.shared.bad_samples.on_error;
            if !is_bad || on_error == OnError::Fail {
                return Err((slot, error));
            }
            if let Err(refused) = self.rewind(part, filled) {
                return Err((slot, error.within(&refused.cause().to_string())));
            }
            let substitute = match on_error {
                OnError::Substitute => {
                    self.substitute(part, work, slot, filled, error).map_err(|error| (slot, error))?
                }
                _ => Bad { slot, errors: vec![error], substitute: None },
            };
            filled += usize::from(substitute.substitute.is_some());
            bad.push(substitute);
            start = slot + 1;
        }
    }

    /// As [`fill`](Line::fill), up to the first sample that cannot be loaded.
    ///
    /// One `catch_unwind` serves all of them, since it costs more than a cheap sample; `current` remembers which one
    /// was being loaded.
    fn fill_on(
        &self,
        part: &mut C::Part,
        work: &S::Work,
        slots: Range<usize>,
        failed_at: &impl Fn() -> usize,
        loaded: &Cell<usize>,
    ) -> Result<(), Stopped> {
        let Shared { collate, watch, counters, pace, .. } = &*self.shared;
        let is_timed = pace.has_costly_samples();
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
                let begun = is_timed.then(Instant::now);
                match samples.load(slot) {
                    Ok(sample) => collate.push(part, sample).map_err(|error| (is_of_sample(&error), error))?,
                    Err(error) => return Err((!error.is_shortage(), error)),
                }
                if let Some(begun) = begun {
                    counters.slowest.note(begun.elapsed(), || {
                        let SampleName { shard, index } = self.source.name(work, slot);
                        (shard, index)
                    });
                }
            }
            current.set(end);
            Ok(true)
        }));
        loaded.set(loaded.get() + current.get() - start);
        let slot = current.get();
        let (is_bad, error) = match filled {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => (false, Error::new(ErrorKind::Other, "given up")),
            Ok(Err((is_bad, error))) => (is_bad, self.with_sample(error, work, slot)),
            Err(panic) => (true, self.with_sample(panicked("loading the sample", panic), work, slot)),
        };
        Err(Stopped { slot, error, is_bad })
    }

    /// Puts another sample in the place of that for `slot`, which failed with `error`.
    #[cold]
    fn substitute(
        &self,
        part: &mut C::Part,
        work: &S::Work,
        slot: usize,
        filled: usize,
        error: Error,
    ) -> Result<Bad, Error> {
        const MOST: usize = 16;
        let mut errors = vec![error];
        let candidates: Vec<SampleName> = guarded("the order", || {
            let shard = self.source.name(work, slot).shard;
            let samples = self.source.loads(work);
            let indices = samples.substitutes(slot).take(MOST);
            Ok(indices.map(|index| SampleName { shard, index }).collect())
        })?;
        for name in candidates {
            if self.is_cancelled() {
                break;
            }
            let mut is_bad = true;
            let put = guarded("loading the sample", || {
                let _watched = self.shared.watch.as_ref().map(|watch| watch.begin(name));
                let sample = self.source.loads(work).load_instead(slot, name.index);
                let sample = sample.inspect_err(|error| is_bad = !error.is_shortage())?;
                self.shared.collate.push(part, sample).inspect_err(|error| is_bad = is_of_sample(error))
            });
            match put {
                Ok(()) => return Ok(Bad { slot, errors, substitute: Some(name.index) }),
                Err(error) if is_bad => errors.push(self.named(error, name)),
                Err(error) => return Err(self.named(error, name)),
            }
            self.rewind(part, filled)?;
        }
        let tried = errors.len() - 1;
        Err(errors.swap_remove(0).within(&format!("nor could {tried} others be loaded in its place")))
    }

    #[cold]
    fn rewind(&self, part: &mut C::Part, len: usize) -> Result<()> {
        guarded("leaving out a sample", || self.shared.collate.rewind(part, len))
    }

    /// Adds what is known of the sample in `slot`.
    #[cold]
    fn with_sample(&self, error: Error, work: &S::Work, slot: usize) -> Error {
        let error = error.with_worker(self.worker());
        // The order may be the user's.
        let Ok(name) = guarded("the order", || Ok(self.source.name(work, slot))) else { return error };
        // What counts the samples that are there does not count slots.
        let counts_slots = self.shared.bad_samples.on_error == OnError::Fail;
        let rival = error.rival().filter(|&rival| counts_slots && rival < self.source.len(work));
        let rival = rival.and_then(|rival| guarded("the order", || Ok(self.source.name(work, rival))).ok());
        let error = match rival {
            Some(rival) => error.name_rival(self.source.len(work), rival),
            None => error,
        };
        self.named(error, name)
    }

    /// Adds the name of the sample concerned.
    fn named(&self, error: Error, name: SampleName) -> Error {
        let error = error.with_worker(self.worker()).with_index(name.index).with_shard(name.shard);
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

    /// Turns a full part into the batch; into none, if all its samples are left out.
    fn finish(&self, work: &S::Work, bad: &[Bad], whole: impl FnOnce() -> C::Part) -> Option<Result<C::Batch>> {
        if bad.iter().filter(|bad| bad.is_left_out()).count() == self.source.len(work) {
            return None;
        }
        let finished = guarded("collating the batch", || self.shared.collate.finish(whole()));
        if finished.is_ok() {
            self.shared.pace.finished();
        }
        Some(finished.map_err(|error| {
            let error = error.with_worker(self.worker());
            // The order may be the user's.
            let Ok(names) = guarded("the order", || Ok(self.names(work, bad))) else { return error };
            match error.slot().and_then(|slot| names.get(slot)) {
                Some(&name) => {
                    let rival = error.rival().and_then(|rival| names.get(rival));
                    let error = match rival {
                        Some(rival) => error.name_rival(names.len(), rival),
                        None => error,
                    };
                    self.named(error, name)
                }
                None => error.with_batch(names.iter().map(|name| name.index).collect()),
            }
        }))
    }

    /// Adds the names of a batch's samples.
    #[cold]
    fn with_batch(&self, error: Error, work: &S::Work) -> Error {
        let names = guarded("the order", || Ok(self.names(work, &[])));
        let indices = names.unwrap_or_default().iter().map(|name| name.index).collect();
        error.with_batch(indices).with_worker(self.worker())
    }

    /// The samples of a batch, as it was made.
    fn names(&self, work: &S::Work, bad: &[Bad]) -> Vec<SampleName> {
        let name = |slot| {
            let name = self.source.name(work, slot);
            match bad.iter().find(|bad| bad.slot == slot) {
                Some(bad) => bad.substitute.map(|index| SampleName { index, ..name }),
                None => Some(name),
            }
        };
        (0..self.source.len(work)).filter_map(name).collect()
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
        self.cancelled.store(true, Relaxed);
        // Where there is no room, there is something to wake up for.
        let _ = self.finished.try_send(Finished::nothing(0));
    }

    pub(super) fn deliver(&self, finished: Finished<C::Batch>) {
        self.made.fetch_add(finished.made.len(), Relaxed);
        // Nobody listens any more after the epoch was dropped; the batches then return their buffers here.
        if let Err(unsent) = self.finished.send(finished) {
            discard(unsent);
        }
    }
}

/// Whether an error of a push says that the sample is bad, and not that it does not fit the others, or that the system has
/// run out of something.
fn is_of_sample(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Collate | ErrorKind::Limit) && !error.is_shortage()
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
