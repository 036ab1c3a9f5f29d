//! `Concat`: one dataset after another.

use std::path::PathBuf;

use super::Dataset;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::rng::SampleRng;

/// The samples of one dataset, then those of another; made by [`Dataset::concat`] (`torch.utils.data.ConcatDataset`).
#[derive(Clone, Debug)]
pub struct Concat<A, B> {
    first: A,
    second: B,
}

impl<A, B> Concat<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Concat { first, second }
    }
}

impl<A: Dataset, B: Dataset<Sample = A::Sample>> Dataset for Concat<A, B> {
    type Sample = A::Sample;

    fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<A::Sample> {
        match index.checked_sub(self.first.len()) {
            None => self.first.get(index, rng),
            Some(index) => self.second.get(index, rng),
        }
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        match index.checked_sub(self.first.len()) {
            None => self.first.path(index),
            Some(index) => self.second.path(index),
        }
    }

    fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new();
        print.add(self.first.fingerprint());
        print.add(self.second.fingerprint());
        print.value()
    }
}
