//! `LoaderBuilder`: every setting, documented.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::indexed::Data;
use super::orders::Orders;
use super::settings::{Ordering, Seeding, Settings};
use super::shared::Shared;
use super::watch::Watch;
use super::{Loader, NumWorkers, OnError, WorkerPool};
use crate::collate::{Collate, CollateFn, Stack, Unbatched};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::guard::guarded;
use crate::memory::HostAllocator;
use crate::rng::Generator;
use crate::sampler::{BatchSampler, Distributed, Sampler};
use crate::stats::Counters;

/// The settings of a [`Loader`], named as the arguments of `torch.utils.data.DataLoader` where they mean the same.
///
/// Nothing is checked before [`build`](LoaderBuilder::build), and everything there: a loader that exists cannot be
/// misconfigured.
#[must_use = "a builder does nothing until build()"]
pub struct LoaderBuilder<D, C = Stack> {
    pub(super) dataset: D,
    pub(super) collate: C,
    pub(super) settings: Settings,
}

impl<D> LoaderBuilder<D> {
    pub(super) fn over(dataset: D) -> Self {
        LoaderBuilder { dataset, collate: Stack, settings: Settings::default() }
    }
}

/// For any dataset.
impl<D, C> LoaderBuilder<D, C> {
    /// How many samples a batch has (default: 1).
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.settings.batch_size = Some(batch_size);
        self
    }

    /// Whether to leave out the last batch of an epoch if it is smaller than the others (default: false).
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.settings.drop_last = drop_last;
        self
    }

    /// The seed of the order and of what samples draw (default: drawn from the system, see [`Loader::seed`]; with
    /// [`distributed`](LoaderBuilder::distributed) 0, as in torch, for all ranks must have the same).
    ///
    /// Of `seed`, [`global_seed`](LoaderBuilder::global_seed) and [`generator`](LoaderBuilder::generator) the last one
    /// that is set counts. The order of `shuffle(true).seed(s)` is that of
    /// `DataLoader(shuffle=True, generator=torch.Generator().manual_seed(s))`, epoch after epoch.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seeding = Some(Seeding::Seed(seed));
        self
    }

    /// Serves this process's share of each epoch, among several that train together (default: all of it).
    ///
    /// The order is that of torch's `DistributedSampler` with this loader's `shuffle` and `seed`, which are those of
    /// all ranks, and the epoch is always set. The order of a `sampler`, or the batches of a `batch_sampler`, are dealt
    /// out in the same way. Where they do not go round, see [`Distributed::drop_last`] and
    /// [`Epoch::masked`](crate::Epoch::masked).
    ///
    /// ```
    /// use sutler::{Distributed, InMemory, Loader};
    ///
    /// let samples: InMemory<i64> = (0..100).collect();
    /// let loader = Loader::builder(samples)
    ///     .batch_size(8)
    ///     .shuffle(true)
    ///     .seed(0)
    ///     .distributed(Distributed::from_env()?) // torchrun, mpirun, srun; a process alone without
    ///     .build()?;
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn distributed(mut self, distributed: Distributed) -> Self {
        self.settings.distributed = Some(distributed);
        self
    }

    /// How many threads load samples (default: 0, which loads in the caller's thread, inside `next()`);
    /// [`NumWorkers::Auto`] finds out.
    ///
    /// ```
    /// use sutler::{InMemory, Loader, NumWorkers};
    ///
    /// let samples: InMemory<i64> = (0..1000).collect();
    /// let loader = Loader::builder(samples).batch_size(10).num_workers(NumWorkers::Auto).build()?;
    /// assert_eq!(loader.epoch().count(), 100);
    /// assert!(loader.num_workers() >= 1);
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn num_workers(mut self, num_workers: impl Into<NumWorkers>) -> Self {
        self.settings.num_workers = Some(num_workers.into());
        self
    }

    /// Loads on the threads of `pool`, which other loaders may share; instead of
    /// [`num_workers`](LoaderBuilder::num_workers).
    ///
    /// An epoch may also be consumed on one of these threads, say inside another dataset's `get`. Such a thread helps
    /// with queued work instead of waiting, whose samples are then loaded further down on the same stack: hold no lock
    /// across it that they take.
    pub fn pool(mut self, pool: &WorkerPool) -> Self {
        self.settings.pool = Some(pool.clone());
        self
    }

    /// Called once on each worker thread (with [`NumWorkers::Auto`], on all that there may be), with its number, before
    /// [`build`](LoaderBuilder::build) returns, whose error it may be. Not called without workers, as in torch.
    ///
    /// Its usual use in Python, to seed each worker differently, is what [`SampleRng`](crate::SampleRng) makes
    /// needless; here it pins threads to cores, say, or opens a connection for each.
    pub fn worker_init_fn(mut self, init: impl Fn(usize) -> Result<()> + Send + Sync + 'static) -> Self {
        self.settings.worker_init_fn = Some(Box::new(init));
        self
    }

    /// How many batches may be in the making or waiting at a time, all workers together.
    ///
    /// Default: one more than there are workers, so that each may be held up by a slow sample in another batch. Where
    /// a batch takes only microseconds, more (up to 256, and up to 8 MiB of them), since handing over is then what
    /// takes the time. Once a slow sample has left workers without work, also more (up to 256, and up to 256 MiB of
    /// them), for as long as the loader lives.
    pub fn prefetch_batches(mut self, prefetch_batches: usize) -> Self {
        self.settings.prefetch_batches = Some(prefetch_batches);
        self
    }

    /// How many bytes of batches may be in the making or waiting at a time, instead of
    /// [`prefetch_batches`](LoaderBuilder::prefetch_batches); one batch always may.
    ///
    /// A batch in the making counts twice, since its size is not known: of n batches that would fit, n - 1 wait for a
    /// slow consumer, and (n + 1) / 2 are in the making for a fast one (but no more than two for each worker).
    ///
    /// Where all batches are of one size, this is never exceeded. Otherwise it may be, by no more than one batch, as
    /// long as no batch is more than twice as large as the largest of those that were ready when it was begun; and
    /// however they grow, by no more than what is in the making, two batches for each worker. What counts are batch
    /// buffers ([`HostTensor`](crate::HostTensor)); of [`Stats`](crate::Stats), `buffer_bytes_live` and
    /// `buffer_bytes_peak` report them, with those that the consumer has.
    pub fn prefetch_bytes(mut self, prefetch_bytes: usize) -> Self {
        self.settings.prefetch_bytes = Some(prefetch_bytes);
        self
    }

    /// Makes batches in memory of `allocator` (default: of the heap). For page-locked memory of libtorch's, see
    #[cfg_attr(feature = "tch", doc = "[`pin_memory`](LoaderBuilder::pin_memory).")]
    #[cfg_attr(not(feature = "tch"), doc = "`pin_memory`, feature `tch`.")]
    pub fn allocator(mut self, allocator: impl HostAllocator) -> Self {
        self.settings.allocator = Some(Arc::new(allocator));
        self
    }

    /// Makes batches in page-locked memory, if `find` finds some when the loader is built; `None` does not look for
    /// any.
    #[cfg(feature = "tch")]
    pub(crate) fn pinned<F>(mut self, find: Option<F>) -> Self
    where
        F: FnOnce() -> Result<Option<Arc<dyn HostAllocator>>> + Send + Sync + 'static,
    {
        self.settings.pinned = find.map(|find| Box::new(find) as _);
        self
    }

    /// What becomes of a batch with a sample that cannot be loaded (default: [`OnError::Fail`], the batch is an `Err`).
    ///
    /// With another choice, each bad sample is entered in the [`Quarantine`](crate::Quarantine) when the training loop
    /// comes to it, and counted; how many there may be, [`max_bad_samples`](LoaderBuilder::max_bad_samples) and
    /// [`max_bad_share`](LoaderBuilder::max_bad_share) say.
    ///
    /// ```
    /// use sutler::{Dataset, Error, InMemory, Loader, OnError, SampleRng};
    ///
    /// let samples = (0..10).collect::<InMemory<i64>>().map(|sample: i64, _: &mut SampleRng| match sample {
    ///     3 => Err(Error::msg("three is right out")),
    ///     sample => Ok(sample),
    /// });
    /// let loader = Loader::builder(samples).batch_size(5).on_error(OnError::Skip).max_bad_share(0.1).build()?;
    /// let batches: Vec<Vec<i64>> = loader.epoch().map(|batch| Ok(batch?.to_vec())).collect::<sutler::Result<_>>()?;
    /// assert_eq!(batches, [vec![0, 1, 2, 4], vec![5, 6, 7, 8, 9]]);
    /// assert_eq!(loader.quarantine().to_string(), "1 sample could not be loaded:\n  sample 3: three is right out");
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.settings.on_error = on_error;
        self
    }

    /// How many different samples may be bad, in all epochs together, where [`on_error`](LoaderBuilder::on_error) tells
    /// to go on (default: any number).
    ///
    /// Beyond that, each batch that would go on without one more is an `Err` of kind
    /// [`Budget`](crate::ErrorKind::Budget); in later epochs, and in a run that was resumed, so is each that would go
    /// on without a sample for which there was no room. Stuck samples whose batch was given up
    /// ([`Epoch::give_up_batch`](crate::Epoch::give_up_batch)) count as well, but are no such error themselves. With
    /// several ranks, each counts its own.
    pub fn max_bad_samples(mut self, count: usize) -> Self {
        self.settings.max_bad_samples = Some(count);
        self
    }

    /// As [`max_bad_samples`](LoaderBuilder::max_bad_samples), as a share of the dataset: `0.01` allows one sample in a
    /// hundred, rounded down. Where both are set, the smaller counts.
    ///
    /// The share is of the whole dataset also where a rank loads only a part of it: of eight ranks, each may lose as
    /// many.
    pub fn max_bad_share(mut self, share: f64) -> Self {
        self.settings.max_bad_share = Some(share);
        self
    }

    /// How long `next()` waits for a batch (default: for ever, which 0 means as well, as in torch). Needs workers,
    /// since the caller cannot stop waiting for itself.
    ///
    /// When the time is up, it gives an error of kind [`Timeout`](crate::ErrorKind::Timeout) that names the samples
    /// which are still being loaded. The batch is not lost: the next call waits for it again, or
    /// [`Epoch::give_up_batch`](crate::Epoch::give_up_batch) goes on without it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }
}

