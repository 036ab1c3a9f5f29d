//! torchvision's `RandomCrop`.

use super::{Transform, acts_on_images};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Fill, Image, ImageSource, Padding, PaddingMode, Rect, Size};
use crate::rng::SampleRng;

/// Cuts out a part of a fixed size at a random place (`torchvision.transforms.v2.RandomCrop`).
///
/// An error if the image is smaller, unless it is padded.
#[derive(Clone, Copy, Debug)]
pub struct RandomCrop {
    size: Size,
    padding: Padding,
    pad_if_needed: bool,
    mode: PaddingMode,
}

impl RandomCrop {
    /// A square of `size`, or `(height, width)`.
    pub fn new(size: impl Into<Size>) -> Self {
        RandomCrop {
            size: size.into(),
            padding: Padding::default(),
            pad_if_needed: false,
            mode: PaddingMode::default(),
        }
    }

    /// A margin that is put around the image first: of as many pixels on all sides, `(left and right, top and bottom)`,
    /// or `(left, top, right, bottom)`.
    ///
    /// # Panics
    ///
    /// If a side is negative.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        let Padding { left, top, right, bottom } = self.padding;
        assert!(left.min(top).min(right).min(bottom) >= 0, "a padding that cuts off: {:?}", self.padding);
        self
    }

    /// Whether an image that is smaller than the crop, with its margin, gets more of it: as much as it lacks, on both
    /// sides.
    pub fn pad_if_needed(mut self, pad_if_needed: bool) -> Self {
        self.pad_if_needed = pad_if_needed;
        self
    }

    /// The colour of the margin; black by default.
    pub fn fill(self, fill: impl Into<Fill>) -> Self {
        self.padding_mode(PaddingMode::Constant(fill.into()))
    }

    /// What the margin consists of.
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.mode = mode;
        self
    }

    /// Draws the part of an image of size `from`, in the image's coordinates: what lies outside is margin.
    ///
    /// # Errors
    ///
    /// If the image is too small.
    pub fn draw(&self, from: Size, rng: &mut SampleRng) -> Result<Rect> {
        let Size { height, width } = self.size;
        let mut padded = self.padding.around(from);
        if self.pad_if_needed {
            // The whole of what is missing on either side, as in torchvision: more places to draw from.
            let (rows, columns) = (height.saturating_sub(padded.height), width.saturating_sub(padded.width));
            padded.top = padded.top.saturating_sub_unsigned(rows);
            padded.left = padded.left.saturating_sub_unsigned(columns);
            padded.height = padded.height.saturating_add(rows.saturating_mul(2));
            padded.width = padded.width.saturating_add(columns.saturating_mul(2));
        }
        let (Some(rows), Some(columns)) = (padded.height.checked_sub(height), padded.width.checked_sub(width)) else {
            return Err(Error::new(
                ErrorKind::Decode,
                format!(
                    "cannot crop {} out of an image of {from}, {} with its padding: pad it more, or set pad_if_needed",
                    self.size,
                    padded.size()
                ),
            ));
        };
        let mut place = |spare: usize| match u32::try_from(spare.saturating_add(1)) {
            Ok(1) => Ok(0), // which draws nothing, as in torchvision
            Ok(places) => Ok(rng.below(places) as isize),
            Err(_) => Err(Error::new(ErrorKind::Limit, format!("a padding to {} is too large", padded.size()))),
        };
        let (top, left) = (place(rows)?, place(columns)?);
        Ok(Rect { top: padded.top.saturating_add(top), left: padded.left.saturating_add(left), height, width })
    }
}

impl RandomCrop {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let rect = self.draw(image.size(), rng)?;
        match self.mode == PaddingMode::default() || rect.is_inside(image.size()) {
            // Black outside is what a crop gives; and of a lazy image, no more need be decoded.
            true => image.into_crop(rect),
            false => image.into_image()?.window(rect, self.mode),
        }
    }
}

acts_on_images!(RandomCrop);

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(crop: RandomCrop, from: Size) -> Vec<Rect> {
        (0..500).map(|index| crop.draw(from, &mut SampleRng::new(3, 0, index)).unwrap()).collect()
    }

    /// Least and greatest row and column.
    fn range(rects: &[Rect]) -> [isize; 4] {
        let of = |f: fn(&Rect) -> isize| (rects.iter().map(f).min().unwrap(), rects.iter().map(f).max().unwrap());
        let ((top, bottom), (left, right)) = (of(|rect| rect.top), of(|rect| rect.left));
        [top, bottom, left, right]
    }

    #[test]
    fn every_place_is_drawn() {
        let from = Size { height: 12, width: 20 };
        assert_eq!(range(&draws(RandomCrop::new(10), from)), [0, 2, 0, 10]);
        assert_eq!(range(&draws(RandomCrop::new((12, 20)), from)), [0, 0, 0, 0]);
        assert_eq!(range(&draws(RandomCrop::new(10).padding((3, 1)), from)), [-1, 3, -3, 13]);
        assert_eq!(range(&draws(RandomCrop::new(10).padding((3, 0, 0, 5)), from)), [0, 7, -3, 10]);
    }

    #[test]
    fn a_smaller_image_is_an_error_or_padded_by_all_that_it_lacks() {
        let from = Size { height: 12, width: 20 };
        let crop = RandomCrop::new((15, 8));
        let error = crop.draw(from, &mut SampleRng::new(0, 0, 0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("12x20 pixels"), "{error}");
        assert_eq!(range(&draws(crop.pad_if_needed(true), from)), [-3, 0, 0, 12]);
        assert_eq!(range(&draws(crop.padding(1).pad_if_needed(true), from)), [-2, -1, -1, 13]);
        let huge = RandomCrop::new(4).padding(usize::MAX);
        assert_eq!(huge.draw(from, &mut SampleRng::new(0, 0, 0)).unwrap_err().kind(), ErrorKind::Limit);
    }

    /// The crop is cut out of the image without its margin being made; the result is the same.
    #[test]
    fn a_crop_is_that_of_the_padded_image() {
        let image = Image::new((3, 4), 3, (0..36).collect()).unwrap();
        for mode in [PaddingMode::default(), PaddingMode::Constant(9.into()), PaddingMode::Edge, PaddingMode::Reflect] {
            let crop = RandomCrop::new((3, 2)).padding(4).padding_mode(mode);
            let padded = image.pad(4, mode).unwrap();
            for index in 0..100 {
                let rng = || SampleRng::new(0, 0, index);
                let rect = crop.draw(image.size(), &mut rng()).unwrap();
                let expected = padded.crop(Rect { top: rect.top + 4, left: rect.left + 4, ..rect }).unwrap();
                assert_eq!(crop.apply(image.clone(), &mut rng()).unwrap(), expected);
            }
        }
    }

    #[test]
    #[should_panic(expected = "cuts off")]
    fn a_padding_that_cuts_off_is_refused() {
        let _ = RandomCrop::new(4).padding(Padding { left: -1, ..Padding::default() });
    }
}
