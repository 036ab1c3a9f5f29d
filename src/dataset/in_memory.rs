//! `InMemory`: samples that are there already.

use super::Dataset;
use crate::error::Result;
use crate::rng::SampleRng;

/// Samples in a vector, each cloned when it is loaded.
///
/// A `Vec` is not itself a dataset: `vec.get(0)` would then mean the dataset's `get` wherever the trait is in scope.
///
/// ```
/// use sutler::{Dataset, InMemory};
///
/// let squares: InMemory<u64> = (0..10).map(|n| n * n).collect();
/// assert_eq!(squares.len(), 10);
/// assert_eq!(InMemory::new(vec!["a", "b"]).len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct InMemory<T>(Vec<T>);

impl<T> InMemory<T> {
    /// A dataset of these samples.
    pub fn new(samples: Vec<T>) -> Self {
        InMemory(samples)
    }
}

impl<T> FromIterator<T> for InMemory<T> {
    fn from_iter<I: IntoIterator<Item = T>>(samples: I) -> Self {
        InMemory(samples.into_iter().collect())
    }
}

impl<T: Clone + Send + Sync> Dataset for InMemory<T> {
    type Sample = T;

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<T> {
        Ok(self.0[index].clone())
    }
}
