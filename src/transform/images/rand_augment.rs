//! torchvision's `RandAugment`.

use super::augmentation_space::with_sign;
use super::{AugmentationSpace, Transform, acts_on_images, warp_settings};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, ImageSource, Warp};
use crate::rng::SampleRng;

/// Applies a few operations of one strength, drawn anew for each image (`torchvision.transforms.v2.RandAugment`; Cubuk and
/// others, "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", 2020).
///
/// ```
/// use sutler::transform::RandAugment;
///
/// let train = RandAugment::new().num_ops(2).magnitude(9); // the defaults
/// ```
///
/// # Errors
///
/// Unless the magnitude is below the number of bins.
#[derive(Clone, Copy, Debug)]
pub struct RandAugment {
    num_ops: usize,
    magnitude: usize,
    num_magnitude_bins: usize,
    warp: Warp,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self::new()
    }
}

impl RandAugment {
    /// Two operations of magnitude 9 of 31, as in torchvision.
    pub fn new() -> Self {
        RandAugment { num_ops: 2, magnitude: 9, num_magnitude_bins: 31, warp: Warp::default() }
    }

    /// How many operations, one after another. The same may be drawn again.
    pub fn num_ops(self, num_ops: usize) -> Self {
        RandAugment { num_ops, ..self }
    }

    /// How strong they are: which of the bins, from 0.
    pub fn magnitude(self, magnitude: usize) -> Self {
        RandAugment { magnitude, ..self }
    }

    /// How many steps there are from the weakest to the strongest magnitude.
    ///
    /// # Panics
    ///
    /// If there are fewer than two.
    pub fn num_magnitude_bins(self, bins: usize) -> Self {
        assert!(bins >= 2, "num_magnitude_bins: at least 2, not {bins}");
        RandAugment { num_magnitude_bins: bins, ..self }
    }

    warp_settings!(Nearest);

    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let RandAugment { num_ops, magnitude, num_magnitude_bins: bins, ref warp } = *self;
        if magnitude >= bins {
            let text = format!("RandAugment: magnitude {magnitude} of {bins} bins, which are numbered from 0");
            return Err(Error::new(ErrorKind::Config, text));
        }
        let mut image = image.into_image()?;
        let (space, size) = (AugmentationSpace::RAND_AUGMENT, image.size());
        for _ in 0..num_ops {
            let op = space.draw(rng);
            let magnitude = with_sign(op, space.magnitude(op, magnitude, bins, size), rng);
            image = op.apply(image, magnitude, warp)?;
        }
        Ok(image)
    }
}

acts_on_images!(RandAugment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magnitude_that_no_bin_has_is_an_error() {
        let image = Image::new(2, 1, vec![0; 4]).unwrap();
        let error = RandAugment::new().magnitude(31).apply(image, &mut SampleRng::new(0, 0, 0)).unwrap_err();
        assert_eq!(error.to_string(), "RandAugment: magnitude 31 of 31 bins, which are numbered from 0");
    }

    #[test]
    fn no_operations_change_nothing_and_draw_nothing() {
        let image = Image::new(2, 1, vec![1, 2, 3, 4]).unwrap();
        let (mut rng, mut untouched) = (SampleRng::new(0, 0, 0), SampleRng::new(0, 0, 0));
        assert_eq!(RandAugment::new().num_ops(0).apply(image.clone(), &mut rng).unwrap(), image);
        assert_eq!(rng.next_u32(), untouched.next_u32());
    }
}
