//! torchvision's `RandomHorizontalFlip`.

use super::{Transform, acts_on_images, probability};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Mirrors an image left to right with probability `p` (`torchvision.transforms.v2.RandomHorizontalFlip`).
#[derive(Clone, Copy, Debug)]
pub struct RandomHorizontalFlip {
    p: f64,
}

impl RandomHorizontalFlip {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        RandomHorizontalFlip { p: probability(p) }
    }
}

/// `p = 0.5`, as in torchvision.
impl Default for RandomHorizontalFlip {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl RandomHorizontalFlip {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        if rng.bernoulli(self.p) {
            image.flip_horizontal();
        }
        Ok(image)
    }
}

acts_on_images!(RandomHorizontalFlip);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_is_the_share_of_images_that_are_mirrored() {
        let image = Image::new((1, 2), 1, vec![1, 2]).unwrap();
        let share = |p: f64| {
            let flip = RandomHorizontalFlip::new(p);
            let mirrored = (0..10_000).filter(|&index| {
                let flipped = flip.apply(image.clone(), &mut SampleRng::new(0, 0, index)).unwrap();
                flipped.pixels() == [2, 1]
            });
            mirrored.count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        // Five standard deviations of a binomial(10000, 0.3) are 229.
        assert!(share(0.3).abs_diff(3000) < 229);
    }
}
