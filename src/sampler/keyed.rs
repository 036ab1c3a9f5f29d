//! `KeyedSampler`: a random order for data sets of any size, in no memory.
//!
//! The permutation is a Feistel network over the smallest power of two that covers the length, walked along its cycle
//! until it is back in range (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).

use super::{Order, Sampler};
use crate::error::Result;
use crate::rng::SampleRng;

/// Below this length the order is shuffled and stored, in at most 16 KB: a network over a few bits is not random enough.
const SHORT: usize = 1 << 12;

/// Samples in random order, each once an epoch, where the order is computed and not stored.
///
/// A shuffled list of 10^10 indices takes 80 GB and minutes to draw. Here the sample at any position is a function of
/// (seed, epoch, length, position): it takes no memory, no time to begin, and each of a thousand ranks computes its own
/// share alone. The order is not torch's, which has nothing of the kind.
///
/// ```
/// use sutler::{Distributed, KeyedSampler, Sampler};
///
/// let order = KeyedSampler::new(42).order(0, 10_000_000_000)?;
/// let last_rank = order.shard(&Distributed::new(1023, 1024)?)?;
/// assert!(last_rank.get(5_000_000) < 10_000_000_000);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyedSampler {
    seed: u64,
}

impl KeyedSampler {
    /// The orders of `seed`, another one each epoch.
    pub fn new(seed: u64) -> Self {
        KeyedSampler { seed }
    }
}

impl Sampler for KeyedSampler {
    fn order(&self, epoch: u64, len: usize) -> Result<Order> {
        if len < SHORT {
            return Ok(Order::narrow(shuffled(self.seed, epoch, len)));
        }
        let permutation = Permutation::new(self.seed, epoch, len);
        Ok(Order::from_fn(len, move |position| permutation.get(position)))
    }
}

/// Fisher and Yates.
fn shuffled(seed: u64, epoch: u64, len: usize) -> Vec<u32> {
    let mut rng = SampleRng::new(seed, epoch, len);
    let mut indices: Vec<u32> = (0..len as u32).collect();
    for i in (1..len).rev() {
        indices.swap(i, rng.below(i as u32 + 1) as usize);
    }
    indices
}

/// Eight half rounds: what four full rounds need to look random to any test by chosen inputs (Luby and Rackoff, 1988).
const ROUNDS: usize = 8;

/// A permutation of `0..len`, for a `len` of at least [`SHORT`].
struct Permutation {
    len: u64,
    keys: [u64; ROUNDS],
    /// The bits of a number are a high part and, below it, a low part of this many.
    low_bits: u32,
    low_mask: u64,
    high_mask: u64,
}

impl Permutation {
    fn new(seed: u64, epoch: u64, len: usize) -> Self {
        let len = len as u64;
        // To write the largest number.
        let bits = u64::BITS - (len - 1).leading_zeros();
        let low_bits = bits / 2;
        let mut key = mix(seed ^ mix(epoch ^ mix(len)));
        let keys = std::array::from_fn(|_| {
            key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(key)
        });
        Permutation { len, keys, low_bits, low_mask: (1 << low_bits) - 1, high_mask: (1 << (bits - low_bits)) - 1 }
    }

    /// At most two steps on average: the network's domain is less than twice as long.
    fn get(&self, position: usize) -> usize {
        let mut number = position as u64;
        loop {
            number = self.step(number);
            if number < self.len {
                return number as usize;
            }
        }
    }

    /// A permutation of all numbers of that many bits.
    fn step(&self, number: u64) -> u64 {
        let (mut high, mut low) = (number >> self.low_bits, number & self.low_mask);
        for pair in self.keys.chunks_exact(2) {
            high ^= mix(low ^ pair[0]) & self.high_mask;
            low ^= mix(high ^ pair[1]) & self.low_mask;
        }
        high << self.low_bits | low
    }
}

/// Every bit of the result depends on every bit of the argument: the finaliser of SplitMix64 (Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_permuted_exactly() {
        for len in (0..40).chain([4095, 4096, 4097, 5000, 8191, 8192, 8193, 65_537]) {
            for (seed, epoch) in [(0, 0), (0, 1), (7, 0)] {
                let order = KeyedSampler::new(seed).order(epoch, len).unwrap();
                let mut seen = vec![false; len];
                order.iter().for_each(|index| assert!(!std::mem::replace(&mut seen[index], true), "{index} twice"));
            }
        }
    }

    #[test]
    fn seeds_epochs_and_lengths_give_other_orders() {
        let listed =
            |seed, epoch, len| KeyedSampler::new(seed).order(epoch, len).unwrap().iter().take(50).collect::<Vec<_>>();
        let orders = [listed(0, 0, 1000), listed(1, 0, 1000), listed(0, 1, 1000), listed(0, 0, 1001)];
        for (i, order) in orders.iter().enumerate() {
            assert!(orders[..i].iter().all(|other| other != order));
        }
    }

    #[test]
    fn every_sample_is_equally_likely_at_every_position() {
        // Chi-squared over all pairs of a group of positions and a group of samples, of many orders. With
        // (groups - 1)^2 degrees of freedom and a bit, five standard deviations are 5 * sqrt(2 * (groups - 1)^2).
        for (len, groups, orders) in
            [(2, 2, 20_000), (3, 3, 20_000), (5, 5, 20_000), (17, 17, 20_000), (5000, 25, 50), (8190, 9, 50)]
        {
            let mut counts = vec![0_f64; groups * groups];
            for epoch in 0..orders {
                let order = KeyedSampler::new(3).order(epoch, len).unwrap();
                for (position, index) in order.iter().enumerate() {
                    counts[position * groups / len * groups + index * groups / len] += 1.0;
                }
            }
            let expected = orders as f64 * len as f64 / (groups * groups) as f64;
            let chi: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
            let freedom = (groups as f64 - 1.0).powi(2);
            assert!((chi - freedom).abs() < 5.0 * (2.0 * freedom).sqrt() + 1.0, "len {len}: {chi} of {freedom}");
        }
    }

    #[test]
    fn neighbours_are_independent() {
        // The distance from one sample to the next, in eighths of the length, over a large order.
        let (len, mut counts) = (1_000_003, [0_f64; 8]);
        let permutation = Permutation::new(1, 0, len);
        for position in 0..100_000 {
            let distance = (permutation.get(position + 1) + len - permutation.get(position)) % len;
            counts[distance * 8 / len] += 1.0;
        }
        let chi: f64 = counts.iter().map(|count| (count - 12_500.0_f64).powi(2) / 12_500.0).sum();
        assert!(chi < 7.0 + 5.0 * 14.0_f64.sqrt(), "{chi}: {counts:?}");
    }
}
