//! torchvision's `RandomInvert`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Makes a negative of an image with probability `p` (`torchvision.transforms.v2.RandomInvert`); see [`Image::invert`].
#[derive(Clone, Copy, Debug)]
pub struct RandomInvert {
    p: f64,
}

impl RandomInvert {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        RandomInvert { p: probability(p) }
    }
}

/// `p = 0.5`, as in torchvision.
impl Default for RandomInvert {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl RandomInvert {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.invert();
        }
        Ok(image)
    }
}

acts_on_images!(RandomInvert);

#[cfg(test)]
mod tests {
    use super::super::tests::{always, p_is_the_share_that_changes};
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_change() {
        p_is_the_share_that_changes(RandomInvert::new);
        assert_eq!(RandomInvert::default().p, 0.5);
    }

    #[test]
    fn an_inverted_image_is_a_negative() {
        assert_eq!(always(RandomInvert::new(1.0), &[0, 100, 255]), [255, 155, 0]);
    }
}
