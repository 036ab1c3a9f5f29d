//! Samples that are in memory already: slices and vectors.

use super::Dataset;
use crate::error::Result;
use crate::rng::SampleRng;

impl<T: Clone + Send + Sync> Dataset for [T] {
    type Sample = T;

    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    #[inline]
    fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<T> {
        Ok(self[index].clone())
    }
}

impl<T: Clone + Send + Sync> Dataset for Vec<T> {
    type Sample = T;

    fn len(&self) -> usize {
        Vec::len(self)
    }

    #[inline]
    fn get(&self, index: usize, _rng: &mut SampleRng) -> Result<T> {
        Ok(self[index].clone())
    }
}
