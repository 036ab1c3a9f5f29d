//! A plain function as a collate (torch's `collate_fn`).

use super::{BatchPlan, Collate};
use crate::error::Result;

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
    type Part = Vec<S>;

    fn start(&self, plan: BatchPlan<'_>) -> Vec<S> {
        Vec::with_capacity(plan.len)
    }

    fn split_off(&self, part: &mut Vec<S>, at: usize) -> Vec<S> {
        let rest = part.capacity().saturating_sub(at);
        Vec::with_capacity(rest)
    }

    fn push(&self, part: &mut Vec<S>, sample: S) -> Result<()> {
        part.push(sample);
        Ok(())
    }

    fn unite(&self, part: &mut Vec<S>, mut next: Vec<S>) {
        part.append(&mut next);
    }

    fn finish(&self, part: Vec<S>) -> Result<B> {
        (self.0)(part)
    }
}
