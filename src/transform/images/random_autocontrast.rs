//! torchvision's `RandomAutocontrast`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Stretches the values of an image to the whole range with probability `p`
/// (`torchvision.transforms.v2.RandomAutocontrast`); see [`Image::autocontrast`].
#[derive(Clone, Copy, Debug)]
pub struct RandomAutocontrast {
    p: f64,
}

impl RandomAutocontrast {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        RandomAutocontrast { p: probability(p) }
    }
}

/// `p = 0.5`, as in torchvision.
impl Default for RandomAutocontrast {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl RandomAutocontrast {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.autocontrast();
        }
        Ok(image)
    }
}

acts_on_images!(RandomAutocontrast);

#[cfg(test)]
mod tests {
    use super::super::tests::{always, p_is_the_share_that_changes};
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_change() {
        p_is_the_share_that_changes(RandomAutocontrast::new);
        assert_eq!(RandomAutocontrast::default().p, 0.5);
    }

    #[test]
    fn the_darkest_value_becomes_black_and_the_brightest_white() {
        assert_eq!(always(RandomAutocontrast::new(1.0), &[50, 100, 150]), [0, 127, 255]);
    }
}
