//! Chaos in data that is read one record after another.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Chaos, Cut, Target};
use crate::dataset::IterableDataset;
use crate::error::{Error, Result};
use crate::rng::SampleRng;

impl<I: IterableDataset, C: Cut<I::Record>> IterableDataset for Chaos<I, C> {
    /// With its shard and number, which its fate depends on.
    type Record = (Target, I::Record);
    type Records = Box<dyn Iterator<Item = Result<Self::Record>> + Send>;
    type Sample = I::Sample;

    fn num_shards(&self) -> usize {
        self.dataset.num_shards()
    }

    fn records(&self, shard: usize, epoch: u64, skip: usize) -> Result<Self::Records> {
        let plan = Arc::clone(&self.plan);
        let targets = (skip..).map(move |index| Target { shard, index });
        // Behind the record, since one that does not exist has no fate.
        let records = self.dataset.records(shard, epoch, skip)?.zip(targets).map(move |(record, target)| {
            let record = record?;
            if plan.reading {
                plan.strike(target).map_err(|error| named(error, target))?;
            }
            Ok((target, record))
        });
        Ok(Box::new(records))
    }

    fn decode(&self, (target, record): Self::Record, rng: &mut SampleRng) -> Result<I::Sample> {
        if !self.plan.reading {
            self.plan.strike(target).map_err(|error| named(error, target))?;
        }
        let record = match self.plan.keep(target) {
            Some(keep) => self.cut.cut(record, keep).map_err(|error| named(error, target))?,
            None => record,
        };
        self.dataset.decode(record, rng)
    }

    fn len(&self) -> Option<usize> {
        self.dataset.len()
    }

    fn path(&self, shard: usize) -> Option<PathBuf> {
        self.dataset.path(shard)
    }

    fn fingerprint(&self) -> u64 {
        self.dataset.fingerprint()
    }
}

/// Adds which record it was, for those who read without a loader.
#[cold]
fn named(error: Error, target: Target) -> Error {
    error.with_index(target.index).with_shard(Some(target.shard))
}
