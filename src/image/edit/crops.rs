//! Crops at fixed places: the middle, and the corners.

use crate::error::{Error, ErrorKind, Result};
use crate::image::{Image, Rect, Size};

impl Image {
    /// The middle of the image; a smaller one gets black margins
    /// (`torchvision.transforms.v2.functional.center_crop`).
    ///
    /// # Errors
    ///
    /// If `size` is empty, or has more pixels than [`Limits`](crate::image::Limits) allow by default.
    pub fn center_crop(&self, size: impl Into<Size>) -> Result<Image> {
        self.crop(Rect::centered(self.size(), size.into()))
    }

    /// The four corners and the middle: top left, top right, bottom left, bottom right, centre
    /// (`torchvision.transforms.v2.functional.five_crop`).
    ///
    /// # Errors
    ///
    /// If `size` is empty, or larger than the image.
    pub fn five_crop(&self, size: impl Into<Size>) -> Result<[Image; 5]> {
        let (from, size) = (self.size(), size.into());
        let (Some(bottom), Some(right)) = (from.height.checked_sub(size.height), from.width.checked_sub(size.width))
        else {
            return Err(Error::new(
                ErrorKind::Decode,
                format!("cannot cut five crops of {size} out of an image of {from}: it is smaller than one"),
            ));
        };
        let corner = |top: usize, left: usize| {
            self.crop(Rect { top: top as isize, left: left as isize, height: size.height, width: size.width })
        };
        Ok([corner(0, 0)?, corner(0, right)?, corner(bottom, 0)?, corner(bottom, right)?, self.center_crop(size)?])
    }

    /// The crops of [`five_crop`](Image::five_crop), then those of the image mirrored left to right, or top to bottom
    /// with `vertical_flip` (`torchvision.transforms.v2.functional.ten_crop`).
    ///
    /// # Errors
    ///
    /// As [`five_crop`](Image::five_crop).
    pub fn ten_crop(&self, size: impl Into<Size>, vertical_flip: bool) -> Result<[Image; 10]> {
        let size = size.into();
        let [a, b, c, d, e] = self.five_crop(size)?;
        let mut flipped = self.clone();
        match vertical_flip {
            true => flipped.flip_vertical(),
            false => flipped.flip_horizontal(),
        }
        let [f, g, h, i, j] = flipped.five_crop(size)?;
        Ok([a, b, c, d, e, f, g, h, i, j])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::numbered;

    #[test]
    fn five_crops_are_the_corners_and_the_middle() {
        let image = numbered(4, 6, 1);
        let crops = image.five_crop((2, 3)).unwrap();
        let starts = crops.map(|crop| (crop.size() == Size::from((2, 3)), crop.pixels()[0]));
        // A pixel is 50 times its row plus 5 times its column; 1.5 columns round to 2.
        assert_eq!(starts, [(true, 0), (true, 15), (true, 100), (true, 115), (true, 60)]);
    }

    #[test]
    fn ten_crops_are_five_and_five_of_the_mirrored_image() {
        let image = numbered(4, 6, 3);
        for vertical in [false, true] {
            let mut mirrored = image.clone();
            if vertical {
                mirrored.flip_vertical()
            } else {
                mirrored.flip_horizontal()
            }
            let crops = image.ten_crop(2, vertical).unwrap();
            assert_eq!(crops[..5], image.five_crop(2).unwrap());
            assert_eq!(crops[5..], mirrored.five_crop(2).unwrap());
        }
    }

    #[test]
    fn five_crops_of_a_smaller_image_are_an_error() {
        let error = numbered(4, 6, 1).five_crop((5, 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("4x6 pixels"), "{error}");
        assert!(numbered(4, 6, 1).five_crop((4, 7)).is_err());
        assert!(numbered(4, 6, 1).five_crop((0, 2)).is_err());
    }
}
