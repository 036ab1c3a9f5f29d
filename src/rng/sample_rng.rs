//! The generator of one sample: Philox4x32-10, keyed by (seed, epoch, place).
//!
//! Philox (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter
//! into random words with no state to carry: what a sample draws depends on its key alone, and not on the thread,
//! the order or the process in which it is loaded.

/// A sample's own random numbers, keyed by (seed, epoch, place), where the place is the sample's in the epoch's order.
///
/// The same sample draws the same numbers on any number of workers or ranks, in batches of any size, after any resume;
/// another epoch draws others, and so does a sample that a sampler draws again in the same epoch. Nothing is computed until
/// the first draw, so a dataset that draws nothing pays nothing.
///
/// ```
/// use sutler::SampleRng;
///
/// let (mut a, mut b) = (SampleRng::new(0, 3, 17), SampleRng::new(0, 3, 17));
/// assert_eq!(a.next_u32(), b.next_u32());
/// ```
#[derive(Clone, Debug)]
pub struct SampleRng {
    key: [u32; 2],
    /// Block number, epoch, place low, place high.
    counter: [u32; 4],
    block: [u32; 4],
    /// Words of `block` already given out; all four at the start.
    used: u8,
}

impl SampleRng {
    /// The generator of the sample at `place` in the order of epoch `epoch`, in a run with seed `seed`.
    ///
    /// Epochs are told apart by their low 32 bits.
    pub fn new(seed: u64, epoch: u64, place: usize) -> Self {
        let place = place as u64;
        SampleRng {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, epoch as u32, place as u32, (place >> 32) as u32],
            block: [0; 4],
            used: 4,
        }
    }

    /// The generator of the batch whose first sample has that place: another stretch of the sample's numbers, from the
    /// middle on, where no sample comes.
    pub(crate) fn of_batch(seed: u64, epoch: u64, place: usize) -> Self {
        let mut rng = Self::new(seed, epoch, place);
        rng.counter[0] = 1 << 31;
        rng
    }

    /// The generator of which sample stands in for the one at that place; another stretch again.
    pub(crate) fn of_substitute(seed: u64, epoch: u64, place: usize) -> Self {
        let mut rng = Self::new(seed, epoch, place);
        rng.counter[0] = 3 << 30;
        rng
    }

    /// A generator of its own, which depends on this one and on what was drawn from it so far.
    ///
    /// For draws whose number varies, or that happen later: those that follow here do not depend on them.
    pub fn fork(&mut self) -> SampleRng {
        SampleRng { key: [self.next_u32(), self.next_u32()], counter: [0; 4], block: [0; 4], used: 4 }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.key, self.counter);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        let word = self.block[usize::from(self.used)];
        self.used += 1;
        word
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub fn uniform_range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform over `0..bound`, without bias (Lemire, "Fast random integer generation in an interval", 2019).
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "SampleRng::below: the bound must be at least 1");
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= bound.wrapping_neg() % bound {
                return (product >> 32) as u32;
            }
        }
    }

    /// Puts `items` in a random order, each equally likely (Fisher and Yates).
    ///
    /// # Panics
    ///
    /// If there are more than 2^32.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in 0..items.len().saturating_sub(1) {
            let rest = u32::try_from(items.len() - place).expect("at most 2^32 items are shuffled");
            items.swap(place, place + self.below(rest) as usize);
        }
    }

    /// True with probability `p`: never for `p <= 0`, always for `p >= 1`.
    pub fn bernoulli(&mut self, p: f64) -> bool {
        self.uniform() < p
    }
}

fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_published_ones() {
        // Known answers of philox4x32-10 from Random123's kat_vectors.
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 2], [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn seed_epoch_and_place_each_change_the_draws() {
        let draw = |seed, epoch, place| SampleRng::new(seed, epoch, place).next_u64();
        let draws =
            [draw(0, 0, 0), draw(1, 0, 0), draw(1 << 32, 0, 0), draw(0, 1, 0), draw(0, 0, 1), draw(0, 0, 1 << 32)];
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[..i].iter().all(|b| a != b), "draw {i} repeats an earlier one");
        }
    }

    #[test]
    fn a_fork_goes_its_own_way() {
        let (mut a, mut b) = (SampleRng::new(7, 0, 0), SampleRng::new(7, 0, 0));
        let (mut fork, mut again) = (a.fork(), b.fork());
        (0..100).for_each(|_| assert_eq!(fork.next_u32(), again.next_u32()));
        assert_eq!(a.next_u64(), b.next_u64());
        assert_ne!(a.fork().next_u64(), fork.next_u64());
    }

    #[test]
    fn a_batch_draws_other_numbers_than_its_first_sample() {
        let draw = |mut rng: SampleRng| rng.next_u64();
        assert_eq!(draw(SampleRng::of_batch(1, 2, 3)), draw(SampleRng::of_batch(1, 2, 3)));
        assert_ne!(draw(SampleRng::of_batch(1, 2, 3)), draw(SampleRng::new(1, 2, 3)));
        assert_ne!(draw(SampleRng::of_batch(1, 2, 3)), draw(SampleRng::of_batch(1, 2, 4)));
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut rng = SampleRng::new(1, 2, 3);
        let mut counts = [0; 6];
        for _ in 0..60_000 {
            counts[rng.below(6) as usize] += 1;
        }
        // Five standard deviations of a binomial(60000, 1/6) are 456.
        assert!(counts.iter().all(|&n: &i32| (n - 10_000).abs() < 456), "{counts:?}");
    }

    #[test]
    fn bernoulli_keeps_its_ends() {
        let mut rng = SampleRng::new(0, 0, 0);
        assert!((0..1000).all(|_| !rng.bernoulli(0.0)));
        assert!((0..1000).all(|_| rng.bernoulli(1.0)));
    }
}
