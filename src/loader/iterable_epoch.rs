//! `IterableEpoch`: the consumer's end of an [`IterableLoader`](super::IterableLoader).

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::LoaderState;
use super::delivery::{Clock, Delivery, Taken};
use super::intake::Intake;
use super::mark::StreamMark;
use super::shared::Shared;
use super::watch::timed_out;
use crate::collate::Collate;
use crate::dataset::IterableDataset;
use crate::error::Result;

/// One pass over an iterable dataset: an iterator over its batches, made by
/// [`IterableLoader::epoch`](crate::IterableLoader::epoch).
///
/// An `Err` is one batch that could not be made; the iteration goes on behind it.
pub struct IterableEpoch<I: IterableDataset + 'static, C: Collate<I::Sample> + 'static> {
    pub(super) intake: Arc<Intake<I, C>>,
    pub(super) delivery: Delivery<C::Batch>,
    /// After the batch that was delivered last, but for the fingerprint of the data and the quarantine.
    pub(super) state: LoaderState,
    pub(super) fingerprint: Arc<OnceLock<u64>>,
    pub(super) timeout: Option<Duration>,
    /// `None` once somebody else keeps the consumer's time.
    pub(super) clock: Option<Clock>,
}

/// What came of waiting for a batch.
enum Outcome {
    Ready,
    /// There is none any more.
    Over,
    Late,
}

impl<I, C> IterableEpoch<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    /// The state between the batch that was delivered last and the next one, for
    /// [`IterableLoader::resume`](crate::IterableLoader::resume); this rank's.
    ///
    /// # Panics
    ///
    /// If the dataset does over its fingerprint.
    pub fn state(&self) -> LoaderState {
        self.mark().state()
    }

    /// Where it stands.
    pub(super) fn mark(&self) -> StreamMark<I, C> {
        let line = Arc::clone(&self.intake.line);
        let bad_samples = line.shared.bad_samples.count();
        StreamMark { line, state: self.state.clone(), fingerprint: Arc::clone(&self.fingerprint), bad_samples }
    }

    pub(super) fn pump(&self) {
        if self.intake.line.workers.is_some() {
            self.intake.pump();
        }
    }

    /// The next batch, or that it did not come in time; `None` at the end.
    fn take(&mut self) -> Option<Result<C::Batch>> {
        loop {
            match self.take_one() {
                Taken::Batch(result) => return Some(result),
                Taken::Nothing => {}
                Taken::Over => return None,
            }
        }
    }

    fn take_one(&mut self) -> Taken<C::Batch> {
        self.intake.asked();
        if !self.delivery.is_ready() {
            let waiting = Instant::now();
            let outcome = self.wait(waiting);
            if let Some(clock) = &self.clock {
                clock.waited(waiting);
            }
            match outcome {
                Outcome::Ready => {}
                Outcome::Over => return Taken::Over,
                Outcome::Late => {
                    let line = &self.intake.line;
                    return Taken::Batch(Err(timed_out(self.timeout, &line.shared.watch, |name| line.path(name), "")));
                }
            }
        }
        let (_, made) = self.delivery.pop().expect("the next batch is ready");
        if let Some(progress) = self.intake.deliver() {
            self.state.position = progress.records;
            self.state.progress = Some(progress);
        }
        let Shared { bad_samples, counters, .. } = &*self.intake.line.shared;
        let result = bad_samples.settle(made.result, made.bad, counters);
        self.pump();
        Taken::of(result)
    }

    fn wait(&mut self, from: Instant) -> Outcome {
        let deadline = self.timeout.and_then(|timeout| from.checked_add(timeout));
        while !self.delivery.is_ready() {
            if self.intake.is_over() {
                return Outcome::Over;
            }
            let finished = match &self.intake.line.workers {
                Some(workers) => self.delivery.wait(workers, deadline, || self.intake.help_out()),
                None => Some(self.intake.step()),
            };
            match finished {
                Some(finished) => self.delivery.put(finished),
                None => return Outcome::Late,
            }
            if !self.delivery.is_ready() && self.intake.stretch() {
                self.pump();
            }
        }
        Outcome::Ready
    }
}

impl<I, C> Iterator for IterableEpoch<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    type Item = Result<C::Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.take();
        if let Some(clock) = &mut self.clock {
            clock.returned(&result);
        }
        result
    }
}

impl<I: IterableDataset + 'static, C: Collate<I::Sample> + 'static> Drop for IterableEpoch<I, C> {
    fn drop(&mut self) {
        self.intake.line.cancel();
    }
}

impl<I: IterableDataset + 'static, C: Collate<I::Sample> + 'static> std::fmt::Debug for IterableEpoch<I, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IterableEpoch").field("state", &self.state).finish_non_exhaustive()
    }
}
