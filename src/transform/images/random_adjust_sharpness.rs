//! torchvision's `RandomAdjustSharpness`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Blurs or sharpens an image with probability `p` (`torchvision.transforms.v2.RandomAdjustSharpness`); see
/// [`Image::adjust_sharpness`].
#[derive(Clone, Copy, Debug)]
pub struct RandomAdjustSharpness {
    sharpness_factor: f64,
    p: f64,
}

impl RandomAdjustSharpness {
    /// 0 is a blurred image, 1 the image as it is, 2 a sharper one.
    ///
    /// # Panics
    ///
    /// If the factor is negative.
    pub fn new(sharpness_factor: f64) -> Self {
        assert!(sharpness_factor >= 0.0, "RandomAdjustSharpness: a factor is not negative, and {sharpness_factor} is");
        RandomAdjustSharpness { sharpness_factor, p: 0.5 }
    }

    /// How likely it is that an image is changed: 0.5 by default.
    ///
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn p(mut self, p: f64) -> Self {
        self.p = probability(p);
        self
    }
}

impl RandomAdjustSharpness {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.adjust_sharpness(self.sharpness_factor);
        }
        Ok(image)
    }
}

acts_on_images!(RandomAdjustSharpness);

#[cfg(test)]
mod tests {
    use super::super::tests::p_is_the_share_that_changes;
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_change() {
        p_is_the_share_that_changes(|p| RandomAdjustSharpness::new(0.0).p(p));
        assert_eq!(RandomAdjustSharpness::new(0.0).p, 0.5);
    }

    #[test]
    fn a_factor_of_zero_blurs_and_one_of_two_sharpens() {
        let middle = |factor: f64| {
            let image = Image::new(3, 1, vec![100, 100, 100, 100, 126, 100, 100, 100, 100]).unwrap();
            let sharpen = RandomAdjustSharpness::new(factor).p(1.0);
            sharpen.apply(image, &mut SampleRng::new(0, 0, 0)).unwrap().pixels()[4]
        };
        assert_eq!((middle(0.0), middle(1.0), middle(2.0)), (110, 126, 142));
    }

    #[test]
    #[should_panic(expected = "a factor is not negative")]
    fn a_negative_factor_is_refused() {
        RandomAdjustSharpness::new(-1.0);
    }
}
