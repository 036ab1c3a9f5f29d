//! torchvision's `TenCrop`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Image, ImageSource, Size};
use crate::rng::SampleRng;

/// Cuts out the four corners and the middle, and those of the mirrored image (`torchvision.transforms.v2.TenCrop`): an
/// array in the order of [`FiveCrop`](super::FiveCrop) twice, which [`Stack`](crate::Stack) makes `[N, 10, …]` of.
///
/// An error if the image is smaller than a crop.
#[derive(Clone, Copy, Debug)]
pub struct TenCrop {
    size: Size,
    vertical_flip: bool,
}

impl TenCrop {
    /// Squares of `size`, or `(height, width)`.
    pub fn new(size: impl Into<Size>) -> Self {
        TenCrop { size: size.into(), vertical_flip: false }
    }

    /// Whether the image is mirrored top to bottom, instead of left to right (the default).
    pub fn vertical_flip(mut self, vertical_flip: bool) -> Self {
        self.vertical_flip = vertical_flip;
        self
    }
}

impl TenCrop {
    fn of(&self, image: impl ImageSource, _rng: &mut SampleRng) -> Result<[Image; 10]> {
        image.into_image()?.ten_crop(self.size, self.vertical_flip)
    }
}

acts_on_images!(TenCrop => [Image; 10]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_five_are_mirrored() {
        let image = Image::new((2, 2), 1, vec![1, 2, 3, 4]).unwrap();
        let corners = |transform: TenCrop| {
            let crops = transform.apply(image.clone(), &mut SampleRng::new(0, 0, 0)).unwrap();
            crops.map(|crop| crop.pixels()[0])
        };
        assert_eq!(corners(TenCrop::new(1)), [1, 2, 3, 4, 1, 2, 1, 4, 3, 2]);
        assert_eq!(corners(TenCrop::new(1).vertical_flip(true)), [1, 2, 3, 4, 1, 3, 4, 1, 2, 3]);
    }
}
