//! torchvision's `RandomEqualize`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Equalises the histogram of an image with probability `p` (`torchvision.transforms.v2.RandomEqualize`); see
/// [`Image::equalize`].
#[derive(Clone, Copy, Debug)]
pub struct RandomEqualize {
    p: f64,
}

impl RandomEqualize {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        RandomEqualize { p: probability(p) }
    }
}

/// `p = 0.5`, as in torchvision.
impl Default for RandomEqualize {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl RandomEqualize {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.equalize();
        }
        Ok(image)
    }
}

acts_on_images!(RandomEqualize);

#[cfg(test)]
mod tests {
    use super::super::tests::{always, p_is_the_share_that_changes};
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_change() {
        p_is_the_share_that_changes(RandomEqualize::new);
        assert_eq!(RandomEqualize::default().p, 0.5);
    }

    #[test]
    fn values_that_are_as_frequent_become_as_far_apart() {
        // As often as not: the steps from one to the next are the same, however far apart they were.
        let values: Vec<u8> = [10, 11, 90, 240].into_iter().flat_map(|value| [value; 255]).collect();
        let mut equalized = always(RandomEqualize::new(1.0), &values);
        equalized.dedup();
        assert_eq!(equalized, [0, 85, 170, 255]);
    }
}
