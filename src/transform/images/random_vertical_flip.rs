//! torchvision's `RandomVerticalFlip`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Mirrors an image top to bottom with probability `p` (`torchvision.transforms.v2.RandomVerticalFlip`).
#[derive(Clone, Copy, Debug)]
pub struct RandomVerticalFlip {
    p: f64,
}

impl RandomVerticalFlip {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        RandomVerticalFlip { p: probability(p) }
    }
}

/// `p = 0.5`, as in torchvision.
impl Default for RandomVerticalFlip {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl RandomVerticalFlip {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.flip_vertical();
        }
        Ok(image)
    }
}

acts_on_images!(RandomVerticalFlip);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_are_mirrored() {
        let image = Image::new((2, 1), 1, vec![1, 2]).unwrap();
        let share = |flip: RandomVerticalFlip| {
            let mirrored = (0..10_000).filter(|&index| {
                let flipped = flip.apply(image.clone(), &mut SampleRng::new(0, 0, index)).unwrap();
                flipped.pixels() == [2, 1]
            });
            mirrored.count()
        };
        assert_eq!((share(RandomVerticalFlip::new(0.0)), share(RandomVerticalFlip::new(1.0))), (0, 10_000));
        // Five standard deviations of a binomial(10000, 0.5) are 250.
        assert!(share(RandomVerticalFlip::default()).abs_diff(5000) < 250);
    }
}
