//! `Unbatched`: no batches, the samples themselves.

use super::Collate;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::BatchPlan;

/// The "batch" is the one sample, as it is: torch's `batch_size=None`.
///
/// Made by [`LoaderBuilder::unbatched`](crate::LoaderBuilder::unbatched).
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbatched;

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
        match part.replace(sample) {
            None => Ok(()),
            Some(_) => Err(several()),
        }
    }

    fn unite(&self, part: &mut Option<S>, next: Option<S>) {
        // More than one is an error in `push`, within a part; parts of one sample each meet here, and `finish` then finds
        // nothing.
        *part = part.take().xor(next);
    }

    fn finish(&self, part: Option<S>) -> Result<S> {
        part.ok_or_else(several)
    }
}

fn several() -> Error {
    Error::new(ErrorKind::Collate, "Unbatched is for batches of one sample: use LoaderBuilder::unbatched()")
}
