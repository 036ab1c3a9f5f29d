//! `Subset`: some samples of a dataset.

use std::path::PathBuf;

use super::Dataset;
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::{Fingerprint, probes};
use crate::rng::SampleRng;

/// The samples of a dataset at given indices; made by [`Dataset::subset`] (`torch.utils.data.Subset`).
#[derive(Clone, Debug)]
pub struct Subset<D> {
    dataset: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    pub(super) fn new(dataset: D, indices: Vec<usize>) -> Result<Self> {
        let len = dataset.len();
        match indices.iter().position(|&index| index >= len) {
            None => Ok(Subset { dataset, indices }),
            Some(at) => Err(Error::new(
                ErrorKind::Config,
                format!("a subset of {len} samples cannot have sample {} (its entry {at})", indices[at]),
            )),
        }
    }
}

impl<D> Subset<D> {
    /// Which samples of the whole dataset these are.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Sample = D::Sample;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<D::Sample> {
        self.dataset.get(self.indices[index], rng)
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        self.dataset.path(self.indices[index])
    }

    fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new();
        print.add(self.dataset.fingerprint());
        print.add(self.len() as u64);
        probes(self.len()).for_each(|place| print.add(self.indices[place] as u64));
        print.value()
    }
}
