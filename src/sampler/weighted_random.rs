//! torch's `WeightedRandomSampler`, in torch's order.

use super::replay::{Replay, Sharing, shared_with_loader};
use super::{Order, Sampler};
use crate::error::{Error, ErrorKind, Result};
use crate::rng::{Generator, check_weights};

/// Samples drawn by weight (`torch.utils.data.WeightedRandomSampler`): to see rare classes as often as common ones.
///
/// ```
/// use sutler::{Generator, InMemory, Loader, WeightedRandomSampler};
///
/// // Ninety samples of class 0 and ten of class 1, drawn about equally often.
/// let labels: Vec<i64> = (0..100).map(|i| i64::from(i >= 90)).collect();
/// let weights: Vec<f64> = labels.iter().map(|&label| if label == 1 { 9.0 } else { 1.0 }).collect();
/// let sampler = WeightedRandomSampler::new(weights, 1000, Generator::manual_seed(0))?;
/// let loader = Loader::builder(InMemory::new(labels)).batch_size(1000).sampler(sampler).build()?;
/// let batch = loader.epoch().next().expect("one batch")?;
/// let rare = batch.iter().filter(|&&label| label == 1).count();
/// assert!((430..570).contains(&rare));
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Debug)]
pub struct WeightedRandomSampler {
    weights: Vec<f64>,
    num_samples: usize,
    replacement: bool,
    replay: Replay,
}

impl WeightedRandomSampler {
    /// Draws `num_samples` samples an epoch, each in proportion to its weight; weights need not add up
    /// to 1. The generator goes on from epoch to epoch.
    ///
    /// # Errors
    ///
    /// If nothing can be drawn: no weights, more than 2^24 (torch's limit), a negative or infinite one, only zeros, or
    /// `num_samples` is 0.
    pub fn new(weights: impl Into<Vec<f64>>, num_samples: usize, generator: Generator) -> Result<Self> {
        let weights = weights.into();
        if num_samples == 0 {
            return Err(Error::new(ErrorKind::Config, "num_samples must be at least 1"));
        }
        check_weights(&weights, num_samples, true)?;
        let replay = Replay::new(generator, Sharing::Own);
        Ok(WeightedRandomSampler { weights, num_samples, replacement: true, replay })
    }

    /// Whether a sample may come again in an epoch (default: true). If not, samples of weight 0 come last, and only where
    /// `num_samples` is more than there are others.
    ///
    /// # Errors
    ///
    /// If it may not, and there are fewer than `num_samples` weights.
    pub fn replacement(self, replacement: bool) -> Result<Self> {
        check_weights(&self.weights, self.num_samples, replacement)?;
        Ok(WeightedRandomSampler { replacement, ..self })
    }

    shared_with_loader!(replay);
}

impl Sampler for WeightedRandomSampler {
    /// # Errors
    ///
    /// If there is not one weight for each sample of the dataset.
    fn order(&self, epoch: u64, len: usize) -> Result<Order> {
        if self.weights.len() != len {
            return Err(Error::new(
                ErrorKind::Sampler,
                format!("{} weights for a dataset of {len} samples: give one for each", self.weights.len()),
            ));
        }
        self.replay
            .draw(
                epoch,
                len,
                |generator| generator.skip_multinomial(len, self.num_samples, self.replacement),
                |generator| generator.multinomial(&self.weights, self.num_samples, self.replacement),
            )
            .map(Order::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_the_same_whatever_was_asked_before() {
        let weights = [0.5, 1.0, 0.0, 2.0, 0.25];
        let make = |num_samples, replacement| {
            let sampler = WeightedRandomSampler::new(weights, num_samples, Generator::manual_seed(3)).unwrap();
            sampler.replacement(replacement).unwrap()
        };
        for (num_samples, replacement) in [(9, true), (1, true), (3, false)] {
            let listed = |sampler: &WeightedRandomSampler, epoch| -> Vec<usize> {
                sampler.order(epoch, 5).unwrap().iter().collect()
            };
            let in_turn = make(num_samples, replacement);
            let orders: Vec<_> = (0..6).map(|epoch| listed(&in_turn, epoch)).collect();
            for epoch in [5, 0, 3, 2] {
                assert_eq!(listed(&make(num_samples, replacement), epoch), orders[epoch as usize]);
            }
        }
    }

    #[test]
    fn weights_for_another_dataset_are_refused() {
        let sampler = WeightedRandomSampler::new([1.0, 2.0], 5, Generator::manual_seed(0)).unwrap();
        let error = sampler.order(0, 3).unwrap_err();
        assert_eq!(error.to_string(), "2 weights for a dataset of 3 samples: give one for each");
    }
}
