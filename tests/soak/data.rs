//! `Data`: a dataset with faults in it, with random access or in shards.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use sutler::chaos::{Chaos, Fate, Gate, Target, Truncating};
use sutler::{Dataset, IterableDataset, Result, SampleRng};

use crate::kinds::Kind;
use crate::plan::{Content, Plan};

/// Which sample.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    pub shard: Option<usize>,
    pub index: usize,
}

impl Name {
    /// The number that is in it.
    pub fn id(self) -> usize {
        id(self.shard, self.index)
    }
}

fn id(shard: Option<usize>, index: usize) -> usize {
    shard.map_or(index, |shard| 10_000 * (shard + 1) + index)
}

/// As an error names it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            Some(shard) => write!(f, "sample {} of shard {shard}", self.index),
            None => write!(f, "sample {}", self.index),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Samples with random access.
pub struct Indexed<K> {
    len: usize,
    kind: PhantomData<K>,
}

impl<K: Kind> Dataset for Indexed<K> {
    type Sample = K::Raw;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize, _: &mut SampleRng) -> Result<K::Raw> {
        K::raw(index)
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(K::path(index))
    }
}

/// Records in shards of these lengths.
pub struct Streamed<K> {
    shards: Vec<usize>,
    kind: PhantomData<K>,
}

impl<K: Kind> IterableDataset for Streamed<K> {
    type Record = K::Raw;
    type Records = Box<dyn Iterator<Item = Result<K::Raw>> + Send>;
    type Sample = K::Sample;

    fn num_shards(&self) -> usize {
        self.shards.len()
    }

    fn records(&self, shard: usize, _: u64, skip: usize) -> Result<Self::Records> {
        Ok(Box::new((skip..self.shards[shard]).map(move |index| K::raw(id(Some(shard), index)))))
    }

    fn decode(&self, raw: K::Raw, rng: &mut SampleRng) -> Result<K::Sample> {
        K::sample(raw, rng)
    }

    fn len(&self) -> Option<usize> {
        Some(self.shards.iter().sum())
    }

    fn path(&self, shard: usize) -> Option<PathBuf> {
        Some(shard_path(shard))
    }
}

fn shard_path(shard: usize) -> PathBuf {
    format!("/soak/shard {shard}").into()
}

pub enum Data<K> {
    Indexed(Arc<Chaos<Indexed<K>, Truncating>>),
    Streamed(Arc<Chaos<Streamed<K>, Truncating>>),
}

impl<K: Kind> Data<K> {
    pub fn new(plan: &Plan, gate: &Gate) -> Self {
        let kind = PhantomData;
        match &plan.content {
            Content::Indexed { len, .. } => Data::Indexed(befallen(Indexed { len: *len, kind }, plan, gate)),
            Content::Streamed { shards, .. } => {
                Data::Streamed(befallen(Streamed { shards: shards.clone(), kind }, plan, gate))
            }
        }
    }

    /// What befalls a sample.
    pub fn fate(&self, name: Name) -> Fate {
        match self {
            Data::Indexed(chaos) => chaos.fate(name.index),
            Data::Streamed(chaos) => chaos.fate((name.shard.unwrap_or_default(), name.index)),
        }
    }

    pub fn path(name: Name) -> PathBuf {
        name.shard.map_or_else(|| K::path(name.index), shard_path)
    }
}

fn befallen<D>(dataset: D, plan: &Plan, gate: &Gate) -> Arc<Chaos<D, Truncating>> {
    let faults = plan.faults;
    let rate = |percent: u32| f64::from(percent) / 100.0;
    let mut chaos = Chaos::new(dataset, faults.seed)
        .truncations(rate(faults.truncations))
        .errors(rate(faults.errors))
        .panics(rate(faults.panics))
        .transients(rate(faults.transients), faults.failures)
        .delays(rate(faults.delays), faults.delay);
    if let Some(hang) = faults.hang {
        let target: Target = (hang.shard.unwrap_or_default(), hang.index).into();
        chaos = chaos.hang_at(target, gate);
    }
    Arc::new(if faults.reading { chaos.while_reading() } else { chaos })
}
