//! `IterableLoader`: loads batches of data that is read one record after another.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::delivery::{Clock, Delivery};
use super::intake::{Intake, Progress, shards_of};
use super::line::Line;
use super::shared::Shared;
use super::state::Unit;
use super::streamed::Streamed;
use super::watch::Watch;
use super::{IterableEpoch, LoaderBuilder, LoaderState, OnError, WorkerPool};
use crate::collate::{Collate, CollateFn, Stack, Unbatched};
use crate::dataset::IterableDataset;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::guard::guarded;
use crate::quarantine::Quarantine;
use crate::stats::{Counters, Stats};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::channel::unbounded;

/// Loads batches of an [`IterableDataset`], epoch after epoch: `DataLoader(iterable_dataset, …)`.
///
/// A batch takes a record of each open shard in turn, so its contents depend on the shards and the settings, and not on
/// the number of threads. A shard that cannot be read any further is an `Err` and ends; the others go on. Ranks whose shards
/// have different lengths have different numbers of batches: training loops that synchronise must stop together. There is no
/// `shuffle`, `sampler` or `batch_sampler` to be set wrongly. See [`IterableDataset`] for an example.
pub struct IterableLoader<I, C = Stack> {
    pub(super) dataset: Arc<I>,
    /// Its fingerprint, once somebody wants to know.
    pub(super) fingerprint: Arc<OnceLock<u64>>,
    pub(super) shared: Arc<Shared<C>>,
    pub(super) workers: Option<WorkerPool>,
    pub(super) seed: u64,
    pub(super) batch_size: usize,
    pub(super) drop_last: bool,
    pub(super) interleave: usize,
    /// This rank's.
    pub(super) shards: Vec<usize>,
    /// Rank and world size.
    pub(super) dealt: (usize, usize),
    pub(super) timeout: Option<Duration>,
    pub(super) next_epoch: AtomicU64,
}

/// Marks a [`LoaderBuilder`] of an [`IterableDataset`].
#[derive(Debug)]
pub struct Iterable<I>(pub(super) I);

impl<I: IterableDataset + 'static> IterableLoader<I> {
    /// Starts to describe a loader of `dataset`; [`LoaderBuilder::build`] makes it.
    pub fn builder(dataset: I) -> LoaderBuilder<Iterable<I>> {
        LoaderBuilder::over(Iterable(dataset))
    }
}

/// For an [`IterableDataset`]. Its batches come in order; it has no sampler.
impl<I: IterableDataset + 'static, C> LoaderBuilder<Iterable<I>, C> {
    /// How many shards are open at a time, of which a batch takes a record each in turn (default: 16). More mix better, and
    /// let more threads read at once; of each, its part of two batches is read ahead, or what takes no time to read (at most
    /// 2,048 records).
    pub fn interleave(mut self, shards: usize) -> Self {
        self.settings.interleave = Some(shards);
        self
    }

    /// No batches: `next()` gives the samples themselves (torch's `batch_size=None`).
    pub fn unbatched(mut self) -> LoaderBuilder<Iterable<I>, Unbatched> {
        self.settings.unbatched = true;
        LoaderBuilder { dataset: self.dataset, collate: Unbatched::new(), settings: self.settings }
    }

    /// Makes batches with `collate` instead of [`Stack`].
    pub fn collate<K: Collate<I::Sample> + 'static>(mut self, collate: K) -> LoaderBuilder<Iterable<I>, K> {
        self.settings.collated = true;
        LoaderBuilder { dataset: self.dataset, collate, settings: self.settings }
    }

    /// Makes batches with a function of the batch's samples, in order (torch's `collate_fn`).
    pub fn collate_fn<B, F>(self, function: F) -> LoaderBuilder<Iterable<I>, CollateFn<F>>
    where
        B: Send,
        F: Fn(Vec<I::Sample>) -> Result<B> + Send + Sync + 'static,
    {
        self.collate(CollateFn::new(function))
    }

    /// Checks the settings and starts the workers.
    ///
    /// # Errors
    ///
    /// If a count is 0, two settings contradict each other, there are more ranks than shards, the threads cannot be started,
    /// `worker_init_fn` fails, or the dataset panics over its length or the number of its shards.
    pub fn build(self) -> Result<IterableLoader<I, C>>
    where
        C: Collate<I::Sample> + 'static,
    {
        let (dataset, mut settings) = (self.dataset.0, self.settings);
        let (len, num_shards) = guarded("the length of the dataset", || Ok((dataset.len(), dataset.num_shards())))?;
        settings.check(len)?;
        if settings.on_error == OnError::Substitute {
            return Err(Error::new(
                ErrorKind::Config,
                "an iterable dataset has no other samples at hand, and excludes OnError::Substitute: use OnError::Skip",
            ));
        }
        let ranks = settings.distributed.unwrap_or_default();
        let shards = shards_of(num_shards, ranks.rank(), ranks.world_size())?;
        let allocator = settings.find_allocator()?;
        let workers = settings.start_workers()?;
        let num_threads = workers.as_ref().map_or(0, WorkerPool::num_threads);
        let timeout = settings.timeout();
        let counters = Arc::new(Counters::default());
        let tuning = settings.tuning(workers.as_ref(), &counters);
        let bad_samples = settings.bad_samples(len);
        let (pace, buffers) = settings.pace(workers.as_ref(), usize::MAX, allocator);
        Ok(IterableLoader {
            dataset: Arc::new(dataset),
            fingerprint: Arc::default(),
            shared: Arc::new(Shared {
                collate: self.collate,
                pace,
                buffers,
                bad_samples,
                tuning,
                counters,
                watch: timeout.map(|_| Watch::new(num_threads)),
            }),
            workers,
            batch_size: settings.batch_size.unwrap_or(1),
            drop_last: settings.drop_last,
            interleave: settings.interleave.unwrap_or(16),
            shards,
            dealt: (ranks.rank(), ranks.world_size()),
            timeout,
            next_epoch: AtomicU64::new(0),
            seed: settings.seed(),
        })
    }
}

