//! torchvision's `ColorJitter`.

use super::{Transform, acts_on_images};
use crate::error::Result;
use crate::image::{Image, ImageSource};
use crate::rng::SampleRng;

/// Changes brightness, contrast, saturation and hue, each by a random factor, in a random order
/// (`torchvision.transforms.v2.ColorJitter`). What is not asked for is not changed.
///
/// ```
/// use sutler::transform::ColorJitter;
///
/// let jitter = ColorJitter::new().brightness(0.4).contrast((0.8, 1.5)).saturation(0.4).hue(0.1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ColorJitter {
    /// The least and the greatest factor of each of [`CHANGES`].
    ranges: [Option<(f64, f64)>; 4],
}

/// In the order in which their factors are drawn.
const CHANGES: [fn(&mut Image, f64); 4] =
    [Image::adjust_brightness, Image::adjust_contrast, Image::adjust_saturation, Image::adjust_hue];

/// How far a factor may be from the one that changes nothing: by a number, or between two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// By so much, and no lower than 0 for what has no negative factors.
    Around(f64),
    /// From the first to the second.
    Between(f64, f64),
}

impl From<f64> for Jitter {
    fn from(distance: f64) -> Self {
        Jitter::Around(distance)
    }
}

impl From<(f64, f64)> for Jitter {
    fn from((least, greatest): (f64, f64)) -> Self {
        Jitter::Between(least, greatest)
    }
}

impl ColorJitter {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The factor of [`adjust_brightness`](Image::adjust_brightness): around 1.
    ///
    /// # Panics
    ///
    /// If a number is negative, or the first of two is above the second.
    pub fn brightness(mut self, jitter: impl Into<Jitter>) -> Self {
        self.ranges[0] = range("brightness", jitter.into(), 1.0, (0.0, f64::INFINITY));
        self
    }

    /// The factor of [`adjust_contrast`](Image::adjust_contrast): around 1.
    ///
    /// # Panics
    ///
    /// If a number is negative, or the first of two is above the second.
    pub fn contrast(mut self, jitter: impl Into<Jitter>) -> Self {
        self.ranges[1] = range("contrast", jitter.into(), 1.0, (0.0, f64::INFINITY));
        self
    }

    /// The factor of [`adjust_saturation`](Image::adjust_saturation): around 1.
    ///
    /// # Panics
    ///
    /// If a number is negative, or the first of two is above the second.
    pub fn saturation(mut self, jitter: impl Into<Jitter>) -> Self {
        self.ranges[2] = range("saturation", jitter.into(), 1.0, (0.0, f64::INFINITY));
        self
    }

    /// The factor of [`adjust_hue`](Image::adjust_hue): around 0.
    ///
    /// # Panics
    ///
    /// If one number is negative or above 0.5, one of two is outside of `[-0.5, 0.5]`, or the first of two is above the
    /// second.
    pub fn hue(mut self, jitter: impl Into<Jitter>) -> Self {
        self.ranges[3] = range("hue", jitter.into(), 0.0, (-0.5, 0.5));
        self
    }

    /// Which changes, and by which factors, in order: first the order is drawn, then a factor for each change there is.
    fn draw(&self, rng: &mut SampleRng) -> impl Iterator<Item = (usize, f64)> + use<> {
        let mut order = [0, 1, 2, 3];
        rng.shuffle(&mut order);
        let factors = self.ranges.map(|range| range.map(|(least, greatest)| rng.uniform_range(least, greatest)));
        order.into_iter().filter_map(move |change| Some((change, factors[change]?)))
    }

    fn of(&self, image: impl ImageSource, rng: &mut SampleRng) -> Result<Image> {
        let mut image = image.into_image()?;
        for (change, factor) in self.draw(rng) {
            CHANGES[change](&mut image, factor);
        }
        Ok(image)
    }
}

acts_on_images!(ColorJitter);

