//! `Source`: where the samples of an epoch come from.

use std::path::PathBuf;

use super::watch::{BatchId, SampleName};
use crate::error::Result;
use crate::rng::SampleRng;

/// Where the samples of an epoch come from.
pub(super) trait Source: Send + Sync + 'static {
    /// What a sample is.
    type Sample: Send;
    /// What it takes to make one batch.
    type Work: Send + Sync + 'static;

    /// How many samples the batch has: at least one.
    fn len(&self, work: &Self::Work) -> usize;

    /// How many samples the batches have that can share buffers with it: at least as many.
    fn capacity(&self, work: &Self::Work) -> usize;

    /// Which batch it is.
    fn id(&self, work: &Self::Work) -> BatchId;

    /// The batch's own generator.
    fn rng(&self, work: &Self::Work) -> SampleRng;

    /// What loads the samples of a batch.
    fn loads<'a>(&'a self, work: &'a Self::Work) -> impl Load<Sample = Self::Sample>;

    /// What the sample for a slot is called.
    fn name(&self, work: &Self::Work, slot: usize) -> SampleName;

    /// The path of the file that a sample comes from.
    fn path(&self, name: SampleName) -> Option<PathBuf>;
}

/// Loads the samples of one batch. Made once for many of them, so that what they have in common is looked up before the
/// loop; and no closure, because one of this size is called and not inlined, which costs as much as a cheap sample.
pub(super) trait Load {
    type Sample;

    /// Loads the sample for a slot of the batch; each slot once.
    fn load(&self, slot: usize) -> Result<Self::Sample>;

    /// Which samples may stand in for that of a slot, drawn one after another; none if there are no others to be had.
    fn substitutes(&self, slot: usize) -> impl Iterator<Item = usize>;

    /// Loads a sample to stand in for that of a slot.
    fn load_instead(&self, slot: usize, index: usize) -> Result<Self::Sample>;
}
