//! `BatchPlan`: what is known of a batch before its first sample is loaded.

use super::BufferPool;

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
}

impl BatchPlan<'_> {
    /// The plan for the `number`-th part of this field, for a collate that makes several tensors.
    pub fn field(mut self, number: usize) -> Self {
        self.field = self.field.wrapping_mul(31).wrapping_add(number + 1);
        self
    }
}
