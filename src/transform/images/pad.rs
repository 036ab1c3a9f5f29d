//! torchvision's `Pad`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Fill, Image, ImageSource, Padding, PaddingMode};
use crate::rng::SampleRng;

/// Puts a margin around an image (`torchvision.transforms.v2.Pad`); black by default.
#[derive(Clone, Copy, Debug)]
pub struct Pad {
    padding: Padding,
    mode: PaddingMode,
}

impl Pad {
    /// A margin of as many pixels on all sides, `(left and right, top and bottom)`, or `(left, top, right, bottom)`.
    pub fn new(padding: impl Into<Padding>) -> Self {
        Pad { padding: padding.into(), mode: PaddingMode::default() }
    }

    /// The colour of the margin.
    pub fn fill(self, fill: impl Into<Fill>) -> Self {
        self.padding_mode(PaddingMode::Constant(fill.into()))
    }

    /// What the margin consists of.
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.mode = mode;
        self
    }
}

impl Pad {
    fn of(&self, image: impl ImageSource, _rng: &mut SampleRng) -> Result<Image> {
        image.into_image()?.pad(self.padding, self.mode)
    }
}

acts_on_images!(Pad);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_black_unless_it_is_told_otherwise() {
        let padded = |pad: Pad| {
            let image = Image::new((1, 2), 1, vec![1, 2]).unwrap();
            let (padded, label) = pad.apply((image, 7), &mut SampleRng::new(0, 0, 0)).unwrap();
            assert_eq!(label, 7);
            padded.pixels().to_vec()
        };
        assert_eq!(padded(Pad::new((2, 0))), [0, 0, 1, 2, 0, 0]);
        assert_eq!(padded(Pad::new((2, 0)).fill(9)), [9, 9, 1, 2, 9, 9]);
        assert_eq!(padded(Pad::new((1, 0, 2, 0)).padding_mode(PaddingMode::Edge)), [1, 1, 2, 2, 2]);
    }
}
