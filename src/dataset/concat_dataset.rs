//! `ConcatDataset`: any number of datasets of one type, one after another.

use std::path::PathBuf;

use super::Dataset;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::rng::SampleRng;

/// The samples of several datasets, one dataset after another (`torch.utils.data.ConcatDataset`).
///
/// For two of different types, [`Dataset::concat`]; for several, box them: `ConcatDataset<Box<dyn Dataset<Sample = S>>>`.
///
/// ```
/// use sutler::{ConcatDataset, Dataset, InMemory};
///
/// let shards = [0..3, 3..3, 3..7].map(|range| range.collect::<InMemory<i64>>());
/// assert_eq!(ConcatDataset::new(shards).len(), 7);
/// ```
#[derive(Clone, Debug)]
pub struct ConcatDataset<D> {
    datasets: Vec<D>,
    /// Where each dataset ends.
    ends: Vec<usize>,
}

impl<D: Dataset> ConcatDataset<D> {
    /// These datasets, in this order.
    pub fn new(datasets: impl IntoIterator<Item = D>) -> Self {
        let datasets: Vec<D> = datasets.into_iter().collect();
        let mut end = 0;
        let ends = datasets.iter().map(|dataset| {
            end += dataset.len();
            end
        });
        ConcatDataset { ends: ends.collect(), datasets }
    }

    /// The dataset that a sample is in, and its index there.
    fn find(&self, index: usize) -> (&D, usize) {
        let number = self.ends.partition_point(|&end| end <= index);
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        (&self.datasets[number], index - start)
    }
}

impl<D: Dataset> Dataset for ConcatDataset<D> {
    type Sample = D::Sample;

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn get(&self, index: usize, rng: &mut SampleRng) -> Result<D::Sample> {
        let (dataset, index) = self.find(index);
        dataset.get(index, rng)
    }

    fn path(&self, index: usize) -> Option<PathBuf> {
        let (dataset, index) = self.find(index);
        dataset.path(index)
    }

    fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new();
        self.datasets.iter().for_each(|dataset| print.add(dataset.fingerprint()));
        print.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::InMemory;

    #[test]
    fn samples_come_from_the_dataset_they_are_in() {
        let parts = [0..3, 3..3, 3..7, 7..8].map(|range| range.collect::<InMemory<i64>>());
        let all = ConcatDataset::new(parts);
        assert_eq!(all.len(), 8);
        for index in 0..8 {
            assert_eq!(all.get(index, &mut SampleRng::new(0, 0, 0)).unwrap(), index as i64);
        }
    }
}
