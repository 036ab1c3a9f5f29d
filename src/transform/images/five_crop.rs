//! torchvision's `FiveCrop`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Image, ImageSource, Size};
use crate::rng::SampleRng;

/// Cuts out the four corners and the middle (`torchvision.transforms.v2.FiveCrop`): an array of top left, top right,
/// bottom left, bottom right and centre, which [`Stack`](crate::Stack) makes `[N, 5, …]` of.
///
/// An error if the image is smaller than a crop.
#[derive(Clone, Copy, Debug)]
pub struct FiveCrop(Size);

impl FiveCrop {
    /// Squares of `size`, or `(height, width)`.
    pub fn new(size: impl Into<Size>) -> Self {
        FiveCrop(size.into())
    }
}

impl FiveCrop {
    fn of(&self, image: impl ImageSource, _rng: &mut SampleRng) -> Result<[Image; 5]> {
        image.into_image()?.five_crop(self.0)
    }
}

acts_on_images!(FiveCrop => [Image; 5]);
