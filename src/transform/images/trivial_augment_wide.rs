//! torchvision's `TrivialAugmentWide`.

use super::augmentation_space::with_sign;
use super::{AugmentationSpace, Transform, acts_on_images, warp_settings};
use crate::error::Result;
use crate::image::{Image, ImageSource, Warp};
use crate::rng::SampleRng;

/// Applies one operation, drawn for each image with its strength (`torchvision.transforms.v2.TrivialAugmentWide`; Müller
/// and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", 2021).
#[derive(Clone, Copy, Debug)]
pub struct TrivialAugmentWide {
    num_magnitude_bins: usize,
    warp: Warp,
}

impl Default for TrivialAugmentWide {
    fn default() -> Self {
        Self::new()
    }
}

impl TrivialAugmentWide {
    /// With 31 magnitudes, as in torchvision.
    pub fn new() -> Self {
        TrivialAugmentWide { num_magnitude_bins: 31, warp: Warp::default() }
    }

    /// How many steps there are from the weakest to the strongest magnitude.
    ///
    /// # Panics
    ///
    /// If there are fewer than two.
    pub fn num_magnitude_bins(self, bins: usize) -> Self {
        assert!(bins >= 2, "num_magnitude_bins: at least 2, not {bins}");
        TrivialAugmentWide { num_magnitude_bins: bins, ..self }
    }

    warp_settings!(Nearest);

    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let image = image.into_image()?;
        let (space, bins) = (AugmentationSpace::TRIVIAL_AUGMENT_WIDE, self.num_magnitude_bins);
        let op = space.draw(rng);
        let magnitude = op.has_magnitude().then(|| rng.below(bins as u32) as usize);
        let magnitude = magnitude.and_then(|bin| space.magnitude(op, bin, bins, image.size()));
        let magnitude = with_sign(op, magnitude, rng);
        op.apply(image, magnitude, &self.warp)
    }
}

acts_on_images!(TrivialAugmentWide);
