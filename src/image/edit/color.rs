//! Brightness, contrast, saturation, gamma, and grey.

use super::blend::{blend, checked};
use crate::error::Result;
use crate::image::Image;

impl Image {
    /// Multiplies the values by `factor`: 0 is black, 1 the image as it is
    /// (`torchvision.transforms.v2.functional.adjust_brightness`). Alpha stays.
    ///
    /// # Panics
    ///
    /// If the factor is negative.
    pub fn adjust_brightness(&mut self, factor: f64) {
        let factor = checked("adjust_brightness", factor);
        self.map_values(&std::array::from_fn(|value| blend(0, value as u8, factor)));
    }

    /// Moves the values away from the image's mean grey: 0 is that grey, 1 the image as it is
    /// (`torchvision.transforms.v2.functional.adjust_contrast`). Alpha stays.
    ///
    /// # Panics
    ///
    /// If the factor is negative.
    pub fn adjust_contrast(&mut self, factor: f64) {
        let factor = checked("adjust_contrast", factor);
        let count = (self.height() * self.width()) as u64;
        if count == 0 {
            return;
        }
        let sum: u64 = match self.channels {
            1 => self.pixels().iter().map(|&value| u64::from(value)).sum(),
            3 => luma_sum::<3>(self.pixels()),
            _ => luma_sum::<4>(self.pixels()),
        };
        // To the nearest, halves up: int(mean + 0.5) in ImageEnhance.Contrast.
        let mean = ((2 * sum + count) / (2 * count)) as u8;
        self.map_values(&std::array::from_fn(|value| blend(mean, value as u8, factor)));
    }

    /// Moves the colours away from grey: 0 is a grey image, 1 the image as it is
    /// (`torchvision.transforms.v2.functional.adjust_saturation`). Alpha stays, and so does an image of one channel.
    ///
    /// # Panics
    ///
    /// If the factor is negative.
    pub fn adjust_saturation(&mut self, factor: f64) {
        let factor = checked("adjust_saturation", factor);
        match self.channels {
            1 => {}
            3 => saturate::<3>(self.pixels_mut(), factor),
            _ => saturate::<4>(self.pixels_mut(), factor),
        }
    }

    /// Raises the values, as numbers from 0 to 1, to the power of `gamma` and multiplies them by `gain`
    /// (`torchvision.transforms.v2.functional.adjust_gamma`). Alpha becomes opaque, as in torchvision.
    ///
    /// # Panics
    ///
    /// If `gamma` is negative.
    pub fn adjust_gamma(&mut self, gamma: f64, gain: f64) {
        assert!(gamma >= 0.0, "adjust_gamma: a gamma is not negative, and {gamma} is");
        self.map_values(&std::array::from_fn(|value| {
            // (255 + 1 - 1e-3) * gain * pow(value / 255, gamma) in functional_pil.py, cut to a whole number.
            ((255.0 + 1.0 - 1e-3) * gain * (value as f64 / 255.0).powf(gamma)) as u8
        }));
        self.make_opaque();
    }

    /// The luma of each pixel in 1 channel, or 3 times over in 3 channels
    /// (`torchvision.transforms.v2.functional.to_grayscale`). There is no alpha in it.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    ///
    /// # Panics
    ///
    /// Unless `num_output_channels` is 1 or 3.
    pub fn to_grayscale(&self, num_output_channels: usize) -> Result<Image> {
        assert!(
            matches!(num_output_channels, 1 | 3),
            "to_grayscale: a grey image has 1 or 3 channels, not {num_output_channels}"
        );
        match (self.channels, num_output_channels) {
            (1, 1) => self.recolored(|&grey: &[u8; 1]| grey),
            (1, _) => self.recolored(|&[grey]| [grey; 3]),
            (3, 1) => self.recolored(|pixel: &[u8; 3]| [luma(pixel)]),
            (3, _) => self.recolored(|pixel: &[u8; 3]| [luma(pixel); 3]),
            (_, 1) => self.recolored(|pixel: &[u8; 4]| [luma(pixel)]),
            _ => self.recolored(|pixel: &[u8; 4]| [luma(pixel); 3]),
        }
    }

    pub(super) fn make_opaque(&mut self) {
        if self.channels == 4 {
            self.pixels_mut().as_chunks_mut::<4>().0.iter_mut().for_each(|pixel| pixel[3] = 255);
        }
    }
}

const fn multiples(factor: u32, offset: u32) -> [u32; 256] {
    let mut multiples = [0; 256];
    let mut value = 0;
    while value < 256 {
        multiples[value] = factor * value as u32 + offset;
        value += 1;
    }
    multiples
}

/// ITU-R 601-2 luma in 16-bit fixed point (`L24` in PIL's `src/libImaging/Convert.c`). Two tables and one multiplication
/// are faster than three of either, as loads and multiplications do not wait for each other; and a pixel by reference, of
/// which each byte is loaded for itself.
#[inline]
fn luma<const C: usize>(pixel: &[u8; C]) -> u8 {
    wide_luma(pixel) as u8
}

