//! torch's `RandomSampler`, in torch's order.
//!
//! The rules are those of `torch/utils/data/sampler.py` and, for what a loader draws from a generator that it shares
//! with its sampler, of `torch/utils/data/dataloader.py` (torch 2.11).

use super::replay::{Replay, Sharing, shared_with_loader};
use super::{Order, Sampler, with_room};
use crate::error::{Error, ErrorKind, Result};
use crate::rng::{Generator, PermutationIndex};

/// Samples in random order, in the order in which torch draws them (`torch.utils.data.RandomSampler`).
///
/// Without replacement each sample comes once; [`num_samples`](RandomSampler::num_samples) asks for fewer or more,
/// [`replacement`](RandomSampler::replacement) draws each one independently.
///
/// ```
/// use sutler::{Generator, RandomSampler, Sampler};
///
/// let sampler = RandomSampler::new(Generator::manual_seed(0));
/// // list(RandomSampler(range(10), generator=torch.Generator().manual_seed(0)))
/// assert_eq!(sampler.order(0, 10)?.iter().collect::<Vec<_>>(), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
/// # Ok::<(), sutler::Error>(())
/// ```
#[derive(Debug)]
pub struct RandomSampler {
    replay: Replay,
    /// Whether each epoch takes one int64 to seed a fresh generator, as torch does where it is given none.
    seeds_anew: bool,
    replacement: bool,
    num_samples: Option<usize>,
}

impl RandomSampler {
    /// A random order each epoch, drawn from `generator` as it goes on from epoch to epoch.
    pub fn new(generator: Generator) -> Self {
        let replay = Replay::new(generator, Sharing::Own);
        RandomSampler { replay, seeds_anew: false, replacement: false, num_samples: None }
    }

    /// The sampler of `DataLoader(shuffle=True)` where `generator` is torch's global one.
    pub(crate) fn of_global(generator: Generator) -> Self {
        RandomSampler { seeds_anew: true, ..RandomSampler::new(generator) }
    }

    shared_with_loader!(replay);

    /// Whether a sample may come again before all have come (default: false).
    pub fn replacement(mut self, replacement: bool) -> Self {
        self.replacement = replacement;
        self
    }

    /// How many samples an epoch has (default: the length of the dataset).
    pub fn num_samples(mut self, num_samples: usize) -> Self {
        self.num_samples = Some(num_samples);
        self
    }

    /// Draws what an epoch draws, and forgets it.
    fn skip(&self, generator: &mut Generator, len: usize) {
        let num_samples = self.num_samples.unwrap_or(len);
        if self.seeds_anew {
            generator.random();
        } else if self.replacement {
            generator.skip_randint(len, num_samples);
        } else {
            (0..num_samples / len + 1).for_each(|_| generator.skip_permutation(len));
        }
    }

    /// One epoch, from the generator as it stands when the sampler's turn comes.
    fn draw(&self, generator: &mut Generator, len: usize) -> Result<Order> {
        if self.seeds_anew {
            let seed = generator.random() as u64;
            return self.draw_indices(&mut Generator::manual_seed(seed), len);
        }
        self.draw_indices(generator, len)
    }

    fn draw_indices(&self, generator: &mut Generator, len: usize) -> Result<Order> {
        let num_samples = self.num_samples.unwrap_or(len);
        Ok(if self.replacement {
            let mut indices = with_room(num_samples)?;
            indices.extend((0..num_samples).map(|_| generator.randint(len)));
            Order::from(indices)
        } else if u32::try_from(len).is_ok() {
            Order::narrow(permutations(generator, num_samples, len)?)
        } else {
            Order::from(permutations(generator, num_samples, len)?)
        })
    }
}

/// As many whole permutations as fit, **then always one more**, cut to what is left: torch draws it even where
/// nothing is left, and the generator moves on by it.
fn permutations<I: PermutationIndex>(generator: &mut Generator, num_samples: usize, len: usize) -> Result<Vec<I>> {
    let mut indices = match num_samples {
        // Nearly always, and without a copy.
        _ if num_samples == len => generator.permutation_in(with_room(len)?, len),
        _ => with_room(num_samples)?,
    };
    while indices.len() + len <= num_samples {
        indices.extend(generator.permutation::<I>(len));
    }
    match num_samples - indices.len() {
        0 => generator.skip_permutation(len),
        rest => indices.extend_from_slice(&generator.permutation_in(with_room(len)?, len)[..rest]),
    }
    Ok(indices)
}

