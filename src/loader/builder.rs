//! `LoaderBuilder`: every setting, and every check of them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::line::Shared;
use super::orders::Orders;
use super::pace::Pace;
use super::{Loader, WorkerPool};
use crate::collate::{Collate, CollateFn, Stack};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::BufferPool;
use crate::rng::Generator;
use crate::sampler::{RandomSampler, Sampler, SequentialSampler};
use crate::stats::Counters;

/// The settings of a [`Loader`], named as the arguments of `torch.utils.data.DataLoader` where they mean the same.
///
/// Nothing is checked before [`build`](LoaderBuilder::build), and everything there: a loader that exists cannot be
/// misconfigured.
#[must_use = "a builder does nothing until build()"]
pub struct LoaderBuilder<D, C = Stack> {
    dataset: D,
    collate: C,
    batch_size: usize,
    shuffle: bool,
    /// The seed of what samples draw, and the shuffled order.
    seed: Option<(u64, RandomSampler)>,
    sampler: Option<Box<dyn Sampler>>,
    num_workers: Option<usize>,
    pool: Option<WorkerPool>,
    prefetch_batches: Option<usize>,
    chunk_size: Option<usize>,
    drop_last: bool,
    in_order: bool,
}

impl<D: Dataset + 'static> LoaderBuilder<D> {
    pub(super) fn new(dataset: D) -> Self {
        LoaderBuilder {
            dataset,
            collate: Stack,
            batch_size: 1,
            shuffle: false,
            seed: None,
            sampler: None,
            num_workers: None,
            pool: None,
            prefetch_batches: None,
            chunk_size: None,
            drop_last: false,
            in_order: true,
        }
    }
}

