//! Loaders of both sorts, as the checks see them, and how a plan's are built.

use std::collections::VecDeque;
use std::sync::Arc;

use sutler::{
    BatchSampler, Batches, BucketBatchSampler, Collate, Dataset, Distributed, Epoch, Generator, IterableDataset,
    IterableEpoch, IterableLoader, KeyedSampler, Loader, LoaderBuilder, LoaderState, NumWorkers, Quarantine, Result,
    Stats, SubsetRandomSampler, WeightedRandomSampler, WorkerPool,
};

use crate::data::Data;
use crate::kinds::{Kind, Sequences};
use crate::plan::{Ahead, Budget, Content, Leg, Ordering, Plan, Workers};

pub trait Loading<B>: Send + Sync {
    /// The next epoch, or the one with that number.
    fn start(&self, epoch: Option<u64>) -> Box<dyn Running<B>>;
    fn resume(&self, state: &LoaderState) -> Result<Box<dyn Running<B>>>;
    /// Between two epochs.
    fn state(&self) -> Result<LoaderState>;
    fn quarantine(&self) -> Quarantine;
    fn stats(&self) -> Stats;
}

/// An epoch.
pub trait Running<B>: Iterator<Item = Result<B>> + Send {
    fn state(&self) -> LoaderState;
    /// Of the last batch the indices, and how many of them are padding, if it knows them.
    fn indices(&self) -> Option<(Vec<usize>, usize)>;
    /// How many batches are left, if it knows.
    fn left(&self) -> Option<usize>;
    /// Goes on without the batch that is due.
    fn give_up(&mut self) -> Vec<usize>;
}

impl<D, C> Loading<C::Batch> for Loader<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    fn start(&self, epoch: Option<u64>) -> Box<dyn Running<C::Batch>> {
        Box::new(epoch.map_or_else(|| self.epoch(), |epoch| self.epoch_at(epoch)))
    }

    fn resume(&self, state: &LoaderState) -> Result<Box<dyn Running<C::Batch>>> {
        Ok(Box::new(self.resume(state)?))
    }

    fn state(&self) -> Result<LoaderState> {
        self.state()
    }

    fn quarantine(&self) -> Quarantine {
        self.quarantine()
    }

    fn stats(&self) -> Stats {
        self.stats()
    }
}

impl<I, C> Loading<C::Batch> for IterableLoader<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    fn start(&self, epoch: Option<u64>) -> Box<dyn Running<C::Batch>> {
        Box::new(epoch.map_or_else(|| self.epoch(), |epoch| self.epoch_at(epoch)))
    }

    fn resume(&self, state: &LoaderState) -> Result<Box<dyn Running<C::Batch>>> {
        Ok(Box::new(self.resume(state)?))
    }

    fn state(&self) -> Result<LoaderState> {
        Ok(self.state())
    }

    fn quarantine(&self) -> Quarantine {
        self.quarantine()
    }

    fn stats(&self) -> Stats {
        self.stats()
    }
}

impl<D, C> Running<C::Batch> for Epoch<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    fn state(&self) -> LoaderState {
        self.state()
    }

    fn indices(&self) -> Option<(Vec<usize>, usize)> {
        Some((self.indices().collect(), self.padding()))
    }

    fn left(&self) -> Option<usize> {
        Some(self.len())
    }

    fn give_up(&mut self) -> Vec<usize> {
        self.give_up_batch()
    }
}

impl<I, C> Running<C::Batch> for IterableEpoch<I, C>
where
    I: IterableDataset + 'static,
    C: Collate<I::Sample> + 'static,
{
    fn state(&self) -> LoaderState {
        self.state()
    }

    fn indices(&self) -> Option<(Vec<usize>, usize)> {
        None
    }

    fn left(&self) -> Option<usize> {
        None
    }

    fn give_up(&mut self) -> Vec<usize> {
        Vec::new()
    }
}