impl<I, C> IterableLoader<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    /// Starts the next epoch: the first call gives epoch 0.
    pub fn epoch(&self) -> IterableEpoch<I, C> {
        self.start(self.next_epoch.fetch_add(1, Relaxed), Progress::default())
    }

    /// Starts epoch `epoch`, whatever came before; [`epoch`](IterableLoader::epoch) then goes on behind it.
    pub fn epoch_at(&self, epoch: u64) -> IterableEpoch<I, C> {
        self.next_epoch.store(epoch.wrapping_add(1), Relaxed);
        self.start(epoch, Progress::default())
    }

    /// Goes on where a state says. Shards that were read are not opened, and those that were open are read on from where
    /// they stood ([`IterableDataset::records`] with `skip`). Each rank has a state of its own.
    ///
    /// # Errors
    ///
    /// If the state is of another dataset, seed, number of shards or ranks, or interleaves them otherwise.
    pub fn resume(&self, state: &LoaderState) -> Result<IterableEpoch<I, C>> {
        let (len, fingerprint) =
            guarded("the fingerprint", || Ok((self.dataset.len().unwrap_or(0), self.fingerprint())))?;
        state.check_data(len, fingerprint, self.seed)?;
        state.check_order(&self.state_of(state.epoch(), &Progress::default()))?;
        let progress = state.progress_over(&self.shards)?;
        self.shared.bad_samples.restore(&state.quarantine);
        self.next_epoch.store(state.epoch().wrapping_add(1), Relaxed);
        Ok(self.start(state.epoch(), progress))
    }

    /// How many batches an epoch has, if the dataset knows its length and there is one rank.
    #[allow(clippy::len_without_is_empty, reason = "an unknown length is not known to be zero either")]
    pub fn len(&self) -> Option<usize> {
        let len = self.dataset.len().filter(|_| self.dealt.1 == 1)?;
        Some(if self.drop_last { len / self.batch_size } else { len.div_ceil(self.batch_size) })
    }

    /// The dataset.
    pub fn dataset(&self) -> &I {
        &self.dataset
    }

    /// The seed of what samples draw.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many threads load samples; 0 is the caller's own.
    pub fn num_workers(&self) -> usize {
        self.workers.as_ref().map_or(0, WorkerPool::num_workers)
    }

    /// Whether batches are in page-locked memory, from which a device copies at full speed.
    pub fn is_pinned(&self) -> bool {
        self.shared.buffers.is_pinned()
    }

    /// The state before the next epoch. Within an epoch, [`IterableEpoch::state`].
    pub fn state(&self) -> LoaderState {
        self.state_of(self.next_epoch.load(Relaxed), &Progress::default())
    }

    /// The records that could not be decoded, and shards that could not be read further, which
    /// [`on_error`](LoaderBuilder::on_error) told to go on without.
    pub fn quarantine(&self) -> Quarantine {
        self.shared.bad_samples.quarantine()
    }

    /// What the loader has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats(self.num_workers(), |name| self.dataset.path(name.shard?))
    }

    fn start(&self, epoch: u64, progress: Progress) -> IterableEpoch<I, C> {
        // What is in it is bounded by the window.
        let (sender, finished) = unbounded();
        let line = Arc::new(Line {
            source: Streamed { dataset: Arc::clone(&self.dataset), seed: self.seed, epoch },
            shared: Arc::clone(&self.shared),
            workers: self.workers.clone(),
            cancelled: AtomicBool::new(false),
            made: AtomicUsize::new(0),
            lots: Mutex::default(),
            finished: sender,
            late: Mutex::default(),
        });
        let state = self.beginning(epoch, &progress);
        let intake = Intake::new(line, self, progress);
        let epoch = IterableEpoch {
            intake: Arc::new(intake),
            delivery: Delivery::new(finished, true),
            state,
            fingerprint: Arc::clone(&self.fingerprint),
            timeout: self.timeout,
            clock: Some(Clock::start(&self.shared)),
        };
        epoch.pump();
        epoch
    }

    fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| self.dataset.fingerprint())
    }

    fn state_of(&self, epoch: u64, progress: &Progress) -> LoaderState {
        LoaderState { dataset: self.fingerprint(), ..self.beginning(epoch, progress) }
    }

    /// The state without the fingerprint of the data, which nobody may ask for.
    fn beginning(&self, epoch: u64, progress: &Progress) -> LoaderState {
        let mut order = Fingerprint::new();
        let (rank, world) = self.dealt;
        [self.dataset.num_shards(), self.interleave, rank, world].iter().for_each(|&number| order.add(number as u64));
        LoaderState {
            seed: self.seed,
            epoch,
            position: progress.records,
            units: 0,
            unit: Unit::Records,
            out_of_order: None,
            progress: Some(progress.clone()),
            quarantine: self.quarantine(),
            samples: self.dataset.len().unwrap_or(0),
            dataset: 0,
            order: order.value(),
            sampler: "IterableDataset".into(),
        }
    }
}

impl<I, C> IntoIterator for &IterableLoader<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    type Item = Result<C::Batch>;
    type IntoIter = IterableEpoch<I, C>;

    fn into_iter(self) -> IterableEpoch<I, C> {
        self.epoch()
    }
}

impl<I: IterableDataset, C> std::fmt::Debug for IterableLoader<I, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IterableLoader")
            .field("shards", &self.shards.len())
            .field("batch_size", &self.batch_size)
            .field("workers", &self.workers)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
