//! torchvision's `RandomPosterize`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Keeps the upper bits of an image's values with probability `p` (`torchvision.transforms.v2.RandomPosterize`); see
/// [`Image::posterize`].
#[derive(Clone, Copy, Debug)]
pub struct RandomPosterize {
    bits: u8,
    p: f64,
}

impl RandomPosterize {
    /// Keeps `bits` of 8.
    ///
    /// # Panics
    ///
    /// Unless `bits` is in `1..=8`. (torchvision takes 0 as well, and Pillow refuses it.)
    pub fn new(bits: u8) -> Self {
        assert!((1..=8).contains(&bits), "RandomPosterize: 1 to 8 bits can be kept, not {bits}");
        RandomPosterize { bits, p: 0.5 }
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

impl RandomPosterize {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.posterize(self.bits);
        }
        Ok(image)
    }
}

acts_on_images!(RandomPosterize);

#[cfg(test)]
mod tests {
    use super::super::tests::{always, p_is_the_share_that_changes};
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_change() {
        p_is_the_share_that_changes(|p| RandomPosterize::new(2).p(p));
        assert_eq!(RandomPosterize::new(2).p, 0.5);
    }

    #[test]
    fn only_the_upper_bits_stay() {
        assert_eq!(always(RandomPosterize::new(2).p(1.0), &[63, 64, 200, 255]), [0, 64, 192, 192]);
    }

    #[test]
    #[should_panic(expected = "1 to 8 bits can be kept, not 9")]
    fn nine_bits_are_refused() {
        RandomPosterize::new(9);
    }
}
