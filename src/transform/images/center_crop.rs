//! torchvision's `CenterCrop`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Image, ImageSource, Rect, Size};
use crate::rng::SampleRng;

/// Cuts out the middle of an image (`torchvision.transforms.v2.CenterCrop`); an image that is smaller gets black
/// margins.
#[derive(Clone, Copy, Debug)]
pub struct CenterCrop(Size);

impl CenterCrop {
    /// A square of `size`, or `(height, width)`.
    pub fn new(size: impl Into<Size>) -> Self {
        CenterCrop(size.into())
    }
}

impl CenterCrop {
    fn of(&self, image: impl ImageSource, _rng: &mut SampleRng) -> Result<Image> {
        let rect = Rect::centered(image.size(), self.0);
        image.into_crop(rect)
    }
}

acts_on_images!(CenterCrop);
