//! `BucketBatchSampler`: batches of samples of about equal length, so that little is padded.

use std::sync::Arc;

use super::{BatchSampler, Batches};
use crate::error::{Error, ErrorKind, Result};
use crate::rng::Generator;

/// Batches of sequences of about equal length (what pytorch#46176 asks for).
///
/// Each epoch is shuffled, cut into pools of many batches, each pool is sorted by length and cut into batches, and the
/// batches are shuffled: lengths within a batch are close, and both its samples and its place are random. torchtext's
/// `BucketIterator` did the same.
///
/// ```
/// use sutler::{BatchSampler, BucketBatchSampler};
///
/// let lengths = [3, 90, 5, 80, 4, 85];
/// let sampler = BucketBatchSampler::new(lengths, 3)?;
/// for batch in sampler.batches(0, 6)?.iter() {
///     let long = batch.iter().filter(|&&index| lengths[index] > 50).count();
///     assert!(long == 0 || long == 3); // never mixed
/// }
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BucketBatchSampler {
    lengths: Arc<[usize]>,
    batch_size: usize,
    pool_batches: usize,
    max_elements: usize,
    shuffle: bool,
    seed: u64,
    drop_last: bool,
}

impl BucketBatchSampler {
    /// Batches of up to `batch_size` samples, given the length of every sample of the dataset.
    ///
    /// # Errors
    ///
    /// If `batch_size` is 0.
    pub fn new(lengths: impl Into<Arc<[usize]>>, batch_size: usize) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::new(ErrorKind::Config, "batch_size must be at least 1"));
        }
        Ok(BucketBatchSampler {
            lengths: lengths.into(),
            batch_size,
            pool_batches: 100,
            max_elements: usize::MAX,
            shuffle: true,
            seed: 0,
            drop_last: false,
        })
    }

    /// How many batches are sorted together (default: 100). More waste less on padding; fewer are more random. 1 sorts
    /// within a batch only, `usize::MAX` the whole epoch.
    pub fn pool_batches(self, pool_batches: usize) -> Self {
        BucketBatchSampler { pool_batches, ..self }
    }

    /// The most elements a batch may have once it is padded to its longest sample (default: no limit): it bounds what a
    /// batch takes on the device, where a few long sequences may replace many short ones.
    pub fn max_elements(self, max_elements: usize) -> Self {
        BucketBatchSampler { max_elements, ..self }
    }

    /// Whether samples and batches come in random order (default: true).
    pub fn shuffle(self, shuffle: bool) -> Self {
        BucketBatchSampler { shuffle, ..self }
    }

    /// The seed of the order, the same on all ranks (default: 0). Epoch e draws from a generator seeded with `seed + e`.
    pub fn seed(self, seed: u64) -> Self {
        BucketBatchSampler { seed, ..self }
    }

    /// Whether to leave out the last batch of the last pool if it has fewer than `batch_size` samples (default: false).
    /// Batches that [`max_elements`](BucketBatchSampler::max_elements) made smaller are kept.
    pub fn drop_last(self, drop_last: bool) -> Self {
        BucketBatchSampler { drop_last, ..self }
    }

    /// Cuts a pool, sorted by length, into batches.
    fn cut(&self, pool: &[usize], is_last: bool, batches: &mut Vec<Vec<usize>>) {
        let mut batch: Vec<usize> = Vec::new();
        for &index in pool {
            // Sorted, so the newest is the longest.
            let padded = self.lengths[index].saturating_mul(batch.len() + 1);
            if batch.len() == self.batch_size || (padded > self.max_elements && !batch.is_empty()) {
                batches.push(std::mem::take(&mut batch));
            }
            batch.push(index);
        }
        let dropped = self.drop_last && is_last && batch.len() < self.batch_size;
        if !batch.is_empty() && !dropped {
            batches.push(batch);
        }
    }
}