impl Sampler for RandomSampler {
    /// # Errors
    ///
    /// If there is nothing to draw from: a dataset without samples, or `num_samples(0)` (as in torch); or no memory for so
    /// many.
    fn order(&self, epoch: u64, len: usize) -> Result<Order> {
        if len == 0 || self.num_samples == Some(0) {
            return Err(Error::new(
                ErrorKind::Sampler,
                "a random order needs at least one sample: the dataset is empty, or num_samples is 0",
            ));
        }
        self.replay.draw(epoch, len, |generator| self.skip(generator, len), |generator| self.draw(generator, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Distributed, DistributedSampler};

    #[test]
    fn an_order_for_which_there_is_no_memory_is_an_error() {
        // More than can be addressed.
        let len = 1 << 45;
        let samplers: [Box<dyn Sampler>; 4] = [
            Box::new(RandomSampler::new(Generator::manual_seed(3))),
            Box::new(RandomSampler::new(Generator::manual_seed(3)).num_samples(10)),
            Box::new(RandomSampler::new(Generator::manual_seed(3)).replacement(true)),
            Box::new(DistributedSampler::new(Distributed::default())),
        ];
        for sampler in samplers {
            let error = sampler.order(0, len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(error.to_string().starts_with("no memory for an order of 35184372088832 samples"), "{error}");
        }
    }

    #[test]
    fn an_epoch_is_the_same_whatever_was_asked_before() {
        type Shape = fn(RandomSampler) -> RandomSampler;
        let shapes: [Shape; 4] =
            [|s| s, |s| s.num_samples(4), |s| s.num_samples(25), |s| s.num_samples(25).replacement(true)];
        let makes: [fn(Generator) -> RandomSampler; 4] = [
            RandomSampler::new,
            |generator| RandomSampler::new(generator).shared_with_loader(false),
            |generator| RandomSampler::new(generator).shared_with_loader(true),
            |generator| RandomSampler::of_global(generator).shared_with_loader(false),
        ];
        for (make, shape) in makes.into_iter().flat_map(|make| shapes.map(|shape| (make, shape))) {
            let in_turn = shape(make(Generator::manual_seed(3)));
            let orders: Vec<Vec<usize>> = (0..4).map(|e| in_turn.order(e, 10).unwrap().iter().collect()).collect();
            assert_ne!(orders[0], orders[1]);
            for epoch in [2, 0, 3, 3, 1] {
                let fresh = shape(make(Generator::manual_seed(3)));
                assert_eq!(fresh.order(epoch, 10).unwrap().iter().collect::<Vec<_>>(), orders[epoch as usize]);
                assert_eq!(in_turn.order(epoch, 10).unwrap().iter().collect::<Vec<_>>(), orders[epoch as usize]);
            }
            // Another length in between must not be mistaken for this one.
            in_turn.order(0, 11).unwrap();
            assert_eq!(in_turn.order(1, 10).unwrap().iter().collect::<Vec<_>>(), orders[1]);
        }
    }

    #[test]
    fn what_cannot_be_drawn_for_its_size_is_an_error() {
        let sampler = || RandomSampler::new(Generator::manual_seed(0));
        for sampler in [sampler().num_samples(1 << 60), sampler().num_samples(1 << 60).replacement(true)] {
            assert_eq!(sampler.order(0, 10).unwrap_err().kind(), ErrorKind::Limit);
        }
        let error = sampler().order(u64::MAX, 10).unwrap_err().to_string();
        assert!(error.contains("after those of the 18446744073709551615 epochs before it"), "{error}");
    }

    #[test]
    fn nothing_to_draw_from_is_an_error() {
        let sampler = || RandomSampler::new(Generator::manual_seed(0));
        assert_eq!(sampler().order(0, 0).unwrap_err().kind(), ErrorKind::Sampler);
        assert_eq!(sampler().num_samples(0).order(0, 5).unwrap_err().kind(), ErrorKind::Sampler);
    }
}
