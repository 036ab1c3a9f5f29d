//! Which way up an image is stored (the EXIF tag 0x0112).

use image::metadata::Orientation as Exif;

use crate::error::Result;
use crate::image::geometry::Part;
use crate::image::{Image, Rect, Size};

/// How the picture is made of what is stored: transposed first, then mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orientation {
    transposed: bool,
    mirrored: bool,
    upside_down: bool,
}

impl From<Exif> for Orientation {
    fn from(exif: Exif) -> Self {
        let (transposed, mirrored, upside_down) = match exif {
            Exif::NoTransforms => (false, false, false),
            Exif::FlipHorizontal => (false, true, false),
            Exif::Rotate180 => (false, true, true),
            Exif::FlipVertical => (false, false, true),
            Exif::Rotate90FlipH => (true, false, false),
            Exif::Rotate90 => (true, true, false),
            Exif::Rotate270FlipH => (true, true, true),
            Exif::Rotate270 => (true, false, true),
        };
        Orientation { transposed, mirrored, upside_down }
    }
}

impl Orientation {
    /// What a block of EXIF data says; nothing is upright.
    pub(super) fn from_exif(tiff: &[u8]) -> Self {
        Exif::from_exif_chunk(tiff).map_or_else(Self::default, Self::from)
    }

    /// Whether the picture is what is stored.
    pub(super) fn is_upright(self) -> bool {
        self == Self::default()
    }

    /// The picture's size, or that of what is stored for one: the same exchange.
    pub(super) fn of_size(self, Size { height, width }: Size) -> Size {
        if self.transposed { Size { height: width, width: height } } else { Size { height, width } }
    }

    /// Where a part of the picture is stored; `size` is the picture's.
    pub(super) fn stored(self, Rect { top, left, height, width }: Rect, size: Size) -> Rect {
        let top = if self.upside_down { size.height as isize - top - height as isize } else { top };
        let left = if self.mirrored { size.width as isize - left - width as isize } else { left };
        match self.transposed {
            true => Rect { top: left, left: top, height: width, width: height },
            false => Rect { top, left, height, width },
        }
    }

    /// Where a part of what is stored is in the picture; `size` is the picture's.
    pub(super) fn shown(self, part: Part, size: Size) -> Part {
        let Part { top, left, height, width } = match self.transposed {
            true => Part { top: part.left, left: part.top, height: part.width, width: part.height },
            false => part,
        };
        let top = if self.upside_down { size.height as f64 - top - height } else { top };
        let left = if self.mirrored { size.width as f64 - left - width } else { left };
        Part { top, left, height, width }
    }

    /// The picture.
    pub(super) fn upright(self, stored: Image) -> Result<Image> {
        let (mut image, mirrored, upside_down) = match (self.transposed, self.mirrored) {
            (false, mirrored) => (stored, mirrored, self.upside_down),
            // Transposed and mirrored is turned to the right; transposed and upside down is turned to the left.
            (true, true) => (stored.quarter_turned(false)?, false, self.upside_down),
            (true, false) => (stored.quarter_turned(true)?, false, !self.upside_down),
        };
        if mirrored {
            image.flip_horizontal();
        }
        if upside_down {
            image.flip_vertical();
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oriented(exif: u8) -> Orientation {
        Exif::from_exif(exif).unwrap().into()
    }

    #[test]
    fn the_first_row_is_where_the_standard_says() {
        // EXIF 2.32, Orientation: where row 0 and column 0 of what is stored are in the picture. Three rows of two:
        let stored = Image::new((3, 2), 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        for (exif, picture) in [
            (1, [&[1, 2][..], &[3, 4], &[5, 6]].concat()), // top, left
            (2, vec![2, 1, 4, 3, 6, 5]),                   // top, right
            (3, vec![6, 5, 4, 3, 2, 1]),                   // bottom, right
            (4, vec![5, 6, 3, 4, 1, 2]),                   // bottom, left
            (5, vec![1, 3, 5, 2, 4, 6]),                   // left, top
            (6, vec![5, 3, 1, 6, 4, 2]),                   // right, top
            (7, vec![6, 4, 2, 5, 3, 1]),                   // right, bottom
            (8, vec![2, 4, 6, 1, 3, 5]),                   // left, bottom
        ] {
            let image = oriented(exif).upright(stored.clone()).unwrap();
            assert_eq!(image.pixels(), picture, "{exif}");
            assert_eq!(image.size(), oriented(exif).of_size(stored.size()), "{exif}");
        }
    }

    #[test]
    fn a_part_of_the_picture_is_the_picture_of_the_part() {
        let stored = Image::new((5, 7), 3, (0..105).collect()).unwrap();
        for exif in 1..=8 {
            let orientation = oriented(exif);
            let picture = orientation.upright(stored.clone()).unwrap();
            let Size { height, width } = picture.size();
            for top in 0..height {
                for left in 0..width {
                    let rect = Rect { top: top as isize, left: left as isize, height: height - top, width: 1 };
                    let part = stored.crop(orientation.stored(rect, picture.size())).unwrap();
                    assert_eq!(orientation.upright(part).unwrap(), picture.crop(rect).unwrap(), "{exif} {rect:?}");
                    let there = orientation.stored(rect, picture.size()).into();
                    assert_eq!(orientation.shown(there, picture.size()).outer(), rect, "{exif}");
                }
            }
        }
    }
}
