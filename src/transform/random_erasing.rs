//! torchvision's `RandomErasing`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Fill, Image, ImageSource, Rect, Size};
use crate::rng::SampleRng;

/// Erases a random rectangle of an image with probability `p` (`torchvision.transforms.v2.RandomErasing`).
///
/// The rectangle has a random share of the image's area (default: 0.02 to 0.33) and a random aspect ratio (default: 0.3
/// to 3.3). It becomes black, or what else is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RandomErasing {
    p: f64,
    scale: (f64, f64),
    ratio: (f64, f64),
    /// `None` for random values.
    value: Option<Fill>,
}

impl RandomErasing {
    /// # Panics
    ///
    /// Unless `p` is in `[0, 1]`.
    pub fn new(p: f64) -> Self {
        assert!((0.0..=1.0).contains(&p), "a probability is in [0, 1], and {p} is not");
        RandomErasing { p, scale: (0.02, 0.33), ratio: (0.3, 3.3), value: Some(Fill::default()) }
    }

    /// The least and the greatest share of the area.
    ///
    /// # Panics
    ///
    /// Unless `0 <= least <= greatest <= 1`.
    pub fn scale(mut self, least: f64, greatest: f64) -> Self {
        let ordered = 0.0 <= least && least <= greatest && greatest <= 1.0;
        assert!(ordered, "scale: 0 <= {least} <= {greatest} <= 1 does not hold");
        self.scale = (least, greatest);
        self
    }

    /// The least and the greatest aspect ratio, height over width.
    ///
    /// # Panics
    ///
    /// Unless `0 < least <= greatest`.
    pub fn ratio(mut self, least: f64, greatest: f64) -> Self {
        assert!(0.0 < least && least <= greatest, "ratio: 0 < {least} <= {greatest} does not hold");
        self.ratio = (least, greatest);
        self
    }

    /// What the rectangle is filled with: a number for all channels, or one a channel.
    pub fn value(mut self, value: impl Into<Fill>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Fills the rectangle with noise: `value="random"` in torchvision. The bytes of an image are drawn uniformly, where
    /// torchvision draws from a normal distribution, of which bytes keep little more than 255, 0 and 1.
    pub fn random_value(mut self) -> Self {
        self.value = None;
        self
    }

    /// Draws whether to erase, and what part of an image of size `from`: the rule of torchvision's
    /// `RandomErasing.make_params`. `None` also where ten rectangles in a row did not fit.
    pub fn draw(&self, from: Size, rng: &mut SampleRng) -> Option<Rect> {
        if !rng.bernoulli(self.p) {
            return None;
        }
        let area = (from.height * from.width) as f64;
        for _ in 0..10 {
            let erased = area * rng.uniform_range(self.scale.0, self.scale.1);
            let aspect = rng.uniform_range(self.ratio.0.ln(), self.ratio.1.ln()).exp();
            let height = (erased * aspect).sqrt().round_ties_even() as usize;
            let width = (erased / aspect).sqrt().round_ties_even() as usize;
            // A side as long as the image's does not count as fitting there.
            if height < from.height && width < from.width {
                let top = rng.below((from.height - height + 1) as u32) as isize;
                let left = rng.below((from.width - width + 1) as u32) as isize;
                return Some(Rect { top, left, height, width });
            }
        }
        None
    }
}

/// `p = 0.5`, as in torchvision.
impl Default for RandomErasing {
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl RandomErasing {
    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let drawn = self.draw(image.size(), rng);
        let mut image = image.into_image()?;
        match (drawn, self.value) {
            (None, _) => {}
            (Some(rect), Some(value)) => image.erase(rect, value)?,
            (Some(rect), None) => image.erase_with(rect, || (rng.next_u32() >> 24) as u8),
        }
        Ok(image)
    }
}

acts_on_images!(RandomErasing);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rectangle_lies_inside_and_keeps_scale_and_ratio() {
        let from = Size { height: 300, width: 500 };
        let mut erased = 0;
        for index in 0..4000 {
            let Some(rect) = RandomErasing::default().draw(from, &mut SampleRng::new(1, 0, index)) else { continue };
            erased += 1;
            assert!(rect.is_inside(from), "{rect:?}");
            let share = (rect.height * rect.width) as f64 / (300.0 * 500.0);
            let ratio = rect.height as f64 / rect.width as f64;
            // A side rounds by at most half a pixel, of 30 or more.
            assert!((0.019..=0.336).contains(&share) && (0.29..=3.36).contains(&ratio), "{rect:?}");
        }
        // Five standard deviations of a binomial(4000, 0.5) are 158.
        assert!(2000_usize.abs_diff(erased) < 158, "{erased}");
    }

    #[test]
    fn the_rectangle_gets_the_value_and_the_rest_stays() {
        let image = Image::new((20, 30), 3, vec![200; 1800]).unwrap();
        let erased = |erasing: RandomErasing| {
            let rect = erasing.draw(image.size(), &mut SampleRng::new(0, 0, 5)).unwrap();
            let erased = erasing.apply(image.clone(), &mut SampleRng::new(0, 0, 5)).unwrap();
            let inside = erased.crop(rect).unwrap();
            let changed = erased.pixels().iter().filter(|&&value| value != 200).count();
            (inside.pixels().to_vec(), changed)
        };
        let (black, changed) = erased(RandomErasing::new(1.0));
        assert!(black.iter().all(|&value| value == 0) && changed == black.len());
        let (coloured, changed) = erased(RandomErasing::new(1.0).value([1, 2, 3]));
        assert!(coloured.as_chunks::<3>().0.iter().all(|pixel| *pixel == [1, 2, 3]) && changed == coloured.len());
        let (noise, changed) = erased(RandomErasing::new(1.0).scale(0.3, 0.3).random_value());
        let mean = noise.iter().map(|&value| f64::from(value)).sum::<f64>() / noise.len() as f64;
        // The mean of uniform bytes has a standard deviation of 74 / sqrt(n); here n is about 540.
        assert!((mean - 127.5).abs() < 16.0 && changed > noise.len() - 20, "{mean}, {changed} of {}", noise.len());
    }

    #[test]
    fn what_does_not_fit_is_not_erased() {
        let whole = RandomErasing::new(1.0).scale(1.0, 1.0).ratio(1.0, 1.0);
        assert_eq!(whole.draw(Size::from(10), &mut SampleRng::new(0, 0, 0)), None);
    }

    #[test]
    #[should_panic(expected = "scale")]
    fn more_than_all_is_refused() {
        let _ = RandomErasing::default().scale(0.5, 1.5);
    }
}
