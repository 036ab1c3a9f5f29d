//! `BatchPlan`: what is known of a batch before its first sample is loaded.

use super::BufferPool;
use crate::rng::SampleRng;

/// What is known of a batch before its first sample is loaded.
#[derive(Clone, Copy, Debug)]
pub struct BatchPlan<'a> {
    /// How many samples it will have: at least one.
    pub len: usize,
    /// How many samples a full batch has: buffers are sized by it, so that a smaller last batch can share them.
    pub capacity: usize,
    /// Where its buffers come from.
    pub buffers: &'a BufferPool,
    /// Which field of the batch this is a plan for. Each field has buffers of its own, so that two fields of the same
    /// size do not run each other dry.
    pub field: usize,
    /// The batch's own generator, keyed by seed, epoch, and the place of its first sample in the epoch's order: what a
    /// collate draws, it draws from a clone.
    pub rng: &'a SampleRng,
}

impl BatchPlan<'_> {
    /// The plan for the `number`-th part of this field, for a collate that makes several tensors.
    pub fn field(mut self, number: usize) -> Self {
        // The base is larger than the number of fields that anything has (a map has one for each key), so that fields
        // of fields have numbers of their own.
        self.field = self.field.wrapping_mul(1_000_003).wrapping_add(number + 1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_fields_have_numbers_of_their_own() {
        let buffers = BufferPool::new(1);
        let whole = BatchPlan { len: 1, capacity: 1, buffers: &buffers, field: 0, rng: &SampleRng::new(0, 0, 0) };
        let mut numbers = vec![whole.field];
        for outer in (0..100).map(|number| whole.field(number)) {
            numbers.push(outer.field);
            numbers.extend((0..100).map(|number| outer.field(number).field));
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1 + 100 + 100 * 100);
    }
}
