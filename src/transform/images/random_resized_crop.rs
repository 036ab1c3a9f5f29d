//! torchvision's `RandomResizedCrop`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Image, ImageSource, Interpolation, Rect, Resampling, Size};
use crate::rng::SampleRng;

/// Cuts out a random part of an image and resizes it (`torchvision.transforms.v2.RandomResizedCrop`).
///
/// The part has a random share of the image's area (default: 0.08 to 1) and a random aspect ratio (default: 3/4 to
/// 4/3). Only its pixels are resampled; bilinear, with antialiasing, unless it is told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct RandomResizedCrop {
    size: Size,
    scale: (f64, f64),
    ratio: (f64, f64),
    resampling: Resampling,
}

impl RandomResizedCrop {
    /// To a square of `size`, or `(height, width)`.
    pub fn new(size: impl Into<Size>) -> Self {
        RandomResizedCrop {
            size: size.into(),
            scale: (0.08, 1.0),
            ratio: (3.0 / 4.0, 4.0 / 3.0),
            resampling: Resampling::default(),
        }
    }

    /// The least and the greatest share of the area.
    ///
    /// # Panics
    ///
    /// Unless `0 < least <= greatest`.
    pub fn scale(mut self, least: f64, greatest: f64) -> Self {
        assert!(0.0 < least && least <= greatest, "scale: 0 < {least} <= {greatest} does not hold");
        self.scale = (least, greatest);
        self
    }

    /// The least and the greatest aspect ratio, width over height.
    ///
    /// # Panics
    ///
    /// Unless `0 < least <= greatest`.
    pub fn ratio(mut self, least: f64, greatest: f64) -> Self {
        assert!(0.0 < least && least <= greatest, "ratio: 0 < {least} <= {greatest} does not hold");
        self.ratio = (least, greatest);
        self
    }

    /// How pixels are made of others; [`Bilinear`](Interpolation::Bilinear) by default.
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.resampling.interpolation = interpolation;
        self
    }

    /// Whether a smaller image averages over all pixels that fall together (the default), or reads those around each
    /// place only; see [`Resampling`].
    pub fn antialias(mut self, antialias: bool) -> Self {
        self.resampling.antialias = antialias;
        self
    }

    /// Draws the part of an image of size `from`: the rule of torchvision's `RandomResizedCrop.make_params`.
    pub fn draw(&self, from: Size, rng: &mut SampleRng) -> Rect {
        let Size { height, width } = from;
        let area = (height * width) as f64;
        for _ in 0..10 {
            let target_area = area * rng.uniform_range(self.scale.0, self.scale.1);
            let aspect = rng.uniform_range(self.ratio.0.ln(), self.ratio.1.ln()).exp();
            let w = (target_area * aspect).sqrt().round_ties_even() as usize;
            let h = (target_area / aspect).sqrt().round_ties_even() as usize;
            if 0 < w && w <= width && 0 < h && h <= height {
                let top = rng.below((height - h + 1) as u32) as isize;
                let left = rng.below((width - w + 1) as u32) as isize;
                return Rect { top, left, height: h, width: w };
            }
        }
        // Ten tries without one that fits: the middle, at the nearest allowed ratio.
        let ratio = width as f64 / height as f64;
        let (h, w) = if ratio < self.ratio.0 {
            (((width as f64 / self.ratio.0).round_ties_even() as usize).min(height), width)
        } else if ratio > self.ratio.1 {
            (height, ((height as f64 * self.ratio.1).round_ties_even() as usize).min(width))
        } else {
            (height, width)
        };
        Rect { top: ((height - h) / 2) as isize, left: ((width - w) / 2) as isize, height: h, width: w }
    }
}

impl RandomResizedCrop {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let rect = self.draw(image.size(), rng);
        image.into_resized_crop(rect, self.size, self.resampling)
    }
}

acts_on_images!(RandomResizedCrop);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_lies_inside_and_keeps_scale_and_ratio() {
        let crop = RandomResizedCrop::new(224);
        let from = Size { height: 375, width: 500 };
        for index in 0..2000 {
            let rect = crop.draw(from, &mut SampleRng::new(1, 0, index));
            assert!(rect.is_inside(from) && rect.height > 0 && rect.width > 0, "{rect:?}");
            let share = (rect.height * rect.width) as f64 / (375.0 * 500.0);
            let ratio = rect.width as f64 / rect.height as f64;
            // A side rounds by at most half a pixel.
            assert!((0.078..=1.0).contains(&share) && (0.74..=1.345).contains(&ratio), "{rect:?}");
        }
    }

    #[test]
    fn parts_are_spread_over_the_image() {
        let crop = RandomResizedCrop::new(8).scale(0.01, 0.01);
        let from = Size::from(1000);
        let mut quadrants = [0; 4];
        for index in 0..4000 {
            let rect = crop.draw(from, &mut SampleRng::new(2, 0, index));
            let middle = |start: isize, len: usize| usize::from(start as usize + len / 2 >= 500);
            quadrants[middle(rect.top, rect.height) * 2 + middle(rect.left, rect.width)] += 1;
        }
        // Five standard deviations of a binomial(4000, 1/4) are 137.
        assert!(quadrants.iter().all(|&n: &i32| (n - 1000).abs() < 137), "{quadrants:?}");
    }

    #[test]
    fn a_strip_gets_the_middle_at_the_nearest_ratio() {
        let crop = RandomResizedCrop::new(8).scale(1.0, 1.0);
        let rng = &mut SampleRng::new(0, 0, 0);
        assert_eq!(crop.draw(Size { height: 10, width: 1000 }, rng), Rect { top: 0, left: 493, height: 10, width: 13 });
        assert_eq!(crop.draw(Size { height: 1000, width: 10 }, rng), Rect { top: 493, left: 0, height: 13, width: 10 });
        assert_eq!(crop.draw(Size { height: 1, width: 1 }, rng), Rect { top: 0, left: 0, height: 1, width: 1 });
    }

    #[test]
    #[should_panic(expected = "scale")]
    fn an_empty_scale_is_refused() {
        let _ = RandomResizedCrop::new(8).scale(0.5, 0.1);
    }
}
