//! torch's `SubsetRandomSampler`, in torch's order.

use super::replay::{Replay, Sharing, shared_with_loader};
use super::{Order, Sampler};
use crate::error::Result;
use crate::rng::Generator;

/// Given samples in random order (`torch.utils.data.SubsetRandomSampler`), each once an epoch.
///
/// ```
/// use sutler::{Generator, Sampler, SubsetRandomSampler};
///
/// let sampler = SubsetRandomSampler::new([5, 3, 9, 11], Generator::manual_seed(0));
/// let mut order: Vec<usize> = sampler.order(0, 12)?.iter().collect();
/// order.sort();
/// assert_eq!(order, [3, 5, 9, 11]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Debug)]
pub struct SubsetRandomSampler {
    indices: Vec<usize>,
    replay: Replay,
}

impl SubsetRandomSampler {
    /// The samples at `indices`, in an order drawn from `generator`, which goes on from epoch to epoch.
    pub fn new(indices: impl Into<Vec<usize>>, generator: Generator) -> Self {
        SubsetRandomSampler { indices: indices.into(), replay: Replay::new(generator, Sharing::Own) }
    }

    shared_with_loader!(replay);
}

impl Sampler for SubsetRandomSampler {
    fn order(&self, epoch: u64, _len: usize) -> Result<Order> {
        let len = self.indices.len();
        let permutation = self.replay.draw(
            epoch,
            len,
            |generator| generator.skip_permutation(len),
            |generator| Ok(generator.permutation::<usize>(len)),
        )?;
        Ok(permutation.into_iter().map(|place| self.indices[place]).collect())
    }
}