#[inline]
fn wide_luma<const C: usize>(pixel: &[u8; C]) -> u32 {
    static RED: [u32; 256] = multiples(19595, 0x8000);
    static BLUE: [u32; 256] = multiples(7471, 0);
    let sum = RED[usize::from(pixel[0])] + 38470 * u32::from(pixel[1]) + BLUE[usize::from(pixel[2])];
    sum >> 16
}

fn luma_sum<const C: usize>(pixels: &[u8]) -> u64 {
    pixels.as_chunks::<C>().0.iter().map(|pixel| u64::from(wide_luma(pixel))).sum()
}

fn saturate<const C: usize>(pixels: &mut [u8], factor: f32) {
    // In blocks that stay in the nearest cache: finding the grey goes pixel by pixel, blending in vectors.
    const BLOCK: usize = 1024;
    let mut grey = [0; BLOCK * 4];
    for block in pixels.chunks_mut(BLOCK * C) {
        for (grey, pixel) in grey.as_chunks_mut::<C>().0.iter_mut().zip(block.as_chunks::<C>().0) {
            let luma = luma(pixel);
            *grey = std::array::from_fn(|channel| if channel < 3 { luma } else { pixel[channel] });
        }
        for (value, &grey) in block.iter_mut().zip(&grey) {
            *value = blend(grey, *value, factor);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::image::Size;

    pub(in crate::image) fn noise(size: impl Into<Size>, channels: usize) -> Image {
        let size = size.into();
        let bytes =
            (0..(size.height * size.width * channels) as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        Image::new(size, channels, bytes.collect()).unwrap()
    }

    fn without_alpha(image: &Image) -> Image {
        let colors = image.pixels().chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied();
        Image::new(image.size(), 3, colors.collect()).unwrap()
    }

    type Change = fn(&mut Image);

    const KEEP_ALPHA: [Change; 10] = [
        |image| image.adjust_brightness(1.7),
        |image| image.adjust_contrast(0.3),
        |image| image.adjust_saturation(2.5),
        |image| image.adjust_sharpness(0.0),
        |image| image.invert(),
        |image| image.posterize(3),
        |image| image.solarize(99.5),
        |image| image.autocontrast(),
        |image| image.equalize(),
        |image| image.adjust_sharpness(3.0),
    ];
    const MAKE_OPAQUE: [Change; 2] = [|image| image.adjust_hue(0.2), |image| image.adjust_gamma(0.7, 1.1)];

    #[test]
    fn alpha_stays_or_becomes_opaque_and_does_not_change_the_colours() {
        let image = noise((37, 41), 4);
        for (i, change) in KEEP_ALPHA.iter().chain(&MAKE_OPAQUE).enumerate() {
            let (mut with, mut without) = (image.clone(), without_alpha(&image));
            change(&mut with);
            change(&mut without);
            assert_eq!(without_alpha(&with).pixels(), without.pixels(), "change {i}");
            let alpha = |image: &Image| image.pixels().iter().skip(3).step_by(4).copied().collect::<Vec<u8>>();
            let expected = if i < KEEP_ALPHA.len() { alpha(&image) } else { vec![255; 37 * 41] };
            assert_eq!(alpha(&with), expected, "change {i}");
        }
        assert_eq!(image.to_grayscale(3).unwrap(), without_alpha(&image).to_grayscale(3).unwrap());
    }

    #[test]
    fn a_grey_image_is_three_equal_channels() {
        let grey = noise((37, 41), 1);
        for (i, change) in KEEP_ALPHA.iter().chain(&MAKE_OPAQUE).enumerate() {
            let (mut one, mut three) = (grey.clone(), grey.to_grayscale(3).unwrap());
            change(&mut one);
            change(&mut three);
            assert_eq!(one.to_grayscale(3).unwrap(), three, "change {i}");
        }
    }

    #[test]
    fn a_factor_of_one_is_the_image_and_of_zero_what_it_moves_away_from() {
        let image = noise((20, 30), 3);
        let changed = |change: Change| {
            let mut image = image.clone();
            change(&mut image);
            image
        };
        for same in
            [Image::adjust_brightness, Image::adjust_contrast, Image::adjust_saturation, Image::adjust_sharpness]
        {
            let mut image = image.clone();
            same(&mut image, 1.0);
            assert_eq!(image, noise((20, 30), 3));
        }
        assert_eq!(changed(|image| image.adjust_brightness(0.0)).pixels(), [0; 1800]);
        assert_eq!(changed(|image| image.adjust_saturation(0.0)), image.to_grayscale(3).unwrap());
        let grey = changed(|image| image.adjust_contrast(0.0));
        assert!(grey.pixels().iter().all(|&value| value == grey.pixels()[0]));
    }

    #[test]
    fn an_image_without_pixels_stays_without() {
        for channels in [1, 3, 4] {
            let mut image = Image::new((0, 5), channels, Vec::new()).unwrap();
            for change in KEEP_ALPHA.iter().chain(&MAKE_OPAQUE) {
                change(&mut image);
            }
            assert!(image.to_grayscale(1).unwrap().pixels().is_empty());
        }
    }

    #[test]
    #[should_panic(expected = "adjust_contrast: a factor is not negative")]
    fn a_negative_factor_is_refused() {
        noise(3, 3).adjust_contrast(-0.1);
    }
}
