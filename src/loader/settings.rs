//! `Settings`: what a loader was told, apart from types; which of it contradicts which; and the order it makes.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::bad::BadSamples;
use super::pace::{Ahead, Pace};
use super::tuner::Tuning;
use super::{NumWorkers, OnError, WorkerPool};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BufferPool, HostAllocator};
use crate::rng::Generator;
use crate::sampler::{BatchSampler, Distributed, DistributedSampler, RandomSampler, Sampler, SequentialSampler};
use crate::stats::Counters;

/// The settings of a loader that do not depend on the types of its dataset and collate.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) batch_size: Option<usize>,
    pub(super) unbatched: bool,
    /// Whether a collate was given.
    pub(super) collated: bool,
    pub(super) shuffle: bool,
    pub(super) seeding: Option<Seeding>,
    pub(super) sampler: Option<Box<dyn Sampler>>,
    pub(super) batch_sampler: Option<Box<dyn BatchSampler>>,
    pub(super) distributed: Option<Distributed>,
    pub(super) num_workers: Option<NumWorkers>,
    pub(super) pool: Option<WorkerPool>,
    pub(super) on_error: OnError,
    pub(super) max_bad_samples: Option<usize>,
    pub(super) max_bad_share: Option<f64>,
    pub(super) worker_init_fn: Option<Box<dyn Fn(usize) -> Result<()> + Send + Sync>>,
    pub(super) persistent_workers: bool,
    pub(super) prefetch_batches: Option<usize>,
    pub(super) prefetch_bytes: Option<usize>,
    pub(super) allocator: Option<Arc<dyn HostAllocator>>,
    pub(super) pinned: Option<FindAllocator>,
    pub(super) chunk_size: Option<usize>,
    pub(super) drop_last: bool,
    pub(super) out_of_order: bool,
    pub(super) interleave: Option<usize>,
    pub(super) timeout: Option<Duration>,
}

/// Finds page-locked memory, when the loader is built; `None` is the heap.
pub(super) type FindAllocator = Box<dyn FnOnce() -> Result<Option<Arc<dyn HostAllocator>>> + Send + Sync>;

/// Where random numbers come from.
pub(super) enum Seeding {
    Seed(u64),
    /// torch's global generator, seeded with this.
    Global(u64),
    Generator(Box<Generator>),
}

/// The order that the settings ask for.
pub(super) struct Ordering {
    pub(super) seed: u64,
    pub(super) sampler: Box<dyn BatchSampler>,
    /// Among whom the batches are still to be dealt out.
    pub(super) distributed: Option<Distributed>,
}

