//! `Masked`: an epoch that says of every sample whether it is padding.

use super::{Epoch, LoaderState};
use crate::collate::Collate;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::memory::HostTensor;

/// An epoch whose batches come with a mask; made by [`Epoch::masked`].
pub struct Masked<D: Dataset + 'static, C: Collate<D::Sample>>(pub(super) Epoch<D, C>);

impl<D, C> Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    /// The batches of this epoch, each with a mask of shape `[N]` that is false where a sample is there only so that all
    /// ranks have equally many ([`Distributed`](crate::Distributed)).
    ///
    /// An evaluation that counts by it counts each sample once over all ranks, while they stay in step:
    ///
    /// ```
    /// use sutler::{Distributed, InMemory, Loader};
    ///
    /// let mut counted = vec![];
    /// for rank in 0..3 {
    ///     let samples: InMemory<i64> = (0..10).collect();
    ///     let loader = Loader::builder(samples).batch_size(2).distributed(Distributed::new(rank, 3)?).build()?;
    ///     let epoch = loader.epoch().masked();
    ///     assert_eq!(epoch.len(), 2); // on every rank
    ///     for batch in epoch {
    ///         let (samples, mask) = batch?;
    ///         counted.extend(samples.iter().zip(mask.iter()).filter(|(_, is_real)| **is_real).map(|(sample, _)| *sample));
    ///     }
    /// }
    /// counted.sort();
    /// assert_eq!(counted, (0..10).collect::<Vec<i64>>());
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn masked(self) -> Masked<D, C> {
        Masked(self)
    }
}

impl<D, C> Masked<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    /// As [`Epoch::state`].
    pub fn state(&self) -> LoaderState {
        self.0.state()
    }

    /// As [`Epoch::indices`].
    pub fn indices(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.0.indices()
    }

    /// As [`Epoch::padding`].
    pub fn padding(&self) -> usize {
        self.0.padding()
    }

    /// As [`Epoch::give_up_batch`].
    pub fn give_up_batch(&mut self) -> Vec<usize> {
        self.0.give_up_batch()
    }
}

impl<D, C> Iterator for Masked<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    type Item = Result<(C::Batch, HostTensor<bool>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.0.next()?;
        Some(batch.and_then(|batch| Ok((batch, self.0.mask()?))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<D, C> ExactSizeIterator for Masked<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<D: Dataset + 'static, C: Collate<D::Sample>> std::fmt::Debug for Masked<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Masked").field(&self.0).finish()
    }
}