/// `ColorJitter._check_input` in torchvision's `transforms/v2/_color.py`. None if it can only be the factor that changes
/// nothing: then none is drawn.
fn range(name: &str, jitter: Jitter, center: f64, (lowest, highest): (f64, f64)) -> Option<(f64, f64)> {
    let (least, greatest) = match jitter {
        Jitter::Around(distance) => {
            assert!(distance >= 0.0, "ColorJitter: {name} is changed by a number not below 0, not by {distance}");
            let least = center - distance;
            (if lowest == 0.0 { least.max(0.0) } else { least }, center + distance)
        }
        Jitter::Between(least, greatest) => (least, greatest),
    };
    assert!(
        lowest <= least && least <= greatest && greatest <= highest,
        "ColorJitter: {name} from {least} to {greatest} is not a range within [{lowest}, {highest}]"
    );
    (least != center || greatest != center).then_some((least, greatest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(jitter: &ColorJitter, index: usize) -> Vec<(usize, f64)> {
        jitter.draw(&mut SampleRng::new(0, 0, index)).collect()
    }

    #[test]
    fn every_order_is_as_likely_as_another() {
        let jitter = ColorJitter::new().brightness(0.1).contrast(0.1).saturation(0.1).hue(0.1);
        let mut counts = std::collections::HashMap::new();
        for index in 0..24_000 {
            let order: Vec<usize> = drawn(&jitter, index).into_iter().map(|(change, _)| change).collect();
            *counts.entry(order).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.len(), 24);
        // Five standard deviations of a binomial(24000, 1/24) are 155.
        assert!(counts.values().all(|count| (count - 1000).abs() < 155), "{counts:?}");
    }

    #[test]
    fn factors_are_spread_over_their_ranges() {
        let jitter = ColorJitter::new().brightness(1.5).contrast((0.8, 0.9)).saturation(0.4).hue((-0.1, 0.5));
        let ranges = [(0.0, 2.5), (0.8, 0.9), (0.6, 1.4), (-0.1, 0.5)];
        assert_eq!(jitter.ranges, ranges.map(Some));
        let mut upper_halves = [0_i32; 4];
        for index in 0..4000 {
            for (change, factor) in drawn(&jitter, index) {
                let (least, greatest) = ranges[change];
                assert!(least <= factor && factor < greatest);
                upper_halves[change] += i32::from(factor >= (least + greatest) / 2.0);
            }
        }
        // Five standard deviations of a binomial(4000, 1/2) are 158.
        assert!(upper_halves.iter().all(|count| (count - 2000).abs() < 158), "{upper_halves:?}");
    }

    #[test]
    fn the_order_is_drawn_first_and_a_factor_only_for_what_changes() {
        let jitter = ColorJitter::new().brightness(0.0).contrast((1.0, 1.0)).saturation(0.4).hue(0.0);
        let (mut rng, mut expected) = (SampleRng::new(0, 0, 5), SampleRng::new(0, 0, 5));
        let drawn: Vec<_> = jitter.draw(&mut rng).collect();
        for bound in [4, 3, 2] {
            expected.below(bound);
        }
        assert_eq!(drawn, [(2, expected.uniform_range(0.6, 1.4))]);
        assert_eq!(rng.next_u32(), expected.next_u32());
    }

    #[test]
    fn the_changes_are_made_in_the_order_that_was_drawn() {
        let pixels: Vec<u8> = (0..4 * 5 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let image = Image::new((4, 5), 3, pixels).unwrap();
        let jitter = ColorJitter::new().brightness(0.9).contrast(0.9).saturation(0.9).hue(0.5);
        for index in 0..50 {
            let mut expected = image.clone();
            for (change, factor) in drawn(&jitter, index) {
                match change {
                    0 => expected.adjust_brightness(factor),
                    1 => expected.adjust_contrast(factor),
                    2 => expected.adjust_saturation(factor),
                    _ => expected.adjust_hue(factor),
                }
            }
            let jittered = jitter.apply((image.clone(), index), &mut SampleRng::new(0, 0, index)).unwrap();
            assert_eq!(jittered, (expected, index));
        }
    }

    #[test]
    #[should_panic(expected = "hue from -0.6 to 0.6")]
    fn more_than_half_a_turn_of_hue_is_refused() {
        let _ = ColorJitter::new().hue(0.6);
    }
}
