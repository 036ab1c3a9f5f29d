//! torch's `SequentialSampler`.

use super::{Order, Sampler};
use crate::error::Result;

/// Every sample once, in the order of the dataset (`torch.utils.data.SequentialSampler`).
#[derive(Clone, Copy, Debug, Default)]
pub struct SequentialSampler;

impl Sampler for SequentialSampler {
    fn order(&self, _epoch: u64, len: usize) -> Result<Order> {
        Ok(Order::sequential(len))
    }
}
