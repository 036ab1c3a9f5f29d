//! `Draw`: random choices that a seed repeats.

use sutler::SampleRng;

pub struct Draw(SampleRng);

impl Draw {
    pub fn new(seed: u64, round: u64, number: usize) -> Self {
        Draw(SampleRng::new(seed, round, number))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.below(100) < percent
    }

    pub fn from(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        range.start() + self.0.below((range.end() - range.start() + 1) as u32) as usize
    }

    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.0.below(all.len() as u32) as usize].clone()
    }

    pub fn seed(&mut self) -> u64 {
        u64::from(self.0.next_u32())
    }
}
