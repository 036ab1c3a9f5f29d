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

    /// The rectangle that is cut out of an image of size `from`.
    ///
    /// As in functional/_geometry.py: a smaller image is padded first, by (want - have) // 2 in front; then the crop
    /// starts at int(round((have - want) / 2)), where Python rounds halves to the even side.
    fn rect(&self, from: Size) -> Rect {
        let start = |have: usize, want: usize| match have < want {
            true => -(((want - have) / 2) as isize),
            false => ((have - want) as f64 / 2.0).round_ties_even() as isize,
        };
        let Size { height, width } = self.0;
        Rect { top: start(from.height, height), left: start(from.width, width), height, width }
    }
}

impl CenterCrop {
    fn of(&self, image: impl ImageSource, _rng: &mut SampleRng) -> Result<Image> {
        let rect = self.rect(image.size());
        image.into_crop(rect)
    }
}

acts_on_images!(CenterCrop);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crop_starts_where_torchvisions_does() {
        let start = |have: usize, want: usize| CenterCrop::new(want).rect(Size::from(have)).top;
        assert_eq!(start(10, 4), 3);
        assert_eq!(start(11, 4), 4); // 3.5 rounds to 4
        assert_eq!(start(9, 4), 2); // 2.5 rounds to 2
        assert_eq!(start(4, 4), 0);
        assert_eq!(start(4, 10), -3);
        assert_eq!(start(4, 9), -2);
    }
}
