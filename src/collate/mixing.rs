//! What `MixUp` and `CutMix` have in common: each sample of a batch meets the one before it.

use std::fmt;
use std::ops::Range;

use super::{Collate, Stack, Stackable};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::{BatchPlan, HostTensor, Shape, Slots};
use crate::rng::SampleRng;

/// A run of samples to be mixed with their neighbours once all are there.
pub struct MixPart {
    samples: Slots<f32>,
    /// `[num_classes]` each: 1 at the sample's label, else 0.
    labels: Slots<f32>,
    /// The batch's.
    pub(super) rng: SampleRng,
}

impl MixPart {
    pub(super) fn new(plan: BatchPlan<'_>) -> Self {
        let (samples, labels) = (Slots::new(plan.field(0)), Slots::new(plan.field(1)));
        MixPart { samples, labels, rng: plan.rng.clone() }
    }

    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let (samples, labels) = (self.samples.split_off(at), self.labels.split_off(at));
        MixPart { samples, labels, rng: self.rng.clone() }
    }

    pub(super) fn push<S: Stackable<Element = f32>>(&mut self, sample: S, label: i64, classes: usize) -> Result<()> {
        let place = usize::try_from(label).ok().filter(|&label| label < classes).ok_or_else(|| {
            let text = format!("its label is {label}, but there are {classes} classes, numbered from 0");
            Error::new(ErrorKind::Collate, text)
        })?;
        let row = self.labels.push(&Shape::from([classes]))?;
        row.fill(0.0);
        row[place] = 1.0;
        Stack.push(&mut self.samples, sample)
    }

    pub(super) fn rewind(&mut self, len: usize) {
        self.samples.rewind(len);
        self.labels.rewind(len);
    }

    pub(super) fn unite(&mut self, next: Self) {
        self.samples.unite(next.samples);
        self.labels.unite(next.labels);
    }

    /// The batch as it is before anything is mixed.
    pub(super) fn finish(self) -> (HostTensor<f32>, HostTensor<f32>) {
        (self.samples.finish(), self.labels.finish())
    }
}

impl fmt::Debug for MixPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MixPart").field("samples", &self.samples).finish_non_exhaustive()
    }
}

/// Combines the values `range` of each sample with those of the sample before it, and those of the first with the last's:
/// with `batch.roll(1, 0)`, as torch would say. In place, from the back, so that each neighbour is still what it was; all
/// that must be kept is the last sample's `range`.
pub(super) fn with_neighbours(
    batch: &mut HostTensor<f32>,
    range: Range<usize>,
    kept: &mut Vec<f32>,
    combine: impl Fn(&mut [f32], &[f32]),
) {
    let count = batch.shape()[0];
    let len = batch.len() / count;
    kept.clear();
    kept.extend_from_slice(&batch[(count - 1) * len..][range.clone()]);
    for number in (1..count).rev() {
        let (before, this) = batch.split_at_mut(number * len);
        combine(&mut this[range.clone()], &before[(number - 1) * len..][range.clone()]);
    }
    combine(&mut batch[range], kept);
}