impl Settings {
    /// # Errors
    ///
    /// If a setting is out of range or contradicts another one, by the rules of `torch/utils/data/dataloader.py`.
    ///
    /// `len` is that of the dataset, if it has one.
    pub(super) fn check(&self, len: Option<usize>) -> Result<()> {
        let has_workers = self.pool.is_some() || self.num_workers.is_some_and(NumWorkers::is_some);
        let has_timeout = self.timeout().is_some();
        let ranks_differ = matches!(self.seeding, Some(Seeding::Global(_) | Seeding::Generator(_)));
        let wrong = [
            (self.num_workers.is_some_and(NumWorkers::is_negative), "num_workers must not be negative"),
            (self.batch_size == Some(0), "batch_size must be at least 1"),
            (self.prefetch_batches == Some(0), "prefetch_batches must be at least 1"),
            (self.prefetch_bytes == Some(0), "prefetch_bytes must be at least 1"),
            (self.chunk_size == Some(0), "chunk_size must be at least 1"),
            (self.interleave == Some(0), "interleave must be at least 1"),
            (
                self.max_bad_share.is_some_and(|share| !(0.0..=1.0).contains(&share)),
                "max_bad_share must be between 0 and 1",
            ),
            (
                self.on_error == OnError::Fail && (self.max_bad_samples.is_some() || self.max_bad_share.is_some()),
                "max_bad_samples and max_bad_share say how many samples to go on without, and on_error(OnError::Fail), the \
                 default, goes on without none. Set on_error to OnError::Skip or OnError::Substitute, or leave them out",
            ),
            (
                self.max_bad_share.is_some() && len.is_none(),
                "max_bad_share needs a dataset that knows its length. Use max_bad_samples",
            ),
            (
                self.shuffle && self.sampler.is_some(),
                "sampler excludes shuffle: a sampler gives the order itself. Leave one of them out",
            ),
            (
                self.batch_sampler.is_some()
                    && (self.batch_size.is_some_and(|size| size != 1)
                        || self.sampler.is_some()
                        || self.shuffle
                        || self.drop_last),
                "batch_sampler excludes batch_size, shuffle, sampler and drop_last: it gives the batches itself. Leave \
                 the others out",
            ),
            (
                self.unbatched
                    && (self.batch_size.is_some() || self.batch_sampler.is_some() || self.drop_last || self.collated),
                "unbatched excludes batch_size, batch_sampler, drop_last and collate: there are no batches. Leave the \
                 others out",
            ),
            (self.shuffle && len == Some(0), "cannot shuffle a dataset without samples"),
            (
                self.pool.is_some() && self.num_workers.is_some(),
                "pool excludes num_workers: a pool has its number of threads. Leave one of them out",
            ),
            (
                self.pool.is_some() && self.worker_init_fn.is_some(),
                "pool excludes worker_init_fn: its threads are running already, for others too. Use num_workers instead",
            ),
            (
                self.prefetch_batches.is_some() && !has_workers,
                "prefetch_batches needs workers: without, each batch is made when it is asked for. Set num_workers to at \
                 least 1, or leave it out",
            ),
            (
                self.prefetch_bytes.is_some() && !has_workers,
                "prefetch_bytes needs workers: without, each batch is made when it is asked for. Set num_workers to at \
                 least 1, or leave it out",
            ),
            (
                self.allocator.is_some() && self.pinned.is_some(),
                "allocator excludes pin_memory: each says which memory batches have. Leave one of them out",
            ),
            (
                self.prefetch_bytes.is_some() && self.prefetch_batches.is_some(),
                "prefetch_bytes excludes prefetch_batches: each says how far to run ahead. Leave one of them out",
            ),
            (
                self.persistent_workers && !has_workers,
                "persistent_workers needs workers. Set num_workers to at least 1, or leave it out",
            ),
            (
                has_timeout && !has_workers,
                "timeout needs workers: the caller cannot stop waiting for itself. Set num_workers to at least 1, or \
                 leave it out",
            ),
            (
                self.distributed.is_some() && self.shuffle && ranks_differ,
                "distributed shuffles by seed, which all ranks share, and excludes generator and global_seed. Use seed",
            ),
        ];
        match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, problem)) => Err(Error::new(ErrorKind::Config, problem)),
            None => Ok(()),
        }
    }

    /// The worker threads; `None` loads in the caller's.
    ///
    /// # Errors
    ///
    /// If they cannot be started, or `worker_init_fn` fails.
    pub(super) fn start_workers(&mut self) -> Result<Option<WorkerPool>> {
        let workers = match (self.pool.take(), self.num_workers) {
            (Some(pool), _) => Some(pool),
            (None, None | Some(NumWorkers::Fixed(0) | NumWorkers::Negative)) => None,
            (None, Some(NumWorkers::Fixed(num_workers))) => Some(WorkerPool::new(num_workers)?),
            (None, Some(NumWorkers::Auto)) => Some(WorkerPool::tunable()?),
        };
        if let (Some(workers), Some(init)) = (&workers, self.worker_init_fn.take()) {
            workers.init(init)?;
        }
        Ok(workers)
    }

    /// Who finds out how many of the workers should be busy.
    pub(super) fn tuning(&self, workers: Option<&WorkerPool>, counters: &Arc<Counters>) -> Option<Arc<Tuning>> {
        let is_auto = self.num_workers == Some(NumWorkers::Auto);
        workers.filter(|_| is_auto).map(|workers| Arc::new(Tuning::new(workers.clone(), counters)))
    }

    /// Which memory batches have; `None` is the heap.
    ///
    /// # Errors
    ///
    /// If there is no memory of the kind that was asked for.
    pub(super) fn find_allocator(&mut self) -> Result<Option<Arc<dyn HostAllocator>>> {
        match self.pinned.take() {
            Some(find) => find(),
            None => Ok(self.allocator.take()),
        }
    }

    /// How far to run ahead, and the buffers for it; an epoch has no more than `most_batches`.
    pub(super) fn pace(
        &self,
        workers: Option<&WorkerPool>,
        most_batches: usize,
        allocator: Option<Arc<dyn HostAllocator>>,
    ) -> (Pace, BufferPool) {
        let ahead = match (self.prefetch_batches, self.prefetch_bytes) {
            (Some(batches), _) => Ahead::Batches(batches),
            (None, Some(bytes)) => Ahead::Bytes(bytes),
            (None, None) => Ahead::ByCost,
        };
        let num_workers = workers.map(WorkerPool::width).unwrap_or_default();
        let most_workers = workers.map_or(0, WorkerPool::num_threads);
        let pace = Pace::new(num_workers, most_workers, ahead, self.chunk_size);
        // The batches ahead, the one the consumer holds, and the one it takes before it lets go of that.
        let in_use_at_most = pace.at_first().min(most_batches).saturating_add(2);
        let buffers = BufferPool::of(allocator, in_use_at_most, pace.small_buffers());
        (pace, buffers)
    }

    /// What to do about bad samples, of a dataset of `len` samples.
    pub(super) fn bad_samples(&self, len: Option<usize>) -> BadSamples {
        BadSamples::new(self.on_error, self.max_bad_samples, self.max_bad_share, len)
    }

    /// How long to wait for a batch; `None` is for ever, as 0 is in torch.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.filter(|timeout| !timeout.is_zero())
    }

    /// The seed of what samples draw; where none was given it is drawn here, once.
    pub(super) fn seed(&mut self) -> u64 {
        let seeding = self.seeding.get_or_insert_with(|| match self.distributed {
            Some(_) => Seeding::Seed(0),
            None => Seeding::Seed(RandomState::new().hash_one("sutler")),
        });
        match seeding {
            Seeding::Seed(seed) | Seeding::Global(seed) => *seed,
            Seeding::Generator(generator) => generator.as_ref().clone().random() as u64,
        }
    }

    /// The batches, and the seed behind them. The settings are sound.
    pub(super) fn ordering(mut self) -> Ordering {
        let seed = self.seed();
        if let Some(sampler) = self.batch_sampler {
            return Ordering { seed, sampler, distributed: self.distributed };
        }
        let mut distributed = self.distributed;
        let sampler: Box<dyn Sampler> = match (self.sampler, distributed) {
            (Some(sampler), _) => sampler,
            (None, Some(ranks)) => {
                distributed = None;
                Box::new(DistributedSampler::new(ranks).shuffle(self.shuffle).seed(seed))
            }
            (None, None) if self.shuffle => {
                let sampler = match self.seeding {
                    Some(Seeding::Generator(generator)) => RandomSampler::new(*generator),
                    Some(Seeding::Global(_)) => RandomSampler::of_global(Generator::manual_seed(seed)),
                    Some(Seeding::Seed(_)) | None => RandomSampler::new(Generator::manual_seed(seed)),
                };
                Box::new(sampler.shared_with_loader(self.persistent_workers))
            }
            (None, None) => Box::new(SequentialSampler),
        };
        let sampler = Box::new(sampler.batched(self.batch_size.unwrap_or(1), self.drop_last));
        Ordering { seed, sampler, distributed }
    }

    /// The most batches an epoch has, as far as that is known beforehand.
    pub(super) fn most_batches(&self, len: usize) -> usize {
        match (&self.sampler, &self.batch_sampler) {
            (None, None) => len.div_ceil(self.batch_size.unwrap_or(1)),
            _ => usize::MAX,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("batch_size", &self.batch_size)
            .field("shuffle", &self.shuffle)
            .field("distributed", &self.distributed)
            .field("num_workers", &self.num_workers)
            .field("prefetch_batches", &self.prefetch_batches)
            .field("prefetch_bytes", &self.prefetch_bytes)
            .field("drop_last", &self.drop_last)
            .field("in_order", &!self.out_of_order)
            .finish_non_exhaustive()
    }
}
