//! `Map`: a dataset and a transform.

use std::path::PathBuf;

use super::Dataset;
use crate::error::Result;
use crate::rng::SampleRng;
use crate::transform::Transform;

/// A dataset whose samples pass through a transform; made by [`Dataset::map`].
#[derive(Clone, Debug)]
pub struct Map<D, T> {
    pub(super) dataset: D,
    pub(super) transform: T,
}

impl<D, T> Map<D, T> {
    pub(super) fn new(dataset: D, transform: T) -> Self {
        Map { dataset, transform }
    }
}

impl<D: Dataset, T: Transform<D::Sample>> Dataset for Map<D, T> {
    type Sample = T::Output;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<T::Output> {
        // What fails here may be the file's fault: an image is decoded by its first transform.
        self.transform.apply(self.dataset.get(index, rng)?, rng).map_err(|error| match self.dataset.path(index) {
            Some(path) => error.with_path(path),
            None => error,
        })
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        self.dataset.path(index)
    }

    fn fingerprint(&self) -> u64 {
        self.dataset.fingerprint()
    }
}
