//! Flips: pixels change places, and nothing else.

use super::{Image, by_channels};

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
}

#[cfg(test)]
mod tests {
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
}