impl<D: Dataset + 'static, C> LoaderBuilder<D, C> {
    /// How many samples a batch has (default: 1).
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Whether each epoch has a new random order (default: false). Bit for bit the order of torch, see
    /// [`seed`](LoaderBuilder::seed).
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// The seed of the order and of what samples draw (default: drawn from the system, see [`Loader::seed`]).
    ///
    /// Of `seed`, [`global_seed`](LoaderBuilder::global_seed) and [`generator`](LoaderBuilder::generator) the last one
    /// that is set counts. The order of `shuffle(true).seed(s)` is that of
    /// `DataLoader(shuffle=True, generator=torch.Generator().manual_seed(s))`, epoch after epoch.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some((seed, RandomSampler::of_loader(Generator::manual_seed(seed))));
        self
    }

    /// As [`seed`](LoaderBuilder::seed), but the order is that of a Python run that calls `torch.manual_seed(s)` just
    /// before its first epoch and gives its `DataLoader` no generator (and draws nothing else from the global one).
    pub fn global_seed(mut self, seed: u64) -> Self {
        self.seed = Some((seed, RandomSampler::of_global(Generator::manual_seed(seed))));
        self
    }

    /// Draws the order from `generator` as it stands: `DataLoader(generator=generator)`. What samples draw is keyed
    /// by its next int64.
    pub fn generator(mut self, generator: Generator) -> Self {
        self.seed = Some((generator.clone().random() as u64, RandomSampler::of_loader(generator)));
        self
    }

    /// Draws samples in the order of `sampler` instead; excludes [`shuffle`](LoaderBuilder::shuffle).
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.sampler = Some(Box::new(sampler));
        self
    }

    /// How many threads load samples (default: 0, which loads in the caller's thread, inside `next()`).
    pub fn num_workers(mut self, num_workers: usize) -> Self {
        self.num_workers = Some(num_workers);
        self
    }

    /// Loads on the threads of `pool`, which other loaders may share; instead of
    /// [`num_workers`](LoaderBuilder::num_workers).
    ///
    /// An epoch may also be consumed on one of these threads, say inside another dataset's `get`. Such a thread helps
    /// with queued work instead of waiting, whose samples are then loaded further down on the same stack: hold no lock
    /// across it that they take.
    pub fn pool(mut self, pool: &WorkerPool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// How many batches may be in the making or waiting at a time, all workers together.
    ///
    /// Default: one more than there are workers, so that each may be held up by a slow sample in another batch. Where
    /// a batch takes only microseconds, more (up to 256, and up to 8 MiB of them), since handing over is then what
    /// takes the time.
    pub fn prefetch_batches(mut self, prefetch_batches: usize) -> Self {
        self.prefetch_batches = Some(prefetch_batches);
        self
    }

    /// About how many consecutive samples a worker takes at a time: a batch is cut into equal parts of at most as many,
    /// or as many whole batches go together. Never changes what is in a batch.
    ///
    /// Default: by their measured cost; one, for samples that take long, so that all workers help with the batch that
    /// is due, and whole batches of cheap ones.
    pub fn chunk_size(mut self, chunk_size: usize) -> Self {
        self.chunk_size = Some(chunk_size);
        self
    }

    /// Whether to leave out the last batch of an epoch if it is smaller than the others (default: false).
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Whether batches come in the order of the sampler (default: true). Otherwise each comes as soon as it is done;
    /// what is in a batch does not change.
    pub fn in_order(mut self, in_order: bool) -> Self {
        self.in_order = in_order;
        self
    }

    /// Makes batches with `collate` instead of [`Stack`].
    pub fn collate<K: Collate<D::Sample> + 'static>(self, collate: K) -> LoaderBuilder<D, K> {
        let LoaderBuilder { dataset, collate: _, batch_size, shuffle, seed, sampler, num_workers, pool, .. } = self;
        LoaderBuilder {
            dataset,
            collate,
            batch_size,
            shuffle,
            seed,
            sampler,
            num_workers,
            pool,
            prefetch_batches: self.prefetch_batches,
            chunk_size: self.chunk_size,
            drop_last: self.drop_last,
            in_order: self.in_order,
        }
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
    /// If a count is 0, two settings contradict each other, an empty dataset is to be shuffled (all as in torch), or
    /// the threads cannot be started.
    pub fn build(self) -> Result<Loader<D, C>>
    where
        C: Collate<D::Sample> + 'static,
    {
        let refuse = |problem: &str| Err(Error::new(ErrorKind::Config, problem));
        if self.batch_size == 0 {
            return refuse("batch_size must be at least 1");
        }
        if self.prefetch_batches == Some(0) {
            return refuse("prefetch_batches must be at least 1");
        }
        if self.chunk_size == Some(0) {
            return refuse("chunk_size must be at least 1");
        }
        if self.shuffle && self.sampler.is_some() {
            return refuse("sampler excludes shuffle: a sampler gives the order itself. Leave one of them out");
        }
        if self.shuffle && self.dataset.is_empty() {
            return refuse("cannot shuffle a dataset without samples");
        }
        let workers = match (self.pool, self.num_workers) {
            (Some(_), Some(_)) => {
                return refuse("pool excludes num_workers: a pool has its number of threads. Leave one of them out");
            }
            (Some(pool), None) => Some(pool),
            (None, None | Some(0)) => None,
            (None, Some(num_workers)) => Some(WorkerPool::new(num_workers)?),
        };

        let (seed, shuffled) = self.seed.unwrap_or_else(|| {
            let seed = RandomState::new().hash_one("sutler");
            (seed, RandomSampler::of_loader(Generator::manual_seed(seed)))
        });
        let has_sampler = self.sampler.is_some();
        let len = self.dataset.len();
        let sampler = match self.sampler {
            Some(sampler) => sampler,
            None if self.shuffle => Box::new(shuffled),
            None => Box::new(SequentialSampler),
        };

        let num_workers = workers.as_ref().map_or(0, WorkerPool::num_workers);
        let pace = Pace::new(self.batch_size, num_workers, self.prefetch_batches, self.chunk_size);
        // The batches ahead, the one the consumer holds, and the one it takes before it lets go of that.
        // An epoch has no more batches ahead than it has batches; a sampler may make it longer than the dataset is.
        let ahead = match has_sampler {
            true => pace.prefetch_batches(),
            false => pace.prefetch_batches().min(len.div_ceil(self.batch_size)),
        };
        let buffers = BufferPool::new(ahead.saturating_add(2));
        Ok(Loader {
            shared: Arc::new(Shared {
                dataset: self.dataset,
                len,
                collate: self.collate,
                seed,
                batch_size: self.batch_size,
                pace,
                buffers,
                counters: Counters::default(),
            }),
            orders: Arc::new(Orders::new(sampler, len)),
            workers,
            drop_last: self.drop_last,
            in_order: self.in_order,
            next_epoch: AtomicU64::new(0),
        })
    }
}

impl<D: Dataset, C> std::fmt::Debug for LoaderBuilder<D, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoaderBuilder")
            .field("samples", &self.dataset.len())
            .field("batch_size", &self.batch_size)
            .field("shuffle", &self.shuffle)
            .field("num_workers", &self.num_workers)
            .field("prefetch_batches", &self.prefetch_batches)
            .field("drop_last", &self.drop_last)
            .field("in_order", &self.in_order)
            .finish_non_exhaustive()
    }
}
