//! A plain function as a collate (torch's `collate_fn`).

use super::Collate;
use crate::error::Result;
use crate::memory::BatchPlan;

/// Collates with a function of all samples of the batch, in order: torch's `collate_fn`.
///
/// The function runs on the worker that completes the batch. See
/// [`LoaderBuilder::collate_fn`](crate::LoaderBuilder::collate_fn).
#[derive(Clone, Copy, Debug)]
pub struct CollateFn<F>(F);

/// The samples of a part, gathered for the function.
#[derive(Debug)]
pub struct Gathered<S> {
    samples: Vec<S>,
    /// How many there will be. Room is made for them when the first one comes.
    len: usize,
}

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
        Gathered { samples: Vec::new(), len: plan.len }
    }

    fn split_off(&self, part: &mut Gathered<S>, at: usize) -> Gathered<S> {
        let rest = part.len - at;
        part.len = at;
        Gathered { samples: Vec::new(), len: rest }
    }

    fn push(&self, part: &mut Gathered<S>, sample: S) -> Result<()> {
        if part.samples.capacity() == 0 {
            part.samples.reserve_exact(part.len);
        }
        part.samples.push(sample);
        Ok(())
    }

    fn unite(&self, part: &mut Gathered<S>, mut next: Gathered<S>) {
        part.samples.append(&mut next.samples);
        part.len += next.len;
    }

    fn finish(&self, part: Gathered<S>) -> Result<B> {
        (self.0)(part.samples)
    }
}
