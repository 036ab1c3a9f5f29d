//! The loader: what is set once (`Loader`), what runs (`Epoch`), what the workers do (`line`).

mod builder;
mod epoch;
mod line;
mod orders;
mod pace;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use builder::LoaderBuilder;
pub use epoch::Epoch;
pub use workers::WorkerPool;

use crate::collate::{Collate, Stack};
use crate::dataset::Dataset;
use crate::stats::Stats;
use line::Shared;
use orders::Orders;

/// Loads batches of a dataset, epoch after epoch (`torch.utils.data.DataLoader`).
///
/// Made by [`Loader::builder`]. `&loader` is an iterable over the batches of the next epoch:
///
/// ```
/// use sutler::{InMemory, Loader};
///
/// let samples: InMemory<(f32, i64)> = (0..10).map(|i| (i as f32, i % 2)).collect();
/// let loader = Loader::builder(samples).batch_size(4).shuffle(true).seed(0).num_workers(2).build()?;
/// for _ in 0..2 {
///     for batch in &loader {
///         let (values, labels) = batch?;
///         assert_eq!(values.shape(), labels.shape());
///     }
/// }
/// # Ok::<(), sutler::Error>(())
/// ```
pub struct Loader<D, C = Stack> {
    shared: Arc<Shared<D, C>>,
    orders: Arc<Orders>,
    /// `None` loads in the caller's thread.
    workers: Option<WorkerPool>,
    drop_last: bool,
    in_order: bool,
    next_epoch: AtomicU64,
}

impl<D: Dataset + 'static> Loader<D> {
    /// Starts to describe a loader of `dataset`; [`LoaderBuilder::build`] makes it.
    pub fn builder(dataset: D) -> LoaderBuilder<D> {
        LoaderBuilder::new(dataset)
    }
}

impl<D, C> Loader<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    /// Starts the next epoch: the first call gives epoch 0. Its first batches are being loaded when this returns.
    ///
    /// If the sampler fails, the epoch has one item, its error.
    pub fn epoch(&self) -> Epoch<D, C> {
        Epoch::start(self, self.next_epoch.fetch_add(1, Relaxed))
    }

    /// Starts epoch `epoch`, whatever came before; [`epoch`](Loader::epoch) then goes on behind it. The order and the
    /// random draws of an epoch depend on its number and the seed alone.
    pub fn epoch_at(&self, epoch: u64) -> Epoch<D, C> {
        self.next_epoch.store(epoch.wrapping_add(1), Relaxed);
        Epoch::start(self, epoch)
    }

    /// How many batches an epoch over the whole dataset has. A sampler with a `num_samples` of its own may make it
    /// more or fewer: then ask the [`Epoch`].
    pub fn len(&self) -> usize {
        let (samples, batch_size) = (self.shared.len, self.shared.batch_size);
        if self.drop_last { samples / batch_size } else { samples.div_ceil(batch_size) }
    }

    /// Whether an epoch has no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dataset.
    pub fn dataset(&self) -> &D {
        &self.shared.dataset
    }

    /// The seed of what samples draw: the one that was set, or that a generator drew, or, where nothing was set, one
    /// drawn from the system, which is then the seed of the order as well.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// How many threads load samples; 0 is the caller's own.
    pub fn num_workers(&self) -> usize {
        self.workers.as_ref().map_or(0, WorkerPool::num_workers)
    }

    /// What the loader has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.counters.report(&self.shared.buffers)
    }
}

impl<D, C> IntoIterator for &Loader<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    type Item = crate::Result<C::Batch>;
    type IntoIter = Epoch<D, C>;

    fn into_iter(self) -> Epoch<D, C> {
        self.epoch()
    }
}

impl<D: Dataset, C> std::fmt::Debug for Loader<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("samples", &self.shared.len)
            .field("batch_size", &self.shared.batch_size)
            .field("workers", &self.workers)
            .field("seed", &self.shared.seed)
            .finish_non_exhaustive()
    }
}
