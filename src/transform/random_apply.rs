//! torchvision's `RandomApply`.

use super::{PassThrough, Transform, probability};
use crate::error::Result;
use crate::rng::SampleRng;

/// Applies a transform, or a tuple of them, with probability `p` (`torchvision.transforms.v2.RandomApply`).
///
/// It must give what it takes (of a lazy image, an `Image` will do).
///
/// ```
/// # #[cfg(feature = "vision")]
/// # fn main() -> sutler::Result<()> {
/// use sutler::image::Image;
/// use sutler::transform::{RandomApply, RandomHorizontalFlip, RandomResizedCrop, ToTensor};
/// use sutler::{Dataset, ImageFolder, SampleRng};
///
/// let darken = |(mut image, label): (Image, i64), rng: &mut SampleRng| {
///     let amount = rng.below(100) as u8;
///     image.pixels_mut().iter_mut().for_each(|value| *value = value.saturating_sub(amount));
///     Ok((image, label))
/// };
/// let train = ImageFolder::open("fixtures/shapes/train")?.map((
///     RandomResizedCrop::new(64),
///     RandomApply::new((darken, RandomHorizontalFlip::default()), 0.3),
///     ToTensor::f32(),
/// ));
/// # train.get(0, &mut SampleRng::new(0, 0, 0))?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "vision"))]
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RandomApply<T> {
    transform: T,
    p: f64,
}

impl<T> RandomApply<T> {
    /// torchvision's default for `p` is 0.5.
    ///
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(transform: T, p: f64) -> Self {
        RandomApply { transform, p: probability(p) }
    }
}

impl<S: PassThrough<T::Output>, T: Transform<S>> Transform<S> for RandomApply<T> {
    type Output = T::Output;

    fn apply(&self, sample: S, rng: &mut SampleRng) -> Result<T::Output> {
        match rng.bernoulli(self.p) {
            true => self.transform.apply(sample, rng),
            false => sample.pass_through(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_is_the_share_of_samples_that_are_transformed() {
        let share = |p: f64| {
            let negate = RandomApply::new(|x: i32, _: &mut SampleRng| Ok(-x), p);
            let count = |index| negate.apply(1, &mut SampleRng::new(0, 0, index)).unwrap() == -1;
            (0..10_000).filter(|&index| count(index)).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        // Five standard deviations of a binomial(10000, 0.3) are 229.
        assert!(share(0.3).abs_diff(3000) < 229);
    }
}
