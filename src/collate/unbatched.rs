//! `Unbatched`: no batches, the samples themselves.

use super::Collate;
use crate::error::Result;
use crate::memory::BatchPlan;

/// The "batch" is the one sample, as it is: torch's `batch_size=None`.
///
/// Made by [`LoaderBuilder::unbatched`](crate::LoaderBuilder::unbatched).
#[derive(Clone, Copy, Debug)]
pub struct Unbatched(());

impl Unbatched {
    /// For the loader, which then makes batches of one sample.
    pub(crate) fn new() -> Self {
        Unbatched(())
    }
}

impl<S: Send> Collate<S> for Unbatched {
    type Batch = S;
    type Part = Option<S>;

    fn start(&self, _plan: BatchPlan<'_>) -> Option<S> {
        None
    }

    fn split_off(&self, _part: &mut Option<S>, _at: usize) -> Option<S> {
        None
    }

    fn push(&self, part: &mut Option<S>, sample: S) -> Result<()> {
        *part = Some(sample);
        Ok(())
    }

    fn rewind(&self, part: &mut Option<S>, _len: usize) -> Result<()> {
        *part = None;
        Ok(())
    }

    fn unite(&self, part: &mut Option<S>, next: Option<S>) {
        // A batch of one sample is not cut.
        *part = part.take().or(next);
    }

    fn finish(&self, part: Option<S>) -> Result<S> {
        Ok(part.expect("a batch has one sample"))
    }
}
