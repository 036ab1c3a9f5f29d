//! torchvision's `MixUp`.

use super::mixing::{MixPart, with_neighbours};
use super::{Collate, Stackable};
use crate::error::Result;
use crate::memory::{BatchPlan, HostTensor};

/// Mixes each sample of a batch with the one before it, and their labels alike (`torchvision.transforms.v2.MixUp`; Zhang
/// and others, "mixup: Beyond Empirical Risk Minimization", 2018).
///
/// Of samples `(x, label)`, x being an `ImageTensor<f32>` or anything else [`Stackable`] of `f32`, and the label an `i64`
/// below `num_classes`, the batch is
///
/// * `x[i - 1] * (1 - lam) + x[i] * lam`, the first sample with the last, a [`HostTensor`] of shape `[N, …]`,
/// * the same of the labels as rows with a 1 at the label, of shape `[N, num_classes]`.
///
/// One `lam` a batch, from the distribution Beta(alpha, alpha). It depends on seed, epoch and the place of the batch's first
/// sample in the epoch's order, and not on workers, prefetching or a resume.
///
/// ```
/// use sutler::{InMemory, Loader, MixUp};
///
/// let samples: InMemory<_> = (0..4).map(|i| ([i as f32; 5], i)).collect();
/// let loader = Loader::builder(samples).batch_size(4).shuffle(true).collate(MixUp::new(10)).build()?;
/// let (mixed, labels) = loader.epoch().next().unwrap()?;
/// assert_eq!((mixed.shape(), labels.shape()), (&[4, 5][..], &[4, 10][..]));
/// # Ok::<(), sutler::Error>(())
/// ```
///
/// The worker that completes a batch mixes it, in place. For MixUp in some batches and CutMix in others, see
/// [`RandomChoice`](crate::transform::RandomChoice).
///
/// # Errors
///
/// Those of [`Stack`](crate::Stack), and a label that is negative or not below `num_classes`.
#[derive(Clone, Copy, Debug)]
pub struct MixUp {
    num_classes: usize,
    alpha: f64,
}

/// How many values of each sample are mixed at a time, over the whole batch. A value that is read as a neighbour's is then
/// still in the cache when it is mixed itself, and of the last sample no more than this is kept aside.
const BLOCK: usize = 4096;

impl MixUp {
    /// With `alpha = 1`, which makes `lam` uniform in `[0, 1]`.
    pub fn new(num_classes: usize) -> Self {
        MixUp { num_classes, alpha: 1.0 }
    }

    /// The parameter of the distribution of `lam`: the smaller, the less is mixed.
    ///
    /// # Panics
    ///
    /// Unless it is finite and above 0.
    pub fn alpha(self, alpha: f64) -> Self {
        assert!(alpha > 0.0 && alpha.is_finite(), "alpha is above 0, and {alpha} is not");
        MixUp { alpha, ..self }
    }

    /// Mixes a batch with a `lam` of your own: each sample becomes `before * (1 - lam) + itself * lam`, in single
    /// precision, as torch computes it.
    ///
    /// # Panics
    ///
    /// If the batch has no dimensions.
    pub fn mix(batch: &mut HostTensor<f32>, lam: f64) {
        if batch.is_empty() {
            return;
        }
        let (before, own) = ((1.0 - lam) as f32, lam as f32);
        let len = batch.len() / batch.shape()[0];
        let mut kept = Vec::with_capacity(BLOCK.min(len));
        for start in (0..len).step_by(BLOCK) {
            with_neighbours(batch, start..len.min(start + BLOCK), &mut kept, |values, neighbours| {
                for (value, neighbour) in values.iter_mut().zip(neighbours) {
                    *value = neighbour * before + *value * own;
                }
            });
        }
    }
}

impl<S: Stackable<Element = f32>> Collate<(S, i64)> for MixUp {
    type Batch = (HostTensor<f32>, HostTensor<f32>);
    type Part = MixPart;

    fn start(&self, plan: BatchPlan<'_>) -> MixPart {
        MixPart::new(plan)
    }

    fn split_off(&self, part: &mut MixPart, at: usize) -> MixPart {
        part.split_off(at)
    }

    fn push(&self, part: &mut MixPart, (sample, label): (S, i64)) -> Result<()> {
        part.push(sample, label, self.num_classes)
    }

    fn rewind(&self, part: &mut MixPart, len: usize) -> Result<()> {
        part.rewind(len);
        Ok(())
    }

    fn unite(&self, part: &mut MixPart, next: MixPart) {
        part.unite(next);
    }

    fn finish(&self, mut part: MixPart) -> Result<Self::Batch> {
        let lam = part.rng.beta(self.alpha, self.alpha);
        let (mut samples, mut labels) = part.finish();
        Self::mix(&mut samples, lam);
        Self::mix(&mut labels, lam);
        Ok((samples, labels))
    }
}
