//! How a batch, or a part of one, is filled: with the samples, without those that are bad, or with others in their place.

use std::cell::Cell;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use super::OnError;
use super::bad::Bad;
use super::line::Line;
use super::shared::Shared;
use super::source::{Load, Source};
use super::watch::SampleName;
use crate::collate::Collate;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::{guarded, panicked};
use crate::memory::BatchPlan;
use crate::sync::catch_unwind;

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
    pub(super) fn start(&self, work: &S::Work) -> C::Part {
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
    pub(super) fn fill(
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
            let stands_in = usize::from(substitute.substitute.is_some());
            filled += stands_in;
            loaded.set(loaded.get() + stands_in);
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
        let Range { start, end } = slots;
        let (current, is_loaded) = (Cell::new(start), Cell::new(false));
        let is_watched = self.shared.watch.is_some() || self.shared.pace.has_costly_samples();
        let filled = catch_unwind(AssertUnwindSafe(|| match is_watched {
            true => self.load::<true>(part, work, (&current, &is_loaded), end, failed_at),
            false => self.load::<false>(part, work, (&current, &is_loaded), end, failed_at),
        }));
        let slot = current.get();
        loaded.set(loaded.get() + slot - start);
        let (is_bad, error) = match filled {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => (false, Error::new(ErrorKind::Other, "given up")),
            Ok(Err((is_bad, error))) => (is_bad, self.with_sample(error, work, slot)),
            Err(panic) => {
                let doing = if is_loaded.get() { PUTTING } else { LOADING };
                (true, self.with_sample(panicked(doing, panic), work, slot))
            }
        };
        // Where not even the order says which sample it is, none can be to blame.
        let is_bad = is_bad && error.index().is_some();
        Err(Stopped { slot, error, is_bad })
    }

    /// Loads the samples for the slots from `current` to `end`, and tells which one is there already and being put into the
    /// batch. False, if nobody needs the rest any more. An error comes with whether its sample is to blame.
    ///
    /// Who loads what and for how long is noted if it is `WATCHED`. Beside the cheapest samples, even asking would count.
    fn load<const WATCHED: bool>(
        &self,
        part: &mut C::Part,
        work: &S::Work,
        (current, is_loaded): (&Cell<usize>, &Cell<bool>),
        end: usize,
        failed_at: &impl Fn() -> usize,
    ) -> Result<bool, (bool, Error)> {
        let Shared { collate, watch, counters, .. } = &*self.shared;
        let samples = self.source.loads(work);
        for slot in current.get()..end {
            current.set(slot);
            if self.is_cancelled() || slot > failed_at() {
                return Ok(false);
            }
            let watch = watch.as_ref().filter(|_| WATCHED);
            let _watched = watch.map(|watch| watch.begin(self.source.name(work, slot), self.source.id(work)));
            let begun = WATCHED.then(Instant::now);
            is_loaded.set(false);
            let put = match samples.load(slot) {
                Ok(sample) => {
                    is_loaded.set(true);
                    collate.push(part, sample).map_err(|error| (is_of_sample(&error), error))
                }
                Err(error) => Err((is_of_load(&error), error)),
            };
            if let Some(begun) = begun {
                counters.slowest.note(begun.elapsed(), || self.source.name(work, slot).parts());
            }
            put?;
        }
        current.set(end);
        Ok(true)
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
        let candidates = guarded("the order", || {
            let shard = self.source.name(work, slot).shard;
            let samples = self.source.loads(work);
            let indices = samples.substitutes(slot).take(MOST);
            Ok(indices.map(|index| SampleName { shard, index }).collect::<Vec<_>>())
        });
        let candidates = match candidates {
            Ok(candidates) => candidates,
            Err(refused) => return Err(errors.swap_remove(0).within(&refused.cause().to_string())),
        };
        for name in candidates {
            if self.is_cancelled() {
                break;
            }
            let mut is_bad = true;
            let _watched = self.shared.watch.as_ref().map(|watch| watch.begin(name, self.source.id(work)));
            let begun = Instant::now();
            let sample = guarded(LOADING, || self.source.loads(work).load_instead(slot, name.index));
            let put = sample.inspect_err(|error| is_bad = is_of_load(error)).and_then(|sample| {
                guarded(PUTTING, || {
                    self.shared.collate.push(part, sample).inspect_err(|error| is_bad = is_of_sample(error))
                })
            });
            self.shared.counters.slowest.note(begun.elapsed(), || name.parts());
            match put {
                Ok(()) => return Ok(Bad { slot, errors, substitute: Some(name.index) }),
                Err(error) if is_bad => errors.push(self.named(error, name)),
                Err(error) => return Err(self.named(error, name)),
            }
            if let Err(refused) = self.rewind(part, filled) {
                return Err(errors.swap_remove(0).within(&refused.cause().to_string()));
            }
        }
        let tried = errors.len() - 1;
        Err(errors.swap_remove(0).within(&format!("none of {tried} others could be loaded in its place either")))
    }

    #[cold]
    fn rewind(&self, part: &mut C::Part, len: usize) -> Result<()> {
        guarded("leaving out a sample", || self.shared.collate.rewind(part, len))
    }

    /// Turns a full part into the batch; into none, if all its samples are left out.
    pub(super) fn finish(
        &self,
        work: &S::Work,
        bad: &[Bad],
        whole: impl FnOnce() -> C::Part,
    ) -> Option<Result<C::Batch>> {
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
                None => error.with_batch(names.iter().map(SampleName::parts)),
            }
        }))
    }
}

/// What may panic.
const LOADING: &str = "loading the sample";
const PUTTING: &str = "putting the sample into the batch";

/// Whether an error of loading says that the sample is bad, and not that the sampler gives what is not there, or that
/// the system has run out of something.
fn is_of_load(error: &Error) -> bool {
    error.kind() != ErrorKind::Sampler && !error.is_shortage()
}

/// Whether an error of a push says that the sample is bad, and not that it does not fit the others, or that the system has
/// run out of something.
fn is_of_sample(error: &Error) -> bool {
    error.kind() != ErrorKind::Collate && !error.is_shortage()
}
