//! A batch that several workers fill, each a part of it: whoever is last unites the parts and delivers.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use super::bad::{Bad, Made};
use super::line::{Finished, Line};
use super::source::Source;
use crate::collate::Collate;
use crate::error::{Error, Result};
use crate::guard::{discard, guarded};
use crate::stats::Shift;
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::{self, Mutex};

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
                    let error = line.with_batch(error, &assembly.work);
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
}