/// For a [`Dataset`].
impl<D: Dataset + 'static, C> LoaderBuilder<D, C> {
    /// No batches: `next()` gives the samples themselves, as the dataset makes them (torch's `batch_size=None`).
    /// Excludes `batch_size`, `batch_sampler`, `drop_last` and `collate`.
    ///
    /// ```
    /// use sutler::{InMemory, Loader};
    ///
    /// let loader = Loader::builder(InMemory::new(vec!["a", "b"])).unbatched().build()?;
    /// assert_eq!(loader.epoch().collect::<sutler::Result<Vec<_>>>()?, ["a", "b"]);
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn unbatched(mut self) -> LoaderBuilder<D, Unbatched> {
        self.settings.unbatched = true;
        LoaderBuilder { dataset: self.dataset, collate: Unbatched::new(), settings: self.settings }
    }

    /// Whether each epoch has a new random order (default: false). Bit for bit the order of torch, see
    /// [`seed`](LoaderBuilder::seed).
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.settings.shuffle = shuffle;
        self
    }

    /// As [`seed`](LoaderBuilder::seed), but the order is that of a Python run that calls `torch.manual_seed(s)` just
    /// before its first epoch and gives its `DataLoader` no generator (and draws nothing else from the global one).
    pub fn global_seed(mut self, seed: u64) -> Self {
        self.settings.seeding = Some(Seeding::Global(seed));
        self
    }

    /// Draws the order from `generator` as it stands: `DataLoader(generator=generator)`. What samples draw is keyed
    /// by its next int64.
    pub fn generator(mut self, generator: Generator) -> Self {
        self.settings.seeding = Some(Seeding::Generator(Box::new(generator)));
        self
    }

    /// Draws samples in the order of `sampler` instead; excludes [`shuffle`](LoaderBuilder::shuffle).
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.settings.sampler = Some(Box::new(sampler));
        self
    }

    /// Makes the batches that `batch_sampler` gives, whatever their sizes; excludes `batch_size`, `shuffle`, `sampler`
    /// and `drop_last`.
    pub fn batch_sampler(mut self, batch_sampler: impl BatchSampler + 'static) -> Self {
        self.settings.batch_sampler = Some(Box::new(batch_sampler));
        self
    }

    /// Whether the order is that of a `DataLoader` with persistent workers (default: false): it draws its base seed
    /// from the generator once, and not before each epoch. The threads live as long as the loader either way.
    pub fn persistent_workers(mut self, persistent_workers: bool) -> Self {
        self.settings.persistent_workers = persistent_workers;
        self
    }

    /// About how many consecutive samples a worker takes at a time: a batch is cut into equal parts of at most as many,
    /// or as many whole batches go together. Never changes what is in a batch.
    ///
    /// Default: by their measured cost; one, for samples that take long, so that all workers help with the batch that
    /// is due, and whole batches of cheap ones.
    pub fn chunk_size(mut self, chunk_size: usize) -> Self {
        self.settings.chunk_size = Some(chunk_size);
        self
    }

    /// Whether batches come in the order of the sampler (default: true). Otherwise each comes as soon as it is done;
    /// what is in a batch does not change.
    pub fn in_order(mut self, in_order: bool) -> Self {
        self.settings.out_of_order = !in_order;
        self
    }

    /// Makes batches with `collate` instead of [`Stack`].
    pub fn collate<K: Collate<D::Sample> + 'static>(mut self, collate: K) -> LoaderBuilder<D, K> {
        self.settings.collated = true;
        LoaderBuilder { dataset: self.dataset, collate, settings: self.settings }
    }

    /// Makes batches with a function of the batch's samples, in order (torch's `collate_fn`).
    ///
    /// ```
    /// use sutler::{InMemory, Loader};
    ///
    /// let words = InMemory::new(vec!["a".to_string(), "bb".into(), "ccc".into()]);
    /// let loader = Loader::builder(words).batch_size(2).collate_fn(|words: Vec<String>| Ok(words.join(" "))).build()?;
    /// assert_eq!(loader.epoch().collect::<sutler::Result<Vec<_>>>()?, ["a bb", "ccc"]);
    /// # Ok::<(), sutler::Error>(())
    /// ```
    pub fn collate_fn<B, F>(self, function: F) -> LoaderBuilder<D, CollateFn<F>>
    where
        B: Send,
        F: Fn(Vec<D::Sample>) -> Result<B> + Send + Sync + 'static,
    {
        self.collate(CollateFn::new(function))
    }

    /// Checks the settings, starts the workers, and opens no file.
    ///
    /// # Errors
    ///
    /// If a count is 0, two settings contradict each other, an empty dataset is to be shuffled (all as in torch), the
    /// threads cannot be started, `worker_init_fn` fails, the dataset panics over its length, or there is no memory of the kind
    /// that was asked for.
    pub fn build(self) -> Result<Loader<D, C>>
    where
        C: Collate<D::Sample> + 'static,
    {
        let len = guarded("the length of the dataset", || Ok(self.dataset.len()))?;
        let mut settings = self.settings;
        settings.check(Some(len))?;
        let allocator = settings.find_allocator()?;
        let workers = settings.start_workers()?;
        let num_threads = workers.as_ref().map_or(0, WorkerPool::num_threads);
        let timeout = settings.timeout();
        let counters = Arc::new(Counters::default());
        let tuning = settings.tuning(workers.as_ref(), &counters);
        let bad_samples = settings.bad_samples(Some(len));
        let in_order = !settings.out_of_order;
        let (pace, buffers) = settings.pace(workers.as_ref(), settings.most_batches(len), allocator);
        let Ordering { seed, sampler, distributed } = settings.ordering();
        Ok(Loader {
            data: Arc::new(Data { dataset: self.dataset, len, seed, fingerprint: OnceLock::new() }),
            shared: Arc::new(Shared {
                collate: self.collate,
                pace,
                buffers,
                bad_samples,
                tuning,
                counters,
                watch: timeout.map(|_| Watch::new(num_threads)),
            }),
            orders: Arc::new(Orders::new(sampler, distributed, len)),
            workers,
            in_order,
            timeout,
            next_epoch: AtomicU64::new(0),
        })
    }
}

impl<D, C> std::fmt::Debug for LoaderBuilder<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoaderBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
