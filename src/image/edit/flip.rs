//! Flips and quarter turns: pixels change places, and nothing else.

use super::by_channels;
use crate::error::Result;
use crate::image::{Image, Size};

impl Image {
    /// Mirrors the image left to right.
    pub fn flip_horizontal(&mut self) {
        fn mirror<const C: usize>(image: &mut Image) {
            let width = image.width().max(1);
            image.pixels_mut().as_chunks_mut::<C>().0.chunks_exact_mut(width).for_each(<[_]>::reverse);
        }
        by_channels!(self.channels, mirror(self));
    }

    /// Mirrors the image top to bottom.
    pub fn flip_vertical(&mut self) {
        let (row_bytes, height) = ((self.width() * self.channels).max(1), self.height());
        // The middle row of an odd number stays where it is, in neither half.
        let (upper, lower) = self.pixels_mut().split_at_mut(height / 2 * row_bytes);
        for (above, below) in upper.chunks_exact_mut(row_bytes).zip(lower.chunks_exact_mut(row_bytes).rev()) {
            above.swap_with_slice(below);
        }
    }

    /// The image upside down, by half a turn.
    pub(super) fn half_turned(&self) -> Image {
        fn reverse<const C: usize>(image: &mut Image) {
            image.pixels_mut().as_chunks_mut::<C>().0.reverse();
        }
        let mut turned = self.clone();
        by_channels!(self.channels, reverse(&mut turned));
        turned
    }

    /// The image a quarter turn to the left (counter-clockwise) or to the right.
    pub(in crate::image) fn quarter_turned(&self, left: bool) -> Result<Image> {
        fn turn<const C: usize>(image: &Image, turned: &mut Image, left: bool) {
            let Size { height, width } = image.size();
            let source = image.pixels().as_chunks::<C>().0;
            let rows = turned.pixels_mut().as_chunks_mut::<C>().0.chunks_exact_mut(height.max(1));
            for (y, row) in rows.enumerate() {
                // A row of the result is a column of the source.
                for (x, out) in row.iter_mut().enumerate() {
                    let (from_y, from_x) = if left { (x, width - 1 - y) } else { (height - 1 - x, y) };
                    *out = source[from_y * width + from_x];
                }
            }
        }
        let mut turned = Image::unwritten(Size { height: self.width(), width: self.height() }, self.channels)?;
        by_channels!(self.channels, turn(self, &mut turned, left));
        Ok(turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::{at, numbered};

    #[test]
    fn a_flip_mirrors_and_twice_is_nothing() {
        for channels in [1, 3, 4] {
            for (height, width) in [(1, 1), (1, 5), (4, 2), (5, 3)] {
                let image = numbered(height, width, channels);
                let (mut sideways, mut upside_down) = (image.clone(), image.clone());
                sideways.flip_horizontal();
                upside_down.flip_vertical();
                for y in 0..height as isize {
                    for x in 0..width as isize {
                        for c in 0..channels {
                            assert_eq!(at(&sideways, y, x, c), at(&image, y, width as isize - 1 - x, c));
                            assert_eq!(at(&upside_down, y, x, c), at(&image, height as isize - 1 - y, x, c));
                        }
                    }
                }
                sideways.flip_horizontal();
                upside_down.flip_vertical();
                assert_eq!((&sideways, &upside_down), (&image, &image));
            }
        }
    }

    #[test]
    fn two_quarter_turns_are_a_half_one_and_left_undoes_right() {
        for channels in [1, 3, 4] {
            let image = numbered(3, 5, channels);
            let left = image.quarter_turned(true).unwrap();
            assert_eq!(left.size(), Size { height: 5, width: 3 });
            assert_eq!(at(&left, 0, 0, 0), at(&image, 0, 4, 0));
            assert_eq!(left.quarter_turned(true).unwrap(), image.half_turned());
            assert_eq!(left.quarter_turned(false).unwrap(), image);
        }
    }
}