impl BatchSampler for BucketBatchSampler {
    /// # Errors
    ///
    /// If there is not one length for each sample of the dataset, one is beyond
    /// [`max_elements`](BucketBatchSampler::max_elements) alone, or `pool_batches` is 0.
    fn batches(&self, epoch: u64, len: usize) -> Result<Batches> {
        let refuse = |problem: String| Err(Error::new(ErrorKind::Sampler, problem));
        if self.lengths.len() != len {
            return refuse(format!("{} lengths for a dataset of {len} samples: give one for each", self.lengths.len()));
        }
        if self.pool_batches == 0 {
            return refuse("pool_batches must be at least 1".into());
        }
        if let Some(index) = self.lengths.iter().position(|&length| length > self.max_elements) {
            return refuse(format!(
                "sample {index} has length {}, more than a batch may have (max_elements {}): leave it out, or cut it",
                self.lengths[index], self.max_elements
            ));
        }
        let mut generator = Generator::manual_seed(self.seed.wrapping_add(epoch));
        let mut order = if self.shuffle { generator.randperm(len) } else { (0..len).collect() };
        let mut batches = Vec::new();
        let pool_size = self.batch_size.saturating_mul(self.pool_batches);
        let pools = len.div_ceil(pool_size);
        for (number, pool) in order.chunks_mut(pool_size).enumerate() {
            pool.sort_by_key(|&index| self.lengths[index]);
            self.cut(pool, number + 1 == pools, &mut batches);
        }
        if !self.shuffle {
            return Ok(batches.into_iter().collect());
        }
        let places = generator.randperm(batches.len());
        Ok(places.into_iter().map(|place| std::mem::take(&mut batches[place])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(len: usize) -> Vec<usize> {
        let mut generator = Generator::manual_seed(9);
        (0..len).map(|_| 1 + generator.randint(200)).collect()
    }

    fn batches(sampler: &BucketBatchSampler, epoch: u64, len: usize) -> Vec<Vec<usize>> {
        sampler.batches(epoch, len).unwrap().iter().collect()
    }

    #[test]
    fn every_sample_comes_once_in_batches_within_the_limits() {
        let lengths = lengths(1003);
        for (pool, most) in [(1, usize::MAX), (5, 1000), (100, 400), (usize::MAX, 200)] {
            let sampler = BucketBatchSampler::new(&lengths[..], 8).unwrap().pool_batches(pool).max_elements(most);
            let batches = batches(&sampler, 2, 1003);
            for batch in &batches {
                let longest = batch.iter().map(|&index| lengths[index]).max().unwrap();
                assert!(batch.len() <= 8 && longest * batch.len() <= most);
            }
            let mut all: Vec<usize> = batches.concat();
            all.sort_unstable();
            assert_eq!(all, (0..1003).collect::<Vec<_>>());
        }
    }

    #[test]
    fn padding_is_a_small_part_of_what_random_batches_need() {
        let lengths = lengths(10_000);
        let padding = |batches: &[Vec<usize>]| -> usize {
            let longest = |batch: &[usize]| batch.iter().map(|&index| lengths[index]).max().unwrap();
            batches.iter().map(|batch| longest(batch) * batch.len()).sum::<usize>() - lengths.iter().sum::<usize>()
        };
        let sampler = BucketBatchSampler::new(&lengths[..], 32).unwrap();
        let bucketed = padding(&batches(&sampler, 0, 10_000));
        let random = padding(&batches(&sampler.clone().pool_batches(1), 0, 10_000));
        // The expected spread of 32 in a pool of 3,200 is a hundredth of that of 32 drawn from all.
        assert!(bucketed * 20 < random, "{bucketed} and {random}");
    }

    #[test]
    fn epochs_differ_and_repeat() {
        let sampler = BucketBatchSampler::new(lengths(100), 7).unwrap();
        assert_ne!(batches(&sampler, 0, 100), batches(&sampler, 1, 100));
        assert_eq!(batches(&sampler, 1, 100), batches(&sampler.clone(), 1, 100));
    }

    #[test]
    fn drop_last_leaves_out_what_does_not_fill_a_batch() {
        let sampler = BucketBatchSampler::new(lengths(100), 7).unwrap().drop_last(true);
        let batches = batches(&sampler, 0, 100);
        assert_eq!(batches.len(), 14);
        assert!(batches.iter().all(|batch| batch.len() == 7));
    }

    #[test]
    fn drop_last_drops_in_the_last_pool_only() {
        // Pools of four samples of length 10, of which three fit into a batch.
        let sampler = BucketBatchSampler::new([10; 18], 4).unwrap().pool_batches(1).max_elements(30).drop_last(true);
        let mut sizes: Vec<usize> = batches(&sampler, 0, 18).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 1, 1, 3, 3, 3, 3], "the two of the fifth pool are left out");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let sampler = BucketBatchSampler::new([3, 9, 2], 2).unwrap();
        assert_eq!(
            sampler.batches(0, 4).unwrap_err().to_string(),
            "3 lengths for a dataset of 4 samples: give one for each"
        );
        assert_eq!(
            sampler.max_elements(8).batches(0, 3).unwrap_err().to_string(),
            "sample 1 has length 9, more than a batch may have (max_elements 8): leave it out, or cut it"
        );
    }
}
