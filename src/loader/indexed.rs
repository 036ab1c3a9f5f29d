//! `Indexed`: batches of a dataset with random access, by number.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::last::Last;
use super::line::Line;
use super::pace::Job;
use super::source::{Load, Source};
use super::watch::{BatchId, SampleName};
use crate::collate::Collate;
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::rng::SampleRng;
use crate::sampler::{Batches, Run, RunIndices};

/// The dataset of a loader, and what is known of it.
pub(super) struct Data<D> {
    pub(super) dataset: D,
    /// Its length, asked for once.
    pub(super) len: usize,
    /// The seed of what samples draw.
    pub(super) seed: u64,
    /// The dataset's fingerprint, once somebody wants to know.
    pub(super) fingerprint: OnceLock<u64>,
}

impl<D: Dataset> Data<D> {
    /// Panics if the dataset's does.
    pub(super) fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| self.dataset.fingerprint())
    }

    pub(super) fn path(&self, name: SampleName) -> Option<PathBuf> {
        (name.index < self.len).then(|| self.dataset.path(name.index)).flatten()
    }
}

/// The samples of one epoch: a dataset, and which of it when.
pub(super) struct Indexed<D> {
    pub(super) data: Arc<Data<D>>,
    pub(super) epoch: u64,
    pub(super) batches: Batches,
    /// How many samples the largest batch has: what buffers are sized for.
    pub(super) capacity: usize,
}

impl<D> Indexed<D> {
    /// The indices of the samples of a batch.
    pub(super) fn indices<'a>(&'a self, batch: &'a Last) -> impl ExactSizeIterator<Item = usize> + 'a {
        (0..batch.len()).map(|number| batch.index(number, &self.batches))
    }
}

impl<D: Dataset + 'static> Source for Indexed<D> {
    type Sample = D::Sample;
    type Work = Run;

    fn len(&self, run: &Run) -> usize {
        run.len
    }

    fn capacity(&self, _run: &Run) -> usize {
        self.capacity
    }

    fn id(&self, run: &Run) -> BatchId {
        (self.epoch, run.place(0))
    }

    fn rng(&self, run: &Run) -> SampleRng {
        SampleRng::of_batch(self.data.seed, self.epoch, run.place(0))
    }

    fn loads<'a>(&'a self, run: &'a Run) -> impl Load<Sample = D::Sample> {
        let Data { dataset, len, seed, .. } = &*self.data;
        let (run, batches) = (*run, &self.batches);
        Loads { dataset, len: *len, seed: *seed, epoch: self.epoch, run, batches, indices: batches.indices_of(run) }
    }

    fn name(&self, run: &Run, slot: usize) -> SampleName {
        SampleName { shard: None, index: self.batches.index_at(run.place(slot)) }
    }

    fn path(&self, name: SampleName) -> Option<PathBuf> {
        self.data.path(name)
    }
}

/// What a loop over the samples of a batch needs.
struct Loads<'a, D> {
    dataset: &'a D,
    len: usize,
    seed: u64,
    epoch: u64,
    run: Run,
    batches: &'a Batches,
    indices: RunIndices<'a>,
}

impl<D: Dataset> Load for Loads<'_, D> {
    type Sample = D::Sample;

    #[inline(always)]
    fn load(&self, slot: usize) -> Result<D::Sample> {
        self.load_instead(slot, self.indices.get(slot))
    }

    /// From the whole order: what the sampler does not give, for it belongs to another split say, never comes.
    fn substitutes(&self, slot: usize) -> impl Iterator<Item = usize> {
        let mut rng = SampleRng::of_substitute(self.seed, self.epoch, self.run.place(slot));
        let places = self.batches.places() as u128;
        std::iter::repeat_with(move || self.batches.index_at(((u128::from(rng.next_u64()) * places) >> 64) as usize))
    }

    #[inline(always)]
    fn load_instead(&self, slot: usize, index: usize) -> Result<D::Sample> {
        if index >= self.len {
            return Err(beyond(index, self.len));
        }
        self.dataset.get(index, &mut SampleRng::new(self.seed, self.epoch, self.run.place(slot)))
    }
}

/// Out of line, so that the loop around is small.
#[cold]
fn beyond(index: usize, len: usize) -> Error {
    Error::new(ErrorKind::Sampler, format!("the sampler gave index {index}, but the dataset has {len} samples"))
}

impl<D, C> Line<Indexed<D>, C>
where
    D: Dataset + 'static,
    C: Collate<D::Sample> + 'static,
{
    /// Queues the batches from `first` on, as many as one job (or one batch in parts) takes, at most `most`. Returns
    /// how many.
    pub(super) fn queue(self: &Arc<Self>, first: usize, job: &Job, most: usize) -> usize {
        match *job {
            Job::Batches(batches) => {
                let batches = first..first + batches.min(most);
                let line = Arc::clone(self);
                let count = batches.len();
                self.spawn(move || {
                    let works = batches.clone().map(|batch| line.source.batches.run(batch)).collect();
                    line.make_batches(batches.start, works);
                });
                count
            }
            Job::Parts(samples) => {
                self.queue_parts(first, self.source.batches.run(first), samples);
                1
            }
        }
    }
}
