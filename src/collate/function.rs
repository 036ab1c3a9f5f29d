//! A plain function as a collate (torch's `collate_fn`).

use super::{Collate, Gathered};
use crate::error::Result;
use crate::memory::BatchPlan;

/// Collates with a function of all samples of the batch, in order: torch's `collate_fn`.
///
/// The function runs on the worker that completes the batch. See
/// [`LoaderBuilder::collate_fn`](crate::LoaderBuilder::collate_fn).
#[derive(Clone, Copy, Debug)]
pub struct CollateFn<F>(F);

impl<F> CollateFn<F> {
    /// A collate that calls `function`.
    pub fn new<S, B>(function: F) -> Self
    where
        F: Fn(Vec<S>) -> Result<B> + Send + Sync,
    {
        CollateFn(function)
    }
}

impl<S: Send, B: Send, F: Fn(Vec<S>) -> Result<B> + Send + Sync> Collate<S> for CollateFn<F> {
    type Batch = B;
    type Part = Gathered<S>;

    fn start(&self, plan: BatchPlan<'_>) -> Gathered<S> {
        Gathered::new(plan.len)
    }

    fn split_off(&self, part: &mut Gathered<S>, at: usize) -> Gathered<S> {
        part.split_off(at)
    }

    fn push(&self, part: &mut Gathered<S>, sample: S) -> Result<()> {
        part.push(sample);
        Ok(())
    }

    fn rewind(&self, part: &mut Gathered<S>, len: usize) -> Result<()> {
        part.rewind(len);
        Ok(())
    }

    fn unite(&self, part: &mut Gathered<S>, next: Gathered<S>) {
        part.unite(next);
    }

    fn finish(&self, part: Gathered<S>) -> Result<B> {
        (self.0)(part.into_samples())
    }
}