/// The loader of a rank.
pub fn build<K: Kind>(
    plan: &Plan,
    leg: &Leg,
    rank: usize,
    pool: Option<&WorkerPool>,
    data: &Data<K>,
) -> Result<Box<dyn Loading<K::Batch>>> {
    match (data, &plan.content) {
        (Data::Indexed(chaos), Content::Indexed { len, order }) => {
            let dataset = Arc::clone(chaos).map(K::sample as fn(K::Raw, &mut _) -> _);
            let mut builder = ordered(Loader::builder(dataset), plan, *len, *order)?;
            if !order.has_own_batches() {
                builder = builder.batch_size(leg.batch_size).drop_last(plan.drop_last);
            }
            if let Some(chunk_size) = leg.chunk_size {
                builder = builder.chunk_size(chunk_size);
            }
            let builder = common(builder, plan, leg, rank, pool)?.in_order(leg.in_order);
            Ok(Box::new(builder.collate(K::collate()).build()?))
        }
        (Data::Streamed(chaos), Content::Streamed { interleave, .. }) => {
            let builder = IterableLoader::builder(Arc::clone(chaos)).interleave(*interleave);
            let builder = builder.batch_size(leg.batch_size).drop_last(plan.drop_last).seed(plan.seed);
            let builder = common(builder, plan, leg, rank, pool)?;
            Ok(Box::new(builder.collate(K::collate()).build()?))
        }
        _ => unreachable!("the data is what the plan says"),
    }
}

/// With the plan's order, of all ranks.
pub fn ordered<D: Dataset + 'static>(
    builder: LoaderBuilder<D>,
    plan: &Plan,
    len: usize,
    order: Ordering,
) -> Result<LoaderBuilder<D>> {
    let generator = Generator::manual_seed(plan.seed);
    let builder = builder.seed(plan.seed);
    Ok(match order {
        Ordering::InTurn => builder,
        Ordering::Shuffled => builder.shuffle(true),
        Ordering::Keyed => builder.sampler(KeyedSampler::new(plan.seed)),
        Ordering::Subset { without_every } => {
            builder.sampler(SubsetRandomSampler::new(subset(len, without_every), generator))
        }
        Ordering::Weighted { num_samples } => {
            let weights: Vec<f64> = (0..len).map(|index| 1.0 + (index % 4) as f64).collect();
            builder.sampler(WeightedRandomSampler::new(weights, num_samples, generator)?)
        }
        Ordering::Buckets { pool_batches, drop_last } => {
            let lengths: Vec<usize> = (0..len).map(Sequences::len).collect();
            let sampler = BucketBatchSampler::new(lengths, 7)?.pool_batches(pool_batches).max_elements(120);
            builder.batch_sampler(sampler.seed(plan.seed).drop_last(drop_last))
        }
        Ordering::Growing => builder.batch_sampler(Growing),
    })
}

pub fn subset(len: usize, without_every: usize) -> Vec<usize> {
    (0..len).filter(|index| index % without_every != 0).collect()
}

struct Growing;

impl BatchSampler for Growing {
    fn batches(&self, epoch: u64, len: usize) -> Result<Batches> {
        let mut rest: VecDeque<usize> = (0..len).rev().collect();
        let sizes = (epoch as usize..).map(|size| 1 + size % 20);
        Ok(sizes
            .map(|size| rest.drain(..size.min(rest.len())).collect())
            .take_while(|b: &Vec<_>| !b.is_empty())
            .collect())
    }
}

/// What both sorts of loaders can be told.
fn common<D, C>(
    mut builder: LoaderBuilder<D, C>,
    plan: &Plan,
    leg: &Leg,
    rank: usize,
    pool: Option<&WorkerPool>,
) -> Result<LoaderBuilder<D, C>> {
    builder = builder.on_error(plan.on_error);
    if let Some(ranks) = leg.ranks {
        builder = builder.distributed(Distributed::new(rank, ranks)?.drop_last(plan.ranks_drop_last));
    }
    builder = match (leg.workers, pool) {
        (Workers::Own(num_workers), _) => builder.num_workers(num_workers),
        (Workers::Auto, _) => builder.num_workers(NumWorkers::Auto),
        (Workers::Shared(_), Some(pool)) => builder.pool(pool),
        _ => builder,
    };
    builder = match leg.ahead {
        Ahead::Default => builder,
        Ahead::Batches(batches) => builder.prefetch_batches(batches),
        Ahead::Bytes(bytes) => builder.prefetch_bytes(bytes),
    };
    builder = match plan.budget {
        None => builder,
        Some(Budget::Samples(samples)) => builder.max_bad_samples(samples),
        Some(Budget::Percent(percent)) => builder.max_bad_share(f64::from(percent) / 100.0),
    };
    Ok(match plan.timeout {
        Some(timeout) if leg.workers != Workers::None => builder.timeout(timeout),
        _ => builder,
    })
}
