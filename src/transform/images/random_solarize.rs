//! torchvision's `RandomSolarize`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Inverts what is bright in an image with probability `p` (`torchvision.transforms.v2.RandomSolarize`); see
/// [`Image::solarize`].
#[derive(Clone, Copy, Debug)]
pub struct RandomSolarize {
    threshold: f64,
    p: f64,
}

impl RandomSolarize {
    /// Inverts values from `threshold` on: 0 inverts all, 256 none.
    pub fn new(threshold: f64) -> Self {
        RandomSolarize { threshold, p: 0.5 }
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

impl RandomSolarize {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.solarize(self.threshold);
        }
        Ok(image)
    }
}

acts_on_images!(RandomSolarize);

#[cfg(test)]
mod tests {
    use super::super::tests::{always, p_is_the_share_that_changes};
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_change() {
        p_is_the_share_that_changes(|p| RandomSolarize::new(100.0).p(p));
        assert_eq!(RandomSolarize::new(0.0).p, 0.5);
    }

    #[test]
    fn values_from_the_threshold_on_are_inverted() {
        assert_eq!(always(RandomSolarize::new(100.0).p(1.0), &[0, 99, 100, 255]), [0, 99, 155, 0]);
    }
}
