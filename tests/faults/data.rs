//! The same samples for a loader of either kind: a function of the sample's number, which fails, panics or waits as a
//! test likes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sutler::{
    Dataset, Epoch, HostTensor, IterableDataset, IterableEpoch, IterableLoader, Loader, LoaderBuilder, Result,
    SampleRng, Stack, Stats, WorkerPool,
};

use crate::fake_memory::FakePinned;

/// Who calls the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Dataset::get`.
    Indexed,
    /// `IterableDataset::decode`.
    Decoded,
    /// The reader of a shard.
    Read,
    /// `IterableDataset::records`, with the number of the shard's first sample.
    Opened,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Indexed, Kind::Decoded, Kind::Read, Kind::Opened];

/// How many shards the samples lie in. One of each in turn, they are in the order of their numbers.
pub(crate) const SHARDS: usize = 4;

/// Samples 0, 1, 2, ….
#[derive(Clone)]
pub(crate) struct Samples {
    pub(crate) kind: Kind,
    pub(crate) len: usize,
    pub(crate) load: Arc<dyn Fn(usize) -> Result<i64> + Send + Sync>,
}

impl Samples {
    pub(crate) fn new(kind: Kind, len: usize, load: impl Fn(usize) -> Result<i64> + Send + Sync + 'static) -> Self {
        Samples { kind, len, load: Arc::new(load) }
    }

    /// The sample, made by the function if it is called there.
    fn at(&self, kind: Kind, number: usize) -> Result<i64> {
        if self.kind == kind { (self.load)(number) } else { Ok(number as i64) }
    }
}

impl Dataset for Samples {
    type Sample = i64;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<i64> {
        self.at(Kind::Indexed, index)
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(format!("/data/{index}.bin").into())
    }
}

impl IterableDataset for Samples {
    type Record = i64;
    type Records = Box<dyn Iterator<Item = Result<i64>> + Send>;
    type Sample = i64;

    fn num_shards(&self) -> usize {
        SHARDS
    }

    fn records(&self, shard: usize, _: u64, skip: usize) -> Result<Self::Records> {
        self.at(Kind::Opened, shard)?;
        let samples = self.clone();
        let numbers = (shard..self.len).step_by(SHARDS).skip(skip);
        Ok(Box::new(numbers.map(move |number| samples.at(Kind::Read, number))))
    }

    fn decode(&self, record: i64, _: &mut SampleRng) -> Result<i64> {
        self.at(Kind::Decoded, record as usize)
    }

    fn path(&self, shard: usize) -> Option<PathBuf> {
        Some(format!("/data/{shard}.tar").into())
    }
}

/// What a message calls a sample.
pub(crate) fn name(kind: Kind, number: usize) -> String {
    match kind {
        Kind::Indexed => format!("sample {number} (/data/{number}.bin)"),
        _ => format!("sample {} of shard {} (/data/{}.tar)", number / SHARDS, number % SHARDS, number % SHARDS),
    }
}

/// What is set beside the dataset.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) batch_size: usize,
    /// Threads of its own, where there is no pool.
    pub(crate) num_workers: usize,
    pub(crate) pool: Option<WorkerPool>,
    pub(crate) prefetch_batches: Option<usize>,
    pub(crate) chunk_size: Option<usize>,
    pub(crate) out_of_order: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) memory: Option<FakePinned>,
}

impl Settings {
    pub(crate) fn apply<D, C>(&self, builder: LoaderBuilder<D, C>) -> LoaderBuilder<D, C> {
        let mut builder = builder.batch_size(self.batch_size).seed(0);
        builder = match &self.pool {
            Some(pool) => builder.pool(pool),
            None => builder.num_workers(self.num_workers),
        };
        if let Some(batches) = self.prefetch_batches {
            builder = builder.prefetch_batches(batches);
        }
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        match &self.memory {
            Some(memory) => builder.allocator(memory.clone()),
            None => builder,
        }
    }
}

/// A loader of either kind.
#[derive(Debug)]
pub(crate) enum AnyLoader {
    Indexed(Loader<Samples>),
    Streamed(IterableLoader<Samples>),
}

/// An epoch of either kind.
pub(crate) enum AnyEpoch {
    Indexed(Epoch<Samples, Stack>),
    Streamed(IterableEpoch<Samples, Stack>),
}

impl AnyLoader {
    pub(crate) fn new(samples: Samples, settings: &Settings) -> Self {
        match samples.kind {
            Kind::Indexed => {
                let builder = settings.apply(Loader::builder(samples)).in_order(!settings.out_of_order);
                let builder = match settings.chunk_size {
                    Some(samples) => builder.chunk_size(samples),
                    None => builder,
                };
                AnyLoader::Indexed(builder.build().unwrap())
            }
            _ => AnyLoader::Streamed(settings.apply(IterableLoader::builder(samples)).build().unwrap()),
        }
    }

    pub(crate) fn epoch(&self) -> AnyEpoch {
        match self {
            AnyLoader::Indexed(loader) => AnyEpoch::Indexed(loader.epoch()),
            AnyLoader::Streamed(loader) => AnyEpoch::Streamed(loader.epoch()),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        match self {
            AnyLoader::Indexed(loader) => loader.stats(),
            AnyLoader::Streamed(loader) => loader.stats(),
        }
    }
}

impl Iterator for AnyEpoch {
    type Item = Result<Vec<i64>>;

    fn next(&mut self) -> Option<Result<Vec<i64>>> {
        let batch: Result<HostTensor<i64>> = match self {
            AnyEpoch::Indexed(epoch) => epoch.next(),
            AnyEpoch::Streamed(epoch) => epoch.next(),
        }?;
        Some(batch.map(|batch| batch.to_vec()))
    }
}

/// The numbers below `len`, in batches.
pub(crate) fn numbers(len: usize, batch_size: usize) -> Vec<Vec<i64>> {
    (0..len as i64).collect::<Vec<_>>().chunks(batch_size).map(<[i64]>::to_vec).collect()
}
