//! Alpha: colours weighted by how much of them is seen, which is what may be averaged (PIL's mode `RGBa`).

use crate::image::Image;

impl Image {
    /// RGBA to premultiplied, rounded as Pillow rounds (`MULDIV255` in ImagingUtils.h).
    pub(super) fn premultiply(&mut self) {
        for [r, g, b, a] in self.pixels_mut().as_chunks_mut::<4>().0 {
            for colour in [r, g, b] {
                let product = u32::from(*colour) * u32::from(*a) + 128;
                *colour = (((product >> 8) + product) >> 8) as u8;
            }
        }
    }

    /// Premultiplied to RGBA. Pillow does not round here (`rgba2rgbA` in Convert.c).
    pub(super) fn unpremultiply(&mut self) {
        for [r, g, b, a] in self.pixels_mut().as_chunks_mut::<4>().0 {
            if *a == 0 || *a == 255 {
                continue;
            }
            for colour in [r, g, b] {
                *colour = (255 * u32::from(*colour) / u32::from(*a)).min(255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_has_no_colour_and_what_is_opaque_keeps_its_own() {
        let mut image = Image::new((1, 3), 4, vec![9, 99, 255, 255, 9, 99, 255, 0, 9, 99, 255, 128]).unwrap();
        image.premultiply();
        assert_eq!(image.pixels(), [9, 99, 255, 255, 0, 0, 0, 0, 5, 50, 128, 128]);
        image.unpremultiply();
        assert_eq!(image.pixels(), [9, 99, 255, 255, 0, 0, 0, 0, 9, 99, 255, 128]);
        // A colour above its alpha comes of filters that overshoot.
        let mut overshot = Image::new((1, 1), 4, vec![200, 100, 50, 100]).unwrap();
        overshot.unpremultiply();
        assert_eq!(overshot.pixels(), [255, 255, 127, 100]);
    }
}
