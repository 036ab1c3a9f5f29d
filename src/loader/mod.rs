//! The loader: what is set once (`Loader`), what runs (`Epoch`), what the workers do (`line`).

mod assembly;
mod bad;
mod builder;
mod delivery;
mod epoch;
mod feed;
mod filling;
mod gate;
mod indexed;
mod intake;
mod iterable;
mod iterable_epoch;
mod last;
mod line;
mod lot;
mod mark;
mod masked;
#[cfg(all(loom, test))]
mod models;
mod naming;
mod num_workers;
mod on_error;
mod orders;
mod pace;
mod patience;
mod quarantine_text;
mod settings;
mod shared;
mod source;
mod state;
mod state_text;
mod streamed;
mod tuner;
mod watch;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use builder::LoaderBuilder;
pub use epoch::Epoch;
pub use feed::Feed;
pub(crate) use feed::Stop;
pub use iterable::{Iterable, IterableLoader};
pub use iterable_epoch::IterableEpoch;
pub(crate) use mark::Mark;
pub use masked::Masked;
pub use num_workers::NumWorkers;
pub use on_error::OnError;
pub(crate) use patience::Patience;
pub use state::LoaderState;
pub use workers::WorkerPool;

use crate::collate::{Collate, Stack};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::guard::guarded;
use crate::quarantine::Quarantine;
use crate::sampler::Batches;
use crate::stats::Stats;
use indexed::Data;
use orders::Orders;
use shared::Shared;

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
    data: Arc<Data<D>>,
    shared: Arc<Shared<C>>,
    orders: Arc<Orders>,
    /// `None` loads in the caller's thread.
    workers: Option<WorkerPool>,
    in_order: bool,
    timeout: Option<Duration>,
    next_epoch: AtomicU64,
}

impl<D: Dataset + 'static> Loader<D> {
    /// Starts to describe a loader of `dataset`; [`LoaderBuilder::build`] makes it.
    pub fn builder(dataset: D) -> LoaderBuilder<D> {
        LoaderBuilder::over(dataset)
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

    /// Goes on where a state says: the rest of its epoch, without loading anything of what was had. Then
    /// [`epoch`](Loader::epoch) goes on with the next one.
    ///
    /// The batches are those of the run that was not interrupted, byte for byte. The number of workers may be another one,
    /// and the number of ranks or the batch size as well: what is left of the epoch is dealt out anew.
    ///
    /// # Errors
    ///
    /// If the state is of another dataset, seed or order, which the text names; or if the sampler fails.
    pub fn resume(&self, state: &LoaderState) -> Result<Epoch<D, C>> {
        // First what needs no order, which may take long to draw for the epoch of a state that does not fit.
        let fingerprint = guarded("the fingerprint", || Ok(self.data.fingerprint()))?;
        state.check_data(self.data.len, fingerprint, self.data.seed)?;
        let batches = self.orders.peek(state.epoch)?;
        state.check_order(&self.state_of(state.epoch, &batches)?)?;
        let rest = state.rest_of(&batches)?;
        self.shared.bad_samples.restore(&state.quarantine);
        self.next_epoch.store(state.epoch.wrapping_add(1), Relaxed);
        Ok(Epoch::over(self, rest, state.epoch, None))
    }

    /// The state before the next epoch. Within an epoch, [`Epoch::state`].
    ///
    /// # Errors
    ///
    /// If the sampler fails.
    pub fn state(&self) -> Result<LoaderState> {
        let epoch = self.next_epoch.load(Relaxed);
        let state = self.state_of(epoch, &self.orders.peek(epoch)?)?;
        Ok(LoaderState { quarantine: self.quarantine(), ..state })
    }

    /// The beginning of an epoch. What it asks for is the user's, the fingerprint of the data and the name of the sampler.
    fn state_of(&self, epoch: u64, batches: &Batches) -> Result<LoaderState> {
        guarded("the state", || Ok(LoaderState::new(&self.data, &self.orders, epoch, batches)))
    }

    /// How many batches the next epoch has (on this rank); 0 if the sampler fails. If nobody did so far, this draws its
    /// order.
    pub fn len(&self) -> usize {
        self.orders.peek(self.next_epoch.load(Relaxed)).map_or(0, |batches| batches.len())
    }

    /// Whether the next epoch has no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dataset.
    pub fn dataset(&self) -> &D {
        &self.data.dataset
    }

    /// The seed of what samples draw: the one that was set, or that a generator drew, or, where nothing was set, one
    /// drawn from the system, which is then the seed of the order as well.
    pub fn seed(&self) -> u64 {
        self.data.seed
    }

    /// How many threads load samples now; 0 is the caller's own.
    pub fn num_workers(&self) -> usize {
        self.workers.as_ref().map_or(0, WorkerPool::num_workers)
    }

    /// Whether batches are in page-locked memory, from which a device copies at full speed.
    pub fn is_pinned(&self) -> bool {
        self.shared.buffers.is_pinned()
    }

    /// The samples that could not be loaded, and that [`on_error`](LoaderBuilder::on_error) told to go on without.
    pub fn quarantine(&self) -> Quarantine {
        self.shared.bad_samples.quarantine()
    }

    /// What the loader has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats(self.num_workers(), |name| self.data.path(name))
    }
}

impl<D, C> IntoIterator for &Loader<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    type Item = Result<C::Batch>;
    type IntoIter = Epoch<D, C>;

    fn into_iter(self) -> Epoch<D, C> {
        self.epoch()
    }
}

impl<D: Dataset, C> std::fmt::Debug for Loader<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("samples", &self.data.len)
            .field("workers", &self.workers)
            .field("seed", &self.data.seed)
            .finish_non_exhaustive()
    }
}
