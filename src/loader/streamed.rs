//! `Streamed`: batches of an iterable dataset, of the records that were read for them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::source::{Load, Source};
use super::watch::{BatchId, SampleName};
use crate::dataset::IterableDataset;
use crate::error::Result;
use crate::rng::SampleRng;

/// The samples of one epoch of an iterable dataset.
pub(super) struct Streamed<I> {
    pub(super) dataset: Arc<I>,
    pub(super) seed: u64,
    pub(super) epoch: u64,
}

/// The records of one batch.
pub(super) struct Records<R> {
    pub(super) entries: Vec<Entry<R>>,
    /// How many the batches have whose buffers it shares.
    pub(super) capacity: usize,
}

/// One record on its way into a batch.
pub(super) struct Entry<R> {
    name: SampleName,
    /// Taken by whoever decodes it.
    record: Mutex<Option<Result<R>>>,
}

impl<R> Entry<R> {
    pub(super) fn new(name: SampleName, record: Result<R>) -> Self {
        Entry { name, record: Mutex::new(Some(record)) }
    }
}

impl<I: IterableDataset + 'static> Source for Streamed<I> {
    type Sample = I::Sample;
    type Work = Records<I::Record>;

    fn len(&self, work: &Self::Work) -> usize {
        work.entries.len()
    }

    fn capacity(&self, work: &Self::Work) -> usize {
        work.capacity
    }

    fn id(&self, work: &Self::Work) -> BatchId {
        (self.epoch, place(work.entries[0].name))
    }

    fn rng(&self, work: &Self::Work) -> SampleRng {
        SampleRng::of_batch(self.seed, self.epoch, place(work.entries[0].name))
    }

    fn loads<'a>(&'a self, work: &'a Self::Work) -> impl Load<Sample = I::Sample> {
        Decoding { source: self, entries: &work.entries }
    }

    fn name(&self, work: &Self::Work, slot: usize) -> SampleName {
        work.entries[slot].name
    }

    fn path(&self, name: SampleName) -> Option<PathBuf> {
        name.shard.and_then(|shard| self.dataset.path(shard))
    }
}

/// What a record's draws are keyed by.
fn place(name: SampleName) -> usize {
    // A shard has fewer than 2^40 records, and there are fewer than 2^24 shards; beyond, draws repeat. (2^20 and 2^12 where
    // a usize has 32 bits.)
    const RECORD_BITS: u32 = usize::BITS * 5 / 8;
    name.shard.unwrap_or(0) << RECORD_BITS | name.index
}

/// The records of a batch, becoming samples.
struct Decoding<'a, I: IterableDataset> {
    source: &'a Streamed<I>,
    entries: &'a [Entry<I::Record>],
}

impl<I: IterableDataset> Load for Decoding<'_, I> {
    type Sample = I::Sample;

    fn load(&self, slot: usize) -> Result<I::Sample> {
        let Streamed { dataset, seed, epoch } = self.source;
        let Entry { name, record } = &self.entries[slot];
        let record = record.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a slot is loaded once")?;
        dataset.decode(record, &mut SampleRng::new(*seed, *epoch, place(*name)))
    }

    fn substitutes(&self, _slot: usize) -> impl Iterator<Item = usize> {
        std::iter::empty()
    }

    fn load_instead(&self, _slot: usize, _index: usize) -> Result<I::Sample> {
        unreachable!("there are no substitutes")
    }
}
